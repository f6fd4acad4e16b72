//! Hop-by-hop headers: those that concern one connection and are not sent on (RFC 9110 §7.6.1).
use super::{Cuts, Span, class};
use httparse::Header;

/// Options of `Connection` that are kept at hand; of more the header lines are read again.
const NAMED_MAX: usize = 8;

/// Most connection options that name a header of the message and not one of the usual. As many as a message may have
/// headers; more is an attack on the search below, which is options × headers.
const OPTIONS_MAX: usize = super::HEADERS_MAX;

/// Headers that `Connection` cannot name away: without them the next hop would see another message, sent to
/// somebody else or by somebody else, than the one the relay routed.
const KEPT: [&str; 6] = ["Host", "Content-Length", "Transfer-Encoding", "Trailer", "Authorization", "Expect"];

/// There are more options than [`OPTIONS_MAX`].
pub(super) struct TooMany;

/// What `Connection` says, and which header lines are not sent on. One bit a header, of at most 128.
#[derive(Default)]
pub(super) struct Hops<'a> {
    /// `Connection: close`.
    pub close: bool,
    /// `Connection: keep-alive`.
    pub keep_alive: bool,
    /// `Connection: upgrade`.
    pub upgrade: bool,
    /// Other options: names of headers to leave out. The first few of them.
    named: [&'a [u8]; NAMED_MAX],
    /// How many there are.
    named_len: usize,
    /// The `Connection` headers, one bit each.
    connections: u128,
    /// Headers to leave out.
    marked: u128,
}

impl<'a> Hops<'a> {
    /// Marks the header at `index` to be left out.
    #[inline]
    pub fn mark(&mut self, index: usize) {
        self.marked |= 1 << index;
    }

    /// Marks every header whose bit is set.
    #[inline]
    pub fn mark_all(&mut self, bits: u128) {
        self.marked |= bits;
    }

    /// Reads the `Connection` header at `index` and marks it.
    pub fn connection(&mut self, index: usize, value: &'a [u8]) -> Result<(), TooMany> {
        self.mark(index);
        self.connections |= 1 << index;
        for option in class::elements(value) {
            match option.len() {
                5 if option.eq_ignore_ascii_case(b"close") => self.close = true,
                7 if option.eq_ignore_ascii_case(b"upgrade") => self.upgrade = true,
                10 if option.eq_ignore_ascii_case(b"keep-alive") => self.keep_alive = true,
                // Left out in any case.
                2 if option.eq_ignore_ascii_case(b"te") => {}
                _ => {
                    if let Some(named) = self.named.get_mut(self.named_len) {
                        *named = option;
                    }
                    self.named_len += 1;
                }
            }
        }
        if self.named_len > OPTIONS_MAX { Err(TooMany) } else { Ok(()) }
    }

    /// The marked lines and those that `Connection` names. `head` ends behind its blank line.
    pub fn cuts(mut self, head: &[u8], headers: &[Header<'_>]) -> Cuts {
        self.mark_named(headers);
        let all = self.marked;
        let mut cuts = Cuts::default();
        while self.marked != 0 {
            let index = self.marked.trailing_zeros() as usize;
            self.marked &= self.marked - 1;
            let start = Span::locate(headers[index].name.as_bytes(), head).start;
            let end = match headers.get(index + 1) {
                Some(next) => Span::locate(next.name.as_bytes(), head).start,
                None => blank_line(head),
            };
            if !cuts.add(Span { start, end }) {
                return Cuts::lines(all);
            }
        }
        cuts
    }

    fn mark_named(&mut self, headers: &[Header<'_>]) {
        match self.named_len {
            0 => {}
            1..=NAMED_MAX => {
                let named = self.named;
                self.mark_all(bits_of(headers, named[..self.named_len].iter().copied()));
            }
            _ => self.mark_all(self.named_anew(headers)),
        }
    }

    /// The headers that any of the many options of all `Connection` headers names.
    #[cold]
    fn named_anew(&self, headers: &[Header<'_>]) -> u128 {
        let is_connection = |index: usize| self.connections >> index & 1 == 1;
        let connections = headers.iter().enumerate().filter(|&(index, _)| is_connection(index));
        connections.fold(0, |bits, (_, header)| bits | bits_of(headers, class::elements(header.value)))
    }
}

/// The headers that may be named away and are by one of `options`, one bit each.
fn bits_of<'a>(headers: &[Header<'_>], options: impl Iterator<Item = &'a [u8]> + Clone) -> u128 {
    let mut bits = 0;
    for (index, header) in headers.iter().enumerate() {
        let name = header.name.as_bytes();
        let is_named = options.clone().any(|option| option.eq_ignore_ascii_case(name));
        if is_named && !KEPT.iter().any(|kept| kept.eq_ignore_ascii_case(header.name)) {
            bits |= 1 << index;
        }
    }
    bits
}

/// Whether `Connection` cannot name a header away.
pub(super) fn is_kept(name: &[u8]) -> bool {
    KEPT.iter().any(|kept| kept.as_bytes().eq_ignore_ascii_case(name))
}

/// Whether a header is hop-by-hop by its name alone, from any sender. `Connection` and `Upgrade` need more thought
/// and are not among them.
#[inline]
pub(super) fn always(name: &[u8]) -> bool {
    match name.len() {
        2 => name.eq_ignore_ascii_case(b"te"),
        10 if name.eq_ignore_ascii_case(b"keep-alive") => true,
        0..=5 => false,
        // What proxies on the way did is for everybody behind them (RFC 9209 §2).
        _ => {
            name[0] | 0x20 == b'p'
                && name[..6].eq_ignore_ascii_case(b"proxy-")
                && !name[6..].eq_ignore_ascii_case(b"status")
        }
    }
}

/// Where the blank line of a complete `head` starts: CRLF, or the bare LF that only responses may have.
fn blank_line(head: &[u8]) -> u16 {
    let end = if head.ends_with(b"\r\n") { head.len() - 2 } else { head.len() - 1 };
    end as u16
}
