//! Holding a segment's index files against its batches, both read once and side by side.

use std::io;
use std::marker::PhantomData;
use std::path::Path;
use std::sync::Arc;

use bytes::{Buf, Bytes};

use crate::batch::BatchHeader;
use crate::log::index::{Entry, OffsetEntry, TimeEntry};
use crate::storage::{Storage, StorageFile, read_exact_at};

/// How much of an index is read at a time: a multiple of both entries' lengths.
const CHUNK: usize = 96 * 1024;

/// The entries of an index file, in order.
pub(in crate::log) struct Entries<E> {
    file: Arc<dyn StorageFile>,
    base_offset: i64,
    position: u64,
    len: u64,
    chunk: Bytes,
    kind: PhantomData<E>,
}

impl<E: Entry> Entries<E> {
    pub(in crate::log) fn open(
        storage: &dyn Storage,
        path: &Path,
        base_offset: i64,
    ) -> io::Result<Self> {
        let file = storage.open(path, false)?;
        let len = file.len()?;
        Ok(Entries { file, base_offset, position: 0, len, chunk: Bytes::new(), kind: PhantomData })
    }

    /// Bytes behind the last whole entry.
    fn rest(&self) -> u64 {
        self.len % E::LEN as u64
    }

    /// The next one, and where it stands. Zeros are the end: Kafka makes its files long in advance.
    pub(in crate::log) fn next(&mut self) -> io::Result<Option<(u64, E)>> {
        if self.chunk.len() < E::LEN {
            let left = self.len - self.rest() - self.position;
            let len = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
            self.chunk = read_exact_at(&*self.file, self.position, len)?;
        }
        let Some(bytes) = self.chunk.get(..E::LEN).filter(|it| it.iter().any(|byte| *byte != 0))
        else {
            return Ok(None);
        };
        let (at, entry) = (self.position, E::decode(self.base_offset, bytes));
        self.chunk.advance(E::LEN);
        self.position += E::LEN as u64;
        Ok(Some((at, entry)))
    }
}

/// What is wrong with an index.
#[derive(Debug, Default)]
pub(super) struct Faults {
    pub(super) count: u64,
    /// Where the first is, and what it is.
    pub(super) first: Option<(u64, String)>,
    /// Whether any is of an entry that an open would trust.
    pub(super) trusted: bool,
}

impl Faults {
    fn add(&mut self, at: u64, trusted: bool, what: String) {
        self.count += 1;
        self.trusted |= trusted;
        self.first.get_or_insert((at, what));
    }
}

/// An index beside the walk over its segment.
pub(super) struct Beside<E> {
    entries: Entries<E>,
    next: Option<(u64, E)>,
    last: Option<E>,
    /// Entries for offsets from here on are made anew by an open.
    recovery_point: i64,
    sparse: bool,
    max_timestamp: i64,
    /// Where an entry stands, and its offset, with which a later batch has to end.
    owed: Option<(u64, i64)>,
    pub(super) faults: Faults,
}

impl<E: Entry> Beside<E> {
    pub(super) fn open(
        storage: &dyn Storage,
        path: &Path,
        base_offset: i64,
        recovery_point: i64,
        sparse: bool,
    ) -> io::Result<Self> {
        let mut entries = Entries::open(storage, path, base_offset)?;
        let mut faults = Faults::default();
        if entries.rest() > 0 {
            let whole = entries.len - entries.rest();
            faults.add(whole, false, format!("{} bytes are no whole entry", entries.rest()));
        }
        let next = entries.next()?;
        Ok(Beside {
            entries,
            next,
            last: None,
            recovery_point,
            sparse,
            max_timestamp: i64::MIN,
            owed: None,
            faults,
        })
    }

    fn step(&mut self) -> io::Result<()> {
        self.last = self.next.map(|(_, entry)| entry);
        self.next = self.entries.next()?;
        Ok(())
    }

    /// Whether the next entry comes after the one before it.
    fn rises(&self) -> bool {
        match (&self.last, &self.next) {
            (Some(last), Some((_, next))) => next.key() > last.key(),
            _ => true,
        }
    }
}

impl Beside<OffsetEntry> {
    /// The walk has come to this batch.
    pub(super) fn batch(&mut self, position: u64, header: &BatchHeader) -> io::Result<()> {
        while let Some((at, entry)) = self.next.filter(|(_, entry)| entry.position <= position) {
            let last = header.last_offset();
            // Kafka's older versions have the last offset of several batches appended at once.
            let is_owed = self.sparse && entry.last_offset > last;
            self.owed = is_owed.then_some((at, entry.last_offset));
            let fits = entry.last_offset == last || is_owed;
            if entry.position < position || !fits || !self.rises() {
                let what = format!("offset {} is not at {}", entry.last_offset, entry.position);
                self.faults.add(at, entry.last_offset < self.recovery_point, what);
            }
            self.step()?;
        }
        if let Some((at, offset)) = self.owed.take_if(|(_, it)| *it <= header.last_offset())
            && offset != header.last_offset()
        {
            self.nothing_ends_with(at, offset);
        }
        Ok(())
    }

    fn nothing_ends_with(&mut self, at: u64, offset: i64) {
        let what = format!("no batch ends with offset {offset}");
        self.faults.add(at, offset < self.recovery_point, what);
    }

    /// The walk has come to the end.
    pub(super) fn end(&mut self) -> io::Result<()> {
        if let Some((at, offset)) = self.owed.take() {
            self.nothing_ends_with(at, offset);
        }
        while let Some((at, entry)) = self.next {
            let what =
                format!("offset {} at {}: no batch is there", entry.last_offset, entry.position);
            self.faults.add(at, entry.last_offset < self.recovery_point, what);
            self.step()?;
        }
        Ok(())
    }
}

impl Beside<TimeEntry> {
    /// The walk has come to this batch.
    pub(super) fn batch(&mut self, header: &BatchHeader) -> io::Result<()> {
        self.max_timestamp = self.max_timestamp.max(header.max_timestamp);
        while let Some((at, entry)) = self.next.filter(|(_, it)| it.offset <= header.last_offset())
        {
            let is_last = entry.offset == header.last_offset();
            let within = is_last || self.sparse && entry.offset >= header.base_offset;
            let is_max = entry.timestamp == self.max_timestamp;
            if !within || !is_max || !self.rises() {
                let what = format!(
                    "up to offset {} the greatest timestamp is not {}",
                    entry.offset, entry.timestamp
                );
                self.faults.add(at, entry.offset < self.recovery_point, what);
            }
            self.step()?;
        }
        Ok(())
    }

    /// The walk has come to the end.
    pub(super) fn end(&mut self) -> io::Result<()> {
        while let Some((at, entry)) = self.next {
            let what = format!("offset {} is not in the segment", entry.offset);
            self.faults.add(at, entry.offset < self.recovery_point, what);
            self.step()?;
        }
        Ok(())
    }
}
