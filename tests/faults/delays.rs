//! Bytes are passed on at once, and slow readers get theirs.
use crate::{
    scene::*,
    support::{peers::*, *},
};
use ringback::relay::Config;
use std::{
    io::{ErrorKind, Read, Write},
    thread,
    time::{Duration, Instant},
};

/// Far above what small messages take that are passed on at once, far below what they take at 200 ms each, which is how
/// long the kernel holds back what is said to have more behind it.
const BOUND: Duration = Duration::from_secs(5);
const MESSAGES: usize = 50;
/// Enough to be spliced again.
const FRAME: usize = 256 << 10;

/// Much from one to the other, so that it is spliced.
fn bulk(from: &Peer, to: &mut Peer, len: usize) {
    let mut sender = from.split();
    let sending = thread::spawn(move || (0..len / BLOCK.len()).for_each(|_| sender.send(BLOCK)));
    to.take(len);
    sending.join().unwrap();
}

/// In a tunnel through which much was spliced both ways, each message, large or small, arrives before the next is sent, and none
/// is held back.
#[test]
fn small_messages_in_a_spliced_tunnel() {
    let server = Server::start(config());
    let (mut client, mut gateway) = tunnel(&server, "dev");
    bulk(&client, &mut gateway, 16 << 20);
    bulk(&gateway, &mut client, 16 << 20);
    assert!(server.count(|counters| counters.spliced.value()) >= 2, "it is spliced");
    let begun = Instant::now();
    for _ in 0..MESSAGES {
        bulk(&client, &mut gateway, FRAME);
        gateway.send("pong");
        client.expect("pong");
        bulk(&gateway, &mut client, FRAME);
        client.send("ping");
        gateway.expect("ping");
    }
    assert!(begun.elapsed() < BOUND, "{:?} for {MESSAGES} round trips", begun.elapsed());
}

/// The same in a response that goes on until its end is closed: frames of both kinds after bulk.
#[test]
fn small_frames_in_a_spliced_stream() {
    for dialect in BOTH {
        let server = Server::start(config());
        let mut gateway = server.gateway(dialect, "dev");
        let mut client = server.client(get("/dev/") + "\r\n");
        gateway.expect(dialect.seen(&get("/dev/"), true));
        gateway.send("HTTP/1.1 200 OK\r\n\r\n");
        client.head();
        bulk(&gateway, &mut client, 16 << 20);
        let begun = Instant::now();
        for _ in 0..MESSAGES {
            bulk(&gateway, &mut client, FRAME);
            gateway.send("frame");
            client.expect("frame");
        }
        assert!(begun.elapsed() < BOUND, "{:?} for {MESSAGES} frames", begun.elapsed());
        gateway.finish();
        client.expect_end();
    }
}

/// A reader in a tunnel that pauses for longer than sent bytes may stay unacknowledged is alive, since it still answers
/// the kernel's questions for room: it is not reset, and gets all bytes.
#[test]
fn a_reader_that_pauses() {
    let server = Server::start(Config { tcp_user_timeout: Duration::from_secs(1), ..config() });
    let (mut client, gateway) = tunnel(&server, "dev");
    let mut sender = gateway.split();
    // Until nothing goes any more.
    sender.stream().set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    let mut sent = 0;
    while let Ok(n) = sender.stream().write(&BLOCK) {
        sent += n;
    }
    // Its end would come to the gateway, too.
    sender.stream().set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let got = sender.stream().read(&mut [0]);
    assert!(got.as_ref().is_err_and(|error| error.kind() == ErrorKind::WouldBlock), "{got:?}");
    sender.finish();
    assert_eq!(client.take(sent).len(), sent);
    client.finish();
    client.expect_end();
}
