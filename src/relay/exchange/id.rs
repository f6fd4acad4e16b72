//! Names of exchanges.

/// Identifies an exchange by its record's number and generation. A record that is used again has another id, so ids
/// kept from an earlier use cannot reach it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExchangeId(pub(super) u32);

/// Bits of the number; the other bits are the generation.
pub(super) const INDEX_BITS: u32 = 22;
pub(super) const INDEX_MASK: u32 = (1 << INDEX_BITS) - 1;
pub(super) const GENERATION_MASK: u16 = (1 << (32 - INDEX_BITS)) - 1;

impl ExchangeId {
    /// No exchange.
    pub const NONE: ExchangeId = ExchangeId(u32::MAX);

    pub(super) fn index(self) -> u32 {
        self.0 & INDEX_MASK
    }

    pub(super) fn generation(self) -> u16 {
        (self.0 >> INDEX_BITS) as u16
    }

    /// The exchange, unless it is none.
    pub fn some(self) -> Option<ExchangeId> {
        (self != ExchangeId::NONE).then_some(self)
    }
}
