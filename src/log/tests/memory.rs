//! Logs in memory that share a budget, under each policy.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::log::tests::parts::{Rec, batch, opening, small};
use crate::log::{
    Append, AppendError, Log, LogConfig, MemoryPressure, Opening, ReadCursor, ReadError,
};
use crate::record::Timestamp;
use crate::storage::{MemoryPolicy, MemoryStorage};

const BUDGET: usize = 8 << 20;
const RECORD: usize = 100_000;

struct Pair {
    storage: MemoryStorage,
    logs: [Log; 2],
    next_id: u64,
}

impl Pair {
    fn new(policy: MemoryPolicy) -> Self {
        let storage = MemoryStorage::new(BUDGET);
        let pressure = MemoryPressure::new(policy, BUDGET);
        let open = |name: &str| {
            let config = LogConfig { segment_bytes: 1 << 30, ..small() };
            let opening = opening(Arc::new(storage.clone()), config);
            let pressure = Some(pressure.clone());
            Log::open(Opening { dir: name.into(), pressure, ..opening }).unwrap().0
        };
        let logs = [open("t-0"), open("t-1")];
        Pair { storage, logs, next_id: 0 }
    }

    fn append(&mut self, log: usize) -> Result<i64, AppendError> {
        self.next_id += 1;
        let record = Rec { id: self.next_id, len: RECORD, timestamp: 1 };
        self.logs[log].append_now(batch(&[record])).map(|appended| appended.base_offset)
    }

    /// Appends until there is no room; returns how many went in.
    fn fill(&mut self, log: usize) -> usize {
        (0..1_000).take_while(|_| self.append(log).is_ok()).count()
    }

    fn start(&self, log: usize) -> i64 {
        self.logs[log].reader().log_start_offset()
    }
}

#[test]
fn the_oldest_is_dropped_and_a_laggard_is_told() {
    let mut pair = Pair::new(MemoryPolicy::DropOldest);
    let reader = pair.logs[0].reader();
    for _ in 0..60 {
        pair.append(0).unwrap();
    }
    assert_eq!(pair.start(0), 0);
    let mut laggard = ReadCursor::new(0, -1);
    assert_eq!(reader.read(&mut laggard, 1).unwrap().len(), 1);
    for _ in 0..400 {
        pair.append(1).unwrap();
        assert!(pair.storage.used() <= BUDGET);
    }
    assert!(pair.start(0) > 0 && pair.start(1) > 0, "both had to give");
    let error = reader.read(&mut laggard, 1).unwrap_err();
    let start = pair.start(0);
    assert!(matches!(error, ReadError::OffsetOutOfRange { log_start_offset, .. }
        if log_start_offset == start));
    assert_eq!(pair.logs[1].log_end_offset(), 400);
    assert!(reader.read(&mut ReadCursor::new(start, -1), 1).is_ok());
}

#[test]
fn what_readers_hold_counts() {
    let mut pair = Pair::new(MemoryPolicy::Reject);
    let held = pair.logs[0].reader();
    pair.fill(0);
    let batches = held.read(&mut ReadCursor::new(0, -1), usize::MAX).unwrap();
    let before = pair.storage.used();
    pair.logs[0].advance_log_start(70).unwrap();
    let with_reader = pair.storage.used();
    drop(batches);
    assert!(pair.storage.used() < with_reader && with_reader <= before);
}

#[test]
fn a_full_log_refuses_until_there_is_room() {
    let mut pair = Pair::new(MemoryPolicy::Reject);
    let appended = pair.fill(0);
    assert!((50..84).contains(&appended), "{appended}");
    // Whoever holds it: nothing would be freed.
    let _hold = pair.logs[0].reader().hold(0, true);
    let error = pair.append(0).unwrap_err();
    assert!(matches!(error, AppendError::MemoryFull { limit: BUDGET, waits: false }), "{error}");
    assert_eq!(pair.start(0), 0);
    pair.logs[0].advance_log_start(40).unwrap();
    assert_eq!(pair.append(0).unwrap(), appended as i64);
    pair.append(1).unwrap();
}

#[test]
fn a_full_log_waits_for_its_readers() {
    let mut pair = Pair::new(MemoryPolicy::Block);
    let reader = pair.logs[0].reader();
    let position = reader.register(0);
    let appended = pair.fill(0) as i64;
    assert!(pair.logs[0].blocks_when_full() && pair.start(0) == 0);
    // Of a group, what does not fit stays whole for later, in order.
    let record = |id| Append::new(batch(&[Rec { id, len: RECORD, timestamp: 1 }]));
    let mut group: Vec<Append> = (900..903).map(record).collect();
    pair.logs[0].append(&mut group, Timestamp::NONE);
    let full = |one: &Append| matches!(one.result, Some(Err(AppendError::MemoryFull { .. })));
    assert!(group.iter().all(full));
    position.store(appended / 2, Ordering::Release);
    assert_eq!(pair.append(0).unwrap(), appended);
    let start = pair.start(0);
    assert!(start > 0 && start <= appended / 2);
    pair.fill(0);
    assert!(pair.start(0) <= appended / 2, "the reader has not passed more");
    drop(position);
    pair.append(0).unwrap();
    assert!(pair.start(0) > start, "nobody is left to wait for");
}
