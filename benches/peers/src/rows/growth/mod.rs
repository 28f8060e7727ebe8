//! What one record, or one commit, costs as one thing grows and all else stays as it is: the same
//! cost is what is aimed at, or a lower one: no point is to cost twice as much as any before it.
//!
//! Brokers are of this process, and nothing is compared with anybody. Costs are nanoseconds: of
//! CPU, over all threads of the process, or of time. Each point is the median of its rounds.

mod consumers;
mod groups;
mod log;
mod partitions;
mod record;

pub(crate) use consumers::consumers;
pub(crate) use groups::groups;
pub(crate) use log::log;
pub(crate) use partitions::partitions;
pub(crate) use record::record;

use std::io::Write;
use std::process::Command;

use ottla::Consumer;
use tokio::runtime::Runtime;

use crate::machine::{self, resident_mebibytes};
use crate::measure::{Aim, Metric, Sample, Spread};
use crate::report::Series;
use crate::{Scale, payload};

const TOPIC: &str = "bench";
/// So many times what it cost before is the most that anything may cost later.
const FLAT: Aim = Aim::AtMost(2.0);
/// So many records are taken at a time at most.
const POLLED: usize = 1024;

fn rounds(scale: Scale) -> usize {
    scale.pick(3, 1)
}

/// As many rounds as there are to be, each with memory at hand.
fn sampled(scale: Scale, mut round: impl FnMut() -> Sample) -> Vec<Sample> {
    let sample = |_| {
        warm_memory(scale);
        round()
    };
    (0..rounds(scale)).map(sample).collect()
}

fn warm_memory(scale: Scale) {
    if !scale.quick {
        machine::warm_memory();
    }
}

fn series(what: &'static str, aim: Aim) -> Series {
    Series { what, points: Vec::new(), aim }
}

/// The medians of CPU and of time for one record.
fn costs(samples: &[Sample]) -> (f64, f64) {
    let median = |of: &dyn Fn(&Sample) -> f64| {
        Spread::of(&samples.iter().map(of).collect::<Vec<f64>>()).median
    };
    (median(&|it| Metric::Cpu.of(it)), median(&|it| 1e9 / Metric::Rate.of(it)))
}

/// Reads so many records. Returns the sum of their bytes.
async fn read(consumer: &mut Consumer, count: u64) -> u64 {
    let (mut received, mut sum) = (0, 0_u64);
    while received < count {
        let records = consumer.poll(POLLED).await.expect("nothing is lost");
        received += records.len() as u64;
        let values = records.iter().map(|it| payload::sum(it.value.unwrap_or_default()));
        sum = values.fold(sum, u64::wrapping_add);
    }
    sum
}

/// What one more of something takes of resident memory, in bytes: a process with many of them over
/// one with a single one, both new, so that nothing is in it that was freed before.
fn weight_of_one(what: &str, count: u64) -> f64 {
    let weight = |count: u64| {
        let own = std::env::current_exe().expect("this program is somewhere");
        let output = Command::new(own).arg(format!("--weigh={what}:{count}")).output();
        let output = output.expect("this program can be run");
        let said = String::from_utf8_lossy(&output.stdout);
        said.trim().parse::<f64>().unwrap_or_else(|_| panic!("{what}:{count}: {output:?}"))
    };
    (weight(count) - weight(1)) * f64::from(1 << 20) / (count - 1) as f64
}

/// The other process: prints how many MiB are resident once it has so many.
pub(crate) fn weigh(runtime: &Runtime, what: &str) -> ! {
    let (what, count) = what.split_once(':').expect("as `weight_of_one` has it");
    let count = count.parse().expect("a number");
    let said = || {
        // Whoever asked looks whether there is an answer.
        let _ = writeln!(std::io::stdout(), "{}", resident_mebibytes());
    };
    match what {
        "partitions" => partitions::hold(runtime, count, said),
        _ => groups::hold(runtime, count, said),
    }
    std::process::exit(0);
}
