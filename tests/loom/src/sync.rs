//! What the relay's `sync` is, with loom's locks and atomics.
use std::{
    collections::VecDeque,
    sync::mpsc::{SendError, TryRecvError},
};

pub use loom::sync::{
    Mutex, MutexGuard, RwLock,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};
// Nothing depends on when a count reaches zero, and loom's own cannot hold a slice.
pub use std::sync::{Arc, PoisonError};

/// A queue that promises what the standard one does and no more: who finds a message sees all that was done before it
/// was sent. Who finds none may be late: loom's own channels never are.
struct Queue<M> {
    messages: Mutex<VecDeque<M>>,
    sent: AtomicUsize,
    has_receiver: AtomicBool,
}

/// The sending half.
pub struct Sender<M>(Arc<Queue<M>>);

/// The receiving half.
pub struct Receiver<M> {
    queue: Arc<Queue<M>>,
    taken: std::cell::Cell<usize>,
}

/// A queue's two halves.
pub fn channel<M>() -> (Sender<M>, Receiver<M>) {
    let queue = Arc::new(Queue {
        messages: Mutex::new(VecDeque::new()),
        sent: AtomicUsize::new(0),
        has_receiver: AtomicBool::new(true),
    });
    (Sender(Arc::clone(&queue)), Receiver { queue, taken: std::cell::Cell::new(0) })
}

impl<M> Sender<M> {
    /// Appends a message; it comes back if nobody can receive it any more.
    pub fn send(&self, message: M) -> Result<(), SendError<M>> {
        if !self.0.has_receiver.load(Ordering::Acquire) {
            return Err(SendError(message));
        }
        self.0.messages.lock().unwrap().push_back(message);
        self.0.sent.fetch_add(1, Ordering::Release);
        Ok(())
    }
}

impl<M> Receiver<M> {
    /// Takes the first message.
    pub fn try_recv(&self) -> Result<M, TryRecvError> {
        if self.queue.sent.load(Ordering::Acquire) == self.taken.get() {
            return Err(TryRecvError::Empty);
        }
        self.taken.set(self.taken.get() + 1);
        self.queue.messages.lock().unwrap().pop_front().ok_or(TryRecvError::Empty)
    }
}

impl<M> Drop for Receiver<M> {
    fn drop(&mut self) {
        self.queue.has_receiver.store(false, Ordering::Release);
    }
}
