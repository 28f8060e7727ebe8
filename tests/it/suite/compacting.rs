//! Compacted topics: of each key the latest record stays.

use std::collections::BTreeMap;
use std::time::Duration;

use ottla::{CleanupPolicy, Error, Record, TopicConfig};

use crate::support::{Host, assert_error, at, on_all_backends, read_topic, take};

on_all_backends! {
    ; ottla "Kafka compacts when it finds the time":
    of_each_key_the_latest_record_stays,
    deleted_keys_go_when_their_time_has_come,
    a_reader_notices_nothing,
    topics_are_compacted_in_the_background,
    other_topics_are_not_compacted,
    ; local "settings of topics are the broker's to check":
    records_without_a_key_are_refused,
}

fn compacted() -> TopicConfig {
    TopicConfig::new().cleanup_policy(CleanupPolicy::Compact).segment_bytes(4096)
}

/// Keys 0 to 9 in turn; the value says how many records came before.
async fn update(host: &Host, from: usize, to: usize) {
    let producer = host.client.producer().batch_size(300).build();
    for n in from..to {
        let record = Record::to("t").key((n % 10).to_string()).value(n.to_string());
        producer.enqueue(record).await.unwrap();
    }
    producer.flush().await;
}

/// The latest value of each key, and how many records there are.
async fn table(host: &Host) -> (BTreeMap<String, String>, usize) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let mut table = BTreeMap::new();
    let records = read_topic(&host.client, "t").await;
    for record in &records {
        let key = text(record.key.as_deref().unwrap());
        match record.value.as_deref() {
            Some(value) => table.insert(key, text(value)),
            None => table.remove(&key),
        };
    }
    (table, records.len())
}

fn expected(last: usize) -> BTreeMap<String, String> {
    (last - 10..last).map(|n| ((n % 10).to_string(), n.to_string())).collect()
}

async fn of_each_key_the_latest_record_stays(host: Host) {
    host.create_topic("t", compacted()).await.unwrap();
    update(&host, 0, 1000).await;
    let summary = host.broker().compact("t").await.unwrap();
    assert_eq!(summary.records_removed, 990);
    assert!(summary.bytes_after < summary.bytes_before / 10, "{summary:?}");
    assert_eq!(table(&host).await, (expected(1000), 10));
    // Offsets are what they were.
    let records = read_topic(&host.client, "t").await;
    assert!(records.iter().map(|record| record.offset).eq(990..1000));
    update(&host, 1000, 1005).await;
    host.broker().compact("t").await.unwrap();
    assert_eq!(table(&host).await, (expected(1005), 10));
    let again = host.broker().compact("t").await.unwrap();
    assert_eq!(again.records_removed, 0);
}

async fn deleted_keys_go_when_their_time_has_come(host: Host) {
    let day = Duration::from_secs(24 * 3600);
    host.create_topic("t", compacted().delete_retention(day)).await.unwrap();
    update(&host, 0, 100).await;
    let producer = host.client.producer().build();
    producer.send(Record::to("t").key("3")).await.unwrap();
    host.broker().compact("t").await.unwrap();
    let mut left = expected(100);
    left.remove("3");
    // Who reads from the beginning is told that the key is deleted; for a day.
    assert_eq!(table(&host).await, (left.clone(), 10));
    host.clock.advance(day + Duration::from_secs(1));
    host.broker().compact("t").await.unwrap();
    assert_eq!(table(&host).await, (left, 9));
}

async fn records_without_a_key_are_refused(host: Host) {
    host.create_topic("t", compacted()).await.unwrap();
    let producer = host.client.producer().build();
    let refused = producer.send(Record::to("t").value("keyless")).await.unwrap_err();
    assert!(refused.record().is_some());
    assert_error!(Err::<(), _>(refused), Error::MissingKey { .. }, "t-0", "without a key");
    producer.send(Record::to("t").key("").value("an empty one is one")).await.unwrap();
}

async fn a_reader_notices_nothing(host: Host) {
    host.create_topic("t", compacted()).await.unwrap();
    update(&host, 0, 500).await;
    let builder = host.client.consumer().max_partition_fetch_bytes(300);
    let mut slow = builder.subscribe(["t"]).await.unwrap();
    let first = take(&mut slow, 40).await;
    assert_eq!(first[39].offset, 39);
    host.broker().compact("t").await.unwrap();
    update(&host, 500, 510).await;
    let mut last = 39;
    let mut table = BTreeMap::new();
    while last < 509 {
        let record = slow.recv().await.unwrap();
        assert!(record.offset > last, "{record:?} after {last}");
        last = record.offset;
        table.insert(record.key.clone(), record.value.clone());
    }
    assert_eq!(table.len(), 10);
    assert_eq!(slow.position(&at("t", 0)).unwrap().offset, 510);
}

async fn topics_are_compacted_in_the_background(host: Host) {
    host.create_topic("t", compacted()).await.unwrap();
    update(&host, 0, 2000).await;
    let size = || host.broker().describe_topic("t").unwrap().partitions[0].size_bytes;
    let before = size();
    while size() > before / 4 {
        host.clock.advance(Duration::from_secs(300));
        tokio::task::yield_now().await;
    }
    assert_eq!(table(&host).await.0, expected(2000));
}

async fn other_topics_are_not_compacted(host: Host) {
    host.create_topic("t", TopicConfig::new()).await.unwrap();
    assert_error!(host.broker().compact("t").await, Error::InvalidState(_), "cleanup.policy");
    assert_error!(host.broker().compact("u").await, Error::UnknownTopic { .. }, "\"u\"");
    let config = TopicConfig::new().set("cleanup.policy", "shred");
    assert_error!(config, Error::InvalidConfig { .. }, "shred", "compact");
}
