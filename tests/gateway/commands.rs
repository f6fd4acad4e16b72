//! The program itself: exit codes, and what goes to which stream.
use std::{
    io::{Read, Write},
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

#[tokio::test]
async fn a_relay_url_with_tls_is_refused_with_a_reason() {
    let args = ["gateway", "--relay", "https://relay.example", "--domain", "d", "--target", "localhost:1"];
    let output = output(ringback(&args)).await;
    assert_eq!(output.status.code(), Some(2));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("TLS to the relay is not supported yet"), "{error}");
}
