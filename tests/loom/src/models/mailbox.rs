//! No message stays behind without a wake-up.
use super::explore;
use crate::io::mailbox::{Mailbox, mailboxes};
use loom::thread;

/// Waits and looks as a shard does, until so many messages have come. A wake-up that is missing shows as a deadlock.
fn receive(mailbox: &Mailbox<u32>, count: usize) -> Vec<u32> {
    let mut messages = Vec::new();
    while messages.len() < count {
        mailbox.wait();
        mailbox.clear();
        while let Some(message) = mailbox.take() {
            messages.push(message);
        }
    }
    messages
}

/// One sender: every message comes, in order, whenever the look falls between its appending and its waking.
#[test]
fn one_sender_is_never_overlooked() {
    explore(4, || {
        let mailbox = mailboxes(1).unwrap().remove(0);
        let all = mailbox.all.clone();
        let sender = thread::spawn(move || (0..3).for_each(|n| all.send(0, n).unwrap()));
        assert_eq!(receive(&mailbox, 3), [0, 1, 2]);
        sender.join().unwrap();
    });
}

/// Two senders, of whom the second relies on the first one's wake-up.
#[test]
fn two_senders_are_never_overlooked() {
    explore(4, || {
        let mailbox = mailboxes(1).unwrap().remove(0);
        let senders = [1, 2].map(|n| {
            let all = mailbox.all.clone();
            thread::spawn(move || all.send(0, n).unwrap())
        });
        let mut messages = receive(&mailbox, 2);
        messages.sort_unstable();
        assert_eq!(messages, [1, 2]);
        senders.into_iter().for_each(|sender| sender.join().unwrap());
    });
}

/// A message to a shard that has ended comes back. That none is lost which is sent while it ends is for the end's own
/// models.
#[test]
fn a_message_after_the_end_comes_back() {
    explore(4, || {
        let mut boxes = mailboxes(2).unwrap();
        let all = boxes[0].all.clone();
        drop(boxes.remove(1));
        let sender = thread::spawn(move || all.send(1, 7));
        assert_eq!(sender.join().unwrap(), Err(7));
    });
}
