//! Ranges of files that may be sent without being read: they are what a read would have returned,
//! or there is none.

use std::io::{Read, Seek, SeekFrom};
use std::sync::Arc;

use crate::log::tests::parts::{Dice, Rec, batch, opening, small};
use crate::log::{Append, FileRange, Log, LogConfig, LogReader, Opening, ReadCursor};
use crate::record::Timestamp;
use crate::storage::{FileStorage, SimDisk};

/// So large that a range is worth it.
const LEN: usize = 20_000;

fn config() -> LogConfig {
    LogConfig { segment_bytes: 1 << 20, sync_before_visible: false, ..small() }
}

/// When all is written; and when it is so old that headers are looked at again.
const NOW: Timestamp = Timestamp::from_millis(1_000_000);
const LATER: Timestamp = Timestamp::from_millis(1_000_000 + 60_001);

fn open(storage: &FileStorage) -> Log {
    let opening = opening(Arc::new(storage.clone()), config());
    Log::open(Opening { clean: true, ..opening }).unwrap().0
}

fn append(log: &mut Log, count: u64, len: usize) {
    for id in 0..count {
        append_one(log, Rec { id, len, timestamp: 1_000 });
    }
}

fn append_one(log: &mut Log, record: Rec) {
    let mut group = [Append::new(batch(&[record]))];
    log.append(&mut group, NOW);
    let [Append { result, .. }] = group;
    result.unwrap().unwrap();
    log.sync().unwrap();
    log.publish();
}

fn content(range: &FileRange) -> Vec<u8> {
    let mut bytes = vec![0; range.len];
    let mut file = range.file.as_ref();
    file.seek(SeekFrom::Start(range.position)).unwrap();
    file.read_exact(&mut bytes).unwrap();
    bytes
}

fn read(reader: &LogReader, cursor: &mut ReadCursor, max_bytes: usize) -> Vec<u8> {
    let batches = reader.read(cursor, max_bytes).unwrap();
    batches.iter().flat_map(|batch| batch.bytes().to_vec()).collect()
}

#[test]
fn a_range_is_what_a_read_returns() {
    // Of a young one few headers are looked at.
    [NOW, LATER].into_iter().for_each(is_what_a_read_returns);
}

fn is_what_a_read_returns(now: Timestamp) {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(&FileStorage::new(dir.path(), 2));
    let mut dice = Dice::new(1);
    for _ in 0..300 {
        append(&mut log, 1, dice.between(5_000, 30_000) as usize);
    }
    let reader = log.reader();
    let (mut sent, mut one, mut other) = (0, ReadCursor::new(0, -1), ReadCursor::new(0, -1));
    while one.offset < log.log_end_offset() {
        let max_bytes = dice.between(20_000, 400_000) as usize;
        let range = reader.locate(&mut one, max_bytes, now).map(|range| content(&range));
        sent += range.as_ref().map_or(0, Vec::len);
        let found = range.unwrap_or_else(|| read(&reader, &mut one, max_bytes));
        assert_eq!(found, read(&reader, &mut other, max_bytes));
        assert_eq!((one.offset, one.leader_epoch), (other.offset, other.leader_epoch));
    }
    assert!(sent as u64 > reader.size() / 2, "{sent} of {}", reader.size());
}

#[test]
fn what_was_there_before_is_read_and_checked_once() {
    let dir = tempfile::tempdir().unwrap();
    let storage = FileStorage::new(dir.path(), 10);
    let mut log = open(&storage);
    append(&mut log, 20, LEN);
    log.close().unwrap();
    let mut log = open(&storage);
    let reader = log.reader();
    let start = ReadCursor::new(0, -1);
    assert!(reader.locate(&mut start.clone(), 1 << 20, LATER).is_none(), "nobody has checked it");
    let mut cursor = start.clone();
    let half = read(&reader, &mut cursor, 200_000);
    assert_eq!(content(&reader.locate(&mut start.clone(), 1 << 20, LATER).unwrap()), half);
    assert!(reader.locate(&mut cursor.clone(), 1 << 20, LATER).is_none());
    let rest = read(&reader, &mut cursor, 1 << 20);
    append(&mut log, 20, LEN);
    let range = reader.locate(&mut start.clone(), 500_000, LATER).unwrap();
    assert_eq!(content(&range)[..half.len() + rest.len()], [half, rest].concat());
    assert!(range.len > 20 * LEN, "what was appended is known to be sound");
}

