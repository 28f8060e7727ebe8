//! What is acknowledged stays: over a shutdown, over dropping all handles, over `kill -9`.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use ottla::{
    Broker, Clock, Durability, Error, Position, Record, Start, Timestamp, TimestampType,
    TopicConfig, TopicDescription,
};
use tempfile::TempDir;

use crate::support::{
    Backend, Child, assert_error, at, child_dir, copy_dir, read_topic, read_values, runtime,
    send_all, take, take_values, texts, within,
};

/// Topics of all kinds with records of all kinds.
async fn fill(broker: &Broker) {
    let power = TopicConfig::new().partitions(3).retention(None).segment_bytes(2000);
    let process = TopicConfig::new()
        .durability(Durability::Process)
        .timestamp_type(TimestampType::LogAppendTime)
        .max_message_bytes(5000);
    broker.create_topic("power", power).await.unwrap();
    broker.create_topic("process", process).await.unwrap();
    broker.create_topic("empty.one", TopicConfig::new().partitions(5)).await.unwrap();
    let producer = broker.producer().batch_size(500).build();
    for n in 0..100 {
        for topic in ["power", "process"] {
            let record = Record::to(topic)
                .key(n.to_string())
                .value(vec![n; 7])
                .timestamp(Timestamp::from_millis(1_000_000_000_000 + i64::from(n)))
                .header("n", n.to_string())
                .null_header("null");
            producer.enqueue(record).await.unwrap();
        }
    }
    producer.send(Record::to("power").partition(1)).await.unwrap();
    producer.flush().await;
    assert_eq!(producer.stats().records_sent, 201);
}

fn describe_all(broker: &Broker) -> Vec<TopicDescription> {
    let names = broker.topics().unwrap();
    names.iter().map(|name| broker.describe_topic(name.as_str()).unwrap()).collect()
}

#[tokio::test]
async fn what_administrators_did_is_back_after_a_shutdown() {
    for durability in [Durability::Process, Durability::Power, Durability::Memory] {
        let dir = TempDir::new().unwrap();
        let broker = Broker::open(dir.path()).await.unwrap();
        let admin = broker.admin();
        let config = TopicConfig::new().durability(durability).partitions(2);
        admin.create_topic("t", config).await.unwrap();
        send_all(&broker.client(), "t", 0..10).await;
        let retention = [("retention.ms", Some("-1")), ("max.message.bytes", Some("5000"))];
        admin.alter_configs("t", retention).await.unwrap();
        admin.create_partitions("t", 4).await.unwrap();
        assert_eq!(admin.delete_records(&at("t", 0), 7).await.unwrap(), 7);
        admin.alter_group_offsets("g", [(at("t", 3), 5)]).await.unwrap();
        let before = broker.describe_topic("t").unwrap();
        broker.shutdown().await.unwrap();
        let broker = Broker::open(dir.path()).await.unwrap();
        let after = broker.describe_topic("t").unwrap();
        assert_eq!((after.id, &after.config), (before.id, &before.config));
        assert_eq!(after.partitions.len(), 4);
        let kept = if durability == Durability::Memory { texts(0..0) } else { texts(7..10) };
        assert_eq!(read_values(&broker.client(), "t").await, kept, "{durability:?}");
        let offsets = broker.admin().group_offsets("g").await.unwrap();
        assert_eq!(offsets[&at("t", 3)].offset, 5);
    }
}

