//! What all shards of a relay share.
use super::{admission::Admission, config::Config, directory::Directory, ending::Ending};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// What all shards of a relay share.
pub struct Shared {
    /// Which shards have gateways of which domain.
    pub directory: Directory,
    /// How many connections there are, and which may come.
    pub admission: Admission,
    /// How many have come how far with ending.
    pub ending: Ending,
    /// Set once a gateway has registered a whole host as its origin: only then are hosts looked up.
    origins: AtomicBool,
    shards: usize,
}

impl Shared {
    /// The state shared by so many shards, beginning at a tick.
    pub fn new(config: &Config, shards: usize, tick: u32) -> Shared {
        Shared {
            directory: Directory::new(shards),
            admission: Admission::new(config, tick),
            ending: Ending::new(shards),
            origins: AtomicBool::new(false),
            shards,
        }
    }

    /// Whether no shard will hand off a client any more, and none is in transit.
    pub fn is_quiet(&self) -> bool {
        self.ending.is_quiet(&self.admission)
    }

    /// Whether gateways may have registered whole hosts.
    pub fn has_origins(&self) -> bool {
        self.origins.load(Relaxed)
    }

    /// A gateway registers a whole host.
    pub fn note_origin(&self) {
        self.origins.store(true, Relaxed);
    }

    /// Number of shards.
    pub fn shards(&self) -> usize {
        self.shards
    }
}
