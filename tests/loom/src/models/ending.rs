//! A shard ends only when no client can be sent to it any more.
use super::explore;
use crate::{
    io::mailbox::{Mailbox, Mailboxes, mailboxes},
    relay::{admission::Admission, config::Config, ending::Ending},
};
use loom::{sync::Arc, thread};

const ADDRESS: [u8; 16] = [0; 16];

struct Shared {
    ending: Ending,
    admission: Admission,
}

impl Shared {
    fn new(shards: usize) -> Arc<Shared> {
        Arc::new(Shared { ending: Ending::new(shards), admission: Admission::new(&Config::default(), 1) })
    }

    fn admit(&self) {
        self.admission.admit(&ADDRESS, false, 1).unwrap();
    }

    fn release(&self) {
        self.admission.release(&ADDRESS, true);
    }

    fn is_quiet(&self) -> bool {
        self.ending.is_quiet(&self.admission)
    }
}

/// The messages here are clients.
type Client = ();

/// A turn that has heard of the end and brings a connection: it is admitted, sent to another shard, and only then is
/// it known that this shard admits nobody any more.
fn last_turn(shared: &Shared, to: Option<(&Mailboxes<Client>, usize)>) {
    if let Some((all, to)) = to {
        shared.admit();
        send(all, to);
    }
    shared.ending.close(1);
}

fn send(all: &Mailboxes<Client>, to: usize) {
    assert!(all.send(to, ()).is_ok(), "a client was sent to a shard that has ended");
}

/// A shard's turns after its last: clients that come are served, or sent on once; then it looks whether it may end.
/// Whether it has, after so many turns. An ended shard's mailbox is gone.
fn turns(shared: &Shared, mailbox: Mailbox<Client>, count: usize, on: Option<usize>) -> Option<Mailbox<Client>> {
    for turn in 0..count {
        while let Some(()) = mailbox.take() {
            match on.filter(|_| turn == 0) {
                Some(shard) => send(&mailbox.all, shard),
                None => shared.release(),
            }
        }
        if shared.is_quiet() {
            assert!(mailbox.take().is_none(), "a shard ends with a client in its mailbox");
            return None;
        }
    }
    Some(mailbox)
}

/// What is left is served in the end.
fn finish(shared: &Shared, mailbox: Option<Mailbox<Client>>) {
    while let Some(()) = mailbox.as_ref().and_then(|mailbox| mailbox.take()) {
        shared.release();
    }
}

/// An accept stands behind the news of the end, and its client is sent to the other shard, which has heard of it, too.
#[test]
fn an_accept_behind_the_end_finds_its_shard() {
    explore(5, || {
        let shared = Shared::new(2);
        let mut boxes = mailboxes(2).unwrap();
        let (second, first) = (boxes.remove(1), boxes.remove(0));
        let other = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                last_turn(&shared, None);
                turns(&shared, second, 2, None)
            })
        };
        last_turn(&shared, Some((&first.all, 1)));
        let first = turns(&shared, first, 1, None);
        let second = other.join().unwrap();
        finish(&shared, first);
        finish(&shared, second);
        assert!(shared.is_quiet(), "somebody is left");
    });
}

/// A client goes from the first shard to the second and back, while both look whether they may end.
#[test]
fn a_client_that_is_sent_on_finds_its_shard() {
    explore(5, || {
        let shared = Shared::new(2);
        let mut boxes = mailboxes(2).unwrap();
        let (second, first) = (boxes.remove(1), boxes.remove(0));
        shared.admit();
        let other = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                last_turn(&shared, None);
                turns(&shared, second, 2, Some(0))
            })
        };
        shared.ending.close(1);
        send(&first.all, 1);
        let first = turns(&shared, first, 2, None);
        let second = other.join().unwrap();
        finish(&shared, first);
        finish(&shared, second);
        assert!(shared.is_quiet(), "somebody is left");
    });
}

/// Three shards, one of which could not start: it is counted for, and the others end all the same.
#[test]
fn a_shard_that_never_started_is_not_waited_for() {
    explore(5, || {
        let shared = Shared::new(3);
        shared.ending.close(1);
        let mut boxes = mailboxes(3).unwrap();
        let (second, first) = (boxes.remove(1), boxes.remove(0));
        let other = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                last_turn(&shared, None);
                turns(&shared, second, 1, None)
            })
        };
        last_turn(&shared, Some((&first.all, 1)));
        let first = turns(&shared, first, 1, None);
        let second = other.join().unwrap();
        finish(&shared, first);
        finish(&shared, second);
        assert!(shared.is_quiet(), "somebody is left");
    });
}
