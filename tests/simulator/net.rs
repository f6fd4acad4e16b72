//! How peers reach the relay: plain, or by TLS without noticing. They say and hear the same plaintext either way.
//!
//! Of a TLS connection it checks what no peer sees: that all bytes of the relay parse as records, that nothing follows its
//! close_notify, and that an end has one.
use super::toy::{self, OVERHEAD};
use ringback::io::Millis;
use ringback::io::sim::{Heard, Peer, Random, World};
use rustls::{ClientConfig, ClientConnection};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::IpAddr;
use std::ops::Deref;
use std::sync::Arc;

/// How long the rest of a record may be kept back.
const PAUSE_MAX: usize = 20;
/// For how long the relay waits at least for room for its close_notify.
const PATIENCE: Millis = 20_000;
/// Plaintext bytes of a record, at most.
const RECORD: usize = 16_384;

/// A world, and the records of those who reach it by TLS.
pub struct Net<M> {
    world: World<M>,
    tls: RefCell<Option<Tls>>,
    acting: Cell<usize>,
    stopping: Cell<bool>,
}

/// What there is where some use TLS.
struct Tls {
    config: Arc<ClientConfig>,
    random: Random,
    /// So many connections in a thousand use it.
    chance: u32,
    /// So many pieces in a thousand are cut.
    cuts: u32,
    /// Bytes of a short record, of which some make many.
    short: usize,
    wires: BTreeMap<Peer, Wire>,
    /// Connections that were made, and handshakes that were finished.
    made: (usize, usize),
}

/// One TLS connection.
struct Wire {
    connection: ClientConnection,
    actor: usize,
    /// Sealed bytes that are still to be sent.
    sealed: Vec<u8>,
    /// The rest of them goes no sooner.
    pauses_until: Millis,
    /// Opened bytes that the peer has not taken.
    opened: Vec<u8>,
    /// The relay has said that it sends no more.
    closed: bool,
    /// It was open at some time.
    was_open: bool,
    /// It has heard something.
    was_told: bool,
    /// When it last looked for something.
    heard_at: Millis,
    /// And had not for long before that.
    slept: bool,
    /// What has come of a record's header, and how many bytes the record lacks.
    header: Vec<u8>,
    lacks: usize,
}

impl<M> Deref for Net<M> {
    type Target = World<M>;

    fn deref(&self) -> &World<M> {
        &self.world
    }
}

impl<M> Net<M> {
    /// All are plain.
    pub fn plain(world: World<M>) -> Net<M> {
        Net { world, tls: RefCell::new(None), acting: Cell::new(0), stopping: Cell::new(false) }
    }

    /// Some use TLS, at the last listener.
    pub fn secure(world: World<M>, seed: u64) -> Net<M> {
        toy::seed(seed);
        let mut random = Random::new(seed.rotate_left(8));
        let tls = Tls {
            config: toy::client(),
            chance: random.pick(&[300, 700, 1000]),
            cuts: random.pick(&[0, 100, 500]),
            short: random.pick(&[1, 30, 500, RECORD]),
            wires: BTreeMap::new(),
            made: (0, 0),
            random,
        };
        Net { world, tls: RefCell::new(Some(tls)), acting: Cell::new(0), stopping: Cell::new(false) }
    }

    /// From here on the relay may end connections however they stand.
    pub fn stop(&self) {
        self.stopping.set(true);
    }

    /// Listeners that are plain.
    pub fn listeners(&self) -> usize {
        self.world.listeners() - usize::from(self.tls.borrow().is_some())
    }

    /// See [`World::act`].
    pub fn act(&self, actor: usize) -> bool {
        self.acting.set(actor);
        let awake = self.world.act(actor);
        if awake && let Some(tls) = &mut *self.tls.borrow_mut() {
            let of_actor = tls.wires.iter_mut().filter(|(_, wire)| wire.actor == actor);
            of_actor.for_each(|(&peer, wire)| {
                wire.push(&self.world, peer, &mut tls.random, tls.cuts);
            });
        }
        awake
    }

    /// See [`World::connect`].
    pub fn connect(&self, shard: usize, listener: usize) -> Peer {
        match self.draws() {
            false => self.world.connect(shard, listener),
            true => self.wrap(self.world.connect(shard, self.listeners())),
        }
    }

    /// See [`World::connect_from`].
    pub fn connect_from(&self, shard: usize, listener: usize, address: IpAddr) -> Peer {
        match self.draws() {
            false => self.world.connect_from(shard, listener, address),
            true => self.wrap(self.world.connect_from(shard, self.listeners(), address)),
        }
    }

    /// Whether some peers use TLS.
    pub fn is_secure(&self) -> bool {
        self.tls.borrow().is_some()
    }

