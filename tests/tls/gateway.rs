//! The gateway program by TLS: to the relay, and to its target.
use super::{Scene, body, support::*};
use ringback::{
    gateway::{self, Authority, Trust, relay_url},
    relay::Config,
    transport::{Certificates, certificates::Files},
};
use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    crypto::aws_lc_rs,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    version::TLS13,
};
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};
use tokio::sync::oneshot;

/// A gateway program that ends with the test.
struct Program {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Program {
    fn start(relay: Authority, target: Authority, trust: &Trust) -> Program {
        let config = gateway::Config {
            trust: Some(trust.establish().expect("certificates")),
            ..gateway::Config::new(relay, "d".to_owned(), target)
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            let stopped = async {
                let _ = stopped.await;
            };
            runtime.block_on(gateway::run(config, stopped)).expect("a gateway that can start");
        });
        Program { stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.stop.take());
        let ended = self.thread.take().map(thread::JoinHandle::join);
        assert!(thread::panicking() || ended.is_some_and(|ended| ended.is_ok()));
    }
}

struct Pki {
    folder: PathBuf,
    server: Arc<ServerConfig>,
}

impl Pki {
    fn new(name: &str) -> Pki {
        let folder = std::env::temp_dir().join(format!("ringback-tls-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        std::fs::write(folder.join("certificate.pem"), made.cert.pem()).expect("room");
        std::fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).expect("room");
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let server = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .expect("they belong together");
        Pki { folder, server: Arc::new(server) }
    }

    fn trust(&self) -> Trust {
        Trust::Only(vec![self.folder.join("certificate.pem")])
    }

    fn relay(&self) -> Scene {
        let file = |name: &str| Path::join(&self.folder, name);
        let files = vec![Files { certificate: file("certificate.pem"), key: file("key.pem") }];
        let secure = SocketAddr::from(([127, 0, 0, 1], 0));
        let config = Config { listen_tls: vec![secure], certificates: Some(Certificates::Files(files)), ..config() };
        let server = Server::start(config);
        Scene { secure: server.relay().addresses()[1], server, config: tls::config(&TLS13) }
    }
}

impl Drop for Pki {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Answers each request with its body.
fn echo(mut stream: impl Read + Write) -> std::io::Result<()> {
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            if stream.read(&mut byte)? == 0 {
                return Ok(());
            }
            head.push(byte[0]);
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
        let mut body = vec![0; length.map_or(0, |length| length.parse().expect("a number"))];
        stream.read_exact(&mut body)?;
        if head.starts_with("GET /d/cut") {
            stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\npart")?;
            stream.flush()?;
            // Its end says nothing of close_notify.
            return Err(std::io::ErrorKind::Other.into());
        }
        if head.starts_with("GET /d/closing") {
            stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the end")?;
            return stream.flush();
        }
        stream.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes())?;
        stream.write_all(&body)?;
        stream.flush()?;
    }
}

/// A server that does so, by TLS or not.
fn target(server: Option<Arc<ServerConfig>>) -> Authority {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let scheme = if server.is_some() { "https" } else { "http" };
    thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            let server = server.clone();
            thread::spawn(move || match server {
                None => echo(stream),
                Some(server) => {
                    let mut stream = StreamOwned::new(ServerConnection::new(server).expect("a configuration"), stream);
                    echo(&mut stream)?;
                    stream.conn.send_close_notify();
                    stream.flush()
                }
            });
        }
    });
    format!("{scheme}://localhost:{port}").parse().expect("an authority")
}

/// Bodies of all sizes pass through the gateway program, with TLS to the relay, to the target, or both; so does a response
/// until close.
#[test]
fn it_carries_everything() {
    let pki = Pki::new("carries");
    for (relay_leg, target_leg) in [(true, true), (true, false), (false, true)] {
        let scene = pki.relay();
        let relay = match relay_leg {
            true => format!("https://localhost:{}", scene.secure.port()),
            false => format!("http://{}", scene.server.address()),
        };
        let relay = relay_url(&relay).expect("a URL");
        let _program = Program::start(relay, target(target_leg.then(|| Arc::clone(&pki.server))), &pki.trust());
        scene.server.await_parked(2);
        let mut client = scene.connect(true);
        for len in [0, 10, 20_000, 3_000_000] {
            let sent = body(len);
            let mut up = client.split();
            let asked = sent.clone();
            let asking = thread::spawn(move || {
                up.send(format!("POST /d/ HTTP/1.1\r\nHost: relay\r\nContent-Length: {len}\r\n\r\n"));
                up.send(asked);
            });
            assert!(client.head().starts_with("HTTP/1.1 200 OK\r\n"));
            assert!(client.take(len) == sent, "{len} bytes, relay {relay_leg}, target {target_leg}");
            asking.join().expect("it is sent");
        }
        client.send("GET /d/closing HTTP/1.1\r\nHost: relay\r\n\r\n");
        let response = String::from_utf8(client.rest()).expect("text");
        assert!(response.contains("until the end"), "{response}");
    }
}

