//! Rates of the inner loops: `cargo bench --bench inner [-- NAME]`; with `--features tcp` also
//! those of the protocol.
//!
//! They tell where time goes, and what a change to one loop does. What users get is measured by
//! `aims`; what must not get worse is guarded by `instructions`.

mod batches;
#[cfg(feature = "tcp")]
mod frames;
mod logs;
mod small;

use std::time::Duration;

use criterion::Criterion;
use ottla::Timestamp;

/// As full as a producer of this process makes a batch.
const BATCH_BYTES: usize = 64 << 10;
/// The time of all records.
const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

fn main() {
    let mut criterion = Criterion::default()
        .without_plots()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    small::run(&mut criterion);
    batches::run(&mut criterion);
    logs::run(&mut criterion);
    #[cfg(feature = "tcp")]
    frames::run(&mut criterion);
    criterion.final_summary();
}
