//! One request to the target and its response back, both streamed as they arrive and followed to their ends.
use std::{convert::Infallible, future::pending, io, pin::pin};

use memchr::memchr_iter;
use tokio::{io::AsyncWriteExt, net::TcpStream};

use super::{
    Config,
    buffer::Buffer,
    clock::Clock,
    head,
    link::{End, Link},
    pipe::{Pipe, SPLICE_MIN},
    registration, socket,
    stripped::Stripped,
};
use crate::http::{Body, Dialect, RequestHead, ResponseHead, Version, response::NotAResponse};

/// Interim responses before a final one. A target that says "still processing" every 20 s gets more than half an
/// hour; one that says nothing else is not waited for.
const INTERIM_MAX: usize = 100;

/// The two connections, what was read from them, and the request whose head begins `from_relay`.
pub(super) struct Exchange<'e> {
    pub head: &'e RequestHead,
    pub config: &'e Config,
    pub relay: &'e Link,
    pub target: &'e Link,
    pub from_relay: &'e mut Buffer,
    pub from_target: &'e mut Buffer,
}

/// How an exchange went.
pub(super) struct Passed {
    /// Whether all of the request went to the target. The head of a request without body is still in the buffer
    /// then, so that it can be sent again.
    pub whole_request: bool,
    pub response: Result<Answered, Failure>,
}

/// A response that has reached the relay.
#[derive(Clone, Copy, Debug)]
pub(super) enum Answered {
    /// To its end; its status, if it was HTTP, and which connections can be used again.
    Whole { status: Option<u16>, keep_relay: bool, keep_target: bool },
    /// 101: raw bytes from here on.
    Switched,
}

/// Why a response did not reach the relay.
#[derive(Debug)]
pub(super) enum Failure {
    /// The relay is gone, or takes or sends nothing more.
    Relay(io::Error),
    /// The target closed before a whole response head, or sent something else; says what. The relay has seen nothing.
    Unanswered(String),
    /// The target did not read the request or begin its response in time. The relay has seen nothing.
    Late,
    /// The target broke off behind the head.
    Cut {
        error: io::Error,
        /// Whether the relay would take the end of the connection for the response's.
        looks_whole: bool,
    },
}

/// Whether anything follows the request's head.
pub(super) fn has_body(head: &RequestHead) -> bool {
    !head.body.is_done()
}

/// Passes one request and its response, both ways at once: a response may begin, and end, before the request has.
pub(super) async fn pass(exchange: Exchange<'_>) -> Passed {
    let gone = gone(exchange.relay, exchange.config.dialect);
    tokio::select! {
        biased;
        passed = both_ways(exchange) => passed,
        error = gone => Passed { whole_request: false, response: Err(Failure::Relay(error)) },
    }
}

/// Ready when the relay has given up the request that is under way.
pub(super) async fn gone(relay: &Link, dialect: Dialect) -> io::Error {
    match dialect {
        // While a request is under way an end is that of the request: the relay does not half-close this connection.
        Dialect::Ptth => socket::ended(relay.tcp()).await,
        // An end in order may be the client's half-close, which is passed on.
        Dialect::Classic => socket::failed(relay.tcp()).await,
    }
}

async fn both_ways(exchange: Exchange<'_>) -> Passed {
    let Exchange { head, config, relay, target, from_relay, from_target } = exchange;
    let clock = &Clock::start();
    let last = has_body(head) && !reads_bodies(from_relay.filled());
    let stripped = Stripped::of(&from_relay.filled()[..usize::from(head.len)], config);
    let back = Back { head, config, clock, last, stripped, from: End(target), to: End(relay), buffer: from_target };
    let mut back = pin!(back.run());
    let mut response = None;
    let sent = {
        let there = Flow { from: End(relay), to: End(target), buffer: &mut *from_relay, clock, config };
        let mut there = pin!(send(head, last, there));
        loop {
            tokio::select! {
                biased;
                sent = &mut there => break sent,
                ended = &mut back, if response.is_none() => {
                    // A target that goes on reading gets the rest. One that does not, or a client that waits for a
                    // 100 which will not come any more, would be waited for in vain.
                    let goes_on = matches!(ended, Ok(Answered::Whole { keep_target: true, .. }));
                    if !goes_on || head.expect_continue {
                        return Passed { whole_request: false, response: ended };
                    }
                    response = Some(ended);
                }
            }
        }
    };
    clock.moved();
    let whole_request = sent.is_ok();
    if let Err(Stop::Source(error)) = sent {
        return Passed { whole_request, response: Err(Failure::Relay(error)) };
    }
    if let Some(response) = response {
        return Passed { whole_request, response };
    }
    if matches!(&sent, Err(Stop::Sink(error)) if error.kind() == io::ErrorKind::TimedOut) && !clock.is_answered() {
        return Passed { whole_request, response: Err(Failure::Late) };
    }
    // A target that reads no more may still have said why.
    let half_closed = async {
        if whole_request {
            pass_half_close(head, config, relay, target, from_relay).await;
        }
        pending::<Infallible>().await
    };
    let response = tokio::select! {
        biased;
        ended = back => ended,
        () = clock.unanswered(config.response_timeout) => Err(Failure::Late),
        never = half_closed => match never {},
    };
    Passed { whole_request, response }
}

