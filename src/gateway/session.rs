//! The requests on one relay connection, one after another, and the target connection they share.
use std::{
    future::Future,
    io,
    time::{Duration, Instant},
};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{
    Authority, Config,
    buffer::Buffer,
    clock::within,
    exchange::{self, Answered, Failure},
    head,
    link::{End, Link},
    parking::Parked,
    proxy,
    pump::{self, Way},
    socket, targets,
};
use crate::http::{Dialect, HEADERS_MAX, Method, Parse, Refusal, RequestHead, request};

/// Request body bytes that are read and thrown away to keep a connection after an error.
const DRAIN_BYTES_MAX: usize = 256 * 1024;

/// How long the relay is listened to after a last answer, so that bytes it still sends do not turn the close into a
/// reset that destroys the answer (RFC 9112 §9.6).
const LINGER: Duration = Duration::from_secs(2);

/// One relay connection that is registered.
pub(super) struct Session<'s> {
    config: &'s Config,
    relay: Link,
    /// Kept from one request to the next.
    target: Option<Target>,
    from_relay: Buffer,
    from_target: Buffer,
    /// Whether a request has come.
    asked: bool,
}

/// A connection to a target.
struct Target {
    to: Authority,
    stream: Link,
}

/// What came of one request.
pub(super) enum Served {
    /// The connection waits for the next.
    Next,
    /// The connection is over.
    Over,
    /// There was no request, although the relay took the connection, or it could not be read.
    NoRequest(io::Error),
}

/// Why a parked connection woke up.
pub(super) enum Wake {
    /// Bytes of a request have arrived.
    Request,
    /// Asked to close because it is not needed.
    Surplus,
    /// The relay is gone.
    Lost(io::Error),
}

/// What becomes of the relay connection.
enum Then {
    /// It waits for the next request.
    Next,
    /// It closes.
    Close,
    /// It closes, but the relay may still be sending.
    Linger,
    /// It is reset, because an end in order would be taken for the end of a response.
    Reset,
}

