//! Numbers the records of one partition: each holds the offset that it gets.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use ottla::{Broker, Error, Producer, Record, TopicPartition};

use super::ledger::Ledger;
use super::random::Random;

/// How far a group may be behind: what retention keeps is far more.
const MAX_BEHIND: i64 = 20_000;

const PAUSE: Duration = Duration::from_millis(20);

/// A partition, and how many records it has.
#[derive(Debug)]
pub(crate) struct Numbered {
    pub(crate) at: TopicPartition,
    pub(crate) end: AtomicI64,
}

pub(crate) fn value(number: i64, padding: usize) -> Vec<u8> {
    let mut value = number.to_be_bytes().to_vec();
    value.resize(8 + padding, 0x6f);
    value
}

/// Produces until `stop`, or until the broker closes.
pub(crate) async fn produce(
    broker: Broker,
    partition: Arc<Numbered>,
    groups: Vec<Arc<Ledger>>,
    stop: Arc<AtomicBool>,
    mut random: Random,
) {
    let producer = broker.producer().build();
    while !stop.load(Ordering::Relaxed) {
        tokio::time::sleep(PAUSE).await;
        let slowest = groups.iter().map(|group| group.committed(&partition.at)).min();
        let behind = partition.end.load(Ordering::Relaxed) - slowest.unwrap_or(0);
        if behind > MAX_BEHIND {
            continue;
        }
        if !burst(&producer, &partition, &mut random).await {
            return;
        }
    }
}

/// False if the broker is closed. What it took is then acknowledged all the same.
async fn burst(producer: &Producer, partition: &Numbered, random: &mut Random) -> bool {
    let first = partition.end.load(Ordering::Relaxed);
    let mut deliveries = Vec::new();
    let mut goes_on = true;
    for number in first..first + random.between(1, 200) as i64 {
        let record = Record::to(partition.at.topic.as_str()).partition(partition.at.partition);
        let value = value(number, random.below(100) as usize);
        match producer.enqueue(record.value(value)).await {
            Ok(delivery) => deliveries.push(delivery),
            Err(refused) => {
                let error = Error::from(refused);
                assert!(matches!(error, Error::Closed { .. }), "producing failed: {error}");
                goes_on = false;
                break;
            }
        }
    }
    for (delivery, number) in deliveries.into_iter().zip(first..) {
        match delivery.await {
            Ok(sent) => assert_eq!(sent.offset, number, "{}: out of order", partition.at),
            Err(error) => panic!("{}: {number} was taken, but not kept: {error}", partition.at),
        }
        partition.end.store(number + 1, Ordering::Relaxed);
    }
    goes_on
}