#[tokio::test]
async fn static_members_have_their_partitions_back_after_a_restart() {
    within(async {
        let dir = TempDir::new().unwrap();
        let names = ["a", "b", "c"];
        let mut had = BTreeMap::new();
        for round in 0..3 {
            let broker = Broker::open(dir.path()).await.unwrap();
            if round == 0 {
                let config = TopicConfig::new().partitions(7);
                broker.create_topic("t", config).await.unwrap();
            }
            let mut members = Vec::new();
            for name in names {
                let builder = broker.consumer().group("g").group_instance_id(name);
                members.push(builder.subscribe(["t"]).await.unwrap());
            }
            while members.iter().map(|it| it.assignment().len()).sum::<usize>() < 7
                || members.iter().any(|it| it.assignment().is_empty())
            {
                for member in &mut members {
                    assert!(member.try_recv().unwrap().is_none());
                }
                tokio::task::yield_now().await;
            }
            for (member, name) in members.iter().zip(names) {
                let first = had.entry(name).or_insert_with(|| member.assignment());
                assert_eq!(*first, member.assignment(), "{name} in round {round}");
            }
            broker.shutdown().await.unwrap();
        }
    })
    .await;
}

/// Nothing is logged for ever that only the latest of counts.
#[tokio::test]
async fn the_catalog_does_not_grow_with_its_history() {
    let dir = TempDir::new().unwrap();
    let broker = Broker::open(dir.path()).await.unwrap();
    let power = TopicConfig::new().durability(Durability::Process);
    broker.create_topic("t", power).await.unwrap();
    send_all(&broker.client(), "t", 0..2500).await;
    let size = || {
        let entries = std::fs::read_dir(dir.path().join("__ottla_catalog-0")).unwrap();
        let logs = entries
            .map(Result::unwrap)
            .filter(|it| it.path().extension().is_some_and(|extension| extension == "log"));
        logs.map(|it| it.metadata().unwrap().len()).sum::<u64>()
    };
    let mut most = 0;
    for offset in 1..2500 {
        broker.admin().delete_records(&at("t", 0), offset).await.unwrap();
        most = most.max(size());
    }
    assert!(most > 50_000 && most < 150_000, "{most} bytes");
    // As a crash would find it.
    let copy = TempDir::new().unwrap();
    copy_dir(dir.path(), copy.path());
    for dir in [dir.path(), copy.path()] {
        broker.shutdown().await.unwrap();
        let broker = Broker::open(dir).await.unwrap();
        assert_eq!(read_values(&broker.client(), "t").await, ["2499"]);
        broker.shutdown().await.unwrap();
    }
}

#[tokio::test]
async fn everything_is_back_after_a_shutdown() {
    let dir = TempDir::new().unwrap();
    let broker = Broker::open(dir.path()).await.unwrap();
    fill(&broker).await;
    let topics = describe_all(&broker);
    let power = read_topic(&broker.client(), "power").await;
    let process = read_topic(&broker.client(), "process").await;
    broker.shutdown().await.unwrap();
    for round in 0..3 {
        let broker = Broker::open(dir.path()).await.unwrap();
        let report = broker.recovery_report().unwrap();
        assert!(report.clean_shutdown && report.partitions.is_empty(), "{report:?}");
        assert!(report.foreign.is_empty() && report.topics_without_catalog.is_empty());
        assert_eq!(describe_all(&broker), topics, "round {round}");
        assert_eq!(read_topic(&broker.client(), "power").await, power);
        assert_eq!(read_topic(&broker.client(), "process").await, process);
        let builder = broker.consumer().start(Start::Timestamp(Timestamp::from_millis(2)));
        let mut consumer = builder.assign([at("power", 0)]).await.unwrap();
        assert_eq!(consumer.recv().await.unwrap().offset, 0);
        broker.shutdown().await.unwrap();
    }
}

#[tokio::test]
async fn offsets_go_on_where_they_stood() {
    for backend in Backend::ON_DISK {
        let dir = TempDir::new().unwrap();
        let defaults = TopicConfig::new().durability(backend.durability()).segment_bytes(1024);
        for round in 0..4 {
            let builder = Broker::builder().topic_defaults(defaults.clone());
            let broker = builder.open(dir.path()).await.unwrap();
            let producer = broker.producer().build();
            for n in 0..25 {
                let value = (round * 25 + n).to_string();
                let sent = producer.send(Record::to("t").value(value)).await.unwrap();
                assert_eq!(sent.offset, round * 25 + n);
            }
            let expected = texts(0..(round as usize + 1) * 25);
            assert_eq!(read_values(&broker.client(), "t").await, expected);
            broker.shutdown().await.unwrap();
        }
    }
}

