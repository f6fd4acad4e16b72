//! Memory that the relay holds for peers outside the buffer pool: one account per shard, with a limit.
//!
//! Received bytes that wait for a slow reader, heads that arrive in pieces or may have to be sent again, replies that
//! did not fit a socket: each is bounded by itself, but their number is not. All such bytes are in a [`Held`], so that
//! the account is right by construction.

/// A shard's account of held bytes.
#[derive(Debug)]
pub struct Account {
    held: usize,
    /// What the shard's TLS sessions hold, by their own account.
    sessions: usize,
    limit: usize,
}

impl Account {
    /// An account that allows `limit` bytes; 0 for no limit.
    pub fn new(limit: usize) -> Account {
        Account { held: 0, sessions: 0, limit: if limit == 0 { usize::MAX } else { limit } }
    }

    /// Bytes held now.
    pub fn held(&self) -> usize {
        self.held
    }

    /// Notes what the TLS sessions hold: it counts as what is held here.
    pub fn note_sessions(&mut self, held: usize) {
        self.sessions = held;
    }

    /// So much is held that bodies are not read ahead any more: the rest is for exchanges in progress.
    pub fn is_tight(&self) -> bool {
        self.held + self.sessions >= self.limit / 4 * 3
    }

    /// So much is held that nothing new may begin.
    pub fn is_full(&self) -> bool {
        self.held + self.sessions >= self.limit
    }
}

/// Bytes on a shard's account.
#[derive(Debug, Default)]
pub struct Held(Vec<u8>);

impl Held {
    /// Appends bytes.
    pub fn extend(&mut self, account: &mut Account, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
        account.held += bytes.len();
    }

    /// Drops all but the first `len` bytes.
    pub fn truncate(&mut self, account: &mut Account, len: usize) {
        let before = self.0.len();
        self.0.truncate(len);
        account.held -= before - self.0.len();
    }

    /// Drops the first `n` bytes.
    pub fn drop_front(&mut self, account: &mut Account, n: usize) {
        self.0.drain(..n);
        account.held -= n;
    }

    /// Drops all bytes and keeps the memory if it is at most `keep` bytes.
    pub fn clear(&mut self, account: &mut Account, keep: usize) {
        account.held -= self.0.len();
        if self.0.capacity() > keep {
            self.0 = Vec::new();
        } else {
            self.0.clear();
        }
    }

    /// Takes the bytes off the account.
    pub fn take(&mut self, account: &mut Account) -> Vec<u8> {
        account.held -= self.0.len();
        std::mem::take(&mut self.0)
    }

    /// Puts bytes on the account.
    pub fn adopt(account: &mut Account, bytes: Vec<u8>) -> Held {
        account.held += bytes.len();
        Held(bytes)
    }
}

impl std::ops::Deref for Held {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever is done with held bytes, the account equals their number.
    #[test]
    fn the_account_follows_the_bytes() {
        let mut account = Account::new(100);
        let mut held = Held::default();
        held.extend(&mut account, &[1; 80]);
        assert!(account.is_tight() && !account.is_full());
        held.drop_front(&mut account, 10);
        held.truncate(&mut account, 50);
        assert_eq!((held.len(), account.held()), (50, 50));
        let other = Held::adopt(&mut account, vec![2; 60]);
        assert!(account.is_full());
        assert_eq!(held.take(&mut account).len(), 50);
        assert_eq!(account.held(), other.len());
    }
}
