//! Every answer that the relay gives by itself, byte for byte, and that nothing of what it refuses reaches a gateway.
#[path = "../support/mod.rs"]
mod support;

mod entrances;
mod heads;
mod health;
mod keys;
mod limits;
mod sessions;

use ringback::http::Refusal;

/// No refusal is without a test here.
#[test]
fn every_refusal_is_tested() {
    for &refusal in Refusal::ALL {
        let in_table = heads::CLOSING.iter().chain(heads::KEPT).any(|&(_, tested)| tested == refusal);
        let by_itself = heads::BUILT.contains(&refusal) || sessions::TESTED.contains(&refusal);
        let limit = limits::TESTED.contains(&refusal) || entrances::TESTED.contains(&refusal);
        assert!(in_table || by_itself || limit || keys::TESTED.contains(&refusal), "{refusal:?} has no test");
    }
}
