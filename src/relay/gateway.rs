//! What a gateway's dialect means for the relay, and what a parked gateway may do.
use super::{
    conn::{Conn, Filled, Flags},
    desk::Desk,
};
use crate::{
    http::canned::{CLASSIC_204, PTTH_101},
    io::Calls,
};

pub use crate::http::Dialect;

/// What a dialect's gateways can and do. Another dialect is another one of these.
#[derive(Debug)]
pub struct DialectTraits {
    /// What a gateway hears at once when it has registered.
    pub welcome: &'static [u8],
    /// What a parked gateway hears after the poll interval, upon which it registers again; none if it waits silently
    /// for as long as it takes.
    pub poll_again: Option<&'static [u8]>,
    /// Its connection is parked again after a response. Else it serves one client.
    pub reused: bool,
    /// It stays with its client between two of that client's requests.
    pub rests: bool,
    /// Of several parked ones the latest used is used first: the likeliest to be alive and warm, and the surplus of a
    /// pool gets to idle. Else the oldest, before it must be told to register again.
    pub latest_first: bool,
    /// It gets requests verbatim, and its responses are passed on so: it sees and says what is meant for one hop.
    pub verbatim: bool,
    /// Its responses may break the rules of HTTP.
    pub sloppy: bool,
    /// Its connection may end by a reset that is no failure: it need not have read the request.
    pub may_end_by_reset: bool,
}

static CLASSIC: DialectTraits = DialectTraits {
    welcome: b"",
    poll_again: Some(CLASSIC_204),
    reused: false,
    rests: true,
    latest_first: false,
    verbatim: true,
    sloppy: true,
    may_end_by_reset: true,
};

static PTTH: DialectTraits = DialectTraits {
    welcome: PTTH_101,
    poll_again: None,
    reused: true,
    rests: false,
    latest_first: true,
    verbatim: false,
    sloppy: false,
    may_end_by_reset: false,
};

impl Dialect {
    /// What it means for the relay.
    pub fn traits(self) -> &'static DialectTraits {
        match self {
            Dialect::Classic => &CLASSIC,
            Dialect::Ptth => &PTTH,
        }
    }
}

/// What became of a parked or quarantined gateway that something has happened to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stirred {
    /// Nothing: it may go on waiting.
    Silent,
    /// It has ended.
    Ended,
    /// It has sent something that no request asked for: it cannot be told where its next response would begin.
    Spoke,
}

/// Looks whether a gateway that should be silent is, receiving if that can tell.
pub fn look<C: Calls>(gateway: &mut Conn, desk: &mut Desk<'_, C>) -> Stirred {
    if gateway.inbox.is_empty() && gateway.may_fill() {
        match desk.fill(gateway) {
            // Without a look the connection cannot be trusted.
            Filled::NoBuffer => gateway.flags.insert(Flags::FAILED),
            Filled::Bytes(_) | Filled::Nothing | Filled::Ended => {}
        }
    }
    skip(gateway, desk);
    match () {
        _ if !gateway.inbox.is_empty() => Stirred::Spoke,
        _ if gateway.has_ended() => Stirred::Ended,
        _ => Stirred::Silent,
    }
}

/// Drops what a parked gateway may send without a request: what is left of its registration's body and, if its dialect
/// is sloppy, empty lines.
fn skip<C: Calls>(gateway: &mut Conn, desk: &mut Desk<'_, C>) {
    let sloppy = gateway.dialect().is_some_and(|dialect| dialect.traits().sloppy);
    while sloppy && !gateway.inbox.is_empty() {
        let bytes = desk.peek(gateway);
        let body = bytes.len().min(usize::from(gateway.tries));
        let empty = bytes[body..].iter().take_while(|&&b| b == b'\r' || b == b'\n').count();
        let whole = body + empty == bytes.len();
        gateway.tries -= body as u8;
        desk.consume(gateway, body + empty);
        if !whole {
            return;
        }
    }
}
