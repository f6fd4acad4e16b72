//! Listening sockets, one a shard and address.
use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};
use std::{io, net::SocketAddr, os::fd::OwnedFd, time::Duration};

/// What accepted connections inherit from their listener: no system call a connection.
#[derive(Clone, Copy, Debug)]
pub struct TcpOptions<'a> {
    /// First keep-alive probe after this much silence; below what NATs and load balancers allow.
    pub keepalive: Duration,
    /// How long sent bytes may stay unacknowledged before the peer counts as dead (`TCP_USER_TIMEOUT`).
    pub user_timeout: Duration,
    /// Connections that may wait to be accepted.
    pub backlog: i32,
    /// Congestion control (`TCP_CONGESTION`); the system's choice if `None`.
    pub congestion_control: Option<&'a str>,
}

/// Opens a listener at `address` with `SO_REUSEPORT`, so that each shard has its own.
///
/// # Errors
/// What the kernel says to socket, bind or listen.
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

/// Whether the kernel will not use a congestion control: why not, and those it has loaded.
pub fn lacks_congestion_control(name: &str) -> Option<(io::Error, String)> {
    let probe = || -> io::Result<()> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
        Ok(rustix::net::sockopt::set_tcp_congestion(&socket, name)?)
    };
    let error = probe().err()?;
    let loaded = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_available_congestion_control").unwrap_or_default();
    Some((error, loaded.trim().to_owned()))
}

/// Whether somebody else listens at `address` already. `SO_REUSEPORT` would let a second relay of the same user
/// share the port without a word, and take half of the connections.
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
