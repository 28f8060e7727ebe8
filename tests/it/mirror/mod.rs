//! A broker's topics forwarded to another: what arrives, where it goes on, what happens when there is
//! no room, and what is refused.
//!
//! `killed` does so while processes are killed on both sides.

#[cfg(feature = "tcp")]
pub(crate) mod killed;
#[cfg(feature = "tcp")]
mod network;

use std::time::Duration;

use ottla::{
    Backlog, Broker, CleanupPolicy, Client, Clock, ConsumerRecord, Durability, Error, Guarantee,
    Mirror, Producer, Record, Start, Timestamp, TopicConfig,
};
use tempfile::TempDir;

use crate::support::{assert_error, at, copy_dir, read_topic, read_values, texts, within};

/// What has to be the same on both sides: all but the offset.
pub(crate) type Shown =
    (i32, i64, Option<Vec<u8>>, Option<Vec<u8>>, Vec<(String, Option<Vec<u8>>)>);

pub(crate) fn show(record: &ConsumerRecord) -> Shown {
    let owned = |bytes: &[u8]| bytes.to_vec();
    let headers = record.headers.iter();
    let headers = headers.map(|it| (it.key.to_string(), it.value.map(owned))).collect();
    let (key, value) = (record.key.as_deref().map(owned), record.value.as_deref().map(owned));
    (record.partition, record.timestamp.as_millis(), key, value, headers)
}

/// All of a topic, partition by partition, in order.
pub(crate) async fn content(client: &Client, topic: &str) -> Vec<Shown> {
    read_topic(client, topic).await.iter().map(show).collect()
}

/// Asserts that both sides have the same.
#[track_caller]
pub(crate) fn assert_same(source: &[Shown], target: &[Shown]) {
    for partition in 0..=source.iter().chain(target).map(|it| it.0).max().unwrap_or(0) {
        let of = |all: &[Shown]| all.iter().filter(|it| it.0 == partition).cloned().collect();
        let (source, target): (Vec<Shown>, Vec<Shown>) = (of(source), of(target));
        let differs = source.iter().zip(&target).position(|(a, b)| a != b);
        assert_eq!(
            (target.len(), differs),
            (source.len(), None),
            "partition {partition}: {:?}, but {:?}",
            differs.map(|n| &source[n]),
            differs.map(|n| &target[n]),
        );
    }
}

async fn memory() -> (Broker, Client) {
    let broker = Broker::in_memory().await.unwrap();
    let client = broker.client();
    (broker, client)
}

/// On a disk that syncs nothing: what is killed is only the process.
async fn open(dir: &TempDir) -> Broker {
    let defaults = TopicConfig::new().durability(Durability::Process);
    Broker::builder().topic_defaults(defaults).open(dir.path()).await.unwrap()
}

/// Sends numbers, each as a batch of its own, to the partition that is the last of the number.
async fn send(producer: &Producer, numbers: impl IntoIterator<Item = usize>) {
    for n in numbers {
        let record = Record::to("t").partition((n % 2) as i32).value(n.to_string());
        producer.send(record).await.unwrap();
    }
}

async fn two_partitions(broker: &Broker) -> Producer {
    broker.create_topic("t", TopicConfig::new().partitions(2)).await.unwrap();
    broker.producer().build()
}

