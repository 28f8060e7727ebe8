//! Appending a group of batches with one write.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::BytesMut;

use crate::batch::{self, BatchError, BatchHeader};
use crate::record::{Timestamp, TimestampType};
use crate::storage::{MemoryPolicy, is_full};

use super::error::AppendError;
use super::producers::{ProducerBatch, Verdict};
use super::segment::Segment;
use super::{Active, Log};

/// Fewer bytes than this go to the page cache at once.
const CACHE_BYTES: usize = 64 * 1024;

/// In memory a segment is this large at most, so that memory is freed in small steps.
pub(super) const MEMORY_SEGMENT_BYTES: u64 = 1 << 20;

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

impl Appended {
    /// How many offsets it takes.
    pub fn records(&self) -> usize {
        usize::try_from(self.last_offset - self.base_offset + 1).unwrap_or(0)
    }
}

/// A batch that has passed its checks and waits for the write.
struct Prepared {
    index: usize,
    header: BatchHeader,
    position: u64,
}

/// Batches that go into the active segment with one write.
struct Run {
    first: Option<Prepared>,
    /// Mostly there are none, and nothing is allocated.
    rest: Vec<Prepared>,
    bytes: u64,
    /// The offset of the next record.
    end: i64,
    now: Timestamp,
}

/// What becomes of a batch.
enum Admission {
    Take(BatchHeader),
    /// To be judged again when the run so far has been written.
    NotYet,
    /// Appended before: an idempotent producer sent it again.
    Duplicate(Appended),
    Refuse(AppendError),
}

impl Log {
    /// Appends each batch of the group, or says why not. As few writes as rolls allow. Nothing is
    /// visible before [`Log::publish`].
    ///
    /// A batch may come back with an error that it is to wait after ([`AppendError::waits`]): then
    /// neither it nor any after it was appended.
    pub fn append(&mut self, group: &mut [Append], now: Timestamp) {
        let mut next = 0;
        while next < group.len() {
            next = self.append_run(group, next, now);
            let last = group[next - 1].result.as_ref();
            if let Some(Err(full)) = last
                && full.waits()
            {
                let full = full.clone();
                group[next..].iter_mut().for_each(|one| one.result = Some(Err(full.clone())));
                return;
            }
        }
    }

    /// Whether an append of so many bytes may take longer than a short write to the page cache:
    /// there are many, they need a sync, or files have to be made or removed first. That a segment
    /// has become too old can't be told before.
    pub fn may_wait(&self, bytes: usize) -> bool {
        if self.shared.storage.is_volatile() {
            return false;
        }
        let Some(active) = &self.active else { return true };
        bytes >= CACHE_BYTES
            || self.config.sync_before_visible
            || active.segment.size() + bytes as u64 > self.segment_limit()
            || self.is_above_max(bytes as u64)
            || !self.has_begun_epoch()
    }

    /// Gathers batches from `next` on and writes them; returns where to go on, at least one
    /// further. A refused batch ends the run, so that it is the last that was looked at.
    fn append_run(&mut self, group: &mut [Append], mut next: usize, now: Timestamp) -> usize {
        let end = self.shared.log_end();
        let mut run = Run { first: None, rest: Vec::new(), bytes: 0, end, now };
        while let Some(one) = group.get_mut(next) {
            match self.admit(&run, &one.batch) {
                Admission::Take(header) => {
                    run.push(next, self.stamp(&mut one.batch, header, run.end, now));
                }
                Admission::NotYet => break,
                Admission::Duplicate(appended) => one.result = Some(Ok(appended)),
                Admission::Refuse(error) => {
                    self.count_refused(&error);
                    one.result = Some(Err(error));
                    next += 1;
                    break;
                }
            }
            next += 1;
        }
        self.write_run(group, &run);
        next
    }

    /// What waits for memory will be tried again.
    fn count_refused(&self, error: &AppendError) {
        if !error.waits() {
            self.shared.counters.refused();
        }
    }

    /// Judges a batch. Only the first of a run may change the log: roll it, make room.
    fn admit(&mut self, run: &Run, bytes: &[u8]) -> Admission {
        let checked = self.check(bytes);
        if run.first.is_some() {
            return match checked {
                Admission::Take(header) if self.joins(run, &header) => Admission::Take(header),
                _ => Admission::NotYet,
            };
        }
        match checked {
            Admission::Take(header) => match self.make_ready(&header) {
                Ok(()) => Admission::Take(header),
                Err(error) => Admission::Refuse(error),
            },
            other => other,
        }
    }

