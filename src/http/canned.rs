//! Answers that the relay itself gives, byte for byte.

/// Why the relay answers by itself, each with one fixed answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Refusal {
    /// placeholder
    Placeholder,
}

impl Refusal {
    /// Every refusal, for tests and documentation.
    pub const ALL: &'static [Refusal] = &[];

    /// The HTTP status.
    pub fn status(self) -> u16 {
        todo!()
    }

    /// The value of `X-Relay-Error`.
    pub fn reason(self) -> &'static str {
        todo!()
    }

    /// The whole answer, with `Connection: close`.
    pub fn closing(self) -> &'static [u8] {
        todo!()
    }

    /// The whole answer, for a connection that is kept.
    pub fn kept(self) -> &'static [u8] {
        todo!()
    }
}
