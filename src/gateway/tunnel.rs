//! The client's end of a tunnel: raw TCP through the relay to a gateway's target.
use std::{future::Future, io, pin::pin, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncWriteExt, stdin, stdout},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use super::{
    Authority, Error,
    buffer::Buffer,
    pump::{self, Way},
    registration, socket,
};
use crate::http::{HEADERS_MAX, Method, Parse, response};

/// Where a tunnel leads.
#[derive(Clone, Debug)]
pub struct Config {
    /// The relay.
    pub relay: Authority,
    /// The relay domain whose gateway's target is wanted.
    pub domain: String,
    /// The key that the relay wants from clients of the domain, if any.
    pub key: Option<String>,
    /// Longest wait for a connection to the relay. There is no limit on the gateway's answer: the relay has one.
    pub connect_timeout: Duration,
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
    /// What came back is no HTTP.
    #[error("{0} does not answer like a relay: check the URL")]
    NotARelay(Authority),
    /// A connection broke before or while it carried the tunnel.
    #[error("the tunnel broke: {0}")]
    Broken(#[from] io::Error),
}

/// An open tunnel.
struct Tunnel {
    relay: TcpStream,
    /// What the target has said already, behind the answer's head.
    early: Buffer,
}

/// Opens a tunnel with `CONNECT /<domain>`.
async fn open(config: &Config) -> Result<Tunnel, TunnelError> {
    let Config { relay, domain, key, connect_timeout } = config;
    registration::check(domain, key.as_deref())?;
    let unreachable = |error| TunnelError::Unreachable { relay: relay.clone(), error };
    let mut stream = socket::connect(relay, *connect_timeout).await.map_err(unreachable)?;
    let mut head = format!("CONNECT /{domain} HTTP/1.1\r\nHost: {relay}\r\n");
    if let Some(key) = key {
        head += &format!("Authorization: Bearer {key}\r\n");
    }
    head += "\r\n";
    stream.write_all(head.as_bytes()).await?;
    let mut early = Buffer::default();
    loop {
        match response::parse(early.filled(), Method::Connect, HEADERS_MAX) {
            Ok(Parse::Complete(head)) if head.status == 101 || head.status >= 300 => {
                let reason = registration::field(early.filled(), "X-Relay-Error").unwrap_or("no reason given");
                let (domain, reason) = (domain.clone(), reason.to_owned());
                return Err(TunnelError::Refused { domain, status: head.status, reason });
            }
            Ok(Parse::Complete(head)) => {
                early.consume(usize::from(head.len));
                if head.status >= 200 {
                    return Ok(Tunnel { relay: stream, early });
                }
                continue;
            }
            Ok(Parse::Partial) => {}
            Err(_) => return Err(TunnelError::NotARelay(relay.clone())),
        }
        if early.fill(&mut stream).await? == 0 {
            return Err(TunnelError::Broken(io::ErrorKind::UnexpectedEof.into()));
        }
    }
}

/// Tunnels standard input and output, as ssh's `ProxyCommand` wants it. The end of either way is passed on while the
/// other goes on; returns when both have ended. Nothing but the tunnel's bytes goes to standard output.
///
/// # Errors
/// [`TunnelError`].
pub async fn stdio(config: &Config) -> Result<(), TunnelError> {
    let Tunnel { mut relay, early: mut from_relay } = open(config).await?;
    let (relay_in, relay_out) = relay.split();
    let mut typed = Buffer::default();
    let there = pump::one(Way { from: stdin(), to: relay_out, early: &mut typed });
    let back = async {
        pump::one(Way { from: relay_in, to: stdout(), early: &mut from_relay }).await?;
        close_stdout()
    };
    tokio::try_join!(there, back)?;
    Ok(())
}

/// Ends standard output for whoever reads it. Rust keeps the descriptor open until the process ends, and ssh would
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
    loop {
        tokio::select! {
            () = &mut shutdown => return,
            accepted = listener.accept() => match accepted {
                Ok((client, _)) => {
                    tunnels.spawn(serve(Arc::clone(&config), client));
                }
                // The client has gone away again, or descriptors have run out: neither ends the others' tunnels.
                Err(error) => {
                    tracing::warn!("cannot accept a connection: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = tunnels.join_next() => {}
        }
    }
}

/// Pause after a failed accept, so that running out of descriptors does not become a busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

async fn serve(config: Arc<Config>, mut client: TcpStream) {
    let carried = async {
        socket::prepare(&client)?;
        let Tunnel { mut relay, early: mut from_relay } = open(&config).await?;
        let (relay_in, relay_out) = relay.split();
        let (client_in, client_out) = client.split();
        let mut from_client = Buffer::default();
        let there = Way { from: client_in, to: relay_out, early: &mut from_client };
        let back = Way { from: relay_in, to: client_out, early: &mut from_relay };
        pump::both(there, back).await.map_err(TunnelError::Broken)
    };
    if let Err(error) = carried.await {
        tracing::warn!("{error}");
    }
}
