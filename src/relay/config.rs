//! Every limit and timeout of a relay, with its default.
use super::{access::Rules, network::Network};
use crate::transport::Certificates;
use std::{net::SocketAddr, sync::Arc, time::Duration};

/// Whether a client that has sent its whole request and finished sending (a FIN) counts as gone, so that its gateway is
/// freed at once. TCP tells a client that has given up from one that only half-closes by nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GoneClients {
    /// Never: it gets its response.
    Never,
    /// If it asked for its connection to be closed, or if other clients wait for the gateway that it holds.
    Closing,
    /// Always, for HTTP/1.1.
    Always,
}

/// A relay's configuration. Each field is an option of `ringback relay`.
#[derive(Clone, Debug)]
pub struct Config {
    /// Addresses to listen on.
    pub listen: Vec<SocketAddr>,
    /// Addresses at which gateways register, and at which nobody else is served; if there are any, gateways cannot
    /// register at `listen`.
    pub listen_gateways: Vec<SocketAddr>,
    /// Addresses at which clients and gateways are served by TLS.
    pub listen_tls: Vec<SocketAddr>,
    /// Where the certificates for that are from.
    pub certificates: Option<Certificates>,
    /// Whether clients that use TLS are served by gateways that do not and are not on this machine.
    pub allow_plain_gateways: bool,
    /// Who may register gateways, and who may call them. Without, gateways register from this machine only.
    pub rules: Option<Arc<Rules>>,
    /// Without rules: whether gateways register from anywhere.
    pub allow_any_gateway: bool,
    /// Maximum TLS handshakes in progress, over all shards; 0 for no limit.
    pub max_handshakes: u32,
    /// One shard is pinned to each of these CPUs.
    pub cores: Vec<usize>,
    /// Bytes of one pool buffer.
    pub buffer_size: u32,
    /// Pool buffers per shard.
    pub buffers: u16,
    /// Maximum pipes for bulk transfers, per shard.
    pub pipes: usize,
    /// Names of the relay itself: `<domain>.<hostname>` reaches a domain without a path prefix. Lower case.
    pub hostnames: Vec<String>,
    /// Answer a classic gateway's first POST with 204 at once.
    pub early_204: bool,
    /// Maximum time that a client waits for a gateway that is busy.
    pub client_wait: Duration,
    /// Maximum time, if it is longer, that a client waits for a gateway that has recently gone, or that may be on its way to
    /// a relay that has just started.
    pub absent_wait: Duration,
    /// How long after its start a relay has clients wait for domains that it has not seen yet: their gateways may be on
    /// their way back.
    pub start_grace: Duration,
    /// How long a domain is remembered after its last gateway has gone.
    pub domain_grace: Duration,
    /// Time after which a parked classic gateway is told to register again. Devices give up at 75 s.
    pub classic_poll_interval: Duration,
    /// How soon a classic gateway must then register again.
    pub repost_timeout: Duration,
    /// How long a head may take from its first byte, or a new connection to its first head.
    pub head_timeout: Duration,
    /// How long a gateway may take to begin its response, from the end of the request.
    pub response_timeout: Duration,
    /// How long a kept client connection may be idle between requests.
    pub client_idle: Duration,
    /// How long a body may make no progress.
    pub session_idle: Duration,
    /// How long a tunnel may be silent.
    pub tunnel_idle: Duration,
    /// How long the relay waits for the peer to close after its last response.
    pub linger: Duration,
    /// How long exchanges in progress may go on after a request to stop.
    pub drain: Duration,
    /// How long tunnels and upgraded connections may go on after a request to stop; at most `drain`.
    pub drain_tunnels: Duration,
    /// Maximum bytes of a request's head; at most `buffer_size` and 65,535.
    pub max_head_bytes: u32,
    /// Maximum header fields of a request's head; at most 128.
    pub max_headers: usize,
    /// Maximum connections of the whole relay; 0 for as many as descriptors allow.
    pub max_connections: usize,
    /// Maximum connections from one source address (IPv6: /64 network); 0 for no limit.
    pub max_connections_per_address: u32,
    /// Maximum new connections per second from one source address (IPv6: /64 network); 0 for no limit.
    pub max_accepts_per_address: u32,
    /// Maximum new connections per second; 0 for no limit.
    pub max_accepts_per_second: u32,
    /// Maximum registrations per second; 0 for no limit.
    pub max_registrations_per_second: u32,
    /// Maximum gateway connections of one domain; 0 for no limit.
    pub max_gateways_per_domain: u32,
    /// Whether a client that has sent its whole request and then a FIN counts as gone.
    pub gone_clients: GoneClients,
    /// Minimum rate, in bytes per second, of a client that its gateway waits for; 0 for none. A slower one loses its
    /// gateway to a client that waits for one.
    pub min_rate: u32,
    /// How far a client may fall behind that rate, in seconds of it.
    pub min_rate_after: Duration,
    /// Maximum received bytes held outside the buffer pools, over all shards; 0 for no limit.
    pub max_memory: u64,
    /// Maximum bytes of a response's head; at most 65,535.
    pub max_response_head_bytes: u32,
    /// Maximum header fields of a response's head; at most 512.
    pub max_response_headers: usize,
    /// Pass responses of classic gateways that are not HTTP through as they are, until either side closes.
    pub opaque_answers: bool,
    /// Allow request bodies longer than 2^31 - 1 bytes to classic gateways.
    pub classic_long_lengths: bool,
    /// Networks of proxies whose claims about earlier hops are believed, and whose PROXY protocol headers are read.
    pub trusted_proxies: Vec<Network>,
    /// Bodies with at least this many bytes to go are spliced.
    pub splice_min: u64,
    /// Maximum bytes that one connection moves before others get their turn.
    pub turn_bytes: usize,
    /// Maximum buffers that one direction holds before receiving stops.
    pub held_buffers: usize,
    /// Idle time before the first TCP keep-alive probe.
    pub tcp_keepalive: Duration,
    /// `TCP_USER_TIMEOUT`: how long sent bytes may stay unacknowledged.
    pub tcp_user_timeout: Duration,
    /// For how long received bytes of a body, or of another long stream, may wait for more; zero for not at all.
    pub bulk_delay: Duration,
    /// For how long a turn waits for further events when some are likely; zero for not at all.
    pub batch_wait: Duration,
    /// Maximum connections in the listen backlog.
    pub backlog: i32,
    /// TCP congestion control of the relay's sockets; the system's choice if `None`.
    pub congestion_control: Option<String>,
}

