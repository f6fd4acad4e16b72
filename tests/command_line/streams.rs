//! Standard output, standard error and signals: whatever happens to them, the programs go on, and end when they are told
//! to.
use crate::support::{
    Peer, eventually,
    peers::*,
    process::{Process, Watchdog, ringback},
};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs::OpenOptions,
    io::{BufRead, BufReader, pipe},
    net::TcpListener,
    process::{Child, ChildStderr, Command, Stdio},
    thread,
};

/// Reports that fill a pipe that nobody reads, many times over.
const REPORTS: usize = 2000;

/// Streams that cannot be written, or not any more; and what keeps them so.
fn unwritable() -> [(&'static str, Stdio, Option<std::io::PipeReader>); 3] {
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let (reader, gone) = pipe().unwrap();
    drop(reader);
    let (unread, stalled) = pipe().unwrap();
    [
        ("a full disk", full.into(), None),
        ("a reader that has gone", gone.into(), None),
        ("a reader that has stopped", stalled.into(), Some(unread)),
    ]
}

/// A server that answers each connection's first request, and its port.
fn target() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut peer = Peer::new(stream.unwrap());
            if peer.try_head().is_ok() {
                peer.try_send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi");
            }
        }
    });
    address
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).expect("it runs");
}

/// Asks through the relay until the gateway's target answers.
fn is_served(relay: &Process, path: &str) {
    eventually("the target answers", || {
        let mut client = relay.connect();
        client.send(get(path) + "Connection: close\r\n\r\n");
        client.try_head().is_ok_and(|head| head.starts_with("HTTP/1.1 200 "))
    });
}

fn gateway(relay: &Process, target: &str, more: &[&str]) -> Command {
    let url = format!("http://{}", relay.address());
    ringback(&[&["gateway", "--relay", &url, "--domain", "dev", "--target", target], more].concat())
}

/// Ends it with SIGTERM: exit code 0.
fn ends(mut child: Child) {
    signal(&child, Signal::TERM);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

/// A relay that cannot write reports goes on serving, and ends when it is told to.
#[test]
fn a_relay_that_cannot_complain_serves() {
    let _watchdog = Watchdog::watch();
    for (what, stderr, _unread) in unwritable() {
        let mut command = ringback(&["relay", "--listen", "127.0.0.1:0", "--cores", "1"]);
        command.stderr(stderr);
        let mut relay = Process::become_of(command);
        for _ in 0..REPORTS {
            relay.signal(Signal::USR1);
        }
        let mut gateway = relay.connect();
        gateway.send(ptth_get("dev", ""));
        gateway.expect(PTTH_101);
        assert!(relay.runs(), "{what}");
        relay.signal(Signal::TERM);
        let (status, ..) = relay.ends();
        assert_eq!(status.code(), Some(0), "{what}");
    }
}

/// A gateway that cannot log goes on serving, and ends when it is told to.
#[test]
fn a_gateway_that_cannot_log_serves() {
    let _watchdog = Watchdog::watch();
    let relay = Process::relay(&[]);
    let target = target();
    for (what, stderr, _unread) in unwritable() {
        let mut child = gateway(&relay, &target, &["-v"]).stderr(stderr).spawn().unwrap();
        await_handlers(&child);
        for _ in 0..REPORTS {
            signal(&child, Signal::USR1);
        }
        for _ in 0..20 {
            is_served(&relay, "/dev/");
        }
        assert!(child.try_wait().unwrap().is_none(), "{what}");
        ends(child);
    }
}

/// A first line that cannot be written ends nothing either.
#[test]
fn a_full_standard_output_ends_nothing() {
    let _watchdog = Watchdog::watch();
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = ringback(&["relay", "--listen", "127.0.0.1:0", "--cores", "1"]);
    let mut child = command.stdout(full).spawn().unwrap();
    let mut complaints = child.stderr.take().unwrap();
    await_handlers(&child);
    signal(&child, Signal::USR1);
    lines_until(&mut complaints, "shard 0: connections=0");
    ends(child);
}

/// Reads lines until one has these words: how many.
fn lines_until(from: &mut ChildStderr, words: &str) -> usize {
    let lines = BufReader::with_capacity(1, from).lines().map(Result::unwrap);
    let mut last = String::new();
    let read = lines.inspect(|line| last.clone_from(line)).position(|line| line.contains(words));
    read.unwrap_or_else(|| panic!("it ended and did not say {words:?} but at last {last:?}")) + 1
}

/// SIGHUP ends no command that serves, and SIGUSR1 has each of them report.
#[test]
fn signals_mean_the_same_to_all_commands() {
    let _watchdog = Watchdog::watch();
    let relay = Process::relay(&[]);
    let target = target();
    let url = format!("http://{}", relay.address());
    let commands = [
        (ringback(&["relay", "--listen", "127.0.0.1:0", "--cores", "1"]), "shard 0: connections=0"),
        (ringback(&["demo", "--listen", "127.0.0.1:0"]), "shard 0: connections="),
        (ringback(&["tunnel", "--relay", &url, "--domain", "dev", "--listen", "127.0.0.1:0"]), "0 tunnels"),
        (gateway(&relay, &target, &[]), "gateway of dev: opening="),
    ];
    for (mut command, report) in commands {
        let mut child = command.spawn().unwrap();
        let mut complaints = child.stderr.take().unwrap();
        await_handlers(&child);
        signal(&child, Signal::HUP);
        lines_until(&mut complaints, "all goes on");
        signal(&child, Signal::USR1);
        lines_until(&mut complaints, report);
        ends(child);
    }
}

/// Waits until a child has handlers for the signals: without them a signal would end it, which a supervisor that waits
/// for its first line does not risk.
fn await_handlers(child: &Child) {
    eventually("it handles SIGUSR1", || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap_or_default();
        u64::from_str_radix(caught.trim(), 16).is_ok_and(|caught| caught >> (Signal::USR1.as_raw() - 1) & 1 == 1)
    });
}

