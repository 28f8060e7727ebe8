//! A segment in the making: `.cleaned` files beside the live ones.
//!
//! What is passed over becomes 0-record batches, so that the segment's offsets are dense.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::BytesMut;

use crate::batch::{BatchHeader, put_filler};
use crate::log::index::{Entry, Index, OffsetEntry, TimeEntry};
use crate::log::segment::{Indexes, Segment, file_name};
use crate::log::shared::Shared;
use crate::storage::{Storage, StorageFile};

use super::CompactionPlan;

/// How much is gathered for one write.
const WRITE_BYTES: usize = 1 << 20;

/// What the files of a segment are called while they wait to be its files (Kafka's names).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Being written: worth nothing.
    Cleaned,
    /// All that was to be written is durable, and decided on: what it replaces may go.
    Swap,
    /// In place.
    Final,
}

impl Stage {
    /// The path of a file at this stage.
    pub(super) fn of(self, path: &Path) -> PathBuf {
        match self {
            Stage::Cleaned => path.with_added_extension("cleaned"),
            Stage::Swap => path.with_added_extension("swap"),
            Stage::Final => path.to_owned(),
        }
    }
}

/// The final paths of a segment's index files, and of its log.
pub(super) fn index_paths(dir: &Path, base_offset: i64) -> [PathBuf; 2] {
    ["index", "timeindex"].map(|ending| dir.join(file_name(base_offset, ending)))
}

pub(super) fn log_path(dir: &Path, base_offset: i64) -> PathBuf {
    dir.join(file_name(base_offset, "log"))
}

/// The segment being written.
pub(super) struct Output<'a> {
    plan: &'a CompactionPlan,
    base_offset: i64,
    file: Arc<dyn StorageFile>,
    indexes: Indexes,
    bytes_since_index: u64,
    /// Bytes that are in the file.
    written: u64,
    /// Bytes that are not yet.
    buffer: BytesMut,
    /// Offsets that were passed over and have no batch yet, and their epoch.
    passed: Option<(Range<i64>, i32)>,
    /// The offset behind the last batch taken or passed over.
    end: i64,
}

impl<'a> Output<'a> {
    pub(super) fn create(plan: &'a CompactionPlan, base_offset: i64) -> io::Result<Self> {
        let shared = &plan.shared;
        let path = Stage::Cleaned.of(&log_path(&shared.dir, base_offset));
        let file = shared.storage.open(&path, true)?;
        file.truncate(0)?;
        Ok(Output {
            plan,
            base_offset,
            file,
            indexes: Indexes::empty(base_offset),
            bytes_since_index: 0,
            written: 0,
            buffer: BytesMut::with_capacity(WRITE_BYTES),
            passed: None,
            end: base_offset,
        })
    }

    /// Whether the whole of a segment, which ends before `end`, can be added.
    pub(super) fn has_room_for(&self, segment: &Segment, end: i64) -> bool {
        self.end == segment.base_offset
            && self.size() + segment.size() <= self.plan.segment_bytes
            && end - 1 - self.base_offset <= i64::from(i32::MAX)
    }

