//! TLS on the client's and the gateway's leg, over real sockets: every byte arrives, whatever the versions, the dialects,
//! the splits and the peers' pace; and what must not be, is refused.
#[path = "../support/mod.rs"]
mod support;

mod gateway;

use ringback::{relay::Config, transport::Certificates};
use rustls::{
    ClientConfig, SupportedProtocolVersion,
    version::{TLS12, TLS13},
};
use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    sync::Arc,
    thread,
    time::Duration,
};
use support::{peers::*, *};

const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

fn secured(config: Config) -> Config {
    let certificates = Some(Certificates::SelfSigned(vec!["localhost".to_owned()]));
    Config { listen_tls: vec![SocketAddr::from(([127, 0, 0, 1], 0))], certificates, ..config }
}

/// A relay, where it listens for TLS, and how its peers reach it.
struct Scene {
    server: Server,
    secure: SocketAddr,
    config: Arc<ClientConfig>,
}

impl Scene {
    /// A new client that uses TLS is served by this gateway of `d`.
    #[track_caller]
    fn serves_by(&self, gateway: &mut Peer) {
        let mut client = self.connect(true);
        client.send("GET /d/ HTTP/1.1\r\nHost: relay\r\n\r\n");
        gateway.head();
        gateway.send("HTTP/1.1 204 No Content\r\n\r\n");
        assert!(client.head().starts_with("HTTP/1.1 204"));
    }

    fn of(config: Config, version: &'static SupportedProtocolVersion) -> Scene {
        let server = Server::start(secured(config));
        let secure = server.relay().addresses()[1];
        Scene { server, secure, config: tls::config(version) }
    }

    fn connect(&self, secure: bool) -> Peer {
        match secure {
            true => Peer::new(tls::connect(self.secure, &self.config)),
            false => self.server.connect(),
        }
    }

    fn gateway(&self, dialect: Dialect, secure: bool) -> Peer {
        let mut gateway = self.connect(secure);
        match dialect {
            Dialect::Classic => self.server.post(&mut gateway, "d"),
            Dialect::Ptth => {
                gateway.send(ptth_get("d", ""));
                gateway.expect(PTTH_101);
            }
        }
        self.server.await_parked(1);
        gateway
    }
}

/// A body that differs everywhere.
fn body(len: usize) -> Vec<u8> {
    (0..len as u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()).take(len).collect()
}

/// Requests and responses of all sizes pass, both ways, in both dialects, with TLS on either leg or both, and arrive as they
/// were sent; the gateway is told how the client came.
#[test]
fn every_leg_may_be_secure() {
    for version in VERSIONS {
        for (client_leg, gateway_leg) in [(true, true), (true, false), (false, true)] {
            for dialect in BOTH {
                let scene = Scene::of(config(), version);
                let mut gateway = scene.gateway(dialect, gateway_leg);
                let mut client = scene.connect(client_leg);
                for (n, len) in [0, 1, 1000, 16_384, 16_385, 100_000, 3_000_000].into_iter().enumerate() {
                    let sent = body(len);
                    let head = format!("POST /d/x HTTP/1.1\r\nHost: relay\r\nContent-Length: {len}\r\n");
                    let request = [head.as_bytes(), b"\r\n", &sent].concat();
                    let response =
                        [format!("HTTP/1.1 200 OK\r\nContent-Length: {len}\r\n\r\n").as_bytes(), &sent].concat();
                    let mut from = client.split();
                    let asking = thread::spawn(move || from.send(&request));
                    if dialect == Dialect::Classic && n == 0 {
                        gateway.expect(CLASSIC_101);
                    }
                    let got = gateway.head();
                    let proto = if client_leg { "X-Forwarded-Proto: https\r\n" } else { "X-Forwarded-Proto: http\r\n" };
                    assert!(got.starts_with("POST /d/x HTTP/1.1\r\n"), "{got}");
                    assert_eq!(got.contains(proto), dialect == Dialect::Ptth, "{got}");
                    assert!(gateway.take(len) == sent, "{len} bytes up, {version:?}");
                    asking.join().expect("the request is sent");
                    let mut back = gateway.split();
                    let expected = response.clone();
                    let answering = thread::spawn(move || back.send(&response));
                    assert!(client.take(expected.len()) == expected, "{len} bytes down, {version:?}");
                    answering.join().expect("the response is sent");
                }
            }
        }
    }
}

