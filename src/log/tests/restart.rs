//! What a log remembers over restarts, and odd states of its folder.

use std::path::Path;
use std::sync::Arc;

use bytes::BytesMut;

use crate::batch::{BatchBuilder, HEADER_LEN, patch};
use crate::log::tests::parts::{Content, Rec, batch, opening, small};
use crate::log::{
    Append, AppendError, Appended, Log, LogConfig, Opening, ProducerError, ReadCursor, Recovered,
};
use crate::record::Timestamp;
use crate::storage::sim::{Fault, Op};
use crate::storage::{SimDisk, Storage};

fn open_as(disk: &SimDisk, change: impl FnOnce(Opening) -> Opening) -> (Log, Recovered) {
    Log::open(change(opening(Arc::new(disk.process()), small()))).expect("nothing fails")
}

fn open(disk: &SimDisk) -> Log {
    open_as(disk, |opening| opening).0
}

fn sequenced(base_sequence: i32) -> BytesMut {
    let mut builder = BatchBuilder::new(BytesMut::new());
    builder.set_producer(77, 3, base_sequence);
    for _ in 0..2 {
        builder.push(1_000, None, Some(&[base_sequence as u8; 100]), &[]);
    }
    builder.finish()
}

fn send(log: &mut Log, base_sequence: i32) -> Result<i64, AppendError> {
    log.append_now(sequenced(base_sequence)).map(|appended| appended.base_offset)
}

fn plain(log: &mut Log, id: u64) -> Appended {
    log.append_now(batch(&[Rec { id, len: 100, timestamp: id as i64 }])).expect("nothing fails")
}

fn plain_ones(log: &mut Log, ids: std::ops::Range<u64>) {
    for id in ids {
        plain(log, id);
    }
}

#[test]
fn duplicates_are_recognised_after_a_crash() {
    let disk = SimDisk::new(1);
    let mut log = open(&disk);
    for i in 0..20 {
        assert_eq!(send(&mut log, i * 2).unwrap(), i64::from(i) * 2);
    }
    disk.crash_power();
    let mut log = open(&disk);
    for i in 15..20 {
        assert_eq!(send(&mut log, i * 2).unwrap(), i64::from(i) * 2, "five from the scan");
    }
    let late = send(&mut log, 28).unwrap_err();
    let out_of_order = |error: &AppendError| {
        matches!(error, AppendError::Producer(ProducerError::OutOfOrderSequence { .. }))
    };
    assert!(out_of_order(&late), "{late}");
    assert_eq!(log.log_end_offset(), 40);
    log.close().unwrap();
    let mut log = open_as(&disk, |opening| Opening { clean: true, ..opening }).0;
    assert_eq!(send(&mut log, 38).unwrap(), 38, "one from the snapshot");
    assert!(out_of_order(&send(&mut log, 36).unwrap_err()));
    log.truncate(38).unwrap();
    let again = send(&mut log, 38).unwrap();
    assert_eq!((again, log.log_end_offset()), (38, 40), "it was cut off, so it is no duplicate");
    // A snapshot that is damaged is no reason to forget.
    log.close().unwrap();
    let is_snapshot =
        |path: &&std::path::PathBuf| path.extension().is_some_and(|e| e == "snapshot");
    for path in disk.paths().iter().filter(is_snapshot) {
        disk.flip_random_bit(path);
    }
    let mut log = open(&disk);
    assert_eq!(send(&mut log, 38).unwrap(), 38);
    log.enforce_retention(Timestamp::from_millis(25 * 3600 * 1000)).unwrap();
    assert_eq!(send(&mut log, 10).unwrap(), 40, "forgotten after a day");
}

#[test]
fn one_group_may_hold_a_batch_twice() {
    let mut log = open(&SimDisk::new(1));
    let mut group = [0, 0, 2, 4, 2].map(|sequence| Append::new(sequenced(sequence)));
    log.append(&mut group, Timestamp::NONE);
    let offsets = group.map(|append| append.result.unwrap().unwrap().base_offset);
    assert_eq!((offsets, log.log_end_offset()), ([0, 0, 2, 4, 2], 6));
}