/// SIGHUP, with which ssh ends its `ProxyCommand`, ends a tunnel on standard input and output.
#[test]
fn a_hangup_ends_a_proxy_command() {
    let _watchdog = Watchdog::watch();
    let relay = Process::relay(&[]);
    let url = format!("http://{}", relay.address());
    let mut gateway = relay.connect();
    gateway.send(ptth_get("dev", ""));
    gateway.expect(PTTH_101);
    let mut command = ringback(&["tunnel", "--relay", &url, "--domain", "dev", "--stdio"]);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    gateway.head();
    signal(&child, Signal::HUP);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

/// A key that the relay does not ask for protects nothing: gateway and relay both say so, once.
#[test]
fn a_key_that_nobody_asks_for_is_told() {
    let _watchdog = Watchdog::watch();
    let relay = Process::relay(&[]);
    let mut child = gateway(&relay, &target(), &["--key", "s3cret", "--connections", "8"]).spawn().unwrap();
    let mut complaints = child.stderr.take().unwrap();
    lines_until(&mut complaints, "the relay asks for no key here");
    relay.await_complaint("this relay asks for none");
    is_served(&relay, "/dev/");
    signal(&child, Signal::USR1);
    let lines = lines_until(&mut complaints, "gateway of dev: ");
    assert!(lines <= 2, "{lines} lines");
    ends(child);
    assert_eq!(relay.complaints().matches("asks for none").count(), 1);
}

/// However many clients ask for a target that is not there, the gateway's log gets a line or two.
#[test]
fn clients_cannot_fill_the_log() {
    let _watchdog = Watchdog::watch();
    let relay = Process::relay(&[]);
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let mut child = gateway(&relay, &nobody, &[]).spawn().unwrap();
    let mut complaints = child.stderr.take().unwrap();
    lines_until(&mut complaints, "waiting for clients at http://");
    for _ in 0..500 {
        let mut client = relay.connect();
        client.send(get("/dev/") + "Connection: close\r\n\r\n");
        assert!(client.head().contains("target-unreachable"));
    }
    signal(&child, Signal::USR1);
    let lines = lines_until(&mut complaints, "answered-instead=500");
    assert!(lines < 5, "{lines} lines");
    ends(child);
}

/// At `-v` the gateway has a line for each request, which tells a target that closed its connection from a relay that gave
/// the request up; and it says when all connections that it may have are in use.
#[test]
fn the_gateway_says_who_gave_up() {
    let _watchdog = Watchdog::watch();
    let relay = Process::relay(&[]);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = listener.local_addr().unwrap().to_string();
    let more = ["-v", "--connections", "1", "--max-connections", "1"];
    let mut child = gateway(&relay, &target, &more).spawn().unwrap();
    let mut log = child.stderr.take().unwrap();
    lines_until(&mut log, &format!("waiting for clients at http://{}/dev/", relay.address()));
    let ask = |path: &str| {
        let mut client = relay.connect();
        client.send(get(path) + "Connection: close\r\n\r\n");
        let mut at_target = Peer::new(listener.accept().unwrap().0);
        at_target.head();
        (client, at_target)
    };
    let (mut client, mut at_target) = ask("/dev/answered");
    at_target.send(ok("x"));
    client.head();
    lines_until(&mut log, "serving a client, the only one allowed: others wait; raise --max-connections");
    lines_until(&mut log, "GET /dev/answered: 200, ");
    drop(at_target);
    let (mut client, at_target) = ask("/dev/closed");
    drop(at_target);
    assert!(client.head().contains("target-no-response"));
    lines_until(&mut log, "GET /dev/closed: no usable response from the target after ");
    let (client, _at_target) = ask("/dev/left");
    client.reset();
    lines_until(&mut log, "GET /dev/left: the relay gave it up after ");
    ends(child);
}
