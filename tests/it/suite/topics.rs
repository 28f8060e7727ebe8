//! Topics and their coming and going.

use std::time::Duration;

use ottla::{Error, Record, TopicConfig};

use crate::support::{
    Host, assert_error, at, on_all_backends, read_topic, read_values, send_all, take, take_values,
    texts,
};

on_all_backends! {
    topics_are_created_when_first_used,
    topics_have_what_was_asked_for,
    assigned_partitions_are_the_only_ones_read,
    one_consumer_reads_many_topics,
    a_deleted_topic_is_told_and_its_namesake_is_another,
    ; ottla "Kafka's time is the machine's":
    retention_moves_the_log_start,
    ; ottla "segments are Kafka's own business, and a megabyte at least":
    segments_roll_unnoticed,
    ; local "a topic that is gone is missed for a while":
    a_producer_goes_on_with_a_topic_that_was_created_again,
}

async fn topics_are_created_when_first_used(host: Host) {
    assert!(host.topics().await.unwrap().is_empty());
    send_all(&host.client, "produced", 0..1).await;
    let _consumer = host.client.consumer().subscribe(["consumed"]).await.unwrap();
    host.client.producer().build().partitions_for("asked-for").await.unwrap();
    assert_eq!(host.topics().await.unwrap(), ["asked-for", "consumed", "produced"]);
    assert_eq!(host.describe_topic("consumed").await.unwrap().partitions.len(), 1);
}

async fn topics_have_what_was_asked_for(host: Host) {
    let config = TopicConfig::new().partitions(3).retention(Some(Duration::from_secs(60)));
    let created = host.create_topic("t", config).await.unwrap();
    assert_eq!(created, host.describe_topic("t").await.unwrap());
    assert_eq!(created.name, "t");
    assert_eq!(created.config.get("retention.ms"), Some("60000"));
    assert_eq!(created.partitions.len(), 3);
    send_all(&host.client, "t", 0..5).await;
    let now = host.describe_topic("t").await.unwrap();
    assert_eq!((now.id, now.durability), (created.id, created.durability));
    let [first, second, _] = now.partitions[..] else { panic!("{now:?}") };
    assert_eq!((first.log_start_offset, first.high_watermark, first.log_end_offset), (0, 5, 5));
    assert_eq!(first.leader_epoch, 0);
    if let Some(broker) = &host.broker {
        let told = broker.describe_topic("t").unwrap();
        assert_eq!(told.partitions[0].segments, 1, "which is not told over the network");
    }
    assert!(first.size_bytes > 5 * 61);
    assert_eq!((second.partition, second.log_end_offset, second.size_bytes), (1, 0, 0));
    assert_eq!(host.client.producer().build().partitions_for("t").await.unwrap(), 3);
}

async fn assigned_partitions_are_the_only_ones_read(host: Host) {
    host.create_topic("t", TopicConfig::new().partitions(3)).await.unwrap();
    let mut consumer = host.client.consumer().assign([at("t", 2), at("t", 0)]).await.unwrap();
    assert_eq!(consumer.assignment(), [at("t", 0), at("t", 2)]);
    let producer = host.client.producer().build();
    for n in 0..30 {
        producer.send(Record::to("t").partition(n % 3).value("v")).await.unwrap();
    }
    let records = take(&mut consumer, 20).await;
    assert!(records.iter().all(|record| record.partition != 1));
    assert!(crate::support::is_at_end(&mut consumer).await);
}

async fn one_consumer_reads_many_topics(host: Host) {
    let names: Vec<String> = (0..10).map(|n| format!("topic-{n}")).collect();
    let mut consumer = host.client.consumer().subscribe(&names).await.unwrap();
    for name in &names {
        send_all(&host.client, name, [name]).await;
    }
    let mut values = take_values(&mut consumer, 10).await;
    values.sort_unstable();
    assert_eq!(values, names);
}

async fn a_deleted_topic_is_told_and_its_namesake_is_another(host: Host) {
    send_all(&host.client, "t", 0..5).await;
    let old = host.describe_topic("t").await.unwrap().id;
    let mut consumer = host.client.consumer().subscribe(["t"]).await.unwrap();
    assert_eq!(take_values(&mut consumer, 5).await, texts(0..5));
    host.delete_topic("t").await.unwrap();
    assert_error!(consumer.recv().await, Error::UnknownTopic { .. }, "\"t\"");
    assert!(consumer.assignment().is_empty());
    assert_error!(host.describe_topic("t").await, Error::UnknownTopic { .. }, "\"t\"");
    assert_error!(host.delete_topic("t").await, Error::UnknownTopic { .. }, "\"t\"");
    send_all(&host.client, "t", 10..13).await;
    assert_ne!(host.describe_topic("t").await.unwrap().id, old);
    assert_eq!(take_values(&mut consumer, 3).await, texts(10..13));
    assert_eq!(read_topic(&host.client, "t").await[0].offset, 0);
}

async fn a_producer_goes_on_with_a_topic_that_was_created_again(host: Host) {
    let producer = host.client.producer().build();
    for round in 0..3 {
        for n in 0..4 {
            let sent = producer.send(Record::to("t").value(n.to_string())).await.unwrap();
            assert_eq!(sent.offset, n, "round {round}");
        }
        assert_eq!(read_values(&host.client, "t").await, texts(0..4));
        host.delete_topic("t").await.unwrap();
    }
    assert!(host.topics().await.unwrap().is_empty());
}

async fn retention_moves_the_log_start(host: Host) {
    let week = Duration::from_secs(7 * 24 * 3600);
    let config = TopicConfig::new().segment_bytes(1024).retention(Some(week));
    host.create_topic("t", config).await.unwrap();
    send_all(&host.client, "t", 0..100).await;
    let before = host.broker().describe_topic("t").unwrap().partitions[0];
    assert!(before.segments > 3 && before.log_start_offset == 0);
    host.clock.advance(week + Duration::from_millis(1));
    // The log's start moves in the background; a reader at 0 is told as soon as it has.
    while host.describe_topic("t").await.unwrap().partitions[0].log_start_offset < 100 {
        tokio::task::yield_now().await;
    }
    let mut consumer = host.client.consumer().subscribe(["t"]).await.unwrap();
    consumer.seek(&at("t", 0), 3).unwrap();
    assert_error!(consumer.recv().await, Error::OffsetOutOfRange { .. }, "t-0", "3", "100");
    send_all(&host.client, "t", 100..102).await;
    assert_eq!(take_values(&mut consumer, 2).await, texts(100..102));
}

async fn segments_roll_unnoticed(host: Host) {
    host.create_topic("t", TopicConfig::new().segment_bytes(1024)).await.unwrap();
    let mut consumer = host.client.consumer().subscribe(["t"]).await.unwrap();
    send_all(&host.client, "t", 0..200).await;
    assert!(host.broker().describe_topic("t").unwrap().partitions[0].segments > 10);
    assert_eq!(take_values(&mut consumer, 200).await, texts(0..200));
    for offset in (0..200).rev() {
        consumer.seek(&at("t", 0), offset).unwrap();
        assert_eq!(consumer.recv().await.unwrap().offset, offset);
    }
}
