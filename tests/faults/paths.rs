//! Tunnels whose path is lost while their peer has no room for more: the kernel, told to be patient with closed windows,
//! would go on for a quarter of an hour.
use crate::support::{peers::*, *};
use ringback::relay::Config;
use socket2::{SockFilter, SockRef};
use std::{io::Write, net::Shutdown, thread, time::Duration};

/// What one side sends: far more than all buffers on the way hold.
const MUCH: usize = 64 << 20;

/// From here on nothing that is sent to this end arrives, not even as far as to be acknowledged.
fn lose_path_to(peer: &Peer) {
    const RETURN: u16 = 0x06;
    SockRef::from(peer.stream()).attach_filter(&[SockFilter::new(RETURN, 0, 0, 0)]).expect("a socket option");
}

/// A tunnel: its client, and its gateway.
fn tunnel(server: &Server) -> (Peer, Peer) {
    let mut gateway = server.ptth("dev");
    let mut client = server.client(get("/dev/") + "Connection: Upgrade\r\nUpgrade: x\r\n\r\n");
    gateway.head();
    gateway.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n");
    client.head();
    (client, gateway)
}

/// Sends until it is told that the connection is over, or until all is sent.
fn pour(peer: &Peer) -> thread::JoinHandle<std::io::Result<()>> {
    let mut stream = peer.stream().try_clone().expect("a descriptor");
    thread::spawn(move || {
        for _ in 0..MUCH / 65536 {
            stream.write_all(&[b'x'; 65536])?;
        }
        stream.shutdown(Shutdown::Write)
    })
}

/// A tunnel ends soon after the path to either side is lost, and not because a peer reads nothing for a while.
#[test]
fn a_tunnel_loses_its_path() {
    let server = Server::start(Config { tcp_user_timeout: Duration::from_secs(1), ..config() });
    let (slow_client, mut slow_gateway) = tunnel(&server);
    let slow = pour(&slow_client);
    for gateway_is_lost in [true, false] {
        let (client, gateway) = tunnel(&server);
        let (here, lost) = if gateway_is_lost { (client, gateway) } else { (gateway, client) };
        lose_path_to(&lost);
        let error = pour(&here).join().expect("no panic").expect_err("nobody takes all that");
        assert!(
            matches!(error.kind(), std::io::ErrorKind::ConnectionReset | std::io::ErrorKind::BrokenPipe),
            "gateway lost: {gateway_is_lost}: {error}"
        );
    }
    let all = slow_gateway.rest();
    slow.join().expect("no panic").expect("all is sent");
    assert!(all.len() == MUCH && all.iter().all(|&byte| byte == b'x'));
}
