//! Arbitrary bytes as what a client sends; what is looked at stands with the tests, which repeat
//! the findings.

#![no_main]

#[path = "../../tests/it/fuzzed/request/mod.rs"]
mod body;
mod limited;

/// A batch may take 64 MiB once it is decompressed; all else is of the size of the input, 4 KiB.
#[global_allocator]
static ALLOCATOR: limited::Limited<{ 65 << 20 }> = limited::Limited;

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::run(data));
