//! The part of a log that readers share: its segments, its bounds, its epochs.
//!
//! The writer ([`super::Log`]) changes it; any number of readers use it at the same time, and
//! none waits for an append. A reader sees whole batches below the high watermark, and checks
//! every one that comes from a disk: CRC, offset and epoch.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, RwLock, Weak};

use crate::batch::Batch;
use crate::storage::Storage;

use super::epochs::LeaderEpochs;
use super::error::ReadError;
use super::segment::{Plausible, Scanner, Segment, Step, resync};

/// What readers of a log share. See [`LogReader`].
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) storage: Arc<dyn Storage>,
    pub(super) dir: PathBuf,
    /// Sorted by base offset. Empty until the first append.
    pub(super) segments: RwLock<Vec<Arc<Segment>>>,
    pub(super) log_start: AtomicI64,
    pub(super) log_end: AtomicI64,
    pub(super) high_watermark: AtomicI64,
    pub(super) epochs: RwLock<LeaderEpochs>,
    /// Whether batches are checked when read: not those that never left this process's memory.
    pub(super) verify: bool,
    pub(super) positions: Mutex<Vec<Weak<AtomicI64>>>,
}

impl Shared {
    pub(super) fn segments(&self) -> std::sync::RwLockReadGuard<'_, Vec<Arc<Segment>>> {
        self.segments.read().expect("no one panics with the segment list in hand")
    }

    pub(super) fn segments_mut(&self) -> std::sync::RwLockWriteGuard<'_, Vec<Arc<Segment>>> {
        self.segments.write().expect("no one panics with the segment list in hand")
    }

    pub(super) fn epochs(&self) -> std::sync::RwLockReadGuard<'_, LeaderEpochs> {
        self.epochs.read().expect("no one panics with the epochs in hand")
    }

    pub(super) fn epochs_mut(&self) -> std::sync::RwLockWriteGuard<'_, LeaderEpochs> {
        self.epochs.write().expect("no one panics with the epochs in hand")
    }

    pub(super) fn high_watermark(&self) -> i64 {
        self.high_watermark.load(Ordering::Acquire)
    }

    pub(super) fn log_start(&self) -> i64 {
        self.log_start.load(Ordering::Acquire)
    }

    pub(super) fn log_end(&self) -> i64 {
        self.log_end.load(Ordering::Acquire)
    }

    pub(super) fn size(&self) -> u64 {
        self.segments().iter().map(|segment| segment.size()).sum()
    }

    /// Takes the oldest segment off the list if another follows it; its files are still there.
    fn take_oldest(&self, passed_by_all: bool) -> Option<Arc<Segment>> {
        let mut segments = self.segments_mut();
        let next = segments.get(1)?.base_offset;
        if next > self.high_watermark() || passed_by_all && self.slowest_position() < next {
            return None;
        }
        let oldest = segments.remove(0);
        oldest.retire();
        self.log_start.fetch_max(next, Ordering::AcqRel);
        Some(oldest)
    }

    /// Drops the oldest segment; false if it is the only one (or not yet passed by all readers).
    pub(super) fn drop_oldest(&self, passed_by_all: bool) -> io::Result<bool> {
        match self.take_oldest(passed_by_all) {
            Some(segment) => self.remove_files(&segment).map(|()| true),
            None => Ok(false),
        }
    }

    /// Removes a retired segment's files, the oldest first and for good: were a removal forgotten
    /// by the disk while a later one is kept, a hole would appear.
    pub(super) fn remove_files(&self, segment: &Segment) -> io::Result<()> {
        let (index, timeindex) = segment.index_paths(&self.dir);
        for path in [segment.log_path(&self.dir), index, timeindex] {
            match self.storage.remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        self.storage.sync_dir(&self.dir)
    }

    /// The position of the reader that is furthest behind; `i64::MAX` if there is none.
    fn slowest_position(&self) -> i64 {
        let mut positions = self.positions.lock().expect("no one panics with the positions");
        positions.retain(|position| position.strong_count() > 0);
        let live = positions.iter().filter_map(Weak::upgrade);
        live.map(|position| position.load(Ordering::Acquire)).min().unwrap_or(i64::MAX)
    }
}

/// A handle for reading a log while its writer appends, rolls, truncates and retires.
#[derive(Debug, Clone)]
pub struct LogReader(pub(super) Arc<Shared>);

/// Where a reader stands. Keep it between reads: it remembers the byte position.
#[derive(Debug, Clone)]
pub struct ReadCursor {
    /// The next offset to read.
    pub offset: i64,
    /// The leader epoch of the record before it; -1 if unknown (then truncation goes unnoticed).
    pub leader_epoch: i32,
    hint: Option<(Arc<Segment>, u64)>,
}

