//! The `ringback` command line.
#![deny(unsafe_code)]

// Domains and sessions are small and many: mimalloc keeps them dense.
#[cfg(feature = "relay")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    ringback::cli::run()
}
