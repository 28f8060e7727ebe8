//! Files that Apache Kafka has written: `tests/golden/kafka-4.3`, which was shut down, and
//! `kafka-4.3-killed`, from the same broker killed before. Made by `tests/kafka/files` (there,
//! `java/Write.java` says what is in them).

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use bytes::Bytes;
use ottla::batch::{Batch, RecordView};
use ottla::inspect::{Dumped, Severity, dump, verify};
use ottla::{BatchError, Broker, Clock, Compression, ConsumerRecord, Timestamp};
use tempfile::TempDir;

use crate::golden::golden;
use crate::support::{at, copy_dir, flip_bit, read_topic, says};

/// A directory, and how many records each of its topics was given.
const DIRS: [(&str, i64); 2] = [("kafka-4.3", 300), ("kafka-4.3-killed", 200)];

/// A partition's batches, each with a sound CRC, and nothing else in its segments.
fn batches(dir: &str, partition: &str) -> Vec<Batch> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(dir);
    let files = fs::read_dir(dir.join(partition)).unwrap().map(|entry| entry.unwrap().path());
    let mut logs: Vec<_> = files.filter(|it| it.extension().is_some_and(|e| e == "log")).collect();
    logs.sort();
    let mut batches: Vec<Batch> = Vec::new();
    for log in logs {
        let mut bytes = Bytes::from(fs::read(log).unwrap());
        while !bytes.is_empty() {
            let batch = Batch::parse_checked(bytes.clone()).unwrap();
            bytes = bytes.slice(batch.header().size()..);
            batches.push(batch);
        }
    }
    batches
}

/// As `Write.java` makes the `n`-th record of a topic, but for its key.
fn check_record(topic: &str, n: i64, view: &RecordView<'_>) {
    let value = format!("value {n} of {topic}");
    assert_eq!(view.value, (n % 5 != 0).then_some(value.as_bytes()), "{topic}, {n}");
    assert_eq!(view.timestamp, Timestamp::from_millis(1_600_000_000_000 + n / 2 * 10));
    let headers: Vec<_> = view.headers().map(|it| (it.key.into_owned(), it.value)).collect();
    let text = n.to_string();
    assert_eq!(headers, [("n".to_owned(), Some(text.as_bytes())), ("null".to_owned(), None)]);
}

fn is_built_in(codec: &str) -> bool {
    codec.parse::<Compression>().unwrap().is_built_in()
}

/// The same records, but that they say of which topic they are.
fn check_codec(topic: &str, read: &[ConsumerRecord], plain: &[ConsumerRecord]) {
    assert_eq!(read.len(), plain.len());
    for (read, plain) in read.iter().zip(plain) {
        assert_eq!((read.offset, &read.key), (plain.offset, &plain.key));
        assert_eq!((read.timestamp, &read.headers), (plain.timestamp, &plain.headers));
        let value = plain.value.as_ref().map(|_| format!("value {} of {topic}", plain.offset));
        assert_eq!(read.value.as_deref(), value.as_deref().map(str::as_bytes));
    }
}

#[test]
fn compressed_records_are_dumped() {
    for codec in ["gzip", "snappy", "lz4", "zstd"] {
        let (topic, mut offsets) = (format!("codec-{codec}"), 0..);
        for item in dump(golden("kafka-4.3").join(format!("{topic}-0"))).unwrap() {
            let Dumped::Batch(batch) = item.unwrap() else { continue };
            assert_eq!(batch.compression(), codec);
            if !is_built_in(codec) {
                let records: Vec<_> = batch.records().collect();
                assert!(matches!(records[..], [Err(BatchError::UnsupportedCompression(_))]));
                continue;
            }
            for record in batch.records().map(Result::unwrap) {
                assert_eq!(Some(record.offset), offsets.next());
                let value = format!("value {} of {topic}", record.offset);
                assert!(record.value.is_none_or(|it| it == value.as_bytes()));
            }
        }
        assert!(!is_built_in(codec) || offsets.next() == Some(300));
    }
}

#[test]
fn batches_of_all_codecs_are_walked() {
    for (dir, records) in DIRS {
        for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
            let mut next = 0;
            for batch in batches(dir, &format!("codec-{codec}-0")) {
                let header = batch.header();
                assert_eq!(header.compression().to_string(), codec);
                assert_eq!(header.base_offset, next);
                assert_eq!(i64::from(header.record_count), header.next_offset() - next);
                assert!(header.has_producer_id() && !header.is_transactional());
                next = header.next_offset();
            }
            assert_eq!(next, records, "{dir}, {codec}");
        }
    }
}

#[test]
fn records_are_as_they_were_sent() {
    for (dir, records) in DIRS {
        let mut n = 0;
        for batch in batches(dir, "codec-none-0") {
            for view in batch.records() {
                let view = view.unwrap();
                let key = format!("key {n}");
                assert_eq!((view.offset, view.key), (n, (n % 3 != 0).then_some(key.as_bytes())));
                check_record("codec-none", n, &view);
                n += 1;
            }
        }
        assert_eq!(n, records);
    }
}

