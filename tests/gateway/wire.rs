//! Both ends that a gateway has, driven by hand: a relay and a target that say and expect raw bytes.
use std::{future::Future, time::Duration};

use ringback::gateway::{self, Authority, Backoff, Config};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// Ends a test that would hang. No test depends on how long anything takes.
const HANG: Duration = Duration::from_secs(20);

pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(HANG, future).await.unwrap_or_else(|_| panic!("hangs: {what}"))
}

/// A listener on a free port.
pub struct Host(TcpListener);

impl Host {
    pub async fn start() -> Host {
        Host(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    pub fn authority(&self) -> Authority {
        self.0.local_addr().unwrap().into()
    }

    pub async fn accept(&self) -> Wire {
        Wire(soon("accept", self.0.accept()).await.unwrap().0)
    }

    /// Accepts a gateway and registers it as `ptth`.
    pub async fn register(&self) -> Wire {
        let mut wire = self.accept().await;
        wire.head().await;
        wire.say(ACCEPTED).await;
        wire
    }

    /// Whether nobody has connected although every task had its turns, and the event loop, too.
    pub async fn is_lonely(&self) -> bool {
        let turns = async {
            for _ in 0..500 {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            biased;
            _ = self.0.accept() => false,
            () = turns => true,
        }
    }
}

pub const ACCEPTED: &str =
    "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: ptth\r\nALPN: http%2F1.1\r\n\r\n";
pub const CLASSIC_101: &str = "HTTP/1.1 101 \r\nUpgrade: PTTH/1.0\r\nConnection: Upgrade\r\n\r\n";
pub const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
pub const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// One connection.
pub struct Wire(TcpStream);

impl Wire {
    pub async fn connect(to: &Authority) -> Wire {
        Wire(TcpStream::connect((to.host.as_str(), to.port)).await.unwrap())
    }

    pub async fn say(&mut self, bytes: impl AsRef<[u8]>) {
        soon("say", self.0.write_all(bytes.as_ref())).await.unwrap();
    }

    /// The next bytes must be these.
    pub async fn expect(&mut self, bytes: impl AsRef<[u8]>) {
        let mut read = Vec::new();
        let mut source = (&mut self.0).take(bytes.as_ref().len() as u64);
        soon("expect", source.read_to_end(&mut read)).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&read), String::from_utf8_lossy(bytes.as_ref()));
    }

    /// Everything up to and including a blank line.
    pub async fn head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(soon("head", self.0.read_u8()).await.unwrap());
        }
        String::from_utf8(head).unwrap()
    }

    /// The peer sends no more; a reset counts.
    pub async fn end(&mut self) {
        if let Ok(read) = soon("end", self.0.read(&mut [0; 1])).await {
            assert_eq!(read, 0, "bytes instead of the end");
        }
    }

    /// Says as much as the kernel takes: the peer's reader has stopped, or all of it was said.
    pub async fn say_until_it_sticks(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        // A pause of the peer's that is taken for the end only makes a test weaker.
        while let Ok(written) = tokio::time::timeout(Duration::from_millis(100), self.0.write(rest)).await {
            match written.unwrap() {
                0 => return,
                written => rest = &rest[written..],
            }
        }
    }

    /// Ready when the peer is gone, whatever it had said: nothing is read.
    pub async fn gone(&mut self) {
        let gone = async {
            while self.0.write(b"x").await.is_ok() {
                tokio::task::yield_now().await;
            }
        };
        soon("gone", gone).await;
    }

    /// Says this until the peer is gone.
    pub async fn gone_while_saying(&mut self, bytes: &[u8]) {
        soon("gone", self.0.write_all(bytes)).await.unwrap_err();
    }

    /// The peer resets the connection behind what it has sent.
    pub async fn reset_by_peer(&mut self) {
        let error = soon("reset", self.0.read(&mut [0; 1])).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    }

    /// Closes with a reset.
    pub fn reset(self) {
        socket2::SockRef::from(&self.0).set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// Half-closes.
    pub async fn finish(&mut self) {
        self.0.shutdown().await.unwrap();
    }
}

/// A gateway that is running; stopped when dropped.
pub struct Gateway(JoinHandle<Result<(), gateway::Error>>);

impl Gateway {
    pub fn start(config: Config) -> Gateway {
        Gateway(tokio::spawn(gateway::run(config, std::future::pending())))
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// One `ptth` connection at most, waits of a few milliseconds.
pub fn config(relay: &Host, target: &Host) -> Config {
    Config {
        connections: 1,
        max_connections: 1,
        backoff: Backoff { first: Duration::from_millis(1), most: Duration::from_millis(5) },
        ..Config::new(relay.authority(), "my-domain".into(), target.authority())
    }
}

/// A relay, a target, and a gateway's one registered connection between them.
pub async fn joined() -> (Wire, Host, Host, Gateway) {
    joined_with(|config| config).await
}

/// The same with another configuration.
pub async fn joined_with(change: impl FnOnce(Config) -> Config) -> (Wire, Host, Host, Gateway) {
    let (relay, target) = (Host::start().await, Host::start().await);
    let gateway = Gateway::start(change(config(&relay, &target)));
    let wire = relay.register().await;
    (wire, target, relay, gateway)
}
