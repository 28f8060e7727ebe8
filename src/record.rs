//! What goes in and what comes out: [`Record`], [`RecordMetadata`], [`ConsumerRecord`].
//!
//! No encoding here; `batch` turns records into bytes and back.

use std::borrow::Cow;
use std::fmt;
use std::ops::{Deref, Range};
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use crate::topic::{TopicName, TopicPartition};

/// A point in time: milliseconds since the Unix epoch, as Kafka stores it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// Kafka's "no timestamp" (-1): what a batch without timestamps carries.
    pub const NONE: Timestamp = Timestamp(-1);

    /// From milliseconds since the Unix epoch.
    pub const fn from_millis(millis: i64) -> Self {
        Timestamp(millis)
    }

    /// Milliseconds since the Unix epoch.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// This time plus `duration`, or the latest time there is.
    pub fn saturating_add(self, duration: Duration) -> Self {
        let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Timestamp(self.0.saturating_add(millis))
    }

    /// This time less `duration`, or the earliest time there is.
    pub fn saturating_sub(self, duration: Duration) -> Self {
        let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Timestamp(self.0.saturating_sub(millis))
    }

    /// The time since `earlier`; zero if `earlier` is later.
    pub fn duration_since(self, earlier: Timestamp) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0).max(0) as u64)
    }
}

impl From<SystemTime> for Timestamp {
    /// Times before 1970 become negative, which producers refuse.
    fn from(time: SystemTime) -> Self {
        // Not `as_millis`: its 128 bits are slow, and every record passes here.
        let clamp = |d: Duration| {
            let millis = d.as_secs().saturating_mul(1_000).saturating_add(d.subsec_millis().into());
            i64::try_from(millis).unwrap_or(i64::MAX)
        };
        match time.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(after) => Timestamp(clamp(after)),
            Err(before) => Timestamp(-clamp(before.duration())),
        }
    }
}

impl From<Timestamp> for SystemTime {
    fn from(timestamp: Timestamp) -> Self {
        let millis = Duration::from_millis(timestamp.0.unsigned_abs());
        let epoch = SystemTime::UNIX_EPOCH;
        // Some systems' times end before such a timestamp does.
        let time =
            if timestamp.0 < 0 { epoch.checked_sub(millis) } else { epoch.checked_add(millis) };
        time.unwrap_or(epoch)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Who set a record's timestamp (`message.timestamp.type` of its topic).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TimestampType {
    /// The producer, when it made the record.
    #[default]
    CreateTime,
    /// The broker, when it appended the batch.
    LogAppendTime,
}

impl fmt::Display for TimestampType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TimestampType::CreateTime => "CreateTime",
            TimestampType::LogAppendTime => "LogAppendTime",
        })
    }
}

/// Bytes of a key, a value or a header: borrowed, or owned in whatever form the caller has them.
///
/// Made by `into()`; a producer copies them into its batch, so borrowed bytes cost one copy and
/// no allocation.
#[derive(Clone)]
pub struct Payload<'a>(Form<'a>);

#[derive(Clone)]
enum Form<'a> {
    Borrowed(&'a [u8]),
    Vec(Vec<u8>),
    Bytes(Bytes),
}

impl Payload<'_> {
    /// The same bytes, free of any borrow.
    pub fn into_owned(self) -> Payload<'static> {
        Payload(match self.0 {
            Form::Borrowed(slice) => Form::Vec(slice.to_vec()),
            Form::Vec(vec) => Form::Vec(vec),
            Form::Bytes(bytes) => Form::Bytes(bytes),
        })
    }
}

impl Deref for Payload<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Form::Borrowed(slice) => slice,
            Form::Vec(vec) => vec,
            Form::Bytes(bytes) => bytes,
        }
    }
}

impl fmt::Debug for Payload<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.escape_ascii())
    }
}

impl PartialEq for Payload<'_> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Payload<'_> {}

macro_rules! payload_from {
    ($($from:ty => |$it:ident| $form:expr),* $(,)?) => {$(
        impl<'a> From<$from> for Payload<'a> {
            fn from($it: $from) -> Self {
                Payload($form)
            }
        }
    )*};
}

payload_from! {
    &'a [u8] => |it| Form::Borrowed(it),
    &'a str => |it| Form::Borrowed(it.as_bytes()),
    &'a String => |it| Form::Borrowed(it.as_bytes()),
    &'a Vec<u8> => |it| Form::Borrowed(it),
    &'a Bytes => |it| Form::Bytes(it.clone()),
    Vec<u8> => |it| Form::Vec(it),
    String => |it| Form::Vec(it.into_bytes()),
    Bytes => |it| Form::Bytes(it),
}

impl<'a, const N: usize> From<&'a [u8; N]> for Payload<'a> {
    fn from(it: &'a [u8; N]) -> Self {
        Payload(Form::Borrowed(it))
    }
}

