//! Encoding records into one batch. Every record that is produced passes through here, so a push
//! is one pass over the lengths and one over the bytes, with no allocation of its own.

use std::borrow::Cow;

use bytes::BytesMut;

use super::header::seal;
use super::{
    BatchHeader, HEADER_LEN, LOG_OVERHEAD, MAGIC, NO_PRODUCER_EPOCH, NO_PRODUCER_ID, NO_SEQUENCE,
};
use crate::codec::Varint;
use crate::record::Payload;

/// The longest varint of 32 bits, and of 64.
const MAX_VARINT: usize = 5;
const MAX_VARLONG: usize = 10;

/// A record is written into so much more than it takes, so that a varint is written as one word.
const SLACK: usize = 8;

/// So many bytes are filled with zeros in advance at most.
const MAX_GROWTH: usize = 2 << 10;
/// A buffer that is too small for a second record is soon too small for more.
const FIRST_GROWTH: usize = 4 << 10;

/// Builds one uncompressed batch, from records in the order of their offsets.
///
/// The batch's base offset is 0 and its leader epoch -1 until a log gives it a place
/// ([`patch`](super::patch)). A batch is limited to 2^31 - 1 bytes by its format, and by its
/// producer to far less.
#[derive(Debug)]
pub struct BatchBuilder {
    /// Room for the header, then the records so far, then bytes of no meaning: a push writes into
    /// a slice, which is faster than to add to a buffer.
    buf: BytesMut,
    /// Where the next record goes.
    end: usize,
    count: i32,
    /// Timestamp of the first record.
    base_timestamp: i64,
    max_timestamp: i64,
    producer_id: i64,
    producer_epoch: i16,
    base_sequence: i32,
}

impl BatchBuilder {
    /// An empty batch in `buf`, whose content is dropped and whose capacity is used.
    pub fn new(buf: BytesMut) -> Self {
        BatchBuilder {
            buf,
            end: HEADER_LEN,
            count: 0,
            base_timestamp: 0,
            max_timestamp: 0,
            producer_id: NO_PRODUCER_ID,
            producer_epoch: NO_PRODUCER_EPOCH,
            base_sequence: NO_SEQUENCE,
        }
    }

    /// The most bytes that such a record can take in any batch, at any place in it.
    #[inline(always)]
    pub fn record_size_upper_bound(
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(Cow<'_, str>, Option<Payload<'_>>)],
    ) -> usize {
        MAX_VARINT + 1 + MAX_VARLONG + MAX_VARINT + content_bound(key, value, headers)
    }

    /// The size of a batch that holds just such a record.
    pub fn single_record_size(
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(Cow<'_, str>, Option<Payload<'_>>)],
    ) -> usize {
        // The deltas of timestamp and offset are 0: one byte each, after one of attributes.
        let count = Varint::of(headers.len() as i32).len();
        let content = nullable_len(key) + nullable_len(value) + count + headers_len(headers);
        let body = 3 + content;
        HEADER_LEN + Varint::of(i32::try_from(body).unwrap_or(i32::MAX)).len() + body
    }

    /// Adds a record and returns its offset, relative to the batch's first (its index).
    ///
    /// Panics if the batch would grow past 2^31 - 1 bytes.
    #[inline]
    pub fn push(
        &mut self,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(Cow<'_, str>, Option<Payload<'_>>)],
    ) -> i32 {
        let offset_delta = self.count;
        let timestamp_delta = Varint::of_long(self.note_timestamp(timestamp));
        let offset = Varint::of(offset_delta);
        let (key_len, value_len) = (Varint::of_len(key), Varint::of_len(value));
        let header_count = Varint::of(headers.len() as i32);
        let (key, value) = (key.unwrap_or_default(), value.unwrap_or_default());
        let lengths = [&timestamp_delta, &offset, &key_len, &value_len, &header_count];
        let lengths: usize = lengths.into_iter().map(Varint::len).sum();
        let body = 1 + lengths + key.len() + value.len() + headers_len(headers);
        let most = self.end + MAX_VARINT + body + SLACK;
        assert!(most <= i32::MAX as usize, "a batch is limited to 2^31 - 1 bytes");
        if most > self.buf.len() {
            self.grow(most);
        }
        let mut to = Writer { to: &mut self.buf[self.end..most], at: 0 };
        to.put(Varint::of(body as i32));
        to.put(Varint::of(0)); // attributes: none are defined
        to.put(timestamp_delta);
        to.put(offset);
        to.put(key_len);
        to.put_slice(key);
        to.put(value_len);
        to.put_slice(value);
        to.put(header_count);
        to.put_headers(headers);
        self.end += to.at;
        self.count += 1;
        offset_delta
    }

    /// Makes the buffer at least `len` long, and a little longer if its capacity allows that: a
    /// long batch grows seldom, and little is filled with zeros. A buffer that was used before
    /// most often lacks less than a record.
    #[cold]
    fn grow(&mut self, len: usize) {
        let room = if len > self.buf.capacity() { len.max(FIRST_GROWTH) } else { len };
        self.buf.reserve(room.saturating_sub(self.buf.len()));
        let more = (self.buf.len() + MAX_GROWTH).min(self.buf.capacity());
        self.buf.resize(len.max(more), 0);
    }

    /// Marks the batch as an idempotent producer's.
    pub fn set_producer(&mut self, producer_id: i64, producer_epoch: i16, base_sequence: i32) {
        self.producer_id = producer_id;
        self.producer_epoch = producer_epoch;
        self.base_sequence = base_sequence;
    }

    /// Bytes so far, header included.
    pub fn len(&self) -> usize {
        self.end
    }

    /// How many records there are.
    pub fn count(&self) -> i32 {
        self.count
    }

    /// Whether there are no records.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The batch's bytes, with header and CRC in place.
    ///
    /// Panics if there are no records: such a batch has no offsets.
    pub fn finish(mut self) -> BytesMut {
        assert!(!self.is_empty(), "a batch has at least one record");
        self.buf.truncate(self.end);
        let header = BatchHeader {
            base_offset: 0,
            // `push` keeps the length within an i32.
            batch_length: (self.buf.len() - LOG_OVERHEAD) as i32,
            partition_leader_epoch: -1,
            magic: MAGIC,
            crc: 0,
            attributes: 0,
            last_offset_delta: self.count - 1,
            base_timestamp: self.base_timestamp,
            max_timestamp: self.max_timestamp,
            producer_id: self.producer_id,
            producer_epoch: self.producer_epoch,
            base_sequence: self.base_sequence,
            record_count: self.count,
        };
        self.buf[..HEADER_LEN].copy_from_slice(&header.to_bytes());
        seal(&mut self.buf);
        self.buf
    }

    /// What to write for a record's timestamp. Wraps as Java does, and reading wraps it back.
    #[inline]
    fn note_timestamp(&mut self, timestamp: i64) -> i64 {
        if self.count == 0 {
            self.base_timestamp = timestamp;
            self.max_timestamp = timestamp;
        }
        self.max_timestamp = self.max_timestamp.max(timestamp);
        timestamp.wrapping_sub(self.base_timestamp)
    }
}

