//! One connection's share of a turn: whatever it sends, others are served in between.
use crate::{
    scene::*,
    support::{peers::*, *},
};
use std::{
    io::{Read, Write},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
};

/// So many answers a polite client gets, at least, while much is being done for a rude peer. Where all that is there
/// from a rude peer is done in one turn, it gets one or two for each of the peer's sending buffers.
const SERVED_MEANWHILE: usize = 100;

/// How many answers a polite client gets, one after the other, while something happens.
fn served_meanwhile(server: &Server, happens: impl FnOnce() + Send + 'static) -> usize {
    let polite = answering(server.ptth("polite"));
    let mut client = server.connect();
    let over = Arc::new(AtomicBool::new(false));
    let end = Arc::clone(&over);
    let rude = thread::spawn(move || {
        happens();
        end.store(true, Relaxed);
    });
    let mut served = 0;
    while !over.load(Relaxed) {
        client.send(get("/polite/") + "\r\n");
        client.expect(ok("x"));
        served += 1;
    }
    rude.join().expect("a rude peer gets its answers");
    drop((client, polite));
    served
}

/// Sends all of it and reads so many bytes meanwhile.
fn exchange(peer: Peer, bytes: Vec<u8>, answers: usize) {
    let mut sender = peer.split();
    let sending = thread::spawn(move || sender.try_send(bytes));
    read(&peer, answers);
    sending.join().unwrap();
}

fn read(peer: &Peer, mut bytes: usize) {
    let mut buffer = vec![0; 256 << 10];
    while bytes > 0 {
        let n = peer.stream().read(&mut buffer).expect("the relay goes on");
        assert!(n > 0, "the end, with {bytes} bytes to come");
        bytes -= n.min(bytes);
    }
}

/// Beside megabytes of pipelined requests that are refused, one after the other, a polite client is served.
#[test]
fn beside_pipelined_refusals() {
    let server = Server::start(config());
    let request = get("/nobody/") + "\r\n";
    let requests = (4 << 20) / request.len();
    let flood = server.connect();
    let served = served_meanwhile(&server, move || {
        let answer = ringback::http::Refusal::NoGateway.kept().len();
        exchange(flood, request.repeat(requests).into_bytes(), requests * answer);
    });
    assert!(served >= SERVED_MEANWHILE, "{served} answers in between");
}

/// The same with pipelined requests that are served by a gateway that answers all of them at once.
#[test]
fn beside_pipelined_requests() {
    for dialect in BOTH {
        let server = Server::start(config());
        let request = get("/dev/") + "\r\n";
        let requests = (256 << 10) / request.len();
        let mut gateway = server.gateway(dialect, "dev");
        let serving = thread::spawn(move || {
            if dialect == Dialect::Classic {
                gateway.expect(CLASSIC_101);
            }
            while gateway.try_head().is_ok() {
                gateway.try_send(ok("x"));
            }
        });
        let flood = server.connect();
        let served = served_meanwhile(&server, move || {
            exchange(flood, request.repeat(requests).into_bytes(), requests * ok("x").len());
        });
        assert!(served >= SERVED_MEANWHILE, "{dialect:?}: {served} answers in between");
        drop(server);
        serving.join().unwrap();
    }
}

/// Beside a gateway that sends interim responses without end, a polite client is served.
#[test]
fn beside_interim_responses() {
    let server = Server::start(config());
    let mut gateway = server.ptth("dev");
    let client = server.client(get("/dev/") + "\r\n");
    gateway.head();
    let interim = "HTTP/1.1 103 Early Hints\r\n\r\n";
    let count = (8 << 20) / interim.len();
    let served = served_meanwhile(&server, move || {
        let reading = thread::spawn(move || read(&client, count * interim.len() + ok("x").len()));
        gateway.send(interim.repeat(count) + &ok("x"));
        reading.join().expect("all of it arrives");
    });
    assert!(served >= SERVED_MEANWHILE, "{served} answers in between");
}

/// Beside bodies in chunks, tiny or large, a polite client is served.
#[test]
fn beside_chunked_bodies() {
    for (size, total, least) in [(1, 64 << 20, 32), (512, 128 << 20, 100), (64 << 10, 1 << 30, 100)] {
        let server = Server::start(config());
        let mut gateway = server.ptth("dev");
        let client = server.client(get("/dev/") + "\r\n");
        gateway.head();
        gateway.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        let chunk = format!("{size:x}\r\n{}\r\n", "x".repeat(size));
        let block = chunk.repeat((1 << 20) / chunk.len());
        let blocks: usize = total / block.len();
        let served = served_meanwhile(&server, move || {
            let len = block.len();
            let reading = thread::spawn(move || read(&client, blocks * len));
            for _ in 0..blocks {
                gateway.stream().write_all(block.as_bytes()).expect("the relay takes it");
            }
            reading.join().expect("all of it arrives");
        });
        assert!(served >= least, "chunks of {size}: {served} answers in between");
    }
}