#[test]
fn a_start_inside_of_a_batch_stays_readable() {
    let disk = SimDisk::new(1);
    let mut log = open(&disk);
    for _ in 0..5 {
        let records: Vec<Rec> = (0..4).map(|id| Rec { id, len: 300, timestamp: 1 }).collect();
        log.append_now(batch(&records)).unwrap();
    }
    log.advance_log_start(10).unwrap();
    let wanted = Content::of(&log.reader(), 1).unwrap();
    assert_eq!((wanted.start, wanted.end, wanted.gaps.len()), (10, 20, 0));
    assert_eq!(log.reader().segment_count(), 3);
    disk.crash_process();
    let (log, report) = open_as(&disk, |opening| Opening { log_start_offset: 10, ..opening });
    assert_eq!(Content::of(&log.reader(), 1).unwrap(), wanted);
    assert!(report.is_clean());
    drop(log);
    // Segments from below the start that a crash brought back go at the next open.
    disk.crash_process();
    let (log, _) = open_as(&disk, |opening| Opening { log_start_offset: 17, ..opening });
    assert_eq!((log.reader().log_start_offset(), log.reader().segment_count()), (17, 1));
    let logs = disk.paths().into_iter().filter(|path| path.extension().is_some_and(|e| e == "log"));
    assert_eq!(logs.collect::<Vec<_>>(), [Path::new("t-0/00000000000000000016.log")]);
}

#[test]
fn what_was_deleted_from_the_active_segment_goes_once_that_is_ended() {
    let mut log = open(&SimDisk::new(1));
    let config = LogConfig { retention: None, ..log.config().clone() };
    log.configure(config);
    plain_ones(&mut log, 0..3);
    log.advance_log_start(3).unwrap();
    log.roll_now().unwrap();
    plain_ones(&mut log, 3..4);
    assert_eq!(log.reader().segment_count(), 2);
    assert_eq!(log.enforce_retention(Timestamp::from_millis(1)).unwrap(), 1);
    assert_eq!((log.reader().segment_count(), log.reader().log_start_offset()), (1, 3));
}

#[test]
fn a_log_that_ends_below_its_start_begins_there() {
    let disk = SimDisk::new(1);
    let mut log = open(&disk);
    plain_ones(&mut log, 0..30);
    disk.crash_process();
    // The records up to 100 were deleted, then a loss of power took the last ones away.
    let begin = |opening| Opening { log_start_offset: 100, ..opening };
    let (mut log, _) = open_as(&disk, begin);
    assert_eq!((log.reader().log_start_offset(), log.log_end_offset()), (100, 100));
    assert_eq!(plain(&mut log, 7).base_offset, 100);
    disk.crash_power();
    let (log, report) = open_as(&disk, begin);
    assert!(report.is_clean(), "{report:?}");
    let content = Content::of(&log.reader(), 1).unwrap();
    assert_eq!((content.start, content.end, content.records.len()), (100, 101, 1));
}

#[test]
fn what_was_deleted_and_is_half_removed_is_not_lost() {
    for (start, lost) in [(9, vec![]), (7, vec![(7, 9)])] {
        let disk = SimDisk::new(1);
        let mut log = open(&disk);
        plain_ones(&mut log, 0..9);
        let done = log.checkpoint().unwrap().expect("there is something to do").run();
        log.checkpointed(done).unwrap();
        disk.crash_process();
        // Of the segment the name is back, and nothing else.
        let path = Path::new("t-0/00000000000000000000.log");
        disk.open(path, false).unwrap().truncate(0).unwrap();
        let (log, report) = open_as(&disk, |it| Opening { log_start_offset: start, ..it });
        let told: Vec<_> = report.lost.iter().map(|it| (it.from, it.to)).collect();
        assert_eq!((log.log_end_offset(), told), (9, lost));
    }
}

