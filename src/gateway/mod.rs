//! The program that runs beside the device: it keeps connections parked at the relay and passes the requests that
//! arrive on them to a target, usually a web server on the same machine. Portable, one thread, plain or by TLS.
//!
//! # The reader's map
//! - [`run`] (here) opens connections when [`pool`] says so; one task each, which lives in [`connection`].
//! - [`pool`] decides how many connections to have and when to try again, with the waits of [`backoff`].
//! - [`registration`] is what is said to the relay and what it answers.
//! - [`session`] serves the requests on one connection: [`exchange`] passes one request and its response,
//!   [`pump`] the raw bytes of tunnels and upgrades, both out of a [`buffer`], within the limits of a [`clock`];
//!   [`head`] is where heads are read.
//! - [`status`] counts, and says what goes wrong.
//! - [`targets`] says which target a request goes to, and by which name it is asked; [`stripped`] mends responses that
//!   would lead past the relay.
//! - [`parking`] knows which parked connections have been unused longest.
//! - [`tunnel`] is the other end of a `CONNECT`: the client's.
//! - [`authority`], [`socket`], [`link`], [`trust`] and [`proxy`]: where to connect to, and how.

pub mod authority;
pub mod backoff;
mod buffer;
mod clock;
mod connection;
mod exchange;
mod head;
mod link;
mod parking;
mod pipe;
mod pool;
mod proxy;
mod pump;
mod registration;
mod session;
mod socket;
mod status;
mod stripped;
mod targets;
mod trust;
pub mod tunnel;

use std::{
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicBool},
    time::Duration,
};

use tokio::{sync::Notify, task::JoinSet, time::Instant};

pub use authority::{Authority, relay_url};
pub use backoff::Backoff;
pub use proxy::Proxies;
pub use status::Status;
pub use targets::{TargetHost, Targets};
pub use trust::{Trust, Trusted};

use crate::http::Dialect;
use parking::Parking;
use pool::{Limits, Pool};
use pump::Patience;

/// Default of [`Config::response_timeout`]: longer than the relay's own minute, so that the relay's counts.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(2 * 60);

/// Default of [`Config::idle_timeout`]: longer than the relay's own minute, so that the relay's counts.
const IDLE_TIMEOUT: Duration = Duration::from_secs(2 * 60);

/// Default of [`Config::tunnel_idle`], as long as the relay's own.
const TUNNEL_IDLE: Duration = Duration::from_secs(3600);

/// What a gateway does: [`Config::new`] has the defaults.
#[derive(Clone, Debug)]
pub struct Config {
    /// The relay to register with.
    pub relay: Authority,
    /// The way to it.
    pub proxies: Proxies,
    /// Whom to trust, if the relay or a target speaks TLS.
    pub trust: Option<Trusted>,
    /// The relay domain to register.
    pub domain: String,
    /// Where requests go.
    pub targets: Targets,
    /// The `Host` that they get.
    pub target_host: TargetHost,
    /// Protocol to the relay.
    pub dialect: Dialect,
    /// Connections to keep parked. With one more than one, the next client need not wait for a spare to be opened.
    pub connections: usize,
    /// Maximum connections open, parked and in use: that many clients are served at the same time.
    pub max_connections: usize,
    /// The key that the relay wants for the domain.
    pub key: Option<String>,
    /// Ask the relay to leave `/<domain>` out of the paths of requests.
    pub strip_prefix: bool,
    /// Maximum wait for a connection to the relay or to the target, and for the relay's answer to a `ptth`
    /// registration.
    pub connect_timeout: Duration,
    /// How long the target may take to begin its response, from the end of the request or from its last interim
    /// response. The relay has a limit of its own, and a request that it has given up is given up here at once.
    pub response_timeout: Duration,
    /// How long a request's or a response's body may stand still, and how long a tunnel that one side has ended may be
    /// silent.
    pub idle_timeout: Duration,
    /// How long a tunnel may be silent.
    pub tunnel_idle: Duration,
    /// How long a parked connection above `connections` must have been unneeded before it is closed.
    pub surplus_after: Duration,
    /// Waits after failures.
    pub backoff: Backoff,
    /// How it stands, for whoever wants to tell it.
    pub status: Arc<Status>,
}

