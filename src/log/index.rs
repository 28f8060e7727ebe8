//! A segment's sparse indexes, in the bytes of Kafka's `.index` and `.timeindex` files.
//!
//! An offset entry says at which byte the batch with that *last* offset begins; a time entry says
//! which timestamp was the greatest when the batch with that last offset had been appended. Both
//! rise strictly. Entries can be derived from the segment, so a lookup that a damaged file leads
//! astray is noticed by the reader, which then starts at the segment's first byte.

use std::io;
use std::marker::PhantomData;
use std::path::Path;
use std::sync::Arc;

use crate::storage::{Storage, StorageFile, read_exact_at};

/// One entry of a sparse index, of fixed length on disk, sorted by its key.
pub(super) trait Entry: Copy {
    /// Bytes on disk.
    const LEN: usize;

    fn key(&self) -> i64;
    fn encode(&self, base_offset: i64, out: &mut Vec<u8>);
    fn decode(base_offset: i64, bytes: &[u8]) -> Self;
}

/// `.index`: where the batch that ends with `last_offset` begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OffsetEntry {
    pub(super) last_offset: i64,
    pub(super) position: u64,
}

/// `.timeindex`: up to `offset`, no timestamp is greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TimeEntry {
    pub(super) timestamp: i64,
    pub(super) offset: i64,
}

fn be32(bytes: &[u8]) -> u32 {
    u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

impl Entry for OffsetEntry {
    const LEN: usize = 8;

    fn key(&self) -> i64 {
        self.last_offset
    }

    fn encode(&self, base_offset: i64, out: &mut Vec<u8>) {
        // A segment is rolled before either number could leave 31 bits.
        out.extend_from_slice(&((self.last_offset - base_offset) as u32).to_be_bytes());
        out.extend_from_slice(&(self.position as u32).to_be_bytes());
    }

    fn decode(base_offset: i64, bytes: &[u8]) -> Self {
        let last_offset = base_offset.saturating_add(i64::from(be32(bytes)));
        OffsetEntry { last_offset, position: u64::from(be32(&bytes[4..])) }
    }
}

impl Entry for TimeEntry {
    const LEN: usize = 12;

    fn key(&self) -> i64 {
        self.timestamp
    }

    fn encode(&self, base_offset: i64, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.timestamp.to_be_bytes());
        out.extend_from_slice(&((self.offset - base_offset) as u32).to_be_bytes());
    }

    fn decode(base_offset: i64, bytes: &[u8]) -> Self {
        let high = u64::from(be32(bytes)) << 32 | u64::from(be32(&bytes[4..]));
        let offset = base_offset.saturating_add(i64::from(be32(&bytes[8..])));
        TimeEntry { timestamp: high as i64, offset }
    }
}

/// The entries of one index: held while the segment grows, left in their file afterwards.
#[derive(Debug)]
pub(super) struct Index<E> {
    base_offset: i64,
    entries: Entries<E>,
    /// How many of the entries the file holds already.
    stored: usize,
    kind: PhantomData<E>,
}

#[derive(Debug)]
enum Entries<E> {
    Held(Vec<E>),
    Stored(Arc<dyn StorageFile>),
}

impl<E: Entry> Index<E> {
    /// An index that grows from nothing.
    pub(super) fn empty(base_offset: i64) -> Self {
        Index { base_offset, entries: Entries::Held(Vec::new()), stored: 0, kind: PhantomData }
    }

    /// An index that stays in its file, which is `len` bytes long.
    pub(super) fn stored(base_offset: i64, file: Arc<dyn StorageFile>, len: u64) -> Self {
        let stored = (len / E::LEN as u64) as usize;
        Index { base_offset, entries: Entries::Stored(file), stored, kind: PhantomData }
    }

    pub(super) fn len(&self) -> usize {
        match &self.entries {
            Entries::Held(entries) => entries.len(),
            Entries::Stored(_) => self.stored,
        }
    }

    /// The entries, as long as they are held.
    #[cfg(feature = "tcp")]
    pub(super) fn held(&self) -> &[E] {
        match &self.entries {
            Entries::Held(entries) => entries,
            Entries::Stored(_) => &[],
        }
    }

    /// Adds an entry if its key is beyond the last one's. Only a held index grows.
    pub(super) fn push(&mut self, entry: E) {
        if let Entries::Held(entries) = &mut self.entries
            && entries.last().is_none_or(|last| last.key() < entry.key())
        {
            entries.push(entry);
        }
    }

    /// The entry at `i`; the file may be shorter than it was, which is an error.
    fn entry(&self, i: usize) -> io::Result<E> {
        match &self.entries {
            Entries::Held(entries) => Ok(entries[i]),
            Entries::Stored(file) => {
                let bytes = read_exact_at(&**file, (i * E::LEN) as u64, E::LEN)?;
                Ok(E::decode(self.base_offset, &bytes))
            }
        }
    }

    /// The last entry with `entry.key() < key` (or `<=` if `inclusive`).
    pub(super) fn floor(&self, key: i64, inclusive: bool) -> io::Result<Option<E>> {
        let (mut low, mut high) = (0, self.len());
        let mut found = None;
        while low < high {
            let middle = low + (high - low) / 2;
            let entry = self.entry(middle)?;
            if entry.key() < key || inclusive && entry.key() == key {
                found = Some(entry);
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(found)
    }

    pub(super) fn last(&self) -> io::Result<Option<E>> {
        match self.len() {
            0 => Ok(None),
            n => self.entry(n - 1).map(Some),
        }
    }

    /// Loads a stored index's entries, so that it can grow again: those that `keep` wants, from
    /// the front. The file is cut to them by the next `store`.
    pub(super) fn load(&mut self, keep: impl Fn(&E) -> bool) -> io::Result<()> {
        let Entries::Stored(file) = &self.entries else { return Ok(()) };
        let bytes = read_exact_at(&**file, 0, self.stored * E::LEN)?;
        let decoded = bytes.chunks_exact(E::LEN).map(|entry| E::decode(self.base_offset, entry));
        let kept: Vec<E> = decoded.take_while(keep).collect();
        let rising = kept.windows(2).take_while(|pair| pair[0].key() < pair[1].key()).count();
        let kept = kept[..kept.len().min(rising + 1)].to_vec();
        self.stored = kept.len();
        self.entries = Entries::Held(kept);
        Ok(())
    }

    /// Appends the entries that the file lacks, and cuts off what it should not have. False if
    /// the entries are in the file anyway.
    pub(super) fn store(&mut self, storage: &dyn Storage, path: &Path) -> io::Result<bool> {
        let Entries::Held(entries) = &self.entries else { return Ok(false) };
        let file = storage.open(path, true)?;
        let at = (self.stored * E::LEN) as u64;
        match file.len()? {
            len if len < at => self.stored = 0,
            len if len > at => file.truncate(at)?,
            _ => {}
        }
        if self.stored == 0 {
            file.truncate(0)?;
        }
        let mut bytes = Vec::with_capacity((entries.len() - self.stored) * E::LEN);
        for entry in &entries[self.stored..] {
            entry.encode(self.base_offset, &mut bytes);
        }
        if !bytes.is_empty() {
            file.append((self.stored * E::LEN) as u64, &[&bytes])?;
        }
        self.stored = entries.len();
        Ok(true)
    }

    /// Lets go of the entries after a `store`: from now on lookups read the file.
    pub(super) fn release(&mut self, file: Arc<dyn StorageFile>) {
        if matches!(&self.entries, Entries::Held(entries) if entries.len() == self.stored) {
            self.entries = Entries::Stored(file);
        }
    }
}
