//! Futures dropped at every point at which they wait. Whatever a caller gives up on, no record is
//! lost, doubled or out of order, and everything goes on.

use std::collections::BTreeSet;

use ottla::{Broker, Durability, Error, MemoryPolicy, Producer, Record, TopicConfig};
use tempfile::TempDir;

use crate::support::{
    Host, at, drop_after, is_at_end, on_all_backends, read_values, send_all, take_values, texts,
    value, within,
};

on_all_backends! {
    recv_hands_out_each_record_once,
    poll_hands_out_each_record_once,
    a_send_that_is_dropped_is_sent_once_or_not_at_all,
    an_enqueue_that_is_dropped_is_sent_once_or_not_at_all,
    a_flush_that_is_dropped_changes_nothing,
    create_topic_is_done_or_not,
    consumers_that_were_never_made_leave_nothing_behind,
    seeks_that_are_dropped_move_nothing,
    ; local "a topic that is gone is missed for a while":
    delete_topic_is_done_or_not,
}

/// How often a future is made and dropped before it is left to finish. More than any waits.
const MAX_POLLS: usize = 6;

async fn recv_hands_out_each_record_once(host: Host) {
    host.create_topic("t", host.small_segments()).await.unwrap();
    let builder = host.client.consumer().max_partition_fetch_bytes(300);
    let mut consumer = builder.subscribe(["t"]).await.unwrap();
    let client = host.client.clone();
    let producing = tokio::spawn(async move { send_all(&client, "t", 0..300).await });
    let mut received = Vec::new();
    let mut dropped = 0;
    for polls in (0..MAX_POLLS).cycle() {
        match drop_after(consumer.recv(), polls).await {
            Some(record) => received.push(value(&record.unwrap())),
            None => dropped += 1,
        }
        tokio::task::yield_now().await;
        if received.len() == 300 {
            break;
        }
    }
    producing.await.unwrap();
    assert_eq!(received, texts(0..300));
    assert!(is_at_end(&mut consumer).await);
    assert!(dropped > 50, "{dropped}");
}

async fn poll_hands_out_each_record_once(host: Host) {
    let builder = host.client.consumer().max_partition_fetch_bytes(300);
    let mut consumer = builder.subscribe(["t"]).await.unwrap();
    let client = host.client.clone();
    let producing = tokio::spawn(async move { send_all(&client, "t", 0..300).await });
    let mut received = Vec::new();
    for polls in (0..MAX_POLLS).cycle() {
        if let Some(records) = drop_after(consumer.poll(1 + polls), polls).await {
            received.extend(records.unwrap().into_iter().map(|record| value(&record)));
        }
        tokio::task::yield_now().await;
        if received.len() >= 300 {
            break;
        }
    }
    producing.await.unwrap();
    assert_eq!(received, texts(0..300));
    assert!(is_at_end(&mut consumer).await);
}

/// Asserts that the topic holds all of `sure` and some of `maybe`, each once, in order.
async fn check_sent(host: &Host, topic: &str, sure: &BTreeSet<usize>, maybe: &BTreeSet<usize>) {
    let found = read_values(&host.client, topic).await;
    let found: Vec<usize> = found.iter().map(|value| value.parse().unwrap()).collect();
    assert!(found.is_sorted_by(|a, b| a < b), "doubled or out of order: {found:?}");
    let found = BTreeSet::from_iter(found);
    assert!(sure.is_subset(&found), "lost: {:?}", sure - &found);
    assert!(found.is_subset(&(sure | maybe)), "from nowhere: {:?}", &found - &(sure | maybe));
}

async fn a_send_that_is_dropped_is_sent_once_or_not_at_all(host: Host) {
    // The first poll finds the topic unknown; the filler makes later ones wait for room.
    for topic in ["a", "b", "c", "d", "e"] {
        let producer = small_producer(&host);
        let (mut sure, mut maybe) = (BTreeSet::new(), BTreeSet::new());
        for n in 0..60 {
            let record = Record::to(topic).partition(0).value(n.to_string());
            match drop_after(producer.send(record), n % MAX_POLLS).await {
                Some(sent) => drop((sent.unwrap(), sure.insert(n))),
                None if n % MAX_POLLS == 0 => {}
                None => drop(maybe.insert(n)),
            }
        }
        producer.flush().await;
        assert_eq!(producer.stats().buffered_bytes, 0);
        producer.send(Record::to(topic).partition(0).value("60")).await.unwrap();
        sure.insert(60);
        check_sent(&host, topic, &sure, &maybe).await;
    }
}

fn small_producer(host: &Host) -> Producer {
    host.client.producer().batch_size(60).buffer_memory(100).build()
}

async fn an_enqueue_that_is_dropped_is_sent_once_or_not_at_all(host: Host) {
    for topic in ["a", "b", "c"] {
        let producer = small_producer(&host);
        let (mut sure, mut deliveries) = (BTreeSet::new(), Vec::new());
        for n in 0..120 {
            let record = Record::to(topic).partition(0).value(n.to_string());
            // Not ready means not sent: nothing is uncertain here.
            if let Some(delivery) = drop_after(producer.enqueue(record), n % MAX_POLLS).await {
                sure.insert(n);
                deliveries.push(delivery.unwrap());
            }
        }
        assert!(sure.len() < 110 && sure.len() > 30, "{} were buffered", sure.len());
        // Deliveries given up on, at each point.
        for (n, delivery) in deliveries.into_iter().enumerate() {
            drop_after(delivery, n % 3).await;
        }
        producer.flush().await;
        assert_eq!(producer.stats().buffered_bytes, 0);
        check_sent(&host, topic, &sure, &BTreeSet::new()).await;
    }
}

