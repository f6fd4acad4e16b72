//! Time limits of an exchange or a tunnel: how long ago something last moved, either way.
use std::{
    future::{Future, pending},
    io,
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use tokio::time::{Instant, sleep};

/// Shared by both ways of an exchange or of a tunnel: as long as one way moves, the other may wait for it.
#[derive(Debug)]
pub(super) struct Clock {
    start: Instant,
    /// Microseconds from `start` to the last movement.
    moved: AtomicU64,
    /// Whether the final response's head has been read.
    answered: AtomicBool,
}

impl Clock {
    /// A clock for what begins now.
    pub fn start() -> Clock {
        Clock { start: Instant::now(), moved: AtomicU64::new(0), answered: AtomicBool::new(false) }
    }

    /// Something moved just now.
    pub fn moved(&self) {
        let micros = u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.moved.store(micros, Relaxed);
    }

    /// The final response's head has been read.
    pub fn answer(&self) {
        self.moved();
        self.answered.store(true, Relaxed);
    }

    /// Whether the final response's head has been read.
    pub fn is_answered(&self) -> bool {
        self.answered.load(Relaxed)
    }

    /// Ready when nothing has moved for `limit`.
    pub async fn stalled(&self, limit: Duration) {
        loop {
            let still = self.start.elapsed().saturating_sub(Duration::from_micros(self.moved.load(Relaxed)));
            match limit.saturating_sub(still) {
                Duration::ZERO => return,
                // Not until a point in time: a limit of centuries has none.
                left => sleep(left).await,
            }
        }
    }

    /// Ready when nothing has moved for `limit` before the response; never once that has begun.
    pub async fn unanswered(&self, limit: Duration) {
        self.stalled(limit).await;
        if self.is_answered() {
            pending().await
        }
    }

    /// Waits for `work` as long as anything moves.
    ///
    /// # Errors
    /// Those of the work, and [`io::ErrorKind::TimedOut`].
    pub async fn limit<T>(&self, limit: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
        tokio::select! {
            biased;
            done = work => done,
            () = self.stalled(limit) => Err(timed_out(limit)),
        }
    }
}

/// Waits for `work` for `limit` in all.
///
/// # Errors
/// Those of the work, and [`io::ErrorKind::TimedOut`].
pub(super) async fn within<T>(limit: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| Err(timed_out(limit)))
}

fn timed_out(limit: Duration) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("nothing moved for {limit:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_limit_of_centuries_is_no_limit() {
        let clock = Clock::start();
        let patient = clock.limit(Duration::MAX, async { Ok(()) }).await;
        assert!(patient.is_ok());
        let stalled = tokio::time::timeout(Duration::from_millis(1), clock.stalled(Duration::MAX)).await;
        assert!(stalled.is_err());
    }

    #[tokio::test]
    async fn an_answer_ends_the_wait_for_it() {
        let clock = Clock::start();
        clock.unanswered(Duration::from_millis(1)).await;
        clock.answer();
        let wait = tokio::time::timeout(Duration::from_millis(10), clock.unanswered(Duration::from_millis(1)));
        assert!(wait.await.is_err());
    }
}