/// A tunnel carries bytes both ways, and each end of it ends the other in order.
#[test]
fn tunnels_end_in_order() {
    for dialect in BOTH {
        let scene = Scene::of(config(), &TLS13);
        let mut gateway = scene.gateway(dialect, true);
        let mut client = scene.connect(true);
        client.send("CONNECT /d HTTP/1.1\r\nHost: relay\r\n\r\n");
        if dialect == Dialect::Classic {
            gateway.expect(CLASSIC_101);
        }
        gateway.head();
        gateway.send("HTTP/1.1 200 OK\r\n\r\nhello");
        assert!(client.head().starts_with("HTTP/1.1 200"));
        client.expect("hello");
        client.send("there");
        gateway.expect("there");
        client.finish();
        gateway.expect_end();
        gateway.send("goodbye");
        gateway.finish();
        client.expect("goodbye");
        client.expect_end();
        scene.server.await_held(Default::default());
    }
}

/// A response until close that ends without close_notify may be cut short: its client must not take it for whole.
#[test]
fn a_cut_response_is_not_whole() {
    for (in_order, dialect) in [(true, Dialect::Ptth), (false, Dialect::Ptth), (false, Dialect::Classic)] {
        let scene = Scene::of(config(), &TLS13);
        let (mut gateway, socket) = raw(&scene);
        match dialect {
            Dialect::Ptth => {
                gateway.write_all(ptth_get("d", "").as_bytes()).unwrap();
                read_until(&mut gateway, PTTH_101);
            }
            Dialect::Classic => {
                gateway.write_all(classic_post("d").as_bytes()).unwrap();
                gateway.flush().unwrap();
            }
        }
        scene.server.await_parked(1);
        let mut client = scene.connect(false);
        client.send("GET /d/ HTTP/1.1\r\nHost: relay\r\n\r\n");
        let mut seen = [0; 20];
        gateway.read_exact(&mut seen).unwrap();
        gateway.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\npart").unwrap();
        client.head();
        client.expect("part");
        if in_order {
            gateway.conn.send_close_notify();
            gateway.flush().unwrap();
        }
        socket.shutdown(Shutdown::Write).unwrap();
        let (rest, reset) = client.until_gone();
        assert_eq!((rest.len(), reset), (0, !in_order), "{dialect:?}");
    }
}

type Raw = rustls::StreamOwned<rustls::ClientConnection, TcpStream>;

/// A TLS connection without a thread in between.
fn raw(scene: &Scene) -> (Raw, TcpStream) {
    let socket = TcpStream::connect(scene.secure).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let raw = rustls::StreamOwned::new(tls::connection(&scene.config), socket.try_clone().unwrap());
    (raw, socket)
}

#[track_caller]
fn read_until(from: &mut impl Read, expected: &[u8]) {
    let mut got = vec![0; expected.len()];
    from.read_exact(&mut got).unwrap();
    assert_eq!(got, expected, "{}", show(&got));
}

/// However a client's bytes are cut, ClientHello included, it is served.
#[test]
fn bytes_may_come_one_by_one() {
    for version in VERSIONS {
        let scene = Scene::of(config(), version);
        let mut gateway = scene.gateway(Dialect::Ptth, false);
        let mut socket = TcpStream::connect(scene.secure).unwrap();
        socket.set_nodelay(true).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut connection = tls::connection(&scene.config);
        let drip = |connection: &mut rustls::ClientConnection, socket: &mut TcpStream| {
            let mut sealed = Vec::new();
            while connection.wants_write() {
                connection.write_tls(&mut sealed).unwrap();
            }
            for byte in sealed.chunks(1) {
                socket.write_all(byte).unwrap();
                // So that the bytes are not received together.
                thread::yield_now();
            }
        };
        while connection.is_handshaking() {
            drip(&mut connection, &mut socket);
            if connection.is_handshaking() {
                connection.read_tls(&mut socket).unwrap();
                connection.process_new_packets().unwrap();
            }
        }
        connection.writer().write_all(b"GET /d/ HTTP/1.1\r\nHost: relay\r\n\r\n").unwrap();
        drip(&mut connection, &mut socket);
        assert!(gateway.head().starts_with("GET /d/ "));
        gateway.send("HTTP/1.1 204 No Content\r\n\r\n");
        let mut got = Vec::new();
        while !got.ends_with(b"\r\n\r\n") {
            connection.read_tls(&mut socket).unwrap();
            let state = connection.process_new_packets().unwrap();
            connection.reader().take(state.plaintext_bytes_to_read() as u64).read_to_end(&mut got).unwrap();
        }
        assert!(got.starts_with(b"HTTP/1.1 204"), "{}", show(&got));
    }
}

