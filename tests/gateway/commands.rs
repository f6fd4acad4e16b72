//! The program itself: exit codes, and what goes to which stream.
use std::{
    io::{BufRead, BufReader, Read, Write},
    process::{Child, Command, Output, Stdio},
};

use crate::wire::{Host, Wire};

fn ringback(args: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_ringback"))
        .args(args)
        .env_remove("RINGBACK_KEY")
        .env_remove("RUST_LOG")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Does what blocks without blocking the test.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    crate::wire::soon("the program", tokio::task::spawn_blocking(work)).await.unwrap()
}

async fn output(child: Child) -> Output {
    aside(move || child.wait_with_output().unwrap()).await
}

/// `ringback tunnel --stdio` at a relay driven by hand, its CONNECT read.
async fn stdio_tunnel(relay: &Host) -> (Child, Wire) {
    let url = format!("http://{}", relay.authority());
    let child = ringback(&["tunnel", "--relay", &url, "--domain", "my-domain", "--stdio"]);
    let mut wire = relay.accept().await;
    wire.head().await;
    (child, wire)
}

#[cfg(unix)]
#[tokio::test]
async fn the_far_end_is_heard_on_stdout_while_stdin_is_open_and_both_ends_end_it() {
    let relay = Host::start().await;
    let (mut child, mut wire) = stdio_tunnel(&relay).await;
    wire.say("HTTP/1.1 200 OK\r\n\r\nhello").await;
    wire.finish().await;
    let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let heard = aside(move || {
        let mut heard = String::new();
        stdout.read_to_string(&mut heard).unwrap();
        heard
    });
    assert_eq!(heard.await, "hello");
    aside(move || stdin.write_all(b"bye").unwrap()).await;
    wire.expect("bye").await;
    wire.end().await;
    let output = output(child).await;
    assert!(output.status.success());
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[tokio::test]
async fn a_refused_stdio_tunnel_exits_with_1_and_says_why_on_stderr_only() {
    let relay = Host::start().await;
    let (child, mut wire) = stdio_tunnel(&relay).await;
    wire.say("HTTP/1.1 504 Gateway Timeout\r\nX-Relay-Error: no-gateway\r\nContent-Length: 0\r\n\r\n").await;
    let output = output(child).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("504 (no-gateway)"), "{error}");
}

#[cfg(unix)]
#[tokio::test]
async fn an_interrupted_gateway_exits_at_once_with_0() {
    use rustix::process::{Pid, Signal, kill_process};
    for signal in [Signal::INT, Signal::TERM] {
        let (relay, target) = (Host::start().await, Host::start().await);
        let (url, target) = (format!("http://{}", relay.authority()), target.authority().to_string());
        let child = ringback(&["gateway", "--relay", &url, "--domain", "my-domain", "--target", &target]);
        // Registered, so the signals are already listened to.
        let mut wire = relay.register().await;
        kill_process(Pid::from_child(&child), signal).unwrap();
        wire.end().await;
        assert_eq!(output(child).await.status.code(), Some(0));
    }
}

/// Without certificates to trust there is no TLS, and the file that should have them is named.
#[tokio::test]
async fn unusable_authorities_are_named() {
    let args = ["gateway", "--relay", "https://relay.example", "--domain", "d", "--target", "localhost:1"];
    let output = output(ringback(&[&args[..], &["--ca", "nowhere.pem"]].concat())).await;
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("nowhere.pem") && error.contains("--ca"), "{error}");
}

/// One program serves several domains, each with its own target or the one for all.
#[cfg(unix)]
#[tokio::test]
async fn several_domains_have_targets_of_their_own() {
    use crate::wire::{GET, OK};
    let (relay, camera, others) = (Host::start().await, Host::start().await, Host::start().await);
    let url = format!("http://{}", relay.authority());
    let (own, all) = (format!("Camera={}", camera.authority()), others.authority().to_string());
    let domains = ["--domain", "camera", "--domain", "door", "--connections", "1"];
    let args = [&["gateway", "--relay", &url, "--target", &own, "--target", &all][..], &domains].concat();
    let mut child = ringback(&args);
    let mut served = [false; 2];
    while served != [true; 2] {
        let mut way = relay.accept().await;
        let registration = way.head().await;
        way.say(crate::wire::ACCEPTED).await;
        way.say(GET).await;
        let is_camera = registration.starts_with("GET /camera ");
        let target = if is_camera { &camera } else { &others };
        let mut at_target = target.accept().await;
        at_target.expect(GET).await;
        at_target.say(OK).await;
        way.expect(OK).await;
        // A spare connection of the same domain may be the next to come.
        served[usize::from(is_camera)] = true;
    }
    child.kill().unwrap();
    output(child).await;
}

