//! Where io_uring is forbidden, as container runtimes do it: a clear refusal, exit code 1, and nothing bound.
//!
//! A seccomp filter stays with its process and what that becomes. So this test binary starts itself, puts the filter
//! on, and becomes `ringback`.
#[path = "../support/mod.rs"]
mod support;

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};
use std::{
    collections::BTreeMap,
    env,
    net::TcpListener,
    os::unix::process::CommandExt,
    process::{Command, Output, Stdio},
};
use support::process::Watchdog;

/// What tells this test binary to become `ringback`, with these arguments.
const BECOME: &str = "RINGBACK_TEST_FORBIDDEN";

fn architecture() -> TargetArch {
    env::consts::ARCH.try_into().expect("an architecture that seccompiler knows")
}

/// Not a test by itself: becomes `ringback` under the filter.
#[test]
fn become_ringback() {
    let Ok(arguments) = env::var(BECOME) else { return };
    let rules = BTreeMap::from([(libc::SYS_io_uring_setup, Vec::new())]);
    let forbidden = SeccompAction::Errno(libc::EPERM as u32);
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, forbidden, architecture()).expect("a filter");
    let program = BpfProgram::try_from(filter).expect("a program");
    seccompiler::apply_filter(&program).expect("the kernel has seccomp");
    let error = Command::new(env!("CARGO_BIN_EXE_ringback")).args(arguments.split(' ')).env_remove(BECOME).exec();
    panic!("cannot become ringback: {error}");
}

/// Runs `ringback` where io_uring is forbidden.
fn forbidden(arguments: &str) -> Output {
    Command::new(env::current_exe().expect("a path"))
        .args(["--exact", "become_ringback", "--nocapture", "--quiet"])
        .env(BECOME, arguments)
        .stdin(Stdio::null())
        .output()
        .expect("this test binary runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What the user must learn: what is forbidden, who forbids it, and what to do.
fn names_cause_and_remedy(words: &str) {
    for word in ["io_uring", "refused", "not permitted", "seccomp", "--security-opt seccomp=unconfined"] {
        assert!(words.contains(word), "no {word:?} in:\n{words}");
    }
}

/// `ringback relay` says so on standard error, and exits with 1.
#[test]
fn relay_refuses_to_start() {
    let _watchdog = Watchdog::watch();
    let output = forbidden("relay --listen 127.0.0.1:0");
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert!(!text(&output.stdout).contains("listens"), "{}", text(&output.stdout));
    names_cause_and_remedy(&text(&output.stderr));
}

/// It has bound nothing by then: who listens on that port already goes unmentioned and undisturbed, and a free port
/// stays free.
#[test]
fn relay_binds_nothing() {
    let _watchdog = Watchdog::watch();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("an address");
    let output = forbidden(&format!("relay --listen {address}"));
    assert_eq!(output.status.code(), Some(1));
    assert!(!text(&output.stderr).contains(&address.to_string()), "{}", text(&output.stderr));
    names_cause_and_remedy(&text(&output.stderr));
}

/// `ringback check` says the same in its table, and exits with 1.
#[test]
fn check_says_so() {
    let _watchdog = Watchdog::watch();
    let output = forbidden("check");
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let table = text(&output.stdout);
    names_cause_and_remedy(&table);
    assert!(table.lines().any(|line| line.starts_with("BAD") && line.contains("io_uring")), "{table}");
    let relay = text(&forbidden("relay --listen 127.0.0.1:0").stderr);
    let remedy = table.lines().find(|line| line.contains("->")).expect("a remedy");
    assert!(relay.contains(remedy.trim()), "relay says it in other words:\n{relay}\ncheck:\n{table}");
}

/// Without the filter the same way of starting works: it is the filter that is tested.
#[test]
fn check_is_content_otherwise() {
    let output = support::process::ringback(&["check"]).output().expect("the program runs");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
    assert!(text(&output.stdout).contains("io_uring"));
}
