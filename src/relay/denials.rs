//! Who was kept out lately, for the log. No more is remembered than somebody would read.
use crate::{
    http::Refusal,
    sync::{Mutex, PoisonError},
};
use std::net::IpAddr;

/// Different ones that are remembered until they are taken.
const DENIALS_MAX: usize = 16;

/// Somebody who was kept out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// From where.
    pub address: IpAddr,
    /// The relay domain.
    pub domain: Box<[u8]>,
    /// What was said.
    pub refusal: Refusal,
    /// How many times.
    pub times: u64,
}

/// Those that nobody has read yet.
#[derive(Debug, Default)]
pub struct Denials(Mutex<Unread>);

#[derive(Debug, Default)]
struct Unread {
    denials: Vec<Denial>,
    /// Those beyond [`DENIALS_MAX`].
    further: u64,
}

impl Denials {
    /// Notes one.
    pub fn note(&self, address: IpAddr, domain: &[u8], refusal: Refusal) {
        let mut unread = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let same =
            |denial: &&mut Denial| denial.address == address && denial.refusal == refusal && *denial.domain == *domain;
        if let Some(denial) = unread.denials.iter_mut().find(same) {
            denial.times += 1;
        } else if unread.denials.len() < DENIALS_MAX {
            unread.denials.push(Denial { address, domain: domain.into(), refusal, times: 1 });
        } else {
            unread.further += 1;
        }
    }

    /// Takes all, and how many there were besides.
    pub fn take(&self) -> (Vec<Denial>, u64) {
        let mut unread = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (std::mem::take(&mut unread.denials), std::mem::take(&mut unread.further))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// The same is counted, others are remembered up to the maximum, and whoever has read them reads them no more.
    #[test]
    fn denials_are_counted_and_bounded() {
        let denials = Denials::default();
        let address = |n: u8| IpAddr::from([10, 0, 0, n]);
        for _ in 0..3 {
            denials.note(address(0), b"door", Refusal::Unauthorized);
        }
        (1..100).for_each(|n| denials.note(address(n), b"door", Refusal::Unauthorized));
        let (told, further) = denials.take();
        assert_eq!((told.len(), further), (DENIALS_MAX, 100 - DENIALS_MAX as u64));
        assert_eq!(
            told[0],
            Denial { address: address(0), domain: (*b"door").into(), refusal: Refusal::Unauthorized, times: 3 }
        );
        assert_eq!(denials.take(), (Vec::new(), 0));
    }
}
