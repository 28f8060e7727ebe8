//! The data directories that Kafka is shown. Their names begin with what happened to them:
//! `killed` was not opened since its process died.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::BytesMut;
use ottla::batch::{self, BatchBuilder};
use ottla::log::{Log, LogConfig, Opening};
use ottla::storage::FileStorage;
use ottla::{
    Broker, CleanupPolicy, Durability, Producer, Record, Timestamp, TimestampType, TopicConfig,
    TopicPartition,
};

use crate::check::{children, name};
use crate::seen::Segment;
use crate::{copy_dir, killed, power};

/// When records were made: far from now, so that no time of day is taken for it.
const THEN: i64 = 1_600_000_000_000;

/// Makes them all below `dirs`, which is there and empty.
pub async fn all(dirs: &Path) {
    for name in ["v1", "v1-killed"] {
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
        let name = if name == "v1" { "golden-v1" } else { "killed-golden-v1" };
        copy_dir(&golden, &dirs.join(name)).unwrap();
    }
    shut_down(&dirs.join("shutdown")).await;
    compacted(&dirs.join("shutdown"), &dirs.join("compacted")).await;
    idempotent(&dirs.join("idempotent")).await;
    for records in [30, 300, 3_000] {
        let name = format!("killed-after-{records}");
        killed::make(&dirs.join(&name), records);
        reopened(&dirs.join(&name), &dirs.join(format!("reopened-{name}"))).await;
    }
    torn(&dirs.join("killed-after-3000"), &dirs.join("killed-torn"));
    reopened(&dirs.join("killed-torn"), &dirs.join("reopened-torn")).await;
    for seed in 0..5 {
        power::make(&dirs.join(format!("power-lost-{seed}")), seed).await;
    }
}

/// Topics of all kinds with records of all kinds, in many segments; and then a shutdown.
async fn shut_down(dir: &Path) {
    let broker = Broker::open(dir).await.unwrap();
    create_topics(&broker).await;
    let producer = broker.producer().batch_size(400).build();
    for n in 0..3_000 {
        produce(&producer, n).await;
    }
    producer.flush().await;
    assert_eq!(producer.stats().records_failed, 0);
    let admin = broker.admin();
    let orders = |partition| TopicPartition::new("orders", partition).unwrap();
    assert_eq!(admin.delete_records(&orders(0), 3).await.unwrap(), 3);
    admin.alter_group_offsets("billing", [(orders(0), 12), (orders(1), 700)]).await.unwrap();
    consume(&broker).await;
    broker.shutdown().await.unwrap();
}

async fn create_topics(broker: &Broker) {
    let indexed = || TopicConfig::new().retention(None).set("index.interval.bytes", 700).unwrap();
    let orders = indexed().partitions(3).segment_bytes(20_000);
    let table = indexed().partitions(2).segment_bytes(10_000);
    let table = table.cleanup_policy(CleanupPolicy::Compact).durability(Durability::Process);
    let stamped = indexed().timestamp_type(TimestampType::LogAppendTime).segment_bytes(30_000);
    let topics = [("orders", orders), ("table", table), ("stamped", stamped)];
    for (name, config) in topics {
        broker.create_topic(name, config).await.unwrap();
    }
    broker.create_topic("empty", TopicConfig::new()).await.unwrap();
}

/// The `n`-th record of each topic. Texts have no line breaks: Kafka's tool prints them as lines.
async fn produce(producer: &Producer, n: i64) {
    // Time goes back now and then, and stands still.
    let time = Timestamp::from_millis(THEN + n / 2 * 10 - if n % 7 == 6 { 500 } else { 0 });
    let record = Record::to("orders").partition((n % 2) as i32).timestamp(time);
    let record = if n % 3 == 0 { record } else { record.key(format!("key {n}")) };
    let record = if n % 5 == 0 { record } else { record.value(format!("värde {n}")) };
    let record = if n % 4 == 0 { record } else { record.header("n", n.to_string()) };
    let record = if n % 6 == 0 { record } else { record.null_header("nåll") };
    producer.enqueue(record).await.unwrap();
    // Each key has a last value, or is deleted in the end.
    let record = Record::to("table").key(format!("key {}", n % 60)).timestamp(time);
    let is_deleted = n % 60 < 20 && n % 3 == 0;
    let record = if is_deleted { record } else { record.value(format!("value {n}")) };
    producer.enqueue(record).await.unwrap();
    producer.enqueue(Record::to("stamped").value(vec![b'x'; n as usize % 100])).await.unwrap();
}

