//! The client's end of a tunnel: raw TCP through the relay to a gateway's target.
use std::{future::Future, io, pin::pin, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncWriteExt, stdin, stdout},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use super::{
    Authority, Error, Proxies, Trusted,
    buffer::Buffer,
    clock::{Clock, within},
    head,
    link::{End, Link},
    proxy,
    pump::{self, Patience, Way},
    registration, socket,
    status::{SUM_UP_EVERY, Status},
};
use crate::http::Method;

/// Where a tunnel leads.
#[derive(Clone, Debug)]
pub struct Config {
    /// The relay.
    pub relay: Authority,
    /// The way to it.
    pub proxies: Proxies,
    /// Whom to trust, if the relay speaks TLS.
    pub trust: Option<Trusted>,
    /// The relay domain whose gateway's target is wanted.
    pub domain: String,
    /// The key that the relay wants from clients of the domain, if any.
    pub key: Option<String>,
    /// Longest wait for a connection to the relay.
    pub connect_timeout: Duration,
    /// Longest wait for the answer of the gateway.
    pub response_timeout: Duration,
    /// How long a tunnel that one side has ended may be silent.
    pub idle_timeout: Duration,
    /// How long a tunnel may be silent.
    pub tunnel_idle: Duration,
    /// How [`listen`] stands, for whoever wants to tell it.
    pub status: Arc<Status>,
}

impl Config {
    /// Without a key; 10 s to connect, 2 min for the answer, 1 h of silence, 2 min of it when one side has ended.
    pub fn new(relay: Authority, domain: String) -> Config {
        Config {
            relay,
            proxies: Proxies::default(),
            trust: None,
            domain,
            key: None,
            connect_timeout: Duration::from_secs(10),
            response_timeout: super::RESPONSE_TIMEOUT,
            idle_timeout: super::IDLE_TIMEOUT,
            tunnel_idle: super::TUNNEL_IDLE,
            status: Arc::default(),
        }
    }

    fn patience(&self) -> Patience {
        Patience { open: self.tunnel_idle, half_closed: self.idle_timeout.min(self.tunnel_idle) }
    }
}

