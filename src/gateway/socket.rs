//! Connections as the gateway makes them.
use std::{io, time::Duration};

use socket2::{SockRef, TcpKeepalive};
use tokio::{io::Interest, net::TcpStream};

use super::Authority;

/// Silence after which the kernel asks whether the peer is still there. Below the shortest time after which NATs and
/// load balancers are known to forget a connection (60 s).
const KEEP_ALIVE_AFTER: Duration = Duration::from_secs(45);

/// Time between such questions while no answer comes.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(15);

/// Shortest time for the peer to acknowledge bytes, whatever the limits: lost packets are sent again within it.
const UNACKNOWLEDGED_LEAST: Duration = Duration::from_secs(10);

/// Connects, within `timeout`, to the first address of `to` that answers, and [`prepare`]s the connection.
///
/// # Errors
/// The last address's error, or [`io::ErrorKind::TimedOut`].
pub(super) async fn connect(to: &Authority, timeout: Duration, idle: Duration) -> io::Result<TcpStream> {
    let connecting = TcpStream::connect((to.host.as_str(), to.port));
    let Ok(stream) = tokio::time::timeout(timeout, connecting).await else {
        let text = format!("no answer within {timeout:?}");
        return Err(io::Error::new(io::ErrorKind::TimedOut, text));
    };
    let stream = stream?;
    prepare(&stream)?;
    give_up_after(&stream, Some(idle))?;
    Ok(stream)
}

/// Has small writes go out at once, and the kernel watch whether the peer is alive: a parked connection carries
/// nothing by itself for hours.
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

/// How long the kernel goes on with a peer that acknowledges nothing, or that has no room for more; None for its own
/// limit, which counts only peers that do not even say so.
///
/// # Errors
/// Those of the kernel.
pub(super) fn give_up_after(stream: &TcpStream, idle: Option<Duration>) -> io::Result<()> {
    // Of the portable systems' kernels only these can be told.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        // The kernel counts milliseconds in 31 bits.
        let most = Duration::from_millis(i32::MAX as u64);
        let limit = idle.map(|idle| idle.clamp(UNACKNOWLEDGED_LEAST, most));
        SockRef::from(stream).set_tcp_user_timeout(limit)?;
    }
    let _ = (stream, idle, UNACKNOWLEDGED_LEAST);
    Ok(())
}

/// Ready when the peer has ended `stream`, in order or by a reset, also when bytes before the end have not been read.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) async fn ended(stream: &TcpStream) -> io::Error {
    // Not readiness to read, which bytes that nobody reads would keep up. No TCP connection is registered for urgent
    // data, so all that can be heard is the end.
    match stream.ready(Interest::PRIORITY).await {
        Ok(_) => io::ErrorKind::UnexpectedEof.into(),
        Err(error) => error,
    }
}

/// Ready when the peer has ended `stream`, in order or by a reset; soon after that when bytes before the end have not
/// been read.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) async fn ended(stream: &TcpStream) -> io::Error {
    const LOOK_EVERY: Duration = Duration::from_secs(1);
    loop {
        match stream.ready(Interest::READABLE).await {
            Ok(ready) if ready.is_read_closed() => return io::ErrorKind::UnexpectedEof.into(),
            Ok(_) => tokio::time::sleep(LOOK_EVERY).await,
            Err(error) => return error,
        }
    }
}

/// Ready when `stream` has failed, as by a reset; not at an end in order.
pub(super) async fn failed(stream: &TcpStream) -> io::Error {
    match stream.ready(Interest::ERROR).await {
        Ok(_) => io::ErrorKind::ConnectionReset.into(),
        Err(error) => error,
    }
}

/// Has the drop of `stream` reset the connection, so that the peer does not take it for an end in order.
pub(super) fn reset_on_drop(stream: &TcpStream) {
    let _a_failed_one_is_no_end_in_order = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

/// Notes that so many bytes were read from `stream` where there was room for so many: if for more, nothing is left, and
/// the next read need not ask the kernel to learn that. Only where the kernel tells each arrival anew, which goes for
/// epoll and kqueue.
pub(super) fn has_read(stream: &TcpStream, read: usize, room: usize) {
    if cfg!(unix) && 0 < read && read < room {
        has_read_all(stream);
    }
}

/// Notes that nothing is left to be read.
pub(super) fn has_read_all(stream: &TcpStream) {
    let _not_before_more_arrives = stream.try_io(Interest::READABLE, || Err::<(), _>(io::ErrorKind::WouldBlock.into()));
}

#[cfg(all(test, any(target_os = "linux", target_os = "android")))]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_kernel_watches_both_legs_and_is_as_patient_as_the_limits() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = listener.local_addr().unwrap().into();
        let minute = Duration::from_secs(60);
        for (idle, expected) in [(2 * minute, 2 * minute), (Duration::from_millis(1), UNACKNOWLEDGED_LEAST)] {
            let stream = connect(&to, minute, idle).await.unwrap();
            let socket = SockRef::from(&stream);
            assert_eq!(socket.tcp_user_timeout().unwrap(), Some(expected));
            assert!(socket.keepalive().unwrap());
            assert_eq!(socket.tcp_keepalive_time().unwrap(), KEEP_ALIVE_AFTER);
            give_up_after(&stream, None).unwrap();
            assert_eq!(socket.tcp_user_timeout().unwrap(), None);
        }
        connect(&to, minute, Duration::MAX).await.unwrap();
    }
}
