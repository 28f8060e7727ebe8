//! Records with keys, and logs of them.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;

use crate::batch::{Batch, BatchBuilder, BatchHeader, Compression, compress};
use crate::log::tests::parts::{opening, small};
use crate::log::{
    CleanupPolicy, CompactionOptions, CompactionStats, Log, LogConfig, LogReader, Opening,
    ReadCursor,
};
use crate::record::Timestamp;
use crate::storage::Storage;

/// A record; one without a value is a tombstone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Keyed {
    pub(super) key: String,
    pub(super) value: Option<String>,
    pub(super) timestamp: i64,
}

/// `"k=v"`, or `"k"` for a tombstone.
pub(super) fn keyed(text: &str, timestamp: i64) -> Keyed {
    match text.split_once('=') {
        Some((key, value)) => Keyed { key: key.into(), value: Some(value.into()), timestamp },
        None => Keyed { key: text.into(), value: None, timestamp },
    }
}

pub(super) fn text(record: &Keyed) -> String {
    match &record.value {
        Some(value) => format!("{}={value}", record.key),
        None => record.key.clone(),
    }
}

pub(super) fn builder(records: &[Keyed]) -> BatchBuilder {
    let mut builder = BatchBuilder::new(BytesMut::new());
    for record in records {
        let value = record.value.as_ref().map(String::as_bytes);
        builder.push(record.timestamp, Some(record.key.as_bytes()), value, &[]);
    }
    builder
}

/// The records of a batch, with offsets and epoch.
pub(super) fn keyed_of(batch: &Batch) -> Vec<(i64, i32, Keyed)> {
    let string = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("all keys are text");
    let batch = batch.expanded(1 << 20).expect("no codec that is not built in");
    let epoch = batch.header().partition_leader_epoch;
    let records = batch.records().map(|record| {
        let record = record.expect("the batch was checked");
        let key = string(record.key.expect("all have one"));
        let (value, timestamp) = (record.value.map(string), record.timestamp.as_millis());
        (record.offset, epoch, Keyed { key, value, timestamp })
    });
    records.collect()
}

/// All visible batches; they are dense. The first of a read may begin before its position.
pub(super) fn batches(reader: &LogReader, max_bytes: usize) -> io::Result<Vec<Batch>> {
    let mut cursor = ReadCursor::new(reader.log_start_offset(), -1);
    let mut all = Vec::new();
    loop {
        let from = cursor.offset;
        let read = reader.read(&mut cursor, max_bytes).map_err(io::Error::other)?;
        let Some(first) = read.first().map(|it| *it.header()) else { return Ok(all) };
        assert!((first.base_offset..=first.last_offset()).contains(&from), "{first:?} at {from}");
        let follows =
            |pair: &[Batch]| pair[0].header().next_offset() == pair[1].header().base_offset;
        assert!(read.windows(2).all(follows), "a hole behind {from}");
        all.extend(read);
    }
}

pub(super) type Content = BTreeMap<i64, (i32, Keyed)>;

/// All visible records, from the log's start on.
pub(super) fn content(reader: &LogReader, max_bytes: usize) -> io::Result<Content> {
    let start = reader.log_start_offset();
    let batches = batches(reader, max_bytes)?;
    let records = batches.iter().flat_map(keyed_of);
    let visible = records.filter(|(offset, ..)| *offset >= start);
    Ok(visible.map(|(offset, epoch, record)| (offset, (epoch, record))).collect())
}

pub(super) fn compacting() -> LogConfig {
    LogConfig {
        cleanup_policy: CleanupPolicy::Compact,
        delete_retention: Duration::from_millis(2_000),
        ..small()
    }
}

pub(super) fn open(storage: &Arc<dyn Storage>, config: &LogConfig, clean: bool) -> Log {
    let opening = opening(storage.clone(), config.clone());
    Log::open(Opening { clean, ..opening }).expect("no fault is planned").0
}

/// One log, and how its content looks.
pub(super) struct Case {
    pub(super) storage: Arc<dyn Storage>,
    pub(super) config: LogConfig,
    pub(super) log: Log,
    /// How the next batches are compressed.
    pub(super) codec: Compression,
}

impl Case {
    pub(super) fn new(storage: impl Storage, config: LogConfig) -> Case {
        let storage: Arc<dyn Storage> = Arc::new(storage);
        let log = open(&storage, &config, false);
        Case { storage, config, log, codec: Compression::None }
    }

    /// Appends one batch, at timestamps from `timestamp` on.
    pub(super) fn append(&mut self, timestamp: i64, records: &[&str]) {
        let records: Vec<Keyed> =
            records.iter().zip(timestamp..).map(|(it, at)| keyed(it, at)).collect();
        let batch = compress(&builder(&records).finish(), self.codec).unwrap();
        self.log.append_now(batch).unwrap();
    }

    /// Appends one batch of a producer.
    pub(super) fn produce(&mut self, producer_id: i64, sequence: i32, records: &[&str]) {
        let records: Vec<Keyed> = records.iter().map(|it| keyed(it, 5)).collect();
        let mut builder = builder(&records);
        builder.set_producer(producer_id, 0, sequence);
        self.log.append_now(builder.finish()).unwrap();
    }

    pub(super) fn roll(&mut self) {
        self.log.roll_now().unwrap();
    }

    pub(super) fn compact(&mut self, now: i64) -> CompactionStats {
        let plan = self.log.plan_compaction(Timestamp::from_millis(now), true).unwrap().unwrap();
        let done = plan.run(CompactionOptions::default());
        self.log.compacted(done).unwrap().expect("nothing has changed meanwhile")
    }

    pub(super) fn reopen(&mut self) {
        self.log.close().unwrap();
        self.log = open(&self.storage, &self.config, true);
    }

    /// `"offset:k=v"` of all records.
    pub(super) fn records(&self) -> Vec<String> {
        let content = content(&self.log.reader(), 700).unwrap();
        content.iter().map(|(offset, (_, record))| format!("{offset}:{}", text(record))).collect()
    }

    pub(super) fn headers(&self) -> Vec<BatchHeader> {
        let batches = batches(&self.log.reader(), 700).unwrap();
        batches.iter().map(|batch| *batch.header()).collect()
    }

    pub(super) fn bases(&self) -> Vec<i64> {
        self.log.shared.segments().iter().map(|segment| segment.base_offset).collect()
    }
}
