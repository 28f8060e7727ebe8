//! Full validation of a batch that a network peer wants to have appended.
//!
//! What is refused, with which error and in which order, is Apache Kafka's (`ProduceRequest`,
//! `UnifiedLog`, `LogValidator`); the variants of [`InvalidBatch`] are its error codes. Stricter
//! than Kafka, because ottla's readers rely on it:
//! * Offset deltas are consecutive from 0. Kafka does not look at those of batches that are not
//!   compressed, and encodes the others anew.
//! * A batch that says its times are the broker's is refused whatever the topic's setting. Where
//!   that is CreateTime, Kafka checks the batch's latest time alone and drops the claim.
//! * Nothing may follow the batch. Kafka passes over what is no whole batch.
//!
//! Left to the caller, who knows more: what zstd is to old versions of Produce, transactions,
//! producers' sequences. Base offset, leader epoch and `LogAppendTime` are the log's to set.
//!
//! Nothing here panics on any bytes; nor does it take memory by what they claim, but only as
//! records come out of them, up to a limit.

use std::fmt;
use std::time::Duration;

use bytes::BytesMut;

use super::header::{seal, verify_crc};
use super::records::decode;
use super::{
    BatchError, BatchHeader, Compression, HEADER_LEN, LOG_OVERHEAD, MAGIC, RecordView,
    compress_records, expand,
};
use crate::codec::Reader;
use crate::record::{Timestamp, TimestampType};

/// How many of a batch's invalid records are told of at most.
const MAX_INVALID_RECORDS: usize = 1_000;

/// Where a header has the latest timestamp.
const MAX_TIMESTAMP_AT: usize = 35;

/// The timestamp of a record that has none, which is always valid.
const NO_TIMESTAMP: i64 = -1;

/// What a topic asks of batches.
#[derive(Debug, Clone)]
pub struct Rules {
    /// `max.message.bytes`: the largest batch, as it comes and as it is stored.
    pub max_message_bytes: usize,
    /// `segment.bytes`: no batch can be larger.
    pub segment_bytes: u64,
    /// Whether every record needs a key.
    pub compacted: bool,
    /// `message.timestamp.type`.
    pub timestamp_type: TimestampType,
    /// The broker's time.
    pub now: Timestamp,
    /// `message.timestamp.before.max.ms`: how far back timestamps may lie under CreateTime.
    pub timestamp_before_max: Duration,
    /// `message.timestamp.after.max.ms`: how far ahead.
    pub timestamp_after_max: Duration,
    /// `compression.type`: `None` leaves batches as they are compressed.
    pub compression: Option<Compression>,
    /// What the batch may take once it is decompressed.
    pub max_decompressed_bytes: usize,
}

/// A batch that may be appended.
#[derive(Debug)]
pub struct Validated {
    /// Its bytes: those that came, unless the latest timestamp had to be corrected or the topic
    /// wants another compression.
    pub bytes: BytesMut,
    /// Their header.
    pub header: BatchHeader,
}

/// Why a batch may not be appended, by Kafka's error codes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidBatch {
    /// CORRUPT_MESSAGE: the bytes are not those that were sent.
    #[error("corrupt batch: {0}")]
    CorruptMessage(BatchError),
    /// MESSAGE_TOO_LARGE: the batch is over `max.message.bytes`.
    #[error("batch of {size} bytes is over max.message.bytes={limit}")]
    MessageTooLarge {
        /// Its size, as stored.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// MESSAGE_TOO_LARGE as well: decompressed, the batch takes more memory than it may.
    #[error("batch takes more than {limit} bytes when it is decompressed")]
    DecompressedTooLarge {
        /// The most that it may take.
        limit: usize,
    },
    /// RECORD_LIST_TOO_LARGE: the batch is larger than a segment.
    #[error("batch of {size} bytes is over segment.bytes={limit}")]
    RecordListTooLarge {
        /// Its size.
        size: usize,
        /// The limit.
        limit: u64,
    },
    /// INVALID_TIMESTAMP: timestamps out of range, or not the producer's. Other records may be
    /// invalid for other reasons.
    #[error("{reason}")]
    InvalidTimestamp {
        /// What is wrong with the batch.
        reason: String,
        /// The records that are invalid: the first 1,000.
        records: Vec<InvalidRecord>,
    },
    /// UNSUPPORTED_COMPRESSION_TYPE: of the batch, or of the topic it is to go to.
    #[error(transparent)]
    UnsupportedCompression(BatchError),
    /// INVALID_RECORD: anything else.
    #[error("{reason}")]
    InvalidRecord {
        /// What is wrong with the batch.
        reason: String,
        /// The records that are invalid: the first 1,000; none if it is the batch that is.
        records: Vec<InvalidRecord>,
    },
}

