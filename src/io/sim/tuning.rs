//! How hard a simulated world is.
use super::super::Millis;
use super::random::Random;

/// Ticks of this many milliseconds are counted in 32 bits by some.
const TICK_MILLIS: u64 = 8;

/// What a shard may do within one turn. More than that is a fault: somebody else waits meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Calls that receive, send or splice, for one connection, beyond those that its events of the turn account for.
    pub connection_calls: usize,
    /// Bytes that one connection receives and sends.
    pub connection_bytes: usize,
    /// Calls for all connections.
    pub turn_calls: usize,
    /// Bytes of all connections.
    pub turn_bytes: usize,
    /// Turns that a new connection's first bytes may be left alone once the shard was told of them, while buffers are
    /// to be had and nobody waits for room.
    pub unserved_turns: usize,
}

impl Budget {
    /// No bound at all.
    pub const NONE: Budget = Budget {
        connection_calls: usize::MAX,
        connection_bytes: usize::MAX,
        turn_calls: usize::MAX,
        turn_bytes: usize::MAX,
        unserved_turns: usize::MAX,
    };
}

/// Sizes, delays and odds of one world. Odds are in a thousand.
#[derive(Clone, Debug)]
pub struct Tuning {
    /// What the clock shows when the world begins.
    pub epoch_millis: Millis,
    /// Listeners a shard has.
    pub listeners: usize,
    /// Buffers in a shard's pool.
    pub buffers: usize,
    /// How many of them stand in the kernel's ring from the beginning of each turn, as far as there are. Streams have
    /// these and no others; nobody else can have them.
    pub ring_buffers: usize,
    /// Bytes a buffer holds.
    pub buffer_bytes: usize,
    /// Pipes in a shard's pool.
    pub pipes: usize,
    /// Bytes a pipe holds.
    pub pipe_bytes: usize,
    /// Fewest and most bytes between two ends, each way.
    pub socket_bytes: (usize, usize),
    /// Longest way between two ends, in milliseconds.
    pub latency_max: usize,
    /// Longest way between two shards, in milliseconds.
    pub mail_delay_max: usize,
    /// Maximum events per turn.
    pub batch_max: usize,
    /// Something that could be told is told later.
    pub withhold: u32,
    /// An armed operation completes late, and by how many milliseconds at most.
    pub late: u32,
    /// See `late`.
    pub late_max: usize,
    /// A poll for input completes without cause.
    pub spurious: u32,
    /// A call takes or brings less than it could, or a splice nothing at all.
    pub partial: u32,
    /// A stream ends by itself behind bytes.
    pub stream_quits: u32,
    /// Accepting fails.
    pub accept_fails: u32,
    /// A connection whose far end forgets what it received when a reset comes.
    pub forgetful: u32,
    /// A receive, send or splice takes time: the clock moves while the shard still has the turn's own.
    pub slow: u32,
    /// Milliseconds that the calls of one turn take at most.
    pub slow_max: usize,
    /// What is sent to a far end is held up on its way, as behind a window of zero, and by how much at most.
    pub stall: u32,
    /// See `stall`.
    pub stall_max: usize,
    /// How long the kernel keeps back what is less than a segment and was sent with `more`; 0 for not at all.
    pub cork_millis: usize,
    /// Bytes of a segment.
    pub segment_bytes: usize,
    /// Whether it is a fault when nothing follows in that time, although nothing was in the way.
    pub cork_is_fault: bool,
    /// Since when a shard's turn fails, on the world's clock.
    pub fails_from: Option<Millis>,
    /// What is too much for one turn.
    pub budget: Budget,
}

impl Tuning {
    /// Draws a world whose buffers hold at least `buffer_bytes_min`.
    pub fn draw(random: &mut Random, buffer_bytes_min: usize) -> Tuning {
        let small = random.pick(&[512, 700, 2048]);
        let sizes = [small, 4096, 16_384, 65_536];
        let least = sizes[random.below(2)];
        let buffers = random.pick(&[8, 8, 16, 32, 64]) + random.below(8);
        Tuning {
            epoch_millis: epoch(random),
            listeners: random.pick(&[1, 1, 2, 3]),
            buffers,
            // A quarter is what the real pool provides.
            ring_buffers: if random.chance(600) { buffers / 4 } else { random.between(1, buffers / 2) },
            buffer_bytes: buffer_bytes_min + random.pick(&[0, 0, 1, 100, 4096]),
            pipes: random.below(4),
            pipe_bytes: random.pick(&[1024, 4096, 65_536]),
            socket_bytes: (least, sizes[random.between(1, 3)]),
            latency_max: random.pick(&[0, 1, 20]),
            mail_delay_max: random.pick(&[0, 1, 10]),
            batch_max: random.pick(&[1, 4, 64]),
            withhold: random.pick(&[0, 100, 400]),
            late: random.pick(&[0, 20, 200]),
            late_max: random.pick(&[1, 30]),
            spurious: random.pick(&[0, 10, 50]),
            partial: random.pick(&[0, 100, 500]),
            stream_quits: random.pick(&[0, 20, 200]),
            accept_fails: random.pick(&[0, 0, 30]),
            forgetful: random.pick(&[0, 500]),
            slow: random.pick(&[0, 0, 20, 200]),
            slow_max: random.pick(&[1, 5]),
            stall: random.pick(&[0, 0, 10]),
            stall_max: random.pick(&[50, 1000]),
            cork_millis: random.pick(&[0, 200, 200]),
            segment_bytes: random.pick(&[536, 1448, 65_483]),
            cork_is_fault: true,
            fails_from: None,
            budget: Budget::NONE,
        }
    }
}

/// Mostly the clock begins at zero; now and then just before 32-bit ticks wrap, as signed or as unsigned numbers.
fn epoch(random: &mut Random) -> Millis {
    let before = random.below(30_000) as Millis;
    match random.below(20) {
        0 => (1 << 32) * TICK_MILLIS - before,
        1 => (1 << 31) * TICK_MILLIS - before,
        _ => 0,
    }
}
