//! A relay's threads: starting, asking and stopping them.
use super::{
    access::Rules,
    config::{Config, Invalid},
    counters::Counters,
    denials::Denial,
    message::{Message, Snapshot},
    shard::{Shard, Shared},
    timers,
};
use crate::io::{
    listen::{TcpOptions, in_use, lacks_congestion_control, listen},
    mailbox::{Mailbox, Mailboxes, mailboxes},
    probe,
    uring::{Mode, Sizes, Uring},
};
use crate::transport::{Acceptor, certificates::Unusable};
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
    /// A certificate or its key.
    #[error(transparent)]
    Tls(#[from] Unusable),
    /// The address is in use, or not one of this machine's.
    #[error("cannot listen on {0}: {1}; {advice}", advice = listen_advice(.1))]
    Listen(SocketAddr, io::Error),
    /// The kernel does not have that congestion control.
    #[error("cannot use --congestion-control {0}: {1}; this kernel has loaded {2}, and `modprobe tcp_{0}` may load it")]
    CongestionControl(String, io::Error, String),
    /// The CPU does not exist or may not be used.
    #[error("cannot run a shard on CPU {0}: {1}; usable CPUs are {usable}", usable = probe::list(&probe::available_cpus()))]
    Pin(usize, io::Error),
    /// No ring, or no memory for its buffers.
    #[error("cannot set up io_uring on CPU {0}: {1}; {advice}", advice = probe::setup_advice(.1))]
    Ring(usize, io::Error),
    /// The kernel cannot wait for several events.
    #[error("cannot use --batch-wait: {0}; leave it out")]
    BatchWait(io::Error),
    /// No thread, no eventfd.
    #[error("cannot start a shard: {0}; raise `ulimit -u` or `ulimit -n`")]
    Thread(io::Error),
}

/// Why a relay that was running has ended. The message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The kernel refused the ring its next turn.
    #[error("the io_uring of shard {0} failed: {1}; all shards have stopped, start the relay again")]
    Ring(usize, io::Error),
    /// A shard's thread panicked.
    #[error("shard {0} panicked; all shards have stopped, start the relay again")]
    Panicked(usize),
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
    mailboxes: Mailboxes<Message>,
    counters: Vec<Arc<Counters>>,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<io::Result<()>>>,
    mode: Mode,
    epoch: Instant,
    /// Notices of shards that have ended; closed when the last one has.
    ended: Mutex<mpsc::Receiver<Ended>>,
}

impl Relay {
    /// Binds, starts the shards' threads and returns once all of them serve.
    ///
    /// # Errors
    /// See [`StartError`]; nothing is left running.
    pub fn start(config: Config) -> Result<Relay, StartError> {
        config.validate()?;
        let acceptor = config.certificates.as_ref().map(Acceptor::new).transpose()?;
        let (addresses, listeners) = bind(&config)?;
        let shards = config.cores.len();
        let config = Arc::new(config);
        let epoch = Instant::now();
        let shared = Arc::new(Shared::new(&config, shards, timers::tick(0)).with_acceptor(acceptor));
        let boxes = mailboxes(shards).map_err(StartError::Thread)?;
        let counters: Vec<_> = (0..shards).map(|_| Arc::new(Counters::default())).collect();
        let (ready, started) = mpsc::channel();
        let (alive, ended) = mpsc::channel();
        let mut relay = Relay {
            addresses,
            mailboxes: boxes[0].all.clone(),
            counters: counters.clone(),
            shared: Arc::clone(&shared),
            threads: Vec::new(),
            mode: Mode::DeferTaskrun,
            epoch,
            ended: Mutex::new(ended),
        };
        for (number, (mailbox, listeners)) in boxes.into_iter().zip(listeners).enumerate() {
            let seat = Seat {
                config: Arc::clone(&config),
                number,
                listeners,
                mailbox,
                shared: Arc::clone(&shared),
                counters: Arc::clone(&counters[number]),
                epoch,
                alive: Alive { failed: true, ended: alive.clone() },
            };
            let ready = ready.clone();
            let thread = thread::Builder::new().name(format!("shard-{number}"));
            match thread.spawn(move || seat.run(ready)) {
                Ok(thread) => relay.threads.push(thread),
                Err(error) => return Err(relay.give_up(number, StartError::Thread(error))),
            }
        }
        drop((ready, alive));
        for _ in 0..shards {
            match started.recv() {
                Ok(Ok(mode)) => relay.mode = mode,
                Ok(Err(error)) => return Err(relay.give_up(shards, error)),
                Err(_) => return Err(relay.give_up(shards, StartError::Thread(io::ErrorKind::BrokenPipe.into()))),
            }
        }
        Ok(relay)
    }

    /// Ends the first `shards` shards of a relay that cannot start as a whole.
    fn give_up(mut self, shards: usize, error: StartError) -> StartError {
        // The others will never say that they have heard of the end.
        let missing = self.counters.len() - shards;
        self.shared.ending.close(missing);
        self.stop();
        let _ = self.join();
        error
    }

    /// Where it listens, with the ports it got for port 0: in the order of [`Config::listeners`].
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// How long it has been running.
    pub fn uptime(&self) -> Duration {
        self.epoch.elapsed()
    }

    /// The ring flags that the kernel accepted.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The counters of each shard.
    pub fn counters(&self) -> &[Arc<Counters>] {
        &self.counters
    }

