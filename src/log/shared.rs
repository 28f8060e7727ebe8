//! The part of a log that its writer, its readers and its background work share: segments,
//! bounds, epochs. The writer ([`super::Log`]) changes it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};

use crate::batch::BatchHeader;
use crate::storage::Storage;

use super::counters::Counters;
use super::epochs::LeaderEpochs;
use super::segment::{Segment, file_name};

/// What writer and readers of a log share. See [`super::LogReader`].
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
    /// Where each hold begins: see [`super::Hold`].
    pub(super) holds: Mutex<Vec<Arc<AtomicI64>>>,
    /// How many of them appends wait for.
    pub(super) waiting_holds: AtomicUsize,
    /// How many truncations there were. Rises when one has taken effect, before the next append.
    pub(super) truncations: AtomicU64,
    pub(super) counters: Counters,
    /// Held while a recovery point is written down, so that none outlives a truncation.
    pub(super) point: Mutex<()>,
}

impl Shared {
    pub(super) fn segments(&self) -> std::sync::RwLockReadGuard<'_, Vec<Arc<Segment>>> {
        self.segments.read().expect("no one panics with the segment list in hand")
    }

    /// For those who only count: a storage that panics while a compaction is put in place leaves
    /// the list in an unknown state. The log is closed then, but its size may still be asked for.
    pub(super) fn counted_segments(&self) -> std::sync::RwLockReadGuard<'_, Vec<Arc<Segment>>> {
        self.segments.read().unwrap_or_else(PoisonError::into_inner)
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
        self.counted_segments().iter().map(|segment| segment.size()).sum()
    }

    /// Whether a batch's epoch is the one that wrote its offset.
    pub(super) fn belongs(&self, header: &BatchHeader) -> bool {
        let epoch = header.partition_leader_epoch;
        self.epochs().wrote(epoch, header.base_offset, header.last_offset())
    }

    /// The segment that `offset` is in, or would be.
    pub(super) fn segment_of(&self, offset: i64) -> Option<Arc<Segment>> {
        let segments = self.segments();
        let after = segments.partition_point(|segment| segment.base_offset <= offset);
        segments.get(after.checked_sub(1)?).cloned()
    }

    /// The segment that follows this one.
    pub(super) fn segment_after(&self, segment: &Segment) -> Option<Arc<Segment>> {
        let segments = self.segments();
        let after = segments.partition_point(|other| other.base_offset <= segment.base_offset);
        segments.get(after).cloned()
    }

    /// The offset that ends this segment, which is the next one's first; nobody knows the last's.
    pub(super) fn end_of(&self, segment: &Segment) -> i64 {
        self.segment_after(segment).map_or(i64::MAX, |next| next.base_offset)
    }

    /// Takes the oldest segment off the list if it ends before `limit` and another follows it; its
    /// files are still there.
    fn take_oldest(&self, limit: i64) -> Option<Arc<Segment>> {
        let mut segments = self.segments_mut();
        let next = segments.get(1)?.base_offset;
        if next > self.high_watermark() || next > limit {
            return None;
        }
        let oldest = segments.remove(0);
        oldest.retire();
        self.log_start.fetch_max(next, Ordering::AcqRel);
        Some(oldest)
    }

    /// Drops the oldest segment; false if it is the only one, or has records at or behind `limit`.
    pub(super) fn drop_oldest(&self, limit: i64) -> io::Result<bool> {
        match self.take_oldest(limit) {
            Some(segment) => {
                remove_files(&*self.storage, &self.dir, segment.base_offset).map(|()| true)
            }
            None => Ok(false),
        }
    }

    /// The position of the reader that is furthest behind; `i64::MAX` if there is none.
    pub(super) fn slowest_position(&self) -> i64 {
        let mut positions = self.positions.lock().expect("no one panics with the positions");
        positions.retain(|position| position.strong_count() > 0);
        let live = positions.iter().filter_map(Weak::upgrade);
        live.map(|position| position.load(Ordering::Acquire)).min().unwrap_or(i64::MAX)
    }
}

/// Removes the files of a segment that is on no list, for good: were a removal forgotten by the
/// disk while a later one is kept, a hole would appear.
pub(super) fn remove_files(storage: &dyn Storage, dir: &Path, base_offset: i64) -> io::Result<()> {
    remove_segment_files(storage, dir, base_offset)?;
    storage.sync_dir(dir)
}

/// As [`remove_files`], but for the sync.
pub(super) fn remove_segment_files(
    storage: &dyn Storage,
    dir: &Path,
    base_offset: i64,
) -> io::Result<()> {
    for ending in ["log", "index", "timeindex"] {
        match storage.remove_file(&dir.join(file_name(base_offset, ending))) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}