impl ReadCursor {
    /// A cursor at `offset`, whose previous record had `leader_epoch` (-1 if unknown).
    pub fn new(offset: i64, leader_epoch: i32) -> Self {
        ReadCursor { offset, leader_epoch, hint: None }
    }
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

/// How much a search through a segment reads at a time.
const SEARCH_CHUNK: usize = 64 * 1024;

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

    /// Bytes in all segments.
    pub fn size(&self) -> u64 {
        self.0.size()
    }

    /// How many segments there are.
    pub fn segment_count(&self) -> usize {
        self.0.segments().len()
    }

    /// The latest leader epoch; -1 before the first.
    pub fn leader_epoch(&self) -> i32 {
        self.0.epochs().latest().map_or(-1, |latest| latest.epoch)
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
        loop {
            self.check_position(cursor)?;
            if cursor.offset >= self.high_watermark() {
                return Ok(Vec::new());
            }
            let mut attempt = cursor.clone();
            let result = self.read_live(&mut attempt, max_bytes);
            // What was read counts only if its segment was the log's until after the read.
            match attempt.hint.as_ref().is_some_and(|(segment, _)| segment.is_live()) {
                true => {
                    *cursor = attempt;
                    return result;
                }
                false => cursor.hint = None,
            }
        }
    }

    fn check_position(&self, cursor: &ReadCursor) -> Result<(), ReadError> {
        let log_end_offset = self.log_end_offset();
        if cursor.leader_epoch >= 0 {
            let epochs = self.0.epochs();
            let diverged = epochs.divergence(cursor.offset, cursor.leader_epoch, log_end_offset);
            if let Some(to) = diverged {
                return Err(ReadError::Truncated { to: to.max(self.log_start_offset()) });
            }
        }
        let log_start_offset = self.log_start_offset();
        if cursor.offset < log_start_offset || cursor.offset > log_end_offset {
            let offset = cursor.offset;
            return Err(ReadError::OffsetOutOfRange { offset, log_start_offset, log_end_offset });
        }
        Ok(())
    }

    /// One attempt. Leaves in `cursor.hint` the segment it read, live or not.
    fn read_live(
        &self,
        cursor: &mut ReadCursor,
        max_bytes: usize,
    ) -> Result<Vec<Batch>, ReadError> {
        let limit = self.high_watermark();
        let hint = cursor.hint.take().filter(|(segment, _)| segment.is_live());
        let (segment, position, mut expected) = match hint {
            Some((segment, position)) => (segment, position, Some(cursor.offset)),
            None => {
                // None: dropped since the position was checked, which the caller does again.
                let Some(segment) = self.segment_of(cursor.offset) else { return Ok(Vec::new()) };
                cursor.hint = Some((segment.clone(), 0));
                let (position, expected) = segment.seek(cursor.offset)?;
                (segment, position, expected)
            }
        };
        cursor.hint = Some((segment.clone(), position));
        let mut scanner = segment.scan(position, max_bytes);
        let (mut batches, mut bytes) = (Vec::new(), 0);
        loop {
            let at = scanner.position();
            match scanner.next()? {
                Step::Batch(batch) if self.is_good(&batch, expected) => {
                    let header = *batch.header();
                    let full = !batches.is_empty() && bytes + header.size() > max_bytes;
                    if header.base_offset >= limit || full {
                        return Ok(batches);
                    }
                    expected = Some(header.next_offset());
                    if header.last_offset() < cursor.offset {
                        continue;
                    }
                    bytes += header.size();
                    cursor.offset = header.next_offset();
                    cursor.leader_epoch = header.partition_leader_epoch;
                    cursor.hint = Some((segment.clone(), scanner.position()));
                    batches.push(batch);
                }
                _ if !batches.is_empty() => return Ok(batches),
                Step::End => return self.read_next_segment(cursor, &segment, max_bytes),
                Step::Batch(_) | Step::Bad => {
                    expected = Some(self.pass_bad(cursor, &segment, &mut scanner, at)?);
                }
            }
        }
    }

    fn segment_of(&self, offset: i64) -> Option<Arc<Segment>> {
        let segments = self.0.segments();
        let after = segments.partition_point(|segment| segment.base_offset <= offset);
        segments.get(after.checked_sub(1)?).cloned()
    }

