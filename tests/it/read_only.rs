//! Opening a data directory for reading only: a live one, one that a crash left, one that was shut
//! down. What is seen is what an open would serve; not a byte of the directory changes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ottla::{Broker, Clock, Error, OutOfRange, Record, TopicConfig};
use tempfile::TempDir;

use crate::golden;
use crate::support::{at, copy_dir, read_values, says, send_all, texts, truncate_file, value};

/// Every file and folder, with the content of the files.
fn contents(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap().map(|entry| entry.unwrap()) {
        match entry.file_type().unwrap().is_dir() {
            true => found.extend(contents(&entry.path())),
            false => drop(found.insert(entry.path(), fs::read(entry.path()).unwrap())),
        }
        found.insert(entry.path().join("."), Vec::new());
    }
    found
}

fn last_log(dir: &Path) -> PathBuf {
    let files = fs::read_dir(dir).unwrap().map(|it| it.unwrap().path());
    files.filter(|it| it.extension().is_some_and(|e| e == "log")).max().unwrap()
}

#[tokio::test]
async fn golden_directories_are_read_where_they_are() {
    for name in ["v1", "v1-killed"] {
        let dir = golden::golden(name);
        let before = contents(&dir);
        let view = Broker::open_read_only(&dir).await.unwrap();
        let report = view.recovery_report().unwrap();
        assert_eq!(report.clean_shutdown, name == "v1", "{report:?}");
        golden::check(&view).await;
        assert_eq!(view.admin().groups().await.unwrap(), ["billing"]);
        view.shutdown().await.unwrap();
        assert_eq!(contents(&dir), before, "{name}");
    }
}

#[tokio::test]
async fn a_live_directory_is_read_beside_its_broker() {
    let dir = TempDir::new().unwrap();
    let broker = Broker::open(dir.path()).await.unwrap();
    broker.create_topic("t", TopicConfig::new().segment_bytes(1024)).await.unwrap();
    send_all(&broker.client(), "t", 0..50).await;
    broker.admin().alter_group_offsets("g", [(at("t", 0), 7)]).await.unwrap();
    let before = contents(dir.path());
    let view = Broker::open_read_only(dir.path()).await.unwrap();
    assert_eq!(contents(dir.path()), before);
    // What comes later is not seen, and the broker is not disturbed.
    send_all(&broker.client(), "t", 50..60).await;
    assert_eq!(read_values(&view.client(), "t").await, texts(0..50));
    assert_eq!(read_values(&broker.client(), "t").await, texts(0..60));
    let mut consumer = view.consumer().group("g").assign([at("t", 0)]).await.unwrap();
    assert_eq!(value(&consumer.recv().await.unwrap()), "7");
    let later = Broker::open_read_only(dir.path()).await.unwrap();
    assert_eq!(read_values(&later.client(), "t").await, texts(0..60));
    broker.shutdown().await.unwrap();
    assert_eq!(read_values(&view.client(), "t").await, texts(0..50));
}

#[tokio::test]
async fn nothing_can_be_changed() {
    let dir = golden::golden("v1");
    let clock = Clock::manual();
    let view = Broker::builder().clock(clock.clone()).open_read_only(&dir).await.unwrap();
    let refused = |result: Result<(), Error>| {
        let Err(error @ Error::OpenForReading) = result else { panic!("{result:?}") };
        says(&error, &["open for reading only", "Broker::open"]);
        assert!(!error.is_retriable());
    };
    let producer = view.producer().build();
    let sent = producer.send(Record::to("orders").value("x")).await;
    refused(sent.map(drop).map_err(|error| error.error().clone()));
    refused(view.create_topic("new", TopicConfig::new()).await.map(drop));
    refused(view.delete_topic("orders").await);
    refused(view.compact("table").await.map(drop));
    let admin = view.admin();
    refused(admin.create_partitions("orders", 9).await);
    refused(admin.alter_configs("orders", [("retention.ms", Some("1"))]).await);
    refused(admin.delete_records(&at("orders", 0), 50).await.map(drop));
    refused(admin.alter_group_offsets("billing", [(at("orders", 1), 1)]).await);
    refused(admin.delete_group("billing").await);
    let subscribed = view.consumer().group("billing").subscribe(["orders"]).await;
    let joined = async { subscribed?.recv().await.map(drop) }.await;
    refused(joined);
    let mut consumer = view.consumer().group("billing").assign([at("orders", 1)]).await.unwrap();
    consumer.recv().await.unwrap();
    refused(consumer.commit().await);
    let unknown = view.consumer().subscribe(["unknown"]).await.map(drop);
    assert!(matches!(unknown, Err(Error::UnknownTopic { .. })), "{unknown:?}");
    // Nor does anything expire.
    clock.advance(Duration::from_secs(400 * 24 * 3600));
    golden::check(&view).await;
}

#[tokio::test]
async fn a_repair_can_be_tried_without_doing_it() {
    let dir = TempDir::new().unwrap();
    copy_dir(&golden::golden("v1-killed"), dir.path());
    truncate_file(&last_log(&dir.path().join("orders-1")), 5);
    fs::create_dir(dir.path().join("stranger")).unwrap();
    let before = contents(dir.path());
    let view = Broker::builder().clock(Clock::manual()).open_read_only(dir.path()).await.unwrap();
    let tried = view.recovery_report().unwrap();
    assert_eq!(contents(dir.path()), before);
    let broker = Broker::builder().clock(Clock::manual()).open(dir.path()).await.unwrap();
    let done = broker.recovery_report().unwrap();
    assert_eq!(tried.partitions, done.partitions);
    assert_eq!(tried.foreign, ["stranger"]);
    assert_eq!(tried.foreign, done.foreign);
    let cut = &done.partitions[&at("orders", 1)].cut;
    assert!(!cut.is_empty() && dir.path().join("orders-1").join(&cut[0].file).exists());
    assert_eq!(
        read_values(&view.client(), "table").await,
        read_values(&broker.client(), "table").await
    );
    assert_ne!(contents(dir.path()), before);
}

#[tokio::test]
async fn what_is_repaired_in_memory_is_limited() {
    let dir = TempDir::new().unwrap();
    copy_dir(&golden::golden("v1-killed"), dir.path());
    truncate_file(&last_log(&dir.path().join("orders-1")), 5);
    let builder = Broker::builder().memory_limit(10);
    let error = builder.open_read_only(dir.path()).await.unwrap_err();
    says(&error, &["over its limit of 10 (memory_limit)"]);
}

#[tokio::test]
async fn there_must_be_a_directory() {
    let dir = TempDir::new().unwrap();
    let absent = dir.path().join("absent");
    let error = Broker::open_read_only(&absent).await.unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error:?}");
    says(&error, &["reading", "absent", "No such file"]);
    assert!(!absent.exists());
    let empty = Broker::open_read_only(dir.path()).await.unwrap();
    assert!(empty.topics().unwrap().is_empty() && empty.recovery_report().unwrap().clean_shutdown);
    assert!(contents(dir.path()).is_empty());
    assert!(empty.admin().groups().await.unwrap().is_empty());
    let consumer = empty.consumer().out_of_range(OutOfRange::Latest).subscribe(["t"]).await;
    assert!(matches!(consumer.map(drop), Err(Error::UnknownTopic { .. })));
}
