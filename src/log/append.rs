//! Appending a group of batches with one write.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::BytesMut;

use crate::batch::{self, BatchHeader};
use crate::record::{Timestamp, TimestampType};
use crate::storage::MemoryPolicy;

use super::Log;
use super::error::AppendError;
use super::producers::{ProducerBatch, Verdict};
use super::segment::Segment;

/// In memory a segment is this large at most, so that memory is freed in small steps.
const MEMORY_SEGMENT_BYTES: u64 = 1 << 20;

/// One batch to append, and what became of it.
#[derive(Debug)]
pub struct Append {
    /// The encoded batch. Base offset and leader epoch are set in place. The bytes stay here, so
    /// that the producer can use the buffer again.
    pub batch: BytesMut,
    /// `None` until [`Log::append`] has seen it.
    pub result: Option<Result<Appended, AppendError>>,
}

impl Append {
    /// A batch to append.
    pub fn new(batch: BytesMut) -> Self {
        Append { batch, result: None }
    }
}

/// Where a batch now stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Its first offset.
    pub base_offset: i64,
    /// Its last offset.
    pub last_offset: i64,
    /// The time it was given, under LogAppendTime.
    pub log_append_time: Option<Timestamp>,
}

/// A batch that has passed its checks and waits for the write.
struct Prepared {
    index: usize,
    header: BatchHeader,
    position: u64,
}

/// Batches that go into the active segment with one write.
#[derive(Default)]
struct Run {
    prepared: Vec<Prepared>,
    bytes: u64,
}

/// What came of preparing one batch.
enum Preparation {
    Ready(BatchHeader),
    /// Appended before: an idempotent producer sent it again.
    Duplicate(Appended),
}

impl Log {
    /// Appends each batch of the group, or says why not. As few writes as rolls allow. Nothing is
    /// visible before [`Log::publish`].
    ///
    /// Under the `Block` policy a batch may come back with [`AppendError::MemoryFull`]: it and all
    /// after it were not appended.
    pub fn append(&mut self, group: &mut [Append], now: Timestamp) {
        let mut next = 0;
        while next < group.len() {
            next = self.append_run(group, next, now);
        }
    }

    /// Gathers batches from `next` on and writes them; returns where to go on.
    fn append_run(&mut self, group: &mut [Append], mut next: usize, now: Timestamp) -> usize {
        let mut run = Run::default();
        let mut end = self.shared.log_end();
        while next < group.len() {
            let one = &mut group[next];
            let prepared = match self.prepare(&one.batch) {
                Ok(Preparation::Ready(header)) => header,
                Ok(Preparation::Duplicate(appended)) if run.prepared.is_empty() => {
                    one.result = Some(Ok(appended));
                    next += 1;
                    continue;
                }
                // What the run's own batches may have changed is judged after they are written.
                _ if !run.prepared.is_empty() => break,
                Ok(Preparation::Duplicate(_)) => break,
                Err(error) => {
                    one.result = Some(Err(error));
                    next += 1;
                    continue;
                }
            };
            if !run.prepared.is_empty()
                && (self.must_roll(&prepared, run.bytes) || run.has_producer(prepared.producer_id))
            {
                break;
            }
            if run.prepared.is_empty()
                && let Err(error) = self.make_ready(&prepared)
            {
                one.result = Some(Err(error));
                next += 1;
                continue;
            }
            let Some(past) = end.checked_add(i64::from(prepared.last_offset_delta) + 1) else {
                one.result = Some(Err(AppendError::OffsetsExhausted));
                next += 1;
                continue;
            };
            let header = self.stamp(&mut one.batch, end, now);
            run.push(next, header);
            end = past;
            next += 1;
        }
        self.write_run(group, run);
        next
    }

    /// The checks that need nothing but the batch and the producers' state.
    fn prepare(&self, bytes: &[u8]) -> Result<Preparation, AppendError> {
        if let Some(failure) = &self.failure {
            return Err(AppendError::ReadOnly(failure.clone()));
        }
        let header = BatchHeader::parse(bytes)?;
        let (size, limit) = (bytes.len(), self.config.max_message_bytes);
        if size > limit {
            return Err(AppendError::TooLarge { size, limit });
        }
        if size as u64 > self.config.segment_bytes {
            return Err(AppendError::LargerThanSegment { size, limit: self.config.segment_bytes });
        }
        if !header.has_producer_id() {
            return Ok(Preparation::Ready(header));
        }
        match self.producers.check(&ProducerBatch::of(&header))? {
            Verdict::Append => Ok(Preparation::Ready(header)),
            Verdict::Duplicate { base_offset, .. } => Ok(Preparation::Duplicate(Appended {
                base_offset,
                last_offset: base_offset + i64::from(header.last_offset_delta),
                log_append_time: None,
            })),
        }
    }

    /// Sees to a segment with room for the batch, and to the epoch's beginning.
    fn make_ready(&mut self, header: &BatchHeader) -> Result<(), AppendError> {
        if self.active.is_none() || self.must_roll(header, 0) {
            self.roll().map_err(|error| self.classify(error, "a new segment"))?;
        }
        self.begin_epoch().map_err(|error| self.fail(error))?;
        self.make_room(header.size())
    }

