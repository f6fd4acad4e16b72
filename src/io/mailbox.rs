//! The shards' mailboxes: a queue each, and an eventfd that the owner's ring polls.
use super::wake::Wake;
use crate::sync::{Arc, AtomicBool, Ordering, Receiver, Sender, channel};
use std::io;

/// One shard's mailbox, as senders see it.
struct Slot<M> {
    queue: Sender<M>,
    wake: Wake,
    /// Set while a wake-up is pending, so that a burst of messages costs one.
    woken: AtomicBool,
}

/// All shards' mailboxes, as senders see them.
pub struct Mailboxes<M>(Arc<[Slot<M>]>);

impl<M> Clone for Mailboxes<M> {
    fn clone(&self) -> Self {
        Mailboxes(Arc::clone(&self.0))
    }
}

impl<M> Mailboxes<M> {
    /// Delivers a message to shard number `to`, and wakes that shard.
    ///
    /// # Errors
    /// The shard has ended; the message is returned.
    pub fn send(&self, to: usize, mail: M) -> Result<(), M> {
        let target = &self.0[to];
        target.queue.send(mail).map_err(|error| error.0)?;
        if !target.woken.swap(true, Ordering::AcqRel) {
            target.wake.ring();
        }
        Ok(())
    }

    /// How many shards there are.
    pub fn shards(&self) -> usize {
        self.0.len()
    }
}

/// A shard's own mailbox, from which it receives.
pub struct Mailbox<M> {
    shard: usize,
    queue: Receiver<M>,
    /// All mailboxes, for sending.
    pub all: Mailboxes<M>,
}

impl<M> Mailbox<M> {
    /// Waits for a wake-up, as the ring would.
    #[cfg(loom)]
    pub fn wait(&self) {
        self.all.0[self.shard].wake.wait();
    }

    pub(super) fn wake_fd(&self) -> i32 {
        self.all.0[self.shard].wake.as_raw_fd()
    }

    /// Clears the wake-up. Must be called before the messages are taken, or one could be missed.
    pub(crate) fn clear(&self) {
        let own = &self.all.0[self.shard];
        own.wake.clear();
        // An exchange, not a store: a sender that found the flag still set does not wake us, so its message must be
        // seen by the look that follows. A store could be overtaken by that look, even on x86.
        own.woken.swap(false, Ordering::AcqRel);
    }

    pub(crate) fn take(&self) -> Option<M> {
        self.queue.try_recv().ok()
    }
}

/// Mailboxes for `shards` shards.
///
/// # Errors
/// No eventfd is available.
pub fn mailboxes<M>(shards: usize) -> io::Result<Vec<Mailbox<M>>> {
    let mut slots = Vec::new();
    let mut queues = Vec::new();
    for _ in 0..shards {
        let (sender, receiver) = channel();
        slots.push(Slot { queue: sender, wake: Wake::new()?, woken: AtomicBool::new(false) });
        queues.push(receiver);
    }
    let all = Mailboxes(slots.into());
    let mailbox = |(shard, queue)| Mailbox { shard, queue, all: all.clone() };
    Ok(queues.into_iter().enumerate().map(mailbox).collect())
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use rustix::{
        event::{PollFd, PollFlags, Timespec, poll},
        fd::AsFd,
    };
    use std::thread;

    /// However sends and looks interleave, no message is left behind without a wake-up: a receiver that
    /// waits for the eventfd before each look gets them all.
    #[test]
    fn no_message_is_overlooked() {
        const MESSAGES: u32 = 200_000;
        let Ok(mut boxes) = mailboxes::<u32>(1) else { panic!("no eventfd") };
        let mailbox = boxes.remove(0);
        let all = mailbox.all.clone();
        let sender = thread::spawn(move || (0..MESSAGES).for_each(|n| assert_eq!(all.send(0, n), Ok(()))));
        let mut next = 0;
        while next < MESSAGES {
            let wake = mailbox.all.0[0].wake.as_fd();
            let patience = Timespec { tv_sec: 20, tv_nsec: 0 };
            let woken = poll(&mut [PollFd::new(&wake, PollFlags::IN)], Some(&patience)).unwrap();
            assert_eq!(woken, 1, "message {next} came without a wake-up");
            mailbox.clear();
            while let Some(message) = mailbox.take() {
                assert_eq!(message, next);
                next += 1;
            }
        }
        sender.join().unwrap();
    }

    /// A shard that has ended gets no more mail, and the sender has it back.
    #[test]
    fn mail_to_an_ended_shard_comes_back() {
        let Ok(mut boxes) = mailboxes::<u32>(2) else { panic!("no eventfd") };
        let all = boxes[0].all.clone();
        drop(boxes.remove(1));
        assert_eq!((all.send(1, 7), all.send(0, 8)), (Err(7), Ok(())));
    }
}