async fn a_flush_that_is_dropped_changes_nothing(host: Host) {
    let hour = std::time::Duration::from_secs(3600);
    let producer = host.client.producer().linger(hour).build();
    for n in 0..40 {
        producer.enqueue(Record::to("t").partition(0).value(n.to_string())).await.unwrap();
        drop_after(producer.flush(), n % MAX_POLLS).await;
    }
    producer.flush().await;
    assert_eq!(producer.stats().buffered_bytes, 0);
    assert_eq!(read_values(&host.client, "t").await, texts(0..40));
}

async fn create_topic_is_done_or_not(host: Host) {
    for polls in 0..MAX_POLLS {
        let name = format!("topic-{polls}");
        let config = TopicConfig::new().partitions(2);
        drop_after(host.create_topic(&name, config.clone()), polls).await;
        match host.create_topic(&name, config).await {
            Ok(_) | Err(Error::TopicAlreadyExists { existing: None, .. }) => {}
            Err(error) => panic!("{error:?}"),
        }
        assert_eq!(host.describe_topic(&name).await.unwrap().partitions.len(), 2);
        send_all(&host.client, &name, 0..3).await;
        assert_eq!(read_values(&host.client, &name).await, texts(0..3));
    }
    assert_eq!(host.topics().await.unwrap().len(), MAX_POLLS);
}

async fn delete_topic_is_done_or_not(host: Host) {
    for polls in 0..MAX_POLLS {
        let name = format!("topic-{polls}");
        send_all(&host.client, &name, 0..3).await;
        drop_after(host.delete_topic(&name), polls).await;
        match host.delete_topic(&name).await {
            Ok(()) | Err(Error::UnknownTopic { .. }) => {}
            Err(error) => panic!("{error:?}"),
        }
        send_all(&host.client, &name, 3..5).await;
        assert_eq!(read_values(&host.client, &name).await, texts(3..5));
    }
}

async fn consumers_that_were_never_made_leave_nothing_behind(host: Host) {
    for polls in 0..MAX_POLLS {
        let name = format!("topic-{polls}");
        drop_after(host.client.consumer().subscribe([&name]), polls).await;
        send_all(&host.client, &name, 0..3).await;
        drop_after(host.client.consumer().assign([at(&name, 0)]), polls).await;
        assert_eq!(read_values(&host.client, &name).await, texts(0..3));
    }
}

async fn seeks_that_are_dropped_move_nothing(host: Host) {
    send_all(&host.client, "t", 0..30).await;
    let mut consumer = host.client.consumer().subscribe(["t"]).await.unwrap();
    let mut expected = 0;
    for polls in 0..MAX_POLLS {
        let time = ottla::Timestamp::from_millis(0);
        let moved = drop_after(consumer.seek_to_time(time), polls).await.is_some();
        expected = if moved { 0 } else { expected };
        assert_eq!(take_values(&mut consumer, 2).await, texts(expected..expected + 2));
        expected += 2;
        drop_after(consumer.lag(), polls).await;
    }
}

#[tokio::test]
async fn a_shutdown_that_is_dropped_is_done_or_not() {
    within(async {
        let dir = TempDir::new().unwrap();
        for polls in 0..8 {
            let broker = Broker::open(dir.path()).await.unwrap();
            let producer = broker.producer().build();
            let value = polls.to_string();
            producer.send(Record::to("t").value(&value)).await.unwrap();
            drop_after(broker.shutdown(), polls).await;
            // If it has not begun it still can; if it has, this waits for it.
            broker.shutdown().await.unwrap();
            assert!(matches!(broker.topics(), Err(Error::Closed { .. })));
        }
        let broker = Broker::open(dir.path()).await.unwrap();
        assert!(broker.recovery_report().unwrap().clean_shutdown);
        assert_eq!(read_values(&broker.client(), "t").await, texts(0..8));
    })
    .await;
}

#[tokio::test]
async fn an_open_that_is_dropped_lets_go_of_the_directory() {
    within(async {
        let dir = TempDir::new().unwrap();
        let broker = Broker::open(dir.path()).await.unwrap();
        send_all(&broker.client(), "t", 0..3).await;
        // So many that opening takes a while.
        for n in 0..100 {
            let config = TopicConfig::new().partitions(10).durability(Durability::Process);
            broker.create_topic(&format!("topic-{n}"), config).await.unwrap();
        }
        broker.shutdown().await.unwrap();
        for polls in 0..12 {
            let opened = drop_after(Broker::open(dir.path()), polls).await;
            drop(opened);
            let broker = Broker::open(dir.path()).await.unwrap();
            assert_eq!(read_values(&broker.client(), "t").await, texts(0..3));
            broker.shutdown().await.unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn appends_given_up_while_they_wait_for_memory_are_appended_later() {
    within(async {
        let builder = Broker::builder().memory_limit(64 << 10).memory_policy(MemoryPolicy::Block);
        let broker = builder.in_memory().await.unwrap();
        let config = TopicConfig::new().segment_bytes(8 << 10).durability(Durability::Memory);
        broker.create_topic("t", config).await.unwrap();
        let mut consumer = broker.consumer().subscribe(["t"]).await.unwrap();
        let producer = broker.producer().batch_size(2000).build();
        for n in 0..300 {
            let record = Record::to("t").key(n.to_string()).value(vec![1; 1000]);
            drop_after(producer.send(record), 1).await;
        }
        for n in 0..300 {
            assert_eq!(consumer.recv().await.unwrap().key.unwrap(), n.to_string());
        }
        producer.flush().await;
        assert_eq!(producer.stats().buffered_bytes, 0);
    })
    .await;
}
