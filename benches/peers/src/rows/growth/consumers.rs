//! Consumers in memory, each of which reads everything by itself.

use ottla::{Broker, Record};

use super::{FLAT, TOPIC, costs, read, sampled, series};
use crate::channels::the_same;
use crate::measure::{Sample, Timer};
use crate::report::Growth;
use crate::show::Show;
use crate::{Bench, on_worker, payload};

const RECORD: usize = 100;

/// All records are there before the consumers begin, and there are fewer, the more read them, so
/// that as many are delivered.
pub(crate) fn consumers(bench: &mut Bench<'_>) {
    let deliveries = bench.scale.pick(4_000_000, 200_000);
    let mut cpu = series("CPU", FLAT);
    on_worker(&bench.runtime, work(1, deliveries));
    for count in [1, 10, 100, 1_000] {
        let round = || on_worker(&bench.runtime, work(count, deliveries));
        let samples = sampled(bench.scale, round);
        cpu.points.push((count as f64, costs(&samples).0));
    }
    let setup = format!("in memory; {deliveries} deliveries of {RECORD} B, over all consumers");
    let (row, along, show, series) = (bench.name, "consumers", Show::Count, vec![cpu]);
    bench.report.growth(&setup, Growth { row, along, show, series });
}

async fn work(consumers: usize, deliveries: u64) -> Sample {
    let count = deliveries / consumers as u64;
    let enough = (RECORD as u64 + 100) * count + (64 << 20);
    let broker = Broker::builder().memory_limit(enough as usize).in_memory();
    let broker = broker.await.expect("a broker in memory opens");
    let producer = broker.producer().build();
    for number in 0..count {
        let payload = payload::array::<RECORD>(number);
        producer.enqueue(Record::to(TOPIC).value(&payload)).await.expect("it is buffered");
    }
    producer.flush().await;
    let mut handles = Vec::new();
    for _ in 0..consumers {
        handles.push(broker.consumer().subscribe([TOPIC]).await.expect("the topic is there"));
    }
    let timer = Timer::start();
    let reading = handles.into_iter();
    let reading =
        reading.map(|mut consumer| tokio::spawn(async move { read(&mut consumer, count).await }));
    let sum = the_same(reading.collect()).await;
    let sample = timer.stop(count * consumers as u64, sum);
    assert_eq!(sum, payload::expected_sum(RECORD, count), "every payload byte was read");
    broker.shutdown().await.expect("nothing is left to do");
    sample
}
