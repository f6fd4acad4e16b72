//! Every limit and timeout of a relay, with its default.
use std::{net::SocketAddr, time::Duration};

/// What a relay is told. Each field is an option of `ringback relay`.
#[derive(Clone, Debug)]
pub struct Config {
    /// Addresses to listen on.
    pub listen: Vec<SocketAddr>,
    /// One shard is pinned to each of these CPUs.
    pub cores: Vec<usize>,
    /// Bytes of one pool buffer.
    pub buffer_size: u32,
    /// Pool buffers a shard.
    pub buffers: u16,
    /// Pipes that a shard's bulk transfers may hold.
    pub pipes: usize,
    /// Names of the relay itself: `<domain>.<hostname>` reaches a domain without a path prefix. Lower case.
    pub hostnames: Vec<String>,
    /// Answer a classic gateway's first POST with 204 at once.
    pub early_204: bool,
    /// How long a client waits for a gateway that was there within `domain_memory`, or for a busy one.
    pub park_wait: Duration,
    /// How long a domain is remembered after its last gateway has gone.
    pub domain_memory: Duration,
    /// A parked classic gateway is told to ask again after this long. Devices give up at 75 s.
    pub park_time: Duration,
    /// How soon a classic gateway must ask again.
    pub repost_timeout: Duration,
    /// How long a head may take from its first byte, or a new connection to its first head.
    pub head_timeout: Duration,
    /// How long a gateway may take to begin its response, from the end of the request.
    pub response_timeout: Duration,
    /// How long a kept client connection may be idle between requests.
    pub client_idle: Duration,
    /// How long a body may stand still.
    pub session_idle: Duration,
    /// How long a tunnel may be silent.
    pub tunnel_idle: Duration,
    /// How long a closed connection's last words are waited for.
    pub linger: Duration,
    /// How long sessions may go on after a request to stop.
    pub drain: Duration,
    /// Most bytes of a head; at most `buffer_size` and 65,535.
    pub head_bytes_max: u32,
    /// Most header fields of a head; at most 128.
    pub headers_max: usize,
    /// Most connections in the whole relay; 0 for as many as descriptors allow.
    pub connections_max: usize,
    /// Most connections from one source address and shard; 0 for no limit.
    pub connections_per_address: u32,
    /// Most new connections per second from one source address and shard; 0 for no limit.
    pub accepts_per_address: u32,
    /// Most new connections per second and shard; 0 for no limit.
    pub accepts_per_second: u32,
    /// Most registrations per second and shard; 0 for no limit.
    pub registrations_per_second: u32,
    /// Most gateway connections of one domain and shard; 0 for no limit.
    pub gateways_per_domain: u32,
    /// Bodies with at least this much to go are spliced.
    pub splice_min: u64,
    /// Most bytes that one connection may move before the others get their turn.
    pub turn_bytes: usize,
    /// Most buffers a direction may hold before receiving stops.
    pub held_buffers: usize,
    /// First TCP keep-alive probe after this much silence.
    pub tcp_keepalive: Duration,
    /// `TCP_USER_TIMEOUT`: how long sent bytes may stay unacknowledged.
    pub tcp_user_timeout: Duration,
    /// Connections that may wait to be accepted.
    pub backlog: i32,
    /// TCP congestion control of the relay's own sockets; the system's choice if `None`.
    pub congestion_control: Option<String>,
}

impl Default for Config {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Config {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 8080))],
            cores: vec![0],
            buffer_size: 16 << 10,
            buffers: 1024,
            pipes: 256,
            hostnames: Vec::new(),
            early_204: false,
            park_wait: seconds(2),
            domain_memory: seconds(60),
            park_time: seconds(30),
            repost_timeout: seconds(30),
            head_timeout: seconds(10),
            response_timeout: seconds(60),
            client_idle: seconds(75),
            session_idle: seconds(60),
            tunnel_idle: seconds(3600),
            linger: seconds(2),
            drain: seconds(30),
            head_bytes_max: 16 << 10,
            headers_max: 100,
            connections_max: 0,
            connections_per_address: 0,
            accepts_per_address: 0,
            accepts_per_second: 0,
            registrations_per_second: 20_000,
            gateways_per_domain: 1024,
            splice_min: 16 << 10,
            turn_bytes: 1 << 20,
            held_buffers: 4,
            tcp_keepalive: seconds(45),
            tcp_user_timeout: seconds(30),
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
        "--head-bytes-max {0} is more than --buffer-size {1}: a head must fit one buffer; lower the first or raise the second"
    )]
    HeadLargerThanBuffer(u32, u32),
    /// Spans inside a head are 16 bits.
    #[error("--head-bytes-max {0} is out of range: give 256 to 65535")]
    HeadBytes(u32),
    /// Too small for a head, or too large for 32-bit offsets.
    #[error("--buffer-size {0} is out of range: give 1K to 16M")]
    BufferSize(u32),
    /// Buffer numbers are 16 bits, and two directions need a few.
    #[error("--buffers {0} is out of range: give 8 to 32768")]
    Buffers(u16),
    /// httparse's array of fields is on the stack.
    #[error("--headers-max {0} is out of range: give 1 to 128")]
    Headers(usize),
    /// Devices give up after 75 s.
    #[error("--park-time {0:?} is out of range: give 1s to 70s, classic gateways give up at 75 s")]
    ParkTime(Duration),
    /// One shard is the least, and shard sets are 64 bits.
    #[error("--cores names {0} CPUs: give 1 to 64")]
    Cores(usize),
    /// Nothing to listen on.
    #[error("no --listen address: give at least one, such as 127.0.0.1:8080")]
    NoListener,
    /// A limit of zero bytes a turn would move nothing.
    #[error("--turn-bytes {0} is out of range: give at least 64K")]
    TurnBytes(usize),
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
        if !(256..=65_535).contains(&self.head_bytes_max) {
            return Err(Invalid::HeadBytes(self.head_bytes_max));
        }
        if self.head_bytes_max > self.buffer_size {
            return Err(Invalid::HeadLargerThanBuffer(self.head_bytes_max, self.buffer_size));
        }
        if !(8..=32_768).contains(&self.buffers) {
            return Err(Invalid::Buffers(self.buffers));
        }
        if !(1..=128).contains(&self.headers_max) {
            return Err(Invalid::Headers(self.headers_max));
        }
        if !(1..=70).contains(&self.park_time.as_secs()) {
            return Err(Invalid::ParkTime(self.park_time));
        }
        if !(1..=64).contains(&self.cores.len()) {
            return Err(Invalid::Cores(self.cores.len()));
        }
        if self.listen.is_empty() {
            return Err(Invalid::NoListener);
        }
        if self.turn_bytes < 64 << 10 {
            return Err(Invalid::TurnBytes(self.turn_bytes));
        }
        if !(1..=64).contains(&self.held_buffers) {
            return Err(Invalid::Held(self.held_buffers));
        }
        Ok(())
    }
}
