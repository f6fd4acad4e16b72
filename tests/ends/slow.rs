//! Peers that are alive and do not go on.
use crate::{
    scene::{SOON, happens},
    support::{peers::*, *},
};
use ringback::{http::Refusal, relay::Config};
use std::{
    io::Write,
    thread::{self, JoinHandle},
    time::Duration,
};

/// More than all that lies between two peers will hold.
const MUCH: usize = 64 << 20;

/// There at once: to make one takes time, in which nothing is sent.
static BLOCK: [u8; 64 << 10] = [b'x'; 64 << 10];

/// A gateway that takes requests and never answers: 504, and its connection ends, since it may answer yet.
#[test]
fn a_gateway_that_never_answers() {
    happens(&Config { response_timeout: SOON, ..config() }, |server, dialect| {
        let mut gateway = server.gateway(dialect, "dev");
        let mut client = server.client(get("/dev/") + "\r\n");
        gateway.expect(dialect.seen(&get("/dev/"), true));
        client.expect(Refusal::GatewayTimeout.closing());
        client.expect_end();
        gateway.expect_gone();
    });
}

/// A gateway that does not even read: 504 as well, once nothing has moved for as long as a body may stand still.
#[test]
fn a_gateway_that_never_reads() {
    for framing in
        [format!("Content-Length: {MUCH}\r\n\r\n"), format!("Transfer-Encoding: chunked\r\n\r\n{MUCH:x}\r\n")]
    {
        happens(&Config { session_idle: SOON, ..config() }, |server, dialect| {
            let gateway = server.gateway(dialect, "dev");
            // Else the kernel takes tens of megabytes for it, ever more slowly.
            socket2::SockRef::from(gateway.stream()).set_recv_buffer_size(64 << 10).unwrap();
            let mut client = server.client(format!("PUT /dev/ HTTP/1.1\r\nHost: relay\r\n{framing}"));
            let sender = client.split();
            let sending = thread::spawn(move || while sender.stream().write_all(&BLOCK).is_ok() {});
            client.expect(Refusal::GatewayTimeout.closing());
            client.expect_end();
            drop((client, gateway));
            sending.join().unwrap();
        });
    }
}

/// A client that asks for much and never reads it: both connections end once nothing moves any more.
#[test]
fn a_client_that_never_reads() {
    for head in heads() {
        happens(&Config { session_idle: SOON, ..config() }, |server, dialect| {
            let (client, sending) = never_reads(server, dialect, &head);
            sending.join().unwrap();
            drop(client);
        });
    }
}

/// Many such clients, more than there are buffers and pipes: others are served all the time.
#[test]
fn many_clients_that_never_read() {
    for head in heads() {
        let few = Config { session_idle: SOON, buffers: 16, pipes: 4, ..config() };
        happens(&few, |server, dialect| {
            let all: Vec<_> = (0..40).map(|_| never_reads(server, dialect, &head)).collect();
            for (client, sending) in all {
                sending.join().unwrap();
                drop(client);
            }
        });
    }
}

fn heads() -> [String; 3] {
    [
        format!("HTTP/1.1 200 OK\r\nContent-Length: {MUCH}\r\n\r\n"),
        format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{MUCH:x}\r\n"),
        "HTTP/1.1 200 OK\r\n\r\n".to_string(),
    ]
}

/// A client that has asked, and a gateway that sends until it cannot any more.
fn never_reads(server: &Server, dialect: Dialect, head: &str) -> (Peer, JoinHandle<()>) {
    let mut gateway = server.gateway(dialect, "dev");
    let client = server.client(get("/dev/") + "\r\n");
    gateway.expect(dialect.seen(&get("/dev/"), true));
    gateway.send(head);
    let sending = thread::spawn(move || {
        let refused = (0..MUCH / BLOCK.len()).any(|_| gateway.stream().write_all(&BLOCK).is_err());
        assert!(refused, "the relay swallows what its client does not read");
    });
    (client, sending)
}

/// A client that sends a head one byte at a time for ever: 408 when its time is up, however regularly it sends.
#[test]
fn a_client_that_sends_a_byte_at_a_time() {
    happens(&Config { head_timeout: SOON, ..config() }, |server, dialect| {
        let mut gateway = server.gateway(dialect, "dev");
        let mut client = server.client("GET /dev/ HTTP/1.1\r\nX: ");
        let mut sender = client.split();
        let sending = thread::spawn(move || {
            while sender.stream().write_all(b"x").is_ok() {
                thread::park_timeout(Duration::from_millis(1));
            }
            sender.finish();
        });
        client.expect(Refusal::HeadTimeout.closing());
        client.expect_end();
        sending.join().unwrap();
        gateway.expect_silence();
    });
}

/// A client that says nothing at all, and one that says no more: both are closed without a word.
#[test]
fn a_client_that_says_nothing() {
    happens(&Config { head_timeout: SOON, client_idle: SOON, ..config() }, |server, dialect| {
        server.connect().expect_end();
        let mut gateway = server.gateway(dialect, "dev");
        let mut client = server.client(get("/dev/") + "\r\n");
        gateway.expect(dialect.seen(&get("/dev/"), true));
        gateway.send(ok("x"));
        client.expect(ok("x"));
        client.expect_end();
        if dialect == Dialect::Classic {
            gateway.expect_gone();
        }
    });
}

/// A client that begins a body and does not go on: both connections end.
#[test]
fn a_client_that_stops_in_its_body() {
    for (framing, part) in [("Content-Length: 10\r\n", "hello"), ("Transfer-Encoding: chunked\r\n", "a\r\nhello")] {
        happens(&Config { session_idle: SOON, ..config() }, |server, dialect| {
            let head = format!("PUT /dev/ HTTP/1.1\r\nHost: relay\r\n{framing}");
            let mut gateway = server.gateway(dialect, "dev");
            let mut client = server.client(format!("{head}\r\n{part}"));
            gateway.expect(dialect.seen(&head, true));
            gateway.expect(part);
            client.expect_gone();
            gateway.expect_gone();
        });
    }
}

/// A gateway that begins a response and does not go on: the client is reset.
#[test]
fn a_gateway_that_stops_in_its_body() {
    for response in [
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\nhello",
    ] {
        happens(&Config { session_idle: SOON, ..config() }, |server, dialect| {
            let mut gateway = server.gateway(dialect, "dev");
            let mut client = server.client(get("/dev/") + "\r\n");
            gateway.expect(dialect.seen(&get("/dev/"), true));
            gateway.send(response);
            client.expect(response);
            let (more, reset) = client.until_gone();
            assert!(more.is_empty() && reset, "{} more, reset: {reset}", show(&more));
            gateway.expect_gone();
        });
    }
}

/// A tunnel in which nobody says anything any more.
#[test]
fn a_silent_tunnel() {
    happens(&Config { tunnel_idle: SOON, ..config() }, |server, dialect| {
        let mut gateway = server.gateway(dialect, "dev");
        let head = "CONNECT /dev HTTP/1.1\r\nHost: relay\r\n";
        let mut client = server.client(format!("{head}\r\n"));
        gateway.head();
        if dialect == Dialect::Classic {
            gateway.expect(format!("{head}\r\n"));
        }
        gateway.send("HTTP/1.1 200 OK\r\n\r\n");
        client.expect("HTTP/1.1 200 OK\r\n\r\n");
        client.expect_gone();
        gateway.expect_gone();
    });
}
