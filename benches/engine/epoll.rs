//! On epoll, level-triggered: read and write for messages, splices for bulk.
use super::{
    BUFFER_BYTES, Pair, non_blocking,
    spliced::{Bulk, PIPE_BYTES, Want, Way},
};
use ringback::io::Spliced;
use rustix::{
    event::epoll::{self, EventData, EventFlags},
    io::Errno,
    pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice},
};
use std::{
    io::{Read, Write},
    net::TcpStream,
    os::fd::OwnedFd,
};

/// Waits for something and returns the numbers that it was added with.
fn wait(poll: &OwnedFd, events: &mut Vec<epoll::Event>) -> Vec<usize> {
    events.clear();
    epoll::wait(poll, rustix::buffer::spare_capacity(events), None).unwrap();
    events.iter().map(|event| event.data.u64() as usize).collect()
}

pub fn messages(pairs: Vec<Pair>) {
    non_blocking(&pairs);
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
    let mut sockets: Vec<&TcpStream> = pairs.iter().flatten().collect();
    for (slot, socket) in sockets.iter().enumerate() {
        epoll::add(&poll, socket, EventData::new_u64(slot as u64), EventFlags::IN).unwrap();
    }
    let mut open = sockets.len();
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut events = Vec::with_capacity(256);
    while open > 0 {
        for slot in wait(&poll, &mut events) {
            match sockets[slot].read(&mut buffer) {
                Ok(len @ 1..) => assert_eq!(sockets[slot ^ 1].write(&buffer[..len]).unwrap(), len),
                _ => {
                    epoll::delete(&poll, sockets[slot]).unwrap();
                    open -= 1;
                }
            }
        }
    }
}

pub fn bulk(pairs: Vec<Pair>) {
    non_blocking(&pairs);
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
    let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
    let spliced = |moved| match moved {
        Ok(0) => Spliced::Eof,
        Ok(n) => Spliced::Moved(n),
        Err(Errno::AGAIN | Errno::INTR) => Spliced::Blocked,
        Err(_) => Spliced::Failed,
    };
    let mut bulks = Vec::new();
    for (slot, [from, to]) in pairs.iter().enumerate() {
        let (output, input) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC).unwrap();
        let _ = fcntl_setpipe_size(&input, PIPE_BYTES);
        epoll::add(&poll, from, EventData::new_u64(slot as u64), EventFlags::IN).unwrap();
        epoll::add(&poll, to, EventData::new_u64(slot as u64), EventFlags::empty()).unwrap();
        bulks.push((output, input, Bulk::default(), Want::Input));
    }
    let mut open = pairs.len();
    let mut events = Vec::with_capacity(256);
    while open > 0 {
        for slot in wait(&poll, &mut events) {
            let ([from, to], (output, input, bulk, wanted)) = (&pairs[slot], &mut bulks[slot]);
            let want = bulk.turn(|way, max| match way {
                Way::In => spliced(splice(from, None, &*input, None, max, flags)),
                Way::Out => spliced(splice(&*output, None, to, None, max, flags)),
            });
            if std::mem::replace(wanted, want) != want {
                let flags = |on: bool, flag| if on { flag } else { EventFlags::empty() };
                let data = EventData::new_u64(slot as u64);
                epoll::modify(&poll, from, data, flags(want == Want::Input, EventFlags::IN)).unwrap();
                epoll::modify(&poll, to, data, flags(want == Want::Room, EventFlags::OUT)).unwrap();
                open -= usize::from(want == Want::Nothing);
            }
        }
    }
}
