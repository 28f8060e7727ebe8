//! Over TCP: `ottla serve` and an Apache Kafka, each a process of its own, and one client for both,
//! ours, with the same settings, in this process. Topics are created by the same call, have one
//! partition, and promise the same of both: what is acknowledged is in the page cache.
//!
//! The rate is the client's, which shares the machine with the broker; so does the CPU beside it.
//! The broker's own is a figure of each line. Kafka is warm before anything counts.

mod brokers;
mod footprint;
mod latency;
mod load;
mod throughput;

pub(crate) use brokers::Brokers;
pub(crate) use footprint::{memory, start};
pub(crate) use latency::latency;
pub(crate) use throughput::{consume, produce};

use crate::Bench;
use crate::measure::Setup;
use brokers::Process;

const OURS: &str = "ottla serve";
const KAFKA: &str = "Apache Kafka";

fn setup(record: usize, batch: &'static str, producers: usize, consumers: usize) -> Setup {
    Setup { durability: "page cache", record, batch, producers, consumers }
}

/// Ours and Kafka, both running; or the row is left out.
fn both(bench: &mut Bench<'_>) -> Option<[Process; 2]> {
    match bench.brokers.both(&bench.runtime) {
        Ok(both) => Some(both),
        Err(why) => {
            bench.report.leave_out(bench.name, &why);
            None
        }
    }
}