    /// The segment read last is at its end: goes on in the one that follows.
    fn read_next_segment(
        &self,
        cursor: &mut ReadCursor,
        ended: &Arc<Segment>,
        max_bytes: usize,
    ) -> Result<Vec<Batch>, ReadError> {
        let next = {
            let segments = self.0.segments();
            let after = segments.partition_point(|s| s.base_offset <= ended.base_offset);
            segments.get(after).cloned()
        };
        match next {
            Some(next) if next.base_offset <= cursor.offset => {
                cursor.hint = Some((next, 0));
                self.read_live(cursor, max_bytes)
            }
            Some(next) => {
                let (from, to) = (cursor.offset, next.base_offset);
                cursor.hint = Some((next, 0));
                cursor.offset = to;
                Err(ReadError::Corrupt { from, to })
            }
            // Rolled while we looked, or the visible end lies behind lost batches.
            None if ended.is_live() => {
                let (from, to) = (cursor.offset, self.high_watermark());
                cursor.offset = to;
                Err(ReadError::Corrupt { from, to })
            }
            None => Ok(Vec::new()),
        }
    }

    fn is_good(&self, batch: &Batch, expected: Option<i64>) -> bool {
        if !self.0.verify {
            return true;
        }
        let header = batch.header();
        expected.is_none_or(|offset| header.base_offset == offset)
            && crate::batch::check_crc(batch.bytes()).is_ok()
            && self.0.epochs().epoch_at(header.base_offset) == Some(header.partition_leader_epoch)
    }

    /// Moves the scanner over bad bytes at `at`. If that skips the cursor's offset, it is told.
    fn pass_bad(
        &self,
        cursor: &mut ReadCursor,
        segment: &Arc<Segment>,
        scanner: &mut Scanner<'_>,
        at: u64,
    ) -> Result<i64, ReadError> {
        let plausible =
            Plausible { min_offset: segment.base_offset, max_offset: self.log_end_offset() };
        let good = resync(&*segment.file, at, segment.size(), plausible)?;
        let (position, to) = match good {
            Some((position, header)) => (position, header.base_offset),
            None => (segment.size(), self.offset_after(segment)),
        };
        if to <= cursor.offset {
            scanner.skip_to(position);
            return Ok(to);
        }
        let from = std::mem::replace(&mut cursor.offset, to);
        cursor.hint = Some((segment.clone(), position));
        Err(ReadError::Corrupt { from, to })
    }

    /// The first offset that is not in `segment`.
    fn offset_after(&self, segment: &Segment) -> i64 {
        let segments = self.0.segments();
        let after = segments.partition_point(|other| other.base_offset <= segment.base_offset);
        segments.get(after).map_or(self.high_watermark(), |next| next.base_offset)
    }

    /// The first visible record with a timestamp of at least `timestamp`, also where timestamps
    /// are out of order (Kafka: `ListOffsets` with a time). `None` if there is none.
    pub fn offset_for_timestamp(&self, timestamp: i64) -> Result<Option<FoundOffset>, ReadError> {
        'again: loop {
            let segments = self.0.segments().clone();
            for segment in segments {
                let max = segment.max_timestamp().map_or(i64::MIN, |max| max.timestamp);
                if max < timestamp {
                    continue;
                }
                let found = self.find_timestamp(&segment, timestamp);
                if !segment.is_live() {
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
    ) -> Result<Option<FoundOffset>, ReadError> {
        // Up to this entry's offset every timestamp is smaller.
        let before = segment.read_indexes().times.floor(timestamp, false)?;
        let (position, _) = segment.seek(before.map_or(segment.base_offset, |e| e.offset))?;
        let mut scanner = segment.scan(position, SEARCH_CHUNK);
        loop {
            let at = scanner.position();
            match scanner.next()? {
                Step::Batch(batch) if self.is_good(&batch, None) => {
                    if batch.header().base_offset >= self.high_watermark() {
                        return Ok(None);
                    }
                    if let Some(found) = self.first_in(&batch, timestamp) {
                        return Ok(Some(found));
                    }
                }
                Step::End => return Ok(None),
                _ => {
                    let (min_offset, max_offset) = (segment.base_offset, self.log_end_offset());
                    let plausible = Plausible { min_offset, max_offset };
                    match resync(&*segment.file, at, segment.size(), plausible)? {
                        Some((position, _)) => scanner.skip_to(position),
                        None => return Ok(None),
                    }
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
        let mut records = batch.records().map_while(Result::ok);
        let record = records.find(|r| r.timestamp.as_millis() >= timestamp && r.offset >= start)?;
        let leader_epoch = header.partition_leader_epoch;
        let timestamp = record.timestamp.as_millis();
        Some(FoundOffset { offset: record.offset, timestamp, leader_epoch })
    }

    /// Frees the oldest segment of an in-memory log; with `passed_by_all` only if every
    /// registered reader has passed it.
    pub(super) fn drop_oldest(&self, passed_by_all: bool) -> bool {
        // Memory has no errors.
        self.0.drop_oldest(passed_by_all).unwrap_or(false)
    }
}
