//! How fast a log is compacted, and in how much memory: `cargo test --release --lib -- --ignored
//! --nocapture a_gibibyte`.

use std::io::Write;

use super::parts::{Case, compacting};
use crate::batch::BatchBuilder;
use crate::log::tests::parts::Dice;
use crate::log::{CompactionOptions, LogConfig};
use crate::record::Timestamp;
use crate::storage::FileStorage;

/// The most memory that this process ever held, in KiB, where the system tells.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// Nanoseconds that this thread was on a processor, where the system tells.
fn cpu_ns() -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    stat.split_whitespace().next().and_then(|it| it.parse().ok()).unwrap_or(0)
}

/// Seconds since the system began, where it tells: no clock is read on this floor.
fn uptime() -> f64 {
    let uptime = std::fs::read_to_string("/proc/uptime").unwrap_or_default();
    uptime.split_whitespace().next().and_then(|it| it.parse().ok()).unwrap_or(0.0)
}

#[test]
#[ignore = "it writes a GiB, and measures"]
fn a_gibibyte_of_a_million_keys() {
    let scratch = tempfile::tempdir().unwrap();
    let config = LogConfig {
        segment_bytes: 256 << 20,
        index_interval_bytes: 4096,
        sync_before_visible: false,
        ..compacting()
    };
    let mut case = Case::new(FileStorage::new(scratch.path(), 10), config);
    let (mut dice, mut buffer) = (Dice::new(1), bytes::BytesMut::new());
    while case.log.reader().size() < 1 << 30 {
        let mut builder = BatchBuilder::new(buffer.split());
        while builder.len() < 16 << 10 {
            let key = format!("{:016}", dice.below(1_000_000));
            builder.push(1_000, Some(key.as_bytes()), Some(&[7; 74]), &[]);
        }
        case.log.append_now(builder.finish()).unwrap();
    }
    case.roll();
    case.log.sync().unwrap();
    let before = peak_kib();
    for round in ["all dirty", "all clean"] {
        let plan = case.log.plan_compaction(Timestamp::from_millis(5_000), true).unwrap().unwrap();
        let (begin, cpu) = (uptime(), cpu_ns());
        let done = plan.run(CompactionOptions::default());
        let ran = uptime() - begin;
        let cpu = cpu_ns() - cpu;
        let stats = case.log.compacted(done).unwrap().unwrap();
        let placed = uptime() - begin - ran;
        let rate = stats.bytes_before as f64 / ran.max(0.01) / 1e6;
        let (peak, per_cpu) = (peak_kib(), stats.bytes_before as f64 * 1e3 / cpu.max(1) as f64);
        let text = format!(
            "{round}: {stats:?}\n  {ran:.2} s, {rate:.0} MB/s, {per_cpu:.0} MB per second of \
             processor; placed in {placed:.2} s; peak {before} KiB before, {peak} KiB after\n"
        );
        std::io::stderr().write_all(text.as_bytes()).unwrap();
    }
}
