//! Reading a log while its writer appends, rolls, truncates and retires.
//!
//! Any number of readers work at the same time, and none waits for an append. A reader sees whole
//! batches below the high watermark, and checks every one that comes from a disk: CRC, offset and
//! epoch. What was read counts only if its segment was the log's, and nothing was truncated,
//! until after the read; otherwise the position is resolved again.
//!
//! [`range`] is for whoever sends batches from their files without reading them.

#[cfg(feature = "tcp")]
mod range;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use crate::batch::{Batch, BatchHeader, DEFAULT_MAX_DECOMPRESSED_BYTES};

use super::counters::LogStats;
use super::error::ReadError;
use super::scan::{Step, Walk};
use super::segment::Segment;
use super::shared::Shared;

#[cfg(feature = "tcp")]
pub use range::FileRange;

/// How much a search through a segment reads at a time.
const SEARCH_CHUNK: usize = 64 * 1024;

/// A handle for reading a log.
#[derive(Debug, Clone)]
pub struct LogReader(pub(super) Arc<Shared>);

/// Where a reader stands. Keep it between reads: it remembers the byte position.
#[derive(Debug, Clone)]
pub struct ReadCursor {
    /// The next offset to read.
    pub offset: i64,
    /// The leader epoch of the record before it; -1 if unknown (then truncation goes unnoticed).
    pub leader_epoch: i32,
    hint: Option<Place>,
}

/// The batch that begins with `offset` begins at this byte of the segment.
#[derive(Debug, Clone)]
struct Place {
    segment: Arc<Segment>,
    position: u64,
    offset: i64,
}

impl Place {
    fn start_of(segment: Arc<Segment>) -> Self {
        Place { position: 0, offset: segment.base_offset, segment }
    }
}

impl ReadCursor {
    /// A cursor at `offset`, whose previous record had `leader_epoch` (-1 if unknown).
    pub fn new(offset: i64, leader_epoch: i32) -> Self {
        ReadCursor { offset, leader_epoch, hint: None }
    }

    /// The bytes before where it stands were read, and are sound.
    fn note_checked(&self, bytes: u64) {
        if let Some(Place { segment, position, .. }) = &self.hint {
            segment.note_checked(position.saturating_sub(bytes)..*position);
        }
    }

    fn pass(&mut self, header: &BatchHeader, place: Place) {
        self.offset = header.next_offset();
        self.leader_epoch = header.partition_leader_epoch;
        self.hint = Some(place);
    }
}

/// What one read is to find.
#[derive(Clone, Copy)]
struct Wish {
    max_bytes: usize,
    /// Whether to wait for a disk; otherwise what is not at hand is `WouldBlock`.
    waits: bool,
    /// The offset to stop at.
    limit: i64,
}

/// What a reader goes by while it reads.
pub(super) struct Sight {
    pub(super) truncations: u64,
    /// The high watermark.
    pub(super) limit: i64,
}

/// A record found by its timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FoundOffset {
    /// Its offset.
    pub offset: i64,
    /// Its timestamp, in milliseconds.
    pub timestamp: i64,
    /// Its leader epoch.
    pub leader_epoch: i32,
}

impl LogReader {
    /// The first offset there is.
    pub fn log_start_offset(&self) -> i64 {
        self.0.log_start()
    }

    /// The offset before which records are visible.
    pub fn high_watermark(&self) -> i64 {
        self.0.high_watermark()
    }

    /// The offset before which no transaction is open: today the high watermark.
    pub fn last_stable_offset(&self) -> i64 {
        self.0.high_watermark()
    }

    /// The offset that the next record gets.
    pub fn log_end_offset(&self) -> i64 {
        self.0.log_end()
    }

    /// What the log has done since it was opened.
    pub fn stats(&self) -> LogStats {
        self.0.counters.snapshot()
    }

    /// Bytes in all segments.
    pub fn size(&self) -> u64 {
        self.0.size()
    }

    /// How many segments there are.
    pub fn segment_count(&self) -> usize {
        self.0.counted_segments().len()
    }

    /// The latest leader epoch; -1 before the first.
    pub fn leader_epoch(&self) -> i32 {
        self.0.epochs().latest().map_or(-1, |latest| latest.epoch)
    }

    /// The newest epoch not above `epoch`, and the offset at which it ended, as far as that is
    /// visible (Kafka: OffsetForLeaderEpoch); `None` if there is no such epoch yet.
    pub fn end_offset_for(&self, epoch: i32) -> Option<(i32, i64)> {
        self.0.epochs().end_offset_for(epoch, self.high_watermark())
    }