#[test]
fn a_log_that_lost_its_folder_begins_where_it_did_and_can_be_closed() {
    let disk = SimDisk::new(1);
    let begin = |opening| Opening { log_start_offset: 100, ..opening };
    let (mut log, _) = open_as(&disk, begin);
    log.close().unwrap();
    let (mut log, _) = open_as(&disk, begin);
    assert_eq!((log.reader().log_start_offset(), log.log_end_offset()), (100, 100));
    assert_eq!(plain(&mut log, 7).base_offset, 100);
    log.close().unwrap();
    let (log, report) = open_as(&disk, begin);
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(Content::of(&log.reader(), 1).unwrap().records.len(), 1);
}

#[test]
fn a_log_with_a_lost_end_goes_on_behind_it() {
    let disk = SimDisk::new(1);
    let mut log = open(&disk);
    plain_ones(&mut log, 0..30);
    log.close().unwrap();
    // Somebody cuts the last segment below the recovery point.
    let last = log.shared.segments().last().unwrap().clone();
    let size = last.size();
    last.file.truncate(size / 2).unwrap();
    let (mut log, report) = open_as(&disk, |opening| opening);
    assert_eq!((report.lost.len(), log.log_end_offset()), (1, 30), "{report:?}");
    assert_eq!(plain(&mut log, 77).base_offset, 30);
    disk.crash_power();
    let (log, _) = open_as(&disk, |opening| opening);
    let content = Content::of(&log.reader(), 10_000).unwrap();
    assert_eq!(content.gaps, [(report.lost[0].from, 30)]);
    assert_eq!(content.records[&30].1.id, 77);
}

/// A damaged recovery point is not believed, also once there is a snapshot of its name.
#[test]
fn a_recovery_point_that_was_damaged_is_never_believed() {
    for seed in 0..50 {
        let disk = SimDisk::new(seed);
        let mut log = open(&disk);
        plain_ones(&mut log, 0..3);
        log.close().unwrap();
        let file = Path::new("t-0/recovery-point-offset-checkpoint");
        let text = disk.read_file(file).unwrap();
        let digit = text.iter().rposition(|byte| *byte == b'3').unwrap() as u64;
        // 3 is 7 now.
        assert!(disk.flip_bit(file, digit * 8 + 2));
        let mut log = open(&disk);
        let unsynced = |id| Append::new(batch(&[Rec { id, len: 100, timestamp: id as i64 }]));
        log.append(&mut [3, 4, 5, 6].map(unsynced), Timestamp::NONE);
        log.roll_now().unwrap();
        disk.crash_power();
        let (log, report) = open_as(&disk, |opening| opening);
        assert!(report.lost.is_empty(), "seed {seed}: {report:?}");
        let content = Content::of(&log.reader(), 10_000).unwrap();
        assert_eq!((content.gaps, log.log_end_offset()), (vec![], content.records.len() as i64));
    }
}

/// Where nothing tells the last batch before the recovery point from the first one behind it, the
/// log ends between them, and says that it does.
#[test]
fn a_log_that_is_bad_on_both_sides_of_its_recovery_point_ends_there() {
    let disk = SimDisk::new(1);
    let mut log = open(&disk);
    plain_ones(&mut log, 0..2);
    log.close().unwrap();
    let mut log = open_as(&disk, |opening| Opening { clean: true, ..opening }).0;
    plain_ones(&mut log, 2..5);
    let segment = log.shared.segments()[0].clone();
    let (path, size) = (segment.log_path(Path::new("t-0")), segment.size());
    disk.crash_process();
    for batch in [1, 2] {
        assert!(disk.flip_bit(&path, (batch * size / 5 + 70) * 8));
    }
    let (mut log, report) = open_as(&disk, |opening| opening);
    let lost: Vec<_> = report.lost.iter().map(|it| (it.from, it.to)).collect();
    let cut: Vec<_> = report.cut.iter().map(|it| (it.offset, it.bytes)).collect();
    // The first bad batch's header may be what confirms the batch before it.
    assert_eq!((lost, cut), (vec![(1, 2)], vec![(2, size / 5 * 4 - HEADER_LEN as u64)]));
    assert_eq!(plain(&mut log, 77).base_offset, 2);
    let content = Content::of(&log.reader(), 10_000).unwrap();
    assert_eq!(content.gaps, [(1, 2)]);
    assert_eq!(content.records.keys().copied().collect::<Vec<_>>(), [0, 2]);
}