    /// Whether a sound batch can be written together with the run so far.
    fn joins(&self, run: &Run, header: &BatchHeader) -> bool {
        let Some(active) = &self.active else { return false };
        // A second batch of one producer is checked after the first is in its state.
        let same_producer = |p: &Prepared| p.header.producer_id == header.producer_id;
        let known = header.has_producer_id() && run.prepared().any(same_producer);
        !known
            && !self.must_roll(header, run.bytes)
            && !self.is_above_max(run.bytes + header.size() as u64)
            && active.segment.file.room_for(run.bytes as usize + header.size())
            && run.end.checked_add(i64::from(header.last_offset_delta) + 1).is_some()
    }

    fn check(&self, bytes: &[u8]) -> Admission {
        self.try_check(bytes).unwrap_or_else(Admission::Refuse)
    }

    /// The checks that need nothing but the batch and the producers' state.
    fn try_check(&self, bytes: &[u8]) -> Result<Admission, AppendError> {
        self.check_writable()?;
        let header = BatchHeader::parse(bytes)?;
        if header.size() != bytes.len() {
            let (needed, have) = (header.size(), bytes.len());
            return Err(BatchError::Truncated { needed, have }.into());
        }
        let (size, limit) = (bytes.len(), self.config.max_message_bytes);
        if size > limit {
            return Err(AppendError::TooLarge { size, limit });
        }
        if size as u64 > self.config.segment_bytes {
            return Err(AppendError::LargerThanSegment { size, limit: self.config.segment_bytes });
        }
        self.check_keys(bytes, &header)?;
        if !header.has_producer_id() {
            return Ok(Admission::Take(header));
        }
        match self.producers.check(&ProducerBatch::of(&header))? {
            Verdict::Append => Ok(Admission::Take(header)),
            Verdict::Duplicate { base_offset, timestamp } => {
                let stamped = self.config.timestamp_type == TimestampType::LogAppendTime;
                Ok(Admission::Duplicate(Appended {
                    base_offset,
                    last_offset: base_offset + i64::from(header.last_offset_delta),
                    log_append_time: stamped.then(|| Timestamp::from_millis(timestamp)),
                }))
            }
        }
    }

    /// On a compacted topic every record needs a key. Whoever takes records one by one had better
    /// look at each; this looks at those that are not compressed, as a last guard. (Compaction
    /// drops what has no key, as Kafka's does.)
    fn check_keys(&self, bytes: &[u8], header: &BatchHeader) -> Result<(), AppendError> {
        if !self.config.cleanup_policy.compacts() || header.is_control() {
            return Ok(());
        }
        match batch::first_without_key(bytes)? {
            Some(index) => Err(AppendError::MissingKey { index }),
            None => Ok(()),
        }
    }

    /// Sees to a segment with room for the batch, and to the epoch's beginning.
    fn make_ready(&mut self, header: &BatchHeader) -> Result<(), AppendError> {
        let last = self.shared.log_end().checked_add(i64::from(header.last_offset_delta) + 1);
        last.ok_or(AppendError::OffsetsExhausted)?;
        // First: on a full disk it may be what makes room for the rest.
        self.stay_below_max(header.size() as u64)?;
        if self.active.is_none() || self.must_roll(header, 0) {
            self.roll().map_err(|error| self.classify(error, "a new segment"))?;
        }
        self.begin_epoch().map_err(|error| self.classify(error, "the leader epochs"))?;
        self.make_room(header.size())
    }

    /// In memory: frees oldest segments until the batch fits, as the policy allows.
    fn make_room(&mut self, len: usize) -> Result<(), AppendError> {
        let has_room = |active: &Active| active.segment.file.room_for(len);
        if self.pressure.is_none() || self.active.as_ref().is_some_and(has_room) {
            return Ok(());
        }
        let Some(pressure) = self.pressure.clone() else { return Ok(()) };
        while !self.active_segment().file.room_for(len) {
            if pressure.relieve() {
                continue;
            }
            let can_drop = pressure.policy() != MemoryPolicy::Reject;
            if can_drop && self.active_segment().size() > 0 {
                // What is being written is next, once it is closed.
                self.roll().map_err(|error| self.classify(error, "a new segment"))?;
                continue;
            }
            match pressure.policy() {
                // The others write as well, and have nothing else either: go over, by one batch.
                MemoryPolicy::DropOldest if !pressure.is_held() => return Ok(()),
                MemoryPolicy::Block if !pressure.has_closed_segments() => return Ok(()),
                _ => {
                    // Under `Reject` nothing would be freed for who waits.
                    let waits = can_drop && self.blocks_when_full();
                    return Err(AppendError::MemoryFull { limit: pressure.limit(), waits });
                }
            }
        }
        Ok(())
    }