    /// The epoch that wrote `offset`, or will; -1 before the first.
    pub fn epoch_at(&self, offset: i64) -> i32 {
        self.0.epochs().epoch_at(offset).unwrap_or(-1)
    }

    /// Makes a reader's place known, so that memory it still needs is not freed under `Block`.
    /// The reader stores its position as it goes, and is forgotten when it drops its handle.
    pub fn register(&self, position: i64) -> Arc<AtomicI64> {
        let position = Arc::new(AtomicI64::new(position));
        let mut positions = self.0.positions.lock().expect("no one panics with the positions");
        positions.retain(|other| other.strong_count() > 0);
        positions.push(Arc::downgrade(&position));
        position
    }

    /// Whole batches from the one that holds `cursor.offset` on, up to `max_bytes`, but at least
    /// one if one is visible. Empty means that the cursor stands at the high watermark.
    ///
    /// The first batch may begin before the cursor. The cursor is moved behind what is returned.
    pub fn read(&self, cursor: &mut ReadCursor, max_bytes: usize) -> Result<Vec<Batch>, ReadError> {
        self.read_waiting(cursor, max_bytes, true)
    }

    /// The same, if it can be had without waiting for a disk; `None` says nothing, and leaves the
    /// cursor as it was.
    pub fn read_cached(
        &self,
        cursor: &mut ReadCursor,
        max_bytes: usize,
    ) -> Option<Result<Vec<Batch>, ReadError>> {
        match self.read_waiting(cursor, max_bytes, false) {
            Err(ReadError::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => None,
            result => Some(result),
        }
    }

    fn read_waiting(
        &self,
        cursor: &mut ReadCursor,
        max_bytes: usize,
        waits: bool,
    ) -> Result<Vec<Batch>, ReadError> {
        loop {
            let sight = self.sight();
            self.check_position(cursor)?;
            if cursor.offset >= sight.limit {
                return Ok(Vec::new());
            }
            let mut attempt = cursor.clone();
            let wish = Wish { max_bytes, waits, limit: sight.limit };
            let result = self.read_live(&mut attempt, wish);
            let live = attempt.hint.as_ref().is_some_and(|place| place.segment.is_live());
            if live && self.still_holds(&sight) {
                *cursor = attempt;
                if let Ok(batches) = &result {
                    let bytes = batches.iter().map(|batch| batch.bytes().len()).sum();
                    self.0.counters.read(bytes);
                    cursor.note_checked(bytes as u64);
                }
                return result;
            }
            cursor.hint = None;
        }
    }

    pub(super) fn sight(&self) -> Sight {
        let truncations = self.0.truncations.load(Ordering::Acquire);
        Sight { truncations, limit: self.high_watermark() }
    }

    /// The high watermark falls when a truncation begins; the count rises before the next append.
    pub(super) fn still_holds(&self, sight: &Sight) -> bool {
        self.high_watermark() >= sight.limit
            && self.0.truncations.load(Ordering::Acquire) == sight.truncations
    }

    fn check_position(&self, cursor: &ReadCursor) -> Result<(), ReadError> {
        let log_end_offset = self.log_end_offset();
        let log_start_offset = self.log_start_offset();
        let offset = cursor.offset;
        if cursor.leader_epoch >= 0 {
            let epochs = self.0.epochs();
            let agreed = epochs.divergence(offset, cursor.leader_epoch, log_end_offset);
            // What differs below the log's start is gone anyway.
            if let Some(to) = agreed.map(|to| to.max(log_start_offset)).filter(|to| *to < offset) {
                return Err(ReadError::Truncated { to });
            }
        }
        if offset < log_start_offset || offset > log_end_offset {
            return Err(ReadError::OffsetOutOfRange { offset, log_start_offset, log_end_offset });
        }
        Ok(())
    }

    /// One attempt. Leaves in `cursor.hint` the segment it read, live or not; none if it is to be
    /// repeated.
    fn read_live(&self, cursor: &mut ReadCursor, wish: Wish) -> Result<Vec<Batch>, ReadError> {
        let Wish { max_bytes, waits, limit } = wish;
        // None: dropped since the position was checked, which the caller does again.
        let Some(place) = self.place_of(cursor) else { return Ok(Vec::new()) };
        cursor.hint = Some(place.clone());
        let Place { segment, position, offset } = place;
        let mut walk = match offset == cursor.offset {
            true => Walk::new(&segment, position, offset, max_bytes),
            // It takes reads of its own to get there.
            false if !waits => return Err(io::Error::from(io::ErrorKind::WouldBlock).into()),
            false => Walk::to(&segment, cursor.offset, max_bytes)?,
        }
        .waiting(waits)
        .up_to(self.0.end_of(&segment))
        .verifying(self.0.verify);
        let (mut batches, mut bytes) = (Vec::new(), 0);
        loop {
            if !batches.is_empty() && bytes + walk.next_size() > max_bytes {
                return Ok(batches);
            }
            match walk.next(|header| self.0.belongs(header))? {
                Step::Batch(batch) => {
                    let header = *batch.header();
                    let full = !batches.is_empty() && bytes + header.size() > max_bytes;
                    if header.base_offset >= limit || full {
                        return Ok(batches);
                    }
                    if header.last_offset() < cursor.offset {
                        continue;
                    }
                    bytes += header.size();
                    let (segment, position) = (segment.clone(), walk.position());
                    cursor.pass(&header, Place { segment, position, offset: walk.expected() });
                    batches.push(batch);
                }
                _ if !batches.is_empty() => return Ok(batches),
                Step::End => return self.read_next_segment(cursor, &segment, wish),
                Step::Bad if !waits => {
                    return Err(io::Error::from(io::ErrorKind::WouldBlock).into());
                }
                Step::Bad => self.pass_bad(cursor, &segment, &mut walk, limit)?,
            }
        }
    }

    /// Where to read on: what the cursor remembers, if that is still so.
    fn place_of(&self, cursor: &mut ReadCursor) -> Option<Place> {
        let known = |place: &Place| place.segment.is_live() && place.offset == cursor.offset;
        match cursor.hint.take().filter(known) {
            Some(place) => Some(place),
            None => self.0.segment_of(cursor.offset).map(Place::start_of),
        }
    }

    /// The segment read last is at its end: goes on in the one that follows.
    fn read_next_segment(
        &self,
        cursor: &mut ReadCursor,
        ended: &Arc<Segment>,
        wish: Wish,
    ) -> Result<Vec<Batch>, ReadError> {
        let next = self.0.segment_after(ended);
        if !ended.is_live() {
            // What follows on the list may not be what followed: compaction puts others in place.
            cursor.hint = None;
            return Ok(Vec::new());
        }
        match next {
            Some(mut next) if next.base_offset == cursor.offset || next.sparse => {
                // Empty ones are passed one after the other, not one inside of the other.
                while next.sparse
                    && next.size() == 0
                    && let Some(after) = self.0.segment_after(&next)
                {
                    next = after;
                }
                cursor.offset = cursor.offset.max(next.base_offset);
                cursor.hint = Some(Place::start_of(next));
                self.read_live(cursor, wish)
            }
            // Rolled while we looked.
            Some(next) if next.base_offset < cursor.offset => {
                cursor.hint = None;
                self.read_live(cursor, wish)
            }
            Some(next) => {
                let to = next.base_offset.min(wish.limit);
                cursor.hint = Some(Place::start_of(next));
                Err(self.corrupt(cursor, to))
            }
            // The visible end lies behind lost batches.
            None => Err(self.corrupt(cursor, wish.limit)),
        }
    }

    /// Moves the walk over bad bytes. If that skips the cursor's offset, it is told.
    fn pass_bad(
        &self,
        cursor: &mut ReadCursor,
        segment: &Arc<Segment>,
        walk: &mut Walk<'_>,
        limit: i64,
    ) -> Result<(), ReadError> {
        let boundary = self.0.segment_after(segment).map_or(limit, |next| next.base_offset);
        let found = walk.pass_bad(boundary, |header| self.0.belongs(header))?;
        let to = found.unwrap_or(boundary).min(limit);
        if to <= cursor.offset {
            return Ok(());
        }
        if let Some(offset) = found {
            let (segment, position) = (segment.clone(), walk.position());
            cursor.hint = Some(Place { segment, position, offset });
        }
        Err(self.corrupt(cursor, to))
    }

    /// Moves the cursor over what can't be read, and says so.
    fn corrupt(&self, cursor: &mut ReadCursor, to: i64) -> ReadError {
        let from = std::mem::replace(&mut cursor.offset, to);
        if cursor.leader_epoch >= 0 {
            // An epoch may have begun among what was passed: that is no truncation.
            cursor.leader_epoch = self.0.epochs().epoch_at(to - 1).unwrap_or(-1);
        }
        ReadError::Corrupt { from, to }
    }

    /// The latest timestamp of any record, and the last offset of the first batch that has it:
    /// once that is visible, [`LogReader::offset_for_timestamp`] finds the record (KIP-734).
    pub fn latest_timestamp(&self) -> Option<(i64, i64)> {
        let segments = self.0.segments();
        let mut latest: Option<(i64, i64)> = None;
        for max in segments.iter().filter_map(|segment| segment.max_timestamp()) {
            if latest.is_none_or(|(timestamp, _)| max.timestamp > timestamp) {
                latest = Some((max.timestamp, max.offset));
            }
        }
        latest
    }

    /// The first visible record with a timestamp of at least `timestamp`, also where timestamps
    /// are out of order (Kafka: `ListOffsets` with a time). `None` if there is none.
    ///
    /// Of a batch that can't be decompressed, as where its codec is not built in, the first record
    /// stands for all.
    pub fn offset_for_timestamp(&self, timestamp: i64) -> Result<Option<FoundOffset>, ReadError> {
        'again: loop {
            // In this order: of what compaction left in a segment, all was visible by then.
            let segments = self.0.segments().clone();
            let sight = self.sight();
            for segment in segments {
                let max = segment.max_timestamp().map_or(i64::MIN, |max| max.timestamp);
                if max < timestamp {
                    continue;
                }
                let found = self.find_timestamp(&segment, timestamp, sight.limit);
                if !segment.is_live() || !self.still_holds(&sight) {
                    continue 'again;
                }
                if let Some(found) = found? {
                    return Ok(Some(found));
                }
            }
            return Ok(None);
        }
    }

