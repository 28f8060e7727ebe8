//! Reading a topic from its beginning, the page cache warm, against `read(2)` in 1 MiB calls.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::Instant;

use ottla::{Broker, Durability, Record, TopicConfig};
use tokio::runtime::Runtime;

use crate::payload::{self, rate};
use crate::report::{Aim, Report, alternate, gigabytes_per_second};
use crate::{Scale, on_worker};

const TOPIC: &str = "bench";
const CALL: usize = 1 << 20;

pub(crate) fn run(runtime: &Runtime, scale: Scale, report: &mut Report) {
    read::<1024>(runtime, scale, report, "catch-up, 1 KiB | read(2)");
    read::<100>(runtime, scale, report, "catch-up, 100 B | read(2)");
}

fn read<const N: usize>(runtime: &Runtime, scale: Scale, report: &mut Report, name: &str) {
    let dir = tempfile::tempdir().expect("a folder can be made");
    let count = scale.pick(256 << 20, 1 << 20) / N as u64;
    let path = dir.path().to_owned();
    let broker = on_worker(runtime, async move {
        let broker = Broker::open(path).await.expect("an empty folder opens");
        fill::<N>(&broker, count).await;
        broker
    });
    let log = dir.path().join(format!("{TOPIC}-0/{:020}.log", 0));
    let ours = || on_worker(runtime, consume(broker.clone(), count));
    let pairs = alternate(scale.rounds(), ours, || read_calls(&log));
    report.ratios(name, &pairs, gigabytes_per_second, Aim::None);
    runtime.block_on(broker.shutdown()).expect("the disk works");
}

async fn fill<const N: usize>(broker: &Broker, count: u64) {
    let config = TopicConfig::new().durability(Durability::Process);
    broker.create_topic(TOPIC, config).await.expect("it is not there yet");
    let producer = broker.producer().build();
    for counter in 0..count {
        let payload = payload::array::<N>(counter);
        producer.enqueue(Record::to(TOPIC).value(&payload)).await.expect("it is buffered");
    }
    producer.flush().await;
}

/// Bytes of the log a second.
async fn consume(broker: Broker, count: u64) -> f64 {
    let mut consumer = broker.consumer().subscribe([TOPIC]).await.expect("it is there");
    let (mut received, mut sum) = (0, 0);
    let started = Instant::now();
    while received < count {
        let records = consumer.poll(10_000).await.expect("the log is sound");
        received += records.len() as u64;
        sum += records.iter().map(|it| payload::sum(it.value.unwrap_or_default())).sum::<u64>();
    }
    std::hint::black_box(sum);
    let topic = broker.describe_topic(TOPIC).expect("it is there");
    rate(topic.partitions[0].size_bytes, started)
}

/// Bytes a second, each of them summed up as well.
fn read_calls(path: &Path) -> f64 {
    let mut file = File::open(path).expect("the log is there");
    let (mut buffer, mut bytes, mut sum) = (vec![0; CALL], 0, 0);
    let started = Instant::now();
    loop {
        let read = file.read(&mut buffer).expect("the disk works");
        if read == 0 {
            break;
        }
        bytes += read as u64;
        sum += payload::sum(&buffer[..read]);
    }
    std::hint::black_box(sum);
    rate(bytes, started)
}
