//! The 61 bytes in front of a batch's records.
//!
//! | at | field | at | field |
//! |---|---|---|---|
//! | 0 | base_offset: i64 | 27 | base_timestamp: i64 |
//! | 8 | batch_length: i32 | 35 | max_timestamp: i64 |
//! | 12 | partition_leader_epoch: i32 | 43 | producer_id: i64 |
//! | 16 | magic: i8 | 51 | producer_epoch: i16 |
//! | 17 | crc: u32, of all from 21 on | 53 | base_sequence: i32 |
//! | 21 | attributes: i16 | 57 | record_count: i32 |
//! | 23 | last_offset_delta: i32 | | |

use bytes::BufMut;
use crc_fast::crc32_iscsi;

use super::{
    BatchError, Compression, HEADER_LEN, LOG_OVERHEAD, MAGIC, NO_PRODUCER_ID, NO_SEQUENCE,
};
use crate::codec::{CodecError, Reader};
use crate::record::TimestampType;

const LEADER_EPOCH_AT: usize = 12;
const CRC_AT: usize = 17;
/// Where the bytes that the CRC covers begin.
const CRC_FROM: usize = 21;

pub(super) const COMPRESSION_MASK: i16 = 0b111;
const LOG_APPEND_TIME: i16 = 1 << 3;
const TRANSACTIONAL: i16 = 1 << 4;
const CONTROL: i16 = 1 << 5;
pub(super) const DELETE_HORIZON: i16 = 1 << 6;

/// What a batch says of itself. Times are milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset of the first record that was in the batch (compaction may have taken it since).
    pub base_offset: i64,
    /// Length in bytes of all that follows this field.
    pub batch_length: i32,
    /// Epoch of the leader that appended the batch; -1 before it is appended.
    pub partition_leader_epoch: i32,
    /// Format version: 2.
    pub magic: i8,
    /// CRC-32C of the bytes from the attributes to the end.
    pub crc: u32,
    /// Flags, and in the lowest three bits the compression.
    pub attributes: i16,
    /// Offset of the last record that was in the batch, less the base offset.
    pub last_offset_delta: i32,
    /// The time that records' timestamps are relative to; or the delete horizon.
    pub base_timestamp: i64,
    /// The latest timestamp of any record; under `LogAppendTime` the timestamp of every record.
    pub max_timestamp: i64,
    /// The idempotent producer's id, or [`NO_PRODUCER_ID`].
    pub producer_id: i64,
    /// The idempotent producer's epoch.
    pub producer_epoch: i16,
    /// The idempotent producer's sequence number of the first record.
    pub base_sequence: i32,
    /// How many records are there. Compaction may leave none.
    pub record_count: i32,
}

impl BatchHeader {
    /// Reads the header at the start of `bytes`, which may end right after it.
    ///
    /// A header that is returned has magic 2, a length that holds itself, a known compression,
    /// offsets that neither are negative nor overflow, and a record count that is not negative.
    pub fn parse(bytes: &[u8]) -> Result<BatchHeader, BatchError> {
        let truncated = BatchError::Truncated { needed: HEADER_LEN, have: bytes.len() };
        let header = Self::read(Reader::new(bytes)).map_err(|_| truncated)?;
        header.check()?;
        Ok(header)
    }

    /// Reads the header, and believes nothing that it says.
    pub(super) fn read(mut reader: Reader<'_>) -> Result<BatchHeader, CodecError> {
        Ok(BatchHeader {
            base_offset: reader.i64()?,
            batch_length: reader.i32()?,
            partition_leader_epoch: reader.i32()?,
            magic: reader.i8()?,
            crc: reader.u32()?,
            attributes: reader.i16()?,
            last_offset_delta: reader.i32()?,
            base_timestamp: reader.i64()?,
            max_timestamp: reader.i64()?,
            producer_id: reader.i64()?,
            producer_epoch: reader.i16()?,
            base_sequence: reader.i32()?,
            record_count: reader.i32()?,
        })
    }

    fn check(&self) -> Result<(), BatchError> {
        let invalid = |field, value| Err(BatchError::InvalidHeader { field, value });
        if self.magic != MAGIC {
            return Err(BatchError::UnsupportedMagic(self.magic));
        }
        if self.batch_length < (HEADER_LEN - LOG_OVERHEAD) as i32 {
            return invalid("batch_length", self.batch_length.into());
        }
        if self.last_offset_delta < 0 {
            return invalid("last_offset_delta", self.last_offset_delta.into());
        }
        // Less than the maximum, so that the next offset is one too.
        let limit = i64::MAX - i64::from(self.last_offset_delta);
        if !(0..limit).contains(&self.base_offset) {
            return invalid("base_offset", self.base_offset);
        }
        if self.record_count < 0 {
            return invalid("record_count", self.record_count.into());
        }
        let codec = self.attributes & COMPRESSION_MASK;
        Compression::from_id(codec).map(|_| ()).ok_or(BatchError::UnknownCompression(codec))
    }