    fn find_timestamp(
        &self,
        segment: &Segment,
        timestamp: i64,
        limit: i64,
    ) -> Result<Option<FoundOffset>, ReadError> {
        // Up to this entry's offset every timestamp is smaller.
        let entry = segment.read_indexes().times.floor(timestamp, false)?;
        let before = match entry {
            Some(entry) if segment.confirms(entry)? => entry.offset,
            _ => segment.base_offset,
        };
        let mut walk = Walk::to(segment, before, SEARCH_CHUNK)?
            .up_to(self.0.end_of(segment))
            .verifying(self.0.verify);
        loop {
            match walk.next(|header| self.0.belongs(header))? {
                Step::Batch(batch) if batch.header().base_offset >= limit => return Ok(None),
                Step::Batch(batch) => {
                    if let Some(found) = self.first_in(&batch, timestamp) {
                        return Ok(Some(found));
                    }
                }
                Step::End => return Ok(None),
                Step::Bad => {
                    let next = self.0.segment_after(segment);
                    let boundary = next.map_or(limit, |next| next.base_offset);
                    walk.pass_bad(boundary, |header| self.0.belongs(header))?;
                }
            }
        }
    }

    fn first_in(&self, batch: &Batch, timestamp: i64) -> Option<FoundOffset> {
        let header = batch.header();
        if header.max_timestamp < timestamp || header.is_control() {
            return None;
        }
        let start = self.log_start_offset();
        let leader_epoch = header.partition_leader_epoch;
        let expanded = batch.expanded(DEFAULT_MAX_DECOMPRESSED_BYTES);
        // Else the first record is an error.
        let batch = expanded.as_ref().unwrap_or(batch);
        for record in batch.records() {
            let Ok(record) = record else {
                let offset = header.base_offset.max(start);
                return Some(FoundOffset { offset, timestamp: header.max_timestamp, leader_epoch });
            };
            let found = record.timestamp.as_millis();
            if found >= timestamp && record.offset >= start {
                return Some(FoundOffset { offset: record.offset, timestamp: found, leader_epoch });
            }
        }
        None
    }

    /// Frees the oldest segment of an in-memory log, unless it is held; with `passed_by_all` only
    /// if every registered reader has passed it.
    pub(super) fn drop_oldest(&self, passed_by_all: bool) -> bool {
        let passed = if passed_by_all { self.0.slowest_position() } else { i64::MAX };
        // Memory has no errors.
        self.0.drop_oldest(passed.min(self.0.held_from())).unwrap_or(false)
    }

    /// Whether anything of it is held.
    pub(super) fn is_held(&self) -> bool {
        self.0.held_from() < self.log_end_offset()
    }
}
