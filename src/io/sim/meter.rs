//! What each connection is given in a turn, and who is left alone.
//!
//! Seen from outside the shard, so that it holds for whatever the shard is made of.
use super::tuning::Budget;

/// One connection's share of its shard's present turn.
#[derive(Clone, Copy, Default)]
struct Share {
    turn: u64,
    calls: usize,
    bytes: usize,
    /// Events that this turn brought of it.
    events: usize,
}

/// So many calls are accounted for by an event: a receive, and a send of what it brought and of what waited before.
const CALLS_AN_EVENT: usize = 4;

/// One shard's turns.
#[derive(Default)]
pub(super) struct Meter {
    turn: u64,
    calls: usize,
    bytes: usize,
    /// By connection.
    shares: Vec<Share>,
    /// Connections with their first bytes to receive, which the shard was told and has not touched since; and for how
    /// many turns.
    unserved: Vec<(usize, usize)>,
}

impl Meter {
    /// A new turn begins.
    pub(super) fn begin_turn(&mut self) {
        self.turn += 1;
        (self.calls, self.bytes) = (0, 0);
    }

    fn share(&mut self, conn: usize) -> &mut Share {
        if self.shares.len() <= conn {
            self.shares.resize(conn + 1, Share::default());
        }
        let turn = self.turn;
        let share = &mut self.shares[conn];
        if share.turn != turn {
            *share = Share { turn, ..Share::default() };
        }
        share
    }

    /// The turn brings an event of a connection.
    pub(super) fn told(&mut self, conn: usize) {
        self.share(conn).events += 1;
    }

    /// The shard knows that a connection's first bytes are there, and nothing else will tell it.
    pub(super) fn must_serve(&mut self, conn: usize) {
        if self.unserved.iter().all(|&(other, _)| other != conn) {
            self.unserved.push((conn, 0));
        }
    }

    /// The shard has done something with a connection.
    pub(super) fn touched(&mut self, conn: usize) {
        self.unserved.retain(|&(other, _)| other != conn);
    }

    /// One more turn has gone by without it. Says what is wrong with that.
    pub(super) fn age(&mut self, budget: &Budget, waits: impl Fn(usize) -> bool) -> Result<(), String> {
        self.unserved.retain(|&(conn, _)| waits(conn));
        for (conn, turns) in &mut self.unserved {
            *turns += 1;
            if *turns > budget.unserved_turns {
                return Err(format!("peer {conn} has been left alone for {turns} turns, with something to receive"));
            }
        }
        Ok(())
    }

    /// A call that receives, sends or splices. Says what is wrong with one more.
    pub(super) fn called(&mut self, conn: usize, bytes: usize, budget: &Budget) -> Result<(), String> {
        self.calls += 1;
        self.bytes += bytes;
        let (calls, all) = (self.calls, self.bytes);
        let share = self.share(conn);
        share.calls += 1;
        share.bytes += bytes;
        let allowed = budget.connection_calls.saturating_add(share.events * CALLS_AN_EVENT);
        if share.calls > allowed {
            return Err(format!("too much in one turn: {} calls for peer {conn}", share.calls));
        }
        if share.bytes > budget.connection_bytes {
            return Err(format!("too much in one turn: {} bytes for peer {conn}", share.bytes));
        }
        if calls > budget.turn_calls {
            return Err(format!("too much in one turn: {calls} calls"));
        }
        if all > budget.turn_bytes {
            return Err(format!("too much in one turn: {all} bytes"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Budget = Budget { connection_calls: 2, connection_bytes: 100, unserved_turns: 1, ..Budget::NONE };

    /// A turn's share is used up by calls and by bytes, and the next turn brings another.
    #[test]
    fn shares_are_a_turns() {
        let mut meter = Meter::default();
        meter.begin_turn();
        assert!(meter.called(7, 50, &SMALL).is_ok() && meter.called(7, 50, &SMALL).is_ok());
        assert!(meter.called(7, 0, &SMALL).is_err(), "a third call");
        assert!(meter.called(8, 101, &SMALL).is_err(), "too many bytes");
        meter.begin_turn();
        meter.told(7);
        assert!((0..2 + CALLS_AN_EVENT).all(|_| meter.called(7, 1, &SMALL).is_ok()));
        assert!(meter.called(7, 1, &SMALL).is_err(), "more than its event accounts for");
    }

    /// Who is not touched grows old; a touch, or having nothing to wait for, ends that.
    #[test]
    fn who_is_left_alone_grows_old() {
        let mut meter = Meter::default();
        meter.must_serve(1);
        meter.must_serve(2);
        assert!(meter.age(&SMALL, |_| true).is_ok());
        meter.touched(1);
        assert!(meter.age(&SMALL, |conn| conn != 2).is_ok());
        meter.must_serve(1);
        assert!(meter.age(&SMALL, |_| true).is_ok());
        assert!(meter.age(&SMALL, |_| true).is_err());
    }
}
