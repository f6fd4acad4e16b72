//! What this machine offers, determined by asking the kernel rather than guessed from its version.
use super::uring::{Mode, build_ring, locked_bytes};
use io_uring::{IoUring, cqueue, opcode, types};
use rustix::{
    fd::AsRawFd,
    io::Errno,
    net::{AddressFamily, SendFlags, SocketFlags, SocketType, send, socketpair},
    process::{Resource, Rlimit, getrlimit, setrlimit},
};
use std::{fs, io, os::unix::net::UnixStream};

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As it should be.
    Good,
    /// The relay starts, with restrictions.
    Poor,
    /// The relay cannot start.
    Bad,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What was checked.
    pub name: &'static str,
    /// What was found.
    pub found: String,
    /// How good that is.
    pub verdict: Verdict,
    /// Advice; empty if nothing needs to be done.
    pub remedy: String,
}

impl Check {
    fn good(name: &'static str, found: impl Into<String>) -> Check {
        Check { name, found: found.into(), verdict: Verdict::Good, remedy: String::new() }
    }

    fn not(verdict: Verdict, name: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Check {
        Check { name, found: found.into(), verdict, remedy: remedy.into() }
    }
}

/// What a relay will ask this machine for.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// Backlog of its listeners.
    pub backlog: i32,
    /// Shards, one per core.
    pub shards: usize,
    /// Buffers of each.
    pub buffers: u16,
    /// Bytes of each of those.
    pub buffer_size: u32,
}

/// Checks everything that `ringback relay` depends on.
pub fn checks(wanted: &Wanted) -> Vec<Check> {
    let mut checks = vec![kernel()];
    checks.extend(rings());
    checks.extend([
        open_files(),
        locked_memory(wanted),
        memory(wanted),
        accept_queue(wanted.backlog),
        pipes(),
        ports(),
        cpus(),
    ]);
    checks
}

fn kernel() -> Check {
    let uname = rustix::system::uname();
    let release = uname.release().to_string_lossy().into_owned();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse::<u32>().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    match version {
        version if version >= (6, 1) => Check::good("kernel", release),
        _ => Check::not(
            Verdict::Poor,
            "kernel",
            release,
            "6.1 or later is what ringback is tested on; see the lines below",
        ),
    }
}

/// The most likely cause of an error of io_uring_setup, and what to do.
pub fn setup_advice(error: &io::Error) -> String {
    let disabled = read("/proc/sys/kernel/io_uring_disabled").unwrap_or_default();
    match Errno::from_io_error(error) {
        Some(Errno::PERM | Errno::ACCESS) if disabled != "0" && !disabled.is_empty() => format!(
            "kernel.io_uring_disabled is {disabled}: run `sysctl -w kernel.io_uring_disabled=0`, or 1 and add this user's group to kernel.io_uring_group"
        ),
        Some(Errno::PERM | Errno::ACCESS) => "a seccomp filter forbids io_uring, as the default profiles of Docker, containerd and podman do: run the container with --security-opt seccomp=unconfined or a profile that allows io_uring_setup, io_uring_enter and io_uring_register".to_string(),
        Some(Errno::NOSYS) => "this kernel has no io_uring: use Linux 6.1 or later built with CONFIG_IO_URING".to_string(),
        Some(Errno::NOMEM) => "memory that may be locked has run out, for which other programs of this user count, too: raise `ulimit -l` (LimitMEMLOCK= in systemd), or use fewer --cores or --buffers".to_string(),
        Some(Errno::MFILE | Errno::NFILE) => "file descriptors have run out: raise `ulimit -n` (LimitNOFILE= in systemd)".to_string(),
        _ => "use Linux 6.1 or later".to_string(),
    }
}

