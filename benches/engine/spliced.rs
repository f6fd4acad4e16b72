//! The order in which ours and epoll splice: the same for both, so that only the waiting differs.
use ringback::io::Spliced;

/// What a pipe is asked to hold.
pub const PIPE_BYTES: usize = 1 << 20;
/// Pieces that one pair may move before the others have their turn.
const ROUNDS: usize = 4;

/// What a pair that is spliced waits for.
#[derive(Clone, Copy, PartialEq)]
pub enum Want {
    Input,
    Room,
    Nothing,
}

/// From a socket into a pipe, or on from there.
pub enum Way {
    In,
    Out,
}

/// Where a pair's bulk stands.
#[derive(Default)]
pub struct Bulk {
    /// Bytes in the pipe.
    held: usize,
    ended: bool,
}

impl Bulk {
    /// Moves what there is, but not for ever.
    pub fn turn(&mut self, mut splice: impl FnMut(Way, usize) -> Spliced) -> Want {
        for _ in 0..ROUNDS {
            if !self.ended && self.held < PIPE_BYTES {
                match splice(Way::In, PIPE_BYTES - self.held) {
                    Spliced::Moved(n) => self.held += n,
                    Spliced::Blocked if self.held == 0 => return Want::Input,
                    Spliced::Blocked => {}
                    Spliced::Eof | Spliced::Failed => self.ended = true,
                }
            }
            if self.held == 0 {
                return Want::Nothing;
            }
            match splice(Way::Out, self.held) {
                Spliced::Moved(n) => self.held -= n,
                Spliced::Blocked => return Want::Room,
                Spliced::Eof | Spliced::Failed => return Want::Nothing,
            }
        }
        if self.held > 0 { Want::Room } else { Want::Input }
    }
}
