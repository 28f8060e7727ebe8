//! Arbitrary bytes as a record batch; what is looked at stands with the tests, which repeat the
//! findings.

#![no_main]

#[path = "../../tests/it/fuzzed/batch.rs"]
mod body;
mod limited;

/// An input has 4 KiB, of which a list of records takes 14 times as much; decompressed it has 1 MiB.
#[global_allocator]
static ALLOCATOR: limited::Limited<{ 16 << 20 }> = limited::Limited;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::run(data));