/// Whether servers in general read the body of a request that begins like this. With other methods many do not even
/// look whether there is one, and take its bytes for the next request on the connection. The next client would then get
/// a response that the body's sender chose.
fn reads_bodies(request: &[u8]) -> bool {
    let request = request.trim_ascii_start();
    ["POST ", "PUT ", "PATCH "].iter().any(|method| request.starts_with(method.as_bytes()))
}

/// Sends the request. Its bytes are consumed as they go, except a head without a body.
async fn send(head: &RequestHead, last: bool, mut there: Flow<'_>) -> Result<(), Stop> {
    let mut len = usize::from(head.len);
    if !has_body(head) {
        return there.write_ready(len).await.map_err(Stop::Sink);
    }
    if last && !head.upgrade {
        // Should the target not read the body, it is told to take nothing behind the head for a request.
        let lines = &there.buffer.filled()[..len - b"\r\n".len()];
        let own = [lines, b"Connection: close\r\n\r\n"].concat();
        there.buffer.replace(len, &own);
        len = own.len();
    }
    there.pass(len, head.body).await
}

/// Passes a classic relay's half-close on while the target thinks, so that the target hears at once that the client
/// has finished; keeps the first bytes of a next request. Ends when there is nothing to wait for.
async fn pass_half_close(head: &RequestHead, config: &Config, relay: &Link, target: &Link, buffer: &mut Buffer) {
    // A head without a body is kept until the response has come.
    let kept = if has_body(head) { 0 } else { usize::from(head.len) };
    if config.dialect == Dialect::Classic
        && buffer.filled().len() == kept
        && matches!(buffer.fill(&mut End(relay)).await, Ok(0))
    {
        let _gone_is_as_good = End(target).shutdown().await;
    }
}

/// The way back.
struct Back<'e> {
    head: &'e RequestHead,
    config: &'e Config,
    clock: &'e Clock,
    /// Whether the target's connection is not used again in any case.
    last: bool,
    /// The path of which the target knows nothing, if the relay has stripped one.
    stripped: Option<Stripped>,
    from: End<'e>,
    to: End<'e>,
    buffer: &'e mut Buffer,
}