/// What stands between two bad batches is found by a search, and believed for the header behind it.
/// It is still there when the log is opened once more.
#[test]
fn what_confirms_a_batch_is_not_cut_off() {
    let disk = SimDisk::new(1);
    let mut log = open(&disk);
    plain_ones(&mut log, 0..4);
    log.close().unwrap();
    let segment = log.shared.segments()[0].clone();
    let (path, size) = (segment.log_path(Path::new("t-0")), segment.size());
    let (index, timeindex) = segment.index_paths(Path::new("t-0"));
    [index, timeindex].iter().for_each(|path| disk.remove_file(path).unwrap());
    // The version of the second, which is no header any more, and a value in the fourth.
    assert!(disk.flip_bit(&path, (size / 4 + 16) * 8));
    assert!(disk.flip_bit(&path, (size / 4 * 3 + 70) * 8));
    let lost = |report: &Recovered| {
        let lost = report.lost.iter().map(|it| (it.from, it.to));
        (lost.collect::<Vec<_>>(), report.cut.len())
    };
    let (log, report) = open_as(&disk, |opening| opening);
    assert_eq!(lost(&report), (vec![(1, 2), (3, 4)], 1));
    let found = Content::of(&log.reader(), 10_000).unwrap();
    drop(log);
    for opened in ["again", "and again"] {
        disk.crash_process();
        let (log, report) = open_as(&disk, |opening| opening);
        assert_eq!(lost(&report), (vec![(1, 2), (3, 4)], 0), "{opened}");
        let content = Content::of(&log.reader(), 10_000).unwrap();
        assert_eq!((&content.records, &content.gaps), (&found.records, &found.gaps), "{opened}");
        assert_eq!(content.records.keys().copied().collect::<Vec<_>>(), [0, 2], "{opened}");
    }
}

#[test]
fn batches_that_go_beyond_a_segments_end_are_not_the_logs() {
    for (cut, gaps) in [(0, vec![]), (1, vec![(2, 3)])] {
        let disk = SimDisk::new(1);
        let mut log = open(&disk);
        plain_ones(&mut log, 0..3);
        log.roll_now().unwrap();
        let done = log.checkpoint().unwrap().expect("there is something to do").run();
        log.checkpointed(done).unwrap();
        let before = Content::of(&log.reader(), 1000).unwrap();
        // A sound batch, instead of the last one or behind it: offset 3 is the next segment's.
        let mut beyond = batch(&[Rec { id: 90, len: 10, timestamp: 90 }; 5]);
        patch(&mut beyond, 3 - cut, 0);
        let path = Path::new("t-0/00000000000000000000.log");
        let (file, whole) = (disk.open(path, false).unwrap(), log.reader().size());
        file.truncate(whole - cut as u64 * whole / 3).unwrap();
        file.append(file.len().unwrap(), &[&beyond]).unwrap();
        let (mut log, _) = open_as(&disk, |it| Opening { clean: true, ..it });
        assert_eq!(plain(&mut log, 3).base_offset, 3);
        let after = Content::of(&log.reader(), 1000).unwrap();
        assert_eq!((after.end, &after.gaps), (4, &gaps));
        let ids: Vec<u64> = after.records.values().map(|(_, record)| record.id).collect();
        assert!(ids.iter().all(|id| *id <= 3) && ids.len() == 4 - gaps.len(), "{ids:?}");
        assert!(before.records.len() == 3 && before.gaps.is_empty());
        assert_eq!(log.reader().offset_for_timestamp(50).unwrap(), None);
    }
}

