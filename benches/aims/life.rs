//! Opening, holding and leaving brokers: time, memory, descriptors.

use std::path::{Path, PathBuf};
use std::time::Instant;

use ottla::{Broker, Record, TopicConfig};
use tokio::runtime::Runtime;

use crate::payload;
use crate::proc::{open_files, resident_mebibytes};
use crate::report::{Aim, Report, mebibytes, millis, plain};
use crate::{Scale, on_worker};

const TOPIC: &str = "bench";

pub(crate) fn run(runtime: &Runtime, scale: Scale, report: &mut Report) {
    let opened = (0..scale.pick(101, 5)).map(|_| on_worker(runtime, open_in_memory())).collect();
    report.figure("open in memory, to the first handle", opened, millis, Aim::AtMost(1.0));
    let brokers = scale.pick(100, 3);
    let (held, left) = on_worker(runtime, hold_and_drop(brokers));
    let name = format!("memory of {brokers} brokers of 10 MiB: held");
    report.figure(&name, vec![held], mebibytes, Aim::None);
    report.figure("  … kept by the allocator once dropped", vec![left], mebibytes, Aim::None);
    many_partitions(runtime, scale, report);
}

async fn open_in_memory() -> f64 {
    let started = Instant::now();
    let broker = Broker::in_memory().await.expect("a broker in memory opens");
    let producer = broker.producer().build();
    let took = started.elapsed().as_secs_f64() * 1e3;
    drop(producer);
    broker.shutdown().await.expect("nothing is left to do");
    took
}

/// How much resident memory grows while all brokers are there, and once they are gone.
async fn hold_and_drop(count: usize) -> (f64, f64) {
    let before = resident_mebibytes();
    let mut brokers = Vec::new();
    for _ in 0..count {
        let broker = Broker::in_memory().await.expect("a broker in memory opens");
        let producer = broker.producer().build();
        for counter in 0..10 << 10 {
            let payload = payload::array::<1000>(counter);
            producer.enqueue(Record::to(TOPIC).value(&payload)).await.expect("it is buffered");
        }
        producer.flush().await;
        brokers.push(broker);
    }
    let held = resident_mebibytes() - before;
    for broker in brokers {
        broker.shutdown().await.expect("nothing is left to do");
    }
    (held, resident_mebibytes() - before)
}

fn many_partitions(runtime: &Runtime, scale: Scale, report: &mut Report) {
    let count = scale.pick(1_000, 20);
    let dir = tempfile::tempdir().expect("a folder can be made");
    let (memory, files) = on_worker(runtime, fill(dir.path().to_owned(), count));
    let name = format!("{count} partitions on disk, synced: memory");
    report.figure(&name, vec![memory], mebibytes, Aim::AtMost(64.0));
    report.figure("  … open files", vec![files as f64], plain, Aim::AtMost(300.0));
    let reopened = (0..scale.pick(5, 1)).map(|_| on_worker(runtime, reopen(dir.path()))).collect();
    report.figure("  … opened again after shutdown", reopened, millis, Aim::AtMost(1_000.0));
}

/// One record in each partition: growth of resident memory, and the files that are open.
async fn fill(dir: PathBuf, partitions: i32) -> (f64, usize) {
    let before = resident_mebibytes();
    let broker = Broker::open(dir).await.expect("an empty folder opens");
    let config = TopicConfig::new().partitions(partitions);
    broker.create_topic(TOPIC, config).await.expect("it is not there yet");
    let producer = broker.producer().build();
    for partition in 0..partitions {
        let record = Record::to(TOPIC).partition(partition).value("one");
        producer.enqueue(record).await.expect("it is buffered");
    }
    producer.flush().await;
    assert_eq!(producer.stats().records_sent, partitions as u64, "all are acknowledged");
    let (memory, files) = (resident_mebibytes() - before, open_files());
    broker.shutdown().await.expect("the disk works");
    (memory, files)
}

fn reopen(dir: &Path) -> impl Future<Output = f64> + Send + 'static {
    let dir = dir.to_owned();
    async move {
        let started = Instant::now();
        let broker = Broker::open(dir).await.expect("it was closed cleanly");
        let took = started.elapsed().as_secs_f64() * 1e3;
        broker.shutdown().await.expect("the disk works");
        took
    }
}
