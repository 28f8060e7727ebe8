//! What the client does at a broker, whichever it is.

use std::process::Command;
use std::time::Duration;

use ottla::{Client, Record};

use super::brokers::{Process, create_topic};
use crate::measure::{Sample, Timer};
use crate::payload;

/// Milliseconds of the broker's CPU for a million records.
pub(super) const BROKER_CPU: &str = "broker CPU a million";
/// So many records are taken at a time at most.
pub(super) const POLLED: usize = 10_000;

/// How often both are looked at before something begins, and what a broker that is quiet uses
/// meanwhile.
const LOOKS: usize = 25;
const LOOK: Duration = Duration::from_millis(200);
const QUIET_SECONDS: f64 = 0.02;

/// Until a broker has done next to nothing for a moment, or five seconds are over.
async fn quiet(brokers: &[Process]) {
    for _ in 0..LOOKS {
        let used = || brokers.iter().map(Process::cpu_seconds).sum::<f64>();
        let before = used();
        tokio::time::sleep(LOOK).await;
        if used() - before <= QUIET_SECONDS {
            return;
        }
    }
}

/// Puts on the disk what was produced: else the kernel does it later, on the same processors.
pub(super) fn sync() {
    let status = Command::new("sync").status().expect("the system has it");
    assert!(status.success(), "sync: {status}");
}

/// A client, and a topic with one record, which is empty and not counted: with that it is
/// connected, and the broker ready.
pub(super) async fn begin(broker: &Process, topic: &str) -> Client {
    let client = broker.client().await.expect("the broker is there");
    create_topic(&client, topic).await.expect("the topic is new");
    let first = client.producer().build().send(Record::to(topic).value("")).await;
    first.expect("the broker takes it");
    client
}

/// A round of producing: all in the topic when it ends, each acknowledged.
pub(super) async fn produce<const N: usize>(
    client: &Client,
    (which, both): (usize, [Process; 2]),
    topic: &str,
    count: u64,
) -> Sample {
    let producer = client.producer().build();
    // It has an id of its own.
    producer.send(Record::to(topic).value("")).await.expect("the broker takes it");
    quiet(&both).await;
    let before = both[which].cpu_seconds();
    let timer = Timer::start();
    for number in 0..count {
        let payload = payload::array::<N>(number);
        producer.enqueue(Record::to(topic).value(&payload)).await.expect("it is buffered");
    }
    producer.flush().await;
    let sample = timer.stop(count, 0);
    let used = both[which].cpu_seconds() - before;
    let stats = producer.stats();
    assert_eq!((stats.records_sent, stats.records_failed), (count + 1, 0), "all are acknowledged");
    sample.with(BROKER_CPU, used * 1e9 / count as f64)
}

/// A round of consuming all from the beginning, by a consumer that is not connected yet.
pub(super) async fn consume(
    client: &Client,
    (which, both): (usize, [Process; 2]),
    topic: &str,
    count: u64,
) -> Sample {
    quiet(&both).await;
    let before = both[which].cpu_seconds();
    let timer = Timer::start();
    let sum = read(client, topic, count).await;
    let sample = timer.stop(count, sum);
    let used = both[which].cpu_seconds() - before;
    sample.with(BROKER_CPU, used * 1e9 / count as f64)
}

/// The sum of so many values; those that are empty do not count.
pub(super) async fn read(client: &Client, topic: &str, count: u64) -> u64 {
    let mut consumer = client.consumer().subscribe([topic]).await.expect("the topic is there");
    let (mut received, mut sum) = (0, 0_u64);
    while received < count {
        let records = consumer.poll(POLLED).await.expect("nothing is lost");
        for value in records.iter().map(|it| it.value.unwrap_or_default()) {
            received += u64::from(!value.is_empty());
            sum = sum.wrapping_add(payload::sum(value));
        }
    }
    sum
}

/// Runs rounds at Kafka until two on end have not lowered its CPU by a twentieth, and a dozen at
/// most. Returns how many that were. In a quick run nothing is warm.
pub(super) fn warm_up(quick: bool, mut round: impl FnMut() -> Sample) -> f64 {
    const MOST: u32 = 12;
    const SETTLED: u32 = 2;
    let (mut least, mut settled, mut rounds) = (f64::INFINITY, 0, 0);
    while !quick && settled < SETTLED && rounds < MOST {
        let cpu = round().figures[BROKER_CPU];
        settled = if cpu > least * 0.95 { settled + 1 } else { 0 };
        least = least.min(cpu);
        rounds += 1;
    }
    f64::from(rounds)
}
