//! See [`ringback_fuzz::forward`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ringback_fuzz::forward(data));
