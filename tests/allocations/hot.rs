//! Allocations on the hot paths that `benches/instructions` counts instructions on, per batch: a
//! batch of 100 B payloads holds 560 to 600 records, so one more a record is far over each limit,
//! and one more a batch is still over it.
//!
//! All but the writing to disks happens on the thread that counts. As there, what the start takes
//! drops out of the difference of two runs.

#[path = "../../benches/instructions/paths.rs"]
mod paths;
#[path = "../../benches/instructions/payload.rs"]
mod payload;
#[path = "../../benches/instructions/requests.rs"]
mod requests;

use allocation_counter::measure;

use self::paths::{PATHS, Tally};
use super::seed::tell;

/// What a path may allocate.
struct Limit {
    path: &'static str,
    /// For each record, and no more: what the user's own record takes.
    a_record: u64,
    /// For each batch: what was counted, and about half of one.
    a_batch: f64,
}

const fn limit(path: &'static str, a_record: u64, a_batch: f64) -> Limit {
    Limit { path, a_record, a_batch }
}

const LIMITS: &[Limit] = &[
    limit("memory-poll-100", 0, 12.9),
    limit("memory-poll-1024", 0, 12.9),
    limit("memory-recv-100", 0, 19.9),
    // The list of headers is made by whoever sends. The batches are of four partitions.
    limit("memory-keyed-100", 1, 28.4),
    // Each record is a batch.
    limit("memory-send-100", 0, 1.5),
    limit("disk-enqueue-100", 0, 1.9),
    limit("disk-poll-100", 0, 1.5),
    limit("produce-request-100", 0, 7.5),
];

#[test]
fn the_hot_paths_allocate_no_more_than_they_did() {
    let names = PATHS.iter().map(|path| path.name);
    assert!(names.eq(LIMITS.iter().map(|limit| limit.path)), "each path has a limit");
    let mut over = String::new();
    for (path, limit) in PATHS.iter().zip(LIMITS) {
        let (few, many) = (allocations(path.run, 1), allocations(path.run, 3));
        let (count, records) = (many.0 - few.0, many.1.records - few.1.records);
        let batches = (many.1.batches - few.1.batches) as f64;
        let a_batch = (count as f64 - (limit.a_record * records) as f64) / batches;
        let all = count as f64 / records as f64;
        let name = limit.path;
        let line = format!("{name}: {all:.4} a record, of them {a_batch:.2} a batch\n");
        tell(&format!("allocations: {line}"));
        if a_batch > limit.a_batch {
            over += &line;
        }
    }
    assert!(over.is_empty(), "over the limits:\n{over}");
}

fn allocations(run: fn(u64) -> Tally, rounds: u64) -> (u64, Tally) {
    let mut tally = Tally::default();
    let counted = measure(|| tally = run(rounds));
    (counted.count_total, tally)
}
