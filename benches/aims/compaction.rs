//! Compacting a topic: 1 GiB of records of 100 bytes with a million keys, on disk.
//!
//! The reference reads as many bytes with `read(2)`, writes as many as are left with `write(2)`,
//! both in calls of 64 KiB, and syncs them. Compaction reads everything twice: for the keys, and
//! for what stays.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::time::Instant;

use ottla::{Broker, CleanupPolicy, CompactionSummary, Durability, Record, TopicConfig};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::payload::rate;
use crate::proc::{cpu_seconds, forget_peak, peak_mebibytes};
use crate::report::{Aim, Pair, Report, mebibytes, megabytes_per_second, seconds_per_gib};
use crate::{Scale, on_worker};

const TOPIC: &str = "bench";
const CALL: usize = 64 << 10;
const GIB: f64 = (1 << 30) as f64;
/// With a key of 16 bytes and what is written around both: a record of 100 bytes in the log.
const VALUE: [u8; 74] = [7; 74];

/// As much as one can hold: all of it is in one file, which the reference reads as well.
const SEGMENT: u64 = i32::MAX as u64;

pub(crate) fn run(runtime: &Runtime, scale: Scale, report: &mut Report) {
    let (bytes, keys) = scale.pick((1 << 30, 1_000_000), (4 << 20, 4_000));
    let (data, scratch) = (tempdir(), tempdir());
    let path = data.path().to_owned();
    let broker = on_worker(runtime, async move {
        let broker = Broker::open(path).await.expect("an empty folder opens");
        fill(&broker, bytes / 100, keys).await;
        broker
    });
    // A second name, which is there when the broker has removed its own.
    let log = scratch.path().join("log");
    let segment = data.path().join(format!("{TOPIC}-0/{:020}.log", 0));
    std::fs::hard_link(segment, &log).expect("both folders are on one file system");
    let reference = || copy(&log, &scratch.path().join("copy"), keys * 100);
    let before = reference();
    forget_peak();
    let (summary, ours) = on_worker(runtime, compact(broker.clone()));
    let peak = peak_mebibytes();
    let after = reference();
    runtime.block_on(broker.shutdown()).expect("the disk works");
    assert!(summary.bytes_after < summary.bytes_before, "most records have been replaced");
    let mebi = summary.bytes_before >> 20;
    let name = format!("compacting {mebi} MiB, {keys} keys");
    let fast = Aim::AtLeast(100e6);
    report.figure(&name, vec![ours.rate], megabytes_per_second, fast);
    report.figure("  … peak memory of the process", vec![peak], mebibytes, Aim::AtMost(256.0));
    let pairs = |pick: fn(&Cost) -> f64| -> Vec<Pair> {
        [&before, &after].map(|reference| (pick(&ours), pick(reference))).into()
    };
    let rates = pairs(|cost| cost.rate);
    report.ratios("  … speed | read(2), write(2)", &rates, megabytes_per_second, Aim::None);
    let cpu = pairs(|cost| cost.cpu);
    report.ratios("  … CPU | read(2), write(2)", &cpu, seconds_per_gib, Aim::None);
}

fn tempdir() -> TempDir {
    tempfile::tempdir().expect("a folder can be made")
}

/// Keys at random, so that each is replaced about ten times.
async fn fill(broker: &Broker, count: u64, keys: u64) {
    let config = TopicConfig::new().durability(Durability::Process).segment_bytes(SEGMENT);
    let config = config.cleanup_policy(CleanupPolicy::Compact);
    // Never by itself.
    let config = config.set("min.cleanable.dirty.ratio", 1.0).expect("it is a ratio");
    broker.create_topic(TOPIC, config).await.expect("it is not there yet");
    let producer = broker.producer().build();
    let mut random = 1_u64;
    for _ in 0..count {
        // Knuth's MMIX; its upper bits are the random ones.
        random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let key = format!("{:016}", (random >> 33) % keys);
        producer.enqueue(Record::to(TOPIC).key(&key).value(&VALUE)).await.expect("it is buffered");
    }
    producer.flush().await;
    assert_eq!(producer.stats().records_sent, count, "all are acknowledged");
}

/// Bytes of the log a second, and seconds of CPU for a GiB of it.
struct Cost {
    rate: f64,
    cpu: f64,
}

impl Cost {
    fn of(bytes: u64, started: Instant, cpu_before: f64) -> Self {
        Cost {
            rate: rate(bytes, started),
            cpu: (cpu_seconds() - cpu_before) / (bytes as f64 / GIB),
        }
    }
}

async fn compact(broker: Broker) -> (CompactionSummary, Cost) {
    let (started, cpu) = (Instant::now(), cpu_seconds());
    let summary = broker.compact(TOPIC).await.expect("the disk works");
    (summary, Cost::of(summary.bytes_before, started, cpu))
}

/// Reads all of a file, writes `left` bytes of it, and syncs them.
fn copy(from: &Path, to: &Path, left: u64) -> Cost {
    let (started, cpu) = (Instant::now(), cpu_seconds());
    let mut source = File::open(from).expect("the log is there");
    let mut copy = File::create(to).expect("a file can be made");
    let (mut buffer, mut bytes) = (vec![0; CALL], 0);
    loop {
        let read = source.read(&mut buffer).expect("the disk works");
        if read == 0 {
            break;
        }
        if bytes < left {
            copy.write_all(&buffer[..read]).expect("the disk works");
        }
        bytes += read as u64;
    }
    copy.sync_data().expect("the disk works");
    Cost::of(bytes, started, cpu)
}
