//! Reading a batch's records where they lie.
//!
//! A record is checked whole, headers included, when it is reached, so what a [`RecordView`]
//! returns needs no further checks.

use bytes::Bytes;

use super::{Batch, BatchError, BatchHeader, Compression, HEADER_LEN, RecordFault};
use crate::codec::{CodecError, Reader};
use crate::record::{ConsumerRecord, Header, HeaderSpan, Headers, Timestamp, TimestampType};
use crate::topic::TopicName;

/// The fewest bytes that a header takes: two lengths.
const MIN_HEADER_LEN: usize = 2;

/// One record, in the bytes of its batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordView<'a> {
    /// Its offset.
    pub offset: i64,
    /// Its timestamp: its own or, under `LogAppendTime`, its batch's.
    pub timestamp: Timestamp,
    /// Its key; `None` is a null key.
    pub key: Option<&'a [u8]>,
    /// Its value; `None` is a null value.
    pub value: Option<&'a [u8]>,
    header_count: usize,
    /// The headers, encoded; decoding has gone through them once.
    headers: &'a [u8],
}

impl<'a> RecordView<'a> {
    /// How many headers there are.
    pub fn header_count(&self) -> usize {
        self.header_count
    }

    /// The headers, in order.
    pub fn headers(&self) -> HeaderIter<'a> {
        HeaderIter { reader: Reader::new(self.headers) }
    }
}

/// The headers of a [`RecordView`].
#[derive(Debug, Clone)]
pub struct HeaderIter<'a> {
    reader: Reader<'a>,
}

impl<'a> Iterator for HeaderIter<'a> {
    type Item = Header<'a>;

    fn next(&mut self) -> Option<Header<'a>> {
        // At the end there is no key; before it, both reads have succeeded once.
        let key = self.reader.varint_bytes().ok()?;
        let value = self.reader.nullable_varint_bytes().ok()?;
        Some(Header { key: String::from_utf8_lossy(key), value })
    }
}

/// The records of a batch, in order. Ends after the first error.
#[derive(Debug, Clone)]
pub struct RecordIter<'a> {
    batch: &'a Batch,
    position: RecordPosition,
}

impl<'a> RecordIter<'a> {
    pub(super) fn new(batch: &'a Batch) -> Self {
        RecordIter { batch, position: RecordPosition::default() }
    }
}

impl<'a> Iterator for RecordIter<'a> {
    type Item = Result<RecordView<'a>, BatchError>;

    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        self.position.next(self.batch)
    }
}

impl std::iter::FusedIterator for RecordIter<'_> {}

/// How far the reading of a batch has come. It owns nothing, so it can be kept beside the
/// [`Batch`]; it means something only together with the batch it was first used with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordPosition {
    /// Where the next record starts.
    at: usize,
    /// How many records have been read.
    index: i32,
    ended: bool,
}

impl Default for RecordPosition {
    /// The first record.
    fn default() -> Self {
        RecordPosition { at: HEADER_LEN, index: 0, ended: false }
    }
}

impl RecordPosition {
    /// Where in the batch's bytes the next record starts.
    pub fn byte_position(&self) -> usize {
        self.at
    }

    /// The next record; `None` at the end and after an error.
    #[inline(always)]
    pub fn next<'b>(&mut self, batch: &'b Batch) -> Option<Result<RecordView<'b>, BatchError>> {
        let header = batch.header();
        if self.ended {
            return None;
        }
        if self.index >= header.record_count || header.compression() != Compression::None {
            return self.end(batch).map(Err);
        }
        let rest = batch.bytes().get(self.at..).unwrap_or_default();
        let mut reader = Reader::new(rest);
        match decode(&mut reader, header) {
            Ok(view) => {
                self.at += reader.position();
                self.index += 1;
                Some(Ok(view))
            }
            Err(fault) => {
                self.ended = true;
                Some(Err(BatchError::MalformedRecord { index: self.index, fault }))
            }
        }
    }

    /// Goes over records without looking at what they hold, but for whether they are sound: up to
    /// `max`, and up to before one that is not. Returns how many, and the last one's offset.
    pub fn pass(&mut self, batch: &Batch, max: usize) -> (usize, Option<i64>) {
        let header = batch.header();
        let left = usize::try_from(header.record_count - self.index).unwrap_or(0);
        if self.ended || header.compression() != Compression::None {
            return (0, None);
        }
        let mut reader = Reader::new(batch.bytes().get(self.at..).unwrap_or_default());
        let (mut passed, mut end, mut last) = (0, 0, None);
        while passed < left.min(max)
            && let Ok(view) = decode(&mut reader, header)
        {
            passed += 1;
            end = reader.position();
            last = Some(view.offset);
        }
        self.at += end;
        self.index += passed as i32; // at most as many as are left
        (passed, last)
    }

    /// Nothing can follow; says why, if that is not as it should be.
    #[cold]
    fn end(&mut self, batch: &Batch) -> Option<BatchError> {
        self.ended = true;
        let header = batch.header();
        let trailing = batch.bytes().len().saturating_sub(self.at);
        match header.compression() {
            Compression::None if trailing > 0 => Some(BatchError::TrailingBytes(trailing)),
            Compression::None => None,
            _ if header.record_count == 0 => None,
            codec => Some(BatchError::UnsupportedCompression(codec)),
        }
    }
}

