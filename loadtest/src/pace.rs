//! Senders that keep to a rate, as cameras and uplinks do. The kernel paces each connection; nobody here watches a
//! clock.
#![allow(unsafe_code)]

use std::ffi::c_int;
use std::io;
use std::num::{NonZeroU32, ParseIntError};
use std::os::fd::AsRawFd;
use std::str::FromStr;

/// Parts of a second's bytes that a sender has ready at a time.
const PIECES_PER_SECOND: u32 = 10;

/// Bytes per second of one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace(NonZeroU32);

impl FromStr for Pace {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

impl Pace {
    /// Bytes that a sender has ready at a time, at most `max`: what a program that makes its data at this rate would.
    pub fn piece(self, max: usize) -> usize {
        (self.0.get() / PIECES_PER_SECOND).max(1).min(u32::try_from(max).unwrap_or(u32::MAX)) as usize
    }

    /// Has the kernel keep to this rate on `socket`, and take no more from the sender than is due soon.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn apply(self, socket: &impl AsRawFd) -> io::Result<()> {
        set(socket, libc::SOL_SOCKET, libc::SO_MAX_PACING_RATE, self.0.get())?;
        // Else the send buffer takes seconds' worth, and what has been sent is not what has been written.
        set(socket, libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT, self.piece(usize::MAX) as u32)
    }
}

/// Sets an option that is a 32-bit number: socket2 and rustix do not know the pacing rate.
fn set(socket: &impl AsRawFd, level: c_int, name: c_int, value: u32) -> io::Result<()> {
    // SAFETY: the kernel reads `value`, which outlives the call, as far as the length says; a descriptor that is none is
    // refused.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            std::ptr::from_ref(&value).cast(),
            size_of::<u32>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    /// What the kernel has been told.
    fn get(socket: &impl AsRawFd, level: c_int, name: c_int) -> u32 {
        let (mut value, mut length) = (0_u32, size_of::<u32>() as libc::socklen_t);
        // SAFETY: the kernel writes at most `length` bytes into `value`; both outlive the call.
        let result = unsafe {
            let value = std::ptr::from_mut(&mut value).cast();
            libc::getsockopt(socket.as_raw_fd(), level, name, value, &raw mut length)
        };
        assert_eq!(result, 0);
        value
    }

    #[test]
    fn the_kernel_is_told_the_rate_and_how_little_may_wait() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        "50000".parse::<Pace>().unwrap().apply(&stream).unwrap();
        assert_eq!(get(&stream, libc::SOL_SOCKET, libc::SO_MAX_PACING_RATE), 50_000);
        assert_eq!(get(&stream, libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT), 5_000);
    }

    #[test]
    fn a_piece_is_a_tenth_of_a_second_within_bounds() {
        let pace = |text: &str| text.parse::<Pace>().unwrap();
        assert_eq!(pace("500000").piece(1 << 20), 50_000);
        assert_eq!(pace("500000").piece(4096), 4096);
        assert_eq!(pace("3").piece(4096), 1);
        assert!("0".parse::<Pace>().is_err());
        assert!("5e5".parse::<Pace>().is_err());
    }
}