    /// Bytes so far.
    fn size(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    /// Adds the batch that `write` adds to the buffer. False if there is none, or too much.
    pub(super) fn add(&mut self, write: impl FnOnce(&mut BytesMut) -> bool) -> io::Result<bool> {
        self.fill_in();
        let start = self.buffer.len();
        if !write(&mut self.buffer) {
            return Ok(false);
        }
        self.note(start);
        if self.buffer.len() >= WRITE_BYTES {
            self.flush()?;
        }
        // Positions in an index have 31 bits.
        Ok(self.size() <= i32::MAX as u64)
    }

    /// Passes over a batch: its offsets stay taken.
    pub(super) fn pass(&mut self, header: &BatchHeader) {
        let (epoch, from, end) =
            (header.partition_leader_epoch, header.base_offset, header.next_offset());
        self.end = end;
        match &mut self.passed {
            Some((offsets, of_epoch))
                if *of_epoch == epoch
                    && offsets.end == from
                    && !self.plan.recovery_points.contains(&from)
                    && end - offsets.start <= i64::from(i32::MAX) =>
            {
                offsets.end = end;
            }
            _ => {
                self.fill_in();
                self.passed = Some((from..end, epoch));
            }
        }
    }

    /// The batch that stands for what was passed over.
    fn fill_in(&mut self) {
        if let Some((offsets, epoch)) = self.passed.take() {
            let start = self.buffer.len();
            put_filler(offsets, epoch, &mut self.buffer);
            self.note(start);
        }
    }

    /// Takes note of the batch that stands in the buffer at `start`, as an append does.
    fn note(&mut self, start: usize) {
        let header = BatchHeader::parse(&self.buffer[start..]).expect("it was written from one");
        let position = self.written + start as u64;
        let indexed = self.bytes_since_index > self.plan.index_interval_bytes;
        self.indexes.note(&header, position, indexed);
        self.bytes_since_index = if indexed { 0 } else { self.bytes_since_index };
        self.bytes_since_index += header.size() as u64;
        self.end = self.end.max(header.next_offset());
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        if !self.file.room_for(self.buffer.len()) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.file.append(self.written, &[&self.buffer])?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Removes what there is of it. A `.cleaned` left lying would say, after a crash, that nothing
    /// of the compaction had been decided on: all of it would be undone, and what it had replaced
    /// by then be lost.
    pub(super) fn discard(self) -> io::Result<()> {
        let path = Stage::Cleaned.of(&log_path(&self.plan.shared.dir, self.base_offset));
        self.plan.shared.storage.remove_file(&path)
    }

    /// Writes what is left to write, and makes it durable; the files' names are not yet.
    pub(super) fn finish(mut self) -> io::Result<Fresh> {
        self.fill_in();
        self.flush()?;
        let mut indexes = self.indexes;
        indexes.times.push(indexes.max.expect("a segment with batches has a greatest timestamp"));
        let shared = &self.plan.shared;
        let mut fresh = Fresh {
            base_offset: self.base_offset,
            size: self.written,
            max: indexes.max,
            held: None,
            index_bytes: index_bytes(&indexes),
        };
        match shared.verify {
            true => {
                self.file.sync()?;
                store(&*shared.storage, &shared.dir, self.base_offset, indexes)?;
            }
            false => fresh.held = Some(indexes),
        }
        Ok(fresh)
    }
}

fn index_bytes(indexes: &Indexes) -> [u64; 2] {
    let (offsets, times) = (indexes.offsets.len(), indexes.times.len());
    [(offsets * OffsetEntry::LEN) as u64, (times * TimeEntry::LEN) as u64]
}

fn store(storage: &dyn Storage, dir: &Path, base: i64, mut indexes: Indexes) -> io::Result<()> {
    let [index, timeindex] = index_paths(dir, base).map(|path| Stage::Cleaned.of(&path));
    for path in [&index, &timeindex] {
        storage.open(path, true)?.truncate(0)?;
    }
    indexes.offsets.store(storage, &index)?;
    indexes.times.store(storage, &timeindex)?;
    storage.open(&index, false)?.sync()?;
    storage.open(&timeindex, false)?.sync()
}

/// A segment that was written and waits to be put in place.
#[derive(Debug)]
pub(super) struct Fresh {
    pub(super) base_offset: i64,
    pub(super) size: u64,
    max: Option<TimeEntry>,
    /// In memory there are no index files.
    held: Option<Indexes>,
    index_bytes: [u64; 2],
}

impl Fresh {
    /// The segment, its files being where they are at this stage.
    pub(super) fn open(&mut self, shared: &Shared, stage: Stage) -> io::Result<Segment> {
        let (base, storage) = (self.base_offset, &*shared.storage);
        let file = storage.open(&stage.of(&log_path(&shared.dir, base)), false)?;
        if let Some(indexes) = self.held.take() {
            return Ok(Segment::new(base, file, self.size, indexes));
        }
        let [index, timeindex] = index_paths(&shared.dir, base).map(|path| stage.of(&path));
        let offsets = Index::stored(base, storage.open(&index, false)?, self.index_bytes[0]);
        let times = Index::stored(base, storage.open(&timeindex, false)?, self.index_bytes[1]);
        let indexes = Indexes { offsets, times, max: self.max };
        Ok(Segment::new(base, file, self.size, indexes))
    }

    /// Another identity of a segment that can't be opened under its new name.
    pub(super) fn without_indexes(&self, file: Arc<dyn StorageFile>) -> Segment {
        let indexes = Indexes { max: self.max, ..Indexes::empty(self.base_offset) };
        Segment::new(self.base_offset, file, self.size, indexes)
    }

    /// Takes its files from one stage to the next, the log last.
    pub(super) fn advance(&self, shared: &Shared, from: Stage, to: Stage) -> io::Result<()> {
        if shared.verify {
            for path in index_paths(&shared.dir, self.base_offset) {
                shared.storage.rename(&from.of(&path), &to.of(&path))?;
            }
        }
        let log = log_path(&shared.dir, self.base_offset);
        shared.storage.rename(&from.of(&log), &to.of(&log))
    }
}