fn rings() -> Vec<Check> {
    const NAME: &str = "io_uring";
    let (ring, mode) = match build_ring(64, 1024) {
        Ok(built) => built,
        Err(error) => return vec![Check::not(Verdict::Bad, NAME, format!("refused: {error}"), setup_advice(&error))],
    };
    let flags = match mode {
        Mode::DeferTaskrun => Check::good(NAME, "allowed, with SINGLE_ISSUER | DEFER_TASKRUN"),
        Mode::CoopTaskrun => Check::not(
            Verdict::Poor,
            NAME,
            "allowed, with COOP_TASKRUN only",
            "Linux 6.1 or later costs less CPU a request",
        ),
        Mode::Plain => Check::not(
            Verdict::Poor,
            NAME,
            "allowed, without task-run flags",
            "Linux 6.1 or later costs less CPU a request",
        ),
    };
    let receive = match multishot_receive(ring) {
        Ok(()) => Check::good("receive", "multishot, into a provided buffer ring"),
        Err(error) => Check::not(
            Verdict::Bad,
            "receive",
            format!("multishot into a provided buffer ring fails: {error}"),
            "use Linux 6.1 or later; some Ubuntu 6.8 kernels refuse buffer rings: update them",
        ),
    };
    vec![flags, receive]
}

/// Receives a few bytes the way the relay does.
fn multishot_receive(mut ring: IoUring) -> io::Result<()> {
    let mut pool = super::pool::Pool::new(&ring.submitter(), 4, 4096)?;
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    let receive = opcode::RecvMulti::new(types::Fd(ours.as_raw_fd()), super::pool::GROUP).build();
    // SAFETY: the entry names a descriptor and the pool's ring, and both outlive the ring (dropped first, below).
    unsafe { ring.submission().push(&receive) }.map_err(|_| io::ErrorKind::StorageFull)?;
    send(&theirs, b"ringback", SendFlags::NOSIGNAL)?;
    ring.submit_and_wait(1)?;
    let completion = ring.completion().next().ok_or(io::ErrorKind::UnexpectedEof)?;
    if completion.result() < 0 {
        return Err(io::Error::from_raw_os_error(-completion.result()));
    }
    let id = cqueue::buffer_select(completion.flags()).ok_or(io::ErrorKind::InvalidData)?;
    let buf = pool.filled(id, completion.result() as u32);
    let whole = pool.bytes(&buf) == b"ringback";
    pool.release(buf);
    drop(ring);
    drop(UnixStream::from(theirs));
    if whole { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
}

/// Raises the soft limit of open files to the hard one, and returns it.
pub fn raise_open_files() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    }
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Connections that fit so many open files beside what the relay needs for itself: rings, listeners, pipes for bulk, and
/// a few to answer those that are turned away.
pub fn connections_for(open_files: u64, shards: usize, pipes: usize) -> usize {
    /// For standard streams, and for what libraries open.
    const PROCESS: usize = 32;
    /// Ring, mailbox, listeners, and connections beyond the limit that get their answer.
    const SHARD: usize = 32;
    let open_files = usize::try_from(open_files).unwrap_or(usize::MAX);
    // Without a pipe bulk goes through buffers, so pipes do not take more than a share.
    let pipes = (2 * pipes * shards).min(open_files / 4);
    open_files.saturating_sub(PROCESS + SHARD * shards + pipes).max(1)
}

fn open_files() -> Check {
    const NAME: &str = "open files";
    let most = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    let found = format!("{most} (a gateway or client each)");
    match most {
        0..64 => Check::not(Verdict::Bad, NAME, found, "raise `ulimit -Hn` to 65536 or more (LimitNOFILE= in systemd)"),
        64..10_000 => {
            Check::not(Verdict::Poor, NAME, found, "raise `ulimit -Hn` to 65536 or more (LimitNOFILE= in systemd)")
        }
        _ => Check::good(NAME, found),
    }
}

