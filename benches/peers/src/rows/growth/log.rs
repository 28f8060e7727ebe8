//! One partition's log on disk, as it gets longer.

use std::path::{Path, PathBuf};
use std::time::Instant;

use ottla::{Broker, Durability, Producer, Record, TopicConfig, TopicPartition};

use super::{FLAT, TOPIC, read, series};
use crate::measure::{Aim, Metric, Sample, Spread, Timer};
use crate::report::Growth;
use crate::show::Show;
use crate::{Bench, on_worker, payload};

const RECORD: usize = 1024;
const GIB: u64 = 1 << 30;
/// What is left free for others.
const SPARED: u64 = 20 * GIB;
/// So many of the last records are read.
const LAST: u64 = 1000;
/// So much is appended at each point, and timed.
const PROBE: u64 = 16 << 20;

/// The log grows once, without retention, and is closed, which syncs it. Then, five times over, it is
/// opened, another 16 MiB are appended, and the last thousand records are read by their offset.
/// Medians count; of what is appended CPU, as its time is the disk's. What opening costs is shown:
/// it is for each of the segments, no record's.
pub(crate) fn log(bench: &mut Bench<'_>) {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let most = bench.scale.pick(20 * GIB, 100 << 20);
    let largest = most.min(free(folder.path()).saturating_sub(SPARED));
    let mebi = 1_u64 << 20;
    let sizes = [mebi, 10 * mebi, 100 * mebi, GIB, 10 * GIB, 20 * GIB];
    let mut sizes: Vec<u64> = sizes.into_iter().filter(|size| *size <= largest).collect();
    if sizes.is_empty() {
        let why = format!("less than {} are free", Show::Bytes.text((SPARED + mebi) as f64));
        return bench.report.leave_out(bench.name, &why);
    }
    if largest < most {
        sizes.push(largest);
        let text = Show::Bytes.text(largest as f64);
        println!("\n{}: only up to {text}, which leaves 20 GiB of the disk free", bench.name);
    }
    let names = ["append CPU", "read of the last 1,000", "open"];
    let aims = [FLAT, FLAT, Aim::None];
    let mut all: Vec<_> =
        names.into_iter().zip(aims).map(|(name, aim)| series(name, aim)).collect();
    let mut written = 0;
    for size in sizes {
        let done = work(folder.path().to_owned(), written, size / RECORD as u64);
        let (costs, count) = on_worker(&bench.runtime, done);
        written = count;
        for (series, cost) in all.iter_mut().zip(costs) {
            series.points.push((size as f64, cost));
        }
    }
    let setup = "on disk, page cache; records of 1 KiB, one partition";
    let (row, along, show) = (bench.name, "bytes in the log", Show::Bytes);
    bench.report.growth(setup, Growth { row, along, show, series: all });
}

fn free(folder: &Path) -> u64 {
    let said = rustix::fs::statvfs(folder).expect("the folder is there");
    said.f_bavail * said.f_frsize
}

/// Grows the log up to so many records, and looks what things cost there.
async fn work(folder: PathBuf, written: u64, until: u64) -> ([f64; 3], u64) {
    let broker = Broker::open(&folder).await.expect("it was closed");
    if written == 0 {
        let config = TopicConfig::new().durability(Durability::Process).retention(None);
        broker.create_topic(TOPIC, config).await.expect("it is not there yet");
    }
    let producer = broker.producer().build();
    let mut end = until.max(written);
    append(&producer, written, end).await;
    drop(producer);
    broker.shutdown().await.expect("the disk works");
    let (mut appended, mut opened, mut read) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..5 {
        let started = Instant::now();
        let broker = Broker::open(&folder).await.expect("it was closed");
        opened.push(started.elapsed().as_nanos() as f64);
        let producer = broker.producer().build();
        let from = end;
        end += PROBE / RECORD as u64;
        appended.push(Metric::Cpu.of(&append(&producer, from, end).await));
        let started = Instant::now();
        read_last(&broker, end).await;
        read.push(started.elapsed().as_nanos() as f64);
        drop(producer);
        broker.shutdown().await.expect("the disk works");
    }
    ([appended, read, opened].map(|all| Spread::of(&all).median), end)
}

async fn append(producer: &Producer, from: u64, to: u64) -> Sample {
    let timer = Timer::start();
    for number in from..to {
        let payload = payload::array::<RECORD>(number);
        producer.enqueue(Record::to(TOPIC).value(&payload)).await.expect("it is buffered");
    }
    producer.flush().await;
    assert_eq!(producer.stats().records_failed, 0, "all are acknowledged");
    timer.stop(to - from, 0)
}

async fn read_last(broker: &Broker, end: u64) {
    let at = TopicPartition::new(TOPIC, 0).expect("a good name");
    let consumer = broker.consumer().assign([at.clone()]).await;
    let mut consumer = consumer.expect("the topic is there");
    consumer.seek(&at, (end - LAST) as i64).expect("it is assigned");
    let sum = read(&mut consumer, LAST).await;
    let numbers = end - LAST..end;
    let expected = numbers.map(|number| payload::sum(&payload::array::<RECORD>(number)));
    assert_eq!(sum, expected.fold(0, u64::wrapping_add), "every payload byte was read");
}
