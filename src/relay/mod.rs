//! The relay: one shard a core.