/// A reader that pauses gets all that was sent, although sealed bytes wait for room meanwhile; nothing is left over.
#[test]
fn slow_readers_get_everything() {
    for (client_leg, gateway_leg) in [(true, true), (true, false), (false, true)] {
        let scene = Scene::of(config(), &TLS13);
        let mut gateway = scene.gateway(Dialect::Ptth, gateway_leg);
        let mut client = scene.connect(client_leg);
        client.send("GET /d/ HTTP/1.1\r\nHost: relay\r\n\r\n");
        gateway.head();
        let sent = body(20_000_000);
        let response =
            [format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", sent.len()).as_bytes(), &sent].concat();
        let mut back = gateway.split();
        let answering = thread::spawn(move || back.send(&response));
        client.head();
        let mut got = Vec::new();
        while got.len() < sent.len() {
            // Pieces of many sizes, after what the sockets hold has filled up.
            let piece = (sent.len() - got.len()).min(1 + got.len() / 3);
            got.extend(client.take(piece));
            thread::yield_now();
        }
        assert!(got == sent);
        answering.join().expect("the response is sent");
    }
}

/// Requests that come in one record are answered one after the other, and many clients at once are served across shards.
#[test]
fn pipelines_and_shards() {
    let scene = Scene::of(two_shards(), &TLS13);
    let mut gateways: Vec<_> = (0..4)
        .map(|n| {
            let mut gateway = scene.connect(true);
            gateway.send(ptth_get("d", ""));
            gateway.expect(PTTH_101);
            scene.server.await_parked(n + 1);
            gateway
        })
        .collect();
    let serving: Vec<_> = gateways
        .drain(..)
        .map(|mut gateway| {
            thread::spawn(move || {
                while let Ok(head) = gateway.try_head() {
                    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
                    gateway.try_send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{path}", path.len()));
                }
            })
        })
        .collect();
    let clients: Vec<_> = (0..16)
        .map(|n| {
            let mut client = scene.connect(n % 4 != 0);
            thread::spawn(move || {
                for round in 0..20 {
                    let ask = |part| format!("GET /d/{n}/{round}/{part} HTTP/1.1\r\nHost: relay\r\n\r\n");
                    client.send(ask(0) + &ask(1) + &ask(2));
                    for part in 0..3 {
                        let path = format!("/d/{n}/{round}/{part}");
                        assert!(client.head().starts_with("HTTP/1.1 200 OK"));
                        client.expect(path);
                    }
                }
            })
        })
        .collect();
    clients.into_iter().for_each(|client| client.join().expect("every response is its own"));
    drop(scene);
    serving.into_iter().for_each(|gateway| gateway.join().expect("it ends with the relay"));
}

/// New keys, asked for at any time, disturb nothing, also while the gateway is parked.
#[test]
fn keys_are_renewed() {
    let scene = Scene::of(config(), &TLS13);
    let (mut gateway, _socket) = raw(&scene);
    gateway.write_all(ptth_get("d", "").as_bytes()).unwrap();
    read_until(&mut gateway, PTTH_101);
    scene.server.await_parked(1);
    let mut client = scene.connect(true);
    for round in 0..5 {
        gateway.conn.refresh_traffic_keys().unwrap();
        gateway.flush().unwrap();
        let request = format!("GET /d/{round} HTTP/1.1\r\nHost: relay\r\n\r\n");
        client.send(&request);
        let expected = Dialect::Ptth.seen(&format!("GET /d/{round} HTTP/1.1\r\nHost: relay\r\n"), false);
        let expected = String::from_utf8(expected).unwrap().replace("Proto: http\r\n", "Proto: https\r\n");
        read_until(&mut gateway, expected.as_bytes());
        gateway.conn.refresh_traffic_keys().unwrap();
        gateway.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
        client.head();
        client.expect("ok");
    }
    assert_eq!(scene.server.count(|counters| counters.unsolicited.value()), 0);
}

/// Whoever speaks HTTP where TLS is expected is told so.
#[test]
fn plain_http_is_told_to_use_tls() {
    let scene = Scene::of(config(), &TLS13);
    let mut client = Peer::connect(scene.secure);
    client.send("GET /d/ HTTP/1.1\r\nHost: relay\r\n\r\n");
    let (answer, _) = client.until_gone();
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\nX-Relay-Error: tls-expected\r\n"), "{answer}");
    let (head, text) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(&format!("Content-Length: {}\r\n", text.len())), "{answer}");
}

