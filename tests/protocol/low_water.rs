//! Bulk that comes in packets is waited for, and nothing that came is kept from its receiver because no more comes.
use crate::support::{peers::*, *};
use std::{sync::mpsc, thread};

/// A piece shorter than this is sent only when all before it has arrived.
const SMALL: usize = 1000;

/// Bulk in packets, as it comes over a network; then a few bytes at a time; then bulk again.
fn pieces() -> Vec<Vec<u8>> {
    let bytes = |n: usize| (0..n).map(|at| (at * 31 + n) as u8).collect::<Vec<u8>>();
    let bulk = || (0..700).map(|_| bytes(1448));
    bulk().chain((1..20).map(bytes)).chain(bulk()).chain([bytes(1)]).collect()
}

fn chunk(bytes: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

fn carries(from: &Peer, to: &mut Peer, pieces: &[Vec<u8>]) {
    let (arrived, has_arrived) = mpsc::channel();
    let (mut from, owned) = (from.split(), pieces.to_vec());
    let sending = thread::spawn(move || {
        for piece in owned {
            if piece.len() < SMALL {
                has_arrived.recv().expect("the other end goes on");
            }
            from.send(&piece);
        }
    });
    for piece in pieces {
        if piece.len() < SMALL {
            arrived.send(()).expect("the sender goes on");
        }
        to.expect(piece);
    }
    sending.join().expect("all was sent");
}

/// Bodies of both framings, both ways, in both dialects: each piece arrives although the next is not sent before, and the
/// connections are heard as ever afterwards.
#[test]
fn what_came_arrives_though_no_more_comes() {
    for dialect in BOTH {
        let server = Server::start(config());
        let mut gateway = server.gateway(dialect, "dev");
        let mut client = server.connect();
        let pieces = pieces();
        let length: usize = pieces.iter().map(Vec::len).sum();
        let chunks: Vec<_> = pieces.iter().map(|piece| chunk(piece)).chain([b"0\r\n\r\n".to_vec()]).collect();
        let framings = [
            (format!("Content-Length: {length}\r\n"), &pieces),
            ("Transfer-Encoding: chunked\r\n".to_owned(), &chunks),
        ];
        let mut fresh = true;
        for (field, pieces) in framings.iter().chain(&framings) {
            let head = format!("POST /dev/ HTTP/1.1\r\nHost: relay\r\n{field}");
            client.send(format!("{head}\r\n"));
            gateway.expect(dialect.seen(&head, std::mem::take(&mut fresh)));
            carries(&client, &mut gateway, pieces);
            let answer = format!("HTTP/1.1 200 OK\r\n{field}\r\n");
            gateway.send(&answer);
            client.expect(&answer);
            carries(&gateway, &mut client, pieces);
        }
        client.send(get("/dev/") + "\r\n");
        gateway.expect(dialect.seen(&get("/dev/"), false));
        gateway.send(ok("x"));
        client.expect(ok("x"));
    }
}
