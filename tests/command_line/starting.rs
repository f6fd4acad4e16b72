//! Starting it wrongly: the message names what was wrong, and what to do.
use crate::support::process::{Process, Watchdog, ringback};
use std::{
    io::{BufRead, BufReader},
    net::TcpListener,
    process::{Command, Stdio},
};

/// Runs it to its end: exit code and standard error. It must say nothing on standard output.
fn fails(arguments: &[&str]) -> (i32, String) {
    let _watchdog = Watchdog::watch();
    let output = ringback(arguments).output().expect("the program runs");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "", "{arguments:?}");
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code().expect("it exits"), complaint)
}

#[track_caller]
fn complains(arguments: &[&str], code: i32, words: &[&str]) {
    let (got, complaint) = fails(arguments);
    assert_eq!(got, code, "{arguments:?}: {complaint}");
    for word in words {
        assert!(complaint.contains(word), "{arguments:?}: no {word:?} in:\n{complaint}");
    }
}

/// Flags that do not exist, and values that do not parse, are named; the exit code is that of a wrong command line.
#[test]
fn wrong_flags() {
    complains(&["relay", "--no-such-flag"], 2, &["--no-such-flag", "--help"]);
    complains(&["relay", "--listen", "nowhere"], 2, &["--listen", "nowhere", "no port"]);
    complains(&["relay", "--listen", "127.0.0.1"], 2, &["--listen", "127.0.0.1", "no port"]);
    complains(&["relay", "--listen", "127.0.0.1:99999"], 2, &["--listen", "127.0.0.1:99999", "0 to 65535"]);
    complains(&["relay", "--hostname", "http://x"], 2, &["--hostname", "http://x", "as in x"]);
    complains(&["relay", "--hostname", ""], 2, &["--hostname", "not a host name"]);
    complains(&["relay", "--buffers", "many"], 2, &["--buffers", "many"]);
    complains(&["relay", "--client-wait", "soon"], 2, &["--client-wait", "soon"]);
    complains(&["relay", "--buffer-size", "16Q"], 2, &["--buffer-size", "16Q"]);
    complains(&["relay", "--keys", "nowhere.toml"], 1, &["nowhere.toml", "--keys"]);
    complains(&["relay", "--keys", "Cargo.toml"], 1, &["Cargo.toml", "--keys", "line 8", "unknown field"]);
    complains(&["relay", "--keys", "a", "--allow-any-gateway"], 2, &["--keys", "--allow-any-gateway"]);
    complains(&["key", "new", "--domain", "a b"], 2, &["a b", "relay domain"]);
    complains(&["key", "new", "--domain", "a", "--expires", "soon"], 2, &["soon", "2027-06-30"]);
    complains(&["relay", "surplus"], 2, &["surplus"]);
    complains(&["no-such-command"], 2, &["no-such-command"]);
}

/// A demo whose domain cannot be registered does not say that it is running.
#[test]
fn a_demo_with_a_bad_domain() {
    complains(&["demo", "--listen", "127.0.0.1:0", "--domain", "a b"], 1, &["a b", "relay domain"]);
}

/// A running relay, all of its threads, can gain no rights any more.
#[test]
fn no_rights_are_gained() {
    let relay = Process::relay(&[]);
    assert_eq!(relay.status("NoNewPrivs"), "1");
}

/// Short forms of an address to listen on are understood.
#[test]
fn short_addresses() {
    for short in [":0", "0", "localhost:0"] {
        let command = ringback(&["relay", "--listen", short, "--cores", "all"]);
        let relay = crate::support::process::Process::become_of(command);
        assert_ne!(relay.address().port(), 0, "{short}");
    }
}