/// Checks that a relay domain can be registered.
///
/// # Errors
/// [`Error::Domain`].
pub fn check_domain(domain: &str) -> Result<(), Error> {
    registration::check(domain, None)
}

impl Config {
    /// Two to 64 `ptth` connections without a key; 10 s to connect, 2 min to begin a response, 2 min in a body, 1 h
    /// in a tunnel.
    pub fn new(relay: Authority, domain: String, targets: impl Into<Targets>) -> Config {
        Config {
            relay,
            proxies: Proxies::default(),
            trust: None,
            domain,
            targets: targets.into(),
            target_host: TargetHost::Client,
            dialect: Dialect::Ptth,
            connections: 2,
            max_connections: 64,
            key: None,
            strip_prefix: false,
            connect_timeout: Duration::from_secs(10),
            response_timeout: RESPONSE_TIMEOUT,
            idle_timeout: IDLE_TIMEOUT,
            tunnel_idle: TUNNEL_IDLE,
            surplus_after: Duration::from_secs(30),
            backoff: Backoff::default(),
            status: Arc::default(),
        }
    }

    fn check(&self) -> Result<(), Error> {
        if self.connections < 1 || self.max_connections < self.connections {
            return Err(Error::Connections { least: self.connections, most: self.max_connections });
        }
        for (name, limit) in [
            ("response timeout", self.response_timeout),
            ("idle timeout", self.idle_timeout),
            ("tunnel's idle time", self.tunnel_idle),
        ] {
            if limit.is_zero() {
                return Err(Error::NoTime(name));
            }
        }
        registration::check(&self.domain, self.key.as_deref())
    }

    fn patience(&self) -> Patience {
        Patience { open: self.tunnel_idle, half_closed: self.idle_timeout.min(self.tunnel_idle) }
    }

    fn limits(&self) -> Limits {
        Limits {
            spare: self.connections,
            max: self.max_connections,
            surplus_after: self.surplus_after,
            backoff: self.backoff,
        }
    }
}

/// Why a gateway or a tunnel cannot be started as asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Not a relay's URL.
    #[error(
        "{0:?} is not a relay's URL: give scheme, host and port only, as in https://relay.example or http://relay.example:8080"
    )]
    RelayUrl(String),
    /// Not the URL of an HTTP proxy.
    #[error(
        "{0:?} is not an HTTP proxy: give it as in http://proxy.example:3128; SOCKS and TLS to a proxy are not supported"
    )]
    Proxy(String),
    /// Certificates of those whom to trust.
    #[error("cannot trust {0}: {1}; give --ca a PEM file with certificates, or --insecure to try things")]
    Authorities(String, String),
    /// Not a host and a port.
    #[error("{0:?} is not a host and a port: write it as in localhost:8080, [::1]:8080 or https://device.example")]
    Authority(String),
    /// Not a path.
    #[error("{0:?} is not a path for a target: write it as in /api=localhost:8080")]
    TargetPath(String),
    /// Two targets for one path.
    #[error("two targets for {0}: leave one out")]
    TargetTwice(String),
    /// Not a host.
    #[error("{0:?} cannot be a Host for the target: give `target`, or a name as in device.example or localhost:8080")]
    TargetHost(String),
    /// Not a relay domain.
    #[error("{0:?} cannot be a relay domain: use 1 to 255 letters, digits and -._~%!$&'()*+,;=, not \"relay_domain\"")]
    Domain(String),
    /// A relay domain that is given twice.
    #[error("the domain {0:?} is given twice: leave one out")]
    DomainTwice(String),
    /// Not a key.
    #[error("the key cannot be sent: use visible ASCII characters, without spaces")]
    Key,
    /// A time limit of nothing.
    #[error("the {0} cannot be 0: everything would end at once; give a long one if there shall be no limit")]
    NoTime(&'static str),
    /// Numbers of connections that do not fit together.
    #[error("cannot keep {least} connections parked with at most {most} open: keep at least 1 and allow as many")]
    Connections {
        /// Asked to be parked.
        least: usize,
        /// Allowed to be open.
        most: usize,
    },
}