    /// A connection to the listener for TLS whose bytes go as they are.
    pub fn connect_bare(&self, shard: usize, address: IpAddr) -> Peer {
        self.world.connect_from(shard, self.listeners(), address)
    }

    fn draws(&self) -> bool {
        self.tls.borrow_mut().as_mut().is_some_and(|tls| tls.random.chance(tls.chance))
    }

    fn wrap(&self, peer: Peer) -> Peer {
        let Some(tls) = &mut *self.tls.borrow_mut() else { return peer };
        let wire = Wire {
            connection: toy::connection(&tls.config),
            actor: self.acting.get(),
            sealed: Vec::new(),
            pauses_until: 0,
            opened: Vec::new(),
            closed: false,
            was_open: false,
            was_told: false,
            heard_at: 0,
            slept: false,
            header: Vec::new(),
            lacks: 0,
        };
        tls.made.0 += 1;
        tls.wires.insert(peer, wire);
        self.world.note(|| format!("{peer:?} uses TLS"));
        peer
    }

    /// See [`World::send`].
    pub fn send(&self, peer: Peer, bytes: &[u8]) -> Option<usize> {
        let tls = &mut *self.tls.borrow_mut();
        let Some((tls, wire)) = tls.as_mut().and_then(Tls::parts(peer)) else { return self.world.send(peer, bytes) };
        wire.send(&self.world, peer, tls, bytes)
    }

    /// See [`World::receive`].
    pub fn receive(&self, peer: Peer, max: usize, out: &mut Vec<u8>) -> Heard {
        let tls = &mut *self.tls.borrow_mut();
        let Some((tls, wire)) = tls.as_mut().and_then(Tls::parts(peer)) else {
            return self.world.receive(peer, max, out);
        };
        let heard = wire.receive(&self.world, peer, tls, max, out);
        if let (Heard::Eof, Some(wrong)) = (heard, wire.wrong_end().filter(|_| !self.stopping.get())) {
            self.fault(&format!("{peer:?}: {wrong}"));
        }
        // Something may be missing, as a reset would say.
        if heard == Heard::Eof && !wire.closed { Heard::Reset } else { heard }
    }

    /// See [`World::finish`].
    pub fn finish(&self, peer: Peer) {
        self.say_goodbye(peer);
        self.world.finish(peer);
    }

    /// See [`World::close`].
    pub fn close(&self, peer: Peer) {
        self.say_goodbye(peer);
        self.forget(peer);
        self.world.close(peer);
    }

    /// See [`World::reset`].
    pub fn reset(&self, peer: Peer) {
        if let Some((_, wire)) = self.tls.borrow_mut().as_mut().and_then(Tls::parts(peer)) {
            // What counts as sent is sent.
            wire.push_all(&self.world, peer);
        }
        self.forget(peer);
        self.world.reset(peer);
    }

    /// Ends what the peer sends with a close_notify.
    fn say_goodbye(&self, peer: Peer) {
        let tls = &mut *self.tls.borrow_mut();
        let Some((_, wire)) = tls.as_mut().and_then(Tls::parts(peer)) else { return };
        wire.connection.send_close_notify();
        wire.take_sealed();
        // There is room for it, unless the handshake is not over.
        wire.push_all(&self.world, peer);
    }

    fn forget(&self, peer: Peer) {
        if let Some(tls) = &mut *self.tls.borrow_mut() {
            tls.wires.remove(&peer);
        }
    }
}

/// What all connections draw from.
struct Common<'a> {
    random: &'a mut Random,
    cuts: u32,
    short: usize,
    finished: &'a mut usize,
}

impl Tls {
    fn parts(peer: Peer) -> impl FnOnce(&mut Tls) -> Option<(Common<'_>, &mut Wire)> {
        move |tls| {
            let Tls { random, cuts, short, wires, made, .. } = tls;
            let common = Common { random, cuts: *cuts, short: *short, finished: &mut made.1 };
            Some((common, wires.get_mut(&peer)?))
        }
    }
}

impl Wire {
    fn take_sealed(&mut self) {
        while self.connection.wants_write() {
            self.connection.write_tls(&mut self.sealed).expect("memory takes everything");
        }
    }

    /// Sends what is sealed, or some of it. `None` when nothing can be sent any more.
    fn push<M>(&mut self, world: &World<M>, peer: Peer, random: &mut Random, cuts: u32) -> Option<()> {
        while !self.sealed.is_empty() {
            if world.now() < self.pauses_until {
                world.wake_at(self.pauses_until);
                return Some(());
            }
            let whole = self.sealed.len();
            let some = if random.chance(cuts) { random.part(whole) } else { whole };
            let Some(sent) = world.send(peer, &self.sealed[..some]) else {
                self.sealed.clear();
                return None;
            };
            self.sealed.drain(..sent);
            if some < whole {
                self.pauses_until = world.now() + random.below(PAUSE_MAX) as Millis;
            }
            if sent == 0 {
                return Some(());
            }
        }
        Some(())
    }

