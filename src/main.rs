//! The `ringback` command line.
fn main() -> std::process::ExitCode {
    ringback::cli::run()
}
