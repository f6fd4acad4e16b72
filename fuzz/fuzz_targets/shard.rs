//! See [`ringback_fuzz::shard`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ringback_fuzz::shard(data));
