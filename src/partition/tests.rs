//! The actor, as a broker on a simulated disk shows it.

use std::sync::Arc;

use crate::broker::{Broker, Durability, TopicConfig};
use crate::record::Record;
use crate::storage::SimDisk;

/// How many bytes an open after a crash has to read depends on it.
#[tokio::test]
async fn the_recovery_point_keeps_up_while_there_is_always_more_to_append() {
    let disk = SimDisk::new(1);
    let broker = Broker::builder().open_on(Arc::new(disk.process())).await.unwrap();
    let config = TopicConfig::new().durability(Durability::Process);
    broker.create_topic("t", config).await.unwrap();
    let producer = broker.producer().batch_size(1000).build();
    producer.send(Record::to("t")).await.unwrap();
    // The actor does not run before they all wait for it.
    for _ in 0..2000 {
        drop(producer.try_send(Record::to("t").value(&[7; 900])).unwrap());
    }
    producer.flush().await;
    let file = disk.read_file("t-0/recovery-point-offset-checkpoint").unwrap();
    let text = String::from_utf8(file).unwrap();
    let point: i64 = text.split_whitespace().last().unwrap().parse().unwrap();
    assert!(point > 1000, "it is {point} after 2001 records");
}
