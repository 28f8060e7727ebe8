//! What happens to a log between the three steps of a compaction, and to its readers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::parts::{Case, batches, compacting, content, keyed_of};
use crate::log::{CleanupPolicy, CompactionOptions, CompactionPlan, LogConfig, ReadCursor};
use crate::record::Timestamp;
use crate::storage::{FileStorage, MemoryStorage, SimDisk};

fn filled(mut case: Case) -> Case {
    for i in 0..10 {
        case.append(i, &["a=1", &format!("{i}=1"), "b=1"]);
        case.roll();
    }
    case
}

fn on_disk() -> Case {
    filled(Case::new(SimDisk::new(1), compacting()))
}

fn in_memory() -> Case {
    filled(Case::new(MemoryStorage::new(1 << 24), compacting()))
}

fn plan(case: &mut Case) -> CompactionPlan {
    case.log.plan_compaction(Timestamp::from_millis(100), true).unwrap().unwrap()
}

/// Does something before the run or after it, and wants the compaction to be given up.
fn is_given_up(change: impl Fn(&mut Case)) {
    for (mut case, before_run) in
        [(on_disk(), true), (on_disk(), false), (in_memory(), true), (in_memory(), false)]
    {
        let plan = plan(&mut case);
        let done = if before_run {
            change(&mut case);
            plan.run(CompactionOptions::default())
        } else {
            let done = plan.run(CompactionOptions::default());
            change(&mut case);
            done
        };
        let before = case.records();
        assert_eq!(case.log.compacted(done).unwrap(), None);
        assert_eq!(case.records(), before);
        let left = case.storage.list(std::path::Path::new("t-0")).unwrap();
        assert!(!left.iter().any(|it| it.name.ends_with(".cleaned")), "{left:?}");
        case.append(50, &["a=2"]);
        case.roll();
        case.compact(200);
        assert!(case.records().last().unwrap().ends_with("a=2"));
    }
}

#[test]
fn a_truncation_meanwhile_ends_it() {
    is_given_up(|case| case.log.truncate(20).unwrap());
    is_given_up(|case| case.log.truncate(0).unwrap());
}

#[test]
fn retention_meanwhile_ends_it() {
    is_given_up(|case| {
        let policy = CleanupPolicy::CompactDelete;
        let retention_bytes = Some(300);
        case.log.configure(LogConfig { cleanup_policy: policy, retention_bytes, ..compacting() });
        assert!(case.log.enforce_retention(Timestamp::from_millis(1)).unwrap() > 0);
        case.log.configure(compacting());
    });
    is_given_up(|case| case.log.advance_log_start(10).unwrap());
}

#[test]
fn appends_and_rolls_meanwhile_do_not() {
    for mut case in [on_disk(), in_memory()] {
        let plan = plan(&mut case);
        case.append(60, &["a=2"]);
        case.roll();
        let done = plan.run(CompactionOptions::default());
        case.append(70, &["b=2"]);
        let stats = case.log.compacted(done).unwrap().unwrap();
        assert_eq!(stats.first_dirty_offset, 30);
        let records = case.records();
        assert_eq!(records.len(), 10 + 2 + 2);
        assert_eq!(records[records.len() - 4..], ["28:9=1", "29:b=1", "30:a=2", "31:b=2"]);
        case.compact(100);
        assert_eq!(case.records().len(), 10 + 2 + 1, "the last b is in the active segment");
    }
}

#[test]
fn a_plan_of_another_time_is_not_put_in_place() {
    let mut case = on_disk();
    let old = plan(&mut case).run(CompactionOptions::default());
    let storage = case.storage.clone();
    case.log = super::parts::open(&storage, &compacting(), true);
    assert_eq!(case.log.compacted(old).unwrap(), None);
    assert_eq!(case.records().len(), 30);
}

#[test]
fn a_truncation_lowers_the_first_dirty_offset() {
    let mut case = on_disk();
    case.compact(100);
    assert_eq!(case.log.cleaner.first_dirty, 30);
    case.log.truncate(27).unwrap();
    assert_eq!(case.log.cleaner.first_dirty, 27);
    case.reopen();
    assert_eq!(case.log.cleaner.first_dirty, 27);
    case.append(1, &["a=5"]);
    case.roll();
    case.compact(100);
    assert_eq!(case.records().last().unwrap(), "27:a=5");
    assert_eq!(case.records().iter().filter(|it| it.contains(":a=")).count(), 1);
}

#[test]
fn a_reader_goes_on_where_it_stood() {
    for mut case in [on_disk(), in_memory()] {
        let reader = case.log.reader();
        let before = content(&reader, 700).unwrap();
        let held = batches(&reader, 700).unwrap();
        let mut cursors = Vec::new();
        for offset in 0..30 {
            let mut cursor = ReadCursor::new(offset, 0);
            reader.read(&mut cursor, 1).unwrap();
            cursors.push(cursor);
        }
        case.compact(100);
        let after = content(&reader, 700).unwrap();
        let again = held.iter().flat_map(keyed_of).map(|(offset, ..)| offset);
        assert!(again.eq(before.keys().copied()), "what was read stays");
        for mut cursor in cursors {
            let from = cursor.offset;
            let mut found = Vec::new();
            loop {
                let read = reader.read(&mut cursor, 100).unwrap();
                if read.is_empty() {
                    break;
                }
                found.extend(read.iter().flat_map(keyed_of).filter(|it| it.0 >= from));
            }
            let wanted =
                after.range(from..).map(|(offset, (epoch, it))| (*offset, *epoch, it.clone()));
            assert!(found.into_iter().eq(wanted), "from {from}");
        }
    }
}

/// Readers on threads of their own, which must never see an error, a hole, or an older record of
/// a key than they should.
#[test]
fn readers_see_nothing_of_the_swap() {
    let scratch = tempfile::tempdir().unwrap();
    let memory = Case::new(MemoryStorage::new(1 << 24), compacting());
    let disk = Case::new(FileStorage::new(scratch.path(), 4), compacting());
    for mut case in [memory, disk] {
        let stop = Arc::new(AtomicBool::new(false));
        let readers: Vec<_> = (0..3)
            .map(|max_bytes| {
                let (reader, stop) = (case.log.reader(), stop.clone());
                std::thread::spawn(move || {
                    // Once more after the end: it may not have had a turn before.
                    let mut is_last = false;
                    while !is_last {
                        is_last = stop.load(Ordering::Relaxed);
                        let end = reader.high_watermark();
                        let seen = content(&reader, 1 + max_bytes * 300).unwrap();
                        let keys = seen.values().filter(|(_, it)| it.key == "last").count();
                        assert!(end == 0 || keys > 0, "the last value of a key is gone");
                        let found = reader.offset_for_timestamp(0).unwrap();
                        assert!(found.is_some() || end == 0);
                    }
                })
            })
            .collect();
        for i in 0..25 {
            for j in 0..4 {
                case.append(i, &[&format!("{}={i}", (i * j) % 7), "last=1"]);
            }
            case.roll();
            case.compact(i * 100);
        }
        stop.store(true, Ordering::Relaxed);
        readers.into_iter().for_each(|it| it.join().unwrap());
    }
}