#[tokio::test]
async fn dropping_all_handles_closes_cleanly_and_the_next_open_waits_for_it() {
    within(async {
        let dir = TempDir::new().unwrap();
        for round in 0..20 {
            let broker = Broker::open(dir.path()).await.unwrap();
            assert!(broker.recovery_report().unwrap().clean_shutdown);
            let producer = broker.producer().build();
            let consumer = broker.consumer().subscribe(["t"]).await.unwrap();
            let mut deliveries = Vec::new();
            for n in round * 10..(round + 1) * 10 {
                let record = Record::to("t").value(n.to_string());
                deliveries.push(producer.enqueue(record).await.unwrap());
            }
            // The records are still on their way.
            drop((broker, producer, consumer));
        }
        let broker = Broker::open(dir.path()).await.unwrap();
        assert_eq!(read_values(&broker.client(), "t").await, texts(0..200));
    })
    .await;
}

#[tokio::test]
async fn topics_in_memory_are_empty_again_and_old_positions_are_told() {
    let dir = TempDir::new().unwrap();
    let config = TopicConfig::new().durability(Durability::Memory);
    let mut last_epoch = -1;
    let mut old: Option<Position> = None;
    for round in 0..4 {
        let broker = Broker::open(dir.path()).await.unwrap();
        if round == 0 {
            broker.create_topic("m", config.clone()).await.unwrap();
        }
        let fresh = broker.describe_topic("m").unwrap();
        assert_eq!(fresh.durability, Durability::Memory);
        assert_eq!(fresh.partitions[0].log_end_offset, 0);
        let values: Vec<_> = (0..5).map(|n| format!("{round}: {n}")).collect();
        send_all(&broker.client(), "m", &values).await;
        let mut consumer = broker.consumer().subscribe(["m"]).await.unwrap();
        if let Some(old) = old {
            consumer.seek(&at("m", 0), old).unwrap();
            let error = consumer.recv().await;
            assert_error!(error, Error::Truncated { to: 0, .. }, "m-0", "offset 0");
        }
        let records = take(&mut consumer, 3).await;
        assert!(records.iter().map(crate::support::value).eq(values[..3].iter().cloned()));
        let epoch = records[0].leader_epoch;
        assert!(epoch > last_epoch, "epoch {epoch} after {last_epoch}");
        last_epoch = epoch;
        old = consumer.position(&at("m", 0));
        assert_eq!(old, Some(Position { offset: 3, leader_epoch: Some(epoch) }));
        // A kill or a shutdown: all the same to memory.
        if round % 2 == 0 {
            broker.shutdown().await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_deleted_topic_stays_deleted_and_a_namesake_is_empty() {
    let dir = TempDir::new().unwrap();
    let broker = Broker::open(dir.path()).await.unwrap();
    send_all(&broker.client(), "gone", 0..5).await;
    send_all(&broker.client(), "again", 0..5).await;
    let old = broker.describe_topic("again").unwrap().id;
    broker.delete_topic("gone").await.unwrap();
    broker.delete_topic("again").await.unwrap();
    send_all(&broker.client(), "again", 5..7).await;
    let new = broker.describe_topic("again").unwrap().id;
    assert_ne!(old, new);
    broker.shutdown().await.unwrap();
    let broker = Broker::open(dir.path()).await.unwrap();
    assert_eq!(broker.topics().unwrap(), ["again"]);
    assert_eq!(broker.describe_topic("again").unwrap().id, new);
    assert_eq!(read_values(&broker.client(), "again").await, texts(5..7));
    let folders: Vec<_> = std::fs::read_dir(dir.path()).unwrap().collect();
    let names = folders.iter().map(|it| it.as_ref().unwrap().file_name().into_string().unwrap());
    assert!(!names.into_iter().any(|name| name.contains("gone") || name.contains("delete")));
}

#[tokio::test]
async fn a_copy_of_the_live_directory_has_all_that_was_acknowledged() {
    let dir = TempDir::new().unwrap();
    let broker = Broker::open(dir.path()).await.unwrap();
    fill(&broker).await;
    let image = TempDir::new().unwrap();
    copy_dir(dir.path(), image.path());
    let after = Broker::open(image.path()).await.unwrap();
    let report = after.recovery_report().unwrap();
    assert!(!report.clean_shutdown && report.partitions.is_empty(), "{report:?}");
    assert!(report.scanned_bytes > 0, "all of it is behind the recovery points");
    assert_eq!(after.topics().unwrap(), broker.topics().unwrap());
    for topic in ["power", "process"] {
        let records = read_topic(&after.client(), topic).await;
        assert_eq!(records, read_topic(&broker.client(), topic).await);
        let (then, now) = (broker.describe_topic(topic), after.describe_topic(topic));
        let (then, now) = (then.unwrap(), now.unwrap());
        assert_eq!((then.id, then.config), (now.id, now.config));
    }
    // What comes now has a higher epoch: nothing acknowledged can be confused with it.
    send_all(&after.client(), "process", ["new"]).await;
    let epochs: Vec<_> =
        read_topic(&after.client(), "process").await.iter().map(|r| r.leader_epoch).collect();
    assert_eq!((epochs[99], epochs[100]), (0, 1));
}

#[tokio::test]
async fn a_position_beyond_what_a_crash_left_is_told() {
    let dir = TempDir::new().unwrap();
    let broker = Broker::open(dir.path()).await.unwrap();
    send_all(&broker.client(), "t", 0..3).await;
    let image = TempDir::new().unwrap();
    copy_dir(dir.path(), image.path());
    // The image lacks these: the machine lost them.
    send_all(&broker.client(), "t", 3..6).await;
    let mut consumer = broker.consumer().subscribe(["t"]).await.unwrap();
    take(&mut consumer, 5).await;
    let position = consumer.position(&at("t", 0)).unwrap();
    let after = Broker::open(image.path()).await.unwrap();
    send_all(&after.client(), "t", 100..110).await;
    let mut consumer = after.consumer().subscribe(["t"]).await.unwrap();
    consumer.seek(&at("t", 0), position).unwrap();
    assert_error!(consumer.recv().await, Error::Truncated { to: 3, .. }, "t-0", "offset 3");
    assert_eq!(take_values(&mut consumer, 2).await, texts(100..102));
}

#[tokio::test]
async fn the_clock_decides_what_a_reopened_topic_still_has() {
    let (dir, clock) = (TempDir::new().unwrap(), Clock::manual());
    let hour = Duration::from_secs(3600);
    let open = || Broker::builder().clock(clock.clone()).open(dir.path());
    let broker = open().await.unwrap();
    let config = TopicConfig::new().retention(Some(hour)).segment_bytes(1024);
    broker.create_topic("t", config).await.unwrap();
    send_all(&broker.client(), "t", 0..100).await;
    broker.shutdown().await.unwrap();
    clock.advance(hour * 2);
    let broker = open().await.unwrap();
    clock.advance(hour);
    while broker.describe_topic("t").unwrap().partitions[0].log_start_offset < 100 {
        tokio::task::yield_now().await;
    }
    broker.shutdown().await.unwrap();
    let broker = open().await.unwrap();
    let now = broker.describe_topic("t").unwrap().partitions[0];
    assert_eq!((now.log_start_offset, now.log_end_offset), (100, 100));
    send_all(&broker.client(), "t", 100..101).await;
    assert_eq!(read_topic(&broker.client(), "t").await[0].offset, 100);
}

const TOPICS: [&str; 2] = ["of-process", "of-power"];

/// What a child printed of each acknowledged record: topic, partition and offset to value.
type Acknowledged = BTreeMap<(String, i32, i64), String>;

/// Kills a producing child once it has printed so many lines; what it printed is what was
/// acknowledged.
fn produce_and_die(dir: &Path, lines: usize, acknowledged: &mut Acknowledged) {
    let mut child = Child::start("durability::child_produces_until_killed", dir);
    let mut read = 0;
    while let Some(line) = child.line() {
        let mut words = line.split(' ').map(str::to_owned);
        let mut word = || words.next().expect("four words");
        let (topic, partition, offset) = (word(), word(), word());
        let at = (topic, partition.parse().unwrap(), offset.parse().unwrap());
        let doubled = acknowledged.insert(at, word());
        assert_eq!(doubled, None, "an offset was given out twice: {line}");
        read += 1;
        if read == lines {
            child.kill();
        }
    }
    assert!(read >= lines, "the child has ended by itself");
    assert!(!child.ended_well());
}

#[test]
fn what_a_killed_process_had_acknowledged_is_there() {
    let dir = TempDir::new().unwrap();
    let mut acknowledged = Acknowledged::new();
    for round in 0..5 {
        // At no particular moment.
        let lines = 20 + usize::from(random_byte()) * 4;
        produce_and_die(dir.path(), lines, &mut acknowledged);
        runtime().block_on(within(async {
            let builder = Broker::builder().auto_create_topics(false);
            let broker = builder.open(dir.path()).await.unwrap();
            assert!(!broker.recovery_report().unwrap().clean_shutdown);
            let mut found = BTreeMap::new();
            for topic in TOPICS {
                for record in read_topic(&broker.client(), topic).await {
                    let at = (topic.to_owned(), record.partition, record.offset);
                    found.insert(at, crate::support::value(&record));
                }
            }
            for (at, value) in &acknowledged {
                assert_eq!(found.get(at), Some(value), "round {round}, {lines} lines: {at:?}");
            }
            broker.shutdown().await.unwrap();
        }));
        // Left as a crash leaves it, for every other round.
        if round % 2 == 0 {
            std::fs::remove_file(dir.path().join(".kafka_cleanshutdown")).unwrap();
        }
    }
}

fn random_byte() -> u8 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(()) as u8
}

#[test]
#[ignore = "run by another test, in a process of its own"]
fn child_produces_until_killed() {
    let Some(dir) = child_dir() else { return };
    runtime().block_on(async {
        let broker = Broker::open(dir).await.unwrap();
        for (topic, durability) in TOPICS.iter().zip([Durability::Process, Durability::Power]) {
            let config = TopicConfig::new().durability(durability).partitions(2);
            match broker.create_topic(topic, config.segment_bytes(20_000)).await {
                // After the first round.
                Ok(_) | Err(Error::TopicAlreadyExists { .. }) => {}
                Err(error) => panic!("{error:?}"),
            }
        }
        let mut tasks = tokio::task::JoinSet::new();
        for task in 0..8 {
            tasks.spawn(produce_for_ever(broker.clone(), task));
        }
        tasks.join_next().await.unwrap().unwrap();
    });
}

async fn produce_for_ever(broker: Broker, task: usize) {
    let producer = broker.producer().build();
    let topic = TOPICS[task % 2];
    for n in 0.. {
        let value = format!("{}:{task}:{n}", std::process::id());
        let record = Record::to(topic).partition(n % 2).value(&value);
        let sent = producer.send(record).await.unwrap();
        let line = format!(">{topic} {} {} {value}\n", sent.partition, sent.offset);
        // One write: a kill cuts between lines, or in the last one.
        if std::io::stdout().lock().write_all(line.as_bytes()).is_err() {
            return;
        }
    }
}
