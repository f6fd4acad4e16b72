//! The requests on one relay connection, one after another, and the target connection they share.
use std::{io, mem::MaybeUninit, time::Duration};

use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Notify,
};

use super::{
    Config,
    buffer::Buffer,
    exchange::{self, Answered, Failure},
    pump::{self, Way},
    socket,
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
    relay: TcpStream,
    /// Kept from one request to the next.
    target: Option<TcpStream>,
    from_relay: Buffer,
    from_target: Buffer,
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
}

impl<'s> Session<'s> {
    /// `early` holds what the relay has sent behind its answer.
    pub fn new(relay: TcpStream, early: Buffer, config: &'s Config) -> Session<'s> {
        Session { config, relay, target: None, from_relay: early, from_target: Buffer::default() }
    }

    /// Whether bytes of the next request are already there.
    pub fn has_request(&self) -> bool {
        !self.from_relay.is_empty()
    }

    /// Parks: waits, holding no buffers, for a request, for the relay's end, or to be asked to close. Meanwhile a
    /// target that closes its idle connection just loses it.
    pub async fn wait(&mut self, surplus: &Notify) -> Wake {
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
                () = end_of(self.target.as_ref()) => self.target = None,
                () = surplus.notified() => return Wake::Surplus,
            }
        }
    }

    /// Serves one request. False when the connection is over, true when it waits for the next.
    pub async fn serve(&mut self) -> bool {
        match self.serve_one().await {
            Ok(Then::Next) => {
                if self.from_relay.is_empty() {
                    self.from_relay.release();
                }
                self.from_target.release();
                return true;
            }
            Ok(Then::Close) => {}
            Ok(Then::Linger) => self.linger().await,
            Err(error) => tracing::debug!("the relay ended a session: {error}"),
        }
        false
    }

    async fn serve_one(&mut self) -> io::Result<Then> {
        let head = match self.read_head().await? {
            Some(Ok(head)) => head,
            Some(Err(refusal)) => {
                self.relay.write_all(refusal.closing()).await?;
                return Ok(Then::Linger);
            }
            None => return Ok(Then::Close),
        };
        if head.method == Method::Connect {
            return self.serve_tunnel(&head).await;
        }
        loop {
            let kept = self.target.take().filter(is_quiet);
            let reused = kept.is_some();
            let target = match kept {
                Some(target) => Ok(target),
                None => socket::connect(&self.config.target, self.config.connect_timeout).await,
            };
            let mut target = match target {
                Ok(target) => target,
                Err(error) => return self.unreachable(&head, &error).await,
            };
            let passed = exchange::pass(exchange::Exchange {
                head: &head,
                dialect: self.config.dialect,
                relay: &mut self.relay,
                target: &mut target,
                from_relay: &mut self.from_relay,
                from_target: &mut self.from_target,
            })
            .await;
            if reused && matches!(passed.response, Err(Failure::Unanswered(_))) && may_repeat(&head) {
                tracing::debug!("the target had closed its idle connection: sending the request on a new one");
                self.from_target.clear();
                continue;
            }
            return self.conclude(&head, target, passed).await;
        }
    }

    /// Decides what becomes of both connections after an exchange.
    async fn conclude(&mut self, head: &RequestHead, target: TcpStream, passed: exchange::Passed) -> io::Result<Then> {
        if passed.whole_request && !exchange::has_body(head) {
            self.from_relay.consume(usize::from(head.len));
        }
        let then = match passed.response {
            Ok(Answered::Switched) if passed.whole_request => return Ok(self.tunnel(target).await),
            Ok(Answered::Whole { keep_relay, keep_target }) if passed.whole_request => {
                // Bytes behind a whole response belong to nobody.
                if keep_target && self.from_target.is_empty() {
                    self.target = Some(target);
                }
                self.from_target.clear();
                if keep_relay { Then::Next } else { Then::Close }
            }
            Ok(_) => Then::Linger,
            Err(Failure::Relay(error)) => return Err(error),
            Err(Failure::Cut(error)) => {
                tracing::debug!("the target broke off its response: {error}");
                Then::Close
            }
            Err(Failure::Unanswered(what)) => {
                tracing::warn!("no usable response from the target {}: {what}", self.config.target);
                self.from_target.clear();
                let keep = passed.whole_request && self.keeps(head);
                self.answer_502(head, "target-no-response", "The gateway's target gave no usable response.\n", keep)
                    .await?
            }
        };
        Ok(then)
    }

    /// The next request's head, left in the buffer; None at the relay's end.
    async fn read_head(&mut self) -> io::Result<Option<Result<RequestHead, Refusal>>> {
        if self.from_relay.is_empty() {
            self.relay.readable().await?;
        }
        loop {
            match request::parse(self.from_relay.filled(), HEADERS_MAX) {
                Ok(Parse::Complete(head)) => return Ok(Some(Ok(head))),
                Ok(Parse::Partial) => {}
                Err(refusal) => return Ok(Some(Err(refusal))),
            }
            if self.from_relay.fill(&mut self.relay).await? == 0 {
                return match self.from_relay.is_empty() {
                    true => Ok(None),
                    false => Err(io::ErrorKind::UnexpectedEof.into()),
                };
            }
        }
    }

    async fn serve_tunnel(&mut self, head: &RequestHead) -> io::Result<Then> {
        let target = match socket::connect(&self.config.target, self.config.connect_timeout).await {
            Ok(target) => target,
            Err(error) => return self.unreachable(head, &error).await,
        };
        self.from_relay.consume(usize::from(head.len));
        self.relay.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
        Ok(self.tunnel(target).await)
    }

    /// Raw bytes both ways until both ends are done.
    async fn tunnel(&mut self, mut target: TcpStream) -> Then {
        let (from_relay, to_relay) = self.relay.split();
        let (from_target, to_target) = target.split();
        let there = Way { from: from_relay, to: to_target, early: &mut self.from_relay };
        let back = Way { from: from_target, to: to_relay, early: &mut self.from_target };
        if let Err(error) = pump::both(there, back).await {
            tracing::debug!("a tunnel broke: {error}");
        }
        Then::Close
    }

    async fn unreachable(&mut self, head: &RequestHead, error: &io::Error) -> io::Result<Then> {
        tracing::warn!("cannot connect to the target {}: {error}", self.config.target);
        let keep = self.keeps(head) && self.drain(head).await?;
        self.answer_502(head, "target-unreachable", "The gateway cannot reach its target.\n", keep).await
    }

    /// Whether the relay expects the connection to be kept after an answer with a length.
    fn keeps(&self, head: &RequestHead) -> bool {
        self.config.dialect == Dialect::Ptth || head.keep_alive
    }

    /// Throws the request away. False when its body is too long for that, or may never come.
    async fn drain(&mut self, head: &RequestHead) -> io::Result<bool> {
        self.from_relay.consume(usize::from(head.len));
        if head.method == Method::Connect || !exchange::has_body(head) {
            return Ok(true);
        }
        let (mut body, mut drained) = (head.body, 0);
        loop {
            let Ok(taken) = body.take(self.from_relay.filled()) else {
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

    async fn answer_502(&mut self, head: &RequestHead, error: &str, text: &str, keep: bool) -> io::Result<Then> {
        let close = if keep { "" } else { "Connection: close\r\n" };
        let body = if head.method == Method::Head { "" } else { text };
        let answer = format!(
            "HTTP/1.1 502 Bad Gateway\r\nX-Relay-Error: {error}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\
             {close}\r\n{body}",
            text.len()
        );
        self.relay.write_all(answer.as_bytes()).await?;
        Ok(if keep { Then::Next } else { Then::Linger })
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

/// Whether a request may be sent again when it is not known whether the target has seen it (RFC 9110 §9.2.1).
fn may_repeat(head: &RequestHead) -> bool {
    matches!(head.method, Method::Get | Method::Head | Method::OtherSafe) && !exchange::has_body(head)
}

/// Whether an idle target connection is still open and silent: asks the kernel, not the event loop, which may not
/// have heard yet.
fn is_quiet(target: &TcpStream) -> bool {
    let peeked = SockRef::from(target).peek(&mut [MaybeUninit::uninit(); 1]);
    peeked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

/// Ready when an idle target connection has closed or says something unasked; never without one.
async fn end_of(target: Option<&TcpStream>) {
    let Some(target) = target else {
        return std::future::pending().await;
    };
    while target.readable().await.is_ok() {
        let read = target.try_read(&mut [0]);
        if !read.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
            return;
        }
    }
}
