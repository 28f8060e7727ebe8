//! What compaction leaves of a batch: some of its records, or none, under the same header.
//!
//! Kept are base offset, last offset delta, leader epoch, producer and sequence; records keep
//! offset and timestamp. They are copied as they stand unless the base timestamp changes, which
//! is where a batch says from when on its tombstones may go (Kafka: `deleteHorizonMs`, KIP-534).

use std::ops::Range;

use bytes::{BufMut, BytesMut};

use super::header::{DELETE_HORIZON, seal};
use super::{
    Batch, BatchError, BatchHeader, Compression, HEADER_LEN, LOG_OVERHEAD, MAGIC,
    NO_PRODUCER_EPOCH, NO_PRODUCER_ID, NO_SEQUENCE, RecordPosition, RecordView,
};
use crate::codec::{Reader, put_varint, put_varlong, varint_len, varlong_len};
use crate::record::TimestampType;

/// The timestamp of a batch that has none.
const NO_TIMESTAMP: i64 = -1;

/// What to keep of a batch, found out record by record.
#[derive(Debug, Default)]
pub struct Retained {
    /// Where in the batch the kept records stand; neighbours make one range.
    ranges: Vec<Range<usize>>,
    kept: i32,
    /// The latest timestamp of a kept record.
    max_timestamp: i64,
}

