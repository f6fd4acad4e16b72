//! Which parked connections are surplus: those that have been waiting longest.
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

/// The parked `ptth` connections in the order in which they were parked. The relay takes the one parked last, so the
/// first is the one that is least likely to be taken in the same instant, and the one whose way through NATs was
/// unused for longest.
#[derive(Debug, Default)]
pub(super) struct Parking(Mutex<Queue>);

#[derive(Debug, Default)]
struct Queue {
    next: u64,
    parked: BTreeMap<u64, oneshot::Sender<()>>,
}

impl Parking {
    /// Parks a connection. It stays in its place until the result is dropped.
    pub fn park(&self) -> Parked<'_> {
        let (ask, asked) = oneshot::channel();
        let mut queue = self.queue();
        let place = queue.next;
        queue.next += 1;
        queue.parked.insert(place, ask);
        Parked { parking: self, place, asked }
    }

    /// Asks the `count` connections that were parked first to close.
    pub fn close(&self, count: usize) {
        let mut queue = self.queue();
        for _ in 0..count {
            let Some((_, ask)) = queue.parked.pop_first() else {
                return;
            };
            let _it_was_just_taken = ask.send(());
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A parked connection's place.
#[derive(Debug)]
pub(super) struct Parked<'p> {
    parking: &'p Parking,
    place: u64,
    asked: oneshot::Receiver<()>,
}

impl Parked<'_> {
    /// Ready when the connection should close.
    pub async fn surplus(&mut self) {
        if (&mut self.asked).await.is_err() {
            std::future::pending().await
        }
    }
}

impl Drop for Parked<'_> {
    fn drop(&mut self) {
        self.parking.queue().parked.remove(&self.place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_one_that_was_parked_first_is_asked_first() {
        let parking = Parking::default();
        let first = parking.park();
        let (mut second, mut third) = (parking.park(), parking.park());
        drop(first);
        parking.close(1);
        second.surplus().await;
        assert!(third.asked.try_recv().is_err());
        parking.close(5);
        third.surplus().await;
        assert!(parking.queue().parked.is_empty());
    }
}
