//! Load generator for relays.
fn main() {}