impl Retained {
    /// Asks `keep` of each record. An error if they can't all be read; then nothing is known.
    pub fn select(
        &mut self,
        batch: &Batch,
        mut keep: impl FnMut(&RecordView<'_>) -> bool,
    ) -> Result<(), BatchError> {
        self.ranges.clear();
        (self.kept, self.max_timestamp) = (0, NO_TIMESTAMP);
        let mut position = RecordPosition::default();
        loop {
            let from = position.byte_position();
            let Some(record) = position.next(batch) else { return Ok(()) };
            let record = record?;
            if keep(&record) {
                self.add(from..position.byte_position(), record.timestamp.as_millis());
            }
        }
    }

    fn add(&mut self, range: Range<usize>, timestamp: i64) {
        self.max_timestamp =
            if self.kept == 0 { timestamp } else { self.max_timestamp.max(timestamp) };
        self.kept += 1;
        match self.ranges.last_mut().filter(|last| last.end == range.start) {
            Some(last) => last.end = range.end,
            None => self.ranges.push(range),
        }
    }

    /// How many records are kept.
    pub fn kept(&self) -> i32 {
        self.kept
    }

    /// Adds to `to` what is kept of `batch`, the one that was selected from: at least one record.
    /// `delete_horizon` is to be set on it. False, and nothing added, if that would make it longer
    /// than a batch can be.
    pub fn write(&self, batch: &Batch, delete_horizon: Option<i64>, to: &mut BytesMut) -> bool {
        let mut header = *batch.header();
        if self.kept == header.record_count && delete_horizon.is_none() {
            to.put_slice(batch.bytes());
            return true;
        }
        let start = to.len();
        to.put_bytes(0, HEADER_LEN);
        match delete_horizon {
            Some(horizon) if header.timestamp_type() == TimestampType::CreateTime => {
                let shift = header.base_timestamp.wrapping_sub(horizon);
                self.ranges.iter().for_each(|range| {
                    put_shifted(&batch.bytes()[range.clone()], shift, to);
                });
            }
            // Where the broker's time counts, deltas mean nothing.
            _ => self.ranges.iter().for_each(|range| to.put_slice(&batch.bytes()[range.clone()])),
        }
        let Ok(length) = i32::try_from(to.len() - start - LOG_OVERHEAD) else {
            to.truncate(start);
            return false;
        };
        (header.batch_length, header.record_count) = (length, self.kept);
        if header.timestamp_type() == TimestampType::CreateTime {
            header.max_timestamp = self.max_timestamp;
        }
        if let Some(horizon) = delete_horizon {
            header.attributes |= DELETE_HORIZON;
            header.base_timestamp = horizon;
        }
        put_header(header, &mut to[start..]);
        true
    }
}

/// Copies records, with `shift` added to their timestamp deltas.
fn put_shifted(records: &[u8], shift: i64, to: &mut BytesMut) {
    let mut records = Reader::new(records);
    while let Ok(record) = records.varint_bytes() {
        let mut body = Reader::new(record);
        // Both reads succeeded when the record was selected.
        let (Ok(attributes), Ok(delta)) = (body.i8(), body.varlong()) else { return };
        let (rest, delta) = (body.rest(), delta.wrapping_add(shift));
        // Nine bytes more than an i32 at most, which `write` notices.
        let len = 1 + varlong_len(delta) + rest.len();
        put_varint(to, i32::try_from(len).unwrap_or(i32::MAX));
        debug_assert!(varint_len(len as i32) <= 5);
        to.put_i8(attributes);
        put_varlong(to, delta);
        to.put_slice(rest);
    }
}

/// Adds to `to` a batch without records in the place of `header`'s: with the producer's last
/// sequence, which the log would otherwise forget.
pub fn put_emptied(header: &BatchHeader, to: &mut BytesMut) {
    let emptied = BatchHeader {
        // No records, no compression; nor is there a tombstone to be dropped at a time.
        attributes: header.attributes & !(DELETE_HORIZON | super::header::COMPRESSION_MASK),
        base_timestamp: NO_TIMESTAMP,
        ..*header
    };
    put_bare(emptied, to);
}

/// Adds to `to` a batch without records that stands for all of `offsets`, of one leader epoch.
/// There must be between 1 and 2^31 of them.
pub fn put_filler(offsets: Range<i64>, leader_epoch: i32, to: &mut BytesMut) {
    let filler = BatchHeader {
        base_offset: offsets.start,
        batch_length: 0,
        partition_leader_epoch: leader_epoch,
        magic: MAGIC,
        crc: 0,
        attributes: 0,
        last_offset_delta: (offsets.end - 1 - offsets.start) as i32,
        base_timestamp: NO_TIMESTAMP,
        max_timestamp: NO_TIMESTAMP,
        producer_id: NO_PRODUCER_ID,
        producer_epoch: NO_PRODUCER_EPOCH,
        base_sequence: NO_SEQUENCE,
        record_count: 0,
    };
    put_bare(filler, to);
}

fn put_bare(header: BatchHeader, to: &mut BytesMut) {
    let start = to.len();
    to.put_bytes(0, HEADER_LEN);
    let batch_length = (HEADER_LEN - LOG_OVERHEAD) as i32;
    put_header(BatchHeader { batch_length, record_count: 0, ..header }, &mut to[start..]);
}

fn put_header(header: BatchHeader, batch: &mut [u8]) {
    batch[..HEADER_LEN].copy_from_slice(&header.to_bytes());
    seal(batch);
}

/// Which record of an uncompressed batch is the first without a key, counted from 0. Reads no
/// further than each record's key; of a compressed batch nothing is known.
pub fn first_without_key(batch: &[u8]) -> Result<Option<i32>, BatchError> {
    let header = BatchHeader::parse(batch)?;
    if header.compression() != Compression::None {
        return Ok(None);
    }
    let mut records = Reader::new(batch.get(HEADER_LEN..header.size()).unwrap_or_default());
    for index in 0..header.record_count {
        let has_key = has_key(&mut records);
        match has_key {
            Ok(true) => {}
            Ok(false) => return Ok(Some(index)),
            Err(fault) => {
                return Err(BatchError::MalformedRecord { index, fault: fault.into() });
            }
        }
    }
    Ok(None)
}

fn has_key(records: &mut Reader<'_>) -> Result<bool, crate::codec::CodecError> {
    let mut body = Reader::new(records.varint_bytes()?);
    body.i8()?;
    body.varlong()?;
    body.varint()?;
    Ok(body.nullable_varint_bytes()?.is_some())
}

#[cfg(test)]
mod tests {
    use bytes::Buf;

    use super::*;
    use crate::batch::{BatchBuilder, patch, set_log_append_time};

    /// Keys and values; offsets from 100, timestamps 1000, 1010, …
    fn batch(records: &[(&str, Option<&str>)]) -> Batch {
        let mut builder = BatchBuilder::new(BytesMut::new());
        builder.set_producer(9, 2, 40);
        for (i, (key, value)) in records.iter().enumerate() {
            let (key, value) = (Some(key.as_bytes()), value.map(str::as_bytes));
            builder.push(1000 + 10 * i as i64, key, value, &[("h".into(), Some("x".into()))]);
        }
        let mut bytes = builder.finish();
        patch(&mut bytes, 100, 3);
        Batch::parse_checked(bytes.freeze()).unwrap()
    }

    fn retain(batch: &Batch, offsets: &[i64], horizon: Option<i64>) -> Batch {
        let (mut retained, mut to) = (Retained::default(), BytesMut::from(&b"before"[..]));
        retained.select(batch, |record| offsets.contains(&record.offset)).unwrap();
        assert_eq!(retained.kept(), offsets.len() as i32);
        assert!(retained.write(batch, horizon, &mut to));
        to.advance(6);
        Batch::parse_checked(to.freeze()).unwrap()
    }

