//! Connections as the gateway makes them.
use std::{io, time::Duration};

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

use super::Authority;

/// Silence after which the kernel asks whether the peer is still there. Below the shortest time after which NATs and
/// load balancers are known to forget a connection (60 s).
const KEEP_ALIVE_AFTER: Duration = Duration::from_secs(45);

/// Time between such questions while no answer comes.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(15);

/// Connects, within `timeout`, to the first address of `to` that answers. Small writes go out at once, and the
/// kernel watches whether the peer is alive: a parked connection carries nothing by itself for hours.
///
/// # Errors
/// The last address's error, or [`io::ErrorKind::TimedOut`].
pub(super) async fn connect(to: &Authority, timeout: Duration) -> io::Result<TcpStream> {
    let connecting = TcpStream::connect((to.host.as_str(), to.port));
    let Ok(stream) = tokio::time::timeout(timeout, connecting).await else {
        let text = format!("no answer within {timeout:?}");
        return Err(io::Error::new(io::ErrorKind::TimedOut, text));
    };
    let stream = stream?;
    prepare(&stream)?;
    Ok(stream)
}

/// Sets the options that [`connect`] promises.
///
/// # Errors
/// Those of the kernel.
pub(super) fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keep_alive = TcpKeepalive::new().with_time(KEEP_ALIVE_AFTER);
    // OpenBSD sets the interval for the whole system only.
    #[cfg(not(target_os = "openbsd"))]
    let keep_alive = keep_alive.with_interval(KEEP_ALIVE_INTERVAL);
    SockRef::from(stream).set_tcp_keepalive(&keep_alive)
}
