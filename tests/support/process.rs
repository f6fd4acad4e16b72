//! The relay as a process of its own.
use super::{Peer, eventually};
use std::{
    fs,
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
};

/// A program of this crate with these arguments, and nothing from the environment that it listens to.
pub fn ringback(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringback"));
    command.args(args).env_remove("RUST_LOG").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A running `ringback relay`, killed when the test is over.
pub struct Process {
    child: Child,
    address: SocketAddr,
    said: BufReader<ChildStdout>,
    complaints: Arc<Mutex<String>>,
    listening: Option<JoinHandle<()>>,
}

impl Process {
    /// Starts a relay on a free port and one core, with more arguments.
    pub fn relay(args: &[&str]) -> Process {
        Process::start("127.0.0.1:0", args)
    }

    /// Starts a relay that listens there.
    pub fn at(address: &str) -> Process {
        Process::start(address, &[])
    }

    fn start(address: &str, args: &[&str]) -> Process {
        let all = [&["relay", "--listen", address, "--cores", "1"], args].concat();
        Process::become_of(ringback(&all))
    }

    /// Starts a relay by a command that becomes one, perhaps after other lines.
    pub fn become_of(mut command: Command) -> Process {
        let mut child = command.spawn().expect("the program starts");
        let complaints = Arc::new(Mutex::new(String::new()));
        let listening = child.stderr.take().map(|stderr| listen(stderr, Arc::clone(&complaints)));
        let mut said = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut line = String::new();
        while !line.contains(" listens on ") {
            line.clear();
            if said.read_line(&mut line).expect("the relay says something") == 0 {
                break;
            }
        }
        let address = line.trim().rsplit(' ').next().and_then(|address| address.parse().ok());
        let Some(address) = address else {
            let _ = child.wait();
            let _ = listening.map(JoinHandle::join);
            panic!("no address in {line:?}; it complains: {}", complaints.lock().unwrap());
        };
        Process { child, address, said, complaints, listening }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn connect(&self) -> Peer {
        Peer::connect(self.address)
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, signal).expect("it runs");
    }

    /// Waits until it has said this on its standard error.
    pub fn await_complaint(&self, words: &str) {
        eventually(words, || self.complaints.lock().unwrap().contains(words));
    }

    /// What it has said on its standard error so far.
    pub fn complaints(&self) -> String {
        self.complaints.lock().unwrap().clone()
    }

    /// Waits until it has ended: how, and what it has said and complained.
    pub fn ends(mut self) -> (ExitStatus, String, String) {
        let mut said = String::new();
        // The end of its output is its end.
        self.said.read_to_string(&mut said).expect("text");
        if let Some(listening) = self.listening.take() {
            listening.join().unwrap();
        }
        let status = self.child.wait().expect("it was started");
        let complaints = self.complaints.lock().unwrap().clone();
        (status, said, complaints)
    }

    /// Whether it is still there.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().expect("it was started").is_none()
    }

    /// What the kernel says of it under this name, in /proc/PID/status.
    pub fn status(&self, name: &str) -> String {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap_or_default().trim().to_owned()
    }

    /// Bytes of memory it has in use.
    pub fn resident(&self) -> usize {
        let statm = fs::read_to_string(format!("/proc/{}/statm", self.child.id())).expect("it runs");
        let pages: usize = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("a number");
        pages * rustix::param::page_size()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("the relay complained: {}", self.complaints.lock().unwrap());
        }
    }
}

fn listen(mut stderr: ChildStderr, complaints: Arc<Mutex<String>>) -> JoinHandle<()> {
    thread::spawn(move || {
        let mut bytes = [0; 1024];
        while let Ok(n @ 1..) = stderr.read(&mut bytes) {
            complaints.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..n]));
        }
    })
}

/// Ends the whole test binary should a test without a relay of its own process hang.
pub struct Watchdog {
    _over: std::sync::mpsc::Sender<()>,
}

impl Watchdog {
    pub fn watch() -> Watchdog {
        let (over, ended) = std::sync::mpsc::channel::<()>();
        let name = thread::current().name().unwrap_or("a test").to_string();
        thread::spawn(move || {
            if ended.recv_timeout(super::WATCHDOG) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                eprintln!("{name} hangs");
                std::process::abort();
            }
        });
        Watchdog { _over: over }
    }
}