    /// Sends all that is sealed and that there is room for.
    fn push_all<M>(&mut self, world: &World<M>, peer: Peer) {
        if let Some(sent) = world.send(peer, &self.sealed) {
            self.sealed.drain(..sent);
        }
    }

    /// Seals no more than there is room for, so that what counts as sent has been sent.
    fn send<M>(&mut self, world: &World<M>, peer: Peer, with: Common<'_>, bytes: &[u8]) -> Option<usize> {
        if self.connection.is_handshaking() {
            self.take_sealed();
            self.push(world, peer, with.random, with.cuts)?;
            return Some(0);
        }
        self.push(world, peer, with.random, with.cuts)?;
        if !self.sealed.is_empty() {
            return Some(0);
        }
        let most = if with.random.chance(300) { with.short } else { RECORD };
        let room = world.room(peer)?.saturating_sub(2 * OVERHEAD + 2).min(most);
        let some = bytes.len().min(room);
        if some > 0 {
            self.connection.writer().write_all(&bytes[..some]).expect("room without limit");
            self.take_sealed();
            self.push(world, peer, with.random, with.cuts)?;
        }
        Some(some)
    }

    fn receive<M>(&mut self, world: &World<M>, peer: Peer, with: Common<'_>, max: usize, out: &mut Vec<u8>) -> Heard {
        self.take_sealed();
        let cut = self.push(world, peer, with.random, with.cuts).is_none();
        loop {
            if !self.opened.is_empty() {
                let some = self.opened.len().min(max);
                out.extend(self.opened.drain(..some));
                return Heard::Bytes(some);
            }
            let mut sealed = Vec::new();
            let heard = world.receive(peer, max, &mut sealed);
            self.slept = world.now() > self.heard_at + PATIENCE;
            self.heard_at = world.now();
            match heard {
                Heard::Bytes(_) if self.closed => world.fault(&format!("{peer:?}: bytes behind a close_notify")),
                Heard::Bytes(_) => self.open(world, peer, &sealed, with.finished),
                Heard::Nothing | Heard::Eof if self.closed => return Heard::Eof,
                Heard::Nothing if cut => return Heard::Nothing,
                Heard::Nothing => {
                    // What was opened may have asked for an answer.
                    self.take_sealed();
                    let _ = self.push(world, peer, with.random, with.cuts);
                    return Heard::Nothing;
                }
                Heard::Eof | Heard::Reset => return heard,
            }
        }
    }

    /// What is wrong with the relay's ending here, if anything is.
    fn wrong_end(&self) -> Option<&'static str> {
        // It may have ended before it knew that it could be understood, and it does not wait forever for who takes nothing.
        let excused = self.closed || !self.was_told || self.slept;
        let wrong = if self.lacks > 0 { "an end within a record" } else { "an end without close_notify" };
        (!excused).then_some(wrong)
    }

    /// Notes where records begin and end.
    fn count(&mut self, mut sealed: &[u8]) {
        while let Some(&byte) = sealed.first() {
            if self.header.len() < 5 {
                self.header.push(byte);
                sealed = &sealed[1..];
                let len = |high: u8, low: u8| usize::from(u16::from_be_bytes([high, low]));
                self.lacks = if let [_, _, _, high, low] = self.header[..] { len(high, low) } else { 1 };
                continue;
            }
            let some = self.lacks.min(sealed.len());
            self.lacks -= some;
            sealed = &sealed[some..];
            if self.lacks == 0 {
                self.header.clear();
            }
        }
    }

    fn open<M>(&mut self, world: &World<M>, peer: Peer, sealed: &[u8], finished: &mut usize) {
        self.count(sealed);
        let mut rest = sealed;
        while !rest.is_empty() {
            self.connection.read_tls(&mut rest).expect("room");
            match self.connection.process_new_packets() {
                Ok(state) => {
                    let there = state.plaintext_bytes_to_read() as u64;
                    self.connection.reader().take(there).read_to_end(&mut self.opened).expect("memory");
                    self.was_told |= !self.opened.is_empty();
                    self.closed |= state.peer_has_closed();
                }
                Err(error) => world.fault(&format!("{peer:?}: the relay's records do not parse: {error}")),
            }
            if self.closed && !rest.is_empty() {
                world.fault(&format!("{peer:?}: bytes behind a close_notify"));
            }
        }
        if !self.was_open && !self.connection.is_handshaking() {
            self.was_open = true;
            *finished += 1;
            world.note(|| format!("{peer:?}: the handshake is over"));
        }
    }
}
