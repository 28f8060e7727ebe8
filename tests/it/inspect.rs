//! Verifying and dumping data directories: what is sound is found to be so, whatever is damaged is
//! told of, and nothing is changed.

use std::fs;
use std::path::{Path, PathBuf};

use ottla::inspect::{Dumped, DumpedRecord, Severity, Verification, dump, verify, verify_with};
use ottla::{Broker, Clock, Error, Record};
use tempfile::TempDir;

use crate::golden;
use crate::support::{at, copy_dir, flip_bit, read_topic, says, truncate_file};

/// A copy of a golden directory.
fn copy_of(name: &str) -> TempDir {
    let dir = TempDir::new().unwrap();
    copy_dir(&golden::golden(name), dir.path());
    dir
}

fn texts(found: &Verification) -> Vec<String> {
    found.findings().map(ToString::to_string).collect()
}

/// The files of a folder with this extension, in order.
fn files(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let all = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<_> =
        all.filter(|it| it.extension().is_some_and(|e| e == extension)).collect();
    found.sort();
    found
}

#[track_caller]
fn finds(found: &Verification, worst: Severity, parts: &[&str]) {
    let texts = texts(found);
    let said = texts.iter().any(|text| parts.iter().all(|part| text.contains(part)));
    assert!(said && found.worst() == Some(worst), "{parts:?} in {texts:#?}");
    assert_eq!(found.is_sound(), worst <= Severity::Unfinished);
}

#[tokio::test]
async fn what_is_sound_is_found_so() {
    for name in ["v1", "v1-killed"] {
        let found = verify(golden::golden(name)).unwrap();
        assert!(found.is_sound() && !found.is_kafkas, "{:#?}", texts(&found));
        assert_eq!(found.clean_shutdown, name == "v1");
        if name == "v1" {
            assert_eq!(texts(&found), [""; 0]);
        }
        let view = Broker::open_read_only(golden::golden(name)).await.unwrap();
        for topic in ["orders", "table"] {
            let described = view.describe_topic(topic).unwrap();
            let described = described.partitions.iter().filter(|it| it.log_end_offset > 0);
            for partition in described {
                let log = &found.partitions[&at(topic, partition.partition)];
                assert_eq!(log.log_start_offset, partition.log_start_offset);
                assert_eq!(log.log_end_offset, partition.log_end_offset);
                assert_eq!(log.segments, partition.segments);
            }
        }
        let orders = found.partitions.iter().filter(|(at, _)| at.topic == "orders");
        assert_eq!(orders.map(|(_, log)| log.records).sum::<u64>(), 200);
    }
}

#[test]
fn verifying_tells_how_far_it_is() {
    for name in ["v1", "kafka-4.3"] {
        let dir = golden::golden(name);
        let mut told = Vec::new();
        verify_with(&dir, |progress| told.push(progress)).unwrap();
        let folders = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path());
        let folders = folders.filter(|it| it.is_dir() && !it.ends_with("__cluster_metadata-0"));
        let logs = folders.flat_map(|folder| files(&folder, "log"));
        let total: u64 = logs.map(|log| fs::metadata(log).unwrap().len()).sum();
        assert!(told.is_sorted_by_key(|progress| progress.bytes), "{told:?}");
        assert!(told.iter().all(|progress| progress.total == total), "{total}: {told:?}");
        assert_eq!(told.last().map(|progress| progress.bytes), Some(total));
    }
}

/// Every byte of these counts.
const VITAL: &[&str] = &["log", "index", "timeindex", "snapshot", "metadata"];

#[test]
fn a_flipped_bit_is_found_wherever_it_is() {
    let dir = copy_of("v1");
    let (mut flips, mut missed) = (0, Vec::new());
    for folder in ["orders-1", "table-0", "__consumer_offsets-0", "__ottla_catalog-0"] {
        let vital = VITAL.iter().flat_map(|extension| files(&dir.path().join(folder), extension));
        for file in vital.collect::<Vec<_>>() {
            let bytes = fs::read(&file).unwrap();
            // Each file from another byte on.
            for position in (flips % 5..bytes.len()).step_by(23) {
                flip_bit(&file, position);
                let found = verify(dir.path()).unwrap();
                // Of the snapshots only the latest counts.
                let is_snapshot = file.extension().is_some_and(|it| it == "snapshot");
                let least = if is_snapshot { Severity::Note } else { Severity::Unfinished };
                if found.worst() < Some(least) {
                    missed.push((file.clone(), position));
                }
                fs::write(&file, &bytes).unwrap();
                flips += 1;
            }
        }
    }
    assert!(flips > 200 && missed.is_empty(), "{missed:#?} of {flips}");
}

#[tokio::test]
async fn a_bit_costs_a_batch_and_the_rest_is_there() {
    let dir = copy_of("v1");
    let log = files(&dir.path().join("orders-1"), "log").remove(1);
    flip_bit(&log, 100);
    let found = verify(dir.path()).unwrap();
    let name = log.file_name().unwrap().to_str().unwrap();
    finds(&found, Severity::Lost, &["lost: orders-1/", name, "at byte 0: offsets ", "crc"]);
    let sound = verify(golden::golden("v1")).unwrap().partitions[&at("orders", 1)].batches;
    assert_eq!(found.partitions[&at("orders", 1)].batches, sound - 1);
}