/// Waits until what is watched is so.
async fn until(mirror: &Mirror, what: impl Fn(&ottla::MirrorStats) -> bool) {
    let look = async {
        while !what(&mirror.stats()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within(look).await;
}

/// Waits until so many records are there.
async fn arrive(client: &Client, count: usize) {
    let look = async {
        while read_values(client, "t").await.len() < count {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within(look).await;
    assert_eq!(read_values(client, "t").await.len(), count);
}

#[tokio::test]
async fn records_arrive_as_they_are() {
    let (source, target) = (Broker::in_memory().await.unwrap(), Broker::in_memory().await.unwrap());
    let producer = source.producer().build();
    source.create_topic("t", TopicConfig::new().partitions(3)).await.unwrap();
    for n in 0..300_i64 {
        let mut record = Record::to("t")
            .partition((n % 3) as i32)
            .timestamp(Timestamp::from_millis(1_000 + 7 * n));
        if n % 2 == 0 {
            record = record.key(n.to_string());
        }
        if n % 5 != 0 {
            record = record.value("x".repeat(n as usize)).header("n", n.to_string());
        }
        if n % 7 == 0 {
            record = record.header("ä", "").null_header("none");
        }
        drop(producer.try_send(record).unwrap());
    }
    producer.flush().await;
    let client = target.client();
    let mirror = source.mirror(["t"]).to(&client).await.unwrap();
    within(mirror.caught_up()).await.unwrap();
    let sent = content(&source.client(), "t").await;
    assert_eq!(sent.len(), 300);
    assert_same(&sent, &content(&client, "t").await);
    let stats = mirror.stats();
    assert_eq!((stats.records(), stats.lag(), stats.lost()), (300, 0, 0));
    assert_eq!(stats.partitions.len(), 3);
    assert!(stats.partitions.iter().all(|it| it.guarantee == Guarantee::ExactlyOnce));
    assert!(stats.error().is_none());
    mirror.stop().await.unwrap();
}

#[tokio::test]
async fn it_goes_on_where_it_was() {
    let dir = TempDir::new().unwrap();
    let (_target, client) = memory().await;
    for life in 0..4 {
        let source = open(&dir).await;
        if life == 0 {
            two_partitions(&source).await;
        }
        let producer = source.producer().build();
        send(&producer, life * 100..life * 100 + 50).await;
        let mirror = source.mirror(["t"]).to(&client).await.unwrap();
        send(&producer, life * 100 + 50..life * 100 + 100).await;
        match life {
            // Nothing is noted, whatever has arrived.
            1 => until(&mirror, |stats| stats.records() > 10).await,
            2 => drop(mirror),
            _ => {
                within(mirror.caught_up()).await.unwrap();
                assert_eq!(mirror.stats().lag(), 0);
                mirror.stop().await.unwrap();
            }
        }
        source.shutdown().await.unwrap();
    }
    let source = open(&dir).await;
    assert_same(&content(&source.client(), "t").await, &content(&client, "t").await);
    assert_eq!(read_values(&client, "t").await.len(), 400);
}

#[tokio::test]
async fn others_may_write_to_the_target() {
    let (_target, client) = memory().await;
    let sources = [Broker::in_memory().await.unwrap(), Broker::in_memory().await.unwrap()];
    let foreign = client.producer().build();
    client.admin().create_topic("t", TopicConfig::new().partitions(2)).await.unwrap();
    for source in &sources {
        two_partitions(source).await;
    }
    for round in 0..20 {
        for (which, source) in sources.iter().enumerate() {
            let mirror = source.mirror(["t"]).to(&client).await.unwrap();
            send(&source.producer().build(), (0..10).map(|n| 1000 * which + 10 * round + n)).await;
            send(&foreign, [5000 + round]).await;
            match round % 3 {
                0 => within(mirror.caught_up()).await.unwrap(),
                1 => until(&mirror, |stats| stats.records() > 0).await,
                _ => {}
            }
            // It is dropped wherever it is.
        }
    }
    for source in &sources {
        let mirror = source.mirror(["t"]).to(&client).await.unwrap();
        within(mirror.caught_up()).await.unwrap();
    }
    let mut found: Vec<usize> =
        read_values(&client, "t").await.iter().map(|it| it.parse().unwrap()).collect();
    for which in 0..2 {
        for partition in 0..2 {
            let own = |n: &usize| n / 1000 == which && n % 2 == partition;
            let own: Vec<_> = found.iter().copied().filter(own).collect();
            assert!(own.is_sorted(), "{own:?}");
        }
    }
    found.retain(|n| *n < 5000);
    found.sort_unstable();
    assert_eq!(found, (0..200).chain(1000..1200).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_is_not_mirrored_stays_and_producers_wait_or_are_told() {
    let cap = 16 << 10;
    for backlog in [Backlog::Block, Backlog::Reject] {
        let (dir, target_dir) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let clock = Clock::manual();
        let source = Broker::builder().clock(clock.clone()).open(dir.path()).await.unwrap();
        let config = TopicConfig::new().durability(Durability::Process);
        let config =
            config.max_partition_bytes(Some(cap)).retention_bytes(Some(1)).max_message_bytes(2000);
        source.create_topic("t", config).await.unwrap();
        // It takes nothing, for now.
        let target = open(&target_dir).await;
        let away = target.client();
        away.admin().create_topic("t", TopicConfig::new().max_message_bytes(80)).await.unwrap();
        let mirror = source.mirror(["t"]).backlog(backlog).to(&away).await.unwrap();
        let producer = source.producer().build();
        let value = "x".repeat(500);
        let record = || Record::to("t").value(&value[..]);
        let mut sent = 0;
        let refused = loop {
            let more = tokio::time::timeout(Duration::from_secs(1), producer.send(record()));
            match more.await {
                Ok(Ok(_)) => sent += 1,
                Ok(Err(error)) => break Some(Error::from(error)),
                // The last one waits, and will be there.
                Err(_) => break None,
            }
        };
        assert!((25..35).contains(&sent), "{sent} records of 500 bytes in 16 KiB");
        clock.advance(Duration::from_secs(30 * 24 * 3600));
        until(&mirror, |stats| stats.error().is_some()).await;
        let stats = mirror.stats();
        assert_eq!((stats.lag(), stats.lost()), (sent, 0));
        assert!(stats.partitions[0].failing_since.is_some());
        match (backlog, refused) {
            (Backlog::Block, None) => sent += 1,
            (Backlog::Reject, Some(error)) => {
                assert!(error.is_retriable());
                let parts = ["t-0", "16384", "ottla.partition.max.bytes", "Backlog::DropOldest"];
                assert_error!(
                    Err::<(), _>(error),
                    Error::BacklogFull { .. },
                    parts[0],
                    parts[1],
                    parts[2],
                    parts[3]
                );
            }
            (_, refused) => panic!("{backlog:?}: {refused:?}"),
        }
        // Now it does.
        let change = [("max.message.bytes", Some("1000000"))];
        away.admin().alter_configs("t", change).await.unwrap();
        for _ in 0..100 {
            if backlog == Backlog::Reject {
                within(mirror.caught_up()).await.unwrap();
            }
            within(producer.send(record())).await.unwrap();
            sent += 1;
        }
        within(mirror.caught_up()).await.unwrap();
        assert_eq!(read_topic(&away, "t").await.len() as u64, sent, "{backlog:?}");
        assert_eq!(mirror.stats().lost(), 0);
        mirror.stop().await.unwrap();
        // With no mirror the oldest go again.
        for _ in 0..100 {
            producer.send(record()).await.unwrap();
        }
    }
}

#[tokio::test]
async fn the_oldest_may_be_dropped_and_are_counted() {
    let dir = TempDir::new().unwrap();
    let source = open(&dir).await;
    let config = TopicConfig::new().max_partition_bytes(Some(16 << 10)).max_message_bytes(2000);
    source.create_topic("t", config).await.unwrap();
    let (_target, client) = memory().await;
    let small = TopicConfig::new().max_message_bytes(80);
    client.admin().create_topic("t", small).await.unwrap();
    let builder = source.mirror(["t"]).backlog(Backlog::DropOldest);
    let mirror = builder.to(&client).await.unwrap();
    let producer = source.producer().build();
    for n in 0..200 {
        producer.send(Record::to("t").value(format!("{n:0>500}"))).await.unwrap();
    }
    client.admin().alter_configs("t", [("max.message.bytes", Some("1000000"))]).await.unwrap();
    within(mirror.caught_up()).await.unwrap();
    let found = read_values(&client, "t").await;
    let numbers: Vec<usize> = found.iter().map(|it| it.parse().unwrap()).collect();
    let first = numbers[0];
    assert!(first > 100, "{first}");
    assert_eq!(numbers, (first..200).collect::<Vec<_>>());
    assert_eq!(mirror.stats().lost(), first as u64);
}

#[tokio::test]
async fn memory_waits_for_the_mirror() {
    let source = Broker::builder().memory_limit(1 << 20).in_memory().await.unwrap();
    source.create_topic("t", TopicConfig::new()).await.unwrap();
    let (_target, client) = memory().await;
    client.admin().create_topic("t", TopicConfig::new().max_message_bytes(80)).await.unwrap();
    let mirror = source.mirror(["t"]).to(&client).await.unwrap();
    let producer = source.producer().build();
    let value = vec![7; 10_000];
    let mut sent = 0;
    let send = |n: usize| Record::to("t").key(n.to_string()).value(&value[..]);
    while tokio::time::timeout(Duration::from_secs(1), producer.send(send(sent))).await.is_ok() {
        sent += 1;
    }
    assert!((50..110).contains(&sent), "{sent} records of 10 kB in 1 MiB");
    client.admin().alter_configs("t", [("max.message.bytes", Some("1000000"))]).await.unwrap();
    for n in sent + 1..300 {
        within(producer.send(send(n))).await.unwrap();
    }
    within(mirror.caught_up()).await.unwrap();
    let keys = read_topic(&client, "t").await;
    let keys: Vec<_> = keys.iter().map(|it| it.key.clone().unwrap()).collect();
    assert_eq!(keys, texts(0..300));
    assert_eq!(mirror.stats().lost(), 0);
}

#[tokio::test]
async fn what_is_too_large_goes_in_parts_and_a_record_alone_waits() {
    let (source, _) = memory().await;
    let (_target, client) = memory().await;
    source.create_topic("t", TopicConfig::new()).await.unwrap();
    client.admin().create_topic("t", TopicConfig::new().max_message_bytes(2_000)).await.unwrap();
    let producer = source.producer().build();
    for n in 0..100 {
        let len = if n == 60 { 5_000 } else { 300 };
        drop(producer.try_send(Record::to("t").value(format!("{n:0>len$}"))).unwrap());
    }
    producer.flush().await;
    let mirror = source.mirror(["t"]).to(&client).await.unwrap();
    until(&mirror, |stats| stats.error().is_some()).await;
    assert_eq!(mirror.stats().records(), 60);
    assert_error!(
        Err::<(), _>(mirror.stats().error().unwrap().clone()),
        Error::MessageTooLarge { .. },
        "max.message.bytes=2000"
    );
    client.admin().alter_configs("t", [("max.message.bytes", Some("10000"))]).await.unwrap();
    within(mirror.caught_up()).await.unwrap();
    assert!(mirror.stats().error().is_none());
    let found = read_values(&client, "t").await;
    let numbers: Vec<usize> = found.iter().map(|it| it.parse().unwrap()).collect();
    assert_eq!(numbers, (0..100).collect::<Vec<_>>());
}

#[tokio::test]
async fn topics_and_partitions_come_and_go() {
    let (source, _) = memory().await;
    let (_target, client) = memory().await;
    let mirror = source.mirror(["t", "later"]).start(Start::Latest).to(&client).await.unwrap();
    let producer = two_partitions(&source).await;
    send(&producer, 0..10).await;
    producer.send(Record::to("later").value("now")).await.unwrap();
    within(mirror.caught_up()).await.unwrap();
    assert_eq!(mirror.stats().records(), 11);
    // More than the target has: it is told, and goes on once that has them, too.
    source.admin().create_partitions("t", 3).await.unwrap();
    producer.send(Record::to("t").partition(2).value("new")).await.unwrap();
    until(&mirror, |stats| stats.error().is_some()).await;
    assert_error!(
        Err::<(), _>(mirror.stats().error().unwrap().clone()),
        Error::InvalidState(_),
        "t-2",
        "2 partitions",
        "create_partitions"
    );
    client.admin().create_partitions("t", 3).await.unwrap();
    within(mirror.caught_up()).await.unwrap();
    assert_eq!(read_values(&client, "later").await, ["now"]);
    assert_eq!(read_values(&client, "t").await.last().unwrap(), "new");

    // Another topic of that name is mirrored, too.
    source.delete_topic("t").await.unwrap();
    two_partitions(&source).await;
    send(&source.producer().build(), 20..30).await;
    arrive(&client, 21).await;

    // And where the target's is deleted, it is made again.
    client.admin().delete_topic("t").await.unwrap();
    send(&source.producer().build(), 30..40).await;
    within(mirror.caught_up()).await.unwrap();
    arrive(&client, 10).await;
}

#[tokio::test]
async fn a_compacted_topic_arrives_at_least_once() {
    let dir = TempDir::new().unwrap();
    let source = open(&dir).await;
    let config = TopicConfig::new().cleanup_policy(CleanupPolicy::Compact).segment_bytes(1024);
    source.create_topic("t", config).await.unwrap();
    let producer = source.producer().build();
    for n in 0..200 {
        let record = Record::to("t").key((n % 7).to_string()).value(n.to_string());
        producer.send(record).await.unwrap();
    }
    source.compact("t").await.unwrap();
    let (_target, client) = memory().await;
    for _ in 0..2 {
        let mirror = source.mirror(["t"]).to(&client).await.unwrap();
        within(mirror.caught_up()).await.unwrap();
        let stats = mirror.stats();
        assert_eq!(stats.partitions[0].guarantee, Guarantee::AtLeastOnce);
        assert_eq!(stats.lost(), 0);
    }
    let mut latest = std::collections::BTreeMap::new();
    for record in read_topic(&client, "t").await {
        latest.insert(record.key.unwrap().to_vec(), record.value.unwrap().to_vec());
    }
    let values: Vec<_> = latest.into_values().map(|it| String::from_utf8(it).unwrap()).collect();
    assert_eq!(values, ["196", "197", "198", "199", "193", "194", "195"]);

    // What compaction has left out stays out, but from now on numbers may follow offsets.
    let change = [("cleanup.policy", Some("delete"))];
    source.admin().alter_configs("t", change).await.unwrap();
    let (_target, client) = memory().await;
    let mirror = source.mirror(["t"]).name("other").to(&client).await.unwrap();
    within(mirror.caught_up()).await.unwrap();
    let stats = mirror.stats();
    assert_eq!(stats.partitions[0].guarantee, Guarantee::ExactlyOnce);
    assert_eq!(stats.lost(), 0);
    let sent = content(&source.client(), "t").await;
    assert!((7..50).contains(&sent.len()), "{} records", sent.len());
    assert_same(&sent, &content(&client, "t").await);
}

#[tokio::test]
async fn it_begins_where_it_is_told() {
    let (source, _) = memory().await;
    let producer = two_partitions(&source).await;
    send(&producer, 0..10).await;
    let (_target, client) = memory().await;
    let mirror = source.mirror(["t"]).start(Start::Latest).to(&client).await.unwrap();
    send(&producer, 10..20).await;
    within(mirror.caught_up()).await.unwrap();
    drop(mirror);
    // What it had not come to before has been noted.
    let mirror = source.mirror(["t"]).start(Start::Earliest).to(&client).await.unwrap();
    send(&producer, 20..30).await;
    within(mirror.caught_up()).await.unwrap();
    let mut found: Vec<usize> =
        read_values(&client, "t").await.iter().map(|it| it.parse().unwrap()).collect();
    found.sort_unstable();
    assert_eq!(found, (10..30).collect::<Vec<_>>());
    // Under another name it has not begun.
    drop(mirror);
    let mirror = source.mirror(["t"]).name("other").to(&client).await.unwrap();
    within(mirror.caught_up()).await.unwrap();
    assert_eq!(mirror.stats().records(), 30);
}

#[tokio::test]
async fn what_makes_no_sense_is_refused() {
    let (source, own) = memory().await;
    let (_target, client) = memory().await;
    two_partitions(&source).await;
    let none: [&str; 0] = [];
    let refused = [
        source.mirror(none).to(&client).await,
        source.mirror(["t"]).name("").to(&client).await,
        source.mirror(["t"]).batch_size(0).to(&client).await,
    ];
    for (result, name) in refused.into_iter().zip(["topics", "name", "batch.size"]) {
        assert_error!(result, Error::InvalidConfig { .. }, name);
    }
    assert_error!(source.mirror(["a b"]).to(&client).await, Error::InvalidTopic(_), "a b");
    let internal = source.mirror(["__consumer_offsets"]).to(&client).await;
    assert_error!(internal, Error::InvalidState(_), "__consumer_offsets");
    let itself = source.mirror(["t"]).to(&own).await;
    assert_error!(itself, Error::InvalidState(_), "itself");

    let first = source.mirror(["t"]).to(&client).await.unwrap();
    let second = source.mirror(["t"]).to(&client).await;
    assert_error!(second, Error::InvalidConfig { .. }, "default", "at work");
    first.stop().await.unwrap();
    let third = source.mirror(["t"]).to(&client).await.unwrap();
    source.shutdown().await.unwrap();
    assert_error!(within(third.caught_up()).await, Error::Closed { .. });
    assert_error!(source.mirror(["t"]).to(&client).await, Error::Closed { .. });
}

#[tokio::test]
async fn its_place_is_a_groups_that_does_not_expire() {
    let dir = TempDir::new().unwrap();
    let clock = Clock::manual();
    let source = Broker::builder().clock(clock.clone()).open(dir.path()).await.unwrap();
    let producer = two_partitions(&source).await;
    send(&producer, 0..10).await;
    let (_target, client) = memory().await;
    let mirror = source.mirror(["t"]).name("north").to(&client).await.unwrap();
    within(mirror.caught_up()).await.unwrap();
    mirror.stop().await.unwrap();
    let month = Duration::from_secs(31 * 24 * 3600);
    for _ in 0..10 {
        clock.advance(month / 10);
        // The look for what has expired is the broker's own.
        tokio::task::yield_now().await;
    }
    let offsets = source.admin().group_offsets("ottla-mirror-north").await.unwrap();
    assert_eq!(offsets[&at("t", 0)].offset + offsets[&at("t", 1)].offset, 10);
}

/// As it is after the loss of power, or when a backup is put in place.
#[tokio::test]
async fn either_side_may_have_lost_its_latest_records() {
    let [source_dir, target_dir, old_source, old_target] =
        std::array::from_fn(|_| TempDir::new().unwrap());
    let live = async |source: &TempDir, target: &TempDir, numbers: std::ops::Range<usize>| {
        let (source, target) = (open(source).await, open(target).await);
        let producer = source.producer().build();
        let mirror = source.mirror(["t"]).to(&target.client()).await.unwrap();
        send(&producer, numbers).await;
        within(mirror.caught_up()).await.unwrap();
        let both = (content(&source.client(), "t").await, content(&target.client(), "t").await);
        mirror.stop().await.unwrap();
        source.shutdown().await.unwrap();
        target.shutdown().await.unwrap();
        both
    };
    {
        let source = open(&source_dir).await;
        two_partitions(&source).await;
        source.shutdown().await.unwrap();
    }
    live(&source_dir, &target_dir, 0..50).await;
    copy_dir(source_dir.path(), old_source.path());
    copy_dir(target_dir.path(), old_target.path());
    live(&source_dir, &target_dir, 50..100).await;

    // What the target has lost the source still has.
    let (sent, found) = live(&source_dir, &old_target, 100..110).await;
    assert_eq!(sent.len(), 110);
    assert_same(&sent, &found);

    // What the source has lost the target has. What is new takes the same offsets, and arrives.
    for round in 1..4 {
        let again = TempDir::new().unwrap();
        copy_dir(old_source.path(), again.path());
        let (sent, found) = live(&again, &target_dir, 1000 * round..1000 * round + 20).await;
        assert_eq!((sent.len(), found.len()), (70, 100 + 20 * round));
        let new = |it: &Shown| it.3.as_ref().unwrap().starts_with(round.to_string().as_bytes());
        let newest = |all: &[Shown]| {
            let long = all.iter().filter(|it| it.3.as_ref().unwrap().len() == 4 && new(it));
            long.cloned().collect::<Vec<_>>()
        };
        assert_same(&newest(&sent), &newest(&found));
    }
}

/// A copy made while the broker was at work is like a disk that has lost what came after.
#[tokio::test]
async fn a_source_that_has_lost_its_end_is_mirrored_on() {
    let (dir, copy, target_dir) =
        (TempDir::new().unwrap(), TempDir::new().unwrap(), TempDir::new().unwrap());
    let (source, target) = (open(&dir).await, open(&target_dir).await);
    let producer = two_partitions(&source).await;
    let mirror = source.mirror(["t"]).to(&target.client()).await.unwrap();
    send(&producer, 0..50).await;
    within(mirror.caught_up()).await.unwrap();
    let noted = async {
        loop {
            let offsets = source.admin().group_offsets("ottla-mirror-default").await.unwrap();
            if offsets.values().map(|it| it.offset).sum::<i64>() == 50 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within(noted).await;
    copy_dir(dir.path(), copy.path());
    send(&producer, 50..100).await;
    within(mirror.caught_up()).await.unwrap();
    mirror.stop().await.unwrap();
    source.shutdown().await.unwrap();

    let source = open(&copy).await;
    assert!(!source.recovery_report().unwrap().clean_shutdown);
    let producer = source.producer().build();
    // More than was lost, before anybody looks.
    send(&producer, 1000..1100).await;
    let mirror = source.mirror(["t"]).to(&target.client()).await.unwrap();
    within(mirror.caught_up()).await.unwrap();
    let found: Vec<usize> =
        read_values(&target.client(), "t").await.iter().map(|it| it.parse().unwrap()).collect();
    let of = |partition| found.iter().copied().filter(|n| n % 2 == partition).collect::<Vec<_>>();
    for partition in 0..2 {
        let expected = (0..100).chain(1000..1100).filter(|n| n % 2 == partition);
        assert_eq!(of(partition), expected.collect::<Vec<_>>());
    }
}
