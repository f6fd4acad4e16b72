//! Mail between shards: a queue each, and an eventfd that the receiver's ring polls.
use rustix::{
    event::{EventfdFlags, eventfd},
    fd::{AsFd, AsRawFd, OwnedFd},
};
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
};

struct LetterBox<M> {
    queue: Sender<M>,
    wake: OwnedFd,
    /// Set while a wake-up is under way, so that a burst of mail costs one.
    woken: AtomicBool,
}

/// Every shard's letter box, from the sender's side.
pub struct Post<M>(Arc<[LetterBox<M>]>);

impl<M> Clone for Post<M> {
    fn clone(&self) -> Self {
        Post(Arc::clone(&self.0))
    }
}

impl<M> Post<M> {
    /// Delivers a letter to shard number `to` and wakes it. A shard that has ended loses it.
    pub fn send(&self, to: usize, mail: M) {
        let target = &self.0[to];
        let _ = target.queue.send(mail);
        if !target.woken.swap(true, Ordering::AcqRel) {
            let _ = rustix::io::write(&target.wake, &1u64.to_ne_bytes());
        }
    }

    /// How many shards there are.
    pub fn shards(&self) -> usize {
        self.0.len()
    }
}

/// A shard's own letter box.
pub struct Inbox<M> {
    shard: usize,
    queue: Receiver<M>,
    /// The way to everyone's.
    pub post: Post<M>,
}

impl<M> Inbox<M> {
    pub(super) fn wake_fd(&self) -> i32 {
        self.post.0[self.shard].wake.as_fd().as_raw_fd()
    }

    /// Clears the wake-up; to be called before the letters are taken, or one could be overlooked.
    pub(super) fn clear(&self) {
        let own = &self.post.0[self.shard];
        let _ = rustix::io::read(&own.wake, &mut [0u8; 8]);
        // An exchange, not a store: a sender that found the flag still set does not wake us, so its letter must be seen
        // by the look that follows. A store could be overtaken by that look, even on x86.
        own.woken.swap(false, Ordering::AcqRel);
    }

    pub(super) fn take(&self) -> Option<M> {
        self.queue.try_recv().ok()
    }
}

/// Letter boxes for `shards` shards.
///
/// # Errors
/// No eventfd to be had.
pub fn post_office<M>(shards: usize) -> io::Result<Vec<Inbox<M>>> {
    let mut boxes = Vec::new();
    let mut queues = Vec::new();
    for _ in 0..shards {
        let (sender, receiver) = channel();
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        boxes.push(LetterBox { queue: sender, wake, woken: AtomicBool::new(false) });
        queues.push(receiver);
    }
    let post = Post(boxes.into());
    let inbox = |(shard, queue)| Inbox { shard, queue, post: post.clone() };
    Ok(queues.into_iter().enumerate().map(inbox).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use std::thread;

    /// However sends and looks interleave, no letter stays behind without a wake-up: whoever waits for the eventfd
    /// before each look gets them all.
    #[test]
    fn no_letter_is_overlooked() {
        const LETTERS: u32 = 200_000;
        let Ok(mut boxes) = post_office::<u32>(1) else { panic!("no eventfd") };
        let inbox = boxes.remove(0);
        let post = inbox.post.clone();
        let sender = thread::spawn(move || (0..LETTERS).for_each(|n| post.send(0, n)));
        let mut next = 0;
        while next < LETTERS {
            let wake = inbox.post.0[0].wake.as_fd();
            let patience = Timespec { tv_sec: 20, tv_nsec: 0 };
            let woken = poll(&mut [PollFd::new(&wake, PollFlags::IN)], Some(&patience)).unwrap();
            assert_eq!(woken, 1, "letter {next} came without a wake-up");
            inbox.clear();
            while let Some(letter) = inbox.take() {
                assert_eq!(letter, next);
                next += 1;
            }
        }
        sender.join().unwrap();
    }
}
