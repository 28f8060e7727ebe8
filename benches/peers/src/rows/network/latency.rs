//! How late records are at half of the rate that the slower broker takes: from when each was due,
//! whether or not it could be sent then, until it is acknowledged, and until a consumer of this
//! process has it. Nobody waits for an answer before the next is sent.
//!
//! The producer is a thread of its own, which wakes up some ten thousand times a second.

use std::cell::Cell;
use std::time::{Duration, Instant};

use ottla::{Client, Delivery, Producer, Record};
use tokio::sync::mpsc;

use super::brokers::Process;
use super::{KAFKA, OURS, both, load, setup, throughput};
use crate::measure::{Aim, Metric, Row, Sample, Timer};
use crate::show::Show;
use crate::{Bench, on_worker, payload};

/// How long the producer sleeps when nothing is due. Waking up takes as long once more.
const NAP: Duration = Duration::from_micros(50);
/// One of so many is not counted at the beginning, where all are new to each other.
const LEAD_IN: usize = 10;
/// What is late by half, one in a hundred, one in a thousand.
const QUANTILES: [f64; 3] = [0.5, 0.99, 0.999];
const ACKNOWLEDGED: [&str; 3] = ["acknowledged p50", "acknowledged p99", "acknowledged p99.9"];
const CONSUMED: [&str; 3] = ["consumed p50", "consumed p99", "consumed p99.9"];

/// When each record is due.
#[derive(Clone, Copy)]
struct Pace {
    start: Instant,
    per_second: f64,
}

impl Pace {
    fn late_now(&self, number: u64) -> Duration {
        let due = Duration::from_secs_f64(number as f64 / self.per_second);
        self.start.elapsed().saturating_sub(due)
    }

    /// How many are due by now.
    fn due_now(&self) -> u64 {
        (self.start.elapsed().as_secs_f64() * self.per_second) as u64
    }
}

pub(crate) fn latency<const N: usize>(bench: &mut Bench<'_>) {
    let Some(both) = both(bench) else { return };
    let (runtime, name, topics) = (&bench.runtime, bench.name, Cell::new(0));
    let topic = || format!("{name}-{}", topics.replace(topics.get() + 1));
    let count = throughput::count(bench.scale, N);
    let produce = |which| {
        let at = (which, both.clone());
        on_worker(runtime, throughput::produce_anew::<N>(at, topic(), count))
    };
    load::warm_up(bench.scale.quick, || produce(1));
    let slower = Metric::Rate.of(&produce(0)).min(Metric::Rate.of(&produce(1)));
    let per_second = slower / 2.0;
    let count = (per_second * bench.scale.pick(10.0, 1.0)) as u64;
    let paced = |which: usize| {
        on_worker(runtime, one_round::<N>(both[which].clone(), topic(), per_second, count))
    };
    let mut row = Row::new(name, setup(N, "half of what the slower broker takes", 1, 1))
        .contender(OURS, || paced(0))
        .contender(KAFKA, || paced(1));
    for name in ACKNOWLEDGED.into_iter().chain(CONSUMED) {
        row = row.figure(Metric::Figure(name, Show::Nanos));
    }
    for (index, name) in ACKNOWLEDGED.into_iter().chain(CONSUMED).enumerate() {
        // The aim is that of what is acknowledged.
        let aim = if index == 1 { Aim::AtMost(0.5) } else { Aim::None };
        row = row.compare(Metric::Figure(name, Show::Nanos), OURS, KAFKA, aim);
    }
    row.lossless(payload::expected_sum(N, count)).run(bench.scale.pick(5, 1), bench.report);
}

async fn one_round<const N: usize>(
    broker: Process,
    topic: String,
    per_second: f64,
    count: u64,
) -> Sample {
    let client = load::begin(&broker, &topic).await;
    let producer = client.producer().build();
    producer.send(Record::to(&*topic).value("")).await.expect("the broker takes it");
    let (to_confirm, deliveries) = mpsc::unbounded_channel();
    let pace = Pace { start: Instant::now(), per_second };
    let timer = Timer::start();
    let (to, its) = (topic.clone(), producer.clone());
    let sending = std::thread::spawn(move || send::<N>(&its, &to, pace, count, &to_confirm));
    let confirming = tokio::spawn(confirm(deliveries, pace));
    let consuming = tokio::spawn(consume(client.clone(), topic.clone(), pace, count));
    let acknowledged = confirming.await.expect("nothing fails");
    let (consumed, sum) = consuming.await.expect("nothing fails");
    let mut sample = timer.stop(count, sum);
    sending.join().expect("nothing fails");
    client.admin().delete_topic(&topic).await.expect("the topic is there");
    for (names, late) in [(ACKNOWLEDGED, acknowledged), (CONSUMED, consumed)] {
        assert_eq!(late.len() as u64, count, "nothing is missing");
        for (name, nanos) in names.into_iter().zip(quantiles(late)) {
            sample = sample.with(name, nanos);
        }
    }
    sample
}

/// Sends what is due, and only then.
fn send<const N: usize>(
    producer: &Producer,
    topic: &str,
    pace: Pace,
    count: u64,
    to_confirm: &mpsc::UnboundedSender<Vec<Delivery>>,
) {
    let mut number = 0;
    while number < count {
        let due = pace.due_now().min(count);
        let mut sent = Vec::with_capacity((due - number) as usize);
        while number < due {
            let payload = payload::array::<N>(number);
            let delivery = producer.enqueue_blocking(Record::to(topic).value(&payload));
            sent.push(delivery.expect("it is buffered"));
            number += 1;
        }
        if !sent.is_empty() {
            to_confirm.send(sent).expect("the other end waits for all");
        }
        std::thread::sleep(NAP);
    }
}

/// How late each was acknowledged, in nanoseconds. They are in one partition, and so in order.
async fn confirm(mut sent: mpsc::UnboundedReceiver<Vec<Delivery>>, pace: Pace) -> Vec<u64> {
    let mut late = Vec::new();
    while let Some(deliveries) = sent.recv().await {
        for delivery in deliveries {
            delivery.await.expect("the broker takes it");
            late.push(pace.late_now(late.len() as u64).as_nanos() as u64);
        }
    }
    late
}

/// How late each was here, and the sum of all.
async fn consume(client: Client, topic: String, pace: Pace, count: u64) -> (Vec<u64>, u64) {
    let mut consumer = client.consumer().subscribe([&*topic]).await.expect("the topic is there");
    let (mut late, mut sum) = (Vec::new(), 0_u64);
    while (late.len() as u64) < count {
        let records = consumer.poll(load::POLLED).await.expect("nothing is lost");
        let values = records.iter().map(|it| it.value.unwrap_or_default());
        for value in values.filter(|value| !value.is_empty()) {
            sum = sum.wrapping_add(payload::sum(value));
            late.push(pace.late_now(late.len() as u64).as_nanos() as u64);
        }
    }
    (late, sum)
}

fn quantiles(mut late: Vec<u64>) -> [f64; 3] {
    late.drain(..late.len() / LEAD_IN);
    late.sort_unstable();
    QUANTILES.map(|part| {
        let index = ((late.len() as f64 * part) as usize).min(late.len() - 1);
        late[index] as f64
    })
}
