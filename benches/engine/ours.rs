//! On the relay's own ring: streams and immediate sends for messages, polls and splices for bulk.
use super::{
    BUFFER_BYTES, CONNECTIONS, Pair, non_blocking,
    spliced::{Bulk, Want, Way},
};
use ringback::io::{
    Calls, End, Engine, Event, Interest, Key, Pipe, Socket, mailbox,
    uring::{Sizes, Uring},
};
use std::{io::IoSlice, os::fd::OwnedFd, time::Instant};

fn ring() -> Uring<()> {
    let mailbox = mailbox::mailboxes(1).unwrap().pop().unwrap();
    let sizes = Sizes { buffers: 1024, buffer_size: BUFFER_BYTES as u32, pipes: CONNECTIONS };
    Uring::new(sizes, Vec::new(), mailbox, Instant::now()).unwrap()
}

pub fn messages(pairs: Vec<Pair>) {
    non_blocking(&pairs);
    let mut io = ring();
    let fds: Vec<Socket> = pairs.into_iter().flatten().map(|socket| OwnedFd::from(socket).into()).collect();
    let key = |slot: usize| Key { slot: slot as u32, generation: 0 };
    (0..fds.len()).for_each(|slot| io.stream(&fds[slot], key(slot)));
    let mut open = fds.len();
    let mut events = Vec::new();
    while open > 0 {
        io.turn(None, &mut events).unwrap();
        for event in events.drain(..) {
            match event {
                Event::Received { key, buf, more } => {
                    let slot = key.slot as usize;
                    // Small messages always find room.
                    let parts = [IoSlice::new(io.calls_ref().bytes(&buf))];
                    assert_eq!(io.calls_ref().send(&fds[slot ^ 1], &parts, false).unwrap(), buf.len());
                    io.calls().release(buf);
                    if !more {
                        io.stream(&fds[slot], key);
                    }
                }
                Event::Ended { key, end: End::NoBuffers } => io.stream(&fds[key.slot as usize], key),
                Event::Ended { .. } => open -= 1,
                other => panic!("unexpected: {other:?}"),
            }
        }
    }
    fds.into_iter().for_each(|socket| io.calls().close(socket));
}

pub fn bulk(pairs: Vec<Pair>) {
    non_blocking(&pairs);
    let mut io = ring();
    let fds: Vec<[Socket; 2]> = pairs.into_iter().map(|pair| pair.map(|socket| OwnedFd::from(socket).into())).collect();
    let mut bulks: Vec<(Pipe, Bulk)> = fds.iter().map(|_| (io.calls().pipe().unwrap(), Bulk::default())).collect();
    let mut open = fds.len();
    (0..open).for_each(|slot| {
        io.watch(&fds[slot][0], Key { slot: slot as u32, generation: 0 }, Interest::Readable);
    });
    let mut events = Vec::new();
    while open > 0 {
        io.turn(None, &mut events).unwrap();
        for event in events.drain(..) {
            let (Event::Readable { key } | Event::Writable { key }) = event else { panic!("unexpected: {event:?}") };
            let [from, to] = &fds[key.slot as usize];
            let (pipe, bulk) = &mut bulks[key.slot as usize];
            let want = bulk.turn(|way, max| match way {
                Way::In => io.calls().splice_in(from, pipe, max),
                Way::Out => io.calls().splice_out(pipe, to, max, false),
            });
            match want {
                Want::Input => io.watch(from, key, Interest::Readable),
                Want::Room => io.watch(to, key, Interest::Writable),
                Want::Nothing => open -= 1,
            }
        }
    }
    bulks.into_iter().for_each(|(pipe, _)| io.calls().release_pipe(pipe, true));
    fds.into_iter().flatten().for_each(|socket| io.calls().close(socket));
}
