//! Group commit: how many records of awaited senders share a sync, and what that is worth.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use ottla::{Broker, Producer, Record, TopicConfig};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use crate::counting::CountingStorage;
use crate::payload::{self, rate};
use crate::report::{Aim, Report, alternate, per_second, plain};
use crate::{Scale, on_worker};

const TOPIC: &str = "bench";

pub(crate) fn run(runtime: &Runtime, scale: Scale, report: &mut Report) {
    for senders in [1, 8, 64] {
        let each = scale.pick(200, 5);
        let mut shared = Vec::new();
        let ours = || {
            let dir = tempfile::tempdir().expect("a folder can be made");
            let sent = send_all(dir.path().to_owned(), senders, each);
            let (rate, records_per_sync) = on_worker(runtime, sent);
            shared.push(records_per_sync);
            rate
        };
        let reference = || {
            let dir = tempfile::tempdir().expect("a folder can be made");
            write_and_sync::<100>(&dir.path().join("file"), each)
        };
        let pairs = alternate(scale.pick(5, 1), ours, reference);
        let name = format!("synced, {senders} awaited senders | write+fdatasync");
        report.ratios(&name, &pairs, per_second, Aim::None);
        shared.remove(0); // warming up
        let aim = Aim::AtLeast(0.9 * f64::from(senders));
        report.figure("  … records per sync", shared, plain, aim);
    }
}

/// A stream that is synced, against syncs of as many bytes as a batch has.
pub(crate) fn streamed(runtime: &Runtime, scale: Scale, report: &mut Report) {
    let count = scale.pick(30_000, 500);
    let mut shared = Vec::new();
    let ours = || {
        let dir = tempfile::tempdir().expect("a folder can be made");
        let (rate, records_per_sync) = on_worker(runtime, stream(dir.path().to_owned(), count));
        shared.push(records_per_sync);
        rate
    };
    let reference = || {
        let dir = tempfile::tempdir().expect("a folder can be made");
        64.0 * write_and_sync::<{ 64 << 10 }>(&dir.path().join("file"), count / 64)
    };
    let pairs = alternate(scale.pick(5, 1), ours, reference);
    let name = "synced stream, 1 KiB | 64 KiB write+fdatasync";
    report.ratios(name, &pairs, per_second, Aim::None);
    report.figure("  … records per sync", shared, plain, Aim::None);
}

/// Records a second, and records for each sync.
async fn stream(dir: PathBuf, count: u64) -> (f64, f64) {
    let syncs = Arc::new(AtomicU64::new(0));
    let storage = Arc::new(CountingStorage::new(&dir, syncs.clone()));
    let broker = Broker::builder().open_on(storage).await.expect("an empty folder opens");
    let producer = broker.producer().build();
    producer.send(Record::to(TOPIC)).await.expect("it is synced");
    let (before, started) = (syncs.load(Ordering::Relaxed), Instant::now());
    for counter in 0..count {
        let payload = payload::array::<1024>(counter);
        producer.enqueue(Record::to(TOPIC).value(&payload)).await.expect("it is buffered");
    }
    producer.flush().await;
    let rate = rate(count, started);
    let syncs = syncs.load(Ordering::Relaxed) - before;
    broker.shutdown().await.expect("the disk works");
    (rate, count as f64 / syncs as f64)
}

/// Records a second, and records for each sync.
async fn send_all(dir: PathBuf, senders: u32, each: u64) -> (f64, f64) {
    let syncs = Arc::new(AtomicU64::new(0));
    let storage = Arc::new(CountingStorage::new(&dir, syncs.clone()));
    let broker = Broker::builder().open_on(storage).await.expect("an empty folder opens");
    broker.create_topic(TOPIC, TopicConfig::new()).await.expect("it is not there yet");
    let producer = broker.producer().build();
    producer.send(Record::to(TOPIC)).await.expect("it is synced");
    let (before, started) = (syncs.load(Ordering::Relaxed), Instant::now());
    let mut tasks = JoinSet::new();
    for _ in 0..senders {
        tasks.spawn(send_some(producer.clone(), each));
    }
    tasks.join_all().await;
    let count = u64::from(senders) * each;
    let rate = rate(count, started);
    let syncs = syncs.load(Ordering::Relaxed) - before;
    broker.shutdown().await.expect("the disk works");
    (rate, count as f64 / syncs as f64)
}

async fn send_some(producer: Producer, count: u64) {
    for counter in 0..count {
        let payload = payload::array::<100>(counter);
        producer.send(Record::to(TOPIC).value(&payload)).await.expect("it is synced");
    }
}

fn write_and_sync<const N: usize>(path: &Path, count: u64) -> f64 {
    let mut file = File::create(path).expect("a file can be made");
    let started = Instant::now();
    for counter in 0..count {
        file.write_all(&payload::array::<N>(counter)).expect("the disk works");
        file.sync_data().expect("the disk works");
    }
    rate(count, started)
}
