//! The end of a broker: what was taken in is done, and whoever waits is told.

use std::time::Duration;

use ottla::{Acks, Broker, Durability, Error, MemoryPolicy, Record, TopicConfig};
use tempfile::TempDir;

use crate::support::{
    Backend, Host, assert_error, on_all_backends, read_topic, send_all, take_values, value, within,
};

on_all_backends! {
    ; local "a broker that is gone may come back":
    what_was_enqueued_is_sent_before_shutdown_returns,
    no_record_is_taken_after_a_shutdown,
    a_waiting_consumer_is_told,
    shutting_down_twice_or_at_once_is_fine,
    other_handles_are_closed_too,
}

async fn what_was_enqueued_is_sent_before_shutdown_returns(host: Host) {
    host.create_topic("t", TopicConfig::new().partitions(4)).await.unwrap();
    let hour = Duration::from_secs(3600);
    let builder = || host.client.producer().batch_size(300);
    let producers = [builder().build(), builder().linger(hour).build()];
    let mut deliveries = Vec::new();
    for n in 0..2000 {
        for producer in &producers {
            let record = Record::to("t").partition(n % 4).value(n.to_string());
            deliveries.push(producer.enqueue(record).await.unwrap());
        }
    }
    host.broker().shutdown().await.unwrap();
    for delivery in deliveries {
        let answer = crate::support::drop_after(delivery, 1).await;
        answer.expect("a delivery is still open after the shutdown").unwrap();
    }
    for producer in producers {
        let stats = producer.stats();
        assert_eq!((stats.records_sent, stats.buffered_bytes), (2000, 0));
    }
}

async fn a_waiting_consumer_is_told(host: Host) {
    send_all(&host.client, "t", 0..3).await;
    let mut waiting = Vec::new();
    for form in 0..3 {
        let mut consumer = host.client.consumer().subscribe(["t", "idle"]).await.unwrap();
        take_values(&mut consumer, 3).await;
        waiting.push(tokio::spawn(async move {
            match form {
                0 => consumer.recv().await.map(drop),
                1 => consumer.poll(10).await.map(drop),
                _ => tokio::task::spawn_blocking(move || consumer.recv_blocking().map(drop))
                    .await
                    .unwrap(),
            }
        }));
    }
    tokio::task::yield_now().await;
    host.broker().shutdown().await.unwrap();
    for waiting in waiting {
        let told = waiting.await.unwrap();
        assert_error!(told, Error::Closed { .. }, "the broker was shut down");
    }
}

async fn shutting_down_twice_or_at_once_is_fine(host: Host) {
    send_all(&host.client, "t", 0..3).await;
    let mut tasks = Vec::new();
    for _ in 0..5 {
        let broker = host.broker().clone();
        tasks.push(tokio::spawn(async move { broker.shutdown().await }));
    }
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    host.broker().shutdown().await.unwrap();
}

/// Not even by a producer that knows the topic, nor by one that does not ask for answers.
async fn no_record_is_taken_after_a_shutdown(host: Host) {
    let producers = [Acks::All, Acks::None].map(|acks| host.client.producer().acks(acks).build());
    for producer in &producers {
        producer.send(Record::to("t").value("0")).await.unwrap();
        producer.flush().await;
    }
    host.broker().shutdown().await.unwrap();
    for producer in &producers {
        let record = || Record::to("t").value("1");
        for refused in [
            producer.send(record()).await.map(drop),
            producer.enqueue(record()).await.map(drop),
            producer.try_send(record()).map(drop),
        ] {
            let refused = refused.unwrap_err();
            assert_eq!(refused.record().unwrap().value.as_deref(), Some(&b"1"[..]));
            assert_error!(Err::<(), _>(refused), Error::Closed { .. }, "shut down");
        }
        assert_eq!(producer.stats().records_failed, 0);
    }
}

async fn other_handles_are_closed_too(host: Host) {
    let (broker, client) = (host.broker().clone(), host.client.clone());
    host.broker().shutdown().await.unwrap();
    assert_error!(broker.topics(), Error::Closed { .. }, "shut down");
    let sent = client.producer().build().send(Record::to("t")).await;
    assert_error!(sent, Error::Closed { .. }, "shut down");
}

#[tokio::test]
async fn what_was_acknowledged_is_there_and_nothing_else() {
    within(async {
        for backend in Backend::ON_DISK {
            for n in [1, 10, 400] {
                let dir = TempDir::new().unwrap();
                let defaults = TopicConfig::new().durability(backend.durability()).partitions(3);
                let builder = Broker::builder().topic_defaults(defaults);
                let broker = builder.open(dir.path()).await.unwrap();
                let producer = broker.producer().batch_size(200).build();
                let mut deliveries = Vec::new();
                for n in 0..n {
                    let record = Record::to("t").partition(n % 3).value(n.to_string());
                    deliveries.push((n, producer.enqueue(record).await.unwrap()));
                }
                broker.shutdown().await.unwrap();
                let mut acknowledged = Vec::new();
                for (n, delivery) in deliveries {
                    if let Ok(sent) = delivery.await {
                        acknowledged.push((sent.partition, sent.offset, n.to_string()));
                    }
                }
                acknowledged.sort_unstable();
                let broker = Broker::open(dir.path()).await.unwrap();
                assert!(broker.recovery_report().unwrap().clean_shutdown);
                let found = read_topic(&broker.client(), "t").await;
                let found = found.iter().map(|r| (r.partition, r.offset, value(r)));
                assert_eq!(found.collect::<Vec<_>>(), acknowledged);
            }
        }
    })
    .await;
}

#[tokio::test]
async fn what_waits_for_memory_is_closed() {
    within(async {
        let builder = Broker::builder().memory_limit(1 << 10).memory_policy(MemoryPolicy::Block);
        let broker = builder.in_memory().await.unwrap();
        let config = TopicConfig::new().segment_bytes(1024).durability(Durability::Memory);
        broker.create_topic("t", config).await.unwrap();
        let _consumer = broker.consumer().subscribe(["t"]).await.unwrap();
        let producer = broker.producer().batch_size(1).buffer_memory(4000).build();
        let mut deliveries = Vec::new();
        while let Ok(delivery) = producer.try_send(Record::to("t").value(vec![1; 900])) {
            deliveries.push(delivery);
        }
        let waiting = {
            let producer = producer.clone();
            let record = Record::to("t").value(vec![1; 950]);
            tokio::spawn(async move { producer.send(record).await })
        };
        tokio::task::yield_now().await;
        broker.shutdown().await.unwrap();
        assert_error!(waiting.await.unwrap(), Error::Closed { .. }, "shut down");
        let last = deliveries.pop().expect("there was room for some");
        assert_error!(last.await, Error::Closed { .. }, "shut down");
        assert_eq!(producer.stats().buffered_bytes, 0);
    })
    .await;
}

#[tokio::test]
async fn deliveries_outlive_every_handle() {
    within(async {
        let dir = TempDir::new().unwrap();
        for round in 0..5 {
            let broker = Broker::open(dir.path()).await.unwrap();
            let producer = broker.producer().build();
            let mut deliveries = Vec::new();
            for _ in 0..20 {
                deliveries.push(producer.enqueue(Record::to("t").value("v")).await.unwrap());
            }
            drop((broker, producer));
            // The directory is free although the deliveries are still held.
            let again = Broker::open(dir.path()).await.unwrap();
            for (n, delivery) in deliveries.into_iter().enumerate() {
                assert_eq!(delivery.await.unwrap().offset, round * 20 + n as i64);
            }
            again.shutdown().await.unwrap();
        }
    })
    .await;
}
