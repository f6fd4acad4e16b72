//! One request to the target and its response back, both streamed as they arrive and followed to their ends.
use std::{io, pin::pin};

use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};

use super::buffer::Buffer;
use crate::http::{
    Body, Dialect, HEADERS_MAX, Parse, RequestHead, ResponseHead, Version,
    response::{self, NotAResponse},
};

/// The two connections, what was read from them, and the request whose head begins `from_relay`.
pub(super) struct Exchange<'e> {
    pub head: &'e RequestHead,
    pub dialect: Dialect,
    pub relay: &'e mut TcpStream,
    pub target: &'e mut TcpStream,
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
    /// To its end; which connections can be used again.
    Whole { keep_relay: bool, keep_target: bool },
    /// 101: raw bytes from here on.
    Switched,
}

/// Why a response did not reach the relay.
#[derive(Debug)]
pub(super) enum Failure {
    /// The relay is gone.
    Relay(io::Error),
    /// The target closed before a whole response head, or sent something else; says what. The relay has seen nothing.
    Unanswered(String),
    /// The target broke off behind the head.
    Cut(io::Error),
}

/// Whether anything follows the request's head.
pub(super) fn has_body(head: &RequestHead) -> bool {
    !head.body.is_done()
}

/// Passes one request and its response, both ways at once: a response may begin, and end, before the request has.
pub(super) async fn pass(exchange: Exchange<'_>) -> Passed {
    let Exchange { head, dialect, relay, target, from_relay, from_target } = exchange;
    let (mut relay_in, relay_out) = relay.split();
    let (target_in, mut target_out) = target.split();
    let mut back = pin!(Back { head, dialect, from: target_in, to: relay_out, buffer: from_target }.run());
    let mut response = None;
    let sent = {
        let mut there = pin!(send(head, &mut relay_in, &mut target_out, from_relay));
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
    let response = match (sent, response) {
        (Err(Stopped::Relay(error)), _) => Err(Failure::Relay(error)),
        (Err(Stopped::Target), Some(response)) => {
            return Passed { whole_request: false, response };
        }
        (Err(Stopped::Target), None) => {
            return Passed { whole_request: false, response: back.await };
        }
        (Ok(()), Some(response)) => response,
        (Ok(()), None) => {
            let mut watched = pin!(watch(&mut relay_in, &mut target_out, from_relay));
            let mut watching = true;
            loop {
                tokio::select! {
                    biased;
                    ended = &mut back => break ended,
                    seen = &mut watched, if watching => match seen {
                        Ok(()) => watching = false,
                        Err(error) => break Err(Failure::Relay(error)),
                    }
                }
            }
        }
    };
    Passed { whole_request: true, response }
}

/// Why a request did not reach the target.
enum Stopped {
    /// The relay is gone, or sent what is no body.
    Relay(io::Error),
    /// The target reads no more. It may still have said why.
    Target,
}

/// Sends the request. Its bytes are consumed as they go, except a head without a body.
async fn send(
    head: &RequestHead,
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    buffer: &mut Buffer,
) -> Result<(), Stopped> {
    let len = usize::from(head.len);
    if !has_body(head) {
        return to.write_all(&buffer.filled()[..len]).await.map_err(|_| Stopped::Target);
    }
    let mut body = head.body;
    let mut ready = len + take(&mut body, &buffer.filled()[len..]).map_err(Stopped::Relay)?;
    loop {
        to.write_all(&buffer.filled()[..ready]).await.map_err(|_| Stopped::Target)?;
        buffer.consume(ready);
        if body.is_done() {
            return Ok(());
        }
        match buffer.fill(from).await.map_err(Stopped::Relay)? {
            0 => return Err(Stopped::Relay(io::ErrorKind::UnexpectedEof.into())),
            _ => ready = take(&mut body, buffer.filled()).map_err(Stopped::Relay)?,
        }
    }
}

/// Watches the relay while the target thinks: passes a half-close on, so that the target hears at once that the
/// client is gone; keeps the first bytes of a next request.
///
/// # Errors
/// The relay connection broke.
async fn watch(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    buffer: &mut Buffer,
) -> io::Result<()> {
    if buffer.fill(from).await? == 0 {
        let _gone_is_as_good = to.shutdown().await;
    }
    Ok(())
}

/// The way back.
struct Back<'e, R, W> {
    head: &'e RequestHead,
    dialect: Dialect,
    from: R,
    to: W,
    buffer: &'e mut Buffer,
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Back<'_, R, W> {
    /// Passes interim responses and the final one.
    async fn run(mut self) -> Result<Answered, Failure> {
        loop {
            let Some(head) = self.read_head().await? else {
                self.pass_body(0, Body::UntilClose).await?;
                return Ok(Answered::Whole { keep_relay: false, keep_target: false });
            };
            let len = usize::from(head.len);
            let upgrade = self.head.upgrade || self.head.registration.is_some();
            match head.status {
                101 if !upgrade => {
                    return Err(Failure::Unanswered("a 101 that nobody asked for".to_owned()));
                }
                100..=199 => {
                    self.to.write_all(&self.buffer.filled()[..len]).await.map_err(Failure::Relay)?;
                    self.buffer.consume(len);
                    if head.status == 101 {
                        return Ok(Answered::Switched);
                    }
                }
                _ => return self.pass_final(&head).await,
            }
        }
    }

    /// The next response's head, left in the buffer; None for a classic target that does not speak HTTP.
    async fn read_head(&mut self) -> Result<Option<ResponseHead>, Failure> {
        loop {
            match response::parse(self.buffer.filled(), self.head.method, HEADERS_MAX) {
                Ok(Parse::Complete(head)) => return Ok(Some(head)),
                Ok(Parse::Partial) => {}
                Err(NotAResponse::NotHttp) if self.dialect == Dialect::Classic => return Ok(None),
                Err(NotAResponse::NotHttp) => {
                    return Err(Failure::Unanswered("it does not speak HTTP".to_owned()));
                }
                Err(NotAResponse::Bad(what)) => {
                    return Err(Failure::Unanswered(format!("bad HTTP: {what}")));
                }
            }
            match self.buffer.fill(&mut self.from).await {
                Ok(0) => return Err(Failure::Unanswered("it closed the connection".to_owned())),
                Ok(_) => {}
                Err(error) => return Err(Failure::Unanswered(error.to_string())),
            }
        }
    }

    async fn pass_final(&mut self, head: &ResponseHead) -> Result<Answered, Failure> {
        let both_keep = head.keep_alive && self.head.keep_alive;
        let mut len = usize::from(head.len);
        let keep_relay = match self.dialect {
            Dialect::Classic => head.self_delimited && both_keep,
            Dialect::Ptth => head.self_delimited,
        };
        if keep_relay && self.dialect == Dialect::Ptth {
            let cut = make_own(&mut self.buffer.filled_mut()[..len], head);
            self.buffer.consume(cut);
            len -= cut;
        }
        self.pass_body(len, head.body).await?;
        Ok(Answered::Whole { keep_relay, keep_target: head.self_delimited && both_keep })
    }

    /// Passes `len` bytes, which are in the buffer, and the body behind them.
    async fn pass_body(&mut self, len: usize, mut body: Body) -> Result<(), Failure> {
        let mut ready = len + take(&mut body, &self.buffer.filled()[len..]).map_err(Failure::Cut)?;
        loop {
            self.to.write_all(&self.buffer.filled()[..ready]).await.map_err(Failure::Relay)?;
            self.buffer.consume(ready);
            if body.is_done() {
                return Ok(());
            }
            match self.buffer.fill(&mut self.from).await.map_err(Failure::Cut)? {
                0 if matches!(body, Body::UntilClose) => return Ok(()),
                0 => return Err(Failure::Cut(io::ErrorKind::UnexpectedEof.into())),
                _ => ready = take(&mut body, self.buffer.filled()).map_err(Failure::Cut)?,
            }
        }
    }
}

/// [`Body::take`] with an error that can be logged.
fn take(body: &mut Body, bytes: &[u8]) -> io::Result<usize> {
    body.take(bytes).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "bad chunk framing"))
}

/// Turns the target's response head into the gateway's own: without what concerns only the connection to the target
/// (RFC 9110 §7.6.1), and as HTTP/1.1, so that the relay connection is kept also when an HTTP/1.0 target closes its
/// own. Works in place; the head then begins as many bytes later as this returns.
fn make_own(bytes: &mut [u8], head: &ResponseHead) -> usize {
    if head.version == Version::Http10 {
        bytes[b"HTTP/1.".len()] = b'1';
    }
    let (mut cut, mut end) = (0, bytes.len());
    for span in head.cuts.spans().iter().rev() {
        let (from, to) = (usize::from(span.start), usize::from(span.end));
        bytes.copy_within(to..end, to + cut);
        cut += to - from;
        end = from;
    }
    bytes.copy_within(..end, cut);
    cut
}
