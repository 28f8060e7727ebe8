//! Records one at a time: an awaited `send`, and how long a record takes to its consumer.

use std::time::{Duration, Instant};

use ottla::{Broker, Record};
use tokio::sync::{mpsc, oneshot};

use crate::channels::CAPACITY;
use crate::measure::{Aim, Metric, Row, Sample, Setup, Timer};
use crate::show::Show;
use crate::{Bench, on_worker, payload};

const TOPIC: &str = "bench";
const OURS: &str = "ottla";

/// One task that awaits each acknowledgement.
pub(crate) fn sends<const N: usize>(bench: &mut Bench<'_>) {
    const ACTOR: &str = "actor, mpsc and oneshot";
    let (runtime, count) = (&bench.runtime, bench.scale.pick(300_000, 2_000));
    let durability = "in memory, each acknowledgement awaited";
    let setup = Setup { durability, record: N, batch: "one record", producers: 1, consumers: 0 };
    Row::new(bench.name, setup)
        .contender(OURS, || on_worker(runtime, awaited_sends::<N>(count)))
        .contender(ACTOR, || on_worker(runtime, awaited_actor::<N>(count)))
        .compare(TIME, OURS, ACTOR, Aim::AtMost(2.0))
        .compare(Metric::Cpu, OURS, ACTOR, Aim::None)
        .run(bench.scale.rounds(), bench.report);
}

const TIME: Metric = Metric::Figure("time each", Show::Nanos);

fn with_time(sample: Sample) -> Sample {
    let nanos = sample.seconds * 1e9 / sample.records as f64;
    sample.with("time each", nanos)
}

async fn awaited_sends<const N: usize>(count: u64) -> Sample {
    let broker = Broker::in_memory().await.expect("a broker in memory opens");
    let producer = broker.producer().build();
    producer.send(Record::to(TOPIC)).await.expect("the topic is created");
    let timer = Timer::start();
    for number in 0..count {
        let payload = payload::array::<N>(number);
        producer.send(Record::to(TOPIC).value(&payload)).await.expect("it is appended");
    }
    let sample = timer.stop(count, 0);
    broker.shutdown().await.expect("nothing is left to do");
    with_time(sample)
}

/// The least that an acknowledgement can cost: a channel to a task, a oneshot back. It keeps
/// nothing.
async fn awaited_actor<const N: usize>(count: u64) -> Sample {
    type Command = (Vec<u8>, oneshot::Sender<u64>);
    let (sender, mut receiver) = mpsc::channel::<Command>(CAPACITY);
    tokio::spawn(async move {
        let mut offset = 0;
        while let Some((payload, answer)) = receiver.recv().await {
            std::hint::black_box(payload);
            // Whoever asked is there.
            let _ = answer.send(offset);
            offset += 1;
        }
    });
    let timer = Timer::start();
    for number in 0..count {
        let (answer, answered) = oneshot::channel();
        let sent = sender.send((payload::vec(N, number), answer)).await;
        assert!(sent.is_ok(), "the actor is there");
        answered.await.expect("the actor answers");
    }
    with_time(timer.stop(count, 0))
}

const P50: Metric = Metric::Figure("p50", Show::Nanos);
const P99: Metric = Metric::Figure("p99", Show::Nanos);
const P999: Metric = Metric::Figure("p99.9", Show::Nanos);

/// From when a record was due to when its consumer has it, at 50,000 a second.
pub(crate) fn latency<const N: usize>(bench: &mut Bench<'_>) {
    const MPSC: &str = "tokio mpsc";
    let (runtime, count) = (&bench.runtime, bench.scale.pick(100_000, 1_000));
    let durability = "in memory, a record every 20 µs";
    let setup = Setup { durability, record: N, batch: "as they come", producers: 1, consumers: 1 };
    Row::new(bench.name, setup)
        .contender(OURS, || on_worker(runtime, latency_of_log::<N>(count)))
        .contender(MPSC, || on_worker(runtime, latency_of_channel::<N>(count)))
        .figure(P50)
        .figure(P99)
        .figure(P999)
        .lossless(payload::expected_sum(N, count))
        .compare(P50, OURS, MPSC, Aim::None)
        .compare(P99, OURS, MPSC, Aim::None)
        .compare(P999, OURS, MPSC, Aim::None)
        .run(bench.scale.rounds(), bench.report);
}

const EACH: Duration = Duration::from_micros(20);

/// Waits for when the next record is due, without leaving the processor to sleep: timers are not
/// that exact. Other tasks have their turns.
async fn until(due: Instant) {
    while Instant::now() < due {
        tokio::task::yield_now().await;
    }
}

/// How late each record was, in nanoseconds, from when it was due.
struct Latencies {
    started: Instant,
    nanos: Vec<u64>,
}

impl Latencies {
    fn new(started: Instant, count: u64) -> Self {
        Latencies { started, nanos: Vec::with_capacity(count as usize) }
    }

    fn received(&mut self) {
        let due = EACH * self.nanos.len() as u32;
        let nanos = self.started.elapsed().saturating_sub(due).as_nanos();
        self.nanos.push(nanos as u64);
    }

    fn of(mut self, sample: Sample) -> Sample {
        self.nanos.sort_unstable();
        let at = |part: f64| self.nanos[((self.nanos.len() - 1) as f64 * part) as usize] as f64;
        sample.with("p50", at(0.5)).with("p99", at(0.99)).with("p99.9", at(0.999))
    }
}

async fn latency_of_log<const N: usize>(count: u64) -> Sample {
    let broker = Broker::in_memory().await.expect("a broker in memory opens");
    let mut consumer = broker.consumer().subscribe([TOPIC]).await.expect("the topic is created");
    let producer = broker.producer().build();
    producer.partitions_for(TOPIC).await.expect("it is there");
    let (timer, started) = (Timer::start(), Instant::now());
    let receiving = tokio::spawn(async move {
        let (mut latencies, mut sum) = (Latencies::new(started, count), 0_u64);
        for _ in 0..count {
            let record = consumer.recv().await.expect("nothing is lost");
            latencies.received();
            sum = sum.wrapping_add(payload::sum(record.value.as_deref().unwrap_or_default()));
        }
        (latencies, sum)
    });
    for number in 0..count {
        until(started + EACH * number as u32).await;
        let payload = payload::array::<N>(number);
        producer.enqueue(Record::to(TOPIC).value(&payload)).await.expect("it is buffered");
    }
    let (latencies, sum) = receiving.await.expect("nothing fails");
    let sample = latencies.of(timer.stop(count, sum));
    broker.shutdown().await.expect("nothing is left to do");
    sample
}

async fn latency_of_channel<const N: usize>(count: u64) -> Sample {
    let (sender, mut receiver) = mpsc::channel::<Vec<u8>>(CAPACITY);
    let (timer, started) = (Timer::start(), Instant::now());
    let receiving = tokio::spawn(async move {
        let (mut latencies, mut sum) = (Latencies::new(started, count), 0_u64);
        while let Some(payload) = receiver.recv().await {
            latencies.received();
            sum = sum.wrapping_add(payload::sum(&payload));
        }
        (latencies, sum)
    });
    for number in 0..count {
        until(started + EACH * number as u32).await;
        sender.send(payload::vec(N, number)).await.expect("the receiver is there");
    }
    drop(sender);
    let (latencies, sum) = receiving.await.expect("nothing fails");
    latencies.of(timer.stop(count, sum))
}
