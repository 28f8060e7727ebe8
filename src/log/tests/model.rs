//! The log against a model that is a list of records, in memory and on a disk that works.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use crate::log::tests::parts::{Content, Rec, batch, opening, records_of, small};
use crate::log::{Append, Log, LogConfig, Opening, ReadCursor, ReadError};
use crate::record::Timestamp;
use crate::storage::{MemoryStorage, SimDisk, Storage};

#[derive(Debug, Clone)]
enum Op {
    /// Groups of batches of records, each so many bytes long and so much later (or earlier).
    Append(Vec<Vec<(usize, i64)>>),
    Sync,
    Publish,
    Roll,
    /// From a place in per mille of the log, so many bytes at most.
    Read(i64, usize),
    Time(i64),
    Truncate(i64),
    AdvanceStart(i64),
    RetainBytes(u64),
    RetainTime(i64),
    Checkpoint,
    Reopen,
}

fn op() -> impl Strategy<Value = Op> {
    let record = (0..200usize, -300..600i64);
    let group = prop::collection::vec(prop::collection::vec(record, 1..6), 1..6);
    prop_oneof![
        8 => group.prop_map(Op::Append),
        2 => Just(Op::Sync),
        4 => Just(Op::Publish),
        1 => Just(Op::Roll),
        6 => (0..=1050i64, 0..5000usize).prop_map(|(at, bytes)| Op::Read(at, bytes)),
        3 => (0..20_000i64).prop_map(Op::Time),
        1 => (0..=1000i64).prop_map(Op::Truncate),
        1 => (0..=1000i64).prop_map(Op::AdvanceStart),
        1 => (0..10_000u64).prop_map(Op::RetainBytes),
        1 => (0..20_000i64).prop_map(Op::RetainTime),
        1 => Just(Op::Checkpoint),
        1 => Just(Op::Reopen),
    ]
}

struct Model {
    log: Log,
    disk: Option<SimDisk>,
    config: LogConfig,
    /// All records by offset, those that were removed too; and the batches' first offsets.
    records: Vec<(i32, Rec)>,
    batches: Vec<i64>,
    start: i64,
    synced: i64,
    visible: i64,
    now: i64,
    next_id: u64,
}

impl Model {
    fn new(storage: Arc<dyn Storage>, disk: Option<SimDisk>, config: LogConfig) -> Self {
        Model {
            log: Log::open(opening(storage, config.clone())).expect("it is new").0,
            disk,
            config,
            records: Vec::new(),
            batches: Vec::new(),
            start: 0,
            synced: 0,
            visible: 0,
            now: 5_000,
            next_id: 0,
        }
    }

    fn end(&self) -> i64 {
        self.records.len() as i64
    }

    fn offset(&self, per_mille: i64) -> i64 {
        self.start + (self.end() - self.start) * per_mille / 1000
    }

    fn apply(&mut self, op: &Op) {
        match op {
            Op::Append(group) => self.append(group),
            Op::Sync => {
                self.log.sync().unwrap();
                self.synced = self.end();
            }
            Op::Publish => self.publish(),
            Op::Roll => self.log.roll_now().unwrap(),
            Op::Read(at, max_bytes) => self.read(self.offset(*at), *max_bytes),
            Op::Time(timestamp) => self.find(*timestamp),
            Op::Truncate(at) => self.truncate(self.offset(*at)),
            Op::AdvanceStart(at) => {
                let to = self.offset(*at);
                self.log.advance_log_start(to).unwrap();
                self.start = self.start.max(to.min(self.visible));
            }
            Op::RetainBytes(limit) => self.retain(None, Some(*limit)),
            Op::RetainTime(age) => self.retain(Some(*age), None),
            Op::Checkpoint => {
                let Some(plan) = self.log.checkpoint().unwrap() else { return };
                self.log.checkpointed(plan.run()).unwrap();
                self.synced = self.end();
            }
            Op::Reopen => self.reopen(),
        }
    }

    fn append(&mut self, group: &[Vec<(usize, i64)>]) {
        let mut appends = Vec::new();
        let (first, epoch) = (self.end(), self.log.leader_epoch);
        for sizes in group {
            let mut records = Vec::new();
            for (len, later) in sizes {
                self.now = (self.now + later).max(0);
                self.next_id += 1;
                records.push(Rec { id: self.next_id, len: *len, timestamp: self.now });
            }
            appends.push(Append::new(batch(&records)));
            self.batches.push(self.end());
            self.records.extend(records.iter().map(|record| (epoch, *record)));
        }
        self.log.append(&mut appends, Timestamp::NONE);
        let mut expected = first;
        for (append, sizes) in appends.into_iter().zip(group) {
            let appended = append.result.expect("each has one").expect("nothing fails");
            assert_eq!(appended.base_offset, expected);
            expected = appended.last_offset + 1;
            assert_eq!(expected - appended.base_offset, sizes.len() as i64);
        }
        assert_eq!((expected, self.log.log_end_offset()), (self.end(), self.end()));
    }

    fn publish(&mut self) {
        let durable = if self.config.sync_before_visible { self.synced } else { self.end() };
        self.visible = self.visible.max(durable);
        assert_eq!(self.log.publish(), self.visible);
    }

