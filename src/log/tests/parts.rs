//! What these tests are made of: dice, records that say who they are, a log's content.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::BytesMut;

use crate::batch::{Batch, BatchBuilder};
use crate::log::{LogConfig, LogReader, Opening, ReadCursor, ReadError};
use crate::storage::Storage;
use crate::topic::{TopicId, TopicPartition};

/// splitmix64: a seed means the same run for ever.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Dice(seed ^ 0x5eed_0fd1_ce00)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    pub(super) fn between(&mut self, from: i64, to: i64) -> i64 {
        from + self.below((to - from).max(0) as u64 + 1) as i64
    }

    pub(super) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// A record as the tests know it: no two have the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rec {
    pub(super) id: u64,
    pub(super) len: usize,
    pub(super) timestamp: i64,
}

impl Rec {
    fn value(&self) -> Vec<u8> {
        let mut value = self.id.to_be_bytes().to_vec();
        value.extend((0..self.len).map(|i| (self.id as usize * 31 + i * 7) as u8));
        value
    }

    fn of(value: &[u8], timestamp: i64) -> Rec {
        let (id, filler) = value.split_at(8);
        let id = u64::from_be_bytes(id.try_into().unwrap());
        let record = Rec { id, len: filler.len(), timestamp };
        assert_eq!(record.value(), value, "bytes that were never written");
        record
    }
}

/// One batch of these records.
pub(super) fn batch(records: &[Rec]) -> BytesMut {
    let mut builder = BatchBuilder::new(BytesMut::new());
    for record in records {
        builder.push(record.timestamp, None, Some(&record.value()), &[]);
    }
    builder.finish()
}

/// The records of a batch, with their offsets and epoch.
pub(super) fn records_of(batch: &Batch) -> Vec<(i64, i32, Rec)> {
    let epoch = batch.header().partition_leader_epoch;
    let record = |record: Result<crate::batch::RecordView<'_>, _>| {
        let record = record.expect("the batch was checked");
        let value = record.value.expect("all have one");
        (record.offset, epoch, Rec::of(value, record.timestamp.as_millis()))
    };
    batch.records().map(record).collect()
}

/// Everything that a log shows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) start: i64,
    pub(super) end: i64,
    pub(super) records: BTreeMap<i64, (i32, Rec)>,
    pub(super) gaps: Vec<(i64, i64)>,
}

impl Content {
    /// Reads it all. Fails only as the storage fails.
    pub(super) fn of(reader: &LogReader, max_bytes: usize) -> io::Result<Content> {
        let (start, end) = (reader.log_start_offset(), reader.high_watermark());
        let mut content = Content { start, end, ..Content::default() };
        let mut cursor = ReadCursor::new(start, -1);
        while cursor.offset < end {
            let from = cursor.offset;
            match reader.read(&mut cursor, max_bytes) {
                Ok(batches) => content.take_in(&batches, from),
                Err(ReadError::Corrupt { from: gap, to }) => {
                    assert!(gap == from && to > gap && cursor.offset == to, "{gap}..{to}");
                    content.gaps.push((gap, to));
                }
                Err(ReadError::Io(error)) => return Err(io::Error::new(error.kind(), error)),
                Err(error) => panic!("reading at {from}: {error}"),
            }
            assert!(cursor.offset > from, "no way on at {from}");
        }
        assert_eq!(cursor.offset, end);
        Ok(content)
    }

    fn take_in(&mut self, batches: &[Batch], from: i64) {
        assert!(!batches.is_empty(), "nothing at {from}, below the end {}", self.end);
        assert!(batches[0].header().last_offset() >= from, "a batch before {from}");
        let mut expected = batches[0].header().base_offset;
        assert!(expected <= from, "the first batch is behind {from}");
        for batch in batches {
            assert_eq!(batch.header().base_offset, expected);
            expected = batch.header().next_offset();
            for (offset, epoch, record) in records_of(batch) {
                if offset >= self.start {
                    let earlier = self.records.insert(offset, (epoch, record));
                    assert!(earlier.is_none() || earlier == Some((epoch, record)));
                }
            }
        }
        let epochs: Vec<i32> = self.records.values().map(|(epoch, _)| *epoch).collect();
        assert!(epochs.is_sorted(), "epochs fall: {epochs:?}");
    }
}

pub(super) fn opening(storage: Arc<dyn Storage>, config: LogConfig) -> Opening {
    Opening {
        storage,
        dir: PathBuf::from("t-0"),
        partition: TopicPartition::new("t", 0).unwrap(),
        topic_id: TopicId([7; 16]),
        config,
        clean: false,
        min_epoch: 0,
        log_start_offset: 0,
        sparse: false,
        recovery_point: None,
        pressure: None,
    }
}

/// Small segments, no retention.
pub(super) fn small() -> LogConfig {
    LogConfig {
        segment_bytes: 2048,
        index_interval_bytes: 200,
        retention: None,
        sync_before_visible: true,
        ..LogConfig::default()
    }
}