impl<'s> Session<'s> {
    /// `early` holds what the relay has sent behind its answer.
    pub fn new(relay: Link, early: Buffer, config: &'s Config) -> Session<'s> {
        Session { config, relay, target: None, from_relay: early, from_target: Buffer::default(), asked: false }
    }

    /// Whether bytes of the next request are already there.
    pub fn has_request(&self) -> bool {
        !self.from_relay.is_empty()
    }

    /// Parks: waits, holding no buffers, for a request, for the relay's end, or to be asked to close. Meanwhile a
    /// target that closes its idle connection just loses it.
    pub async fn wait(&mut self, parked: &mut Parked<'_>) -> Wake {
        loop {
            tokio::select! {
                biased;
                ready = self.relay.readable() => {
                    match ready.and_then(|()| self.from_relay.try_fill(&self.relay)) {
                        Ok(0) => return Wake::Lost(io::ErrorKind::UnexpectedEof.into()),
                        Ok(_) => return Wake::Request,
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.from_relay.release(),
                        Err(error) => return Wake::Lost(error),
                    }
                }
                () = end_of(self.target.as_ref().map(|target| &target.stream)) => self.target = None,
                () = parked.surplus() => return Wake::Surplus,
            }
        }
    }

    /// Serves one request.
    pub async fn serve(&mut self) -> Served {
        let head = match self.next_head().await {
            Ok(Ok(head)) => head,
            Ok(Err(refusal)) => {
                if self.say(refusal.closing()).await.is_ok() {
                    self.linger().await;
                }
                let what = format!("what the relay sends cannot be read as a request: {refusal:?}");
                return Served::NoRequest(io::Error::new(io::ErrorKind::InvalidData, what));
            }
            Err(_) if self.asked && self.from_relay.is_empty() => return Served::Over,
            Err(error) => return Served::NoRequest(error),
        };
        self.asked = true;
        self.config.status.asked();
        match self.serve_one(head).await {
            Ok(Then::Next) => {
                if self.from_relay.is_empty() {
                    self.from_relay.release();
                }
                self.from_target.release();
                return Served::Next;
            }
            Ok(Then::Close) => {
                // An end without close_notify would be taken for a broken response, and the drop has no time to wait.
                if self.relay.is_secure() {
                    let _it_ends_anyway = within(self.config.idle_timeout, self.relay.shutdown()).await;
                }
            }
            Ok(Then::Linger) => self.linger().await,
            Ok(Then::Reset) => self.relay.reset_on_drop(),
            Err(error) => tracing::debug!("the relay gave the request up: {error}"),
        }
        Served::Over
    }

    async fn serve_one(&mut self, head: RequestHead) -> io::Result<Then> {
        if head.method == Method::Connect {
            return self.serve_tunnel(&head).await;
        }
        let line = Line::of(self.from_relay.filled());
        let Some(to) = self.config.targets.of(targets::request_target(self.from_relay.filled())) else {
            if let Some(line) = &line {
                tracing::debug!("{}: no target for this path", line.request);
            }
            return self.answer_instead(&head, Trouble::NoTarget).await;
        };
        let head = self.readdress(head, to);
        loop {
            let kept = self.target.take().filter(|target| target.to == *to && target.stream.is_quiet());
            let reused = kept.is_some();
            let target = match kept {
                Some(target) => Ok(target),
                None => self.connect(to, exchange::gone(&self.relay, self.config.dialect)).await?,
            };
            let target = match target {
                Ok(target) => target,
                Err(error) => return self.unreachable(&head, to, &error).await,
            };
            let passed = exchange::pass(exchange::Exchange {
                head: &head,
                config: self.config,
                relay: &self.relay,
                target: &target.stream,
                from_relay: &mut self.from_relay,
                from_target: &mut self.from_target,
            })
            .await;
            if reused && matches!(passed.response, Err(Failure::Unanswered(_))) && may_repeat(&head) {
                tracing::debug!("the target had closed its idle connection: sending the request on a new one");
                self.from_target.clear();
                continue;
            }
            if let Some(line) = &line {
                line.log(&passed.response);
            }
            return self.conclude(&head, target, passed).await;
        }
    }

    /// Decides what becomes of both connections after an exchange.
    async fn conclude(&mut self, head: &RequestHead, target: Target, passed: exchange::Passed) -> io::Result<Then> {
        if passed.whole_request && !exchange::has_body(head) {
            self.from_relay.consume(usize::from(head.len));
        }
        let then = match passed.response {
            Ok(Answered::Switched) if passed.whole_request => return Ok(self.tunnel(target.stream).await),
            Ok(Answered::Whole { keep_relay, keep_target, .. }) if passed.whole_request => {
                // Bytes behind a whole response belong to nobody.
                if keep_target && self.from_target.is_empty() {
                    self.target = Some(target);
                }
                self.from_target.clear();
                if keep_relay { Then::Next } else { Then::Close }
            }
            Ok(_) => Then::Linger,
            Err(Failure::Relay(error)) => return Err(error),
            Err(Failure::Cut { looks_whole, .. }) => {
                if looks_whole {
                    Then::Reset
                } else {
                    Then::Close
                }
            }
            Err(Failure::Unanswered(what)) => {
                let reason = format!("no usable response from the target {}: {what}", target.to);
                self.config.status.answered_instead(reason);
                self.give_up(head, target, Trouble::NoResponse, passed.whole_request).await?
            }
            Err(Failure::Late) => {
                self.config.status.answered_instead(format!("the target {} did not answer in time", target.to));
                self.give_up(head, target, Trouble::Late, passed.whole_request).await?
            }
        };
        Ok(then)
    }

    /// Answers for a target that failed, which is hung up at once.
    async fn give_up(
        &mut self,
        head: &RequestHead,
        target: Target,
        trouble: Trouble,
        whole_request: bool,
    ) -> io::Result<Then> {
        drop(target);
        self.from_target.clear();
        let keep = whole_request && self.keeps(head);
        self.answer(head, trouble, keep).await
    }

    /// Connects to a target.
    ///
    /// # Errors
    /// Inside, why that cannot be; outside, that the relay is gone: `gone` has said so.
    async fn connect(&self, to: &Authority, gone: impl Future<Output = io::Error>) -> io::Result<io::Result<Target>> {
        let Config { connect_timeout, idle_timeout, trust, .. } = self.config;
        tokio::select! {
            biased;
            connected = proxy::straight(to, trust.as_ref(), *connect_timeout, *idle_timeout) => {
                Ok(connected.map(|stream| Target { to: to.clone(), stream }))
            }
            error = gone => Err(error),
        }
    }

    /// The next request's head, left in the buffer.
    async fn next_head(&mut self) -> io::Result<Result<RequestHead, Refusal>> {
        if self.from_relay.is_empty() {
            self.relay.readable().await?;
        }
        let mut relay = End(&self.relay);
        let head = head::request(&mut relay, &mut self.from_relay);
        within(self.config.idle_timeout, head).await?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    async fn serve_tunnel(&mut self, head: &RequestHead) -> io::Result<Then> {
        let Some(to) = self.config.targets.of_tunnels() else {
            return self.answer_instead(head, Trouble::NoTarget).await;
        };
        let target = match self.connect(to, socket::failed(self.relay.tcp())).await? {
            Ok(target) => target.stream,
            Err(error) => return self.unreachable(head, to, &error).await,
        };
        self.from_relay.consume(usize::from(head.len));
        self.say(b"HTTP/1.1 200 OK\r\n\r\n").await?;
        Ok(self.tunnel(target).await)
    }

    /// Raw bytes both ways until both ends are done, or one is gone.
    async fn tunnel(&mut self, target: Link) -> Then {
        // In a tunnel a reader may pause for longer than the kernel would wait in an exchange.
        for stream in [&self.relay, &target] {
            let _the_limits_of_the_tunnel_count_in_any_case = socket::give_up_after(stream.tcp(), None);
        }
        let (relay, target) = (End(&self.relay), End(&target));
        let there = Way { from: relay, to: target, early: &mut self.from_relay };
        let back = Way { from: target, to: relay, early: &mut self.from_target };
        let ended = tokio::select! {
            biased;
            ended = pump::both(there, back, self.config.patience()) => ended,
            // Heard although the relay is not read while the target takes nothing.
            error = socket::failed(self.relay.tcp()) => Err(error),
        };
        if let Err(error) = ended {
            tracing::debug!("a tunnel broke: {error}");
        }
        Then::Close
    }

    async fn unreachable(&mut self, head: &RequestHead, to: &Authority, error: &io::Error) -> io::Result<Then> {
        self.config.status.answered_instead(format!("cannot connect to the target {to}: {error}"));
        self.answer_instead(head, Trouble::Unreachable).await
    }

    /// Answers a request that goes to no target.
    async fn answer_instead(&mut self, head: &RequestHead, trouble: Trouble) -> io::Result<Then> {
        let keep = self.keeps(head) && within(self.config.idle_timeout, self.drain(head)).await?;
        self.answer(head, trouble, keep).await
    }

    /// Gives the request, whose head begins the buffer, the `Host` that its target wants.
    fn readdress(&mut self, head: RequestHead, to: &Authority) -> RequestHead {
        let len = usize::from(head.len);
        let Some(host) = self.config.target_host.of(to) else { return head };
        let own = targets::with_host(&self.from_relay.filled()[..len], &host);
        match request::parse(&own, HEADERS_MAX) {
            Ok(Parse::Complete(head)) => {
                self.from_relay.replace(len, &own);
                head
            }
            // Too long now. It goes as it came.
            _ => head,
        }
    }

    /// Whether the relay expects the connection to be kept after an answer with a length.
    fn keeps(&self, head: &RequestHead) -> bool {
        self.config.dialect == Dialect::Ptth || head.keep_alive
    }

    /// Throws the request away. False when its body is too long for that, or may never come.
    async fn drain(&mut self, head: &RequestHead) -> io::Result<bool> {
        self.from_relay.consume(usize::from(head.len));
        // What the client sent ahead is meant for a tunnel that there will not be, and is no request (RFC 9931 §8).
        if head.method == Method::Connect {
            return Ok(false);
        }
        if !exchange::has_body(head) {
            return Ok(true);
        }
        let (mut body, mut drained) = (head.body, 0);
        loop {
            let Ok(taken) = exchange::take(&mut body, self.from_relay.filled()) else {
                return Ok(false);
            };
            self.from_relay.consume(taken);
            drained += taken;
            if body.is_done() {
                return Ok(true);
            }
            if head.expect_continue || drained > DRAIN_BYTES_MAX {
                return Ok(false);
            }
            if self.from_relay.fill(&mut self.relay).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Answers instead of the target.
    async fn answer(&mut self, head: &RequestHead, trouble: Trouble, keep: bool) -> io::Result<Then> {
        let (status, error, text) = trouble.text();
        let close = if keep { "" } else { "Connection: close\r\n" };
        let body = if head.method == Method::Head { "" } else { text };
        let answer = format!(
            "HTTP/1.1 {status}\r\nX-Relay-Error: {error}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\
             {close}\r\n{body}",
            text.len()
        );
        self.say(answer.as_bytes()).await?;
        Ok(if keep { Then::Next } else { Then::Linger })
    }

    /// Says something of the gateway's own.
    async fn say(&mut self, bytes: &[u8]) -> io::Result<()> {
        let saying = async {
            self.relay.write_all(bytes).await?;
            self.relay.flush().await
        };
        within(self.config.idle_timeout, saying).await
    }

    async fn linger(&mut self) {
        self.from_relay.clear();
        let listen = async {
            self.relay.shutdown().await?;
            let mut thrown_away = [0; 4096];
            while self.relay.read(&mut thrown_away).await? > 0 {}
            io::Result::Ok(())
        };
        let _the_connection_ends_anyway = tokio::time::timeout(LINGER, listen).await;
    }
}

/// The log's line of one request.
struct Line {
    request: String,
    began: Instant,
}

impl Line {
    /// Begins it, unless nobody wants it. `head` is the request's.
    fn of(head: &[u8]) -> Option<Line> {
        if !tracing::enabled!(tracing::Level::DEBUG) {
            return None;
        }
        let line = head.trim_ascii_start().split(|&b| b == b'\r' || b == b'\n').next().unwrap_or_default();
        let line = line.strip_suffix(b" HTTP/1.1").unwrap_or(line);
        Some(Line { request: String::from_utf8_lossy(line).into_owned(), began: Instant::now() })
    }

    fn log(&self, response: &Result<Answered, Failure>) {
        let Line { request, began } = self;
        let millis = began.elapsed().as_millis();
        match response {
            Ok(Answered::Whole { status: Some(status), .. }) => tracing::debug!("{request}: {status}, {millis} ms"),
            Ok(Answered::Whole { status: None, .. }) => tracing::debug!("{request}: not HTTP, {millis} ms"),
            Ok(Answered::Switched) => tracing::debug!("{request}: 101, {millis} ms"),
            Err(Failure::Relay(error)) => {
                tracing::debug!("{request}: the relay gave it up after {millis} ms: {error}");
            }
            Err(Failure::Unanswered(what)) => {
                tracing::debug!("{request}: no usable response from the target after {millis} ms: {what}");
            }
            Err(Failure::Late) => tracing::debug!("{request}: no response from the target within {millis} ms"),
            Err(Failure::Cut { error, .. }) => {
                tracing::debug!("{request}: the target broke its response off after {millis} ms: {error}");
            }
        }
    }
}

/// What is wrong with the target.
#[derive(Clone, Copy, Debug)]
enum Trouble {
    NoTarget,
    Unreachable,
    NoResponse,
    Late,
}

impl Trouble {
    /// Status and reason, what scripts match on, and what people read.
    fn text(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Trouble::NoTarget => ("404 Not Found", "no-target", "The gateway has no target for this path.\n"),
            Trouble::Unreachable => ("502 Bad Gateway", "target-unreachable", "The gateway cannot reach its target.\n"),
            Trouble::NoResponse => {
                ("502 Bad Gateway", "target-no-response", "The gateway's target gave no usable response.\n")
            }
            Trouble::Late => {
                ("504 Gateway Timeout", "target-timeout", "The gateway's target did not answer in time.\n")
            }
        }
    }
}

/// Whether a request may be sent again when it is not known whether the target has seen it (RFC 9110 §9.2.1).
fn may_repeat(head: &RequestHead) -> bool {
    matches!(head.method, Method::Get | Method::Head | Method::OtherSafe) && !exchange::has_body(head)
}

/// Ready when an idle target connection has closed or says something unasked; never without one.
async fn end_of(target: Option<&Link>) {
    let Some(target) = target else {
        return std::future::pending().await;
    };
    while target.readable().await.is_ok() {
        if !target.is_quiet() {
            return;
        }
    }
}