#[test]
fn what_is_missing_is_told_of() {
    let dir = copy_of("v1");
    let logs = files(&dir.path().join("orders-1"), "log");
    fs::remove_file(&logs[1]).unwrap();
    finds(&verify(dir.path()).unwrap(), Severity::Lost, &["are missing before it"]);

    let dir = copy_of("v1");
    let last = files(&dir.path().join("orders-1"), "log").pop().unwrap();
    truncate_file(&last, 3);
    finds(&verify(dir.path()).unwrap(), Severity::Lost, &["can't be read: only ", "of a batch"]);

    let dir = copy_of("v1-killed");
    let last = files(&dir.path().join("orders-1"), "log").pop().unwrap();
    truncate_file(&last, 3);
    let found = verify(dir.path()).unwrap();
    finds(&found, Severity::Unfinished, &["only ", "the next open cuts the log here"]);
}

/// A crash tears the end; this nobody can have promised, but something was there.
#[test]
fn sound_batches_behind_the_cut_are_told_of() {
    let dir = copy_of("v1-killed");
    let last = files(&dir.path().join("orders-1"), "log").pop().unwrap();
    assert!(batches(&last).len() > 1);
    flip_bit(&last, 70);
    let found = verify(dir.path()).unwrap();
    finds(&found, Severity::Lost, &["crc", "sound ones follow from offset", "cuts the log here"]);
}

#[test]
fn indexes_are_held_against_the_batches() {
    let dir = copy_of("v1");
    let index = files(&dir.path().join("orders-1"), "index").remove(0);
    let mut bytes = fs::read(&index).unwrap();
    // As if Kafka had it open: zeros up to the length it is to have.
    bytes.extend([0; 80]);
    fs::write(&index, &bytes).unwrap();
    assert_eq!(verify(dir.path()).unwrap().worst(), None);
    bytes.truncate(bytes.len() - 80);
    bytes.extend(99u32.to_be_bytes().into_iter().chain(12345u32.to_be_bytes()));
    fs::write(&index, &bytes).unwrap();
    let found = verify(dir.path()).unwrap();
    finds(&found, Severity::Derived, &["no batch is there", "without the file, the next open"]);
    fs::remove_file(&index).unwrap();
    assert!(verify(dir.path()).unwrap().is_sound());
}

#[test]
fn what_does_not_belong_there_is_named() {
    let dir = copy_of("v1");
    fs::write(dir.path().join("notes.txt"), "hello").unwrap();
    fs::create_dir(dir.path().join("orders-7")).unwrap();
    fs::write(dir.path().join("orders-1/notes.txt"), "hello").unwrap();
    fs::write(dir.path().join("orders-1/leader-epoch-checkpoint.tmp"), "").unwrap();
    copy_dir(&dir.path().join("orders-0"), &dir.path().join("strange-0"));
    let found = verify(dir.path()).unwrap();
    finds(&found, Severity::Lost, &["lost: strange-0: the catalog has no such topic"]);
    finds(&found, Severity::Lost, &["note: notes.txt: nobody's here"]);
    finds(&found, Severity::Lost, &["note: orders-7: the topic has only 3 partitions"]);
    finds(&found, Severity::Lost, &["note: orders-1/notes.txt: not the log's"]);
    finds(&found, Severity::Lost, &["unfinished: orders-1/leader-epoch-checkpoint.tmp"]);
}

#[tokio::test]
async fn a_directory_at_work_is_verified_too() {
    let dir = TempDir::new().unwrap();
    let broker = Broker::builder().clock(Clock::manual()).open(dir.path()).await.unwrap();
    let producer = broker.producer().build();
    for n in 0..100 {
        let record = Record::to("t").value(n.to_string());
        producer.send(record).await.unwrap();
        if n % 20 == 0 {
            let found = verify(dir.path()).unwrap();
            assert!(found.is_sound(), "{:#?}", texts(&found));
            assert_eq!(found.partitions[&at("t", 0)].records, n + 1);
        }
    }
    broker.shutdown().await.unwrap();
    assert_eq!(verify(dir.path()).unwrap().worst(), None);
}

#[test]
fn there_must_be_a_directory() {
    let dir = TempDir::new().unwrap();
    for result in
        [verify(dir.path().join("absent")).map(drop), dump(dir.path().join("absent")).map(drop)]
    {
        let error = result.unwrap_err();
        assert!(matches!(error, Error::Io { .. }), "{error:?}");
        says(&error, &["reading", "absent"]);
    }
    assert!(verify(dir.path()).unwrap().partitions.is_empty());
    fs::write(dir.path().join("meta.properties"), "ottla.format.version=99\n").unwrap();
    let error = verify(dir.path()).unwrap_err();
    says(&error, &["format version 99", "up to 1"]);
}

