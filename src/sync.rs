//! What threads share, by the names that the standard library gives it.
//!
//! The files that use it are compiled a second time by `tests/loom`, with a module of this name that runs every
//! interleaving of a few threads, and every value that a memory ordering allows a load to return.
pub use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError, RwLock,
    atomic::{AtomicBool, AtomicUsize, Ordering},
    mpsc::{Receiver, Sender, channel},
};
