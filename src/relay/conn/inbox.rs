//! What a connection has sent and the relay has not passed on: the one owner of received bytes.
//!
//! They stay in the pool buffers where they landed, in a *chain*; or, so that slow peers cannot hold buffers that
//! others need, they are *spilled* to memory outside the pool. Never both: what arrives while some are spilled joins
//! them. Either way they are read and sent from where they are, so a byte in an inbox can always go on, however short
//! the pool is.
use crate::{
    io::{Buf, Calls, Chain, Links},
    relay::memory::{Account, Held},
};

/// Maximum spills of a shard: their numbers are 16 bits.
const SPILLS_MAX: usize = 1 << 16;

/// Received bytes of one connection, in order. Six bytes; the bytes themselves are kept by [`Inboxes`].
#[derive(Debug, Default)]
pub struct Inbox {
    chain: Chain,
    spilled: Option<SpillId>,
}

/// Number of a spill, one more than its index.
type SpillId = std::num::NonZeroU16;

impl Inbox {
    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.chain.is_empty() && self.spilled.is_none()
    }

    /// Whether its bytes are outside the pool.
    pub fn is_spilled(&self) -> bool {
        self.spilled.is_some()
    }

    /// Whether it holds buffers of the pool.
    pub fn holds_buffers(&self) -> bool {
        !self.chain.is_empty()
    }
}

/// Bytes of one inbox outside the pool.
#[derive(Default)]
struct Spill {
    bytes: Held,
    /// How many of them are consumed.
    taken: usize,
}

/// Storage for the bytes of all inboxes of a shard.
pub struct Inboxes {
    links: Links,
    spills: Vec<Spill>,
    vacant: Vec<SpillId>,
    /// The shard's account of bytes held outside the pool.
    pub account: Account,
}

impl Inboxes {
    /// Storage for a pool of so many buffers.
    pub fn new(buffers: usize, account: Account) -> Inboxes {
        Inboxes { links: Links::new(buffers), spills: Vec::new(), vacant: Vec::new(), account }
    }

    /// The first bytes, as many as are contiguous. Empty only if the inbox is.
    #[inline]
    pub fn peek<'a>(&'a self, inbox: &Inbox, calls: &'a impl Calls) -> &'a [u8] {
        if let Some(front) = self.links.front(&inbox.chain) {
            return calls.bytes(front);
        }
        let Some(id) = inbox.spilled else { return &[] };
        let spill = &self.spills[index(id)];
        &spill.bytes[spill.taken..]
    }

    /// All bytes, in contiguous pieces.
    pub fn slices<'a>(&'a self, inbox: &Inbox, calls: &'a impl Calls) -> impl Iterator<Item = &'a [u8]> {
        let spilled = inbox.spilled.map(|id| {
            let spill = &self.spills[index(id)];
            &spill.bytes[spill.taken..]
        });
        self.links.iter(&inbox.chain).map(|buf| calls.bytes(buf)).chain(spilled)
    }

    /// Appends the first `len` bytes, which must be contiguous, to `held`.
    pub fn copy_front(&mut self, inbox: &Inbox, len: usize, held: &mut Held, calls: &impl Calls) {
        let Inboxes { links, spills, account, .. } = self;
        let bytes = match (links.front(&inbox.chain), inbox.spilled) {
            (Some(front), _) => calls.bytes(front),
            (None, Some(id)) => &spills[index(id)].bytes[spills[index(id)].taken..],
            (None, None) => &[],
        };
        held.extend(account, &bytes[..len]);
    }

    /// Drops the first `n` bytes. There must be that many.
    #[inline]
    pub fn consume(&mut self, inbox: &mut Inbox, mut n: usize, calls: &mut impl Calls) {
        while n > 0 {
            let Some(front) = self.links.front(&inbox.chain) else { return self.consume_spilled(inbox, n) };
            if front.len() > n {
                return self.links.trim_front(&inbox.chain, n);
            }
            n -= front.len();
            if let Some(front) = self.links.pop(&mut inbox.chain) {
                calls.release(front);
            }
        }
    }

    fn consume_spilled(&mut self, inbox: &mut Inbox, n: usize) {
        let Some(id) = inbox.spilled else { unreachable!("only what is there is consumed") };
        let spill = &mut self.spills[index(id)];
        spill.taken += n;
        assert!(spill.taken <= spill.bytes.len(), "only what is there is consumed");
        if spill.taken == spill.bytes.len() {
            self.free(inbox);
        }
    }