fn batches(path: &Path) -> Vec<ottla::inspect::DumpedBatch> {
    let batch = |item: ottla::Result<Dumped>| match item.unwrap() {
        Dumped::Batch(batch) => Some(batch),
        _ => None,
    };
    dump(path).unwrap().filter_map(batch).collect()
}

fn records(path: &Path) -> Vec<DumpedRecord> {
    batches(path).iter().flat_map(|batch| batch.records().map(Result::unwrap)).collect()
}

#[tokio::test]
async fn a_dump_shows_what_a_consumer_gets() {
    let dir = golden::golden("v1");
    let view = Broker::builder().clock(Clock::manual()).open_read_only(&dir).await.unwrap();
    for (topic, partition) in [("orders", 1), ("table", 0)] {
        let folder = dir.join(format!("{topic}-{partition}"));
        let consumed = read_topic(&view.client(), topic).await;
        let consumed: Vec<_> = consumed.iter().filter(|it| it.partition == partition).collect();
        let dumped = records(&folder);
        assert_eq!(dumped.len(), consumed.len());
        for (dumped, consumed) in dumped.iter().zip(consumed) {
            assert_eq!((dumped.offset, &dumped.key), (consumed.offset, &consumed.key));
            assert_eq!((dumped.timestamp, &dumped.value), (consumed.timestamp, &consumed.value));
            let headers = consumed.headers.iter();
            let headers = headers.map(|it| (it.key.into_owned(), it.value.map(<[u8]>::to_vec)));
            let of_dump = dumped.headers.iter();
            let of_dump =
                of_dump.map(|(key, value)| (key.clone(), value.as_ref().map(|v| v.to_vec())));
            assert!(headers.eq(of_dump));
            assert_eq!(dumped.meaning, None);
        }
        let mut next = 0;
        for batch in batches(&folder) {
            assert!(batch.is_sound() && !batch.is_control() && !batch.is_transactional());
            assert_eq!((batch.base_offset(), batch.compression()), (next, "none".to_owned()));
            assert_eq!(batch.records().count(), batch.record_count() as usize);
            next = batch.last_offset() + 1;
        }
    }
}

#[test]
fn the_brokers_own_records_are_put_into_words() {
    let dir = golden::golden("v1");
    let meanings = |folder: &str| -> Vec<String> {
        records(&dir.join(folder)).into_iter().filter_map(|record| record.meaning).collect()
    };
    let offsets = meanings("__consumer_offsets-0");
    assert!(offsets.iter().any(|it| it.starts_with("group \"billing\", orders-1: offset 12, ")));
    let catalog = meanings("__ottla_catalog-0");
    let has = |part: &str| assert!(catalog.iter().any(|it| it.contains(part)), "{catalog:#?}");
    has("topic orders: id ");
    has("3 partitions, durability Power, settings {");
    has("topic gone: gone");
    has("orders-0: log start offset 3");
}

#[test]
fn the_other_files_can_be_dumped() {
    let folder = golden::golden("v1").join("orders-1");
    let (mut offsets, mut times, mut snapshots) = (0, 0, 0);
    for file in files(&folder, "index") {
        for item in dump(&file).unwrap().skip(1) {
            assert!(matches!(item.unwrap(), Dumped::Offset { .. }));
            offsets += 1;
        }
    }
    for file in files(&folder, "timeindex") {
        for item in dump(&file).unwrap().skip(1) {
            assert!(matches!(item.unwrap(), Dumped::Time { .. }));
            times += 1;
        }
    }
    for file in files(&folder, "snapshot") {
        let name = dump(&file).unwrap().map(Result::unwrap).next();
        assert!(
            matches!(name, Some(Dumped::File(path)) if path.ends_with(file.file_name().unwrap()))
        );
        snapshots += 1;
    }
    assert!(times > 0 && snapshots > 0, "{offsets} {times} {snapshots}");
    let error = dump(folder.join("partition.metadata")).unwrap_err();
    says(&error, &["partition.metadata", "no .log, .index, .timeindex or .snapshot"]);
}

#[test]
fn a_dump_passes_what_is_damaged() {
    let dir = copy_of("v1");
    let log = files(&dir.path().join("__ottla_catalog-0"), "log").remove(0);
    let before = batches(&log);
    assert!(before.len() > 3);
    let second = before[1].position() as usize;
    // A header that makes no sense, and records that do not have their CRC.
    flip_bit(&log, second + 16);
    flip_bit(&log, before[2].position() as usize + 70);
    truncate_file(&log, 7);
    let items: Vec<Dumped> = dump(&log).unwrap().map(Result::unwrap).collect();
    let bad: Vec<_> = items
        .iter()
        .filter_map(|item| match item {
            Dumped::Bad { position, why, .. } => Some((*position, why.as_str())),
            _ => None,
        })
        .collect();
    let last = before.last().unwrap().position();
    assert_eq!(bad[0].0, second as u64);
    assert_eq!(bad.last().unwrap().0, last, "{bad:?}");
    assert!(bad.last().unwrap().1.contains("of a batch of"), "{bad:?}");
    let unsound = items.iter().filter(|it| matches!(it, Dumped::Batch(it) if !it.is_sound()));
    assert!(unsound.count() <= 1);
}
