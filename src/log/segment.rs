//! One segment: an identity, live or retired, around a `.log` file and its two indexes.
//!
//! A segment is not a path. A truncation that keeps the file gives it a new identity, and a
//! retired segment never comes back, so a reader that checks [`Segment::is_live`] *after* it has
//! read knows that what it read was the log's.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};

use crate::batch::{BatchHeader, HEADER_LEN};
use crate::record::Timestamp;
use crate::storage::{Storage, StorageFile, read_exact_at};

use super::index::{Index, OffsetEntry, TimeEntry};
use super::scan::{Step, Walk};

/// How much is read at a time to find one batch near an index entry.
const CONFIRM_CHUNK: usize = 16 * 1024;

/// For how many milliseconds what was written is taken to be as it was.
const YOUNG: i64 = 60_000;

/// The name of a file of a segment: its base offset in 20 digits, and an ending.
pub(super) fn file_name(base_offset: i64, ending: &str) -> String {
    format!("{base_offset:020}.{ending}")
}

/// The base offset in a file name with this ending.
pub(super) fn base_offset_in(name: &str, ending: &str) -> Option<i64> {
    let digits = name.strip_suffix(ending)?.strip_suffix('.')?;
    let all_digits = digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit());
    all_digits.then(|| digits.parse().ok()).flatten()
}

#[derive(Debug)]
pub(super) struct Segment {
    pub(super) base_offset: i64,
    pub(super) file: Arc<dyn StorageFile>,
    /// Bytes of whole batches; what lies beyond is not the log's.
    size: AtomicU64,
    live: AtomicBool,
    indexes: RwLock<Indexes>,
    /// Whether offsets may be missing between its batches: Kafka's compaction leaves holes.
    pub(super) sparse: bool,
    /// Whether a sync of the file failed. The next would succeed, but pages are lost.
    sync_failed: Mutex<bool>,
    /// Bytes in a row that this process has written, or has read and found sound.
    checked: Mutex<Range<u64>>,
    /// When what was written: two marks, the older one first.
    written: Mutex<[Mark; 2]>,
}

/// From `position` on, this process has written all there is at `time` (in milliseconds) or later.
#[derive(Debug, Clone, Copy)]
struct Mark {
    #[cfg_attr(not(feature = "tcp"), expect(dead_code))]
    position: u64,
    time: i64,
}

impl Mark {
    const NONE: Mark = Mark { position: u64::MAX, time: i64::MIN };

    #[cfg(feature = "tcp")]
    fn is_young(self, now: i64) -> bool {
        now.checked_sub(self.time).is_some_and(|age| (0..=YOUNG).contains(&age))
    }
}

/// What a segment knows of its insides without reading them.
#[derive(Debug)]
pub(super) struct Indexes {
    pub(super) offsets: Index<OffsetEntry>,
    pub(super) times: Index<TimeEntry>,
    /// The greatest timestamp, and the last offset of the first batch that has it.
    pub(super) max: Option<TimeEntry>,
}

impl Indexes {
    pub(super) fn empty(base_offset: i64) -> Self {
        let (offsets, times) = (Index::empty(base_offset), Index::empty(base_offset));
        Indexes { offsets, times, max: None }
    }

    /// Takes note of a batch appended at `position`; `indexed` if it gets entries.
    pub(super) fn note(&mut self, header: &BatchHeader, position: u64, indexed: bool) {
        let (timestamp, offset) = (header.max_timestamp, header.last_offset());
        if self.max.is_none_or(|max| timestamp > max.timestamp) {
            self.max = Some(TimeEntry { timestamp, offset });
        }
        if indexed {
            self.offsets.push(OffsetEntry { last_offset: offset, position });
            self.times.push(self.max.expect("set just above"));
        }
    }
}

impl Segment {
    pub(super) fn new(
        base_offset: i64,
        file: Arc<dyn StorageFile>,
        size: u64,
        indexes: Indexes,
    ) -> Self {
        Segment {
            base_offset,
            file,
            size: AtomicU64::new(size),
            live: AtomicBool::new(true),
            indexes: RwLock::new(indexes),
            sparse: false,
            sync_failed: Mutex::new(false),
            checked: Mutex::default(),
            written: Mutex::new([Mark::NONE; 2]),
        }
    }

    /// Makes its bytes durable. Once that has failed it fails for good, whoever asks: the system
    /// reports a lost page only once.
    pub(super) fn sync(&self) -> io::Result<()> {
        let mut failed = self.sync_failed.lock().expect("no one panics while a file is synced");
        if *failed {
            return Err(io::Error::other("an earlier sync of this file failed"));
        }
        self.file.sync().inspect_err(|_| *failed = true)
    }

    pub(super) fn size(&self) -> u64 {
        self.size.load(Ordering::Acquire)
    }

    pub(super) fn set_size(&self, size: u64) {
        self.size.store(size, Ordering::Release);
    }