/// A relay that has no room for further connections answers them so, and says so once; when others have gone it takes new ones.
#[test]
fn no_room_for_connections() {
    let _watchdog = Watchdog::watch();
    let mut command = ringback(&[]);
    let program = command.get_program().to_owned();
    command = Command::new("prlimit");
    command.arg("--nofile=128").arg(program).args(["relay", "--listen", "127.0.0.1:0", "--cores", "1"]);
    command.args(["--start-grace", "0s"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let relay = Process::become_of(command);
    let mut clients = Vec::new();
    let refused = loop {
        let mut client = relay.connect();
        client.send("GET /nobody/ HTTP/1.1\r\nHost: relay\r\n\r\n");
        let head = client.head();
        if head.starts_with("HTTP/1.1 503 ") {
            break head;
        }
        assert!(head.starts_with("HTTP/1.1 504 "), "{head}");
        clients.push(client);
    };
    assert!(refused.contains("too-many-connections") && refused.contains("Retry-After: "), "{refused}");
    assert!((20..100).contains(&clients.len()), "{} connections", clients.len());
    relay.await_complaint("further ones get a 503");
    clients.clear();
    crate::support::eventually("there is room again", || {
        let mut client = relay.connect();
        client.try_send("GET /nobody/ HTTP/1.1\r\nHost: relay\r\n\r\n");
        client.try_head().is_ok_and(|head| head.starts_with("HTTP/1.1 504 "))
    });
    assert_eq!(relay.complaints().matches("further ones").count(), 1);
}

/// Buffers for which no machine has the memory are refused as what they are, by `check` in the same words.
#[test]
fn more_buffers_than_memory() {
    for command in [&["check"][..], &["relay", "--listen", "127.0.0.1:0"]] {
        let _watchdog = Watchdog::watch();
        let buffers = ["--cores", "1", "--buffers", "32768", "--buffer-size", "16M"];
        let output = ringback(&[command, &buffers].concat()).output().expect("it runs");
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("524288 MiB for the buffers of 1 shards") && said.contains("fewer --buffers"), "{said}");
    }
}

/// A relay that may not lock enough memory says how much it needs, and `check` says the same.
#[test]
fn too_little_locked_memory() {
    let words = ["64 KiB; ", " KiB needed for 1 shards", "raise `ulimit -l`"];
    for command in [&["check"][..], &["relay", "--listen", "127.0.0.1:0"]] {
        let _watchdog = Watchdog::watch();
        let arguments = [command, &["--cores", "1"]].concat();
        let output = with_locked_memory(64, &arguments).output().expect("setpriv and prlimit run");
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(words.iter().all(|word| said.contains(word)), "{said}");
    }
}

/// What `check` calls enough is enough; and a relay that finds none, because another one that is about to end has it,
/// waits for that.
#[test]
fn locked_memory_comes_back() {
    let _watchdog = Watchdog::watch();
    let output = with_locked_memory(64, &["check", "--cores", "1"]).output().expect("setpriv and prlimit run");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let needed = said.split("64 KiB; ").nth(1).and_then(|rest| rest.split(' ').next()).expect("what is needed");
    // Not enough for two.
    let most = needed.parse::<u32>().expect("a number") * 3 / 2;
    let relay = || with_locked_memory(most, &["relay", "--listen", "127.0.0.1:0", "--cores", "1"]);
    let first = Process::become_of(relay());
    let mut second = relay().spawn().expect("it starts");
    // It has found too little once it is in its pause.
    crate::support::eventually("it waits", || {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", second.id())).unwrap();
        let waits = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("wchan")).unwrap_or_default();
        tasks.flatten().any(|task| waits(task).contains("nanosleep"))
    });
    drop(first);
    let mut line = String::new();
    BufReader::new(second.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains(" listens on "), "{line}");
    second.kill().unwrap();
    second.wait().unwrap();
}

