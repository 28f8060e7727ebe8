//! On disk without syncs: the CPU time that appending takes, against `write(2)` in 64 KiB calls.
//!
//! Only here payloads are not built anew, on neither side: what counts is the way to the file.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use ottla::{Broker, Durability, Record, TopicConfig};
use tokio::runtime::Runtime;

use crate::payload;
use crate::proc::cpu_seconds;
use crate::report::{Aim, Report, alternate, seconds_per_gib};
use crate::{Scale, on_worker};

const TOPIC: &str = "bench";
const GIB: f64 = (1 << 30) as f64;
const CALL: usize = 64 << 10;

pub(crate) fn run(runtime: &Runtime, scale: Scale, report: &mut Report) {
    let aim = Aim::AtMost(2.0);
    appended::<1024>(runtime, scale, report, "disk append CPU, 1 KiB | write(2)", aim);
    appended::<100>(runtime, scale, report, "disk append CPU, 100 B | write(2)", aim);
}

fn appended<const N: usize>(
    runtime: &Runtime,
    scale: Scale,
    report: &mut Report,
    name: &str,
    aim: Aim,
) {
    let bytes = scale.pick(512 << 20, 1 << 20);
    let ours = || {
        let dir = tempfile::tempdir().expect("a folder can be made");
        on_worker(runtime, append::<N>(dir.path().to_owned(), bytes / N as u64))
    };
    let reference = || {
        let dir = tempfile::tempdir().expect("a folder can be made");
        write_calls(&dir.path().join("file"), bytes)
    };
    let pairs = alternate(scale.pick(5, 1), ours, reference);
    report.ratios(name, &pairs, seconds_per_gib, aim);
}

/// CPU seconds for each GiB in the log, all that the process does included.
async fn append<const N: usize>(dir: std::path::PathBuf, count: u64) -> f64 {
    let broker = Broker::open(dir).await.expect("an empty folder opens");
    let config = TopicConfig::new().durability(Durability::Process);
    broker.create_topic(TOPIC, config).await.expect("it is not there yet");
    let producer = broker.producer().build();
    let payload = payload::array::<N>(1);
    let before = cpu_seconds();
    for _ in 0..count {
        producer.enqueue(Record::to(TOPIC).value(&payload)).await.expect("it is buffered");
    }
    producer.flush().await;
    let seconds = cpu_seconds() - before;
    assert_eq!(producer.stats().records_sent, count, "all are acknowledged");
    let topic = broker.describe_topic(TOPIC).expect("it is there");
    broker.shutdown().await.expect("the disk works");
    seconds / (topic.partitions[0].size_bytes as f64 / GIB)
}

fn write_calls(path: &Path, bytes: u64) -> f64 {
    let mut file = File::create(path).expect("a file can be made");
    let call = payload::array::<CALL>(1);
    let before = cpu_seconds();
    for _ in 0..bytes / CALL as u64 {
        file.write_all(&call).expect("the disk works");
    }
    (cpu_seconds() - before) / (bytes as f64 / GIB)
}