/// A response until close that a target breaks off by TLS does not reach the client as whole.
#[test]
fn a_cut_response_of_the_target_is_not_whole() {
    let pki = Pki::new("cut");
    let scene = pki.relay();
    let relay = relay_url(&format!("http://{}", scene.server.address())).expect("a URL");
    let _program = Program::start(relay, target(Some(Arc::clone(&pki.server))), &pki.trust());
    scene.server.await_parked(2);
    let mut client = scene.connect(false);
    client.send("GET /d/cut HTTP/1.1\r\nHost: relay\r\n\r\n");
    let (response, reset) = client.until_gone();
    assert!(reset, "{}", show(&response));
}

/// A tunnel goes through the gateway program by TLS, to the end of both ways.
#[test]
fn it_carries_tunnels() {
    let pki = Pki::new("tunnels");
    let scene = pki.relay();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let target = Authority::from(listener.local_addr().expect("an address"));
    let relay = relay_url(&format!("https://localhost:{}", scene.secure.port())).expect("a URL");
    let _program = Program::start(relay, target, &pki.trust());
    scene.server.await_parked(2);
    let mut client = scene.connect(true);
    client.send("CONNECT /d HTTP/1.1\r\nHost: relay\r\n\r\n");
    let mut served = Peer::new(listener.accept().expect("the gateway connects").0);
    assert!(client.head().starts_with("HTTP/1.1 200"));
    let sent = body(1_000_000);
    let mut out = client.split();
    let bytes = sent.clone();
    let sending = thread::spawn(move || out.send(bytes));
    assert!(served.take(sent.len()) == sent);
    sending.join().expect("it is sent");
    served.send("and back");
    client.expect("and back");
    client.finish();
    served.expect_end();
    served.finish();
    client.expect_end();
}

/// Whoever cannot be trusted, or does not speak TLS, is named with what helps.
#[test]
fn it_says_why_it_does_not_connect() {
    let (pki, other) = (Pki::new("named"), Pki::new("unnamed"));
    let scene = pki.relay();
    let ca = |pki: &Pki| pki.folder.join("certificate.pem").to_str().unwrap().to_owned();
    let (right, wrong) = (ca(&pki), ca(&other));
    let (secure, plain) = (scene.secure.port(), scene.server.address().port());
    for (url, ca, words) in [
        (format!("https://localhost:{secure}"), &wrong, "with --ca"),
        (format!("https://127.0.0.1:{secure}"), &right, "another host name"),
        (format!("https://localhost:{plain}"), &right, "does not speak TLS"),
    ] {
        let arguments = ["gateway", "--relay", &url, "--domain", "d", "--target", "127.0.0.1:9", "--ca", ca];
        let mut child = process::ringback(&arguments).spawn().unwrap();
        let said = std::io::BufReader::new(child.stderr.take().unwrap());
        let mut lines = std::io::BufRead::lines(said).map_while(Result::ok);
        let complaint = lines.find(|line| line.contains("WARN")).unwrap_or_default();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(complaint.contains(words), "{url}: {complaint}");
    }
}

/// A relay whose certificate nobody trusted has signed gets no registration.
#[test]
fn it_trusts_only_whom_it_should() {
    let (pki, other) = (Pki::new("trusted"), Pki::new("other"));
    let scene = pki.relay();
    let relay = relay_url(&format!("https://localhost:{}", scene.secure.port())).expect("a URL");
    let _program = Program::start(relay, target(None), &other.trust());
    eventually("it has tried twice", || scene.server.count(|counters| counters.accepted.value()) >= 2);
    assert_eq!(scene.server.count(|counters| counters.registered.value()), 0);
    drop(scene);
    let missing = Trust::Only(vec![pki.folder.join("nowhere.pem")]).establish().unwrap_err().to_string();
    assert!(missing.contains("nowhere.pem"), "{missing}");
}
