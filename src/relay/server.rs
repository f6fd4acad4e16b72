//! A relay's threads: started, asked, stopped.
use super::{
    config::{Config, Invalid},
    counters::Counters,
    letter::{Letter, Snapshot},
    shard::{Shard, Shared},
};
use crate::io::{
    listen::{TcpOptions, in_use, lacks_congestion_control, listen},
    mail::{Inbox, Post, post_office},
    probe,
    uring::{Mode, Sizes, Uring},
};
use std::{
    io,
    net::SocketAddr,
    os::fd::OwnedFd,
    sync::{Arc, Mutex, mpsc},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// Why a relay did not start. The message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An option's value cannot work.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// Somebody else has the address, or it is not ours.
    #[error("cannot listen on {0}: {1}; {advice}", advice = listen_advice(.1))]
    Listen(SocketAddr, io::Error),
    /// The kernel does not have that congestion control.
    #[error("cannot use --congestion-control {0}: {1}; this kernel has loaded {2}, and `modprobe tcp_{0}` may load it")]
    CongestionControl(String, io::Error, String),
    /// The CPU does not exist or may not be used.
    #[error("cannot run a shard on CPU {0}: {1}; usable CPUs are {usable}", usable = probe::list(&probe::available_cpus()))]
    Pin(usize, io::Error),
    /// No ring, or no memory for its buffers.
    #[error("cannot set up io_uring on CPU {0}: {1}; `ringback check` says what this machine lacks")]
    Ring(usize, io::Error),
    /// No thread, no eventfd.
    #[error("cannot start a shard: {0}; raise `ulimit -u` or `ulimit -n`")]
    Thread(io::Error),
}

fn listen_advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "another program listens there: stop it or give another --listen port",
        io::ErrorKind::PermissionDenied => "ports below 1024 need CAP_NET_BIND_SERVICE: give it, or a higher port",
        io::ErrorKind::AddrNotAvailable => "this machine does not have that address: see `ip address`",
        _ => "give another --listen address",
    }
}

/// A running relay.
pub struct Relay {
    addresses: Vec<SocketAddr>,
    post: Post<Letter>,
    counters: Vec<Arc<Counters>>,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<io::Result<()>>>,
    mode: Mode,
    /// Closed when the last shard has ended.
    ended: Mutex<mpsc::Receiver<()>>,
}

impl Relay {
    /// Binds, starts the shards' threads and returns once all of them serve.
    ///
    /// # Errors
    /// See [`StartError`]; nothing is left running.
    pub fn start(config: Config) -> Result<Relay, StartError> {
        config.validate()?;
        let (addresses, listeners) = bind(&config)?;
        let shards = config.cores.len();
        let config = Arc::new(config);
        let shared = Arc::new(Shared::new(shards));
        let inboxes = post_office(shards).map_err(StartError::Thread)?;
        let post = inboxes[0].post.clone();
        let counters: Vec<_> = (0..shards).map(|_| Arc::new(Counters::default())).collect();
        let epoch = Instant::now();
        let (ready, started) = mpsc::channel();
        let (alive, ended) = mpsc::channel();
        let mut threads = Vec::new();
        for (number, (inbox, listeners)) in inboxes.into_iter().zip(listeners).enumerate() {
            let seat = Seat {
                config: Arc::clone(&config),
                number,
                listeners,
                inbox,
                shared: Arc::clone(&shared),
                counters: Arc::clone(&counters[number]),
                epoch,
                _alive: alive.clone(),
            };
            let ready = ready.clone();
            let thread = thread::Builder::new().name(format!("shard-{number}"));
            threads.push(thread.spawn(move || seat.run(&ready)).map_err(StartError::Thread)?);
        }
        drop((ready, alive));
        let mut relay =
            Relay { addresses, post, counters, shared, threads, mode: Mode::DeferTaskrun, ended: Mutex::new(ended) };
        for _ in 0..shards {
            match started.recv() {
                Ok(Ok(mode)) => relay.mode = mode,
                Ok(Err(error)) => {
                    relay.stop();
                    let _ = relay.join();
                    return Err(error);
                }
                Err(_) => return Err(StartError::Thread(io::ErrorKind::BrokenPipe.into())),
            }
        }
        Ok(relay)
    }

    /// Where it listens, with the ports it got for port 0.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Which ring flags the kernel took.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Each shard's counters.
    pub fn counters(&self) -> &[Arc<Counters>] {
        &self.counters
    }

