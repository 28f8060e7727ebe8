//! Where consuming stands, and where it begins.

use crate::batch::BatchHeader;
use crate::record::Timestamp;
use crate::transport::{FetchPosition, ListedOffset};

/// A place in a partition's log: the next offset to hand out.
///
/// An offset converts into a position whose epoch is unknown:
///
/// ```
/// use ottla::consumer::Position;
///
/// assert_eq!(Position::from(42), Position { offset: 42, leader_epoch: None });
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Position {
    /// The next offset to hand out.
    pub offset: i64,
    /// The leader epoch of the record before it. While it is unknown, a log that lost records
    /// and took others at the same offsets can't be told from one that did not.
    pub leader_epoch: Option<i32>,
}

impl Position {
    /// The place that a transport listed; `None` if no record was found.
    pub(super) fn listed(listed: ListedOffset) -> Option<Self> {
        let offset = listed.offset?;
        Some(Position { offset, leader_epoch: known(listed.leader_epoch) })
    }

    /// The place after a batch of which nothing is left to hand out.
    pub(super) fn after(header: &BatchHeader) -> Self {
        Position {
            offset: header.next_offset(),
            leader_epoch: known(header.partition_leader_epoch),
        }
    }

    /// The place after the record at `offset` of the batch with `header`.
    #[inline]
    pub(super) fn after_record(offset: i64, header: &BatchHeader) -> Self {
        Position { offset: offset + 1, leader_epoch: known(header.partition_leader_epoch) }
    }
}

/// Kafka writes an unknown epoch as -1.
#[inline]
fn known(leader_epoch: i32) -> Option<i32> {
    (leader_epoch >= 0).then_some(leader_epoch)
}

impl From<i64> for Position {
    fn from(offset: i64) -> Self {
        Position { offset, leader_epoch: None }
    }
}

impl From<Position> for FetchPosition {
    fn from(position: Position) -> Self {
        FetchPosition { offset: position.offset, leader_epoch: position.leader_epoch.unwrap_or(-1) }
    }
}

/// Where a consumer begins in a partition for which it has no position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Start {
    /// With the oldest record there is.
    #[default]
    Earliest,
    /// With what is produced from now on.
    Latest,
    /// With the first record that has at least this timestamp; without one, as [`Start::Latest`].
    Timestamp(Timestamp),
}

/// What a consumer does whose position lies outside of the log, because retention has passed it
/// or it was never there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OutOfRange {
    /// Returns [`Error::OffsetOutOfRange`](crate::error::Error::OffsetOutOfRange) once; the
    /// position is then the oldest record there is, and the next call goes on there.
    #[default]
    Error,
    /// Goes on with the oldest record there is. Logged as a warning.
    Earliest,
    /// Goes on with what is produced from now on. Logged as a warning.
    Latest,
}
