//! Listening sockets, one per shard and address.
use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};
use std::{io, net::SocketAddr, os::fd::OwnedFd, time::Duration};

/// Options that accepted connections inherit from their listener, without a system call per connection.
#[derive(Clone, Copy, Debug)]
pub struct TcpOptions<'a> {
    /// Idle time before the first keep-alive probe; less than the idle timeouts of NATs and load balancers.
    pub keepalive: Duration,
    /// How long sent bytes may stay unacknowledged before the peer counts as dead (`TCP_USER_TIMEOUT`).
    pub user_timeout: Duration,
    /// Maximum connections in the listen backlog.
    pub backlog: i32,
    /// Congestion control (`TCP_CONGESTION`); the system's choice if `None`.
    pub congestion_control: Option<&'a str>,
}

/// Opens a listener at `address` with `SO_REUSEPORT`, so that each shard has its own.
///
/// # Errors
/// The kernel's error for socket, bind or listen.
pub fn listen(address: SocketAddr, options: &TcpOptions<'_>) -> io::Result<(OwnedFd, SocketAddr)> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(false).or_else(|_| socket.set_only_v6(true))?;
    }
    socket.set_tcp_nodelay(true)?;
    let probe_every = (options.keepalive / 3).max(Duration::from_secs(1));
    let keepalive = TcpKeepalive::new().with_time(options.keepalive).with_interval(probe_every).with_retries(3);
    socket.set_tcp_keepalive(&keepalive)?;
    socket.set_tcp_user_timeout(Some(options.user_timeout))?;
    if let Some(name) = options.congestion_control {
        rustix::net::sockopt::set_tcp_congestion(&socket, name)?;
    }
    socket.bind(&address.into())?;
    socket.listen(options.backlog)?;
    let bound = socket.local_addr()?.as_socket().unwrap_or(address);
    Ok((socket.into(), bound))
}

/// Whether the kernel lacks a congestion control: its error, and those that it has loaded.
pub fn lacks_congestion_control(name: &str) -> Option<(io::Error, String)> {
    let probe = || -> io::Result<()> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
        Ok(rustix::net::sockopt::set_tcp_congestion(&socket, name)?)
    };
    let error = probe().err()?;
    let loaded = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_available_congestion_control").unwrap_or_default();
    Some((error, loaded.trim().to_owned()))
}

/// Whether another process listens at `address` already. `SO_REUSEPORT` would let a second relay of the same user
/// share the port silently, and take half of the connections.
pub fn in_use(address: SocketAddr) -> Option<io::Error> {
    if address.port() == 0 {
        return None;
    }
    let probe = || -> io::Result<()> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())
    };
    probe().err()
}