/// A record that makes its batch invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidRecord {
    /// Which record of its batch, counted from 0.
    pub index: i32,
    /// What is wrong with it.
    pub reason: InvalidReason,
}

/// What can be wrong with a record that is sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvalidReason {
    /// It has no key, and the topic is compacted.
    MissingKey,
    /// Its timestamp, in milliseconds, is too far from the broker's time.
    Timestamp(i64),
}

impl fmt::Display for InvalidReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InvalidReason::MissingKey => f.write_str("a record of a compacted topic needs a key"),
            InvalidReason::Timestamp(timestamp) => write!(
                f,
                "timestamp {timestamp} is out of range (message.timestamp.before.max.ms, \
                 message.timestamp.after.max.ms)"
            ),
        }
    }
}

/// Checks `bytes`, all that a peer sent for one partition: one batch, which `rules` allow.
pub fn validate(bytes: BytesMut, rules: &Rules) -> Result<Validated, InvalidBatch> {
    let header = check_batch(&bytes, rules)?;
    check_client(&header)?;
    let source = header.compression();
    let expanded = match source {
        Compression::None => None,
        _ => Some(expand(&header, &bytes[HEADER_LEN..], rules.max_decompressed_bytes)?),
    };
    let records = &expanded.as_deref().unwrap_or(&bytes)[HEADER_LEN..];
    let max_timestamp = check_records(records, &header, rules)?;
    let header = match rules.timestamp_type {
        TimestampType::CreateTime => BatchHeader { max_timestamp, ..header },
        // The log sets it.
        TimestampType::LogAppendTime => header,
    };
    let bytes = match rules.compression {
        Some(target) if target != source => compress_records(header, records, target)?,
        _ => with_max_timestamp(bytes, header.max_timestamp),
    };
    let size = bytes.len();
    check_size(size, rules)?;
    if size as u64 > rules.segment_bytes {
        return Err(InvalidBatch::RecordListTooLarge { size, limit: rules.segment_bytes });
    }
    let header = BatchHeader::parse(&bytes)?;
    Ok(Validated { bytes, header })
}

/// Whether there is one whole batch, no larger than allowed, with the bytes that were sent.
fn check_batch(bytes: &[u8], rules: &Rules) -> Result<BatchHeader, InvalidBatch> {
    let header = BatchHeader::read(Reader::new(bytes)).map_err(|_| refused("no whole batch"))?;
    match header.magic {
        MAGIC => {}
        // What there was before.
        0..MAGIC => return Err(BatchError::UnsupportedMagic(header.magic).into()),
        magic => return Err(InvalidBatch::CorruptMessage(BatchError::UnsupportedMagic(magic))),
    }
    if header.batch_length < (HEADER_LEN - LOG_OVERHEAD) as i32 {
        let value = header.batch_length.into();
        let error = BatchError::InvalidHeader { field: "batch_length", value };
        return Err(InvalidBatch::CorruptMessage(error));
    }
    if header.size() > bytes.len() {
        return Err(refused("no whole batch"));
    }
    if header.size() < bytes.len() {
        return Err(refused("more than one batch"));
    }
    if header.base_offset != 0 {
        return Err(refused(format!("base offset {}, where it is to be 0", header.base_offset)));
    }
    check_size(bytes.len(), rules)?;
    verify_crc(&header, bytes).map_err(InvalidBatch::CorruptMessage)?;
    Ok(BatchHeader::parse(bytes)?)
}

fn check_size(size: usize, rules: &Rules) -> Result<(), InvalidBatch> {
    let limit = rules.max_message_bytes;
    match size <= limit {
        true => Ok(()),
        false => Err(InvalidBatch::MessageTooLarge { size, limit }),
    }
}