    fn active_segment(&self) -> Arc<Segment> {
        self.active.as_ref().expect("make_ready has seen to it").segment.clone()
    }

    /// The size at which a segment is ended.
    pub(super) fn segment_limit(&self) -> u64 {
        let limit = match &self.pressure {
            None if self.shared.verify => i32::MAX as u64,
            None => MEMORY_SEGMENT_BYTES,
            Some(pressure) => MEMORY_SEGMENT_BYTES.min(pressure.segment_bytes()),
        };
        let part = self.config.max_bytes.map_or(u64::MAX, |max| max / 8);
        limit.min(part).min(self.config.segment_bytes)
    }

    /// Whether the batch belongs into a new segment, after `pending` more bytes in this one.
    fn must_roll(&self, header: &BatchHeader, pending: u64) -> bool {
        let Some(active) = &self.active else { return false };
        let filled = active.segment.size() + pending;
        if filled == 0 {
            return false;
        }
        let limit = self.segment_limit();
        let age = self.config.segment_age.as_millis().min(i64::MAX as u128) as i64;
        let span = active.first_timestamp.map_or(0, |t| header.max_timestamp.saturating_sub(t));
        let last = self.shared.log_end().saturating_add(i64::from(header.last_offset_delta));
        filled + header.size() as u64 > limit
            || span > age
            || last - active.segment.base_offset > i64::from(i32::MAX) / 2
    }

    /// Writes offset, epoch and (under LogAppendTime) time into the batch's `header`, and returns
    /// what that is then.
    fn stamp(
        &self,
        bytes: &mut [u8],
        header: BatchHeader,
        base_offset: i64,
        now: Timestamp,
    ) -> BatchHeader {
        let partition_leader_epoch = self.leader_epoch;
        batch::patch(bytes, base_offset, partition_leader_epoch);
        if self.config.timestamp_type == TimestampType::LogAppendTime {
            batch::set_log_append_time(bytes, now.as_millis());
            return BatchHeader::parse(bytes)
                .expect("it parsed before, and stays within its limits");
        }
        BatchHeader { base_offset, partition_leader_epoch, ..header }
    }

    fn write_run(&mut self, group: &mut [Append], run: &Run) {
        let Some(first) = &run.first else { return };
        let segment = self.active_segment();
        let position = segment.size();
        let bytes_of = |prepared: &Prepared| &group[prepared.index].batch[..];
        let written = match run.rest.is_empty() {
            true => segment.file.append(position, &[bytes_of(first)]),
            false => {
                let parts: Vec<&[u8]> = run.prepared().map(bytes_of).collect();
                segment.file.append(position, &parts)
            }
        };
        match written {
            Ok(()) => self.wrote_run(group, run, &segment, position),
            Err(error) => {
                let error = self.failed_write(&segment, position, error);
                for prepared in run.prepared() {
                    self.count_refused(&error);
                    group[prepared.index].result = Some(Err(error.clone()));
                }
            }
        }
    }

    fn wrote_run(&mut self, group: &mut [Append], run: &Run, segment: &Segment, position: u64) {
        let bytes = run.bytes;
        let records = run.end - self.shared.log_end();
        let batches = 1 + run.rest.len() as u64;
        self.shared.counters.appended(records as u64, batches, bytes);
        for prepared in run.prepared() {
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
        self.unsettled.add(bytes, run.now);
        segment.set_size(position + bytes);
        segment.note_written(position..position + bytes, run.now);
    }

    fn note(&mut self, segment: &Segment, header: &BatchHeader, position: u64) {
        self.warn_if_expired(header);
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
}

impl Run {
    fn push(&mut self, index: usize, header: BatchHeader) {
        let position = self.bytes;
        self.bytes += header.size() as u64;
        self.end = header.next_offset();
        let prepared = Prepared { index, header, position };
        match &self.first {
            None => self.first = Some(prepared),
            Some(_) => self.rest.push(prepared),
        }
    }

    fn prepared(&self) -> impl Iterator<Item = &Prepared> {
        self.first.iter().chain(&self.rest)
    }
}