    /// Connections of all shards now.
    pub fn connections(&self) -> usize {
        self.shared.admission.connections()
    }

    /// What each shard holds, by its own report; `None` for one that has ended.
    pub fn snapshots(&self) -> Vec<Option<Snapshot>> {
        let ask = |shard| {
            let (to, from) = mpsc::channel();
            self.mailboxes.send(shard, Message::Report(to)).ok().map(|()| from)
        };
        let answers: Vec<_> = (0..self.counters.len()).map(ask).collect();
        answers.into_iter().map(|answer| answer?.recv().ok()).collect()
    }

    /// Reads the certificates again. Connections that there are go on with the old ones.
    ///
    /// # Errors
    /// The new ones cannot be used; the old ones stay.
    pub fn reload_certificates(&self) -> Result<(), Unusable> {
        match self.shared.acceptor() {
            Some(acceptor) => acceptor.reload(),
            None => Ok(()),
        }
    }

    /// These rules count from now on. Gateways that may not serve by them are closed, those with a client behind it.
    pub fn set_rules(&self, rules: &Arc<Rules>) {
        self.tell_all(|| Message::Rules(Arc::clone(rules)));
    }

    /// Who was kept out since this was last asked: those that are remembered, and how many there were besides.
    pub fn take_denials(&self) -> (Vec<Denial>, u64) {
        self.shared.denials.take()
    }

    /// Stops accepting, closes parked gateways, and lets exchanges in progress finish.
    pub fn drain(&self) {
        self.tell_all(|| Message::Drain);
    }

    /// Stops at once.
    pub fn stop(&self) {
        self.tell_all(|| Message::Stop);
    }

    fn tell_all(&self, message: impl Fn() -> Message) {
        for shard in 0..self.counters.len() {
            // One that has ended need not be told.
            let _ = self.mailboxes.send(shard, message());
        }
    }

    /// Waits until all shards have ended, in order, or until one has failed: then nothing of the relay can be relied
    /// on, and the process should end.
    pub fn wait(&self) {
        let Ok(ended) = self.ended.lock() else { return };
        while let Ok(Ended { failed }) = ended.recv() {
            if failed {
                return;
            }
        }
    }

    /// Waits for the shards to end. If one has failed, its error is returned without waiting for the others.
    ///
    /// # Errors
    /// A ring failed, or a shard panicked.
    pub fn join(&mut self) -> Result<(), Failure> {
        self.wait();
        let threads: Vec<_> = self.threads.drain(..).collect();
        let mut running = Vec::new();
        for (number, thread) in threads.into_iter().enumerate() {
            if !thread.is_finished() {
                running.push((number, thread));
                continue;
            }
            outcome(number, thread)?;
        }
        for (number, thread) in running {
            outcome(number, thread)?;
        }
        Ok(())
    }
}

fn outcome(number: usize, thread: JoinHandle<io::Result<()>>) -> Result<(), Failure> {
    match thread.join() {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(Failure::Ring(number, error)),
        Err(_) => Err(Failure::Panicked(number)),
    }
}

/// Whether the address is in use. When a relay was killed, the kernel closes its listeners a moment after the process
/// is gone; waiting for that saves a supervisor a failed restart.
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
    for wanted in config.listeners() {
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

/// Notice that a shard's thread has ended.
struct Ended {
    failed: bool,
}

/// Sends that notice when a shard's thread ends, in whatever way.
struct Alive {
    /// Unless it ends in order.
    failed: bool,
    ended: mpsc::Sender<Ended>,
}

impl Drop for Alive {
    fn drop(&mut self) {
        let _ = self.ended.send(Ended { failed: self.failed });
    }
}

/// Everything that a shard's thread starts with.
struct Seat {
    config: Arc<Config>,
    number: usize,
    listeners: Vec<OwnedFd>,
    mailbox: Mailbox<Message>,
    shared: Arc<Shared>,
    counters: Arc<Counters>,
    epoch: Instant,
    alive: Alive,
}

impl Seat {
    fn run(self, ready: mpsc::Sender<Result<Mode, StartError>>) -> io::Result<()> {
        let Seat { config, number, listeners, mailbox, shared, counters, epoch, mut alive } = self;
        let cpu = config.cores[number];
        let sizes = Sizes { buffers: config.buffers, buffer_size: config.buffer_size, pipes: config.pipes };
        let count = listeners.len();
        let engine = probe::pin(cpu)
            .map_err(|error| StartError::Pin(cpu, error))
            .and_then(|()| Uring::new(sizes, listeners, mailbox, epoch).map_err(|error| StartError::Ring(cpu, error)))
            .and_then(|mut uring| {
                let waits = uring.wait_for_company(config.batch_wait.as_micros() as u32);
                waits.map(|()| uring).map_err(StartError::BatchWait)
            });
        let mut uring = match engine {
            Ok(uring) => uring,
            Err(error) => {
                // This one hears of no end; the others must not wait for it.
                shared.ending.close(1);
                alive.failed = false;
                let _ = ready.send(Err(error));
                return Ok(());
            }
        };
        let mode = uring.mode();
        if config.max_accepts_per_second != 0 {
            uring.accept_one_by_one();
        }
        let mut shard = Shard::new(uring, config, number, count, shared, counters);
        let _ = ready.send(Ok(mode));
        // While it is held, nobody learns that another shard will never say that it is ready.
        drop(ready);
        while shard.turn()? {}
        alive.failed = false;
        Ok(())
    }
}
