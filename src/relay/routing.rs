//! Routing of requests, as a pure function of what is known about a domain.
use super::directory::{ShardSet, members};

/// What is known about a domain when a request for it arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// What this shard has of its gateways.
    pub here: Here,
    /// Other shards that have, or recently had, gateways of it.
    pub elsewhere: ShardSet,
    /// The client has been handed off for this request already.
    pub moved: bool,
    /// The relay has been started lately: gateways of domains that it does not know may be on their way back.
    pub fresh: bool,
}

/// What a shard has of a domain's gateways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Here {
    /// It does not know the domain, or only by clients that already wait for it.
    Unknown,
    /// None now, but lately there were some.
    None,
    /// Some, all busy.
    Busy,
    /// Some are parked.
    Parked,
}

/// Where a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// To a gateway that is parked here.
    Here,
    /// Nowhere yet: no gateway is free here, but one may become free, here or on another shard.
    Wait,
    /// To one of these shards.
    Move(ShardSet),
    /// Nowhere: no shard has or recently had the domain, and none is expected.
    Nobody,
}

/// Decides where a request goes.
pub fn route(view: View) -> Route {
    let may_move = view.elsewhere != 0 && !view.moved;
    match view.here {
        Here::Parked => Route::Here,
        // The other shards are told that a client waits.
        Here::Busy => Route::Wait,
        Here::None | Here::Unknown if may_move => Route::Move(view.elsewhere),
        Here::None => Route::Wait,
        Here::Unknown if view.elsewhere != 0 || view.fresh => Route::Wait,
        Here::Unknown => Route::Nobody,
    }
}

/// One member of a set, going round with `turn`. `None` if the set is empty.
pub fn pick(set: ShardSet, turn: u32) -> Option<usize> {
    let count = set.count_ones();
    if count == 0 { None } else { members(set).nth((turn % count) as usize) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A request goes to a parked gateway here before anything else, moves once at most, and is refused only if
    /// no shard knows the domain.
    #[test]
    fn the_way_of_a_request() {
        let way = |here, elsewhere, moved| route(View { here, elsewhere, moved, fresh: false });
        assert_eq!(way(Here::Parked, 0b10, false), Route::Here);
        assert_eq!(way(Here::Busy, 0b10, false), Route::Wait);
        assert_eq!(way(Here::None, 0b10, false), Route::Move(0b10));
        assert_eq!(way(Here::None, 0b10, true), Route::Wait);
        assert_eq!(way(Here::None, 0, false), Route::Wait);
        assert_eq!(way(Here::Unknown, 0b10, false), Route::Move(0b10));
        assert_eq!(way(Here::Unknown, 0b10, true), Route::Wait);
        assert_eq!(way(Here::Unknown, 0, false), Route::Nobody);
        assert_eq!(way(Here::Unknown, 0, true), Route::Nobody);
    }

    /// For a while after its start, a relay refuses nobody for want of a domain.
    #[test]
    fn a_fresh_relay_has_clients_wait() {
        let way = |elsewhere, moved| route(View { here: Here::Unknown, elsewhere, moved, fresh: true });
        assert_eq!(way(0, false), Route::Wait);
        assert_eq!(way(0b10, false), Route::Move(0b10));
        assert_eq!(way(0, true), Route::Wait);
    }

    /// Turns go round all members and no others.
    #[test]
    fn picks_go_round() {
        let picked: Vec<_> = (0..4).map(|turn| pick(0b10110, turn)).collect();
        assert_eq!(picked, [Some(1), Some(2), Some(4), Some(1)]);
        assert_eq!(pick(0, 7), None);
    }
}