/// Rubbish, a half ClientHello and silence end as they should, and disturb nobody.
#[test]
fn broken_handshakes_disturb_nobody() {
    let scene = Scene::of(Config { head_timeout: Duration::from_millis(300), ..config() }, &TLS13);
    let mut gateway = scene.gateway(Dialect::Ptth, true);
    let before = scene.server.held();
    let half = [22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3];
    let odd = [22, 3, 1, 0, 5, 99, 0, 0, 1, 0];
    let empty = [22, 3, 1, 0, 0];
    let huge = [22, 3, 1, 255, 255];
    for bytes in [&half[..], &odd, &empty, &huge, b"\x16", b""] {
        let mut client = Peer::connect(scene.secure);
        client.send(bytes);
        client.until_gone();
    }
    // A record that fails to open, after the handshake.
    let (mut client, mut socket) = raw(&scene);
    client.write_all(b"GET ").unwrap();
    socket.write_all(&[23, 3, 3, 0, 32]).unwrap();
    socket.write_all(&[7; 32]).unwrap();
    let _ = client.read_to_end(&mut Vec::new());
    scene.server.await_held(before);
    scene.serves_by(&mut gateway);
}

/// Certificates are read again when that is asked for: new handshakes get the new one, connections that there are go on, and
/// unusable files change nothing.
#[test]
fn certificates_are_read_again() {
    let folder = std::env::temp_dir().join(format!("ringback-tls-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (certificate, key) = (folder.join("certificate.pem"), folder.join("key.pem"));
    let write = |name: &str| {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        std::fs::write(&certificate, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        made.cert.der().clone()
    };
    let first = write("localhost");
    let files = vec![ringback::transport::certificates::Files { certificate: certificate.clone(), key: key.clone() }];
    let secure = SocketAddr::from(([127, 0, 0, 1], 0));
    let config = Config { listen_tls: vec![secure], certificates: Some(Certificates::Files(files)), ..config() };
    let server = Server::start(config);
    let scene = Scene { secure: server.relay().addresses()[1], server, config: tls::config(&TLS13) };
    let shown = || {
        let (mut client, _socket) = raw(&scene);
        client.conn.complete_io(&mut client.sock).unwrap();
        client.conn.peer_certificates().unwrap()[0].clone().into_owned()
    };
    let mut gateway = scene.gateway(Dialect::Ptth, true);
    assert_eq!(shown(), first);
    let second = write("localhost");
    assert_eq!(shown(), first);
    scene.server.relay().reload_certificates().unwrap();
    assert_eq!(shown(), second);
    std::fs::write(&key, "no key").unwrap();
    let error = scene.server.relay().reload_certificates().unwrap_err().to_string();
    assert!(error.contains("key.pem"), "{error}");
    assert_eq!(shown(), second);
    scene.serves_by(&mut gateway);
    std::fs::remove_dir_all(folder).unwrap();
}

/// Handshakes beyond their limit are reset and counted; when there is room again, others are served, and connections whose
/// handshake is over do not count.
#[test]
fn handshakes_have_a_limit() {
    let scene = Scene::of(Config { max_handshakes: 3, ..config() }, &TLS13);
    let mut gateway = scene.gateway(Dialect::Ptth, true);
    let mut begun: Vec<_> = (0..3)
        .map(|_| {
            let mut peer = Peer::connect(scene.secure);
            peer.send([22, 3, 1]);
            peer
        })
        .collect();
    eventually("three handshakes have begun", || scene.server.held_handshakes() == 3);
    let mut further = Peer::connect(scene.secure);
    further.expect_gone();
    assert_eq!(scene.server.count(|counters| counters.over_handshakes.value()), 1);
    drop(begun.pop());
    eventually("one has ended", || scene.server.held_handshakes() == 2);
    scene.serves_by(&mut gateway);
}

/// Half a handshake message, at any time, ends at most its own connection: as the first thing, within a TLS 1.2 handshake, and
/// as half of new keys between requests, while the relay has something to say.
#[test]
fn half_messages_disturb_nobody() {
    let scene = Scene::of(Config { head_timeout: Duration::from_millis(300), ..config() }, &TLS12);
    let mut gateway = scene.gateway(Dialect::Ptth, false);
    let before = scene.server.held();
    let mut peer = Peer::connect(scene.secure);
    peer.send([&[22, 3, 1, 0, 2, 1, 0][..], &[21, 3, 3, 0, 2, 2, 40]].concat());
    peer.until_gone();
    for end in [[21, 3, 3, 0, 2, 2, 153], [23, 3, 3, 0, 2, 2, 153]] {
        let mut hello = Vec::new();
        tls::connection(&scene.config).write_tls(&mut hello).unwrap();
        let mut peer = Peer::connect(scene.secure);
        peer.send(hello);
        peer.take(100);
        peer.send([&[22, 3, 3, 0, 2, 16, 0][..], &end].concat());
        peer.until_gone();
    }
    let scene13 = tls::extracting();
    let mut socket = TcpStream::connect(scene.secure).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut connection = tls::connection(&scene13);
    while connection.is_handshaking() {
        connection.complete_io(&mut socket).unwrap();
    }
    let mut sealer = tls::Sealer::of(connection);
    // A request, and half of new keys before its response, which is sealed while that half waits.
    socket.write_all(&sealer.seal(23, b"GET /d/ HTTP/1.1\r\nHost: relay\r\n\r\n")).unwrap();
    gateway.head();
    socket.write_all(&sealer.seal(22, &[24, 0])).unwrap();
    // The relay has read it when it has answered another client that asked later.
    let mut other = scene.connect(true);
    other.send("GET /healthz HTTP/1.1\r\nHost: relay\r\n\r\n");
    other.head();
    let response = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
    gateway.send(response);
    // Behind the session's ticket comes a record of the response's length.
    let mut len = 0;
    while len != response.len() + 1 + 16 {
        let mut header = [0; 5];
        socket.read_exact(&mut header).unwrap();
        len = usize::from(u16::from_be_bytes([header[3], header[4]]));
        socket.read_exact(&mut vec![0; len]).unwrap();
    }
    // The other half: they are new keys after all.
    socket.write_all(&sealer.seal(22, &[0, 1, 0])).unwrap();
    drop(socket);
    drop(other);
    scene.server.await_held(before);
}

/// An end that comes in one segment with the bytes before it is noticed at once, without a FIN.
#[test]
fn an_end_with_bytes_is_noticed() {
    let scene = Scene::of(config(), &TLS13);
    let mut gateway = scene.gateway(Dialect::Ptth, false);
    let (mut client, _socket) = raw(&scene);
    while client.conn.is_handshaking() {
        client.conn.complete_io(&mut client.sock).unwrap();
    }
    client.conn.writer().write_all(b"POST /d/ HTTP/1.1\r\nHost: relay\r\nContent-Length: 10\r\n\r\nhalf").unwrap();
    client.conn.send_close_notify();
    let mut sealed = Vec::new();
    while client.conn.wants_write() {
        client.conn.write_tls(&mut sealed).unwrap();
    }
    client.sock.write_all(&sealed).unwrap();
    gateway.head();
    gateway.expect("half");
    gateway.expect_gone();
}