    fn read(&self, offset: i64, max_bytes: usize) {
        let reader = self.log.reader();
        let mut cursor = ReadCursor::new(offset, -1);
        let result = reader.read(&mut cursor, max_bytes);
        if offset < self.start || offset > self.end() {
            assert!(matches!(result, Err(ReadError::OffsetOutOfRange { .. })), "{result:?}");
            return;
        }
        let batches = result.unwrap();
        assert_eq!(batches.is_empty(), offset >= self.visible);
        let Some(first) = batches.first().map(|first| first.header().base_offset) else { return };
        let holder = self.batches.partition_point(|base| *base <= offset) - 1;
        assert_eq!(first, self.batches[holder]);
        let bytes: usize = batches.iter().map(|batch| batch.bytes().len()).sum();
        assert!(batches.len() == 1 || bytes <= max_bytes);
        let mut at = first;
        for (found, epoch, record) in batches.iter().flat_map(records_of) {
            assert_eq!((found, epoch, record), (at, self.records[at as usize].0, record));
            assert_eq!(record, self.records[at as usize].1);
            at += 1;
        }
        assert!(at == cursor.offset && at <= self.visible);
        assert_eq!(cursor.leader_epoch, self.records[at as usize - 1].0);
    }

    fn find(&self, timestamp: i64) {
        let found = self.log.reader().offset_for_timestamp(timestamp).unwrap();
        let (start, end) = (self.start as usize, self.visible as usize);
        let visible = &self.records[start.min(end)..end];
        let wanted = visible.iter().position(|(_, record)| record.timestamp >= timestamp);
        let wanted = wanted.map(|i| ((start + i) as i64, visible[i].1.timestamp, visible[i].0));
        let found = found.map(|found| (found.offset, found.timestamp, found.leader_epoch));
        assert_eq!(found, wanted, "from {timestamp} on");
    }

    fn truncate(&mut self, offset: i64) {
        let epoch = self.log.leader_epoch;
        self.log.truncate(offset).unwrap();
        if offset >= self.end() {
            return;
        }
        let kept = self.batches.partition_point(|base| *base <= offset) - 1;
        // Deleted offsets are never given out again.
        let end = self.batches[kept].max(self.start);
        self.batches.truncate(kept);
        self.records.truncate(end as usize);
        self.synced = self.synced.min(end);
        self.visible = self.visible.min(end);
        assert_eq!((self.log.log_end_offset(), self.log.leader_epoch), (end, epoch + 1));
    }

    fn retain(&mut self, age: Option<i64>, limit: Option<u64>) {
        let segments = self.log.shared.segments().clone();
        let config = LogConfig {
            retention: age.map(|age| Duration::from_millis(age as u64)),
            retention_bytes: limit,
            ..self.config.clone()
        };
        self.log.configure(config);
        self.log.enforce_retention(Timestamp::from_millis(self.now)).unwrap();
        self.log.configure(self.config.clone());
        let mut left: u64 = segments.iter().map(|segment| segment.size()).sum();
        let mut start = segments.first().map_or(self.start, |segment| segment.base_offset);
        for (i, segment) in segments.iter().enumerate() {
            let next = segments.get(i + 1).map_or(self.end(), |next| next.base_offset);
            let records = &self.records[segment.base_offset as usize..next as usize];
            let latest = records.iter().map(|(_, record)| record.timestamp).max();
            let too_old = age.is_some_and(|age| latest.is_some_and(|at| at < self.now - age));
            let too_much = limit.is_some_and(|limit| left - segment.size() >= limit);
            let visible = next <= self.visible;
            if !(too_old || too_much) || !visible || records.is_empty() {
                break;
            }
            left -= segment.size();
            start = next;
        }
        self.start = self.start.max(start);
        assert_eq!(self.log.reader().log_start_offset(), self.start);
    }

    fn reopen(&mut self) {
        let Some(disk) = self.disk.clone() else { return };
        self.log.close().unwrap();
        let opening = opening(Arc::new(disk), self.config.clone());
        let opening = Opening { clean: true, log_start_offset: self.start, ..opening };
        let (log, report) = Log::open(opening).unwrap();
        assert!(report.is_clean());
        assert_eq!(log.leader_epoch, self.log.leader_epoch);
        self.log = log;
        self.synced = self.end();
        self.visible = self.end();
    }

    fn check(&self) {
        let reader = self.log.reader();
        assert_eq!((reader.log_start_offset(), reader.log_end_offset()), (self.start, self.end()));
        assert_eq!(reader.high_watermark(), self.visible);
        let content = Content::of(&reader, 700).unwrap();
        let range = self.start.min(self.visible)..self.visible;
        let wanted = range.map(|offset| (offset, self.records[offset as usize]));
        assert!(content.gaps.is_empty() && content.records.into_iter().eq(wanted));
        let limit = if self.disk.is_some() { self.config.segment_bytes } else { 1 << 20 };
        assert!(self.log.shared.segments().iter().all(|segment| segment.size() <= limit));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn a_log_is_a_list_of_records(
        ops in prop::collection::vec(op(), 1..60),
        in_memory in any::<bool>(),
        segment_bytes in 1400..6000u64,
        segment_age in 500..20_000u64,
        index_interval_bytes in 0..800u64,
        sync_before_visible in any::<bool>(),
    ) {
        let segment_age = Duration::from_millis(segment_age);
        let config = LogConfig {
            segment_bytes,
            segment_age,
            index_interval_bytes,
            sync_before_visible,
            ..small()
        };
        let mut model = match in_memory {
            true => Model::new(Arc::new(MemoryStorage::new(1 << 28)), None, config),
            false => {
                let disk = SimDisk::new(1);
                Model::new(Arc::new(disk.clone()), Some(disk), config)
            }
        };
        for op in &ops {
            model.apply(op);
            model.check();
        }
    }
}