    /// These bytes are known to be sound. Of two rows that have a gap between them the longer one
    /// is kept.
    pub(super) fn note_checked(&self, range: Range<u64>) {
        let mut checked = self.checked.lock().expect("no one panics with a range in hand");
        let touch = range.start <= checked.end && checked.start <= range.end;
        if checked.is_empty() || !touch && range.end - range.start > checked.end - checked.start {
            *checked = range;
        } else if touch {
            *checked = checked.start.min(range.start)..checked.end.max(range.end);
        }
    }

    /// These bytes were written just now.
    pub(super) fn note_written(&self, range: Range<u64>, now: Timestamp) {
        let (position, time) = (range.start, now.as_millis());
        self.note_checked(range);
        let mut written = self.written.lock().expect("no one panics with two marks in hand");
        let [_, latest] = *written;
        if latest.time == Mark::NONE.time || time.saturating_sub(latest.time) >= YOUNG / 2 {
            *written = [latest, Mark { position, time }];
        }
    }

    /// From where on it was written a minute ago at most.
    #[cfg(feature = "tcp")]
    pub(super) fn young_from(&self, now: Timestamp) -> u64 {
        let written = self.written.lock().expect("no one panics with two marks in hand");
        let mut young = written.iter().filter(|mark| mark.is_young(now.as_millis()));
        young.next().map_or(u64::MAX, |mark| mark.position)
    }

    /// Up to where the bytes from `position` on are known to be sound.
    #[cfg(feature = "tcp")]
    pub(super) fn checked_from(&self, position: u64) -> u64 {
        let checked = self.checked.lock().expect("no one panics with a range in hand");
        if checked.contains(&position) { checked.end } else { position }
    }

    pub(super) fn is_live(&self) -> bool {
        self.live.load(Ordering::Acquire)
    }

    /// Ends this identity. The caller has taken it off the segment list.
    pub(super) fn retire(&self) {
        self.live.store(false, Ordering::Release);
    }

    pub(super) fn max_timestamp(&self) -> Option<TimeEntry> {
        self.read_indexes().max
    }

    pub(super) fn read_indexes(&self) -> std::sync::RwLockReadGuard<'_, Indexes> {
        self.indexes.read().expect("no one panics with an index in hand")
    }

    pub(super) fn write_indexes(&self) -> std::sync::RwLockWriteGuard<'_, Indexes> {
        self.indexes.write().expect("no one panics with an index in hand")
    }

    /// Where to start looking for `offset`: the position of a batch that ends at or before it, and
    /// the offset with which that batch begins. What the index says is checked.
    pub(super) fn seek(&self, offset: i64) -> io::Result<(u64, i64)> {
        let entry = self.read_indexes().offsets.floor(offset, true)?;
        if let Some(OffsetEntry { last_offset, position }) = entry
            && position < self.size()
            && let Some(header) = self.header_at(position)?
            && header.last_offset() == last_offset
            && header.base_offset >= self.base_offset
        {
            return Ok((position, header.base_offset));
        }
        Ok((0, self.base_offset))
    }

    /// Whether there is such a batch as a time entry speaks of.
    pub(super) fn confirms(&self, entry: TimeEntry) -> io::Result<bool> {
        let mut walk = Walk::to(self, entry.offset, CONFIRM_CHUNK)?;
        while let Step::Batch(batch) = walk.next(|_| true)? {
            let header = batch.header();
            if header.last_offset() >= entry.offset {
                return Ok(
                    header.last_offset() == entry.offset && header.max_timestamp == entry.timestamp
                );
            }
        }
        Ok(false)
    }

    fn header_at(&self, position: u64) -> io::Result<Option<BatchHeader>> {
        if self.size().saturating_sub(position) < HEADER_LEN as u64 {
            return Ok(None);
        }
        let bytes = read_exact_at(&*self.file, position, HEADER_LEN)?;
        Ok(BatchHeader::parse(&bytes).ok())
    }

    /// The greatest timestamp of its first batch, by which it is rolled.
    pub(super) fn first_timestamp(&self) -> Option<i64> {
        // Unreadable counts as unknown: the segment is then rolled by size alone.
        self.header_at(0).ok().flatten().map(|header| header.max_timestamp)
    }

    /// Writes the entries that the index files lack, unless they are left in their files. Not
    /// synced. Whether anything may have been written.
    pub(super) fn store_indexes(&self, storage: &dyn Storage, dir: &Path) -> io::Result<bool> {
        let mut indexes = self.write_indexes();
        let (index, timeindex) = self.index_paths(dir);
        Ok(indexes.offsets.store(storage, &index)? | indexes.times.store(storage, &timeindex)?)
    }

    /// The last time entry, so that the greatest timestamp is known without a scan.
    pub(super) fn seal_times(&self) {
        let mut indexes = self.write_indexes();
        if let Some(max) = indexes.max {
            indexes.times.push(max);
        }
    }

    pub(super) fn index_paths(&self, dir: &Path) -> (PathBuf, PathBuf) {
        let name = |ending| dir.join(file_name(self.base_offset, ending));
        (name("index"), name("timeindex"))
    }

    pub(super) fn log_path(&self, dir: &Path) -> PathBuf {
        dir.join(file_name(self.base_offset, "log"))
    }
}
