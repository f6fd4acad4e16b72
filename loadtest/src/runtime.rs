//! One thread, one ring, and what a process asks of the kernel before it starts.

use std::future::Future;
use std::io;

use rustix::process::{Pid, Resource, Rlimit, Signal};

/// Submission queue entries of a load generator's ring.
const RING_ENTRIES: u32 = 1024;
/// Completion queue entries: several thousand connections may end in one go.
const RING_COMPLETIONS: u32 = 32_768;

/// Runs `main` on a monoio runtime whose ring belongs to this thread alone.
///
/// # Errors
/// When the kernel grants no such ring.
pub fn run<T>(main: impl Future<Output = T>) -> io::Result<T> {
    let mut ring = monoio_io_uring::IoUring::builder();
    ring.setup_single_issuer().setup_defer_taskrun().setup_coop_taskrun().setup_cqsize(RING_COMPLETIONS);
    let mut runtime = monoio::RuntimeBuilder::<monoio::IoUringDriver>::new()
        .with_entries(RING_ENTRIES)
        .uring_builder(ring)
        .enable_timer()
        .build()?;
    Ok(runtime.block_on(main))
}

/// Pins the calling thread, and what it starts from now on, to one CPU.
///
/// # Errors
/// When there is no such CPU.
pub fn pin(core: Option<usize>) -> io::Result<()> {
    let Some(core) = core else { return Ok(()) };
    let mut set = rustix::thread::CpuSet::new();
    set.set(core);
    rustix::thread::sched_setaffinity(None::<Pid>, &set)?;
    Ok(())
}

/// Lifts the limit of open files to the hard one.
pub fn raise_open_files() {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: limit.maximum, maximum: limit.maximum };
    // Kept as it was when refused: the connections then say so themselves.
    let _ = rustix::process::setrlimit(Resource::Nofile, wanted);
}

/// Has the kernel end this process when its parent ends, however that comes about.
pub fn die_with_parent() {
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
}
