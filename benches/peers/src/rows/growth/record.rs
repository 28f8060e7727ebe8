//! Records from 10 B to 10 MiB, in memory, from one producer to one consumer.

use ottla::{Broker, MemoryPolicy, Record, TopicConfig};

use super::{FLAT, TOPIC, costs, read, sampled, series};
use crate::measure::{Sample, Timer};
use crate::report::Growth;
use crate::show::Show;
use crate::{Bench, on_worker, payload};

/// From here on it is bytes that count.
const LARGE: usize = 1 << 10;
const SIZES: [usize; 9] = [10, 100, 500, LARGE, 10 << 10, 100 << 10, 1 << 20, 4 << 20, 10 << 20];
/// What the topic and the producer take.
const LIMIT: usize = 16 << 20;
const MEMORY: usize = 256 << 20;

/// A record costs something by itself, and something for each byte. So below 1 KiB what is to be
/// flat is the CPU for a record, and from there on that for a byte; 1 KiB is in neither's way, and
/// the two are judged apart. Building each payload and reading it to the last byte is in both.
pub(crate) fn record(bench: &mut Bench<'_>) {
    let mut small = series("CPU a record", FLAT);
    let mut large = series("CPU a KiB", FLAT);
    on_worker(&bench.runtime, work(SIZES[0], 1_000));
    for size in SIZES {
        let count = match size {
            ..LARGE => bench.scale.pick(2_000_000, 20_000),
            _ => bench.scale.pick(1 << 30, 64 << 20) / size as u64,
        };
        let round = || on_worker(&bench.runtime, work(size, count));
        let samples = sampled(bench.scale, round);
        let cpu = costs(&samples).0;
        match size {
            ..LARGE => small.points.push((size as f64, cpu)),
            _ => large.points.push((size as f64, cpu * 1024.0 / size as f64)),
        }
    }
    let setup = "in memory; one producer, one consumer; a record below 1 KiB, a KiB from there on";
    let (row, along, show, series) =
        (bench.name, "bytes of a record", Show::Bytes, vec![small, large]);
    bench.report.growth(setup, Growth { row, along, show, series });
}

async fn work(size: usize, count: u64) -> Sample {
    let builder = Broker::builder().memory_limit(MEMORY).memory_policy(MemoryPolicy::Block);
    let broker = builder.in_memory().await.expect("a broker in memory opens");
    let config = TopicConfig::new().max_message_bytes(LIMIT);
    broker.create_topic(TOPIC, config).await.expect("it is not there yet");
    let mut consumer = broker.consumer().subscribe([TOPIC]).await.expect("the topic is there");
    let producer = broker.producer().max_request_size(LIMIT).build();
    let timer = Timer::start();
    let sending = tokio::spawn(async move {
        let mut payload = vec![0; size];
        for number in 0..count {
            payload::fill(&mut payload, number);
            producer.enqueue(Record::to(TOPIC).value(&payload)).await.expect("it is buffered");
        }
        producer.flush().await;
    });
    let sum = read(&mut consumer, count).await;
    sending.await.expect("nothing fails");
    let sample = timer.stop(count, sum);
    assert_eq!(sum, payload::expected_sum(size, count), "every payload byte was read");
    drop(consumer);
    broker.shutdown().await.expect("nothing is left to do");
    sample
}
