//! A connection's socket: owned by one record, closed exactly once.
use std::{fmt, mem::ManuallyDrop, num::NonZeroU32};

/// An open socket of a back end, by number.
///
/// It cannot be copied, and only a back end can create one or take it apart: [`super::Calls::close`] and
/// [`super::Calls::reset`] consume it, so a descriptor is closed once by construction. Dropping it instead would leak
/// the descriptor; debug builds panic.
#[derive(PartialEq, Eq, Hash)]
#[must_use = "a socket is closed by giving it back to its back end"]
pub struct Socket {
    /// One more than the descriptor, so that an `Option` of it takes no room. The uppermost bit is its owner's mark.
    above: NonZeroU32,
}

const MARK: u32 = 1 << 31;

impl Socket {
    /// Takes charge of an open descriptor.
    pub(super) fn new(number: i32) -> Socket {
        let above = u32::try_from(number).ok().and_then(|number| NonZeroU32::new(number + 1));
        Socket { above: above.expect("an open descriptor is not negative") }
    }

    /// The number, for the length of a call.
    pub(super) fn number(&self) -> i32 {
        ((self.above.get() & !MARK) - 1) as i32
    }

    /// A number that no other open socket of the back end has.
    pub fn id(&self) -> u32 {
        self.number() as u32
    }

    /// Marks it, for its owner: back ends do not look at that.
    pub fn mark(&mut self) {
        self.above |= MARK;
    }

    /// Whether it is marked.
    #[inline]
    pub fn is_marked(&self) -> bool {
        self.above.get() & MARK != 0
    }

    /// Gives up the descriptor, for the caller to close.
    pub(super) fn into_number(self) -> i32 {
        ManuallyDrop::new(self).number()
    }
}

impl From<std::os::fd::OwnedFd> for Socket {
    fn from(fd: std::os::fd::OwnedFd) -> Socket {
        Socket::new(std::os::fd::IntoRawFd::into_raw_fd(fd))
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        debug_assert!(std::thread::panicking(), "socket {} was dropped and not closed", self.number());
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Socket({})", self.number())
    }
}
