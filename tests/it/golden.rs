//! Data directories that were written by the first version of the format are opened by every later
//! one, with all that was in them: `tests/golden/v1`, which was shut down, and `tests/golden/v1-killed`,
//! which was not.
//!
//! Made by `OTTLA_GOLDEN=tests/golden/v2 cargo test --test it golden::make -- --ignored`, once for
//! each version of the format, and never again.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use ottla::{
    Broker, CleanupPolicy, Clock, Durability, Record, Timestamp, TimestampType, TopicConfig,
};
use tempfile::TempDir;

use crate::support::{at, copy_dir, read_topic, read_values, texts};

const RECORDS: i64 = 200;

fn time(n: i64) -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000 + n)
}

async fn fill(broker: &Broker) {
    let orders = TopicConfig::new().partitions(2).retention(None).segment_bytes(1024);
    broker.create_topic("orders", orders).await.unwrap();
    let table = TopicConfig::new().cleanup_policy(CleanupPolicy::Compact);
    let table = table.durability(Durability::Process).segment_bytes(2048);
    broker.create_topic("table", table).await.unwrap();
    broker.create_topic("gone", TopicConfig::new()).await.unwrap();
    broker.create_topic("empty", TopicConfig::new().partitions(3)).await.unwrap();
    let producer = broker.producer().batch_size(300).build();
    for n in 0..RECORDS {
        let partition = (n % 2) as i32;
        let record = Record::to("orders").partition(partition).timestamp(time(n));
        let record = if n % 3 == 0 { record } else { record.key(format!("key {n}")) };
        let record = if n % 5 == 0 { record } else { record.value(n.to_string()) };
        producer.enqueue(record.header("n", n.to_string()).null_header("null")).await.unwrap();
        let record = Record::to("table").key((n % 7).to_string()).timestamp(time(n));
        producer.enqueue(record.value(n.to_string())).await.unwrap();
    }
    producer.flush().await;
    broker.compact("table").await.unwrap();
    let admin = broker.admin();
    admin.alter_configs("orders", [("max.message.bytes", Some("5000"))]).await.unwrap();
    admin.create_partitions("orders", 3).await.unwrap();
    assert_eq!(admin.delete_records(&at("orders", 0), 3).await.unwrap(), 3);
    admin.alter_group_offsets("billing", [(at("orders", 1), 12)]).await.unwrap();
    broker.delete_topic("gone").await.unwrap();
}

pub(crate) async fn check(broker: &Broker) {
    let topics = broker.topics().unwrap();
    assert_eq!(topics, ["empty", "orders", "table"]);
    let orders = broker.describe_topic("orders").unwrap();
    assert_eq!((orders.partitions.len(), orders.durability), (3, Durability::Power));
    assert_eq!(orders.config.get("max.message.bytes"), Some("5000"));
    assert_eq!(orders.config.get("retention.ms"), Some("-1"));
    assert!(orders.partitions[1].segments > 2, "{orders:?}");
    assert_eq!(orders.partitions[0].log_start_offset, 3);
    let records = read_topic(&broker.client(), "orders").await;
    assert_eq!(records.len() as i64, RECORDS - 3);
    for record in records {
        let n = 2 * record.offset + i64::from(record.partition);
        let text = n.to_string();
        assert_eq!((record.timestamp, record.timestamp_type), (time(n), TimestampType::CreateTime));
        assert_eq!(record.key.is_none(), n % 3 == 0);
        assert_eq!(record.value.as_deref(), (n % 5 > 0).then_some(text.as_bytes()));
        let headers: Vec<_> =
            record.headers.iter().map(|it| (it.key.into_owned(), it.value)).collect();
        assert_eq!(headers, [("n".to_owned(), Some(text.as_bytes())), ("null".to_owned(), None)]);
    }
    let last = (RECORDS - 7..RECORDS).map(|n| n as usize);
    assert_eq!(read_values(&broker.client(), "table").await, texts(last));
    let offsets = broker.admin().group_offsets("billing").await.unwrap();
    let offsets: BTreeMap<_, _> = offsets.into_iter().map(|(at, it)| (at, it.offset)).collect();
    assert_eq!(offsets, BTreeMap::from([(at("orders", 1), 12)]));
}

pub(crate) fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

#[tokio::test]
async fn what_the_first_version_wrote_is_read() {
    for name in ["v1", "v1-killed"] {
        let dir = TempDir::new().unwrap();
        copy_dir(&golden(name), dir.path());
        for round in 0..3 {
            // By the system's clock all of this will be too old one day.
            let builder = Broker::builder().clock(Clock::manual());
            let broker = builder.open(dir.path()).await.unwrap();
            let report = broker.recovery_report().unwrap();
            assert_eq!(report.clean_shutdown, round > 0 || name == "v1", "{name}: {report:?}");
            assert!(report.partitions.values().all(|it| it.cut.is_empty() && it.lost.is_empty()));
            assert!(report.foreign.is_empty() && report.topics_without_catalog.is_empty());
            check(&broker).await;
            broker.shutdown().await.unwrap();
        }
    }
}

#[tokio::test]
#[ignore = "writes the directories that the other test reads"]
async fn make() {
    let to = PathBuf::from(std::env::var_os("OTTLA_GOLDEN").expect("where to write"));
    let dir = TempDir::new().unwrap();
    let broker = Broker::open(dir.path()).await.unwrap();
    fill(&broker).await;
    check(&broker).await;
    let killed = to.with_file_name(format!("{}-killed", to.file_name().unwrap().display()));
    copy_dir(dir.path(), &killed);
    broker.shutdown().await.unwrap();
    copy_dir(dir.path(), &to);
    for dir in [to, killed] {
        fs::remove_file(dir.join(".lock")).unwrap();
    }
}
