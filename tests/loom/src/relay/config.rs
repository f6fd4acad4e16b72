//! As much of the configuration as admission looks at.

/// Limits; 0 for none.
#[derive(Default)]
pub struct Config {
    /// Connections.
    pub max_connections: usize,
    /// Connections of one source.
    pub max_connections_per_address: u32,
    /// Connections of one source a second.
    pub max_accepts_per_address: u32,
    /// Connections a second.
    pub max_accepts_per_second: u32,
    /// Registrations a second.
    pub max_registrations_per_second: u32,
}
