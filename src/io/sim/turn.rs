//! What a turn brings: anything possible by now, in any order, as much of it as the dice say.
use super::super::{Armed, End as Ending, Event, Interest, Millis};
use super::conn::{End, Found};
use super::pool::Pool;
use super::state::{Shard, State, Whom, name};

/// Where an event can come from.
#[derive(Clone, Copy)]
enum Source {
    /// An armed operation, by its index.
    Operation(usize),
    /// A listener.
    Accept(usize),
    /// Mail, by sender.
    Mail(usize),
}

/// For how long a low-water mark may keep bytes from being heard, in milliseconds: far longer than it should, for a shard
/// that is busy looks at its timers late.
const UNHEARD_MAX: Millis = 1000;

impl<M> State<M> {
    /// Appends what `shard` is told this turn. True when something was kept back that could have been told.
    pub(super) fn turn(&mut self, shard: usize, pool: &mut Pool, events: &mut Vec<Event<M>>) -> bool {
        self.shards[shard].table.sweep();
        self.check_unserved(shard, pool);
        self.shards[shard].meter.begin_turn();
        self.shards[shard].spent = 0;
        pool.publish();
        let mut sources = self.sources(shard, pool);
        self.shards[shard].turned = self.now;
        let mut kept_back = 0;
        sources.retain(|_| {
            let keep = !self.random.chance(self.tuning.withhold);
            kept_back += usize::from(!keep);
            keep
        });
        let most = events.len() + self.random.between(1, self.tuning.batch_max);
        while !sources.is_empty() && events.len() < most {
            let at = self.random.below(sources.len());
            let source = sources[at];
            events.push(self.tell(shard, source, pool));
            if !self.is_ripe(shard, source, pool) {
                sources.swap_remove(at);
            }
        }
        kept_back + sources.len() > 0
    }

    /// No newcomer may be left alone for long, unless buffers are short or somebody does not take what is meant for him.
    fn check_unserved(&mut self, shard: usize, pool: &Pool) {
        let Shard { meter, table, .. } = &mut self.shards[shard];
        let blocked = table.operations.iter().any(|operation| operation.armed == Armed::Watch(Interest::Writable));
        if blocked || pool.at_hand() == 0 {
            return;
        }
        let conns = &self.conns;
        let waits = |conn: usize| conns[conn].readable(End::Near) && !conns[conn].is_dead(End::Near);
        if let Err(wrong) = meter.age(&self.tuning.budget, waits) {
            self.fault(&format!("shard {shard}: {wrong}"));
        }
    }

    fn sources(&mut self, shard: usize, pool: &Pool) -> Vec<Source> {
        let operations = self.shards[shard].table.operations.len();
        for at in 0..operations {
            let operation = &self.shards[shard].table.operations[at];
            let (conn, receives) = (operation.conn, operation.armed != Armed::Watch(Interest::Writable));
            self.conns[conn].settle(self.now);
            let conn = &mut self.conns[conn];
            let unheard = receives && conn.look(End::Near) != Found::Nothing && !conn.readable(End::Near);
            let since = unheard.then(|| *conn.unheard_since.get_or_insert(self.now));
            if receives {
                conn.unheard_since = since;
            }
            // A shard that had no turn meanwhile could not know.
            if since.is_some_and(|since| since + UNHEARD_MAX < self.shards[shard].turned) {
                self.fault(&format!("shard {shard}: bytes below a low-water mark are not heard since {since:?}"));
            }
        }
        let all = (0..operations)
            .map(Source::Operation)
            .chain((0..self.tuning.listeners).map(Source::Accept))
            .chain((0..self.shards[shard].inbox.len()).map(Source::Mail));
        all.filter(|&source| self.is_ripe(shard, source, pool)).collect()
    }

    fn is_ripe(&self, shard: usize, source: Source, pool: &Pool) -> bool {
        let shard = &self.shards[shard];
        match source {
            Source::Accept(listener) => {
                let listener = &shard.listeners[listener];
                listener.accepting && !listener.backlog.is_empty()
            }
            Source::Mail(from) => shard.inbox[from].front().is_some_and(|first| first.0 <= self.now),
            Source::Operation(at) => {
                let operation = &shard.table.operations[at];
                let conn = &self.conns[operation.conn];
                match operation.armed {
                    _ if operation.ended => false,
                    _ if operation.cancelled => true,
                    _ if operation.not_before > self.now => false,
                    Armed::Watch(Interest::Readable) => {
                        conn.readable(End::Near) || operation.spurious_at.is_some_and(|at| at <= self.now)
                    }
                    Armed::Watch(Interest::Writable) => conn.writable(End::Near),
                    // A stream armed while the ring is empty may end at once, whether or not bytes came.
                    Armed::Stream => {
                        conn.readable(End::Near) || (pool.in_ring() == 0 && operation.not_before == self.now)
                    }
                }
            }
        }
    }

