//! What a step may use besides its connections and its exchange.
use super::{
    config::Config,
    conn::{Conn, Filled, Flags, Inboxes},
    counters::Counters,
    ready::Budget,
    timers::ticks,
};
use crate::{io::Calls, transport::Sessions};
use std::time::Duration;

/// The configured times, in ticks.
pub struct Times {
    pub client_wait: u32,
    pub absent_wait: u32,
    pub domain_grace: u32,
    pub poll_interval: u32,
    pub repost: u32,
    pub head: u32,
    pub response: u32,
    pub client_idle: u32,
    pub session_idle: u32,
    pub tunnel_idle: u32,
    pub linger: u32,
    pub min_rate_after: u32,
    pub drain: u32,
    pub drain_tunnels: u32,
    pub user_timeout: u32,
    pub bulk_delay: u32,
}

impl Times {
    pub fn new(config: &Config) -> Times {
        Times {
            client_wait: ticks(config.client_wait),
            absent_wait: ticks(config.absent_wait.max(config.client_wait)),
            domain_grace: ticks(config.domain_grace),
            poll_interval: ticks(config.classic_poll_interval),
            repost: ticks(config.repost_timeout),
            head: ticks(config.head_timeout),
            response: ticks(config.response_timeout),
            client_idle: ticks(config.client_idle),
            session_idle: ticks(config.session_idle),
            tunnel_idle: ticks(config.tunnel_idle),
            linger: ticks(config.linger),
            min_rate_after: ticks(config.min_rate_after),
            drain: ticks(config.drain),
            drain_tunnels: ticks(config.drain_tunnels),
            user_timeout: ticks(config.tcp_user_timeout),
            bulk_delay: ticks(config.bulk_delay),
        }
    }
}

/// Plain calls, received bytes, the configuration, and the budget of the connection whose turn it is. There are no
/// tables here, so a step cannot free, park or hand off anything.
pub struct Desk<'a, C> {
    pub calls: &'a mut C,
    pub sessions: &'a Sessions,
    pub inboxes: &'a mut Inboxes,
    pub config: &'a Config,
    pub times: &'a Times,
    pub counters: &'a Counters,
    pub budget: &'a mut Budget,
    /// The tick of this turn.
    pub tick: u32,
    /// The shard is draining: connections are not kept for further requests.
    pub ending: bool,
    /// Other clients wait for the gateway at hand.
    pub demand: bool,
}

impl<C: Calls> Desk<'_, C> {
    /// The first unconsumed bytes of a connection.
    #[inline]
    pub fn peek(&self, conn: &Conn) -> &[u8] {
        self.inboxes.peek(&conn.inbox, self.calls)
    }

    /// Drops the first `n` of them.
    #[inline]
    pub fn consume(&mut self, conn: &mut Conn, n: usize) {
        self.inboxes.consume(&mut conn.inbox, n, self.calls);
    }

    /// Receives once into a connection's inbox.
    pub fn fill(&mut self, conn: &mut Conn) -> Filled {
        self.fill_at_most(conn, usize::MAX)
    }

    /// The same, at most `max` bytes.
    pub fn fill_at_most(&mut self, conn: &mut Conn, max: usize) -> Filled {
        let filled = conn.fill(max, self.tick, self.inboxes, self.sessions, self.calls);
        if conn.transport().is_secure() {
            // Opening costs, whatever comes of it.
            self.budget.spend(self.sessions.take_cost());
        }
        match filled {
            // Bytes count when they are sent.
            Filled::Bytes(_) => self.budget.spend(0),
            Filled::NoBuffer => self.counters.starved.bump(),
            Filled::Nothing | Filled::Ended => {}
        }
        filled
    }

    /// Receives once from a gateway that should be silent. Without a buffer it can only be asked whether there is anything;
    /// if so, it counts as failed, since its next response would not be known from what it has sent before.
    pub fn check(&mut self, gateway: &mut Conn) {
        if self.fill(gateway) == Filled::NoBuffer {
            let silent = gateway.transport().is_silent(self.calls, self.sessions);
            gateway.flags.remove(Flags::STARVED | Flags::READABLE);
            gateway.flags.set(Flags::FAILED, !silent);
        }
    }

    /// Leaves a peer whose window is closed to our own timeouts: with its own limit the kernel counts the time for which
    /// nothing is acknowledged, closed window or not. Without, it takes about 15 minutes (`tcp_retries2`) to give up peers
    /// that do not even acknowledge its probes; in a tunnel, [`Calls::unanswered`] tells earlier.
    pub fn be_patient(&mut self, conn: &mut Conn) {
        if !conn.is(Flags::PATIENT) {
            conn.flags.insert(Flags::PATIENT);
            conn.transport().set_patience(self.calls, Duration::ZERO);
        }
    }
}