/// A group with members, one of which has gone, so that a generation with a member is stored.
async fn consume(broker: &Broker) {
    let member = || broker.consumer().group("readers").subscribe(["orders", "table"]);
    let mut first = member().await.unwrap();
    for _ in 0..100 {
        first.recv().await.unwrap();
    }
    first.commit().await.unwrap();
    let second = member().await.unwrap();
    second.close().await.unwrap();
    first.recv().await.unwrap();
    first.commit().await.unwrap();
    // `first` is there until the shutdown.
    std::mem::forget(first);
}

/// What a compaction makes of it, in part twice.
async fn compacted(from: &Path, to: &Path) {
    copy_dir(from, to).unwrap();
    let broker = Broker::open(to).await.unwrap();
    let before = size(&to.join("table-0"));
    broker.compact("table").await.unwrap();
    assert!(size(&to.join("table-0")) < before, "there was something to compact");
    let producer = broker.producer().batch_size(400).build();
    for n in 3_000..3_500 {
        produce(&producer, n).await;
    }
    producer.flush().await;
    broker.compact("table").await.unwrap();
    for n in 3_500..3_600 {
        produce(&producer, n).await;
    }
    producer.flush().await;
    broker.shutdown().await.unwrap();
}

fn size(dir: &Path) -> u64 {
    let files = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len());
    files.sum()
}

/// A log with batches of idempotent producers, which no producer in the process is: what the
/// network will write. Closed once between, so that it goes on from a snapshot.
async fn idempotent(dir: &Path) {
    let broker = Broker::open(dir).await.unwrap();
    let topic = TopicConfig::new().retention(None);
    let topic_id = broker.create_topic("producers", topic).await.unwrap().id;
    broker.shutdown().await.unwrap();
    let config = LogConfig { segment_bytes: 9_000, index_interval_bytes: 700, ..config() };
    let opening = Opening {
        storage: Arc::new(FileStorage::new(dir, 10)),
        dir: "producers-0".into(),
        partition: TopicPartition::new("producers", 0).unwrap(),
        topic_id,
        config,
        clean: true,
        min_epoch: 0,
        log_start_offset: 0,
        sparse: false,
        recovery_point: None,
        pressure: None,
    };
    // Kafka forgets producers that have been silent for long.
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis() as i64;
    for round in 0..2 {
        let mut log = Log::open(opening.clone()).unwrap().0;
        for n in round * 100..(round + 1) * 100 {
            log.append_now(idempotent_batch(n, now + 10 * n).finish()).unwrap();
        }
        log.close().unwrap();
    }
}

fn config() -> LogConfig {
    LogConfig { retention: None, ..LogConfig::default() }
}

/// Three records each, by two producers in turns, the second of which has a later epoch, and by
/// none; `first` is the first one's timestamp. The first producer's sequence numbers wrap.
fn idempotent_batch(n: i64, first: i64) -> BatchBuilder {
    let mut builder = BatchBuilder::new(BytesMut::new());
    let sequence = 3 * (n / 3) as i32;
    match n % 3 {
        0 => builder.set_producer(1_000, 0, (i32::MAX - 30).wrapping_add(sequence) & i32::MAX),
        1 => builder.set_producer(1_001, 5, sequence),
        _ => {}
    }
    for record in 0..3 {
        let value = format!("{n}:{record}");
        builder.push(first + record, Some(b"key"), Some(value.as_bytes()), &[]);
    }
    builder
}

/// What the next open makes of a directory; it has records of two runs then.
async fn reopened(from: &Path, to: &Path) {
    copy_dir(from, to).unwrap();
    let broker = Broker::open(to).await.unwrap();
    assert!(!broker.recovery_report().unwrap().clean_shutdown);
    for topic in killed::TOPICS {
        let record = Record::to(topic).partition(0).key("after").value("the crash");
        broker.producer().build().send(record).await.unwrap();
    }
    broker.shutdown().await.unwrap();
}

/// A write that got only half of its way: each partition ends with a batch that lacks its end.
fn torn(from: &Path, to: &Path) {
    copy_dir(from, to).unwrap();
    for partition in children(to) {
        if !killed::TOPICS.iter().any(|topic| name(&partition).starts_with(topic)) {
            continue;
        }
        let logs = children(&partition).into_iter();
        let logs = logs.filter(|it| it.extension().is_some_and(|extension| extension == "log"));
        let log = logs.max().expect("it has a segment");
        let base_offset = log.file_stem().unwrap().to_str().unwrap().parse().unwrap();
        let mut bytes = fs::read(&log).unwrap();
        let segment = Segment::read(base_offset, bytes.clone());
        // The segment may just have been begun; then it has no batch to be like.
        let Some(last) = segment.batches.last() else { continue };
        let mut torn = last.bytes().to_vec();
        batch::patch(&mut torn, segment.end_offset(), last.header().partition_leader_epoch);
        bytes.truncate(segment.size());
        bytes.extend_from_slice(&torn[..torn.len() - 5]);
        fs::write(&log, bytes).unwrap();
    }
}
