//! A relay that cannot start, or cannot go on, as a whole: it ends as a whole, and says why.
use crate::support::{
    peers::*,
    process::{Process, Watchdog},
    *,
};
use ringback::relay::{Config, Relay, StartError};
use rustix::process::Signal;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};
use std::{
    collections::BTreeMap,
    env,
    net::{SocketAddr, TcpListener},
    os::unix::process::CommandExt,
    process::{Command, Stdio},
    thread,
};

/// What tells this test binary to become `ringback`, with these arguments.
const BECOME: &str = "RINGBACK_TEST_FRAIL";

/// A ring's turn that submits so many entries is refused by the kernel: fewer than the newcomers of one turn.
const REFUSED_FROM: u64 = 12;

/// What tells it to become a `ringback` that can start no thread.
const BECOME_ALONE: &str = "RINGBACK_TEST_ALONE";

/// Not a test by itself: becomes `ringback` whose rings fail once they have much to do.
#[test]
fn become_frail() {
    let much = SeccompCondition::new(1, SeccompCmpArgLen::Dword, SeccompCmpOp::Ge, REFUSED_FROM).expect("a condition");
    let rules = BTreeMap::from([(libc::SYS_io_uring_enter, vec![SeccompRule::new(vec![much]).expect("a rule")])]);
    become_without(BECOME, rules, libc::EPERM);
}

/// Not a test by itself: becomes `ringback` that the kernel gives no further thread.
#[test]
fn become_alone() {
    let rules = BTreeMap::from([(libc::SYS_clone, vec![]), (libc::SYS_clone3, vec![])]);
    become_without(BECOME_ALONE, rules, libc::EAGAIN);
}

/// Becomes `ringback`, if the variable gives arguments for it, under a filter of its system calls.
fn become_without(variable: &str, rules: BTreeMap<i64, Vec<SeccompRule>>, error: i32) {
    let Ok(arguments) = env::var(variable) else { return };
    let architecture: TargetArch = env::consts::ARCH.try_into().expect("an architecture that seccompiler knows");
    let forbidden = SeccompAction::Errno(error as u32);
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, forbidden, architecture).expect("a filter");
    seccompiler::apply_filter(&BpfProgram::try_from(filter).expect("a program")).expect("the kernel has seccomp");
    let error = Command::new(env!("CARGO_BIN_EXE_ringback")).args(arguments.split(' ')).env_remove(variable).exec();
    panic!("cannot become ringback: {error}");
}

/// The kernel refuses one of two rings a turn: the process ends, as failed, and its message names the ring. Whoever was
/// connected to the other shard does not stay with half a relay.
#[test]
fn a_ring_that_fails_ends_the_process() {
    let _watchdog = Watchdog::watch();
    let cpus = thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get).min(2);
    let relay = Process::become_of(becoming("rings::become_frail", BECOME, cpus));
    let mut gateways = Vec::new();
    // All at once, so that each ring that gets enough of them has much to do in one turn.
    relay.signal(Signal::STOP);
    for _ in 0..400 {
        let mut gateway = relay.connect();
        gateway.send(ptth_get("dev", ""));
        gateways.push(gateway);
    }
    relay.signal(Signal::CONT);
    for gateway in &mut gateways {
        gateway.until_gone();
    }
    let (status, _, complaints) = relay.ends();
    assert_eq!(status.code(), Some(1), "{complaints}");
    assert!(complaints.contains("io_uring of shard"), "{complaints}");
}

/// A command that becomes `ringback relay` in the named test.
fn becoming(test: &str, variable: &str, cores: usize) -> Command {
    let mut command = Command::new(env::current_exe().expect("a path"));
    command
        .args(["--exact", test, "--nocapture", "--quiet"])
        .env(variable, format!("relay --listen 127.0.0.1:0 --cores {cores}"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// A relay that gets no thread does not start; it ends as failed, and its message says what it could not start.
#[test]
fn a_thread_that_cannot_be_started() {
    let _watchdog = Watchdog::watch();
    let output = becoming("rings::become_alone", BECOME_ALONE, 1).output().expect("the test binary runs");
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{complaints}");
    assert!(complaints.contains("cannot start a shard"), "{complaints}");
}

/// A relay one of whose CPUs cannot be pinned does not start, and says which; the shards that could have started are
/// gone, so that the address is free for the next.
#[test]
fn a_cpu_that_cannot_be_pinned() {
    let address = free_address();
    for cores in [vec![0, 5000], vec![5000, 0], vec![0, 0, 0, 5000]] {
        let wrong = Relay::start(Config { listen: vec![address], cores, ..config() });
        assert!(matches!(wrong, Err(StartError::Pin(5000, _))), "{:?}", wrong.err());
        let server = Server::start(Config { listen: vec![address], ..config() });
        let _gateway = server.ptth("dev");
    }
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port")
}
