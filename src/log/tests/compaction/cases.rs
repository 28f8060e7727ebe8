//! What exactly becomes of small logs.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;

use super::parts::{Case, compacting, keyed_of, open, text};
use crate::batch::{BatchBuilder, BatchHeader, Compression};
use crate::log::{AppendError, CleanupPolicy, CompactionOptions, LogConfig, ReadCursor};
use crate::record::Timestamp;
use crate::storage::{FileStorage, MemoryStorage, SimDisk, Storage, StorageFile};

fn on_disk() -> Case {
    Case::new(SimDisk::new(1), compacting())
}

/// The same case on a disk and in memory.
fn both(test: impl Fn(Case)) {
    test(on_disk());
    test(Case::new(MemoryStorage::new(1 << 24), compacting()));
}

/// First and last offset, and how many records.
fn spans(case: &Case) -> Vec<(i64, i64, i32)> {
    let span =
        |header: BatchHeader| (header.base_offset, header.last_offset(), header.record_count);
    case.headers().into_iter().map(span).collect()
}

#[test]
fn the_last_record_of_a_key_stays_where_it_was() {
    both(|mut case| {
        case.append(10, &["a=1", "b=1", "c=1"]);
        case.append(20, &["a=2", "b=2"]);
        case.append(30, &["a=3"]);
        case.roll();
        case.append(40, &["b=9"]);
        let stats = case.compact(100);
        assert_eq!(case.records(), ["2:c=1", "4:b=2", "5:a=3", "6:b=9"], "the active one is not");
        assert_eq!(spans(&case), [(0, 2, 1), (3, 4, 1), (5, 5, 1), (6, 6, 1)]);
        assert_eq!((stats.records_removed, stats.first_dirty_offset), (3, 6));
        assert!(stats.complete && stats.bytes_after < stats.bytes_before);
        assert_eq!((stats.segments_before, stats.segments_after), (1, 1));
        case.roll();
        case.compact(100);
        assert_eq!(case.records(), ["2:c=1", "5:a=3", "6:b=9"]);
        assert_eq!(spans(&case), [(0, 2, 1), (3, 4, 0), (5, 5, 1), (6, 6, 1)]);
    });
}

#[test]
fn small_segments_become_one() {
    both(|mut case| {
        for i in 0..12 {
            case.append(i, &[&format!("{}={i}", i % 3), "x=0"]);
            case.roll();
        }
        assert_eq!(case.bases().len(), 13);
        case.compact(100);
        assert_eq!(case.bases(), [0, 24]);
        assert_eq!(case.records(), ["18:0=9", "20:1=10", "22:2=11", "23:x=0"]);
        assert_eq!(spans(&case)[0], (0, 17, 0), "one batch for all that were emptied");
        case.append(50, &["y=1"]);
        assert_eq!(case.records().len(), 5);
    });
}

#[test]
fn a_segment_is_not_made_larger_than_allowed() {
    let mut case = on_disk();
    for i in 0..40 {
        case.append(i, &[&format!("{i}={}", "v".repeat(200))]);
    }
    let before = case.bases();
    assert!(before.len() > 4);
    case.compact(100);
    assert_eq!(case.bases(), before, "nothing was dropped, and no two fit into one");
    assert_eq!(case.records().len(), 40);
}

#[test]
fn a_tombstone_stays_until_its_horizon() {
    both(|mut case| {
        case.append(10, &["a=1", "b=1"]);
        case.append(20, &["a", "c=1"]);
        case.roll();
        case.compact(1_000);
        assert_eq!(case.records(), ["1:b=1", "2:a", "3:c=1"]);
        let horizon =
            |case: &Case| case.headers().into_iter().map(|it| it.delete_horizon()).collect();
        let horizons: Vec<Option<i64>> = horizon(&case);
        assert_eq!(horizons, [None, Some(3_000)], "now, and delete.retention.ms");
        assert_eq!(case.headers()[1].base_timestamp, 3_000);
        let times = super::parts::content(&case.log.reader(), 700).unwrap();
        assert_eq!((times[&2].1.timestamp, times[&3].1.timestamp), (20, 21));
        case.compact(2_999);
        assert_eq!(case.records(), ["1:b=1", "2:a", "3:c=1"]);
        assert_eq!(horizon(&case), horizons, "it is not set twice");
        case.compact(3_000);
        assert_eq!(case.records(), ["1:b=1", "3:c=1"]);
        assert_eq!(spans(&case), [(0, 1, 1), (2, 3, 1)]);
    });
}

