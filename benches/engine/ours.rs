//! On the relay's own ring: streams and immediate sends for messages, polls and splices for bulk.
use super::{
    BUFFER_BYTES, CONNECTIONS, Pair, non_blocking,
    spliced::{Bulk, Want, Way},
};
use ringback::io::{
    End, Event, Fd, Io, Key, Pipe, mail,
    uring::{Sizes, Uring},
};
use std::{io::IoSlice, os::fd::AsRawFd, time::Instant};

fn ring() -> Uring<()> {
    let inbox = mail::post_office(1).unwrap().pop().unwrap();
    let sizes = Sizes { buffers: 1024, buffer_size: BUFFER_BYTES as u32, pipes: CONNECTIONS };
    Uring::new(sizes, Vec::new(), inbox, Instant::now()).unwrap()
}

pub fn messages(pairs: Vec<Pair>) {
    non_blocking(&pairs);
    let mut io = ring();
    let fds: Vec<Fd> = pairs.iter().flatten().map(|socket| Fd(socket.as_raw_fd())).collect();
    let key = |slot: usize| Key { slot: slot as u32, generation: 0 };
    (0..fds.len()).for_each(|slot| io.stream(fds[slot], key(slot)));
    let mut open = fds.len();
    let mut events = Vec::new();
    while open > 0 {
        io.turn(None, &mut events).unwrap();
        for event in events.drain(..) {
            match event {
                Event::Received { key, buf, more } => {
                    let slot = key.slot as usize;
                    // Small messages always find room.
                    assert_eq!(io.send(fds[slot ^ 1], &[IoSlice::new(io.bytes(&buf))]).unwrap(), buf.len());
                    io.release(buf);
                    if !more {
                        io.stream(fds[slot], key);
                    }
                }
                Event::Ended { key, end: End::NoBuffers } => io.stream(fds[key.slot as usize], key),
                Event::Ended { .. } => open -= 1,
                other => panic!("unexpected: {other:?}"),
            }
        }
    }
}

pub fn bulk(pairs: Vec<Pair>) {
    non_blocking(&pairs);
    let mut io = ring();
    let fds: Vec<[Fd; 2]> = pairs.iter().map(|pair| pair.each_ref().map(|socket| Fd(socket.as_raw_fd()))).collect();
    let mut bulks: Vec<(Pipe, Bulk)> = fds.iter().map(|_| (io.pipe().unwrap(), Bulk::default())).collect();
    let mut open = fds.len();
    (0..open).for_each(|slot| io.poll_in(fds[slot][0], Key { slot: slot as u32, generation: 0 }));
    let mut events = Vec::new();
    while open > 0 {
        io.turn(None, &mut events).unwrap();
        for event in events.drain(..) {
            let (Event::Readable { key } | Event::Writable { key }) = event else { panic!("unexpected: {event:?}") };
            let [from, to] = fds[key.slot as usize];
            let (pipe, bulk) = &mut bulks[key.slot as usize];
            let want = bulk.turn(|way, max| match way {
                Way::In => io.splice_in(from, *pipe, max),
                Way::Out => io.splice_out(*pipe, to, max, false),
            });
            match want {
                Want::Input => io.poll_in(from, key),
                Want::Room => io.poll_out(to, key),
                Want::Nothing => open -= 1,
            }
        }
    }
}