    /// Offset, timestamp, key and value.
    type Content = (i64, i64, Vec<u8>, Option<Vec<u8>>);

    fn content(batch: &Batch) -> Vec<Content> {
        let owned = |record: Result<RecordView<'_>, _>| {
            let record = record.unwrap();
            assert_eq!(record.headers().count(), 1);
            let (key, value) = (record.key.unwrap().to_vec(), record.value.map(<[u8]>::to_vec));
            (record.offset, record.timestamp.as_millis(), key, value)
        };
        batch.records().map(owned).collect()
    }

    #[test]
    fn what_is_kept_keeps_offsets_times_and_header() {
        let whole = batch(&[("a", Some("1")), ("b", None), ("a", Some("2")), ("c", Some("3"))]);
        assert_eq!(retain(&whole, &[100, 101, 102, 103], None), whole);
        let all = content(&whole);
        for horizon in [None, Some(90_000_000), Some(i64::MAX), Some(0)] {
            for kept in [&[101][..], &[100, 102], &[100, 101, 103], &[100, 101, 102, 103]] {
                let left = retain(&whole, kept, horizon);
                let wanted = kept.iter().map(|offset| all[(offset - 100) as usize].clone());
                assert!(content(&left).into_iter().eq(wanted), "{kept:?} {horizon:?}");
                assert_eq!(left.header().delete_horizon(), horizon);
                let (new, old) = (left.header(), whole.header());
                assert_eq!((new.base_offset, new.last_offset()), (100, 103));
                assert_eq!(new.max_timestamp, 1000 + 10 * (kept[kept.len() - 1] - 100));
                assert_eq!(new.partition_leader_epoch, 3);
                let producer =
                    |h: &BatchHeader| (h.producer_id, h.producer_epoch, h.last_sequence());
                assert_eq!(producer(new), producer(old));
            }
        }
        let horizon = retain(&whole, &[100, 101], Some(70_000));
        let later = retain(&horizon, &[101], None);
        assert_eq!(later.header().delete_horizon(), Some(70_000), "it stays");
        assert_eq!(content(&later), content(&whole)[1..2]);
    }

    #[test]
    fn the_brokers_time_stays() {
        let mut bytes = BytesMut::from(&batch(&[("a", None), ("b", Some("2"))]).bytes()[..]);
        set_log_append_time(&mut bytes, 5_555);
        let whole = Batch::parse_checked(bytes.freeze()).unwrap();
        let left = retain(&whole, &[100], Some(9_999));
        assert_eq!(content(&left), content(&whole)[..1]);
        assert_eq!(
            (left.header().max_timestamp, left.header().delete_horizon()),
            (5_555, Some(9_999))
        );
    }

    #[test]
    fn emptied_batches_have_offsets_but_no_records() {
        let whole = batch(&[("a", Some("1")), ("b", None)]);
        let mut to = BytesMut::new();
        put_emptied(whole.header(), &mut to);
        put_filler(102..2_000_000_000, 4, &mut to);
        let emptied = Batch::parse_checked(to.split_to(HEADER_LEN).freeze()).unwrap();
        let wanted = BatchHeader {
            batch_length: 49,
            record_count: 0,
            crc: emptied.header().crc,
            base_timestamp: -1,
            ..*whole.header()
        };
        assert_eq!(*emptied.header(), wanted);
        let filler = Batch::parse_checked(to.freeze()).unwrap();
        assert_eq!(
            (filler.header().base_offset, filler.header().next_offset()),
            (102, 2_000_000_000)
        );
        assert!(!filler.header().has_producer_id());
        assert_eq!((emptied.records().count(), filler.records().count()), (0, 0));
    }

    #[test]
    fn a_missing_key_is_found() {
        let keyed = batch(&[("a", None), ("", Some("1"))]);
        assert_eq!(first_without_key(keyed.bytes()), Ok(None));
        let mut builder = BatchBuilder::new(BytesMut::new());
        builder.push(0, Some(b"k"), None, &[]);
        builder.push(0, None, Some(b"v"), &[]);
        let mut bytes = builder.finish();
        assert_eq!(first_without_key(&bytes), Ok(Some(1)));
        bytes[60] = 9;
        bytes[HEADER_LEN + 3] = 1; // no key here either
        assert_eq!(first_without_key(&bytes), Ok(Some(1)));
        bytes.truncate(70);
        assert!(first_without_key(&bytes).is_err());
    }
}