    fn tell(&mut self, shard: usize, source: Source, pool: &mut Pool) -> Event<M> {
        match source {
            Source::Accept(listener) => self.tell_accept(shard, listener),
            Source::Mail(from) => {
                let (_, mail) = self.shards[shard].inbox[from].pop_front().expect("ripe");
                self.note(|| format!("shard {shard}: mail from {from}"));
                Event::Mail(mail)
            }
            Source::Operation(at) => {
                let operation = &mut self.shards[shard].table.operations[at];
                let (key, armed, conn, cancelled) =
                    (operation.key, operation.armed, operation.conn, operation.cancelled);
                operation.ended = armed != Armed::Stream;
                self.shards[shard].meter.told(conn);
                let found = self.conns[conn].look(End::Near);
                // What is behind other bytes may have to wait for those; a newcomer's first do not.
                let first = !self.conns[conn].heard && matches!(found, Found::Bytes(_));
                if armed == Armed::Watch(Interest::Readable) && !cancelled && first {
                    self.shards[shard].meter.must_serve(conn);
                }
                let event = match armed {
                    Armed::Watch(Interest::Readable) => Event::Readable { key },
                    Armed::Watch(Interest::Writable) => Event::Writable { key },
                    Armed::Stream => self.tell_stream(shard, at, pool),
                };
                self.note(|| format!("shard {shard}: {} {}", describe(&event), name(key)));
                event
            }
        }
    }

    fn tell_accept(&mut self, shard: usize, listener: usize) -> Event<M> {
        if self.random.chance(self.tuning.accept_fails) {
            self.shards[shard].listeners[listener].accepting = false;
            self.note(|| format!("shard {shard}: accepting fails"));
            // EMFILE: out of descriptors.
            return Event::AcceptFailed { listener, error: std::io::Error::from_raw_os_error(24) };
        }
        let conn = self.shards[shard].listeners[listener].backlog.pop_front().expect("ripe");
        let socket = self.open(conn);
        self.conns[conn].near = shard;
        self.note(|| format!("shard {shard}: accepted {socket:?}, peer {conn}"));
        Event::Accepted { listener, socket }
    }

    fn tell_stream(&mut self, shard: usize, at: usize, pool: &mut Pool) -> Event<M> {
        let operation = &self.shards[shard].table.operations[at];
        let (key, conn, cancelled) = (operation.key, operation.conn, operation.cancelled);
        let found = self.conns[conn].look(End::Near);
        // A cancel races with what the connection does: either may win.
        let found = if cancelled && self.random.chance(500) { Found::Nothing } else { found };
        let end = match found {
            Found::Bytes(there) if pool.in_ring() > 0 => {
                let most = there.min(pool.size());
                let len = if self.random.chance(self.tuning.partial) { self.random.part(most) } else { most };
                let buf = pool.lend_of_ring(len, |out| self.conns[conn].take(End::Near, out));
                self.wake(Whom::Actor(self.conns[conn].far));
                let more = !self.random.chance(self.tuning.stream_quits);
                self.shards[shard].table.operations[at].ended = !more;
                return Event::Received { key, buf, more };
            }
            Found::Bytes(_) => Ending::NoBuffers,
            Found::Nothing if cancelled => Ending::Cancelled,
            Found::Nothing => Ending::NoBuffers,
            Found::Eof => Ending::Eof,
            Found::Reset => {
                self.conns[conn].tell(End::Near);
                Ending::Failed
            }
        };
        self.shards[shard].table.operations[at].ended = true;
        Event::Ended { key, end }
    }
}

fn describe<M>(event: &Event<M>) -> String {
    match event {
        Event::Readable { .. } => "readable".into(),
        Event::Writable { .. } => "writable".into(),
        Event::Received { buf, more, .. } => {
            format!("received {}{}", buf.len(), if *more { "" } else { ", last" })
        }
        Event::Ended { end, .. } => format!("stream ended: {end:?}"),
        Event::Accepted { .. } | Event::AcceptFailed { .. } | Event::Mail(_) => String::new(),
    }
}
