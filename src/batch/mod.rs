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
mod copy;
mod error;
#[cfg(any(test, feature = "tcp"))]
mod halve;
mod header;
mod records;
mod retain;
mod spares;
#[cfg(test)]
mod tests;
mod validate;

use std::fmt;

use bytes::{Bytes, BytesMut};

pub use builder::BatchBuilder;
pub use compression::{Compression, InvalidCompression};
pub use copy::{copy_record, pack};
pub use error::{BatchError, RecordFault};
#[cfg(any(test, feature = "tcp"))]
pub use halve::halve;
pub use header::{BatchHeader, check_crc, patch, set_log_append_time, set_producer};
pub use records::{HeaderIter, RecordIter, RecordPosition, RecordView, to_consumer_record};
pub use retain::{Retained, first_without_key, put_emptied, put_filler};
pub use spares::Spares;
pub use validate::{InvalidBatch, InvalidReason, InvalidRecord, Rules, Validated, validate};

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

/// What a batch's records may take once they are decompressed, where nobody has said otherwise: 64
/// times Kafka's default for the largest batch, `max.message.bytes`.
pub const DEFAULT_MAX_DECOMPRESSED_BYTES: usize = 64 << 20;

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

    /// The batch as it was before it was compressed, with the same offsets, times and producer;
    /// itself if it is not compressed. Decompressed, it takes `limit_bytes` at most.
    pub fn expanded(&self, limit_bytes: usize) -> Result<Batch, BatchError> {
        if self.header.compression() == Compression::None {
            return Ok(self.clone());
        }
        let mut bytes = expand(&self.header, &self.bytes[HEADER_LEN..], limit_bytes)?;
        // Records that a user keeps keep all of it.
        bytes.shrink_to_fit();
        Batch::parse(bytes.into())
    }

    /// Reads all records once. Of a batch that can't be decompressed nothing is known.
    pub fn check_records(&self, limit_bytes: usize) -> Result<(), BatchError> {
        let Ok(expanded) = self.expanded(limit_bytes) else { return Ok(()) };
        expanded.records().try_for_each(|record| record.map(drop))
    }

    /// Its records, in order; of a compressed batch, an error: see [`Batch::expanded`].
    pub fn records(&self) -> RecordIter<'_> {
        RecordIter::new(self)
    }
}

/// The batch with its records compressed, and sealed anew. `batch` is one whole batch that is not
/// compressed; one without records stays as it is.
///
/// The result may be longer than the batch.
pub fn compress(batch: &[u8], codec: Compression) -> Result<BytesMut, BatchError> {
    let header = BatchHeader::parse(batch)?;
    let Some(records) = batch.get(HEADER_LEN..header.size()) else {
        return Err(BatchError::Truncated { needed: header.size(), have: batch.len() });
    };
    if header.compression() != Compression::None {
        let value = header.compression().id().into();
        return Err(BatchError::InvalidHeader { field: "compression", value });
    }
    if header.record_count == 0 || codec == Compression::None {
        return Ok(batch[..header.size()].into());
    }
    compress_records(header, records, codec)
}

/// A batch with such a header but for its compression, of records that are not compressed.
fn compress_records(
    header: BatchHeader,
    records: &[u8],
    codec: Compression,
) -> Result<BytesMut, BatchError> {
    let mut bytes = vec![0; HEADER_LEN];
    codec.compress(records, &mut bytes)?;
    finish(header.with_compression(codec), &mut bytes)?;
    Ok(Bytes::from(bytes).into())
}

/// The bytes of a batch with such a header, of records that are compressed as it says.
fn expand(header: &BatchHeader, records: &[u8], limit_bytes: usize) -> Result<Vec<u8>, BatchError> {
    let mut bytes = vec![0; HEADER_LEN];
    // What compaction has emptied has nothing to decompress.
    if header.record_count > 0 {
        let limit = limit_bytes.min(i32::MAX as usize);
        header.compression().decompress(records, &mut bytes, limit)?;
    }
    finish(header.with_compression(Compression::None), &mut bytes)?;
    Ok(bytes)
}

/// Puts a header in front of records, with its length and CRC put right.
fn finish(header: BatchHeader, bytes: &mut [u8]) -> Result<(), BatchError> {
    let value = bytes.len() as i64 - LOG_OVERHEAD as i64;
    let too_long = BatchError::InvalidHeader { field: "batch_length", value };
    let batch_length = i32::try_from(value).map_err(|_| too_long)?;
    let header = BatchHeader { batch_length, ..header };
    bytes[..HEADER_LEN].copy_from_slice(&header.to_bytes());
    header::seal(bytes);
    Ok(())
}

impl fmt::Debug for Batch {
    /// Shows the header; the records would fill a screen.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch").field("header", &self.header).finish_non_exhaustive()
    }
}