#[test]
fn a_producers_last_batch_stays_without_records() {
    let mut case = on_disk();
    case.produce(7, 0, &["a=1"]);
    case.produce(7, 1, &["a=2", "b=2"]);
    case.produce(8, 0, &["a=3", "b=3"]);
    case.roll();
    case.append(9, &["z=1"]);
    case.roll();
    case.compact(100);
    assert_eq!(case.records(), ["3:a=3", "4:b=3", "5:z=1"]);
    assert_eq!(spans(&case), [(0, 0, 0), (1, 2, 0), (3, 4, 2), (5, 5, 1)]);
    let emptied = case.headers()[1];
    assert_eq!((emptied.producer_id, emptied.base_sequence, emptied.last_sequence()), (7, 1, 2));
    assert_eq!((emptied.max_timestamp, emptied.base_timestamp), (5, -1));
    let producers = case.log.producers.last_offsets(0);
    // With no snapshot to start from, the log alone must tell.
    case.log.close().unwrap();
    for entry in case.storage.list(Path::new("t-0")).unwrap() {
        if entry.name.ends_with(".snapshot") {
            case.storage.remove_file(&Path::new("t-0").join(entry.name)).unwrap();
        }
    }
    case.log = super::parts::open(&case.storage, &case.config, true);
    assert_eq!(case.log.producers.last_offsets(0), producers);
    case.produce(7, 3, &["a=4"]);
    case.roll();
    case.compact(100);
    assert_eq!(spans(&case)[0], (0, 2, 0), "it is not the last any more");
    assert_eq!(case.headers()[0].producer_id, -1);
}

#[test]
fn epochs_are_kept_apart() {
    let mut case = on_disk();
    case.append(1, &["a=1"]);
    case.append(1, &["a=2"]);
    drop(std::mem::replace(&mut case.log, super::parts::open(&case.storage, &compacting(), false)));
    case.append(1, &["a=3"]);
    case.append(1, &["a=4"]);
    case.append(1, &["a=5"]);
    case.roll();
    case.compact(1);
    assert_eq!(spans(&case), [(0, 1, 0), (2, 3, 0), (4, 4, 1)]);
    let epochs: Vec<i32> = case.headers().iter().map(|it| it.partition_leader_epoch).collect();
    assert_eq!(epochs, [0, 1, 1]);
    case.reopen();
    assert_eq!(case.records(), ["4:a=5"]);
}

#[test]
fn lookups_find_what_is_left() {
    both(|mut case| {
        case.config.index_interval_bytes = 100;
        case.log.configure(case.config.clone());
        for i in 0..400 {
            case.append(1_000 + 10 * i, &[&format!("{}={i}", i % 150)]);
        }
        case.roll();
        case.compact(10_000);
        let check = |case: &Case| {
            let reader = case.log.reader();
            for offset in 0..400 {
                let mut cursor = crate::log::ReadCursor::new(offset, -1);
                let read = reader.read(&mut cursor, 1).unwrap();
                let header = read[0].header();
                assert!((header.base_offset..=header.last_offset()).contains(&offset));
                let found = reader.offset_for_timestamp(1_000 + 10 * offset - 5).unwrap();
                let wanted = offset.max(250);
                assert_eq!(found.unwrap().offset, wanted, "by the time of {offset}");
            }
            assert_eq!(reader.offset_for_timestamp(1_000 + 10 * 400).unwrap(), None);
            let indexed = |s: &std::sync::Arc<crate::log::segment::Segment>| {
                s.read_indexes().offsets.len() > 3
            };
            assert!(case.log.shared.segments().iter().any(indexed));
        };
        check(&case);
        if case.log.shared.verify {
            case.reopen();
            check(&case);
        }
    });
}

#[test]
fn with_too_many_keys_it_goes_on_next_time() {
    let mut case = on_disk();
    // Keys of 4 KiB: the least budget holds some 50.
    let key = |i: i64| format!("{i:04}{}", "k".repeat(4_000));
    case.config.segment_bytes = 100_000;
    case.log.configure(case.config.clone());
    for round in 0..2 {
        for i in 0..120 {
            case.append(1, &[&format!("{}={round}", key(i))]);
        }
    }
    case.roll();
    let mut ends = Vec::new();
    loop {
        let plan = case.log.plan_compaction(Timestamp::from_millis(1), false).unwrap();
        let Some(plan) = plan else { break };
        let done = plan.run(CompactionOptions { key_bytes: 0, seed: 5 });
        let stats = case.log.compacted(done).unwrap().unwrap();
        ends.push(stats.first_dirty_offset);
        assert_eq!(stats.complete, stats.first_dirty_offset == 240);
        if ends.len() == 2 {
            case.reopen();
        }
        case.config.min_cleanable_dirty_ratio = 0.0;
        case.log.configure(case.config.clone());
    }
    assert!(ends.len() > 3 && ends.is_sorted() && ends.last() == Some(&240), "{ends:?}");
    assert_eq!(case.records().len(), 120);
}