/// Why there is no tunnel.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TunnelError {
    /// The domain or the key cannot be sent.
    #[error(transparent)]
    Config(#[from] Error),
    /// The relay cannot be reached.
    #[error("cannot connect to the relay {relay}: {error}; is it running, and is the port right?")]
    Unreachable {
        /// The relay.
        relay: Authority,
        /// What the kernel says.
        error: io::Error,
    },
    /// The relay or the gateway refused, with its status and, from `X-Relay-Error`, why.
    #[error("no tunnel to {domain}: {status} ({reason}); is its gateway connected, and its target running?")]
    Refused {
        /// The relay domain.
        domain: String,
        /// HTTP status.
        status: u16,
        /// The reason, as the relay names it.
        reason: String,
    },
    /// The gateway does not answer.
    #[error("no tunnel to {domain}: no answer within {limit:?}; does its target accept connections?")]
    Silent {
        /// The relay domain.
        domain: String,
        /// How long the answer was waited for.
        limit: Duration,
    },
    /// What came back is no HTTP.
    #[error("{0} does not answer like a relay: check the URL")]
    NotARelay(Authority),
    /// A connection broke before or while it carried the tunnel.
    #[error("the tunnel broke: {0}")]
    Broken(#[from] io::Error),
}

/// An open tunnel.
struct Tunnel {
    relay: Link,
    /// What the target has said already, behind the answer's head.
    early: Buffer,
}

/// Opens a tunnel with `CONNECT /<domain>`.
async fn open(config: &Config) -> Result<Tunnel, TunnelError> {
    let Config { relay, domain, key, connect_timeout, response_timeout, .. } = config;
    registration::check(domain, key.as_deref())?;
    let unreachable = |error| TunnelError::Unreachable { relay: relay.clone(), error };
    let connecting =
        proxy::connect(relay, &config.proxies, config.trust.as_ref(), *connect_timeout, config.idle_timeout);
    let mut stream = connecting.await.map_err(unreachable)?;
    let mut head = format!("CONNECT /{domain} HTTP/1.1\r\nHost: {relay}\r\n");
    if let Some(key) = key {
        head += &format!("Authorization: Bearer {key}\r\n");
    }
    head += "\r\n";
    let asking = async {
        stream.write_all(head.as_bytes()).await?;
        stream.flush().await
    };
    within(*response_timeout, asking).await?;
    let mut early = Buffer::default();
    let answer = answer(&mut stream, &mut early);
    match tokio::time::timeout(*response_timeout, answer).await {
        Err(_) => Err(TunnelError::Silent { domain: domain.clone(), limit: *response_timeout }),
        Ok(Ok(Answer::Open)) => {
            // In a tunnel a reader may pause for long.
            socket::give_up_after(stream.tcp(), None)?;
            Ok(Tunnel { relay: stream, early })
        }
        Ok(Ok(Answer::Refused { status, reason })) => {
            Err(TunnelError::Refused { domain: domain.clone(), status, reason })
        }
        Ok(Ok(Answer::NotHttp)) => Err(TunnelError::NotARelay(relay.clone())),
        Ok(Err(error)) => Err(TunnelError::Broken(error)),
    }
}

/// The answer to a CONNECT.
enum Answer {
    Open,
    Refused { status: u16, reason: String },
    NotHttp,
}

/// Reads the answer; what follows it stays in `early`.
async fn answer(stream: &mut Link, early: &mut Buffer) -> io::Result<Answer> {
    loop {
        let head = match head::response(stream, early, Method::Connect).await? {
            None => return Err(io::ErrorKind::UnexpectedEof.into()),
            Some(Err(_)) => return Ok(Answer::NotHttp),
            Some(Ok(head)) => head,
        };
        let bytes = &early.filled()[..usize::from(head.len)];
        if head.status == 101 || head.status >= 300 {
            let reason = registration::field(bytes, "X-Relay-Error").unwrap_or("no reason given").to_owned();
            return Ok(Answer::Refused { status: head.status, reason });
        }
        early.consume(usize::from(head.len));
        if head.status >= 200 {
            return Ok(Answer::Open);
        }
    }
}

/// Tunnels standard input and output, as ssh's `ProxyCommand` wants it. The end of either way is passed on while the
/// other goes on; returns when both have ended. Nothing but the tunnel's bytes goes to standard output.
///
/// # Errors
/// [`TunnelError`].
pub async fn stdio(config: &Config) -> Result<(), TunnelError> {
    let Tunnel { relay, early: mut from_relay } = open(config).await?;
    let mut typed = Buffer::default();
    let clock = &Clock::start();
    let there = pump::one(Way { from: stdin(), to: End(&relay), early: &mut typed }, clock);
    let back = async {
        pump::one(Way { from: End(&relay), to: stdout(), early: &mut from_relay }, clock).await?;
        close_stdout()
    };
    Ok(pump::join(there, back, clock, config.patience()).await?)
}

/// Ends standard output for its reader. Rust keeps the descriptor open until the process ends, and ssh would
/// wait for its end while we wait for ssh.
#[cfg(unix)]
fn close_stdout() -> io::Result<()> {
    let nowhere = std::fs::OpenOptions::new().write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdout(&nowhere)?;
    Ok(())
}

/// Without a way to close standard output the process ends when the tunnel has ended: the error makes it so.
#[cfg(not(unix))]
fn close_stdout() -> io::Result<()> {
    Err(io::ErrorKind::ConnectionAborted.into())
}

/// Gives every connection that `listener` accepts a tunnel of its own, until `shutdown` is ready. A tunnel that
/// fails closes its connection and is logged.
pub async fn listen(config: Config, listener: TcpListener, shutdown: impl Future<Output = ()>) {
    let config = Arc::new(config);
    let mut tunnels = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    let mut sums = tokio::time::interval(SUM_UP_EVERY);
    loop {
        config.status.has(0, 0, tunnels.len());
        tokio::select! {
            () = &mut shutdown => return,
            accepted = listener.accept() => match accepted {
                Ok((client, _)) => {
                    tunnels.spawn(serve(Arc::clone(&config), client));
                }
                // The client has gone away again, or descriptors have run out: neither ends the others' tunnels.
                Err(error) => {
                    config.status.warn(format!("cannot accept a connection: {error}"));
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = tunnels.join_next() => {}
            _ = sums.tick() => config.status.sum_up(),
        }
    }
}

/// Pause after a failed accept, so that running out of descriptors does not become a busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

async fn serve(config: Arc<Config>, client: TcpStream) {
    let carried = async {
        socket::prepare(&client)?;
        let Tunnel { relay, early: mut from_relay } = open(&config).await?;
        let client = Link::plain(client);
        let (relay, client) = (End(&relay), End(&client));
        let mut from_client = Buffer::default();
        let there = Way { from: client, to: relay, early: &mut from_client };
        let back = Way { from: relay, to: client, early: &mut from_relay };
        pump::both(there, back, config.patience()).await.map_err(TunnelError::Broken)
    };
    if let Err(error) = carried.await {
        config.status.warn(error.to_string());
    }
}