#[test]
fn retention_keeps_what_it_is_told_to() {
    let mut log = open(&SimDisk::new(1));
    // Three segments of ten records, and one of five.
    for id in 0..35 {
        plain(&mut log, id);
        if id % 10 == 9 {
            log.roll_now().unwrap();
        }
    }
    let sizes: Vec<u64> = log.shared.segments().iter().map(|segment| segment.size()).collect();
    assert_eq!(sizes.len(), 4);
    let mut retain = |retention_bytes, retention: Option<u64>, now| {
        let retention = retention.map(std::time::Duration::from_millis);
        log.configure(LogConfig { retention_bytes, retention, ..small() });
        let removed = log.enforce_retention(Timestamp::from_millis(now)).unwrap();
        (removed, log.reader().log_start_offset(), log.log_end_offset())
    };
    let rest = sizes[1] + sizes[2] + sizes[3];
    assert_eq!(retain(Some(rest + 1), None, 0), (0, 0, 35), "without the oldest it is too little");
    assert_eq!(retain(Some(rest), None, 0), (1, 10, 35), "without the oldest it is just enough");
    assert_eq!(retain(None, Some(100), 119), (0, 10, 35), "the youngest of them is 100 old");
    assert_eq!(retain(None, Some(100), 120), (1, 20, 35));
    assert_eq!(retain(None, Some(100), 1_000), (2, 35, 35), "the active one too");
    assert_eq!(retain(Some(0), Some(0), 1_000), (0, 35, 35), "an empty one stays");
}

#[test]
fn files_may_be_named_after_the_last_offset() {
    for ending in ["log", "log.swap", "log.cleaned", "index", "snapshot"] {
        let disk = SimDisk::new(1);
        plain_ones(&mut open(&disk), 0..3);
        disk.open(&Path::new("t-0").join(format!("{:020}.{ending}", i64::MAX)), true).unwrap();
        let log = open(&disk);
        assert_eq!(Content::of(&log.reader(), 1000).unwrap().records.len(), 3, "{ending}");
    }
}

#[test]
fn foreign_files_are_named_and_left_alone() {
    let disk = SimDisk::new(1);
    let mut log = open(&disk);
    plain(&mut log, 1);
    disk.create_dir(Path::new("t-0/00000000000000000005.log")).unwrap();
    for name in ["t-0/notes.txt", "t-0/00000000000000000000.txnindex", "t-0/7.log"] {
        disk.open(Path::new(name), true).unwrap().append(0, &[b"x"]).unwrap();
    }
    let (log, report) = open_as(&disk, |opening| opening);
    let foreign =
        ["00000000000000000000.txnindex", "00000000000000000005.log", "7.log", "notes.txt"];
    assert_eq!(report.foreign, foreign);
    assert_eq!(log.log_end_offset(), 1);
    assert!(disk.read_file("t-0/notes.txt").is_some());
}

#[test]
fn a_full_disk_passes() {
    let disk = SimDisk::new(1);
    let mut log = open(&disk);
    plain(&mut log, 0);
    let used: usize =
        disk.paths().iter().filter_map(|path| disk.read_file(path)).map(|f| f.len()).sum();
    disk.set_capacity(Some(used as u64 + 500));
    let one = |id| batch(&[Rec { id, len: 100, timestamp: 1 }]);
    let mut full = 0;
    for id in 1..20 {
        full +=
            usize::from(matches!(log.append_now(one(id)), Err(AppendError::StorageFull { .. })));
    }
    assert!(full > 10 && log.failure().is_none());
    disk.set_capacity(None);
    let next = plain(&mut log, 20).base_offset;
    assert_eq!(next, 20 - full as i64);
    // Also in the middle of a roll, whichever call it is.
    for call in 1..12 {
        disk.fail_at(disk.calls() + call, Fault::Enospc);
        let rolled = log.roll_now();
        assert!(matches!(rolled, Ok(()) | Err(AppendError::StorageFull { .. })), "{rolled:?}");
        disk.clear_faults();
        plain(&mut log, 30 + call);
    }
    let end = log.log_end_offset();
    disk.crash_power();
    let content = Content::of(&open(&disk).reader(), 100).unwrap();
    assert_eq!((content.end, content.gaps.len()), (end, 0));
}

