//! One partition through crashes at any call of the storage, on a simulated disk.
//!
//! A seed makes a life: a random workload that a crash (of the process, or a loss of power) ends
//! somewhere, an open that may itself be crashed, more work, another crash, and so on. After each
//! open the log is held against all that was ever promised:
//!
//! * an open fails by an injected error only, and the next succeeds;
//! * what was acknowledged is there, unchanged, unless the crash is worse than the promise; then
//!   the log ends earlier, but has no hole that it does not tell of;
//! * what was visible at an offset in an epoch is there, or nothing of that offset and epoch is;
//! * a reader that stood anywhere reads on if what it had read is still the log's, and otherwise
//!   hears how far back it has to go;
//! * what an open serves is durable.
//!
//! `OTTLA_SEED=n` runs one life, `OTTLA_LIVES=n` so many of each kind. The last tests make the
//! disk lie, or break the log, and want the checks above to notice.

mod checks;
mod life;

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::sabotage::{Broken, KEEP_TAIL, SKIP_CRC};
use crate::storage::sim::Lie;
use life::{Life, Plan};

/// Runs lives; returns the seeds that failed, and why.
fn run(seeds: impl IntoIterator<Item = u64>, plan: Plan) -> Vec<(u64, String)> {
    let live = |seed| {
        let life = AssertUnwindSafe(|| Life::new(seed, plan).live());
        let error = catch_unwind(life).err()?;
        let text = error.downcast_ref::<String>().cloned();
        Some((seed, text.unwrap_or_else(|| "it panicked".into())))
    };
    seeds.into_iter().filter_map(live).collect()
}

/// Runs `count` fixed lives and a tenth as many fresh ones, or the one that was asked for.
fn check(count: u64, plan: Plan) {
    let asked = |name| std::env::var(name).ok().and_then(|number| number.parse::<u64>().ok());
    if let Some(seed) = asked("OTTLA_SEED") {
        Life::new(seed, plan).live();
        return;
    }
    let count = asked("OTTLA_LIVES").unwrap_or(count);
    let fresh = fresh_seed();
    let text = format!("log/crash {plan:?}: seeds 0..{count} and {fresh}.. +{}\n", count / 10);
    // Past the capture of output: who wants to repeat a run has to know.
    std::io::stderr().write_all(text.as_bytes()).expect("stderr takes a line");
    let failed = run((0..count).chain(fresh..fresh + count / 10), plan);
    let seeds: Vec<u64> = failed.iter().map(|(seed, _)| *seed).take(50).collect();
    assert!(failed.is_empty(), "seeds {seeds:?}, the first: {}", failed[0].1);
}

/// The names of temporary files are drawn from the system.
fn fresh_seed() -> u64 {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    let name = file.path().file_name().expect("it has a name").to_owned();
    let fold = |sum: u64, byte: &u8| sum.wrapping_mul(131) + u64::from(*byte);
    name.as_encoded_bytes().iter().fold(7, fold) % 1_000_000_007 * 1000
}

#[test]
fn a_log_survives_crashes() {
    check(4_000, Plan::default());
}

#[test]
fn a_log_survives_failing_disks() {
    check(1_500, Plan { faults: true, ..Plan::default() });
}

/// Whether one of so many lives shows that something is wrong.
fn is_noticed(within: u64, plan: Plan) -> bool {
    (0..within).any(|seed| !run([seed], plan).is_empty())
}

#[test]
fn a_disk_that_lies_is_noticed() {
    for lie in [Lie::SyncDoesNothing, Lie::SyncDirDoesNothing] {
        assert!(is_noticed(50, Plan { lie: Some(lie), ..Plan::default() }), "{lie:?}");
    }
}

#[test]
fn a_log_that_checks_no_crc_is_noticed() {
    let _broken = Broken::by(&SKIP_CRC);
    assert!(is_noticed(2_000, Plan::default()));
}

#[test]
fn a_log_that_keeps_its_tail_is_noticed() {
    let _broken = Broken::by(&KEEP_TAIL);
    assert!(is_noticed(200, Plan::default()));
}