/// Rings are locked memory, which has a limit per user unless the process may ignore it (`CAP_IPC_LOCK`).
fn locked_memory(wanted: &Wanted) -> Check {
    const NAME: &str = "locked memory";
    let needed = locked_bytes(wanted.buffers) * wanted.shards as u64;
    let need = format!("{} KiB needed for {} shards", needed >> 10, wanted.shards);
    match getrlimit(Resource::Memlock).current {
        None => Check::good(NAME, format!("unlimited; {need}")),
        Some(_) if may_lock_any() => Check::good(NAME, format!("unlimited by CAP_IPC_LOCK; {need}")),
        Some(bytes) if bytes >= needed => Check::good(NAME, format!("{} KiB; {need}", bytes >> 10)),
        Some(bytes) => Check::not(
            Verdict::Bad,
            NAME,
            format!("{} KiB; {need}", bytes >> 10),
            format!(
                "raise `ulimit -l` to {} or more (LimitMEMLOCK= in systemd), or use fewer --cores or --buffers",
                needed >> 10
            ),
        ),
    }
}

/// Buffers are memory once they are used, and all of them may be.
fn memory(wanted: &Wanted) -> Check {
    const NAME: &str = "memory";
    let system = rustix::system::sysinfo();
    let total = system.totalram as u64 * u64::from(system.mem_unit);
    let needed = wanted.shards as u64 * u64::from(wanted.buffers) * u64::from(wanted.buffer_size);
    let found = format!("{} MiB; {} MiB for the buffers of {} shards", total >> 20, needed >> 20, wanted.shards);
    match needed {
        needed if needed > total => {
            Check::not(Verdict::Bad, NAME, found, "use fewer --buffers, a smaller --buffer-size or fewer --cores")
        }
        needed if needed > total / 2 => {
            Check::not(Verdict::Poor, NAME, found, "leave more for sockets: the kernel holds what peers have not taken")
        }
        _ => Check::good(NAME, found),
    }
}

fn may_lock_any() -> bool {
    rustix::thread::capabilities(None)
        .is_ok_and(|sets| sets.effective.contains(rustix::thread::CapabilitySet::IPC_LOCK))
}

fn accept_queue(backlog: i32) -> Check {
    const NAME: &str = "accept queue";
    let found = read("/proc/sys/net/core/somaxconn").unwrap_or_default();
    match found.parse::<i64>() {
        Ok(most) if most < i64::from(backlog) => Check::not(
            Verdict::Poor,
            NAME,
            format!("net.core.somaxconn is {most}, --backlog {backlog}"),
            format!("run `sysctl -w net.core.somaxconn={backlog}`, or connections are dropped in a storm"),
        ),
        _ => Check::good(NAME, format!("net.core.somaxconn is {found}")),
    }
}

fn pipes() -> Check {
    let pages = read("/proc/sys/fs/pipe-user-pages-soft").unwrap_or_default();
    Check::good("pipes", format!("fs.pipe-user-pages-soft is {pages}; past it, bulk transfers get smaller pipes"))
}

fn ports() -> Check {
    let range = read("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    Check::good("port range", format!("{} (matters to gateways and load generators here)", range.replace('\t', "-")))
}

fn cpus() -> Check {
    let cpus = available_cpus();
    Check::good("CPUs", format!("{} usable: {}", cpus.len(), list(&cpus)))
}

/// The CPUs this process may run on.
pub fn available_cpus() -> Vec<usize> {
    let Ok(set) = rustix::thread::sched_getaffinity(None) else { return vec![0] };
    (0..rustix::thread::CpuSet::MAX_CPU).filter(|&cpu| set.is_set(cpu)).collect()
}

/// Pins the calling thread to a CPU.
///
/// # Errors
/// The CPU does not exist, or this process may not use it.
pub fn pin(cpu: usize) -> io::Result<()> {
    if cpu >= rustix::thread::CpuSet::MAX_CPU {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut set = rustix::thread::CpuSet::new();
    set.set(cpu);
    Ok(rustix::thread::sched_setaffinity(None, &set)?)
}

/// Numbers separated by commas.
pub fn list(numbers: &[usize]) -> String {
    numbers.iter().map(usize::to_string).collect::<Vec<_>>().join(",")
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_string())
}
