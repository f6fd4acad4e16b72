//! One client joined with one gateway, or on its way there.
use super::{chunked::Chunked, conn::NONE};
use crate::{
    http::{Body, Method},
    io::Pipe,
};

/// How far a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The record is in the free list.
    Free,
    /// The request's head is arriving in pieces, collected in `head`.
    Reading,
    /// The request's head is in `head`; no gateway has taken it yet.
    Waiting,
    /// A gateway has the request; no response head yet, or only interim ones.
    Asked,
    /// The response is under way.
    Answering,
    /// Raw bytes both ways.
    Tunnel,
    /// A classic gateway that stays joined with its client between two of the client's requests.
    Resting,
    /// The relay's own answer did not fit the socket at once; the rest is in `down.out`.
    Parting,
}

/// One direction of a session.
#[derive(Debug)]
pub struct Flow {
    /// Where the message's body ends.
    pub body: Body,
    /// Bytes at the front of the source's input that may be sent on as they are.
    pub approved: usize,
    /// Bytes of our own that go before those: heads that did not fit the socket at once.
    pub out: Vec<u8>,
    /// How much of `out` is sent.
    pub out_sent: usize,
    /// The pipe, while splicing.
    pub pipe: Option<Pipe>,
    /// Bytes in the pipe.
    pub piped: usize,
    /// Whole buffers received in a row, the sign of a stream worth splicing.
    pub full_reads: u8,
    /// The last receive or splice took no more than it asked for: the source may have more.
    pub unseen: bool,
    /// Spliced rather than received.
    pub bulk: bool,
    /// The destination has been told that no more will come.
    pub ended: bool,
    /// The destination takes no more; what comes for it is thrown away.
    pub dead: bool,
}

impl Flow {
    fn new() -> Flow {
        Flow {
            body: Body::EMPTY,
            approved: 0,
            out: Vec::new(),
            out_sent: 0,
            pipe: None,
            piped: 0,
            full_reads: 0,
            unseen: false,
            bulk: false,
            ended: false,
            dead: false,
        }
    }

    /// Nothing is under way: all that was taken from the source has been sent.
    pub fn is_flushed(&self) -> bool {
        self.approved == 0 && self.out.is_empty() && self.piped == 0
    }

    /// The message has ended and all of it has been sent.
    pub fn is_done(&self) -> bool {
        self.body.is_done() && self.is_flushed()
    }
}

/// A session's record; its vectors keep their memory from one session to the next.
#[derive(Debug)]
pub struct Session {
    /// The client's slot.
    pub client: u32,
    /// The gateway's slot, or [`NONE`].
    pub gateway: u32,
    /// How far it is.
    pub phase: Phase,
    /// The request's method.
    pub method: Method,
    /// Whether the request may be sent again: safe and without a body.
    pub repeatable: bool,
    /// Whether the client's connection is kept after the response.
    pub keep_client: bool,
    /// Whether the gateway's connection is kept after the response.
    pub keep_gateway: bool,
    /// Whether the client speaks HTTP/1.0.
    pub http10: bool,
    /// Whether the request asks to switch protocols.
    pub upgrade: bool,
    /// The turn in which the gateway was asked: what the same turn's events bring was sent before.
    pub asked_in: u32,
    /// Whether the gateway may have sent something behind its response that has not been seen.
    pub unsure: bool,
    /// Whether any byte of the response has come.
    pub heard: bool,
    /// Client to gateway.
    pub up: Flow,
    /// Gateway to client.
    pub down: Flow,
    /// The request's head: while it arrives in pieces, while it waits, and for sending it again.
    pub head: Vec<u8>,
    /// A response head arriving in pieces.
    pub reply: Vec<u8>,
}

impl Session {
    fn new() -> Session {
        Session {
            client: NONE,
            gateway: NONE,
            phase: Phase::Free,
            method: Method::Get,
            repeatable: false,
            keep_client: false,
            keep_gateway: false,
            http10: false,
            upgrade: false,
            asked_in: 0,
            unsure: false,
            heard: false,
            up: Flow::new(),
            down: Flow::new(),
            head: Vec::new(),
            reply: Vec::new(),
        }
    }
}

const _: () = assert!(size_of::<Session>() <= 256, "a session's record must stay within its budget");

/// All sessions of a shard.
#[derive(Default)]
pub struct Sessions {
    records: Chunked<Session>,
    free: Vec<u32>,
}

/// So many free records keep their vectors' memory for the next sessions.
const WARM: usize = 512;

/// Vectors larger than this are not kept for the next session.
const KEEP_BYTES: usize = 2048;

fn emptied(mut bytes: Vec<u8>) -> Vec<u8> {
    if bytes.capacity() > KEEP_BYTES {
        return Vec::new();
    }
    bytes.clear();
    bytes
}

impl Sessions {
    /// A record for a client.
    pub fn insert(&mut self, client: u32) -> u32 {
        let id = self.free.pop().unwrap_or_else(|| {
            let id = self.records.push(Session::new());
            // Room to give every record back without allocating then.
            self.free.reserve(self.records.count());
            id
        });
        self[id].client = client;
        self[id].phase = Phase::Reading;
        id
    }

    /// Frees a record. Its pipes must have been given back.
    pub fn remove(&mut self, id: u32) {
        let spare = self.free.len() >= WARM;
        let session = &mut self[id];
        assert!(session.phase != Phase::Free && session.up.pipe.is_none() && session.down.pipe.is_none());
        session.reset();
        if spare {
            // A burst must not leave its memory behind.
            (session.head, session.reply) = (Vec::new(), Vec::new());
            (session.up.out, session.down.out) = (Vec::new(), Vec::new());
        }
        session.phase = Phase::Free;
        session.client = NONE;
        self.free.push(id);
    }

    /// Sessions in use.
    pub fn used(&self) -> usize {
        self.records.count() - self.free.len()
    }
}

impl Session {
    /// Makes the record fit for the client's next request.
    pub fn reset(&mut self) {
        for flow in [&mut self.up, &mut self.down] {
            assert!(flow.pipe.is_none());
            let out = emptied(std::mem::take(&mut flow.out));
            *flow = Flow { out, ..Flow::new() };
        }
        self.head = emptied(std::mem::take(&mut self.head));
        self.reply = emptied(std::mem::take(&mut self.reply));
        self.gateway = NONE;
        self.heard = false;
        self.unsure = false;
        self.repeatable = false;
    }
}

impl std::ops::Index<u32> for Sessions {
    type Output = Session;

    fn index(&self, id: u32) -> &Session {
        &self.records[id]
    }
}

impl std::ops::IndexMut<u32> for Sessions {
    fn index_mut(&mut self, id: u32) -> &mut Session {
        &mut self.records[id]
    }
}