/// What the connections of one gateway share.
struct Shared {
    config: Config,
    pool: Mutex<Pool>,
    /// Where the domain was last found: the configured relay, or the node that a redirect named.
    relay: Mutex<Authority>,
    /// Wakes [`run`] when the pool may have something new to say.
    changed: Notify,
    /// The connections that may be asked to close.
    parking: Parking,
    /// Whether the user knows that the key is not checked.
    told_unchecked: AtomicBool,
}

impl Shared {
    fn pool(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the status how many connections there are.
    fn tell(&self, pool: &Pool) {
        let (opening, parked, busy) = pool.stages();
        self.config.status.has(opening, parked, busy);
        if pool.is_full() {
            let clients =
                if busy == 1 { "a client, the only one".to_owned() } else { format!("{busy} clients, the most") };
            self.config.status.warn(format!("serving {clients} allowed: others wait; raise --max-connections"));
        }
    }

    fn relay(&self) -> MutexGuard<'_, Authority> {
        self.relay.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs a gateway until `shutdown` is ready. Every connection is closed when it returns or is dropped. A relay that
/// cannot be reached is no error: it is tried again.
///
/// # Errors
/// A `config` that cannot work, before anything is opened.
pub async fn run(config: Config, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
    config.check()?;
    let shared = Arc::new(Shared {
        pool: Mutex::new(Pool::new(config.limits())),
        relay: Mutex::new(config.relay.clone()),
        changed: Notify::new(),
        parking: Parking::default(),
        told_unchecked: AtomicBool::new(false),
        config,
    });
    let mut connections = JoinSet::new();
    let mut shutdown = std::pin::pin!(shutdown);
    let mut sums = tokio::time::interval(status::SUM_UP_EVERY);
    loop {
        let wake_at = act(&shared, &mut connections);
        tokio::select! {
            () = &mut shutdown => return Ok(()),
            () = shared.changed.notified() => {}
            _ = sums.tick() => shared.config.status.sum_up(),
            Some(ended) = connections.join_next() => {
                if let Err(error) = ended {
                    tracing::error!("a connection's task failed: {error}");
                }
            }
            () = sleep_until(wake_at) => {}
        }
    }
}

/// Runs one gateway for each of several domains until `shutdown` is ready, like [`run`].
///
/// # Errors
/// Those of [`run`], and [`Error::DomainTwice`].
pub async fn run_all(configs: Vec<Config>, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
    for (nth, config) in configs.iter().enumerate() {
        config.check()?;
        if configs[..nth].iter().any(|other| other.domain.eq_ignore_ascii_case(&config.domain)) {
            return Err(Error::DomainTwice(config.domain.clone()));
        }
    }
    let mut gateways = JoinSet::new();
    for config in configs {
        gateways.spawn(run(config, std::future::pending()));
    }
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => return Ok(()),
            Some(ended) = gateways.join_next() => match ended {
                Ok(ended) => ended?,
                Err(error) => tracing::error!("a gateway's task failed: {error}"),
            },
        }
    }
}

/// Does what the pool decides now; returns when it wants to be asked again at the latest.
fn act(shared: &Arc<Shared>, connections: &mut JoinSet<()>) -> Option<Instant> {
    let now = Instant::now();
    let mut pool = shared.pool();
    for _ in 0..pool.open(now) {
        connections.spawn(connection::run(Arc::clone(shared)));
    }
    shared.parking.close(pool.close_surplus(now));
    shared.tell(&pool);
    pool.wake_at()
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
