//! What can go wrong with one partition's log.

use std::io;
use std::sync::Arc;

use crate::batch::BatchError;

use super::producers::ProducerError;

/// Why a batch was not appended. Nothing of it is in the log.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AppendError {
    /// Larger than `max.message.bytes` allows.
    #[error("batch of {size} bytes is over max.message.bytes={limit}")]
    TooLarge {
        /// The batch's size.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// Larger than a whole segment.
    #[error("batch of {size} bytes is over segment.bytes={limit}")]
    LargerThanSegment {
        /// The batch's size.
        size: usize,
        /// The limit.
        limit: u64,
    },
    /// The bytes are no record batch.
    #[error("not a record batch: {0}")]
    Invalid(#[from] BatchError),
    /// A record has no key, which on a compacted topic it needs (INVALID_RECORD).
    #[error("a record has no key, but the topic is compacted: record {index} of the batch")]
    MissingKey {
        /// Which record, counted from 0.
        index: i32,
    },
    /// The producer's state forbids it.
    #[error(transparent)]
    Producer(#[from] ProducerError),
    /// The memory budget is used up; it may be tried again.
    #[error("the memory budget of {limit} bytes is used up")]
    MemoryFull {
        /// The budget.
        limit: usize,
        /// Whether the append waits until there is room.
        waits: bool,
    },
    /// The log has come to its cap with records that are held; it may be tried again.
    #[error("the {limit} bytes that it may take are taken by what is held")]
    Held {
        /// The cap.
        limit: u64,
        /// Whether the append waits until there is room.
        waits: bool,
    },
    /// The disk is full. The log is as it was before the append, and may be tried again.
    #[error("no space left for {what}")]
    StorageFull {
        /// The file that could not grow.
        what: String,
    },
    /// An earlier failure made this log read-only.
    #[error("the log is read-only since a failure: {0}")]
    ReadOnly(Arc<io::Error>),
    /// No more offsets: 2^63-1 is the last.
    #[error("the log has no offsets left")]
    OffsetsExhausted,
}

impl AppendError {
    /// Whether the append is to wait, and be tried again.
    pub fn waits(&self) -> bool {
        use AppendError::{Held, MemoryFull};
        matches!(self, MemoryFull { waits: true, .. } | Held { waits: true, .. })
    }
}

impl From<AppendError> for io::Error {
    /// For those who only ask what kind it is: a full disk stays one.
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::StorageFull { .. } => io::Error::new(io::ErrorKind::StorageFull, error),
            other => io::Error::other(other),
        }
    }
}

/// Why a log was not compacted. What it held it still holds.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CompactionError {
    /// Reading or writing failed; the log goes on, and compaction may be tried again.
    #[error("compaction failed, and changed nothing: {0}")]
    Failed(Arc<io::Error>),
    /// Putting the compacted segments in place failed, now or earlier: the log is read-only, and
    /// the next open finishes or undoes it.
    #[error("the log is read-only since a failure: {0}")]
    ReadOnly(Arc<io::Error>),
}

/// Why a read gave nothing. A read error is never "no data".
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadError {
    /// The position lies outside of the log.
    #[error("offset {offset} is outside of {log_start_offset}..={log_end_offset}")]
    OffsetOutOfRange {
        /// The position asked for.
        offset: i64,
        /// The first offset there is.
        log_start_offset: i64,
        /// The offset that the next record gets.
        log_end_offset: i64,
    },
    /// The batches of these offsets can't be read; the log goes on at `to`.
    #[error("offsets {from}..{to} are corrupt")]
    Corrupt {
        /// The first offset that can't be read.
        from: i64,
        /// The first offset after them that can.
        to: i64,
    },
    /// The records that led to this position are gone; others took their offsets from `to` on.
    #[error("the log was truncated to offset {to} since that position was read")]
    Truncated {
        /// Where the position's epoch ended.
        to: i64,
    },
    /// The storage failed.
    #[error("reading the log: {0}")]
    Io(Arc<io::Error>),
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        ReadError::Io(Arc::new(error))
    }
}