#[test]
fn it_ends_where_the_high_watermark_is_and_outlives_its_segment() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(&FileStorage::new(dir.path(), 10));
    append(&mut log, 10, LEN);
    let visible = log.reader().size();
    let mut group = [Append::new(batch(&[Rec { id: 9, len: LEN, timestamp: 1 }]))];
    log.append(&mut group, Timestamp::NONE);
    let reader = log.reader();
    let mut cursor = ReadCursor::new(0, -1);
    let range = reader.locate(&mut cursor, 1 << 20, LATER).unwrap();
    assert_eq!((cursor.offset, range.len as u64), (10, visible), "no more was published");
    let before = content(&range);
    log.publish();
    log.roll_now().unwrap();
    log.advance_log_start(11).unwrap();
    assert_eq!(reader.log_start_offset(), 11);
    assert_eq!(content(&range), before, "whoever has it can send it");
    assert!(reader.locate(&mut ReadCursor::new(0, -1), 1 << 20, LATER).is_none());
}

#[test]
fn what_is_not_worth_it_or_not_at_hand_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(&FileStorage::new(dir.path(), 10));
    append(&mut log, 1000, 100);
    append(&mut log, 10, LEN);
    let reader = log.reader();
    let small = &mut ReadCursor::new(0, -1);
    assert!(reader.locate(small, 1 << 20, LATER).is_none(), "small batches");
    assert!(reader.locate(small, 1 << 20, NOW).is_some(), "whose headers nobody looks at");
    let unknown = &mut ReadCursor::new(1000, -1);
    assert!(reader.locate(unknown, 1 << 20, LATER).is_none(), "not known where");
    let mut cursor = ReadCursor::new(999, -1);
    read(&reader, &mut cursor, 1);
    assert!(reader.locate(&mut cursor.clone(), 30_000, LATER).is_none(), "one batch");
    assert!(reader.locate(&mut cursor, 1 << 20, LATER).is_some());

    let mut log = Log::open(opening(Arc::new(SimDisk::new(1)), config())).unwrap().0;
    append(&mut log, 20, LEN);
    assert!(log.reader().locate(&mut ReadCursor::new(0, -1), 1 << 20, LATER).is_none(), "no file");
}

/// After a failed sync the cache may hold what the disk does not.
#[test]
fn nothing_is_sent_unread_once_a_write_has_failed() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(&FileStorage::new(dir.path(), 10));
    append(&mut log, 20, LEN);
    let reader = log.reader();
    assert!(reader.locate(&mut ReadCursor::new(0, -1), 1 << 20, LATER).is_some());
    log.fail(std::io::Error::other("a sync"));
    assert!(reader.locate(&mut ReadCursor::new(0, -1), 1 << 20, LATER).is_none());
    assert_eq!(read(&reader, &mut ReadCursor::new(0, -1), 1 << 20).len() as u64, reader.size());
}

/// Headers are looked at.
#[test]
fn damage_is_left_to_a_read() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(&FileStorage::new(dir.path(), 10));
    append(&mut log, 20, LEN);
    let reader = log.reader();
    let size = reader.size() / 20;
    let path = dir.path().join("t-0/00000000000000000000.log");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[10 * size as usize + 7] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    assert!(reader.locate(&mut ReadCursor::new(0, -1), 1 << 20, LATER).is_none());
    // A minute after it was written, and not before; nor by a clock that was set back.
    assert!(reader.locate(&mut ReadCursor::new(0, -1), 1 << 20, NOW).is_some());
    let before = Timestamp::from_millis(NOW.as_millis() - 1);
    assert!(reader.locate(&mut ReadCursor::new(0, -1), 1 << 20, before).is_none());
    let mut cursor = ReadCursor::new(0, -1);
    assert_eq!(read(&reader, &mut cursor, 1 << 20).len() as u64, 10 * size);
    assert!(reader.read(&mut cursor, 1 << 20).is_err());
}

/// What is older than a minute is looked at also where something younger follows.
#[test]
fn only_what_is_young_is_taken_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(&FileStorage::new(dir.path(), 10));
    let append_at = |log: &mut Log, now: i64| {
        let mut group = [Append::new(batch(&[Rec { id: 1, len: LEN, timestamp: 1 }]))];
        log.append(&mut group, Timestamp::from_millis(now));
        log.publish();
    };
    for now in (0..200_000).step_by(5_000) {
        append_at(&mut log, now);
    }
    let size = log.reader().size() / 40;
    let path = dir.path().join("t-0/00000000000000000000.log");
    // Marks are half a minute apart: the one that counts is at batch 30.
    let bytes = std::fs::read(&path).unwrap();
    for (turned, is_seen) in [(20, true), (27, true), (36, false)] {
        let mut damaged = bytes.clone();
        damaged[turned * size as usize + 7] ^= 1;
        std::fs::write(&path, damaged).unwrap();
        let reader = log.reader();
        let mut cursor = ReadCursor::new(0, -1);
        let mut at = 0;
        while at < turned as i64 - 6 {
            read(&reader, &mut cursor, size as usize);
            at = cursor.offset;
        }
        let located = reader.locate(&mut cursor, 1 << 20, Timestamp::from_millis(199_000));
        assert_eq!(located.is_none(), is_seen, "{turned}");
    }
}