#[test]
fn a_sync_that_fails_is_remembered_by_all_and_by_the_next_open() {
    let disk = SimDisk::new(1);
    let mut log = open(&disk);
    plain(&mut log, 0);
    let config = LogConfig { sync_before_visible: false, ..small() };
    log.configure(config);
    let mut group = [Append::new(batch(&[Rec { id: 1, len: 5000 % 900, timestamp: 1 }]))];
    log.append(&mut group, Timestamp::NONE);
    log.publish();
    let plan = log.checkpoint().unwrap().unwrap();
    disk.fail_next(Op::Sync, Fault::SyncFailsOnce);
    let done = plan.run();
    assert!(done.is_err());
    // Before anybody tells the writer, its own sync must not believe the cache.
    assert!(matches!(log.sync(), Err(AppendError::ReadOnly(_))));
    assert!(matches!(log.checkpointed(done), Err(AppendError::ReadOnly(_))));
    disk.crash_process();
    let (log, report) = open_as(&disk, |opening| opening);
    assert!(report.rewritten && log.log_end_offset() == 2);
    disk.crash_power();
    assert_eq!(Content::of(&open(&disk).reader(), 100).unwrap().records.len(), 2);
}

#[test]
fn a_checkpoint_does_not_outlive_a_truncation() {
    for told_first in [true, false] {
        let disk = SimDisk::new(1);
        let mut log = open(&disk);
        plain_ones(&mut log, 0..10);
        let plan = log.checkpoint().unwrap().unwrap();
        let done = match told_first {
            true => plan.run(),
            false => {
                log.truncate(4).unwrap();
                plan.run()
            }
        };
        if told_first {
            log.truncate(4).unwrap();
        }
        log.checkpointed(done).unwrap();
        assert!(log.recovery_point() <= 4);
        let written = disk.read_file("t-0/recovery-point-offset-checkpoint");
        let text = written.map(|bytes| String::from_utf8(bytes).unwrap()).unwrap_or("0".into());
        let point: i64 = text.split_whitespace().last().unwrap().parse().unwrap();
        assert!(point <= 4, "{point} is still written down");
        plain_ones(&mut log, 20..23);
        disk.crash_power();
        let (log, report) = open_as(&disk, |opening| opening);
        assert!(report.is_clean() && log.log_end_offset() == 7, "{report:?}");
        let mut cursor = ReadCursor::new(8, 0);
        assert!(log.reader().read(&mut cursor, 1).is_err());
    }
}

#[test]
fn a_checkpoint_that_finds_no_room_is_still_lowered_by_a_truncation() {
    let mut refused = 0;
    for call in 1..40 {
        let disk = SimDisk::new(call);
        let mut log = open(&disk);
        plain_ones(&mut log, 0..10);
        disk.fail_at(disk.calls() + call, Fault::Enospc);
        let done = match log.checkpoint().unwrap() {
            Some(plan) => plan.run(),
            None => Ok(None),
        };
        let moved = log.checkpointed(done).is_ok() && log.recovery_point() == 10;
        disk.clear_faults();
        refused += usize::from(log.failure().is_some());
        let kept = if log.truncate(4).is_ok() { 4 } else { 10 };
        assert!(!(moved && kept == 10), "a log that was well was not truncated");
        disk.crash_power();
        let (log, report) = open_as(&disk, |opening| opening);
        assert!(report.lost.is_empty(), "call {call}: {report:?}");
        assert_eq!(log.log_end_offset(), kept, "call {call}");
    }
    assert!(refused > 0, "no sync failed");
}