impl Back<'_> {
    /// Passes interim responses and the final one.
    async fn run(mut self) -> Result<Answered, Failure> {
        let upgrade = self.head.upgrade || self.head.registration.is_some();
        for _ in 0..=INTERIM_MAX {
            let Some(head) = self.read_head().await? else {
                self.clock.answer();
                self.pass_body(0, Body::UntilClose).await?;
                return Ok(Answered::Whole { status: None, keep_relay: false, keep_target: false });
            };
            match head.status {
                101 if !upgrade => {
                    return Err(Failure::Unanswered("a 101 that nobody asked for".to_owned()));
                }
                100..=199 => {
                    let len = self.repair(usize::from(head.len));
                    let mut flow = self.flow();
                    flow.write_ready(len).await.map_err(Failure::Relay)?;
                    flow.buffer.consume(len);
                    if head.status == 101 {
                        return Ok(Answered::Switched);
                    }
                    self.clock.moved();
                }
                _ => {
                    self.clock.answer();
                    return self.pass_final(&head).await;
                }
            }
        }
        Err(Failure::Unanswered(format!("more than {INTERIM_MAX} interim responses")))
    }

    /// The next response's head, left in the buffer; None for a classic target that does not speak HTTP.
    async fn read_head(&mut self) -> Result<Option<ResponseHead>, Failure> {
        let unanswered = |what: String| Err(Failure::Unanswered(what));
        match head::response(&mut self.from, self.buffer, self.head.method).await {
            Ok(Some(Ok(head))) => {
                self.last |= leaves_doubt(&self.buffer.filled()[..usize::from(head.len)], head.status);
                Ok(Some(head))
            }
            Ok(Some(Err(NotAResponse::NotHttp))) if self.config.dialect == Dialect::Classic => Ok(None),
            Ok(Some(Err(NotAResponse::NotHttp))) => unanswered("it does not speak HTTP".to_owned()),
            Ok(Some(Err(NotAResponse::Bad(what)))) => unanswered(format!("bad HTTP: {what}")),
            Ok(None) => unanswered("it closed the connection".to_owned()),
            Err(error) => unanswered(error.to_string()),
        }
    }

    async fn pass_final(&mut self, head: &ResponseHead) -> Result<Answered, Failure> {
        let both_keep = head.keep_alive && self.head.keep_alive;
        let keep_relay = match self.config.dialect {
            Dialect::Classic => head.self_delimited && both_keep,
            Dialect::Ptth => head.self_delimited,
        };
        let mut len = usize::from(head.len);
        if keep_relay && self.config.dialect == Dialect::Ptth {
            let cut = make_own(&mut self.buffer.filled_mut()[..len], head);
            self.buffer.consume(cut);
            len -= cut;
        }
        let len = self.repair(len);
        self.pass_body(len, head.body).await?;
        let keep_target = head.self_delimited && both_keep && !self.last;
        Ok(Answered::Whole { status: Some(head.status), keep_relay, keep_target })
    }

    /// Gives a head of `len` bytes that has line ends of a single line feed proper ones, so that nobody behind the
    /// gateway sees other lines than it did; and one that leads to a path what was stripped from that. Returns its length.
    fn repair(&mut self, len: usize) -> usize {
        let head = &self.buffer.filled()[..len];
        let led = self.stripped.as_ref().and_then(|stripped| stripped.restore(head));
        if led.is_none() && !has_bare_lf(head) {
            return len;
        }
        let head = led.as_deref().unwrap_or(head);
        let mut own = Vec::with_capacity(2 * len);
        for line in head.split_inclusive(|&b| b == b'\n') {
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            own.extend_from_slice(line.strip_suffix(b"\r").unwrap_or(line));
            own.extend_from_slice(b"\r\n");
        }
        self.buffer.replace(len, &own);
        own.len()
    }

    /// Passes `len` bytes, which are in the buffer, and the body behind them.
    async fn pass_body(&mut self, len: usize, body: Body) -> Result<(), Failure> {
        let until_close = body == Body::UntilClose;
        match self.flow().pass(len, body).await {
            Ok(()) => Ok(()),
            Err(Stop::Sink(error)) => Err(Failure::Relay(error)),
            Err(Stop::Source(error)) => {
                // A reset is not among these: targets that close without having read the request cause one.
                // An end by TLS that nobody vouches for is one: whoever is on the way can make it.
                let kind = error.kind();
                let cut = matches!(kind, io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData);
                let looks_whole = until_close && (kind == io::ErrorKind::TimedOut || cut);
                Err(Failure::Cut { error, looks_whole })
            }
        }
    }

    fn flow(&mut self) -> Flow<'_> {
        let Back { config, clock, from, to, .. } = *self;
        Flow { from, to, buffer: self.buffer, clock, config }
    }
}

/// Why a message could not be passed on.
enum Stop {
    /// Its sender is gone, is silent for too long, or breaks the framing.
    Source(io::Error),
    /// Its receiver is gone, or takes nothing for too long.
    Sink(io::Error),
}

/// One way of an exchange.
struct Flow<'f> {
    from: End<'f>,
    to: End<'f>,
    buffer: &'f mut Buffer,
    clock: &'f Clock,
    config: &'f Config,
}