impl Default for Config {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Config {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 8080))],
            listen_gateways: Vec::new(),
            listen_tls: Vec::new(),
            certificates: None,
            allow_plain_gateways: false,
            rules: None,
            allow_any_gateway: false,
            max_handshakes: 4096,
            cores: vec![0],
            buffer_size: 16 << 10,
            buffers: 1024,
            pipes: 256,
            hostnames: Vec::new(),
            early_204: false,
            client_wait: seconds(2),
            absent_wait: seconds(15),
            start_grace: seconds(15),
            domain_grace: seconds(60),
            classic_poll_interval: seconds(30),
            repost_timeout: seconds(30),
            head_timeout: seconds(10),
            response_timeout: seconds(60),
            client_idle: seconds(75),
            session_idle: seconds(60),
            tunnel_idle: seconds(3600),
            linger: seconds(5),
            drain: seconds(30),
            drain_tunnels: seconds(5),
            max_head_bytes: 16 << 10,
            max_headers: 100,
            max_connections: 0,
            max_connections_per_address: 0,
            max_accepts_per_address: 0,
            max_accepts_per_second: 0,
            max_registrations_per_second: 20_000,
            max_gateways_per_domain: 1024,
            gone_clients: GoneClients::Closing,
            min_rate: 500,
            min_rate_after: seconds(20),
            max_memory: 256 << 20,
            max_response_head_bytes: 65_535,
            max_response_headers: 512,
            opaque_answers: false,
            classic_long_lengths: false,
            trusted_proxies: Vec::new(),
            splice_min: 16 << 10,
            turn_bytes: 1 << 20,
            held_buffers: 4,
            tcp_keepalive: seconds(45),
            tcp_user_timeout: seconds(30),
            bulk_delay: Duration::from_millis(20),
            batch_wait: Duration::ZERO,
            backlog: 4096,
            congestion_control: None,
        }
    }
}