/// Whether a client may say this of a batch.
fn check_client(header: &BatchHeader) -> Result<(), InvalidBatch> {
    let (count, last) = (header.record_count, header.last_offset_delta);
    if count == 0 || i64::from(count) != i64::from(last) + 1 {
        return Err(refused(format!("{count} records with offsets 0 to {last}")));
    }
    if header.is_control() {
        return Err(refused("control batches are the broker's"));
    }
    if header.has_producer_id() && header.base_sequence < 0 {
        let (sequence, id) = (header.base_sequence, header.producer_id);
        return Err(refused(format!("sequence {sequence} of producer id {id}")));
    }
    match header.timestamp_type() {
        TimestampType::CreateTime => Ok(()),
        TimestampType::LogAppendTime => Err(InvalidBatch::InvalidTimestamp {
            reason: "LogAppendTime is the broker's to set".to_owned(),
            records: Vec::new(),
        }),
    }
}

/// Checks each record; returns the latest timestamp.
fn check_records(records: &[u8], header: &BatchHeader, rules: &Rules) -> Result<i64, InvalidBatch> {
    let mut reader = Reader::new(records);
    let (mut invalid, mut max_timestamp) = (Invalid::default(), NO_TIMESTAMP);
    for index in 0..header.record_count {
        let record = decode(&mut reader, header)
            .map_err(|fault| BatchError::MalformedRecord { index, fault })?;
        // The base offset is 0.
        if record.offset != i64::from(index) {
            let delta = record.offset;
            return Err(refused(format!("record {index} of the batch has offset delta {delta}")));
        }
        max_timestamp = max_timestamp.max(record.timestamp.as_millis());
        if let Some(reason) = rules.judge(&record) {
            invalid.add(InvalidRecord { index, reason });
        }
    }
    if reader.remaining() > 0 {
        return Err(BatchError::TrailingBytes(reader.remaining()).into());
    }
    invalid.into_result().map(|()| max_timestamp)
}

impl Rules {
    fn judge(&self, record: &RecordView<'_>) -> Option<InvalidReason> {
        if self.compacted && record.key.is_none() {
            return Some(InvalidReason::MissingKey);
        }
        let timestamp = record.timestamp.as_millis();
        let counts = self.timestamp_type == TimestampType::CreateTime && timestamp != NO_TIMESTAMP;
        (counts && !self.is_near(timestamp)).then_some(InvalidReason::Timestamp(timestamp))
    }

    fn is_near(&self, timestamp: i64) -> bool {
        let age = i128::from(self.now.as_millis()) - i128::from(timestamp);
        let most = |duration: Duration| i128::try_from(duration.as_millis()).unwrap_or(i128::MAX);
        age <= most(self.timestamp_before_max) && -age <= most(self.timestamp_after_max)
    }
}

/// Records that are invalid.
#[derive(Default)]
struct Invalid {
    /// The first of them.
    records: Vec<InvalidRecord>,
    count: usize,
    /// Whether a timestamp is among what is wrong.
    has_timestamp: bool,
}

impl Invalid {
    fn add(&mut self, record: InvalidRecord) {
        self.count += 1;
        self.has_timestamp |= matches!(record.reason, InvalidReason::Timestamp(_));
        if self.records.len() < MAX_INVALID_RECORDS {
            self.records.push(record);
        }
    }

    fn into_result(self) -> Result<(), InvalidBatch> {
        let Invalid { records, count, has_timestamp } = self;
        let Some(InvalidRecord { index, reason }) = records.first() else { return Ok(()) };
        let reason = format!("{count} invalid records, the first at {index}: {reason}");
        match has_timestamp {
            true => Err(InvalidBatch::InvalidTimestamp { reason, records }),
            false => Err(InvalidBatch::InvalidRecord { reason, records }),
        }
    }
}

/// The bytes with this latest timestamp in their header, and the CRC put right if it was another.
fn with_max_timestamp(mut bytes: BytesMut, max_timestamp: i64) -> BytesMut {
    let field = &mut bytes[MAX_TIMESTAMP_AT..][..8];
    let wanted = max_timestamp.to_be_bytes();
    if *field != wanted {
        field.copy_from_slice(&wanted);
        seal(&mut bytes);
    }
    bytes
}

fn refused(reason: impl Into<String>) -> InvalidBatch {
    InvalidBatch::InvalidRecord { reason: reason.into(), records: Vec::new() }
}

impl From<BatchError> for InvalidBatch {
    /// Of a batch whose CRC is right.
    fn from(error: BatchError) -> Self {
        match error {
            BatchError::UnsupportedCompression(_) | BatchError::UnknownCompression(_) => {
                InvalidBatch::UnsupportedCompression(error)
            }
            BatchError::DecompressedTooLarge { limit } => {
                InvalidBatch::DecompressedTooLarge { limit }
            }
            error => refused(error.to_string()),
        }
    }
}