/// A record on its way in.
///
/// ```
/// use ottla::Record;
///
/// let record = Record::to("orders").key("alice").value("2 coffees").header("shop", "corner");
/// assert_eq!(record.key.as_deref(), Some(&b"alice"[..]));
/// ```
///
/// Without a key it goes round robin; without a value it is a tombstone (null value), which
/// deletes its key from a compacted topic. Null and empty differ, for keys, values and header
/// values.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Record<'a> {
    /// The topic's name; parsed when the record is produced.
    pub topic: Cow<'a, str>,
    /// The partition, if the caller chose it; otherwise the producer's partitioner does.
    pub partition: Option<i32>,
    /// The key; `None` is a null key.
    pub key: Option<Payload<'a>>,
    /// The value; `None` is a null value.
    pub value: Option<Payload<'a>>,
    /// The creation time; `None` is the time at which the producer takes the record.
    pub timestamp: Option<Timestamp>,
    /// Headers in order. Keys may repeat and may be empty; values may be null.
    pub headers: Vec<(Cow<'a, str>, Option<Payload<'a>>)>,
}

impl<'a> Record<'a> {
    /// A record for `topic`, with null key, null value and no headers.
    pub fn to(topic: impl Into<Cow<'a, str>>) -> Self {
        Record {
            topic: topic.into(),
            partition: None,
            key: None,
            value: None,
            timestamp: None,
            headers: Vec::new(),
        }
    }

    /// Sets the key.
    pub fn key(mut self, key: impl Into<Payload<'a>>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Sets the value.
    pub fn value(mut self, value: impl Into<Payload<'a>>) -> Self {
        self.value = Some(value.into());
        self
    }

    /// Chooses the partition.
    pub fn partition(mut self, partition: i32) -> Self {
        self.partition = Some(partition);
        self
    }

    /// Sets the creation time, at a resolution of one millisecond.
    pub fn timestamp(mut self, timestamp: impl Into<Timestamp>) -> Self {
        self.timestamp = Some(timestamp.into());
        self
    }

    /// Adds a header.
    pub fn header(mut self, key: impl Into<Cow<'a, str>>, value: impl Into<Payload<'a>>) -> Self {
        self.headers.push((key.into(), Some(value.into())));
        self
    }

    /// Adds a header whose value is null.
    pub fn null_header(mut self, key: impl Into<Cow<'a, str>>) -> Self {
        self.headers.push((key.into(), None));
        self
    }

    /// The same record, free of any borrow.
    pub fn into_owned(self) -> Record<'static> {
        let own = |(key, value): (Cow<'a, str>, Option<Payload<'a>>)| {
            (Cow::Owned(key.into_owned()), value.map(Payload::into_owned))
        };
        Record {
            topic: Cow::Owned(self.topic.into_owned()),
            partition: self.partition,
            key: self.key.map(Payload::into_owned),
            value: self.value.map(Payload::into_owned),
            timestamp: self.timestamp,
            headers: self.headers.into_iter().map(own).collect(),
        }
    }
}

/// Where an acknowledged record stands.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecordMetadata {
    /// Its topic.
    pub topic: TopicName,
    /// Its partition.
    pub partition: i32,
    /// Its offset; -1 if the producer does not wait for acknowledgements (`acks=0`).
    pub offset: i64,
    /// Its timestamp: the record's own, or the broker's under `LogAppendTime`.
    pub timestamp: Timestamp,
}

impl RecordMetadata {
    pub(crate) fn new(at: &TopicPartition, offset: i64, timestamp: Timestamp) -> Self {
        RecordMetadata { topic: at.topic.clone(), partition: at.partition, offset, timestamp }
    }

    /// Whether the offset is known (it is not with `acks=0`).
    pub fn has_offset(&self) -> bool {
        self.offset >= 0
    }
}

/// A header of a record: a key, which may be empty or repeat, and a value, which may be null.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header<'a> {
    /// The key. Bytes that are not UTF-8 (only a network client can write them) show as `U+FFFD`.
    pub key: Cow<'a, str>,
    /// The value.
    pub value: Option<&'a [u8]>,
}

/// The headers of a [`ConsumerRecord`], in the order in which they were produced.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers {
    raw: Bytes,
    spans: Box<[HeaderSpan]>,
}

/// Where in the raw bytes one header's key and value stand.
pub(crate) type HeaderSpan = (Range<u32>, Option<Range<u32>>);

impl Headers {
    /// `spans` lie within `raw`, which batch decoding has checked.
    pub(crate) fn new(raw: Bytes, spans: Box<[HeaderSpan]>) -> Self {
        Headers { raw, spans }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Header<'_>> {
        let slice = |span: &Range<u32>| &self.raw[span.start as usize..span.end as usize];
        self.spans.iter().map(move |(key, value)| Header {
            key: String::from_utf8_lossy(slice(key)),
            value: value.as_ref().map(slice),
        })
    }

    /// The value of the last header with this key, as Kafka's `Headers.lastHeader` does; null
    /// counts as none.
    pub fn last(&self, key: &str) -> Option<&[u8]> {
        let found =
            self.spans.iter().rev().find(|(span, _)| {
                &self.raw[span.start as usize..span.end as usize] == key.as_bytes()
            });
        let (_, value) = found?;
        value.as_ref().map(|span| &self.raw[span.start as usize..span.end as usize])
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// A record on its way out. Key, value and headers share the bytes of the batch they came in.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConsumerRecord {
    /// Its topic.
    pub topic: TopicName,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// The leader epoch of its batch.
    pub leader_epoch: i32,
    /// Its timestamp.
    pub timestamp: Timestamp,
    /// Who set the timestamp.
    pub timestamp_type: TimestampType,
    /// Its key; `None` is a null key.
    pub key: Option<Bytes>,
    /// Its value; `None` is a null value.
    pub value: Option<Bytes>,
    /// Its headers.
    pub headers: Headers,
}