/// Why a configuration cannot work. The message names the option and the remedy.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Invalid {
    /// Heads are parsed in one buffer.
    #[error(
        "--max-head-bytes {0} is more than --buffer-size {1}: a head must fit one buffer; lower the first or raise the second"
    )]
    HeadLargerThanBuffer(u32, u32),
    /// Spans inside a head are 16 bits.
    #[error("--max-head-bytes {0} is out of range: give 256 to 65535")]
    HeadBytes(u32),
    /// As for requests.
    #[error("--max-response-head-bytes {0} is out of range: give 256 to 65535")]
    ResponseHeadBytes(u32),
    /// Its array of fields is on the stack.
    #[error("--max-response-headers {0} is out of range: give 1 to 512")]
    ResponseHeaders(usize),
    /// Too small for a head, or too large for 32-bit offsets.
    #[error("--buffer-size {0} is out of range: give 1K to 16M")]
    BufferSize(u32),
    /// Buffer numbers are 16 bits, and two directions need a few.
    #[error("--buffers {0} is out of range: give 8 to 32768")]
    Buffers(u16),
    /// httparse's array of fields is on the stack.
    #[error("--max-headers {0} is out of range: give 1 to 128")]
    Headers(usize),
    /// Devices give up after 75 s.
    #[error("--classic-poll-interval {0:?} is out of range: give 1s to 70s, classic gateways give up at 75 s")]
    ParkTime(Duration),
    /// There must be a shard, and sets of shards have 64 bits.
    #[error("--cores names {0} CPUs: give 1 to 64")]
    Cores(usize),
    /// Everything would end at once.
    #[error("{0} 0s would end everything at once; give a long time, such as 24h, if there shall be no limit")]
    NoTime(&'static str),
    /// The kernel counts seconds in 15 bits.
    #[error("--tcp-keepalive {0:?} is out of range: give 1s to 32767s")]
    KeepAlive(Duration),
    /// The kernel counts milliseconds in 31 bits.
    #[error("--tcp-user-timeout {0:?} is out of range: give 1ms to 500h")]
    UserTimeout(Duration),
    /// The kernel takes it for a short one.
    #[error("--backlog {0} is out of range: give 1 to 65535")]
    Backlog(i32),
    /// One of them takes the connections of the other.
    #[error("{0} and {1} to listen on overlap: leave one of them out ([::] takes IPv4, too)")]
    Overlap(SocketAddr, SocketAddr),
    /// Nothing to listen on.
    #[error("no --listen address: give at least one, such as 127.0.0.1:8080")]
    NoListener,
    /// One is of no use without the other.
    #[error(
        "--listen-tls and certificates go together: give --listen-tls with --cert and --key, or with --tls-self-signed"
    )]
    Tls,
    /// Bytes would wait for longer than anybody wants to.
    #[error("--bulk-delay {0:?} is out of range: give at most 1s")]
    BulkDelay(Duration),
    /// Every response would wait for that long, twice.
    #[error("--batch-wait {0:?} is out of range: give at most 10ms")]
    BatchWait(Duration),
    /// With a budget of zero bytes per turn nothing would move.
    #[error("--turn-bytes {0} is out of range: give at least 64K")]
    TurnBytes(usize),
    /// The account of what a client owes has 32 bits.
    #[error("--min-rate {0} for --min-rate-after {1:?} is too much: lower one of them, so that it is less than 4 GiB")]
    MinRate(u32, Duration),
    /// Without one held buffer nothing can be received.
    #[error("--held-buffers {0} is out of range: give 1 to 64")]
    Held(usize),
}

