//! What was fetched of one partition and is not handed out yet.
//!
//! A partition's position moves here and only here: with the records that are taken, and over
//! what holds none (control batches, gaps). So a buffer can be thrown away at any time, and
//! fetching again from the position brings back the same records.

use std::vec;

use super::Position;
use super::assignment::Tenure;
use super::records::Part;
use crate::batch::{Batch, BatchError, RecordPosition, RecordView};
use crate::error::{Error, Result};
use crate::topic::TopicPartition;
use crate::transport::Fetched;

/// Batches, then possibly an error.
#[derive(Debug)]
pub(super) struct Buffer {
    /// The partition's slot in the assignment.
    pub(super) slot: usize,
    at: TopicPartition,
    /// The first one is being read.
    batches: vec::IntoIter<Batch>,
    /// How far the first batch is read.
    cursor: RecordPosition,
    /// How many of its records have not been read; 0 for a control batch.
    left: i32,
    /// Why it could not be decompressed, if it could not.
    compressed: Option<BatchError>,
    /// What a batch may take once it is decompressed.
    limit_bytes: usize,
    /// Whether its records, unless they are compressed, need not be looked at before they are
    /// handed out.
    is_sound: bool,
    error: Option<Error>,
}

/// What [`Buffer`] had next.
#[derive(Debug)]
pub(super) enum Taken<T> {
    Some(T),
    /// Nothing can follow in this buffer; asked again, it fails again.
    Failed(Error),
    Nothing,
}

impl Buffer {
    /// What was `fetched` from `position` on. Batches are decompressed when their turn comes, to
    /// `limit_bytes` each.
    pub(super) fn new(
        slot: usize,
        position: Position,
        fetched: Fetched,
        limit_bytes: usize,
    ) -> Self {
        let (batches, error) = match fetched.result {
            Ok(batches) => (batches, None),
            Err(error) => (Vec::new(), Some(error)),
        };
        let mut buffer = Buffer {
            slot,
            at: fetched.at,
            batches: batches.into_iter(),
            cursor: RecordPosition::default(),
            left: 0,
            compressed: None,
            limit_bytes,
            is_sound: fetched.is_sound,
            error,
        };
        buffer.open(position);
        buffer
    }

    /// Where the fetch ended: fetching goes on there once this buffer is empty. `None` if it has
    /// no batches.
    pub(super) fn end(&self) -> Option<Position> {
        self.batches.as_slice().last().map(|batch| Position::after(batch.header()))
    }

    /// What follows the batch that is being read.
    pub(super) fn batch_end(&self) -> Option<Position> {
        self.batches.as_slice().first().map(|batch| Position::after(batch.header()))
    }

    /// Makes sure of a record that has not been read, which [`Buffer::read`] can take.
    #[inline]
    pub(super) fn advance(&mut self, position: &mut Position) -> Taken<()> {
        while self.left == 0 {
            let Some(done) = self.batches.next() else {
                return self.error.clone().map_or(Taken::Nothing, Taken::Failed);
            };
            let end = Position::after(done.header());
            if end.offset >= position.offset {
                *position = end;
            }
            self.open(*position);
        }
        Taken::Some(())
    }

    /// Takes the next record. To be called after [`Buffer::advance`].
    #[inline]
    pub(super) fn read(
        &mut self,
        position: &mut Position,
    ) -> Result<(RecordView<'_>, &Batch, &TopicPartition)> {
        let batch = self.batches.as_slice().first().expect("`advance` has found a record");
        let view = match self.cursor.next(batch) {
            Some(Ok(view)) => view,
            fault => return Err(self.fault(batch, *position, fault.and_then(Result::err))),
        };
        self.left -= 1;
        *position = after(view.offset, batch, self.left);
        Ok((view, batch, &self.at))
    }

    /// Takes up to `max` records that lie in one batch, all of which have been decoded, or are
    /// known to be sound.
    pub(super) fn take_part(
        &mut self,
        position: &mut Position,
        tenure: Tenure,
        max: usize,
    ) -> Taken<Part> {
        match self.advance(position) {
            Taken::Some(()) => {}
            Taken::Failed(error) => return Taken::Failed(error),
            Taken::Nothing => return Taken::Nothing,
        }
        let batch = self.batches.as_slice().first().expect("`advance` has found a record");
        let start = self.cursor.clone();
        let mut count = 0;
        let is_whole = self.left == batch.header().record_count && self.left as usize <= max;
        if self.is_sound && is_whole && self.compressed.is_none() {
            // Going over them would be to wait for each in its turn to come into the cache.
            count = std::mem::take(&mut self.left) as usize;
            *position = Position::after(batch.header());
        }
        if count == 0 {
            let (passed, last) = self.cursor.pass(batch, max.min(self.left as usize));
            // What is wrong behind sound ones is said by the next call, which begins with it.
            let Some(last) = last else {
                let fault = self.cursor.next(batch).and_then(Result::err);
                return Taken::Failed(self.fault(batch, *position, fault));
            };
            self.left -= passed as i32;
            *position = after(last, batch, self.left);
            count = passed;
        }
        let (at, batch) = (self.at.clone(), batch.clone());
        Taken::Some(Part { at, batch, start, count, end: *position, tenure })
    }

    /// Begins with the batch that is now the first, where `position` lies in it.
    fn open(&mut self, position: Position) {
        self.cursor = RecordPosition::default();
        (self.left, self.compressed) = (0, None);
        let Some(batch) = self.batches.as_mut_slice().first_mut() else { return };
        if batch.header().is_control() {
            return;
        }
        match batch.expanded(self.limit_bytes) {
            Ok(expanded) => *batch = expanded,
            Err(error) => self.compressed = Some(error),
        }
        let header = batch.header();
        self.left = header.record_count;
        while header.base_offset < position.offset && self.left > 0 {
            let before = self.cursor.clone();
            match self.cursor.next(batch) {
                Some(Ok(view)) if view.offset < position.offset => self.left -= 1,
                _ => {
                    self.cursor = before;
                    return;
                }
            }
        }
    }

    /// What a batch that can't be decoded means: its rest is lost, unless it only takes a codec
    /// that is not built in, or more memory than it may.
    #[cold]
    fn fault(&self, batch: &Batch, position: Position, fault: Option<BatchError>) -> Error {
        use BatchError::{DecompressedTooLarge, UnsupportedCompression};

        let at = self.at.clone();
        match self.compressed.clone().or(fault) {
            Some(source @ (UnsupportedCompression(_) | DecompressedTooLarge { .. })) => {
                Error::InvalidRecord { at, source }
            }
            fault => {
                let (from, to) = (position.offset, batch.header().next_offset());
                tracing::warn!(%at, from, to, ?fault, "the rest of a batch can't be decoded");
                Error::Corrupt { at, from, to }
            }
        }
    }
}

/// The position after a record, of whose batch `left` more are to come: after the last one it is
/// past the offsets that compaction took.
#[inline]
fn after(offset: i64, batch: &Batch, left: i32) -> Position {
    match left {
        0 => Position::after(batch.header()),
        _ => Position::after_record(offset, batch.header()),
    }
}
