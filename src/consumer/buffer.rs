//! What was fetched of one partition and is not handed out yet.
//!
//! A partition's position moves here and only here: with the records that are taken, and over
//! what holds none (control batches, gaps). So a buffer can be thrown away at any time, and
//! fetching again from the position brings back the same records.

use std::vec;

use super::Position;
use super::records::Part;
use crate::batch::{Batch, BatchError, RecordPosition, to_consumer_record};
use crate::error::{Error, Result};
use crate::record::ConsumerRecord;
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
    pub(super) fn new(slot: usize, fetched: Fetched) -> Self {
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
            error,
        };
        buffer.open();
        buffer
    }

    /// Where the fetch ended: fetching goes on there once this buffer is empty. `None` if it has
    /// no batches.
    pub(super) fn end(&self) -> Option<Position> {
        self.batches.as_slice().last().map(|batch| Position::after(batch.header()))
    }

    /// The next record.
    #[inline]
    pub(super) fn take_record(&mut self, position: &mut Position) -> Taken<ConsumerRecord> {
        loop {
            let Some(batch) = self.batches.as_slice().first() else {
                return self.ended();
            };
            if self.left == 0 {
                self.close(position);
                continue;
            }
            let view = match self.cursor.next(batch) {
                Some(Ok(view)) => view,
                Some(Err(fault)) => return Taken::Failed(self.fault(batch, *position, fault)),
                None => {
                    self.left = 0;
                    continue;
                }
            };
            self.left -= 1;
            if view.offset < position.offset {
                continue;
            }
            *position = Position::after_record(view.offset, batch.header());
            let record = to_consumer_record(&view, batch, &self.at.topic, self.at.partition);
            if self.left == 0 {
                self.close(position);
            }
            return Taken::Some(record);
        }
    }

    /// Up to `max` records that lie in one batch. All of them have been decoded.
    pub(super) fn take_part(&mut self, position: &mut Position, max: usize) -> Taken<Part> {
        loop {
            let Some(batch) = self.batches.as_slice().first() else {
                return self.ended();
            };
            match self.walk(batch, *position, max) {
                Ok(walked) => {
                    self.cursor = walked.end;
                    self.left = walked.left;
                    *position = walked.position;
                    let whole = self.left == 0;
                    let part = (walked.count > 0).then(|| self.part(walked.start, walked.count));
                    if whole {
                        self.close(position);
                    }
                    if let Some(part) = part {
                        return Taken::Some(part);
                    }
                }
                Err(fault) => return Taken::Failed(self.fault(batch, *position, fault)),
            }
        }
    }

    /// Goes over the first batch's records from the position on, until `max`, the end, or one
    /// that is malformed: it is an error only if it is the first.
    fn walk(&self, batch: &Batch, from: Position, max: usize) -> Result<Walked, BatchError> {
        let (start, end) = (self.cursor.clone(), self.cursor.clone());
        let mut walked = Walked { start, end, count: 0, left: self.left, position: from };
        let mut next_offset = from.offset;
        while walked.left > 0 && walked.count < max {
            let before = walked.end.clone();
            match walked.end.next(batch) {
                Some(Ok(view)) if view.offset >= next_offset => {
                    next_offset = view.offset + 1;
                    walked.count += 1;
                }
                Some(Ok(_)) if walked.count == 0 => walked.start = walked.end.clone(),
                Some(Err(fault)) if walked.count == 0 => return Err(fault),
                // Malformed, or out of order: the next walk begins with it.
                Some(_) => {
                    walked.end = before;
                    break;
                }
                None => walked.left = 1,
            }
            walked.left -= 1;
        }
        if walked.count > 0 {
            walked.position = Position::after_record(next_offset - 1, batch.header());
        }
        Ok(walked)
    }

    fn part(&self, start: RecordPosition, count: usize) -> Part {
        let batch = self.batches.as_slice().first().expect("the walk was over the first batch");
        Part { at: self.at.clone(), batch: batch.clone(), start, count }
    }

    /// Leaves the first batch behind: what it did not hold, no other batch does.
    fn close(&mut self, position: &mut Position) {
        if let Some(batch) = self.batches.next() {
            let end = Position::after(batch.header());
            if end.offset >= position.offset {
                *position = end;
            }
        }
        self.open();
    }

    /// Begins with the batch that is now the first.
    fn open(&mut self) {
        self.cursor = RecordPosition::default();
        self.left = match self.batches.as_slice().first().map(Batch::header) {
            Some(header) if !header.is_control() => header.record_count,
            _ => 0,
        };
    }

    #[cold]
    fn ended<T>(&self) -> Taken<T> {
        self.error.clone().map_or(Taken::Nothing, Taken::Failed)
    }

    /// What a batch that can't be decoded means: its rest is lost, unless it only takes a codec
    /// that is not built in.
    #[cold]
    fn fault(&self, batch: &Batch, position: Position, fault: BatchError) -> Error {
        let at = self.at.clone();
        match fault {
            BatchError::UnsupportedCompression(_) => Error::InvalidRecord { at, source: fault },
            _ => {
                let to = batch.header().next_offset();
                tracing::warn!(%at, from = position.offset, to, %fault, "skipping a batch's rest");
                Error::Corrupt { at, from: position.offset, to }
            }
        }
    }
}

/// A run of records in one batch.
struct Walked {
    /// Before the first of them.
    start: RecordPosition,
    /// After the last of them.
    end: RecordPosition,
    count: usize,
    /// How many records of the batch have not been read.
    left: i32,
    /// The partition's position once they are handed out.
    position: Position,
}
