//! What is armed for a connection: a watch if it rarely sends, a stream if it sends all the time, nothing if it has to
//! wait.
use super::{Arms, Conn, Flags, Role};
use crate::{
    io::{Armed, Engine, Interest, Key},
    relay::timers::{TICK_MILLIS, after, earlier, is_due},
};

/// Receives less than this apart make a connection hot; without any for twice as long it cools down.
pub const HEAT_TICKS: u32 = (1000 / TICK_MILLIS) as u32;
/// Number of such receives in a row.
pub const HEAT_NEEDED: u8 = 2;
/// A client that has sent its last request is watched, for a reset, only after this time: most have their response by
/// then.
pub const LAST_TICKS: u32 = (32 / TICK_MILLIS) as u32;

/// What a connection should have armed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// It could use more bytes.
    pub read: bool,
    /// It has something to send for which there was no room.
    pub write: bool,
    /// A stream must end, because its bytes pile up or are to be spliced.
    pub stop: bool,
    /// Its bytes are spliced, so a stream is of no use.
    pub bulk: bool,
}

/// Arms what should be armed and is not yet.
pub fn rearm(conn: &mut Conn, key: Key, wish: Wish, engine: &mut impl Engine) {
    let Some(transport) = conn.transport.as_ref() else { return };
    let socket = transport.socket();
    if wish.read && !conn.arms.intersects(Arms::READ | Arms::STREAM) {
        if conn.is_hot() && !wish.bulk && transport.may_stream() {
            engine.stream(socket, key);
            conn.arms |= Arms::STREAM;
        } else {
            engine.watch(socket, key, Interest::Readable);
            conn.arms |= Arms::READ;
        }
    } else if wish.stop {
        stop_stream(conn, key, engine);
        return watch_room(conn, key, wish, engine);
    }
    watch_room(conn, key, wish, engine);
}

fn watch_room(conn: &mut Conn, key: Key, wish: Wish, engine: &mut impl Engine) {
    if wish.write
        && !conn.arms.contains(Arms::WRITE)
        && let Some(transport) = conn.transport.as_ref()
    {
        engine.watch(transport.socket(), key, Interest::Writable);
        conn.arms |= Arms::WRITE;
    }
}

/// Cancels a stream, if there is one and it is not being cancelled yet.
pub fn stop_stream(conn: &mut Conn, key: Key, engine: &mut impl Engine) {
    if conn.arms & (Arms::STREAM | Arms::CANCELLING) == Arms::STREAM {
        engine.cancel(key, Armed::Stream);
        conn.arms |= Arms::CANCELLING;
    }
}

/// Cancels everything that is armed, for a connection that leaves the shard.
pub fn stop_all(conn: &mut Conn, key: Key, engine: &mut impl Engine) {
    stop_stream(conn, key, engine);
    if conn.arms & (Arms::READ | Arms::CANCELLING) == Arms::READ {
        engine.cancel(key, Armed::Watch(Interest::Readable));
        conn.arms |= Arms::CANCELLING;
    }
    if conn.arms.contains(Arms::WRITE) {
        engine.cancel(key, Armed::Watch(Interest::Writable));
    }
}

/// A watch has found something to receive. A connection to which that happens again and again becomes hot, and gets a
/// stream.
pub fn warm_up(conn: &mut Conn, tick: u32) {
    let quick = tick.wrapping_sub(conn.active) < HEAT_TICKS;
    if !conn.is_hot() {
        conn.heat = if quick { (conn.heat + 1).min(HEAT_NEEDED + 1) } else { 0 };
    }
    let talks = match conn.role {
        Role::Client(_) => true,
        Role::Gateway(_, state) => state == super::Gateway::Joined,
        Role::Free | Role::Lingering | Role::Closing => false,
    };
    if conn.heat > HEAT_NEEDED && talks {
        conn.heat = super::HOT;
        conn.active = tick;
    }
}

/// Whether a hot connection has become quiet and goes back to the watch, which costs the least while nothing comes.
pub fn is_cold(conn: &Conn, tick: u32) -> bool {
    conn.is_hot() && is_due(after(conn.active, 2 * HEAT_TICKS), tick)
}

/// The tick at which a connection must be looked at, if there is one. `bulk_delay`, in ticks, is for how long received
/// bytes may wait for more.
pub fn due(conn: &Conn, bulk_delay: u32) -> Option<u32> {
    let mut due = conn.deadline;
    let mut by = |tick| due = if due == 0 { tick } else { earlier(due, tick) };
    if conn.is_hot() {
        by(after(conn.active, 2 * HEAT_TICKS));
    }
    if conn.is(Flags::LAST) {
        by(after(conn.active, LAST_TICKS));
    }
    if conn.arms.contains(Arms::MARK) {
        by(after(conn.active, bulk_delay));
    }
    (due != 0).then_some(due)
}
