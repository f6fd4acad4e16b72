//! What several of the tests need: a polite pair, tunnels, and gateways with little room.
use crate::support::{peers::*, *};
use std::{
    fs,
    net::{SocketAddr, TcpStream},
    thread::{self, JoinHandle},
};

/// There at once.
pub static BLOCK: [u8; 64 << 10] = [b'x'; 64 << 10];

/// A gateway that answers every request of its domain, until its connection ends.
pub fn answering(mut gateway: Peer) -> JoinHandle<()> {
    thread::spawn(move || {
        while gateway.try_head().is_ok() {
            gateway.try_send(ok("x"));
        }
    })
}

/// A tunnel that is open on both ends: the client's, the gateway's.
pub fn tunnel(server: &Server, domain: &str) -> (Peer, Peer) {
    let mut gateway = server.ptth(domain);
    let mut client = server.client(connect(domain));
    gateway.head();
    gateway.send("HTTP/1.1 200 OK\r\n\r\n");
    client.expect("HTTP/1.1 200 OK\r\n\r\n");
    (client, gateway)
}

/// A request for a tunnel.
pub fn connect(domain: &str) -> String {
    format!("CONNECT /{domain} HTTP/1.1\r\nHost: relay\r\n\r\n")
}

/// A connection whose end takes a few kilobytes, and is sent small segments, so that the other end's sending buffer
/// stays small, too.
pub fn narrow(address: SocketAddr) -> Peer {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(4 << 10).expect("a socket option");
    socket.set_tcp_mss(536).expect("a socket option");
    socket.connect(&address.into()).expect("the relay accepts");
    Peer::new(TcpStream::from(socket))
}

/// Bytes that the kernel has of what the relay sent to a peer that does not read: unacknowledged ones, and unread ones.
pub fn under_way(peer: &Peer) -> usize {
    let end = |address: SocketAddr| format!(":{:04X}", address.port());
    let stream = peer.stream();
    let (near, far) = (end(stream.local_addr().expect("an address")), end(stream.peer_addr().expect("an address")));
    let table = fs::read_to_string("/proc/net/tcp").expect("there is a /proc");
    let mut bytes = 0;
    for line in table.lines().skip(1) {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let Some((sending, unread)) = fields[4].split_once(':') else { continue };
        let number = |hex| usize::from_str_radix(hex, 16).expect("a number");
        if fields[1].ends_with(&far) && fields[2].ends_with(&near) {
            bytes += number(sending);
        } else if fields[1].ends_with(&near) && fields[2].ends_with(&far) {
            bytes += number(unread);
        }
    }
    bytes
}
