//! A relay with bystanders that must not notice what happens, and an account of what is left afterwards.
use crate::support::{peers::*, *};
use ringback::relay::{Config, Snapshot};
use std::{
    env, fs,
    io::Read,
    os::fd::OwnedFd,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// Short enough for a test to wait for it, long enough for nobody who means well to run into it.
pub const SOON: Duration = Duration::from_millis(300);

/// Descriptors are counted for the whole process: one test at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// Keeps other tests from counting what this one has open.
pub fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How often each thing happens.
const ROUNDS: usize = 4;

/// Lets something happen several times, with either dialect, while another client is served. Afterwards the relay
/// holds nothing, and the process has as many descriptors as after the first time.
pub fn happens(config: &Config, what: impl Fn(&Server, Dialect)) {
    let _alone = alone();
    for dialect in BOTH {
        let server = Server::start(config.clone());
        let mut descriptors = None;
        for _ in 0..ROUNDS {
            let bystanders = Bystanders::start(&server);
            what(&server, dialect);
            bystanders.end();
            server.await_held(Snapshot::default());
            assert_eq!(server.relay().connections(), 0);
            let (pipes, others) = descriptors_now();
            assert_eq!(*descriptors.get_or_insert(others), others, "descriptors after the first time, and now");
            assert!(pipes <= IDLE_PIPE_ENDS_MAX, "{pipes} pipe ends");
        }
    }
}

/// The relay keeps up to 16 empty pipes for the next bulk transfer; a few more are the test runner's.
const IDLE_PIPE_ENDS_MAX: usize = 2 * 16 + 4;

/// How many descriptors of pipes this process has, and how many others.
fn descriptors_now() -> (usize, usize) {
    let all = fs::read_dir("/proc/self/fd").expect("there is a /proc");
    let targets = all.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    let (pipes, others): (Vec<_>, Vec<_>) = targets.partition(|target| target.to_string_lossy().starts_with("pipe:"));
    (pipes.len(), others.len())
}

/// A client that asks its gateway without pause; not one request may fail.
struct Bystanders {
    over: Arc<AtomicBool>,
    client: JoinHandle<usize>,
    gateway: JoinHandle<()>,
    connection: Peer,
}

impl Bystanders {
    fn start(server: &Server) -> Bystanders {
        let over = Arc::new(AtomicBool::new(false));
        let mut gateway = server.ptth("bystander");
        let connection = gateway.split();
        let gateway = thread::spawn(move || {
            while gateway.try_head().is_ok() {
                gateway.send(ok("still there"));
            }
        });
        let mut client = server.connect();
        let end = Arc::clone(&over);
        let client = thread::spawn(move || {
            let mut served = 0;
            // Once more behind the end of all: the last request comes after everything that happened.
            loop {
                let last = end.load(Relaxed);
                client.send(get("/bystander/") + "\r\n");
                client.expect(ok("still there"));
                served += 1;
                if last {
                    return served;
                }
            }
        });
        Bystanders { over, client, gateway, connection }
    }

    fn end(mut self) {
        self.over.store(true, Relaxed);
        let served = self.client.join().expect("a bystander is served all the time");
        assert!(served > 0);
        self.connection.finish();
        self.gateway.join().expect("a bystander's gateway ends when its connection does");
    }
}

/// How a peer dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// Its process gets a SIGKILL; the kernel closes what it had open.
    Killed,
    /// Its host forgets the connection, and says so.
    Reset,
}

pub const DEATHS: [Death; 2] = [Death::Killed, Death::Reset];

/// A peer on its way to its death.
pub struct Doomed {
    inner: Inner,
}

enum Inner {
    Process(Child),
    Peer(Peer),
}

/// What tells this test binary to be a peer's process.
const HOLD: &str = "RINGBACK_TEST_HOLD";

impl Death {
    /// Puts a peer where it can die: for SIGKILL, its connection becomes that of a process of its own.
    pub fn awaits(self, peer: Peer) -> Doomed {
        if self == Death::Reset {
            return Doomed { inner: Inner::Peer(peer) };
        }
        let socket = peer.stream().try_clone().expect("a descriptor");
        let mut child = Command::new(env::current_exe().expect("a path"))
            .args(["--exact", "scene::hold", "--nocapture"])
            .env(HOLD, "1")
            .stdin(Stdio::from(OwnedFd::from(socket)))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("this test binary runs");
        let mut said = [0; 6];
        child.stderr.take().expect("a pipe").read_exact(&mut said).expect("the process says that it runs");
        assert_eq!(&said, b"holds\n");
        Doomed { inner: Inner::Process(child) }
    }

    /// A peer dies now.
    pub fn takes(self, peer: Peer) {
        self.awaits(peer).dies();
    }
}

impl Doomed {
    pub fn dies(self) {
        match self.inner {
            Inner::Peer(peer) => peer.reset(),
            Inner::Process(mut child) => {
                child.kill().expect("it runs");
                child.wait().expect("it has ended");
            }
        }
    }
}

/// Not a test by itself: a peer's process, which holds its connection as standard input until it is killed.
#[test]
fn hold() {
    if env::var_os(HOLD).is_some() {
        eprintln!("holds");
        loop {
            thread::park();
        }
    }
}
