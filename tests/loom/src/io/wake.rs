//! An eventfd and the ring that polls it.
use loom::sync::{Condvar, Mutex};
use std::io;

/// The counter, and who waits for it.
pub struct Wake {
    count: Mutex<u64>,
    rung: Condvar,
}

impl Wake {
    /// A new one.
    pub fn new() -> io::Result<Wake> {
        Ok(Wake { count: Mutex::new(0), rung: Condvar::new() })
    }

    /// Wakes whoever waits, now or later.
    pub fn ring(&self) {
        *self.count.lock().unwrap() += 1;
        self.rung.notify_one();
    }

    /// Takes all wake-ups so far.
    pub fn clear(&self) {
        *self.count.lock().unwrap() = 0;
    }

    /// Waits for a wake-up, as the ring does.
    pub fn wait(&self) {
        let mut count = self.count.lock().unwrap();
        while *count == 0 {
            count = self.rung.wait(count).unwrap();
        }
    }

    /// There is no descriptor here.
    pub fn as_raw_fd(&self) -> i32 {
        -1
    }
}
