//! An arbitrary data directory; what is done with it stands with the tests, which repeat the
//! findings.

#![no_main]

#[path = "../../tests/it/fuzzed/recovery/mod.rs"]
mod body;
mod limited;

use std::path::Path;
use std::sync::LazyLock;

/// Compaction has a map of a fixed size; all else is of the size of the files, 64 KiB.
#[global_allocator]
static ALLOCATOR: limited::Limited<{ 16 << 20 }> = limited::Limited;

static BASES: LazyLock<body::Bases> = LazyLock::new(|| {
    body::Bases::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden"))
});

libfuzzer_sys::fuzz_target!(|data: &[u8]| body::run(&BASES, data));
