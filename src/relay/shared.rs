//! What all shards of a relay share.
use super::{admission::Admission, config::Config, denials::Denials, directory::Directory, ending::Ending};
use crate::transport::Acceptor;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// What all shards of a relay share.
pub struct Shared {
    /// Which shards have gateways of which domain.
    pub directory: Directory,
    /// How many connections there are, and which may come.
    pub admission: Admission,
    /// Who was kept out lately.
    pub denials: Denials,
    /// How many have come how far with ending.
    pub ending: Ending,
    /// Set once a gateway has registered a whole host as its origin: only then are hosts looked up.
    origins: AtomicBool,
    /// What TLS connections are accepted with.
    acceptor: Option<Acceptor>,
    shards: usize,
}

impl Shared {
    /// The state shared by so many shards, beginning at a tick.
    pub fn new(config: &Config, shards: usize, tick: u32) -> Shared {
        Shared {
            directory: Directory::new(shards),
            admission: Admission::new(config, tick),
            denials: Denials::default(),
            ending: Ending::new(shards),
            origins: AtomicBool::new(false),
            acceptor: None,
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

    /// The same, where TLS connections are accepted.
    pub fn with_acceptor(self, acceptor: Option<Acceptor>) -> Shared {
        Shared { acceptor, ..self }
    }

    /// What TLS connections are accepted with.
    pub fn acceptor(&self) -> Option<&Acceptor> {
        self.acceptor.as_ref()
    }

    /// Number of shards.
    pub fn shards(&self) -> usize {
        self.shards
    }
}
