//! Records to and from the bytes of a record batch, Apache Kafka's format version 2 ("magic 2").
//!
//! A producer encodes its records once, with [`BatchBuilder`]; those bytes are what is stored,
//! fetched and sent, and [`Batch`] reads them without copying. On the way only the base offset and
//! the leader epoch change ([`patch`]), which the CRC does not cover.
//!
//! Bytes may come from a damaged file or a hostile peer: nothing here panics on them, trusts a
//! length or a count in them, or allocates by one.
//!
//! Format: <https://kafka.apache.org/documentation/#recordbatch>.

mod builder;
mod compression;
mod error;
mod header;
mod records;
mod retain;
#[cfg(test)]
mod tests;

use std::fmt;

use bytes::Bytes;

pub use builder::BatchBuilder;
pub use compression::Compression;
pub use error::{BatchError, RecordFault};
pub use header::{BatchHeader, check_crc, patch, set_log_append_time};
pub use records::{HeaderIter, RecordIter, RecordPosition, RecordView, to_consumer_record};
pub use retain::{Retained, first_without_key, put_emptied, put_filler};

/// Length in bytes of a batch's header; records follow.
pub const HEADER_LEN: usize = 61;
/// Length in bytes of what `batch_length` does not count: the base offset and itself.
pub const LOG_OVERHEAD: usize = 12;
/// The format version that this module reads and writes.
pub const MAGIC: i8 = 2;
/// The producer id of a batch whose producer is not idempotent.
pub const NO_PRODUCER_ID: i64 = -1;
/// The producer epoch beside [`NO_PRODUCER_ID`].
pub const NO_PRODUCER_EPOCH: i16 = -1;
/// The base sequence beside [`NO_PRODUCER_ID`].
pub const NO_SEQUENCE: i32 = -1;

/// One whole batch: its bytes, and its header read from them. Cheap to clone.
///
/// The header is plausible ([`BatchHeader::parse`]) and the bytes are exactly as long as it says;
/// the records are checked as they are read.
#[derive(Clone, PartialEq, Eq)]
pub struct Batch {
    header: BatchHeader,
    bytes: Bytes,
}

impl Batch {
    /// The first batch of `bytes`, which may go on after it. The CRC is not checked.
    pub fn parse(mut bytes: Bytes) -> Result<Batch, BatchError> {
        let header = BatchHeader::parse(&bytes)?;
        if bytes.len() < header.size() {
            return Err(BatchError::Truncated { needed: header.size(), have: bytes.len() });
        }
        bytes.truncate(header.size());
        Ok(Batch { header, bytes })
    }

    /// As [`Batch::parse`], and checks the CRC.
    pub fn parse_checked(bytes: Bytes) -> Result<Batch, BatchError> {
        let batch = Batch::parse(bytes)?;
        header::verify_crc(&batch.header, &batch.bytes)?;
        Ok(batch)
    }

    /// The header.
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// All bytes of the batch, header included.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Its records, in order.
    pub fn records(&self) -> RecordIter<'_> {
        RecordIter::new(self)
    }
}

impl fmt::Debug for Batch {
    /// Shows the header; the records would fill a screen.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch").field("header", &self.header).finish_non_exhaustive()
    }
}