/// Targets and domains that do not fit together are refused by name, and so is what is no target, no host, no proxy.
#[tokio::test]
async fn targets_that_fit_no_domain_are_refused() {
    for (more, code, words) in [
        (&["--target", "b=localhost:1"][..], 1, "there is no --domain b"),
        (&["--target", "a=localhost:1", "--domain", "b"], 1, "no --target for the domain b"),
        (&["--target", "localhost:1", "--domain", "A"], 1, "\"A\" is given twice"),
        (&["--target", "localhost:1", "--target", "localhost:2"], 1, "two targets for /"),
        (&["--target", "/a b=localhost:1"], 1, "/a b"),
        (&["--target", "a=localhost"], 2, "localhost"),
        (&["--target", "localhost:1", "--target-host", "a b"], 2, "a b"),
        (&["--target", "localhost:1", "--proxy", "socks5://proxy:1080"], 2, "SOCKS"),
        (&["--target", "localhost:1", "--proxy", "socks5://u:s3cret@proxy"], 2, "\"socks5://proxy\""),
        (&["--target", "localhost:1", "--proxy", "u:s3cret@ :x"], 2, "\" :x\" is not an HTTP proxy"),
    ] {
        let args = [&["gateway", "--relay", "http://127.0.0.1:9", "--domain", "a"][..], more].concat();
        let output = output(ringback(&args)).await;
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{more:?}: {error}");
        assert!(error.contains(words), "{more:?}: {error}");
        assert!(!error.contains("s3cret"), "{error}");
    }
}

/// A variable that names no proxy is told, and not ignored without a word.
#[tokio::test]
async fn an_unusable_proxy_in_the_environment_is_told() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringback"));
    command.args(["tunnel", "--relay", "http://relay.invalid", "--domain", "d", "--listen", "127.0.0.1:0"]);
    for unset in ["HTTPS_PROXY", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy", "RUST_LOG"] {
        command.env_remove(unset);
    }
    let mut child = command.env("https_proxy", "htp:/proxy").stderr(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let line = aside(move || {
        let mut line = String::new();
        log.read_line(&mut line).map(|_| line)
    });
    let line = line.await.unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(line.contains("https_proxy is not used"), "{line}");
}

/// The environment's proxy is used, but not to reach this machine itself, or what NO_PROXY names.
#[tokio::test]
async fn the_environment_names_a_proxy() {
    let proxy = Host::start().await;
    let url = format!("http://{}", proxy.authority());
    let tunnel = |relay: &str, no_proxy: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringback"));
        command.args(["tunnel", "--relay", relay, "--domain", "d", "--stdio"]).env("https_proxy", &url);
        for unset in ["HTTPS_PROXY", "ALL_PROXY", "all_proxy", "NO_PROXY", "REQUEST_METHOD"] {
            command.env_remove(unset);
        }
        command.env("no_proxy", no_proxy).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    };
    let child = tunnel("http://relay.invalid", "");
    let mut way = proxy.accept().await;
    assert!(way.head().await.starts_with("CONNECT relay.invalid:80 HTTP/1.1\r\n"));
    way.say("HTTP/1.1 403 Forbidden\r\n\r\n").await;
    let error = output(child).await.stderr;
    assert!(String::from_utf8_lossy(&error).contains("answered 403 to CONNECT relay.invalid:80"));
    for (relay, no_proxy) in [("http://127.0.0.1:9", ""), ("http://relay.invalid", ".invalid")] {
        let error = output(tunnel(relay, no_proxy)).await.stderr;
        let error = String::from_utf8_lossy(&error);
        assert!(error.contains("cannot connect to the relay") && !error.contains("proxy"), "{error}");
    }
}
