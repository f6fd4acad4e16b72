//! All connection slots of a shard.
use super::{Conn, Inbox, NONE, Role, mapped};
use crate::{io::Key, relay::arena::Arena, relay::exchange::ExchangeId, transport::Transport};
use std::net::IpAddr;

/// All connection slots of a shard.
pub struct Conns {
    slots: Arena<Conn>,
    free: u32,
    used: usize,
}

impl Default for Conns {
    fn default() -> Self {
        Conns { slots: Arena::default(), free: NONE, used: 0 }
    }
}

impl Conns {
    /// A slot for a new connection.
    pub fn insert(&mut self, transport: Option<Transport>, address: IpAddr, tick: u32) -> u32 {
        let slot = match self.free {
            NONE => self.slots.push(Conn::vacant()),
            slot => {
                self.free = self.slots[slot].next;
                slot
            }
        };
        let address = mapped(address);
        let conn = &mut self.slots[slot];
        let generation = conn.generation;
        let role = Role::Client(super::Client::Idle);
        *conn = Conn { transport, generation, role, address, active: tick, ..Conn::vacant() };
        self.used += 1;
        slot
    }

    /// Frees a slot and returns its transport. Nothing may be armed for it, and it may be in no list but those that
    /// hold keys.
    pub fn remove(&mut self, slot: u32) -> Option<Transport> {
        let free = self.free;
        let conn = &mut self[slot];
        assert!(!conn.is_armed(), "a slot is used again only when nothing is armed for it");
        assert!(conn.inbox.is_empty() && conn.timer_at == 0 && conn.exchange == ExchangeId::NONE);
        let transport = conn.transport.take();
        conn.generation = conn.generation.wrapping_add(1);
        conn.role = Role::Free;
        conn.inbox = Inbox::default();
        conn.next = free;
        self.free = slot;
        self.used -= 1;
        transport
    }

    /// The slot that a key names, if it has not been freed since.
    pub fn find(&self, key: Key) -> Option<u32> {
        let conn = self.slots.get(key.slot)?;
        (conn.generation == key.generation && conn.role != Role::Free).then_some(key.slot)
    }

    /// The key of a slot.
    pub fn key(&self, slot: u32) -> Key {
        Key { slot, generation: self[slot].generation }
    }

    /// Two different connections at once.
    pub fn pair(&mut self, one: u32, other: u32) -> (&mut Conn, &mut Conn) {
        self.slots.pair(one, other)
    }

    /// Slots in use.
    pub fn used(&self) -> usize {
        self.used
    }

    /// Numbers of all slots, in use or not.
    pub fn numbers(&self) -> std::ops::Range<u32> {
        0..self.slots.count() as u32
    }
}

impl std::ops::Index<u32> for Conns {
    type Output = Conn;

    #[inline]
    fn index(&self, slot: u32) -> &Conn {
        &self.slots[slot]
    }
}

impl std::ops::IndexMut<u32> for Conns {
    #[inline]
    fn index_mut(&mut self, slot: u32) -> &mut Conn {
        &mut self.slots[slot]
    }
}

impl Drop for Conns {
    /// A shard is dropped with connections only when its engine has failed. Then they end with the process: whatever is
    /// armed for them cannot be ended in order any more.
    fn drop(&mut self) {
        for slot in self.numbers() {
            std::mem::forget(self[slot].transport.take());
        }
    }
}
