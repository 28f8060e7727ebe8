//! In memory: a stream of records against `tokio::sync::mpsc`, awaited sends against an actor.

use std::time::Instant;

use ottla::{Broker, Consumer, MemoryPolicy, Producer, Record};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};

use crate::payload::{self, nanos_each, rate};
use crate::report::{Aim, Report, alternate, nanos, per_second};
use crate::{Scale, on_worker};

const TOPIC: &str = "bench";
/// What the broker may keep: little enough that memory is freed and used again all the time.
const MEMORY: usize = 64 << 20;
/// The capacity of the channel that we are measured against.
const CHANNEL: usize = 1024;

/// How the consumer receives: `poll` against `recv_many`, `recv` against `recv`.
#[derive(Clone, Copy)]
enum Receive {
    Poll,
    Recv,
}

pub(crate) fn run(runtime: &Runtime, scale: Scale, report: &mut Report) {
    let count = scale.pick(3_000_000, 20_000);
    let aim = Aim::AtLeast(1.0);
    streamed::<100>(runtime, scale, report, "100 B, enqueue -> poll", Receive::Poll, count, aim);
    streamed::<100>(
        runtime,
        scale,
        report,
        "100 B, enqueue -> recv",
        Receive::Recv,
        count,
        Aim::None,
    );
    let count = scale.pick(600_000, 5_000);
    let none = Aim::None;
    streamed::<1024>(runtime, scale, report, "1 KiB, enqueue -> poll", Receive::Poll, count, none);
}

fn streamed<const N: usize>(
    runtime: &Runtime,
    scale: Scale,
    report: &mut Report,
    name: &str,
    receive: Receive,
    count: u64,
    aim: Aim,
) {
    let sum = payload::expected_sum::<N>(count);
    let ours = || {
        let (rate, got) = on_worker(runtime, through_log::<N>(count, receive));
        assert_eq!(got, sum, "lossless");
        rate
    };
    let reference = || {
        let (rate, got) = on_worker(runtime, through_channel::<N>(count, receive));
        assert_eq!(got, sum, "lossless");
        rate
    };
    let pairs = alternate(scale.rounds(), ours, reference);
    report.ratios(&format!("memory 1->1, {name} | mpsc"), &pairs, per_second, aim);
}

/// Records a second, and the sum of all bytes.
async fn through_log<const N: usize>(count: u64, receive: Receive) -> (f64, u64) {
    let broker = blocking_broker().await;
    let consumer = broker.consumer().subscribe([TOPIC]).await.expect("the topic is created");
    let producer = broker.producer().build();
    let started = Instant::now();
    let sending = tokio::spawn(produce::<N>(producer, count));
    let receiving = tokio::spawn(async move {
        match receive {
            Receive::Poll => poll_all(consumer, count).await,
            Receive::Recv => recv_all(consumer, count).await,
        }
    });
    let sum = receiving.await.expect("nothing fails");
    let rate = rate(count, started);
    sending.await.expect("nothing fails");
    broker.shutdown().await.expect("nothing is left to do");
    (rate, sum)
}

async fn blocking_broker() -> Broker {
    let builder = Broker::builder().memory_limit(MEMORY).memory_policy(MemoryPolicy::Block);
    builder.in_memory().await.expect("a broker in memory opens")
}

async fn produce<const N: usize>(producer: Producer, count: u64) {
    for counter in 0..count {
        let payload = payload::array::<N>(counter);
        producer.enqueue(Record::to(TOPIC).value(&payload)).await.expect("it is buffered");
    }
    producer.flush().await;
}

async fn poll_all(mut consumer: Consumer, count: u64) -> u64 {
    let (mut received, mut sum) = (0, 0);
    while received < count {
        let records = consumer.poll(CHANNEL).await.expect("nothing is lost");
        received += records.len() as u64;
        sum += records.iter().map(|it| payload::sum(it.value.unwrap_or_default())).sum::<u64>();
    }
    sum
}

async fn recv_all(mut consumer: Consumer, count: u64) -> u64 {
    let mut sum = 0;
    for _ in 0..count {
        let record = consumer.recv().await.expect("nothing is lost");
        sum += payload::sum(record.value.as_deref().unwrap_or_default());
    }
    sum
}

async fn through_channel<const N: usize>(count: u64, receive: Receive) -> (f64, u64) {
    let (sender, mut receiver) = mpsc::channel::<Vec<u8>>(CHANNEL);
    let started = Instant::now();
    tokio::spawn(async move {
        for counter in 0..count {
            sender.send(payload::vec::<N>(counter)).await.expect("the receiver is there");
        }
    });
    let receiving = tokio::spawn(async move {
        let (mut sum, mut taken) = (0, Vec::with_capacity(CHANNEL));
        match receive {
            Receive::Poll => {
                while receiver.recv_many(&mut taken, CHANNEL).await > 0 {
                    sum += taken.drain(..).map(|it| payload::sum(&it)).sum::<u64>();
                }
            }
            Receive::Recv => {
                while let Some(payload) = receiver.recv().await {
                    sum += payload::sum(&payload);
                }
            }
        }
        sum
    });
    let sum = receiving.await.expect("nothing fails");
    (rate(count, started), sum)
}

pub(crate) fn awaited(runtime: &Runtime, scale: Scale, report: &mut Report) {
    let count = scale.pick(300_000, 2_000);
    let ours = || on_worker(runtime, awaited_sends(count));
    let reference = || on_worker(runtime, awaited_actor(count));
    let pairs = alternate(scale.rounds(), ours, reference);
    report.ratios("memory, awaited send, 100 B | actor", &pairs, nanos, Aim::AtMost(3.0));
}

async fn awaited_sends(count: u64) -> f64 {
    let broker = Broker::in_memory().await.expect("a broker in memory opens");
    let producer = broker.producer().build();
    let started = Instant::now();
    for counter in 0..count {
        let payload = payload::array::<100>(counter);
        producer.send(Record::to(TOPIC).value(&payload)).await.expect("it is appended");
    }
    let each = nanos_each(count, started);
    broker.shutdown().await.expect("nothing is left to do");
    each
}

/// The least that an acknowledgement can cost: a channel to a task, a oneshot back.
async fn awaited_actor(count: u64) -> f64 {
    type Command = (Vec<u8>, oneshot::Sender<u64>);
    let (sender, mut receiver) = mpsc::channel::<Command>(CHANNEL);
    tokio::spawn(async move {
        let mut offset = 0;
        while let Some((payload, answer)) = receiver.recv().await {
            std::hint::black_box(payload);
            // Whoever asked is there.
            let _ = answer.send(offset);
            offset += 1;
        }
    });
    let started = Instant::now();
    for counter in 0..count {
        let (answer, answered) = oneshot::channel();
        let sent = sender.send((payload::vec::<100>(counter), answer)).await;
        assert!(sent.is_ok(), "the actor is there");
        answered.await.expect("the actor answers");
    }
    nanos_each(count, started)
}