    /// The header's bytes.
    pub(super) fn to_bytes(self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        let mut to = &mut bytes[..];
        to.put_i64(self.base_offset);
        to.put_i32(self.batch_length);
        to.put_i32(self.partition_leader_epoch);
        to.put_i8(self.magic);
        to.put_u32(self.crc);
        to.put_i16(self.attributes);
        to.put_i32(self.last_offset_delta);
        to.put_i64(self.base_timestamp);
        to.put_i64(self.max_timestamp);
        to.put_i64(self.producer_id);
        to.put_i16(self.producer_epoch);
        to.put_i32(self.base_sequence);
        to.put_i32(self.record_count);
        bytes
    }

    /// Length in bytes of the whole batch.
    pub fn size(&self) -> usize {
        LOG_OVERHEAD + self.batch_length as usize
    }

    /// Offset of the last record that was in the batch.
    pub fn last_offset(&self) -> i64 {
        self.base_offset + i64::from(self.last_offset_delta)
    }

    /// The offset at which reading goes on after this batch.
    pub fn next_offset(&self) -> i64 {
        self.last_offset() + 1
    }

    /// How the records are compressed.
    pub fn compression(&self) -> Compression {
        let codec = self.attributes & COMPRESSION_MASK;
        Compression::from_id(codec).expect("parse refuses unknown codecs")
    }

    /// The header of the same batch with its records compressed otherwise, for which its length and
    /// CRC are still to be set.
    pub(super) fn with_compression(self, codec: Compression) -> BatchHeader {
        BatchHeader { attributes: self.attributes & !COMPRESSION_MASK | codec.id(), ..self }
    }

    /// Who set the timestamps.
    pub fn timestamp_type(&self) -> TimestampType {
        match self.attributes & LOG_APPEND_TIME {
            0 => TimestampType::CreateTime,
            _ => TimestampType::LogAppendTime,
        }
    }

    /// Whether the batch is part of a transaction.
    pub fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL != 0
    }

    /// Whether the batch holds a mark of the broker's (the end of a transaction), not user data.
    pub fn is_control(&self) -> bool {
        self.attributes & CONTROL != 0
    }

    /// Whether an idempotent producer wrote the batch.
    pub fn has_producer_id(&self) -> bool {
        self.producer_id > NO_PRODUCER_ID
    }

    /// Sequence number of the last record, which wraps from 2^31 - 1 to 0; [`NO_SEQUENCE`] if
    /// there is none.
    pub fn last_sequence(&self) -> i32 {
        if self.base_sequence < 0 {
            return NO_SEQUENCE;
        }
        self.base_sequence.wrapping_add(self.last_offset_delta) & i32::MAX
    }

    /// The time after which compaction drops this batch's tombstones, if it has set one.
    pub fn delete_horizon(&self) -> Option<i64> {
        (self.attributes & DELETE_HORIZON != 0).then_some(self.base_timestamp)
    }
}

/// Gives a batch its place in a log. The CRC stays right: it covers neither field.
///
/// Panics if `bytes` are shorter than a header.
pub fn patch(bytes: &mut [u8], base_offset: i64, leader_epoch: i32) {
    let header = &mut bytes[..HEADER_LEN];
    header[..8].copy_from_slice(&base_offset.to_be_bytes());
    header[LEADER_EPOCH_AT..][..4].copy_from_slice(&leader_epoch.to_be_bytes());
}

/// Gives a whole batch the broker's time (`LogAppendTime`): sets the attribute and
/// `max_timestamp`, and computes the CRC anew. The one exception to "nothing re-encodes".
pub fn set_log_append_time(batch: &mut [u8], now: i64) {
    let attributes = i16::from_be_bytes([batch[21], batch[22]]) | LOG_APPEND_TIME;
    batch[21..23].copy_from_slice(&attributes.to_be_bytes());
    batch[35..43].copy_from_slice(&now.to_be_bytes());
    seal(batch);
}

/// Makes a whole batch an idempotent producer's, and computes the CRC anew: before it is sent for
/// the first time.
pub fn set_producer(batch: &mut [u8], producer_id: i64, producer_epoch: i16, base_sequence: i32) {
    batch[43..51].copy_from_slice(&producer_id.to_be_bytes());
    batch[51..53].copy_from_slice(&producer_epoch.to_be_bytes());
    batch[53..57].copy_from_slice(&base_sequence.to_be_bytes());
    seal(batch);
}

