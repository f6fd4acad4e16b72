//! Step of a waiting gateway, and the properties of the dialects that gateways speak.
use super::{conn::Conn, desk::Desk};
use crate::{
    http::canned::{CLASSIC_204, PTTH_101, PTTH_101_UNCHECKED},
    io::Calls,
};

pub use crate::http::Dialect;

/// The properties of a dialect. A further dialect is a further value of this type.
#[derive(Debug)]
pub struct DialectTraits {
    /// Sent at once when a gateway has registered.
    pub welcome: &'static [u8],
    /// The same if it has sent a key that nobody asked for.
    pub welcome_unchecked: &'static [u8],
    /// Sent to a parked gateway after the poll interval, upon which it registers again; none if it waits silently
    /// without limit.
    pub poll_again: Option<&'static [u8]>,
    /// Its connection is parked again after a response. Otherwise it serves one client.
    pub reused: bool,
    /// It stays joined with its client between two of that client's requests.
    pub rests: bool,
    /// Of several parked connections the most recently used goes first: it is the likeliest to be alive, and the
    /// surplus of a pool becomes idle. Otherwise the oldest goes first, before it has to be told to register again.
    pub latest_first: bool,
    /// It gets requests verbatim, and its responses are passed on verbatim, hop-by-hop fields included.
    pub verbatim: bool,
    /// Its responses may break the rules of HTTP, and are repaired.
    pub sloppy: bool,
    /// Its connection may end by a reset that is no failure: it need not have read the request.
    pub may_end_by_reset: bool,
}

static CLASSIC: DialectTraits = DialectTraits {
    welcome: b"",
    welcome_unchecked: b"",
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
    welcome_unchecked: PTTH_101_UNCHECKED,
    poll_again: None,
    reused: true,
    rests: false,
    latest_first: true,
    verbatim: false,
    sloppy: false,
    may_end_by_reset: false,
};

impl Dialect {
    /// The dialect's properties.
    pub fn traits(self) -> &'static DialectTraits {
        match self {
            Dialect::Classic => &CLASSIC,
            Dialect::Ptth => &PTTH,
        }
    }
}

/// Result of looking at a parked or quarantined gateway that has had an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stirred {
    /// Nothing arrived: it may go on waiting.
    Silent,
    /// It has ended.
    Ended,
    /// It has sent bytes that no request asked for, so the start of its next response would not be known.
    Spoke,
}

/// Checks that a gateway that should be silent is, receiving if necessary.
pub fn look<C: Calls>(gateway: &mut Conn, desk: &mut Desk<'_, C>) -> Stirred {
    if gateway.inbox.is_empty() && gateway.may_fill() {
        desk.check(gateway);
    }
    skip(gateway, desk);
    match () {
        _ if !gateway.inbox.is_empty() => Stirred::Spoke,
        _ if gateway.has_ended() => Stirred::Ended,
        _ => Stirred::Silent,
    }
}

/// Drops what a parked gateway of a sloppy dialect may send without a request: the rest of its registration's body, and
/// empty lines.
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
