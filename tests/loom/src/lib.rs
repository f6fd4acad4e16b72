//! Models of what shards share: the relay's own files, run in every order that a few threads may take, with every value
//! that a memory ordering allows a load to return.
//!
//! `scripts/models` runs them. What the files take from `crate::sync` and
//! `super::wake` is [`sync`] and [`io::wake`] here.
#![cfg(loom)]
// Of the relay's files only a part is used.
#![allow(dead_code, unused_imports)]

pub mod sync;

pub mod io {
    //! Mailboxes.
    #[path = "../../../../src/io/mailbox.rs"]
    pub mod mailbox;
    pub mod wake;
}

pub mod relay {
    //! The directory, admission, and the end.
    #[path = "../../../../src/relay/admission.rs"]
    pub mod admission;
    pub mod config;
    #[path = "../../../../src/relay/directory.rs"]
    pub mod directory;
    #[path = "../../../../src/relay/ending.rs"]
    pub mod ending;
    pub mod timers;
}

#[cfg(test)]
mod models;
