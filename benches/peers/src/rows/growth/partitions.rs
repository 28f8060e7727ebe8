//! Partitions of one topic on disk, in a process that may have 1,024 files open.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ottla::{Broker, Durability, Producer, Record, TopicConfig};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::runtime::Runtime;

use super::{FLAT, TOPIC, costs, read, rounds, series, warm_memory, weight_of_one};
use crate::measure::{Aim, Sample, Timer};
use crate::report::Growth;
use crate::show::Show;
use crate::{Bench, on_worker, payload};

const RECORD: usize = 100;
const FILES: u64 = 1024;
/// So many records on end go to one partition.
const RUN: u64 = 10;
/// From so many on there is one round.
const MANY: i32 = 1_000;
/// How long what is weighed has been idle.
const IDLE: Duration = Duration::from_secs(1);

/// Each partition has a record before anything counts. Then the same number of records is spread
/// over all of them, ten on end to each in turn, three times: as a stream, where what waits for a
/// partition makes a batch, so that batches get smaller as partitions get more; flushed after each
/// ten, so that there is a batch of ten whatever the number of partitions; and all of it is read by
/// one consumer. The weight of an idle partition is that of one with its record and nothing to do
/// for a second, its producer gone.
pub(crate) fn partitions(bench: &mut Bench<'_>) {
    let limit = Limit::set(FILES);
    let counts: &[i32] = bench.scale.pick(&[1, 10, 100, 1_000, 10_000], &[1, 10, 100]);
    let total = bench.scale.pick(100_000, 2_000);
    let names =
        ["stream CPU", "stream time", "flushed CPU", "flushed time", "read CPU", "read time"];
    let mut all: Vec<_> = names.into_iter().map(|name| series(name, FLAT)).collect();
    // The first is not counted.
    on_worker(&bench.runtime, work(folder().path().to_owned(), 1, total));
    let mut opened = Vec::new();
    for count in counts {
        let mut samples = [Vec::new(), Vec::new(), Vec::new()];
        // Ten thousand take minutes, most of it to be closed: each is synced.
        let rounds = if *count < MANY { rounds(bench.scale) } else { 1 };
        for _ in 0..rounds {
            let folder = folder();
            warm_memory(bench.scale);
            let done = on_worker(&bench.runtime, work(folder.path().to_owned(), *count, total));
            samples.iter_mut().zip(done).for_each(|(all, one)| all.push(one));
            if Some(count) == counts.last() {
                opened.push(on_worker(&bench.runtime, open(folder.path().to_owned())));
            }
        }
        let costs = samples.iter().flat_map(|it| <[f64; 2]>::from(costs(it)));
        for (series, cost) in all.iter_mut().zip(costs) {
            series.points.push((f64::from(*count), cost));
        }
    }
    let most = *counts.last().expect("there are some") as u64;
    let weight = weight_of_one("partitions", most);
    drop(limit);
    let setup = format!("on disk, page cache; {total} records of {RECORD} B over all partitions");
    let (row, along) = (bench.name, "partitions");
    bench.report.growth(&setup, Growth { row, along, show: Show::Count, series: all });
    let what = format!("memory of one of {most} idle partitions");
    bench.report.figure(&what, Show::Bytes, &[weight], Aim::AtMost(8192.0));
    let what = format!("opening {most} partitions that were closed");
    bench.report.figure(&what, Show::Millis, &opened, Aim::AtMost(1e3));
}

/// How many files may be open, until it is dropped.
struct Limit {
    before: Rlimit,
}

impl Limit {
    fn set(files: u64) -> Limit {
        let before = getrlimit(Resource::Nofile);
        let lower = Rlimit { current: Some(files), maximum: before.maximum };
        setrlimit(Resource::Nofile, lower).expect("a lower limit is always granted");
        Limit { before }
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        // It was in force before.
        let _ = setrlimit(Resource::Nofile, self.before.clone());
    }
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder can be made")
}

/// A broker with a record in each partition.
async fn begin(folder: &Path, partitions: i32) -> (Broker, Producer) {
    let broker = Broker::open(folder).await.expect("an empty folder opens");
    let config = TopicConfig::new().partitions(partitions).durability(Durability::Process);
    broker.create_topic(TOPIC, config).await.expect("it is not there yet");
    let producer = broker.producer().build();
    for partition in 0..partitions {
        let record = Record::to(TOPIC).partition(partition).value("");
        producer.enqueue(record).await.expect("it is buffered");
    }
    producer.flush().await;
    (broker, producer)
}

/// Streaming, flushing, and reading both.
async fn work(folder: PathBuf, partitions: i32, total: u64) -> [Sample; 3] {
    let (broker, producer) = begin(&folder, partitions).await;
    let stream = produce(&producer, partitions, total, false).await;
    let flushed = produce(&producer, partitions, total, true).await;
    let stats = producer.stats();
    assert_eq!(stats.records_sent, 2 * total + partitions as u64, "all are acknowledged");
    let count = 2 * total + partitions as u64;
    let timer = Timer::start();
    let mut consumer = broker.consumer().subscribe([TOPIC]).await.expect("the topic is there");
    let sum = read(&mut consumer, count).await;
    let consumed = timer.stop(count, sum);
    let expected = payload::expected_sum(RECORD, total).wrapping_mul(2);
    assert_eq!(sum, expected, "every payload byte was read");
    drop((producer, consumer));
    broker.shutdown().await.expect("the disk works");
    [stream, flushed, consumed]
}

async fn produce(producer: &Producer, partitions: i32, total: u64, flush: bool) -> Sample {
    let timer = Timer::start();
    for number in 0..total {
        let partition = (number / RUN % partitions as u64) as i32;
        let payload = payload::array::<RECORD>(number);
        let record = Record::to(TOPIC).partition(partition).value(&payload);
        producer.enqueue(record).await.expect("it is buffered");
        if flush && number % RUN == RUN - 1 {
            producer.flush().await;
        }
    }
    producer.flush().await;
    timer.stop(total, 0)
}

/// Milliseconds for opening what was closed.
async fn open(folder: PathBuf) -> f64 {
    let started = Instant::now();
    let broker = Broker::open(folder).await.expect("it was closed");
    let took = started.elapsed().as_secs_f64() * 1e3;
    broker.shutdown().await.expect("the disk works");
    took
}

/// What is weighed.
pub(super) fn hold(runtime: &Runtime, count: u64, weigh: impl FnOnce()) {
    let folder = folder();
    let broker = runtime.block_on(async {
        let (broker, producer) = begin(folder.path(), count as i32).await;
        drop(producer);
        tokio::time::sleep(IDLE).await;
        broker
    });
    weigh();
    // The process ends here: nothing is synced for nobody.
    drop(folder);
    drop(broker);
}