impl Config {
    /// Checks what the types do not say.
    ///
    /// # Errors
    /// The first field that cannot work.
    pub fn validate(&self) -> Result<(), Invalid> {
        if !(1 << 10..=16 << 20).contains(&self.buffer_size) {
            return Err(Invalid::BufferSize(self.buffer_size));
        }
        if !(256..=65_535).contains(&self.max_head_bytes) {
            return Err(Invalid::HeadBytes(self.max_head_bytes));
        }
        if self.max_head_bytes > self.buffer_size {
            return Err(Invalid::HeadLargerThanBuffer(self.max_head_bytes, self.buffer_size));
        }
        if !(8..=32_768).contains(&self.buffers) {
            return Err(Invalid::Buffers(self.buffers));
        }
        if !(1..=128).contains(&self.max_headers) {
            return Err(Invalid::Headers(self.max_headers));
        }
        if !(256..=65_535).contains(&self.max_response_head_bytes) {
            return Err(Invalid::ResponseHeadBytes(self.max_response_head_bytes));
        }
        if !(1..=512).contains(&self.max_response_headers) {
            return Err(Invalid::ResponseHeaders(self.max_response_headers));
        }
        if !(1..=70).contains(&self.classic_poll_interval.as_secs()) {
            return Err(Invalid::ParkTime(self.classic_poll_interval));
        }
        if !(1..=64).contains(&self.cores.len()) {
            return Err(Invalid::Cores(self.cores.len()));
        }
        if self.listen.is_empty() {
            return Err(Invalid::NoListener);
        }
        if self.listen_tls.is_empty() != self.certificates.is_none() {
            return Err(Invalid::Tls);
        }
        if self.bulk_delay > Duration::from_secs(1) {
            return Err(Invalid::BulkDelay(self.bulk_delay));
        }
        if self.batch_wait > Duration::from_millis(10) {
            return Err(Invalid::BatchWait(self.batch_wait));
        }
        if self.turn_bytes < 64 << 10 {
            return Err(Invalid::TurnBytes(self.turn_bytes));
        }
        if !(1..=64).contains(&self.held_buffers) {
            return Err(Invalid::Held(self.held_buffers));
        }
        if self.min_rate_after.as_secs_f64() * f64::from(self.min_rate) >= f64::from(u32::MAX) {
            return Err(Invalid::MinRate(self.min_rate, self.min_rate_after));
        }
        self.validate_times()?;
        self.validate_sockets()
    }

    /// All addresses to listen on: first those for clients, then those for gateways, then those for TLS.
    pub fn listeners(&self) -> impl Iterator<Item = SocketAddr> {
        self.listen.iter().chain(&self.listen_gateways).chain(&self.listen_tls).copied()
    }

    /// Whether the nth of them is for gateways alone.
    pub fn is_for_gateways(&self, listener: usize) -> bool {
        !self.listen_gateways.is_empty() && listener >= self.listen.len() && !self.is_for_tls(listener)
    }

    /// Whether the nth of them is for TLS.
    pub fn is_for_tls(&self, listener: usize) -> bool {
        !self.listen_tls.is_empty() && listener >= self.listen.len() + self.listen_gateways.len()
    }

    fn validate_times(&self) -> Result<(), Invalid> {
        let limits = [
            ("--repost-timeout", self.repost_timeout),
            ("--head-timeout", self.head_timeout),
            ("--response-timeout", self.response_timeout),
            ("--client-idle", self.client_idle),
            ("--session-idle", self.session_idle),
            ("--tunnel-idle", self.tunnel_idle),
            ("--min-rate-after", self.min_rate_after),
        ];
        match limits.into_iter().find(|(_, limit)| limit.is_zero()) {
            Some((name, _)) => Err(Invalid::NoTime(name)),
            None => Ok(()),
        }
    }

    fn validate_sockets(&self) -> Result<(), Invalid> {
        if !(1..=32_767).contains(&self.tcp_keepalive.as_secs()) {
            return Err(Invalid::KeepAlive(self.tcp_keepalive));
        }
        if !(1..=500 * 3600 * 1000).contains(&self.tcp_user_timeout.as_millis()) {
            return Err(Invalid::UserTimeout(self.tcp_user_timeout));
        }
        if !(1..=65_535).contains(&self.backlog) {
            return Err(Invalid::Backlog(self.backlog));
        }
        let all: Vec<_> = self.listeners().collect();
        for (at, one) in all.iter().enumerate() {
            if let Some(other) = all[..at].iter().find(|other| overlap(one, other)) {
                return Err(Invalid::Overlap(*other, *one));
            }
        }
        Ok(())
    }
}

/// Whether two addresses to listen on take the same connections.
fn overlap(one: &SocketAddr, other: &SocketAddr) -> bool {
    let all = |address: &SocketAddr| address.ip().is_unspecified();
    let covers = |one: &SocketAddr, other: &SocketAddr| all(one) && (one.is_ipv6() || other.is_ipv4());
    let same_port = one.port() == other.port() && one.port() != 0;
    same_port && (one.ip() == other.ip() || covers(one, other) || covers(other, one))
}
