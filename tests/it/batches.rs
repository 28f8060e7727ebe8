//! Many batches of one producer at once.

use ottla::{Broker, Record};

/// On one thread the actor first runs when all are buffered. Where batches are synced it takes them
/// by the dozen.
#[tokio::test]
async fn batches_that_are_taken_together_are_answered_each_with_its_own_offset() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::open(dir.path()).await.unwrap();
    let producer = broker.producer().batch_size(200).build();
    let mut consumer = broker.consumer().subscribe(["t"]).await.unwrap();
    let mut deliveries = Vec::new();
    for n in 0..1_000 {
        let value = n.to_string();
        deliveries.push(producer.enqueue(Record::to("t").value(&value)).await.unwrap());
    }
    for (offset, delivery) in (0..).zip(deliveries) {
        assert_eq!(delivery.await.unwrap().offset, offset);
    }
    for n in 0..1_000 {
        let record = consumer.recv().await.unwrap();
        assert_eq!(record.value.unwrap(), n.to_string());
    }
    assert!(producer.stats().batches > 50);
    assert_eq!(producer.stats().buffered_bytes, 0);
}
