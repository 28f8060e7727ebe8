//! A full disk under one log: what waits for space, and what does without.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::log::tests::parts::{Content, Rec, batch, opening, small};
use crate::log::{AppendError, Log, LogConfig, Opening, ReadCursor};
use crate::record::Timestamp;
use crate::storage::SimDisk;
use crate::storage::sim::{Fault, Op};

fn open(disk: &SimDisk, config: LogConfig) -> Log {
    Log::open(opening(Arc::new(disk.clone()), config)).unwrap().0
}

fn append(log: &mut Log, id: u64) -> Result<i64, AppendError> {
    append_at(log, id, 1000)
}

fn append_at(log: &mut Log, id: u64, timestamp: i64) -> Result<i64, AppendError> {
    let record = Rec { id, len: 300, timestamp };
    log.append_now(batch(&[record])).map(|appended| appended.base_offset)
}

fn leave_room(disk: &SimDisk, bytes: u64) {
    let paths = disk.paths();
    let used: usize = paths.iter().filter_map(|path| disk.read_file(path)).map(|it| it.len()).sum();
    disk.set_capacity(Some(used as u64 + bytes));
}

fn stored_epochs(disk: &SimDisk) -> String {
    String::from_utf8(disk.read_file("t-0/leader-epoch-checkpoint").unwrap()).unwrap()
}

/// What a segment still takes in, as it could not be ended, is in its indexes.
#[test]
fn a_segment_that_could_not_be_ended_is_not_taken_for_older_than_it_is() {
    let config = LogConfig { retention: Some(Duration::from_secs(60)), ..small() };
    for call in 1.. {
        let disk = SimDisk::new(1);
        let mut log = open(&disk, config.clone());
        append_at(&mut log, 0, 1_000).unwrap();
        disk.fail_at(disk.calls() + call, Fault::Enospc);
        if log.roll_now().is_ok() {
            assert!(call > 5, "there is something to fail at");
            return;
        }
        append_at(&mut log, 1, 100_000).unwrap();
        log.roll_now().unwrap();
        append_at(&mut log, 2, 200_000).unwrap();
        log.close().unwrap();
        disk.crash_process();
        let clean = opening(Arc::new(disk.clone()), config.clone());
        let (mut log, report) = Log::open(Opening { clean: true, ..clean }).unwrap();
        assert!(report.is_clean(), "call {call}: {report:?}");
        log.enforce_retention(Timestamp::from_millis(150_000)).unwrap();
        let kept = Content::of(&log.reader(), 1000).unwrap().records;
        assert!(kept.contains_key(&1), "call {call}: {kept:?}");
    }
}

/// Readers of an epoch that was never written down would not know whose records they have.
#[test]
fn an_epoch_that_finds_no_room_at_open_is_written_down_before_its_first_batch() {
    let disk = SimDisk::new(1);
    let mut log = open(&disk, small());
    for id in 0..3 {
        append(&mut log, id).unwrap();
    }
    disk.crash_process();
    leave_room(&disk, 0);
    let mut log = open(&disk, small());
    assert_eq!(log.reader().leader_epoch(), 1);
    assert!(!stored_epochs(&disk).contains("1 3"));
    let refused = append(&mut log, 3).unwrap_err();
    assert!(matches!(refused, AppendError::StorageFull { .. }), "{refused}");
    disk.set_capacity(None);
    assert_eq!(append(&mut log, 3).unwrap(), 3);
    assert!(stored_epochs(&disk).contains("1 3"), "{}", stored_epochs(&disk));
    // The next incarnation is another.
    disk.crash_power();
    let log = open(&disk, small());
    assert_eq!(log.reader().leader_epoch(), 2);
    let content = Content::of(&log.reader(), 1000).unwrap();
    let epochs: Vec<i32> = content.records.values().map(|(epoch, _)| *epoch).collect();
    assert_eq!(epochs, [0, 0, 0, 1]);
}

#[test]
fn a_failed_sync_that_could_not_be_noted_is_noted_at_the_end() {
    let disk = SimDisk::new(1);
    let mut log = open(&disk, small());
    append(&mut log, 0).unwrap();
    disk.fail_next(Op::Sync, Fault::SyncFailsOnce);
    disk.fail_next(Op::Open, Fault::Enospc);
    let failed = append(&mut log, 1).unwrap_err();
    assert!(matches!(failed, AppendError::ReadOnly(_)), "{failed}");
    assert!(disk.read_file("t-0/sync-failed").is_none());
    log.close().unwrap_err();
    assert!(disk.read_file("t-0/sync-failed").is_some());
    disk.crash_process();
    let (log, recovered) = Log::open(opening(Arc::new(disk.clone()), small())).unwrap();
    assert!(recovered.rewritten);
    // What the open has served is there whatever becomes of the power.
    assert_eq!(log.reader().high_watermark(), 2);
    disk.crash_power();
    assert_eq!(open(&disk, small()).reader().high_watermark(), 2);
}

#[test]
fn the_first_failure_is_the_one_that_is_told() {
    let disk = SimDisk::new(1);
    let mut log = open(&disk, small());
    append(&mut log, 0).unwrap();
    let plan = log.checkpoint().unwrap().unwrap();
    disk.fail_next(Op::Append, Fault::Eio);
    let first = append(&mut log, 1).unwrap_err().to_string();
    assert!(first.contains("append t-0"), "{first}");
    disk.fail_next(Op::Sync, Fault::Eio);
    let second = log.checkpointed(plan.run()).unwrap_err().to_string();
    assert_eq!(second, first);
    assert_eq!(append(&mut log, 1).unwrap_err().to_string(), first);
}

#[test]
fn what_is_derived_from_dropped_segments_goes_with_them() {
    let disk = SimDisk::new(1);
    let mut log = open(&disk, LogConfig { retention_bytes: Some(6000), ..small() });
    for id in 0..200 {
        append(&mut log, id).unwrap();
        log.enforce_retention(Timestamp::from_millis(1000)).unwrap();
    }
    let of = |ending: &str| {
        let paths = disk.paths();
        paths.iter().filter(|path| path.extension().is_some_and(|it| it == ending)).count()
    };
    assert!(of("log") < 6 && of("snapshot") <= of("log"), "{} {}", of("log"), of("snapshot"));
    let start = log.reader().log_start_offset();
    disk.crash_power();
    let log = open(&disk, small());
    assert_eq!(log.reader().log_start_offset(), start);
    let mut cursor = ReadCursor::new(start, -1);
    assert!(!log.reader().read(&mut cursor, 1).unwrap().is_empty());
    assert!(disk.read_file(Path::new("t-0/leader-epoch-checkpoint")).is_some());
}