#[test]
fn a_log_that_is_clean_enough_is_left_alone() {
    let mut case = on_disk();
    let planned = |case: &mut Case, now: i64, force: bool| {
        case.log.plan_compaction(Timestamp::from_millis(now), force).unwrap().is_some()
    };
    assert!(!planned(&mut case, 0, true), "there is no closed segment");
    for i in 0..4 {
        case.append(100, &[&format!("{i}=v")]);
    }
    assert!(!planned(&mut case, 500, true), "the active one is not looked at");
    case.roll();
    assert!(planned(&mut case, 500, false));
    case.compact(500);
    assert!(!planned(&mut case, 500, false) && planned(&mut case, 500, true));
    case.append(100, &["9=v"]);
    case.roll();
    assert!(!planned(&mut case, 500, false), "one fifth is dirty");
    case.config.min_cleanable_dirty_ratio = 0.1;
    case.config.min_compaction_lag = Duration::from_millis(300);
    case.log.configure(case.config.clone());
    assert!(!planned(&mut case, 399, false), "too young");
    assert!(planned(&mut case, 400, false));
    let first = case.log.plan_compaction(Timestamp::from_millis(400), false).unwrap();
    assert!(!planned(&mut case, 400, true), "one is under way");
    drop(first);
    assert!(planned(&mut case, 400, false));
    case.config.cleanup_policy = CleanupPolicy::Delete;
    case.log.configure(case.config.clone());
    assert!(!planned(&mut case, 400, true));
}

#[test]
fn what_is_not_visible_is_not_compacted() {
    let mut case = on_disk();
    case.append(1, &["a=1"]);
    case.roll();
    let bytes = super::parts::builder(&[super::parts::keyed("a=2", 1)]).finish();
    let mut group = [crate::log::Append::new(bytes)];
    case.log.append(&mut group, Timestamp::NONE);
    case.roll();
    let stats = case.compact(1);
    assert_eq!((stats.first_dirty_offset, stats.records_removed), (1, 0));
    case.log.sync().unwrap();
    case.log.publish();
    assert_eq!(case.compact(1).records_removed, 1);
    assert_eq!(case.records(), ["1:a=2"]);
}

#[test]
fn retention_goes_by_the_policy() {
    for (policy, left) in
        [(CleanupPolicy::Delete, 1), (CleanupPolicy::CompactDelete, 1), (CleanupPolicy::Compact, 3)]
    {
        let mut case = on_disk();
        for key in ["a=1", "b=1", "c=1"] {
            case.append(10, &[key]);
            case.roll();
        }
        let retention = Some(Duration::from_millis(5));
        case.log.configure(LogConfig { cleanup_policy: policy, retention, ..compacting() });
        case.append(1_000, &["d=1"]);
        case.log.enforce_retention(Timestamp::from_millis(1_000)).unwrap();
        assert_eq!(case.bases().len(), left.max(1) + usize::from(left == 3), "{policy:?}");
    }
}

#[test]
fn a_record_without_a_key_is_refused_or_dropped() {
    let unkeyed = || {
        let mut builder = BatchBuilder::new(BytesMut::new());
        builder.push(1, Some(b"k"), Some(b"v"), &[]);
        builder.push(1, None, Some(b"v"), &[]);
        builder.finish()
    };
    let mut case = Case::new(
        SimDisk::new(1),
        LogConfig { cleanup_policy: CleanupPolicy::Delete, ..compacting() },
    );
    case.log.append_now(unkeyed()).unwrap();
    case.roll();
    case.log.configure(compacting());
    let refused = case.log.append_now(unkeyed());
    assert!(matches!(refused, Err(AppendError::MissingKey { index: 1 })), "{refused:?}");
    assert_eq!(case.compact(1).records_removed, 1);
    assert_eq!(case.records(), ["0:k=v"]);
}