#[test]
fn a_compacted_topic_has_gaps_and_the_last_record_of_each_key() {
    for (dir, records) in DIRS {
        let mut last = BTreeMap::new();
        let mut count = 0;
        for batch in batches(dir, "table-0") {
            for view in batch.records() {
                let view = view.unwrap();
                check_record("table", view.offset, &view);
                let key = view.key.unwrap().to_vec();
                assert!(last.insert(key, view.offset) < Some(view.offset));
                count += 1;
            }
        }
        assert!(count < records / 2, "it was compacted");
        let expected = (records - 13..records).map(|n| (format!("key {}", n % 13).into_bytes(), n));
        assert_eq!(last, expected.collect());
    }
}

#[test]
fn transactions_end_with_a_control_batch() {
    for (dir, records) in DIRS {
        let all = batches(dir, "transactions-0");
        assert!(all.iter().all(|batch| batch.header().is_transactional()));
        let (ends, data): (Vec<_>, Vec<_>) = all.iter().partition(|it| it.header().is_control());
        assert_eq!(ends.len() as i64, records / 10);
        assert_eq!(data.iter().map(|it| i64::from(it.header().record_count)).sum::<i64>(), records);
        for (n, end) in ends.iter().enumerate() {
            // The key is a version and a type: 0 for an abort, 1 for a commit.
            let marker = end.records().next().unwrap().unwrap();
            assert_eq!(marker.key, Some(&[0, 0, 0, u8::from(n % 2 == 0)][..]));
        }
    }
}

#[test]
fn they_are_verified() {
    for (dir, records) in DIRS {
        let found = verify(golden(dir)).unwrap();
        let texts: Vec<_> = found.findings().map(ToString::to_string).collect();
        assert!(found.is_kafkas && found.worst() <= Some(Severity::Note), "{texts:#?}");
        assert_eq!(found.clean_shutdown, dir == "kafka-4.3");
        for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
            let log = &found.partitions[&at(&format!("codec-{codec}"), 0)];
            assert_eq!((log.log_start_offset, log.log_end_offset), (0, records));
            assert_eq!(log.records as i64, records);
            let note = format!("note: codec-{codec}-0: {} batches are compressed", log.batches);
            let is_hidden = !is_built_in(codec);
            assert_eq!(texts.iter().any(|text| text.starts_with(&note)), is_hidden, "{texts:#?}");
        }
        // Compacted: some offsets are gone with their records.
        let table = &found.partitions[&at("table", 0)];
        assert!((1..records).contains(&(table.records as i64)) && table.log_end_offset == records);
    }
}

#[test]
fn damage_in_them_is_found() {
    let dir = TempDir::new().unwrap();
    copy_dir(&golden("kafka-4.3"), dir.path());
    for folder in ["table-0", "codec-zstd-0", "__consumer_offsets-0"] {
        for file in fs::read_dir(dir.path().join(folder)).unwrap() {
            let file = file.unwrap().path();
            let vital = ["log", "index", "timeindex"].map(std::ffi::OsStr::new);
            if !vital.iter().any(|it| file.extension() == Some(it)) {
                continue;
            }
            let bytes = fs::read(&file).unwrap();
            for position in (3..bytes.len()).step_by(211) {
                flip_bit(&file, position);
                let found = verify(dir.path()).unwrap();
                assert!(found.worst() >= Some(Severity::Unfinished), "{file:?} at {position}");
                fs::write(&file, &bytes).unwrap();
            }
        }
    }
}

#[tokio::test]
async fn they_are_read_and_not_written() {
    for (dir, records) in DIRS {
        let view = Broker::builder().clock(Clock::manual());
        let view = view.open_read_only(golden(dir)).await.unwrap();
        let client = view.client();
        let plain = read_topic(&client, "codec-none").await;
        assert_eq!(plain.len() as i64, records);
        for (n, record) in plain.iter().enumerate() {
            assert_eq!((record.offset, record.value.is_some()), (n as i64, n % 5 != 0));
        }
        // Read to the end, over the holes, each record at its offset.
        let table = read_topic(&client, "table").await;
        let dumped = dump(golden(dir).join("table-0")).unwrap().map(Result::unwrap);
        let dumped = dumped.filter_map(|item| match item {
            Dumped::Batch(batch) => Some(batch),
            _ => None,
        });
        let dumped: Vec<_> =
            dumped.flat_map(|it| it.records().map(Result::unwrap).collect::<Vec<_>>()).collect();
        assert!(!table.is_empty() && (table.len() as i64) < records);
        assert_eq!(table.len(), dumped.len());
        for (read, dumped) in table.iter().zip(&dumped) {
            assert_eq!((read.offset, &read.key), (dumped.offset, &dumped.key));
            assert_eq!(read.value, dumped.value);
        }
        let group = view.admin().group_offsets("readers").await.unwrap();
        assert!(group.values().all(|committed| committed.offset == records) && !group.is_empty());
        for codec in ["gzip", "snappy", "lz4", "zstd"] {
            let topic = format!("codec-{codec}");
            if is_built_in(codec) {
                check_codec(&topic, &read_topic(&client, &topic).await, &plain);
                continue;
            }
            let mut consumer = view.consumer().subscribe([&topic]).await.unwrap();
            let error = consumer.recv().await.unwrap_err();
            says(&error, &[&format!("{topic}-0"), &format!("cargo feature `{codec}`")]);
        }
        let copy = TempDir::new().unwrap();
        copy_dir(&golden(dir), copy.path());
        let error = Broker::open(copy.path()).await.unwrap_err();
        says(&error, &["is Apache Kafka's", "open_read_only"]);
    }
}
