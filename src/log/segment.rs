//! One segment: an identity, live or retired, around a `.log` file and its two indexes.
//!
//! A segment is not a path. A truncation that keeps the file gives it a new identity, and a
//! retired segment never comes back, so a reader that checks [`Segment::is_live`] *after* it has
//! read knows that what it read was the log's.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, RwLock};

use bytes::Bytes;

use crate::batch::{Batch, BatchHeader, HEADER_LEN, check_crc};
use crate::storage::{Storage, StorageFile, read_exact_at};

use super::index::{Index, OffsetEntry, TimeEntry};

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
    pub(super) indexes: RwLock<Indexes>,
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
        }
    }

    pub(super) fn size(&self) -> u64 {
        self.size.load(Ordering::Acquire)
    }

    pub(super) fn set_size(&self, size: u64) {
        self.size.store(size, Ordering::Release);
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

    /// Where to start looking for `offset`: the position of a batch that ends at or before it,
    /// and the offset with which that batch begins, if known. Checks what the index says.
    pub(super) fn seek(&self, offset: i64) -> io::Result<(u64, Option<i64>)> {
        let entry = self.read_indexes().offsets.floor(offset, true)?;
        if let Some(OffsetEntry { last_offset, position }) = entry
            && position < self.size()
            && let Some(header) = self.header_at(position)?
            && header.last_offset() == last_offset
        {
            return Ok((position, None));
        }
        Ok((0, Some(self.base_offset)))
    }

    fn header_at(&self, position: u64) -> io::Result<Option<BatchHeader>> {
        if self.size() - position < HEADER_LEN as u64 {
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

    pub(super) fn scan(&self, position: u64, chunk: usize) -> Scanner<'_> {
        Scanner::new(&*self.file, position, self.size(), chunk)
    }

    /// Writes the entries that the index files lack. Not synced.
    pub(super) fn store_indexes(&self, storage: &dyn Storage, dir: &Path) -> io::Result<()> {
        let mut indexes = self.write_indexes();
        let (index, timeindex) = self.index_paths(dir);
        indexes.offsets.store(storage, &index)?;
        indexes.times.store(storage, &timeindex)
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

/// Walks the batches of a file one after the other, reading a chunk at a time.
pub(super) struct Scanner<'a> {
    file: &'a dyn StorageFile,
    position: u64,
    end: u64,
    chunk_len: usize,
    /// Bytes read already, starting at `position`.
    chunk: Bytes,
}

/// What a [`Scanner`] met.
pub(super) enum Step {
    /// A whole batch whose header makes sense. Its CRC is not checked.
    Batch(Batch),
    /// Bytes that are no batch, or only the beginning of one.
    Bad,
    /// Nothing more.
    End,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(file: &'a dyn StorageFile, position: u64, end: u64, chunk: usize) -> Self {
        let chunk_len = chunk.max(HEADER_LEN);
        Scanner { file, position, end, chunk_len, chunk: Bytes::new() }
    }

    /// Where the next batch begins.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    pub(super) fn skip_to(&mut self, position: u64) {
        self.chunk = Bytes::new();
        self.position = position;
    }

    pub(super) fn next(&mut self) -> io::Result<Step> {
        if self.position >= self.end {
            return Ok(Step::End);
        }
        if !self.fill(HEADER_LEN)? {
            return Ok(Step::Bad);
        }
        let Ok(header) = BatchHeader::parse(&self.chunk) else { return Ok(Step::Bad) };
        if !self.fill(header.size())? {
            return Ok(Step::Bad);
        }
        let Ok(batch) = Batch::parse(self.chunk.clone()) else { return Ok(Step::Bad) };
        bytes::Buf::advance(&mut self.chunk, header.size());
        self.position += header.size() as u64;
        Ok(Step::Batch(batch))
    }

    /// Sees to it that the chunk holds `len` bytes, if the file has them.
    fn fill(&mut self, len: usize) -> io::Result<bool> {
        if self.chunk.len() >= len {
            return Ok(true);
        }
        let left = self.end - self.position;
        if left < len as u64 {
            return Ok(false);
        }
        let wanted = self.chunk_len.max(len).min(usize::try_from(left).unwrap_or(usize::MAX));
        self.chunk = self.file.read_at(self.position, wanted)?;
        if self.chunk.len() < len {
            self.chunk = read_exact_at(self.file, self.position, len)?;
        }
        Ok(true)
    }
}

/// What the batch after a bad stretch may look like.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plausible {
    pub(super) min_offset: i64,
    pub(super) max_offset: i64,
}

/// How much a search for the next good batch reads at a time.
const RESYNC_WINDOW: usize = 256 * 1024;

/// The first good batch after the bad bytes at `from`: the one that the bad batch's own length
/// points to, or else the next that a search byte by byte finds. Its CRC has been checked.
pub(super) fn resync(
    file: &dyn StorageFile,
    from: u64,
    end: u64,
    plausible: Plausible,
) -> io::Result<Option<(u64, BatchHeader)>> {
    if end - from >= HEADER_LEN as u64
        && let Ok(bad) = BatchHeader::parse(&read_exact_at(file, from, HEADER_LEN)?)
        && let Some(header) = good_batch_at(file, from + bad.size() as u64, end, plausible)?
    {
        return Ok(Some((from + bad.size() as u64, header)));
    }
    let mut position = from + 1;
    while position + HEADER_LEN as u64 <= end {
        let len = usize::try_from(end - position).unwrap_or(usize::MAX).min(RESYNC_WINDOW);
        let window = read_exact_at(file, position, len)?;
        let last = len - HEADER_LEN;
        for i in (0..=last).filter(|i| window[i + 16] == 2) {
            if BatchHeader::parse(&window[i..]).is_ok_and(|header| plausible.admits(&header))
                && let Some(header) = good_batch_at(file, position + i as u64, end, plausible)?
            {
                return Ok(Some((position + i as u64, header)));
            }
        }
        position += last as u64 + 1;
    }
    Ok(None)
}

impl Plausible {
    fn admits(&self, header: &BatchHeader) -> bool {
        header.base_offset >= self.min_offset && header.base_offset < self.max_offset
    }
}

fn good_batch_at(
    file: &dyn StorageFile,
    position: u64,
    end: u64,
    plausible: Plausible,
) -> io::Result<Option<BatchHeader>> {
    if position + HEADER_LEN as u64 > end {
        return Ok(None);
    }
    let Ok(header) = BatchHeader::parse(&read_exact_at(file, position, HEADER_LEN)?) else {
        return Ok(None);
    };
    if !plausible.admits(&header) || header.size() as u64 > end - position {
        return Ok(None);
    }
    let whole = read_exact_at(file, position, header.size())?;
    Ok(check_crc(&whole).is_ok().then_some(header))
}