    /// Puts a received buffer behind all else.
    #[inline]
    pub fn append(&mut self, inbox: &mut Inbox, buf: Buf, calls: &mut impl Calls) {
        let Some(id) = inbox.spilled else { return self.links.push(&mut inbox.chain, buf) };
        let spill = &mut self.spills[index(id)];
        if spill.taken > spill.bytes.len() / 2 {
            spill.bytes.drop_front(&mut self.account, spill.taken);
            spill.taken = 0;
        }
        spill.bytes.extend(&mut self.account, calls.bytes(&buf));
        calls.release(buf);
    }

    /// Moves the bytes out of the pool. They stay where they are if there are too many spills.
    pub fn spill(&mut self, inbox: &mut Inbox, calls: &mut impl Calls) {
        if inbox.chain.is_empty() {
            return;
        }
        let Some(id) = self.vacant_spill() else { return };
        let spill = &mut self.spills[index(id)];
        while let Some(buf) = self.links.pop(&mut inbox.chain) {
            spill.bytes.extend(&mut self.account, calls.bytes(&buf));
            calls.release(buf);
        }
        inbox.spilled = Some(id);
    }

    /// Removes all bytes, and returns them with the number of those at the front that are consumed already. Spilled
    /// ones are moved, not copied.
    pub fn take_all(&mut self, inbox: &mut Inbox, calls: &mut impl Calls) -> (Vec<u8>, usize) {
        if let Some(id) = inbox.spilled {
            let spill = &mut self.spills[index(id)];
            let taken = spill.taken;
            let bytes = spill.bytes.take(&mut self.account);
            self.free(inbox);
            return (bytes, taken);
        }
        let mut bytes = Vec::new();
        while let Some(buf) = self.links.pop(&mut inbox.chain) {
            bytes.extend_from_slice(calls.bytes(&buf));
            calls.release(buf);
        }
        (bytes, 0)
    }

    /// Gives bytes, of which the first `taken` are consumed already, to an empty inbox. False, without effect, if there
    /// are too many spills.
    pub fn restore(&mut self, inbox: &mut Inbox, bytes: Vec<u8>, taken: usize) -> bool {
        debug_assert!(inbox.is_empty());
        if taken == bytes.len() {
            return true;
        }
        let Some(id) = self.vacant_spill() else { return false };
        self.spills[index(id)] = Spill { bytes: Held::adopt(&mut self.account, bytes), taken };
        inbox.spilled = Some(id);
        true
    }

    /// Throws all bytes away.
    pub fn clear(&mut self, inbox: &mut Inbox, calls: &mut impl Calls) {
        while let Some(buf) = self.links.pop(&mut inbox.chain) {
            calls.release(buf);
        }
        if inbox.spilled.is_some() {
            self.free(inbox);
        }
    }

    /// Whether it holds at least so many buffers.
    pub fn holds(&self, inbox: &Inbox, buffers: usize) -> bool {
        self.links.iter(&inbox.chain).nth(buffers - 1).is_some()
    }

    fn vacant_spill(&mut self) -> Option<SpillId> {
        if let Some(id) = self.vacant.pop() {
            return Some(id);
        }
        if self.spills.len() + 1 >= SPILLS_MAX {
            return None;
        }
        self.spills.push(Spill::default());
        SpillId::new(self.spills.len() as u16)
    }

    fn free(&mut self, inbox: &mut Inbox) {
        let Some(id) = inbox.spilled.take() else { return };
        let spill = &mut self.spills[index(id)];
        spill.bytes.clear(&mut self.account, 0);
        spill.taken = 0;
        self.vacant.push(id);
    }

    /// Bytes that are spilled, counted one by one.
    pub fn spilled_bytes(&self) -> usize {
        self.spills.iter().map(|spill| spill.bytes.len()).sum()
    }

    /// What is wrong with an inbox, if anything: its invariants.
    pub fn fault(&self, inbox: &Inbox) -> Option<&'static str> {
        if inbox.spilled.is_some() && !inbox.chain.is_empty() {
            return Some("bytes wait in the pool and outside of it");
        }
        if self.links.iter(&inbox.chain).any(Buf::is_empty) {
            return Some("an empty buffer waits");
        }
        let spill = inbox.spilled.map(|id| &self.spills[index(id)]);
        spill.filter(|spill| spill.taken >= spill.bytes.len()).map(|_| "an empty spill waits")
    }
}

fn index(id: SpillId) -> usize {
    usize::from(id.get()) - 1
}
