//! When an open loop's requests are due: fixed by the clock, whatever has become of the ones before.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

/// Shortest time between two looks at the clock. A runtime's own timer is too coarse: it ticks in milliseconds.
const TICK_MIN: Duration = Duration::from_micros(50);

/// Requests that are due and not yet taken by a connection.
#[derive(Default)]
pub struct Schedule {
    due: RefCell<VecDeque<Instant>>,
    idle: RefCell<VecDeque<Waker>>,
    over: Cell<bool>,
}

impl Schedule {
    /// Makes `rate` requests due each second until [`Schedule::end`].
    ///
    /// # Errors
    /// When the kernel gives no timer.
    pub async fn run(&self, rate: f64) -> io::Result<()> {
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC)?;
        let tick = Duration::from_secs_f64(1.0 / rate).max(TICK_MIN);
        let tick = Timespec { tv_sec: tick.as_secs() as i64, tv_nsec: i64::from(tick.subsec_nanos()) };
        let spec = Itimerspec { it_interval: tick, it_value: tick };
        timerfd_settime(&timer, TimerfdTimerFlags::empty(), &spec)?;
        let timer = monoio::fs::File::from_std(timer.into())?;
        let began = Instant::now();
        let mut made: u64 = 0;
        let mut count = Vec::with_capacity(8);
        while !self.over.get() {
            let result;
            (result, count) = timer.read_at(count, 0).await;
            result?;
            loop {
                let at = began + Duration::from_secs_f64(made as f64 / rate);
                if at > Instant::now() || self.over.get() {
                    break;
                }
                made += 1;
                self.due.borrow_mut().push_back(at);
                if let Some(waker) = self.idle.borrow_mut().pop_front() {
                    waker.wake();
                }
            }
        }
        Ok(())
    }

    /// The next due request's time, once there is one; `None` when there will be none.
    pub async fn next(&self) -> Option<Instant> {
        poll_fn(|context| {
            if let Some(at) = self.due.borrow_mut().pop_front() {
                return Poll::Ready(Some(at));
            }
            if self.over.get() {
                return Poll::Ready(None);
            }
            self.idle.borrow_mut().push_back(context.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// Makes no more requests due; those that are stay so.
    pub fn end(&self) {
        self.over.set(true);
        for waker in self.idle.borrow_mut().drain(..) {
            waker.wake();
        }
    }

    /// Requests that are due and that no connection was free for.
    pub fn left(&self) -> u64 {
        self.due.borrow().len() as u64
    }
}