/// The record as a consumer gets it. It shares the batch's bytes, and without headers it
/// allocates nothing.
///
/// Panics if `view` is not of `batch`.
#[inline(always)]
pub fn to_consumer_record(
    view: &RecordView<'_>,
    batch: &Batch,
    topic: &TopicName,
    partition: i32,
) -> ConsumerRecord {
    let share = |slice: &[u8]| batch.bytes().slice_ref(slice);
    ConsumerRecord {
        topic: topic.clone(),
        partition,
        offset: view.offset,
        leader_epoch: batch.header().partition_leader_epoch,
        timestamp: view.timestamp,
        timestamp_type: batch.header().timestamp_type(),
        key: view.key.map(share),
        value: view.value.map(share),
        headers: match view.header_count {
            0 => Headers::default(),
            _ => share_headers(view, batch.bytes()),
        },
    }
}

fn share_headers(view: &RecordView<'_>, batch: &Bytes) -> Headers {
    let mut spans = Vec::with_capacity(view.header_count);
    let mut reader = Reader::new(view.headers);
    // Neither read fails: they have succeeded when the record was decoded.
    while let Ok(key) = reader.varint_bytes() {
        let key = span_before(&reader, key);
        let Ok(value) = reader.nullable_varint_bytes() else {
            break;
        };
        let value = value.map(|value| span_before(&reader, value));
        spans.push((key, value) as HeaderSpan);
    }
    Headers::new(batch.slice_ref(view.headers), spans.into_boxed_slice())
}

/// Where the bytes just read stand. A record is shorter than 2^31 bytes, so a u32 holds it.
fn span_before(reader: &Reader<'_>, bytes: &[u8]) -> std::ops::Range<u32> {
    let end = reader.position();
    (end - bytes.len()) as u32..end as u32
}

/// The next record of a batch with this header.
#[inline(always)]
pub(super) fn decode<'a>(
    reader: &mut Reader<'a>,
    header: &BatchHeader,
) -> Result<RecordView<'a>, RecordFault> {
    let mut body = Reader::new(reader.varint_bytes()?);
    body.i8()?; // attributes: none are defined
    let timestamp_delta = body.varlong()?;
    let offset_delta = body.varint()?;
    if !(0..=header.last_offset_delta).contains(&offset_delta) {
        return Err(RecordFault::OffsetDelta(offset_delta));
    }
    let key = body.nullable_varint_bytes()?;
    let value = body.nullable_varint_bytes()?;
    let declared = body.varint()?;
    let headers = body.rest();
    let header_count = check_headers(body, declared)?;
    Ok(RecordView {
        offset: header.base_offset + i64::from(offset_delta),
        timestamp: Timestamp::from_millis(match header.timestamp_type() {
            TimestampType::CreateTime => header.base_timestamp.wrapping_add(timestamp_delta),
            TimestampType::LogAppendTime => header.max_timestamp,
        }),
        key,
        value,
        header_count,
        headers,
    })
}

/// Goes through all headers to the end of the record; returns how many there are.
#[inline(always)]
fn check_headers(mut body: Reader<'_>, declared: i32) -> Result<usize, RecordFault> {
    let count = usize::try_from(declared).map_err(|_| RecordFault::HeaderCount(declared))?;
    if count > body.remaining() / MIN_HEADER_LEN {
        return Err(RecordFault::HeaderCount(declared));
    }
    for _ in 0..count {
        skip_header(&mut body)?;
    }
    match body.remaining() {
        0 => Ok(count),
        left => Err(RecordFault::LeftOver(left)),
    }
}

#[inline(always)]
fn skip_header(body: &mut Reader<'_>) -> Result<(), CodecError> {
    body.varint_bytes()?;
    body.nullable_varint_bytes()?;
    Ok(())
}
