//! The life of one relay connection: opened, registered, parked, in use, gone.
use std::{
    fmt, io,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use tokio::{io::AsyncWriteExt, time::Instant};

use super::{
    Authority, Config, Shared,
    buffer::Buffer,
    clock::within,
    head,
    link::Link,
    pool::{End, Stage},
    proxy,
    registration::{self, Answer},
    session::{Served, Session, Wake},
};
use crate::http::{Dialect, Method};

/// Redirects followed in a row, from one node of the relay to the next.
const REDIRECTS_MAX: usize = 5;

/// Longest silence of a relay towards a parked classic gateway. It promises to say "ask again" after 70 s at most.
const CLASSIC_SILENCE_MAX: Duration = Duration::from_secs(75);

/// One connection from its opening to its end. Never fails: how it ended goes to the pool and to the log.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut place = Place { shared: &shared, stage: Some(Stage::Opening), registered: None };
    match live(&mut place).await {
        Ok(()) => {
            place.leave(End::Finished);
        }
        Err(trouble) => {
            let lived = place.registered.map_or(Duration::ZERO, |at| at.elapsed());
            let end = match trouble {
                Trouble::Answer(Answer::TooMany(after, _)) => End::TooMany(after),
                Trouble::Answer(Answer::Unauthorized(_)) => End::Unauthorized,
                _ => End::Lost(lived),
            };
            log(&trouble, place.leave(end), shared.pool().is_connected());
        }
    }
}

/// Tells the user what a lost connection leads to: once for all connections that were lost together, and loudly
/// only when none is left or the user must do something.
fn log(trouble: &Trouble, wait: Option<Duration>, connected: bool) {
    let Some(wait) = wait.map(|wait| format!("{:.1} s", wait.as_secs_f64())) else {
        tracing::debug!("lost a connection: {trouble}");
        return;
    };
    match trouble {
        Trouble::Answer(Answer::Unauthorized(_)) => {
            tracing::warn!("{trouble}; asking again in {wait}")
        }
        // Not the network's fault, nor mended by waiting.
        Trouble::Unreachable(_, error) if error.kind() == io::ErrorKind::InvalidData => {
            tracing::warn!("{trouble}; trying again in {wait}");
        }
        _ if connected => tracing::debug!("lost a connection, backing off for {wait}: {trouble}"),
        _ => tracing::info!("not connected, backing off for {wait}: {trouble}"),
    }
}

async fn live(place: &mut Place<'_>) -> Result<(), Trouble> {
    let dialect = place.shared.config.dialect;
    let mut session = open(place).await?;
    if dialect == Dialect::Classic {
        place.go(Stage::Busy);
        while serve(&mut session).await? {}
        return Ok(());
    }
    loop {
        if session.has_request() {
            place.go(Stage::Busy);
        } else {
            place.go(Stage::Parked);
            let mut parked = place.shared.parking.park();
            match session.wait(&mut parked).await {
                Wake::Request => place.go(Stage::Busy),
                Wake::Surplus if place.shared.pool().has_surplus() => {
                    tracing::debug!("closing a connection that was not needed");
                    return Ok(());
                }
                Wake::Surplus => {}
                Wake::Lost(error) => return Err(Trouble::Lost(error)),
            }
        }
        if place.is(Stage::Busy) && !serve(&mut session).await? {
            return Ok(());
        }
    }
}

/// Serves one request. Whether the connection waits for the next.
async fn serve(session: &mut Session<'_>) -> Result<bool, Trouble> {
    match session.serve().await {
        Served::Next => Ok(true),
        Served::Over => Ok(false),
        // A relay that takes connections and does not use them is not to be come back to at once, again and again.
        Served::NoRequest(error) => Err(Trouble::Lost(error)),
    }
}

/// Registers, following redirects. Returns once a request may arrive: `ptth` registered, or classic with a client.
async fn open<'s>(place: &mut Place<'s>) -> Result<Session<'s>, Trouble> {
    let shared = place.shared;
    let mut relay = shared.relay().clone();
    let mut hops = 0;
    loop {
        match register(place, &relay).await {
            Err(Trouble::Answer(Answer::Moved(node))) if hops < REDIRECTS_MAX => {
                tracing::debug!("{relay} says that {} is at {node}", shared.config.domain);
                hops += 1;
                relay = node;
                place.go(Stage::Opening);
            }
            Err(trouble) => {
                *shared.relay() = shared.config.relay.clone();
                return Err(trouble);
            }
            Ok(session) => {
                *shared.relay() = relay;
                return Ok(session);
            }
        }
    }
}

