//! Standard output and standard error. Whoever reads them, or has ceased to, does not hold the program up: what is said
//! goes through a bounded queue to a thread that writes it. What finds no room there, or cannot be written, is dropped
//! and counted.
use std::{
    io::{self, Write},
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc::{Receiver, Sender, SyncSender, channel, sync_channel},
    },
    thread,
    time::Duration,
};

/// Messages that may wait to be written.
const QUEUE_MAX: usize = 1024;

/// How long the end of the program waits for what was said before it.
const FLUSH_MAX: Duration = Duration::from_millis(500);

enum Entry {
    Text(Vec<u8>),
    /// Everything before it is written.
    Flushed(Sender<()>),
}

static QUEUE: OnceLock<Option<SyncSender<Entry>>> = OnceLock::new();
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// The queue; `None` without a thread to empty it.
fn queue() -> Option<&'static SyncSender<Entry>> {
    let start = || {
        let (queue, entries) = sync_channel(QUEUE_MAX);
        let thread = thread::Builder::new().name("stderr".to_owned()).spawn(move || write_all(&entries));
        thread.is_ok().then_some(queue)
    };
    QUEUE.get_or_init(start).as_ref()
}

fn write_all(entries: &Receiver<Entry>) {
    for entry in entries {
        match entry {
            Entry::Text(text) => {
                if write(&text).is_err() {
                    DROPPED.fetch_add(1, Relaxed);
                    continue;
                }
                let dropped = DROPPED.swap(0, Relaxed);
                let notice = format!("ringback: {dropped} messages before this could not be written\n");
                if dropped > 0 && write(notice.as_bytes()).is_err() {
                    DROPPED.fetch_add(dropped, Relaxed);
                }
            }
            Entry::Flushed(done) => drop(done),
        }
    }
}

fn write(text: &[u8]) -> io::Result<()> {
    io::stderr().write_all(text)
}

fn push(text: Vec<u8>) {
    let said = match queue() {
        Some(queue) => queue.try_send(Entry::Text(text)).is_ok(),
        // Where not even a thread can be had, the reason must be told all the same.
        None => write(&text).is_ok(),
    };
    if !said {
        DROPPED.fetch_add(1, Relaxed);
    }
}

/// Says something on standard error: one or more whole lines, each with its end. Never waits and never fails.
pub fn say(text: &str) {
    push(text.as_bytes().to_vec());
}

/// Says something on standard output, where it is often waited for: at once. A reader that has gone is no error.
pub fn print(text: &str) {
    let mut stdout = io::stdout().lock();
    let _reader_has_gone = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}

/// Waits until what was said is written, but not for long.
pub fn flush() {
    let Some(queue) = QUEUE.get().and_then(Option::as_ref) else { return };
    let (done, is_done) = channel();
    if queue.try_send(Entry::Flushed(done)).is_ok() {
        let _closed_or_too_late = is_done.recv_timeout(FLUSH_MAX);
    }
}

/// Where a logger writes its lines: each `write` is a whole one.
#[cfg(feature = "gateway")]
#[derive(Clone, Copy, Debug)]
pub struct Log;

#[cfg(feature = "gateway")]
impl Write for Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        push(line.to_vec());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