/// A command that may lock so many KiB, like one of a user other than root.
fn with_locked_memory(kib: u32, arguments: &[&str]) -> Command {
    let limit = format!("--memlock={}", kib << 10);
    let mut command = ringback(&[]);
    let program = command.get_program().to_owned();
    // Root may lock any amount, unless it gives that up.
    command = match rustix::process::geteuid().is_root() {
        true => Command::new("setpriv"),
        false => Command::new("env"),
    };
    if rustix::process::geteuid().is_root() {
        command.arg("--bounding-set=-ipc_lock");
    }
    command.args(["prlimit", &limit]).arg(program).args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Cores that do not exist, or that are not numbers, are named together with those that do.
#[test]
fn wrong_cores() {
    for wrong in ["0", "100000", "none", "0,0", "5000-5001", "1-0"] {
        complains(&["relay", "--listen", "127.0.0.1:0", "--cores", wrong], 1, &["--cores", wrong, "CPUs of 0"]);
    }
}

/// A congestion control that the kernel does not have is named together with those that it has.
#[test]
fn wrong_congestion_control() {
    let arguments = ["relay", "--listen", "127.0.0.1:0", "--congestion-control", "carrier-pigeon"];
    complains(&arguments, 1, &["--congestion-control carrier-pigeon", "reno"]);
}

/// Limits that contradict each other, or that cannot work.
#[test]
fn wrong_limits() {
    let relay = |more: &[&'static str]| [&["relay", "--listen", "127.0.0.1:0"], more].concat();
    complains(
        &relay(&["--max-head-bytes", "32K", "--buffer-size", "16K"]),
        1,
        &["--max-head-bytes 32768", "--buffer-size 16384", "lower the first or raise the second"],
    );
    complains(&relay(&["--max-head-bytes", "1"]), 1, &["--max-head-bytes 1 ", "256 to 65535"]);
    complains(&relay(&["--max-response-head-bytes", "1"]), 1, &["--max-response-head-bytes 1 ", "256 to 65535"]);
    complains(&relay(&["--max-response-headers", "513"]), 1, &["--max-response-headers 513 ", "1 to 512"]);
    complains(&relay(&["--buffer-size", "100"]), 1, &["--buffer-size 100 ", "1K to 16M"]);
    complains(&relay(&["--buffer-size", "1000G"]), 1, &["--buffer-size", "1K to 16M"]);
    complains(&relay(&["--buffers", "1"]), 1, &["--buffers 1 ", "8 to 32768"]);
    complains(&relay(&["--max-headers", "0"]), 1, &["--max-headers 0 ", "1 to 128"]);
    complains(&relay(&["--classic-poll-interval", "75s"]), 1, &["--classic-poll-interval 75s", "70s"]);
    complains(&relay(&["--turn-bytes", "1K"]), 1, &["--turn-bytes 1024 ", "64K"]);
    complains(&relay(&["--bulk-delay", "2s"]), 1, &["--bulk-delay 2s ", "at most 1s"]);
    complains(&relay(&["--batch-wait", "11ms"]), 1, &["--batch-wait 11ms ", "at most 10ms"]);
    complains(&relay(&["--batch-wait", "1"]), 2, &["\"1\" is not a duration", "100us"]);
    complains(&relay(&["--held-buffers", "0"]), 1, &["--held-buffers 0 "]);
    complains(&relay(&["--response-timeout", "0s"]), 1, &["--response-timeout 0s", "no limit"]);
    complains(&relay(&["--tcp-keepalive", "0s"]), 1, &["--tcp-keepalive 0", "1s to 32767s"]);
    complains(&relay(&["--tcp-user-timeout", "9999h"]), 1, &["--tcp-user-timeout", "500h"]);
    complains(&relay(&["--min-rate", "2G", "--min-rate-after", "4s"]), 1, &["--min-rate 2147483648", "4s", "4 GiB"]);
    complains(&relay(&["--backlog", "0"]), 1, &["--backlog 0 ", "1 to 65535"]);
    let all = ["relay", "--listen", "0.0.0.0:18080", "--listen", "[::]:18080"];
    complains(&all, 1, &["0.0.0.0:18080", "[::]:18080", "leave one of them out"]);
}

/// A port that somebody listens on is named together with the way out, and is not shared.
#[test]
fn a_port_in_use() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("an address").to_string();
    let said = [address.as_str(), "another program listens there", "another --listen port"];
    complains(&["relay", "--listen", &address, "--cores", "1"], 1, &said);
    // Also when it is the second one, or another relay's.
    complains(&["relay", "--listen", "127.0.0.1:0", "--listen", &address, "--cores", "1"], 1, &said);
    let other = crate::support::process::Process::relay(&[]);
    let address = other.address().to_string();
    complains(&["relay", "--listen", &address, "--cores", "1"], 1, &[&address, "another --listen port"]);
}

/// An address that this machine does not have.
#[test]
fn an_address_that_is_not_ours() {
    complains(&["relay", "--listen", "192.0.2.1:8080", "--cores", "1"], 1, &["192.0.2.1:8080", "ip address"]);
}