/// Registers with one node until it accepts.
async fn register<'s>(place: &mut Place<'s>, relay: &Authority) -> Result<Session<'s>, Trouble> {
    let config = &place.shared.config;
    let unreachable = |error| Trouble::Unreachable(relay.clone(), error);
    let connecting =
        proxy::connect(relay, &config.proxies, config.trust.as_ref(), config.connect_timeout, config.idle_timeout);
    let mut stream = connecting.await.map_err(unreachable)?;
    let request = registration::request(config, relay);
    let mut buffer = Buffer::default();
    loop {
        within(config.connect_timeout, say(&mut stream, &request)).await.map_err(Trouble::Lost)?;
        if config.dialect == Dialect::Classic {
            place.go(Stage::Parked);
        }
        let patience = match config.dialect {
            Dialect::Classic => CLASSIC_SILENCE_MAX,
            Dialect::Ptth => config.connect_timeout,
        };
        let answer = tokio::time::timeout(patience, answer(&mut stream, &mut buffer, config.dialect));
        match answer.await.map_err(|_| Trouble::Silent(patience))?.map_err(Trouble::Lost)? {
            Answer::AskAgain if buffer.is_empty() => buffer.release(),
            Answer::AskAgain => {
                let what = "the relay sent something behind its 204".to_owned();
                return Err(Trouble::Answer(Answer::Unexpected(what)));
            }
            Answer::Accepted { key_unchecked } => {
                if key_unchecked && !place.shared.told_unchecked.swap(true, Relaxed) {
                    tracing::warn!(
                        "the relay asks for no key here: whoever reaches it can register {}, too",
                        config.domain
                    );
                }
                break;
            }
            other => return Err(Trouble::Answer(other)),
        }
    }
    Ok(Session::new(stream, buffer, config))
}

async fn say(stream: &mut Link, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes).await?;
    stream.flush().await
}

/// Waits for the relay's answer, without a buffer until it arrives. What follows it stays in `buffer`.
async fn answer(stream: &mut Link, buffer: &mut Buffer, dialect: Dialect) -> io::Result<Answer> {
    stream.readable().await?;
    let Some(head) = head::response(stream, buffer, Method::Get).await? else {
        return Err(io::ErrorKind::UnexpectedEof.into());
    };
    let (answer, len) = registration::answer(buffer.filled(), head, dialect);
    buffer.consume(len);
    Ok(answer)
}

/// Why a connection that should be parked is not.
enum Trouble {
    Unreachable(Authority, io::Error),
    Silent(Duration),
    Lost(io::Error),
    Answer(Answer),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Unreachable(relay, error) => write!(f, "cannot connect to the relay {relay}: {error}"),
            Trouble::Silent(patience) => write!(f, "the relay did not answer within {patience:?}"),
            Trouble::Lost(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                f.write_str("the relay closed the connection")
            }
            Trouble::Lost(error) => write!(f, "the connection to the relay broke: {error}"),
            Trouble::Answer(Answer::Unexpected(what)) => f.write_str(what),
            Trouble::Answer(Answer::Unauthorized(reason)) => f.write_str(match reason.as_deref() {
                Some("gateways-closed") => {
                    "the relay has no keys and lets only gateways on its own machine register (401, gateways-closed): start \
                     it with --keys, or with --allow-any-gateway"
                }
                Some("key-expired") => "the relay says that the key has expired (401, key-expired)",
                Some("key-for-others") => {
                    "the relay knows the key, but not for this relay domain or not for listening (403, key-for-others)"
                }
                Some("reserved-domain") => {
                    "the relay lets nobody register this relay domain (401, reserved-domain): choose another one"
                }
                _ => "the relay refuses the key (401): give the one that belongs to the relay domain with --key-file",
            }),
            Trouble::Answer(Answer::TooMany(_, reason)) => {
                write!(f, "the relay has too many connections of this domain, or too fast (429, {reason})")
            }
            Trouble::Answer(_) => write!(f, "the relay redirected more than {REDIRECTS_MAX} times"),
        }
    }
}

/// One connection's place in the pool; given back when dropped, however its task ends.
struct Place<'s> {
    shared: &'s Shared,
    /// None once it was given back.
    stage: Option<Stage>,
    /// When the connection was first parked or taken; a redirect starts over.
    registered: Option<Instant>,
}

impl Place<'_> {
    fn is(&self, stage: Stage) -> bool {
        self.stage == Some(stage)
    }

    fn go(&mut self, to: Stage) {
        let Some(from) = self.stage.replace(to).filter(|from| *from != to) else {
            return;
        };
        let now = Instant::now();
        self.registered = if to == Stage::Opening { None } else { self.registered.or(Some(now)) };
        let (changed, first) = {
            let mut pool = self.shared.pool();
            let was_connected = pool.is_connected();
            let changed = pool.moved(from, to, now);
            self.shared.tell(&pool);
            (changed, !was_connected && pool.is_connected())
        };
        match to {
            Stage::Parked | Stage::Busy if first => {
                let Config { relay, domain, .. } = &self.shared.config;
                let scheme = if relay.secure { "https" } else { "http" };
                tracing::info!("connected to the relay, waiting for clients at {scheme}://{relay}/{domain}/");
            }
            Stage::Parked => tracing::debug!("a connection is parked"),
            Stage::Busy => tracing::debug!("a connection was taken"),
            Stage::Opening => {}
        }
        if changed {
            self.shared.changed.notify_one();
        }
    }

    /// Leaves the pool. Returns how long no connection will be opened, if this end decided that.
    fn leave(&mut self, end: End) -> Option<Duration> {
        let stage = self.stage.take()?;
        let mut pool = self.shared.pool();
        let wait = pool.closed(stage, end, Instant::now(), super::backoff::random());
        self.shared.tell(&pool);
        drop(pool);
        self.shared.changed.notify_one();
        wait
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.leave(End::Lost(Duration::ZERO));
    }
}