impl Flow<'_> {
    /// Passes `ready` bytes, which are in the buffer, and all of `body`.
    async fn pass(&mut self, mut ready: usize, mut body: Body) -> Result<(), Stop> {
        ready += take(&mut body, &self.buffer.filled()[ready..]).map_err(Stop::Source)?;
        loop {
            self.write_ready(ready).await.map_err(Stop::Sink)?;
            self.buffer.consume(ready);
            if body.is_done() {
                return Ok(());
            }
            if self.buffer.is_bulk()
                && body.opaque() >= SPLICE_MIN
                && let (Some(from), Some(to)) = (self.from.0.bare(), self.to.0.bare())
                && let Some(pipe) = Pipe::open()
            {
                self.buffer.forget_bulk();
                self.splice(pipe, from, to, &mut body).await?;
                if body.is_done() {
                    return Ok(());
                }
            }
            let filling = self.buffer.fill(&mut self.from);
            match self.clock.limit(self.config.idle_timeout, filling).await.map_err(Stop::Source)? {
                0 if matches!(body, Body::UntilClose) => return Ok(()),
                0 => return Err(Stop::Source(io::ErrorKind::UnexpectedEof.into())),
                _ => self.clock.moved(),
            }
            ready = take(&mut body, self.buffer.filled()).map_err(Stop::Source)?;
        }
    }

    /// Passes what may pass unseen through a pipe, until that is all, the source ends, or only little comes at a time.
    async fn splice(&mut self, mut pipe: Pipe, from: &TcpStream, to: &TcpStream, body: &mut Body) -> Result<(), Stop> {
        let idle = self.config.idle_timeout;
        while body.opaque() > 0 && pipe.is_worth_it() {
            let filling = pipe.fill(from, body.opaque());
            let filled = self.clock.limit(idle, filling).await.map_err(Stop::Source)?;
            if filled == 0 {
                break;
            }
            self.clock.moved();
            body.skip(filled as u64);
            while !pipe.is_empty() {
                self.clock.limit(idle, pipe.drain(to)).await.map_err(Stop::Sink)?;
                self.clock.moved();
            }
        }
        Ok(())
    }

    /// Writes the first `len` bytes of the buffer, and leaves them there.
    async fn write_ready(&mut self, len: usize) -> io::Result<()> {
        let bytes = &self.buffer.filled()[..len];
        write(&mut self.to, bytes, self.clock, self.config).await
    }
}

async fn write(to: &mut End<'_>, mut bytes: &[u8], clock: &Clock, config: &Config) -> io::Result<()> {
    while !bytes.is_empty() {
        match clock.limit(config.idle_timeout, to.write(bytes)).await? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            written => bytes = &bytes[written..],
        }
        clock.moved();
    }
    clock.limit(config.idle_timeout, to.flush()).await
}

/// How many of `bytes` belong to `body`, which moves past them, with an error that can be logged.
pub(super) fn take(body: &mut Body, bytes: &[u8]) -> io::Result<usize> {
    body.take(bytes).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "bad chunk framing"))
}

/// Whether a target that says this may mean something else than the gateway about where its next response starts.
fn leaves_doubt(head: &[u8], status: u16) -> bool {
    let length_for_nothing = matches!(status, 100..=199 | 204);
    has_bare_lf(head)
        || (length_for_nothing
            && ["Content-Length", "Transfer-Encoding"].iter().any(|name| registration::field(head, name).is_some()))
}

fn has_bare_lf(head: &[u8]) -> bool {
    memchr_iter(b'\n', head).any(|at| at == 0 || head[at - 1] != b'\r')
}

/// Turns the target's response head into the gateway's own: without what concerns only the connection to the target
/// (RFC 9110 §7.6.1), and as HTTP/1.1, so that the relay connection is kept also when an HTTP/1.0 target closes its
/// own. Works in place; the head then begins as many bytes later as this returns.
fn make_own(bytes: &mut [u8], head: &ResponseHead) -> usize {
    if head.version == Version::Http10 {
        bytes[b"HTTP/1.".len()] = b'1';
    }
    let (mut cut, mut end) = (0, bytes.len());
    let spans: Vec<_> = head.cuts.spans(bytes).collect();
    for span in spans.into_iter().rev() {
        let (from, to) = (usize::from(span.start), usize::from(span.end));
        bytes.copy_within(to..end, to + cut);
        cut += to - from;
        end = from;
    }
    bytes.copy_within(..end, cut);
    cut
}