/// Whether the first batch of `batch` is whole and its bytes are those that were written.
///
/// Says nothing of the base offset and the leader epoch, nor whether the records are sound.
pub fn check_crc(batch: &[u8]) -> Result<(), BatchError> {
    verify_crc(&BatchHeader::parse(batch)?, batch)
}

/// As [`check_crc`], for a caller that has the header.
pub(super) fn verify_crc(header: &BatchHeader, batch: &[u8]) -> Result<(), BatchError> {
    let Some(covered) = batch.get(CRC_FROM..header.size()) else {
        return Err(BatchError::Truncated { needed: header.size(), have: batch.len() });
    };
    let (stored, computed) = (header.crc, crc32_iscsi(covered));
    match stored == computed {
        true => Ok(()),
        false => Err(BatchError::CrcMismatch { stored, computed }),
    }
}

/// Writes the CRC of a batch whose other bytes are in place.
pub(super) fn seal(batch: &mut [u8]) {
    let crc = crc32_iscsi(&batch[CRC_FROM..]);
    batch[CRC_AT..CRC_FROM].copy_from_slice(&crc.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> BatchHeader {
        BatchHeader {
            base_offset: 7,
            batch_length: 49,
            partition_leader_epoch: 3,
            magic: 2,
            crc: 0xdead_beef,
            attributes: 0,
            last_offset_delta: 4,
            base_timestamp: 1_000,
            max_timestamp: 2_000,
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
            record_count: 5,
        }
    }

    fn reparse(header: BatchHeader) -> Result<BatchHeader, BatchError> {
        BatchHeader::parse(&header.to_bytes())
    }

    #[test]
    fn a_header_is_read_as_written() {
        assert_eq!(reparse(header()), Ok(header()));
        assert_eq!((header().size(), header().last_offset(), header().next_offset()), (61, 11, 12));
    }

    #[test]
    fn impossible_headers_are_refused() {
        let refused = |header| match reparse(header) {
            Err(BatchError::InvalidHeader { field, .. }) => field,
            other => panic!("{other:?}"),
        };
        assert_eq!(refused(BatchHeader { batch_length: 48, ..header() }), "batch_length");
        assert_eq!(refused(BatchHeader { last_offset_delta: -1, ..header() }), "last_offset_delta");
        assert_eq!(refused(BatchHeader { base_offset: -1, ..header() }), "base_offset");
        assert_eq!(refused(BatchHeader { base_offset: i64::MAX - 4, ..header() }), "base_offset");
        assert_eq!(refused(BatchHeader { record_count: -1, ..header() }), "record_count");
        let magic = reparse(BatchHeader { magic: 1, ..header() });
        assert_eq!(magic, Err(BatchError::UnsupportedMagic(1)));
        let codec = reparse(BatchHeader { attributes: 5, ..header() });
        assert_eq!(codec, Err(BatchError::UnknownCompression(5)));
        let last = BatchHeader { base_offset: i64::MAX - 5, ..header() };
        assert_eq!(reparse(last).map(|h| h.next_offset()), Ok(i64::MAX));
    }

    #[test]
    fn attributes_are_told_apart() {
        let flags = |attributes| {
            let h = BatchHeader { attributes, ..header() };
            (h.timestamp_type(), h.is_transactional(), h.is_control(), h.delete_horizon())
        };
        let create = TimestampType::CreateTime;
        assert_eq!(flags(0b111), (create, false, false, None));
        assert_eq!(flags(1 << 3), (TimestampType::LogAppendTime, false, false, None));
        assert_eq!(flags(1 << 4), (create, true, false, None));
        assert_eq!(flags(1 << 5), (create, false, true, None));
        assert_eq!(flags(1 << 6), (create, false, false, Some(1_000)));
        let zstd = BatchHeader { attributes: 0b1111_1100, ..header() };
        assert_eq!(zstd.compression(), Compression::Zstd);
    }

    #[test]
    fn sequences_wrap_to_zero() {
        let last = |base_sequence| BatchHeader { base_sequence, ..header() }.last_sequence();
        assert_eq!(last(10), 14);
        assert_eq!(last(i32::MAX - 4), i32::MAX);
        assert_eq!(last(i32::MAX - 3), 0);
        assert_eq!(last(NO_SEQUENCE), NO_SEQUENCE);
    }

    #[test]
    fn patching_touches_two_fields() {
        let mut bytes = header().to_bytes();
        patch(&mut bytes, 1 << 40, 9);
        let moved = BatchHeader { base_offset: 1 << 40, partition_leader_epoch: 9, ..header() };
        assert_eq!(BatchHeader::parse(&bytes), Ok(moved));
    }
}