    /// Connections of all shards now.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// What each shard holds, as it says itself. A shard that has ended says nothing.
    pub fn snapshots(&self) -> Vec<Snapshot> {
        let ask = |shard| {
            let (to, from) = mpsc::channel();
            self.post.send(shard, Letter::Report(to));
            from
        };
        let answers: Vec<_> = (0..self.counters.len()).map(ask).collect();
        answers.into_iter().filter_map(|answer| answer.recv().ok()).collect()
    }

    /// Stops accepting, releases parked gateways, and lets sessions finish.
    pub fn drain(&self) {
        self.tell_all(|| Letter::Drain);
    }

    /// Stops at once.
    pub fn stop(&self) {
        self.tell_all(|| Letter::Stop);
    }

    fn tell_all(&self, letter: impl Fn() -> Letter) {
        for shard in 0..self.counters.len() {
            self.post.send(shard, letter());
        }
    }

    /// Waits until all shards have ended.
    pub fn wait(&self) {
        let _ = self.ended.lock().map(|ended| ended.recv());
    }

    /// Waits for the shards to end.
    ///
    /// # Errors
    /// A ring failed, or a shard panicked.
    pub fn join(&mut self) -> io::Result<()> {
        let mut outcome = Ok(());
        for thread in self.threads.drain(..) {
            let ended = thread.join().unwrap_or_else(|_| Err(io::Error::other("a shard panicked")));
            outcome = outcome.and(ended);
        }
        outcome
    }
}

/// Whether somebody else has the address. A relay that was killed leaves its listeners to the kernel, which closes
/// them a moment later than the process is gone: that much patience saves a supervisor a failed restart.
fn still_in_use(address: SocketAddr) -> Option<io::Error> {
    let give_up = Instant::now() + Duration::from_secs(1);
    loop {
        let error = in_use(address)?;
        if error.kind() != io::ErrorKind::AddrInUse || Instant::now() > give_up {
            return Some(error);
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// Listeners of each shard, and the addresses they share.
fn bind(config: &Config) -> Result<(Vec<SocketAddr>, Vec<Vec<OwnedFd>>), StartError> {
    let congestion_control = config.congestion_control.as_deref();
    if let Some(name) = congestion_control
        && let Some((error, loaded)) = lacks_congestion_control(name)
    {
        return Err(StartError::CongestionControl(name.to_owned(), error, loaded));
    }
    let options = TcpOptions {
        keepalive: config.tcp_keepalive,
        user_timeout: config.tcp_user_timeout,
        backlog: config.backlog,
        congestion_control,
    };
    let mut addresses = Vec::new();
    let mut listeners: Vec<Vec<OwnedFd>> = config.cores.iter().map(|_| Vec::new()).collect();
    for &wanted in &config.listen {
        if let Some(error) = still_in_use(wanted) {
            return Err(StartError::Listen(wanted, error));
        }
        let mut address = wanted;
        for shard in &mut listeners {
            let (socket, bound) = listen(address, &options).map_err(|error| StartError::Listen(address, error))?;
            address = bound;
            shard.push(socket);
        }
        addresses.push(address);
    }
    Ok((addresses, listeners))
}

/// What a shard's thread begins with.
struct Seat {
    config: Arc<Config>,
    number: usize,
    listeners: Vec<OwnedFd>,
    inbox: Inbox<Letter>,
    shared: Arc<Shared>,
    counters: Arc<Counters>,
    epoch: Instant,
    /// Dropped when the thread ends, however it does.
    _alive: mpsc::Sender<()>,
}

impl Seat {
    fn run(self, ready: &mpsc::Sender<Result<Mode, StartError>>) -> io::Result<()> {
        let cpu = self.config.cores[self.number];
        if let Err(error) = probe::pin(cpu) {
            let _ = ready.send(Err(StartError::Pin(cpu, error)));
            return Ok(());
        }
        let sizes =
            Sizes { buffers: self.config.buffers, buffer_size: self.config.buffer_size, pipes: self.config.pipes };
        let listeners = self.listeners.len();
        let uring = match Uring::new(sizes, self.listeners, self.inbox, self.epoch) {
            Ok(uring) => uring,
            Err(error) => {
                let _ = ready.send(Err(StartError::Ring(cpu, error)));
                return Ok(());
            }
        };
        let mode = uring.mode();
        let mut shard = Shard::new(uring, self.config, self.number, listeners, self.shared, self.counters);
        let _ = ready.send(Ok(mode));
        while shard.turn()? {}
        Ok(())
    }
}
