//! What can be wrong with the bytes of a batch.

use super::Compression;
use crate::codec::CodecError;

/// Why bytes are no batch, or a batch's records could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BatchError {
    /// The bytes end before the batch does; all of it that is there may be sound.
    #[error("batch cut short: {needed} bytes needed, {have} there")]
    Truncated {
        /// How many bytes the batch takes, or at least takes.
        needed: usize,
        /// How many there are.
        have: usize,
    },
    /// The format version is not 2; versions 0 and 1 ended with Kafka 4.0.
    #[error("unsupported magic: {0}")]
    UnsupportedMagic(i8),
    /// A field of the header has a value that it cannot have.
    #[error("impossible batch header: {field} = {value}")]
    InvalidHeader {
        /// The field's name.
        field: &'static str,
        /// What it says.
        value: i64,
    },
    /// The bytes are not those that were written.
    #[error("batch fails its crc: stored {stored:#010x}, computed {computed:#010x}")]
    CrcMismatch {
        /// The header's CRC.
        stored: u32,
        /// The CRC of the bytes.
        computed: u32,
    },
    /// The attributes name a compression that Kafka does not know.
    #[error("unknown compression codec: {0}")]
    UnknownCompression(i16),
    /// The batch is compressed, or was to be, with a codec that is not built in.
    #[error("compression {0} is not built in: cargo feature `{0}` is not enabled")]
    UnsupportedCompression(Compression),
    /// The batch's records are not what its codec writes.
    #[error("batch is not compressed with {codec} as it says: {reason}")]
    CorruptCompression {
        /// The codec.
        codec: Compression,
        /// What it says.
        reason: String,
    },
    /// The batch would take more memory than it may, were its records decompressed.
    #[error(
        "batch takes more than {limit} bytes when it is decompressed; consumers can be given \
         another limit (max_decompressed_bytes)"
    )]
    DecompressedTooLarge {
        /// The most that it may take.
        limit: usize,
    },
    /// A record is malformed. Those before it were sound, those after it cannot be found.
    #[error("malformed record: {fault}, record {index} of the batch")]
    MalformedRecord {
        /// Which record, counted from 0.
        index: i32,
        /// What is wrong with it.
        fault: RecordFault,
    },
    /// Bytes follow the last record.
    #[error("batch goes on after its last record: {0} bytes")]
    TrailingBytes(usize),
}

/// What is wrong with a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordFault {
    /// A field runs past the end, or is no varint, or has a negative length.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// The offset lies outside the range that the batch's header gives.
    #[error("offset delta {0} outside the batch")]
    OffsetDelta(i32),
    /// More headers than the record has room for, or fewer than none.
    #[error("impossible header count: {0}")]
    HeaderCount(i32),
    /// The record's length covers bytes that its fields do not.
    #[error("{0} bytes left over")]
    LeftOver(usize),
}
