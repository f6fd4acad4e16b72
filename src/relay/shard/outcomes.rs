//! Outcomes are applied: the one place where a step's result changes anything that belongs to others.
use super::Shard;
use crate::{
    http::{Method, Refusal},
    io::{Calls, Engine, Received},
    relay::{
        conn::{Client, Flags, Gateway, NONE, Role},
        exchange::{After, ExchangeId, Outcome, Phase},
        message::Message,
        ready::{Budget, Lane},
        timers::earlier,
    },
};

impl<E: Engine<Mail = Message>> Shard<E> {
    pub(super) fn apply(&mut self, slot: u32, id: ExchangeId, outcome: Outcome, budget: &mut Budget) -> bool {
        match outcome {
            Outcome::Pending => return false,
            Outcome::Doubtful => {
                self.tables.doubt_client(id);
                return false;
            }
            Outcome::Slow => return self.slow(slot, id, budget),
            Outcome::Spent => {
                self.tables.enqueue(slot, Lane::Bulk);
                return false;
            }
            Outcome::Done(next) => self.done(slot, id, next, budget),
            Outcome::Refuse(refusal) => {
                let head_only = self.tables.exchanges[id].method == Method::Head;
                self.tables.answer(slot, refusal, false, head_only, budget);
            }
            Outcome::Retry => self.tables.retry(id, budget),
            Outcome::Abort => self.tables.abort(id, true),
            Outcome::Over => {
                self.tables.end_exchange(id);
                // What the client still sends must not turn its own end into a reset.
                self.tables.linger(slot);
            }
        }
        true
    }

    /// A slow client gives up its gateway if others wait for it. Whether the client may go on with another request.
    fn slow(&mut self, slot: u32, id: ExchangeId, budget: &mut Budget) -> bool {
        let tables = &mut self.tables;
        let x = &tables.exchanges[id];
        let refused = x.phase == Phase::Asked && x.down.is_flushed();
        let idle_at = x.idle_at;
        if let Err(again_in) = tables.must_yield(tables.conns[x.gateway].domain) {
            tables.conns[slot].deadline = earlier(idle_at, tables.in_ticks(again_in));
            tables.doubt_client(id);
            return false;
        }
        tables.counters.too_slow.bump();
        match refused {
            true => tables.answer(slot, Refusal::RequestTooSlow, false, false, budget),
            false => tables.abort(id, true),
        }
        true
    }

    /// Applies the end of a response that was passed on completely.
    fn done(&mut self, client: u32, id: ExchangeId, next: After, budget: &mut Budget) {
        let tables = &mut self.tables;
        let gateway = tables.exchanges[id].gateway;
        let Some(dialect) = tables.conns[gateway].dialect() else { return tables.abort(id, true) };
        tables.rouse(gateway);
        let traits = dialect.traits();
        let After { keep_client, keep_gateway, unsure } = next;
        let keep_gateway = keep_gateway && !tables.registered.is_revoked(gateway, tables.conns[gateway].generation);
        let wanted = tables.park.has_waiting(tables.conns[gateway].domain);
        if traits.rests && keep_gateway && keep_client && !unsure && !wanted {
            self.rest(client, id);
            return;
        }
        if keep_gateway && traits.reused && !tables.is_ending() {
            tables.exchanges[id].gateway = NONE;
            tables.conns[gateway].exchange = ExchangeId::NONE;
            match unsure {
                true => {
                    tables.conns[gateway].role = Role::Gateway(dialect, Gateway::Quarantined);
                    tables.rearm(gateway);
                }
                false => tables.release_gateway(gateway, dialect, budget),
            }
        }
        tables.end_exchange(id);
        match keep_client {
            true => self.next_request(client),
            false => self.part_from(client),
        }
    }

    /// Lets a gateway rest with its client between two of that client's requests.
    fn rest(&mut self, client: u32, id: ExchangeId) {
        let tables = &mut self.tables;
        let gateway = tables.exchanges[id].gateway;
        tables.doubt(gateway);
        let x = &mut tables.exchanges[id];
        for flow in [&mut x.up, &mut x.down] {
            flow.return_pipe(tables.engine.calls());
        }
        x.reset(&mut tables.inboxes.account);
        x.gateway = gateway;
        x.phase = Phase::Resting;
        self.next_request(client);
    }

    /// A client may send its next request, which may have arrived already.
    pub(super) fn next_request(&mut self, client: u32) {
        let deadline = self.tables.in_ticks(self.tables.times.client_idle);
        let conn = &mut self.tables.conns[client];
        conn.role = Role::Client(Client::Idle);
        conn.tries = 0;
        conn.deadline = deadline;
    }

    /// Ends a client that has had its last response. One that asked for that and has sent nothing since needs no
    /// lingering: there are no bytes of its own that could cause a reset.
    fn part_from(&mut self, client: u32) {
        let tables = &mut self.tables;
        let conn = &mut tables.conns[client];
        if conn.is(Flags::LAST) && conn.inbox.is_empty() && !conn.is_armed() {
            match conn.transport().receive(tables.engine.calls(), &tables.sessions, usize::MAX) {
                Received::Nothing | Received::Eof | Received::Failed => return tables.close(client),
                Received::Bytes(buf) => tables.engine.calls().release(buf),
                Received::NoBuffers => {}
            }
        }
        tables.linger(client);
    }
}
