//! How hard a simulated world is.
use super::random::Random;

/// Sizes, delays and odds of one world. Odds are in a thousand.
#[derive(Clone, Debug)]
pub struct Tuning {
    /// Listeners a shard has.
    pub listeners: usize,
    /// Buffers in a shard's pool.
    pub buffers: usize,
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
    /// Most events a turn brings.
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
}

impl Tuning {
    /// Draws a world whose buffers hold at least `buffer_bytes_min`.
    pub fn draw(random: &mut Random, buffer_bytes_min: usize) -> Tuning {
        let small = random.pick(&[512, 700, 2048]);
        let sizes = [small, 4096, 16_384, 65_536];
        let least = sizes[random.below(2)];
        Tuning {
            listeners: 1,
            buffers: random.pick(&[8, 16, 32, 64]) + random.below(8),
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
        }
    }
}