/// Length of a record from the key's length on, at most.
#[inline(always)]
fn content_bound(
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    headers: &[(Cow<'_, str>, Option<Payload<'_>>)],
) -> usize {
    let bytes = key.map_or(0, <[u8]>::len) + value.map_or(0, <[u8]>::len);
    3 * MAX_VARINT + bytes + headers_len(headers)
}

/// Length of the headers without their count.
#[inline(always)]
fn headers_len(headers: &[(Cow<'_, str>, Option<Payload<'_>>)]) -> usize {
    let mut len = 0;
    for (key, value) in headers {
        len += nullable_len(Some(key.as_bytes())) + nullable_len(value.as_deref());
    }
    len
}

#[inline]
fn nullable_len(bytes: Option<&[u8]>) -> usize {
    Varint::of_len(bytes).len() + bytes.map_or(0, <[u8]>::len)
}

/// A part of a batch's buffer that is being written. There is room for [`SLACK`] bytes more than
/// will be used, so that a varint is written as one word.
struct Writer<'a> {
    to: &'a mut [u8],
    at: usize,
}

impl Writer<'_> {
    #[inline(always)]
    fn put(&mut self, varint: Varint) {
        match varint.word() {
            Some(word) => self.to[self.at..self.at + SLACK].copy_from_slice(&word),
            None => varint.write(&mut &mut self.to[self.at..]),
        }
        self.at += varint.len();
    }

    #[inline(always)]
    fn put_slice(&mut self, bytes: &[u8]) {
        self.to[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
    }

    #[inline]
    fn put_headers(&mut self, headers: &[(Cow<'_, str>, Option<Payload<'_>>)]) {
        for (key, value) in headers {
            for bytes in [Some(key.as_bytes()), value.as_deref()] {
                self.put(Varint::of_len(bytes));
                self.put_slice(bytes.unwrap_or_default());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{Batch, check_crc};

    #[test]
    fn a_batch_is_kafkas_byte_for_byte() {
        // Record bytes worked out by hand from the format's description.
        let mut builder = BatchBuilder::new(BytesMut::from(&b"rubbish"[..]));
        assert_eq!(builder.push(1_000, Some(b"k"), Some(b"val"), &[]), 0);
        let headers = [("h".into(), None), ("".into(), Some("x".into()))];
        assert_eq!(builder.push(999, None, Some(b""), &headers), 1);
        let expected = [
            20, 0, 0, 0, 2, b'k', 6, b'v', b'a', b'l', 0, // length 10, …, no headers
            24, 0, 1, 2, 1, 0, 4, 2, b'h', 1, 0, 2, b'x', // timestamp -1, null key, 2 headers
        ];
        assert_eq!(builder.len(), HEADER_LEN + expected.len());
        let bytes = builder.finish();
        assert_eq!(bytes[HEADER_LEN..], expected);
        assert_eq!(check_crc(&bytes), Ok(()));
        let header = BatchHeader::parse(&bytes).unwrap();
        assert_eq!((header.base_timestamp, header.max_timestamp), (1_000, 1_000));
        assert_eq!((header.base_offset, header.partition_leader_epoch), (0, -1));
        assert_eq!((header.last_offset_delta, header.record_count), (1, 2));
        assert!(!header.has_producer_id());
    }

    #[test]
    fn a_producer_is_named() {
        let mut builder = BatchBuilder::new(BytesMut::new());
        assert!(builder.is_empty());
        builder.set_producer(4_000, 2, i32::MAX);
        builder.push(0, None, None, &[]);
        builder.push(0, None, None, &[]);
        assert_eq!((builder.count(), builder.is_empty()), (2, false));
        let header = *Batch::parse(builder.finish().freeze()).unwrap().header();
        assert_eq!((header.producer_id, header.producer_epoch), (4_000, 2));
        assert_eq!((header.base_sequence, header.last_sequence()), (i32::MAX, 0));
    }
}