/// Makes the batch at `position` of the first segment one that says it is compressed.
fn compress(case: &mut Case, position: u64) {
    let path = Path::new("t-0/00000000000000000000.log");
    let file = case.storage.open(path, false).unwrap();
    let len = file.len().unwrap();
    let mut bytes = file.read_at(0, len as usize).unwrap().to_vec();
    let batch = &mut bytes[position as usize..];
    let size = BatchHeader::parse(batch).unwrap().size();
    batch[22] |= 4;
    let crc = crc_fast::crc32_iscsi(&batch[21..size]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
    file.truncate(0).unwrap();
    file.append(0, &[&bytes]).unwrap();
}

#[test]
fn what_is_compressed_is_left_alone_and_hides_what_it_holds() {
    let mut case = on_disk();
    case.append(1, &["a=1", "d"]);
    let position = case.log.shared.segments()[0].size();
    case.append(1, &["a=2"]);
    case.append(1, &["a", "b", "c=1"]);
    case.append(1, &["c=2"]);
    case.roll();
    compress(&mut case, position);
    let stats = case.compact(100);
    assert_eq!(stats.records_removed, 2, "a=1 gives way to the tombstone, c=1 to c=2");
    let stats = case.compact(9_000);
    assert_eq!(stats.records_removed, 1, "d is before what is hidden");
    assert_eq!(spans(&case), [(0, 1, 0), (2, 2, 1), (3, 5, 2), (6, 6, 1)]);
    assert_eq!(case.log.cleaner.first_dirty, 7);
    case.reopen();
    assert_eq!(case.log.cleaner.first_dirty, 2, "another build may be able to look");
}

#[test]
fn what_is_left_of_a_compressed_batch_is_compressed_as_it_was() {
    for codec in Compression::ALL.into_iter().filter(|codec| codec.is_built_in()) {
        let mut case = on_disk();
        case.codec = codec;
        case.append(1, &["a=1", "b=1", "c"]);
        case.append(2, &["d=1", "e=1"]);
        case.append(3, &["a=2", "f=1"]);
        let before = case.headers();
        case.roll();
        assert_eq!(case.compact(100).records_removed, 1, "{codec}");
        assert_eq!(case.records(), ["1:b=1", "2:c", "3:d=1", "4:e=1", "5:a=2", "6:f=1"]);
        let after = case.headers();
        assert!(after.iter().all(|header| header.compression() == codec), "{codec}");
        assert_eq!((after[0].record_count, after[0].delete_horizon()), (2, Some(2_100)));
        assert_eq!(after[1..], before[1..], "they stay as they are");
        assert_eq!(case.compact(9_000).records_removed, 1, "{codec}: the tombstone");
        case.reopen();
        assert_eq!(case.records()[0], "1:b=1");
    }
}

#[test]
fn a_damaged_segment_stays_as_it_is() {
    let disk = SimDisk::new(3);
    let mut case = Case::new(disk.clone(), compacting());
    for i in 0..3 {
        case.append(1, &["a=1", "b"]);
        case.append(1, &[&format!("c={i}")]);
        case.append(1, &["d"]);
        case.roll();
    }
    case.reopen();
    let path = "t-0/00000000000000000004.log";
    let before = disk.read_file(path).unwrap();
    assert!(disk.flip_bit(path, 70 * 8));
    let stats = case.compact(100);
    assert_eq!(case.bases(), [0, 4, 8, 12]);
    assert_eq!(disk.read_file(path).unwrap().len(), before.len());
    assert_eq!(stats.records_removed, 4);
    case.compact(10_000);
    let content = crate::log::tests::compaction::parts::batches(&case.log.reader(), 1);
    assert!(content.is_err(), "the gap is told of");
    let tail = case.log.shared.segments()[2].size();
    assert!(tail > 61 * 3, "behind what can't be read no tombstone is dropped");
}

/// What was replaced is gone, and must not be taken back for the sake of a segment that stays.
#[test]
fn beside_a_damaged_segment_a_crash_loses_nothing() {
    let mut calls = 0;
    loop {
        let disk = SimDisk::new(3);
        let mut case = Case::new(disk.clone(), compacting());
        for i in 0..3 {
            case.append(1, &[&format!("a={i}"), &format!("b={i}")]);
            case.roll();
        }
        case.log.close().unwrap();
        assert!(disk.flip_bit("t-0/00000000000000000000.log", 70 * 8));
        let storage: Arc<dyn Storage> = Arc::new(disk.process());
        let mut log = open(&storage, &case.config, true);
        let plan = log.plan_compaction(Timestamp::from_millis(100), true).unwrap().unwrap();
        disk.crash_after(calls);
        let done = log.compacted(plan.run(CompactionOptions::default()));
        disk.crash_process();
        let storage: Arc<dyn Storage> = Arc::new(disk.process());
        let reader = open(&storage, &case.config, false).reader();
        let mut cursor = ReadCursor::new(4, -1);
        let batches = reader.read(&mut cursor, 1000).unwrap();
        let records: Vec<String> =
            batches.iter().flat_map(keyed_of).map(|it| text(&it.2)).collect();
        assert_eq!(records, ["a=2", "b=2"], "after {calls} calls");
        if done.is_ok() {
            break assert!(calls > 20, "{calls}");
        }
        calls += 1;
    }
}

#[test]
fn a_recovery_point_stays_a_batchs_beginning() {
    let mut case = on_disk();
    case.append(1, &["a=1"]);
    case.append(1, &["a=2"]);
    case.log.close().unwrap();
    case.append(1, &["a=3"]);
    case.append(1, &["a=4"]);
    case.roll();
    case.append(1, &["a=5"]);
    case.roll();
    case.compact(1);
    assert_eq!(case.log.recovery_point(), 2);
    assert_eq!(spans(&case), [(0, 1, 0), (2, 3, 0), (4, 4, 1)]);
}

#[test]
fn nothing_is_left_lying() {
    let disk = SimDisk::new(1);
    let mut case = Case::new(disk.clone(), compacting());
    for i in 0..6 {
        case.append(1, &["a=1", &format!("{i}=1")]);
        case.roll();
    }
    case.compact(1);
    let names: Vec<String> =
        disk.paths().iter().filter_map(|it| Some(it.file_name()?.to_str()?.to_owned())).collect();
    let logs: Vec<&String> = names.iter().filter(|it| it.contains(".log")).collect();
    assert_eq!(logs, ["00000000000000000000.log", "00000000000000000012.log"]);
    assert!(!names.iter().any(|it| it.ends_with(".swap") || it.ends_with(".cleaned")), "{names:?}");
    let text = disk.read_file("t-0/cleaner-offset-checkpoint").unwrap();
    assert_eq!(text, b"0\n2\nt 0 12\nt 0 12\n");
    // Half of a compaction that another process began.
    let dir = Path::new("t-0");
    for name in ["00000000000000000000.log.cleaned", "00000000000000000000.log.swap"] {
        let file = crate::storage::Storage::open(&disk, &dir.join(name), true).unwrap();
        StorageFile::append(&*file, 0, &[b"rubbish"]).unwrap();
    }
    let records = case.records();
    case.reopen();
    assert_eq!(case.records(), records);
    assert!(!disk.paths().iter().any(|it| it.to_str().is_some_and(|it| it.ends_with(".swap"))));
}

/// With `OTTLA_KAFKA_FILES=<folder>` the files stay there, for Kafka's own tools to look at.
#[test]
fn compacted_files_are_kafkas() {
    let keep = std::env::var_os("OTTLA_KAFKA_FILES");
    let scratch = tempfile::tempdir().unwrap();
    let root = keep.map_or(scratch.path().to_owned(), Into::into).join("compacted");
    std::fs::create_dir_all(&root).unwrap();
    let config = LogConfig { index_interval_bytes: 500, segment_bytes: 8_000, ..compacting() };
    let mut case = Case::new(FileStorage::new(&root, 10), config);
    for i in 0..300 {
        let records = [format!("{}={i}", i % 90), format!("x{i}=1"), format!("x{}", i / 2)];
        let records = records.each_ref().map(String::as_str);
        match i % 5 {
            0 => case.produce(9, i as i32 / 5 * 3, &records),
            _ => case.append(1_000_000 + 100 * i, &records),
        }
    }
    case.roll();
    case.compact(2_000_000);
    case.append(2_000_000, &["7=new", "x7"]);
    case.roll();
    case.compact(2_003_000);
    case.log.close().unwrap();
    let bases = case.bases();
    assert!(bases.len() > 2);
    for base in bases {
        let read = |ending: &str| {
            std::fs::read(root.join("t-0").join(format!("{base:020}.{ending}"))).unwrap()
        };
        let files = ["log", "index", "timeindex"].map(read);
        if files[0].is_empty() {
            continue; // the active one
        }
        crate::log::tests::kafka_files::check_indexes(base, &files[0], &files[1], &files[2]);
    }
}