    /// In memory: frees oldest segments until the batch fits, as the policy allows.
    fn make_room(&mut self, len: usize) -> Result<(), AppendError> {
        let Some(pressure) = self.pressure.clone() else { return Ok(()) };
        let active = self.active_segment();
        while !active.file.room_for(len) {
            if pressure.relieve() {
                continue;
            }
            match pressure.policy() {
                // Nothing is left to drop but what is being written: go over, by one segment.
                MemoryPolicy::DropOldest => return Ok(()),
                MemoryPolicy::Reject | MemoryPolicy::Block => {
                    return Err(AppendError::MemoryFull { limit: pressure.limit() });
                }
            }
        }
        Ok(())
    }

    fn active_segment(&self) -> Arc<Segment> {
        self.active.as_ref().expect("make_ready has seen to it").segment.clone()
    }

    /// Whether the batch belongs into a new segment, after `pending` more bytes in this one.
    fn must_roll(&self, header: &BatchHeader, pending: u64) -> bool {
        let Some(active) = &self.active else { return false };
        let filled = active.segment.size() + pending;
        if filled == 0 {
            return false;
        }
        let limit = match self.shared.verify {
            true => self.config.segment_bytes.min(i32::MAX as u64),
            false => self.config.segment_bytes.min(MEMORY_SEGMENT_BYTES),
        };
        let age = self.config.segment_age.as_millis().min(i64::MAX as u128) as i64;
        let span = active.first_timestamp.map_or(0, |t| header.max_timestamp.saturating_sub(t));
        let last = self.shared.log_end().saturating_add(i64::from(header.last_offset_delta));
        filled + header.size() as u64 > limit
            || span > age
            || last - active.segment.base_offset > i64::from(i32::MAX) / 2
    }

    /// Writes offset, epoch and (under LogAppendTime) time into the batch's header.
    fn stamp(&self, bytes: &mut [u8], base_offset: i64, now: Timestamp) -> BatchHeader {
        batch::patch(bytes, base_offset, self.leader_epoch);
        if self.config.timestamp_type == TimestampType::LogAppendTime {
            batch::set_log_append_time(bytes, now.as_millis());
        }
        BatchHeader::parse(bytes).expect("it parsed before, and stays within its limits")
    }

    fn write_run(&mut self, group: &mut [Append], run: Run) {
        if run.prepared.is_empty() {
            return;
        }
        let segment = self.active_segment();
        let position = segment.size();
        let parts: Vec<&[u8]> = run.prepared.iter().map(|p| &group[p.index].batch[..]).collect();
        match segment.file.append(position, &parts) {
            Ok(()) => self.wrote_run(group, run, &segment, position),
            Err(error) => {
                let error = self.failed_write(&segment, position, error);
                for prepared in run.prepared {
                    group[prepared.index].result = Some(Err(error.clone()));
                }
            }
        }
    }

    fn wrote_run(&mut self, group: &mut [Append], run: Run, segment: &Segment, position: u64) {
        let bytes = run.bytes;
        for prepared in run.prepared {
            self.note(segment, &prepared.header, position + prepared.position);
            let header = &prepared.header;
            let stamped = header.timestamp_type() == TimestampType::LogAppendTime;
            group[prepared.index].result = Some(Ok(Appended {
                base_offset: header.base_offset,
                last_offset: header.last_offset(),
                log_append_time: stamped.then(|| Timestamp::from_millis(header.max_timestamp)),
            }));
            self.shared.log_end.store(header.next_offset(), Ordering::Release);
        }
        segment.set_size(position + bytes);
    }

    fn note(&mut self, segment: &Segment, header: &BatchHeader, position: u64) {
        let active = self.active.as_mut().expect("a batch was just written to it");
        let indexed = active.bytes_since_index > self.config.index_interval_bytes;
        segment.write_indexes().note(header, position, indexed);
        active.bytes_since_index = if indexed { 0 } else { active.bytes_since_index };
        active.bytes_since_index += header.size() as u64;
        active.first_timestamp.get_or_insert(header.max_timestamp);
        if header.has_producer_id() {
            self.producers.applied(&ProducerBatch::of(header), header.base_offset);
        }
    }

    /// After a write that failed, the file's end is unknown. Where the disk was full it is cut
    /// back, and the log goes on; anything else makes it read-only.
    fn failed_write(&mut self, segment: &Segment, size: u64, error: io::Error) -> AppendError {
        if is_full(&error) && segment.file.truncate(size).is_ok() {
            return self.classify(error, "the active segment");
        }
        self.fail(error)
    }

    fn classify(&mut self, error: io::Error, what: &str) -> AppendError {
        if is_full(&error) {
            let what = format!("{what} of {}", self.partition);
            return AppendError::StorageFull { what };
        }
        self.fail(error)
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

impl Run {
    fn push(&mut self, index: usize, header: BatchHeader) {
        let position = self.bytes;
        self.bytes += header.size() as u64;
        self.prepared.push(Prepared { index, header, position });
    }

    /// A second batch of one producer is checked after the first is in its state.
    fn has_producer(&self, producer_id: i64) -> bool {
        producer_id >= 0 && self.prepared.iter().any(|p| p.header.producer_id == producer_id)
    }
}
