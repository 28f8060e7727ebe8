//! On disk: what appending costs, with and without syncs, and what reading back does.

pub(crate) mod append;
pub(crate) mod catchup;
mod peers;
pub(crate) mod power;
pub(crate) mod readers;
mod watched;

use std::path::PathBuf;

use ottla::{Broker, Durability, Record, TopicConfig};
use tempfile::TempDir;

use crate::payload;

const TOPIC: &str = "bench";
const GIB: f64 = (1 << 30) as f64;

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder can be made")
}

/// A broker with a topic that leaves syncing to the system.
async fn unsynced(path: PathBuf, partitions: i32) -> Broker {
    let broker = Broker::open(path).await.expect("an empty folder opens");
    let config = TopicConfig::new().durability(Durability::Process).partitions(partitions);
    broker.create_topic(TOPIC, config).await.expect("it is not there yet");
    broker
}

/// Appends records with these numbers.
async fn append<const N: usize>(broker: &Broker, numbers: std::ops::Range<u64>) {
    let producer = broker.producer().build();
    let count = numbers.end - numbers.start;
    for number in numbers {
        let payload = payload::array::<N>(number);
        producer.enqueue(Record::to(TOPIC).value(&payload)).await.expect("it is buffered");
    }
    producer.flush().await;
    assert_eq!(producer.stats().records_sent, count, "all are acknowledged");
}
