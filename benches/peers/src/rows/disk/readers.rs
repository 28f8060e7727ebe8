//! What readers cost a writer: eight of them, each at its own place of the same log.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ottla::{Broker, Position, TopicPartition};
use tokio::runtime::Builder;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{TOPIC, append, folder, unsynced};
use crate::machine::thread_cpu_seconds;
use crate::measure::{Aim, Metric, Row, Sample, Setup, Timer};
use crate::show::Show;
use crate::{Bench, payload};

const ALONE: &str = "writer alone";
const BESIDE: &str = "writer beside 8 readers";
const WRITER: Metric = Metric::Figure("writer's CPU per record", Show::Nanos);
const READERS: u64 = 8;
/// Each reader takes so many records, so often: 20,000 a second.
const AT_ONCE: usize = 200;
const EVERY: Duration = Duration::from_millis(10);

/// The broker and its producer are on a thread of their own, whose CPU time is looked at; so are
/// the readers. What the broker does for readers counts for the writer, if it does it there.
pub(crate) fn eight<const N: usize>(bench: &mut Bench<'_>) {
    let count = bench.scale.pick(256 << 20, 1 << 20) / N as u64;
    let durability = "on disk, in the page cache (Process); paced readers, 20,000 records/s each";
    let batch = "batches as they come";
    let setup = Setup { durability, record: N, batch, producers: 1, consumers: 8 };
    Row::new(bench.name, setup)
        .contender(BESIDE, || written::<N>(count, READERS))
        .contender(ALONE, || written::<N>(count, 0))
        .figure(WRITER)
        .compare(WRITER, BESIDE, ALONE, Aim::AtMost(1.2))
        .run(bench.scale.rounds(), bench.report);
}

fn written<const N: usize>(count: u64, readers: u64) -> Sample {
    let built =
        |name| Builder::new_multi_thread().worker_threads(1).thread_name(name).enable_all().build();
    let (writing, reading) = (built("bench-writer"), built("bench-reader"));
    let (writing, reading) = (writing.expect("it can be built"), reading.expect("it can be built"));
    let (dir, done) = (folder(), Arc::new(AtomicBool::new(false)));
    let path = dir.path().to_owned();
    let broker = crate::on_worker(&writing, async move {
        let broker = unsynced(path, 1).await;
        append::<N>(&broker, 0..count).await;
        broker
    });
    let tasks: Vec<_> = (0..readers)
        .map(|reader| {
            let from = count * reader / readers;
            reading.spawn(read(broker.clone(), from, done.clone()))
        })
        .collect();
    let (cpu, timer, appending) =
        (thread_cpu_seconds("bench-writer"), Timer::start(), broker.clone());
    crate::on_worker(&writing, async move { append::<N>(&appending, count..2 * count).await });
    let sample = timer.stop(count, 0);
    let cpu = thread_cpu_seconds("bench-writer") - cpu;
    done.store(true, Ordering::Relaxed);
    let mut sum = 0;
    for task in tasks {
        let (its, late) = reading.block_on(task).expect("nothing fails");
        assert!(!late || count < 100_000, "a reader keeps its pace");
        sum = its.wrapping_add(sum);
    }
    writing.block_on(broker.shutdown()).expect("the disk works");
    let each = cpu * 1e9 / count as f64;
    Sample { sum, ..sample }.with("writer's CPU per record", each)
}

/// The sum of what it has read, and whether it could not keep its pace.
async fn read(broker: Broker, from: u64, done: Arc<AtomicBool>) -> (u64, bool) {
    let at = TopicPartition::new(TOPIC, 0).expect("a good name");
    let mut consumer = broker.consumer().assign([at.clone()]).await.expect("it is there");
    consumer.seek(&at, Position::from(from as i64)).expect("it is assigned");
    let (mut tick, mut sum, started, mut ticks) = (interval(EVERY), 0_u64, Instant::now(), 0);
    tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
    while !done.load(Ordering::Relaxed) {
        tick.tick().await;
        ticks += 1;
        let mut left = AT_ONCE;
        while left > 0 {
            let records = consumer.poll(left).await.expect("the log is sound");
            left -= records.len();
            let payloads = records.iter().map(|it| payload::sum(it.value.unwrap_or_default()));
            sum = payloads.fold(sum, u64::wrapping_add);
        }
    }
    (sum, started.elapsed() > EVERY * ticks * 2)
}
