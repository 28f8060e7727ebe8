//! Batches as a whole: round trips, alone and through another implementation of the format.

mod compression;
mod damage;
mod halve;
mod validate;

use std::borrow::Cow;

use bytes::{Bytes, BytesMut};
use kafka_protocol::indexmap::IndexMap;
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records as oracle;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::record::{ConsumerRecord, Payload, Timestamp, TimestampType};
use crate::topic::TopicName;

/// What a record is made of, owned.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Parts {
    timestamp: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Parts {
    fn borrowed_headers(&self) -> Vec<(Cow<'_, str>, Option<Payload<'_>>)> {
        let borrow = |(key, value): &'_ (String, Option<Vec<u8>>)| {
            (Cow::Owned(key.clone()), value.clone().map(Payload::from))
        };
        self.headers.iter().map(borrow).collect()
    }

    fn of_view(view: &RecordView<'_>) -> Parts {
        Parts {
            timestamp: view.timestamp.as_millis(),
            key: view.key.map(<[u8]>::to_vec),
            value: view.value.map(<[u8]>::to_vec),
            headers: owned(view.headers()),
        }
    }

    fn of_consumer_record(record: &ConsumerRecord) -> Parts {
        Parts {
            timestamp: record.timestamp.as_millis(),
            key: record.key.as_ref().map(|key| key.to_vec()),
            value: record.value.as_ref().map(|value| value.to_vec()),
            headers: owned(record.headers.iter()),
        }
    }

    fn of_oracle(record: &oracle::Record) -> Parts {
        let header = |(key, value): (&StrBytes, &Option<Bytes>)| {
            (key.to_string(), value.as_ref().map(|value| value.to_vec()))
        };
        Parts {
            timestamp: record.timestamp,
            key: record.key.as_ref().map(|key| key.to_vec()),
            value: record.value.as_ref().map(|value| value.to_vec()),
            headers: record.headers.iter().map(header).collect(),
        }
    }

    /// The sequence follows the offset: the oracle would otherwise split the batch.
    fn to_oracle(&self, offset: i64) -> oracle::Record {
        let header = |(key, value): &(String, Option<Vec<u8>>)| {
            (StrBytes::from_string(key.clone()), value.clone().map(Bytes::from))
        };
        oracle::Record {
            transactional: false,
            control: false,
            delete_horizon: false,
            partition_leader_epoch: 5,
            producer_id: 77,
            producer_epoch: 3,
            timestamp_type: oracle::TimestampType::Creation,
            offset,
            sequence: offset as i32,
            timestamp: self.timestamp,
            key: self.key.clone().map(Bytes::from),
            value: self.value.clone().map(Bytes::from),
            headers: self.headers.iter().map(header).collect::<IndexMap<_, _>>(),
        }
    }
}

fn owned<'a>(
    headers: impl Iterator<Item = crate::record::Header<'a>>,
) -> Vec<(String, Option<Vec<u8>>)> {
    headers.map(|h| (h.key.into_owned(), h.value.map(<[u8]>::to_vec))).collect()
}

/// Short, or long enough for a length of two or three bytes.
fn payload() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![vec(any::<u8>(), 0..8), vec(any::<u8>(), 60..200), vec(any::<u8>(), 8190..8200)]
}

/// Keys from a small set, so that they repeat.
fn headers() -> impl Strategy<Value = Vec<(String, Option<Vec<u8>>)>> {
    vec((prop_oneof!["[ab]?", "\\PC{0,40}"], option::of(vec(any::<u8>(), 0..70))), 0..5)
}

fn parts(timestamps: impl Strategy<Value = i64>) -> impl Strategy<Value = Parts> {
    (timestamps, option::of(payload()), option::of(payload()), headers())
        .prop_map(|(timestamp, key, value, headers)| Parts { timestamp, key, value, headers })
}

/// Records in any order of time.
fn any_records() -> impl Strategy<Value = Vec<Parts>> {
    vec(parts(prop_oneof![any::<i64>(), 0i64..2_000, Just(i64::MIN), Just(i64::MAX)]), 1..8)
}

/// What the oracle can keep: times that it can subtract, no header key twice.
fn oracle_records() -> impl Strategy<Value = Vec<Parts>> {
    let near = parts(-1i64..1 << 40).prop_map(|mut parts| {
        let mut seen = Vec::new();
        parts.headers.retain(|(key, _)| {
            !seen.contains(key) && {
                seen.push(key.clone());
                true
            }
        });
        parts
    });
    vec(near, 1..8)
}

fn build(records: &[Parts]) -> BytesMut {
    let mut builder = BatchBuilder::new(BytesMut::new());
    for (index, it) in records.iter().enumerate() {
        let (key, value, headers) = (it.key.as_deref(), it.value.as_deref(), it.borrowed_headers());
        let before = builder.len();
        let offset_delta = builder.push(it.timestamp, key, value, &headers);
        assert_eq!(offset_delta, index as i32);
        let bound = BatchBuilder::record_size_upper_bound(key, value, &headers);
        assert!(builder.len() - before <= bound);
    }
    builder.finish()
}

/// A batch at offset 40 in leader epoch 6.
fn stored(records: &[Parts]) -> Batch {
    let mut bytes = build(records);
    patch(&mut bytes, 40, 6);
    Batch::parse_checked(bytes.freeze()).expect("it was just built")
}

fn small() -> Vec<Parts> {
    let headers = vec![("h".to_owned(), Some(b"x".to_vec())), (String::new(), None)];
    let first = Parts { timestamp: 7, key: None, value: Some(b"first".to_vec()), headers };
    let second = Parts { timestamp: 5, key: Some(b"k".to_vec()), value: None, headers: Vec::new() };
    vec![first, second]
}

/// The batch with other header fields, length and CRC put right.
fn altered(batch: &Batch, change: impl FnOnce(&mut BatchHeader), records: &[u8]) -> Batch {
    let mut header = *batch.header();
    header.batch_length = (HEADER_LEN - LOG_OVERHEAD + records.len()) as i32;
    change(&mut header);
    let mut bytes = [&header.to_bytes(), records].concat();
    header::seal(&mut bytes);
    Batch::parse_checked(bytes.into()).expect("only the records are wrong")
}

proptest! {
    #[test]
    fn records_come_back(records in any_records()) {
        let batch = stored(&records);
        let read: Vec<_> = batch.records().collect::<Result<_, _>>().unwrap();
        prop_assert_eq!(read.iter().map(Parts::of_view).collect::<Vec<_>>(), records.clone());
        let latest = records.iter().map(|r| r.timestamp).max();
        prop_assert_eq!(Some(batch.header().max_timestamp), latest);

        let topic = TopicName::parse("t").unwrap();
        for (index, view) in read.iter().enumerate() {
            let record = to_consumer_record(view, &batch, &topic, 3);
            prop_assert_eq!(&Parts::of_consumer_record(&record), &records[index]);
            prop_assert_eq!(record.headers.len(), view.header_count());
            prop_assert_eq!((record.offset, record.partition), (40 + index as i64, 3));
            prop_assert_eq!(record.leader_epoch, 6);
        }
    }

    #[test]
    fn kafka_reads_what_we_build(records in oracle_records()) {
        let mut bytes = stored(&records).bytes().clone();
        let read = oracle::RecordBatchDecoder::decode(&mut bytes).unwrap().records;
        prop_assert!(bytes.is_empty());
        prop_assert_eq!(read.iter().map(Parts::of_oracle).collect::<Vec<_>>(), records);
        for (index, record) in read.iter().enumerate() {
            prop_assert_eq!(record.offset, 40 + index as i64);
            prop_assert_eq!((record.producer_id, record.partition_leader_epoch), (-1, 6));
        }
    }

    #[test]
    fn we_read_what_kafka_builds(records in oracle_records(), base in 0i64..1 << 30) {
        let theirs: Vec<_> =
            records.iter().zip(base..).map(|(parts, offset)| parts.to_oracle(offset)).collect();
        let compression = oracle::Compression::None;
        let options = oracle::RecordEncodeOptions { version: 2, compression };
        let mut bytes = BytesMut::new();
        oracle::RecordBatchEncoder::encode(&mut bytes, &theirs, &options).unwrap();

        let whole = bytes.len();
        let batch = Batch::parse_checked(bytes.freeze()).unwrap();
        prop_assert_eq!(batch.bytes().len(), whole, "the oracle split the batch");
        let read: Vec<_> = batch.records().collect::<Result<_, _>>().unwrap();
        prop_assert_eq!(read.iter().map(Parts::of_view).collect::<Vec<_>>(), records);
        prop_assert_eq!(read[0].offset, base);
        let header = batch.header();
        prop_assert_eq!((header.producer_id, header.producer_epoch), (77, 3));
        prop_assert_eq!((header.base_sequence, header.last_sequence()), (
            base as i32,
            header.last_offset() as i32,
        ));
    }
}

#[test]
fn log_append_time_is_every_records_timestamp() {
    let batch = stored(&small());
    let change = |h: &mut BatchHeader| (h.attributes, h.max_timestamp) = (1 << 3, 99);
    let batch = altered(&batch, change, &batch.bytes()[HEADER_LEN..]);
    for view in batch.records() {
        let view = view.unwrap();
        assert_eq!(view.timestamp, Timestamp::from_millis(99));
        let record = to_consumer_record(&view, &batch, &TopicName::parse("t").unwrap(), 0);
        assert_eq!(record.timestamp_type, TimestampType::LogAppendTime);
    }
}

#[test]
fn a_batch_that_compaction_emptied_has_no_records() {
    let batch = altered(&stored(&small()), |h| h.record_count = 0, b"");
    assert_eq!(batch.records().count(), 0);
    assert_eq!(batch.header().next_offset(), 42);
}

#[test]
fn a_position_resumes_where_it_stopped() {
    let batch = stored(&small());
    let mut position = RecordPosition::default();
    assert_eq!(position.next(&batch).unwrap().unwrap().offset, 40);
    let (batch, mut kept) = (batch.clone(), position.clone());
    assert_eq!(kept.next(&batch).unwrap().unwrap().offset, 41);
    assert!(kept.next(&batch).is_none());
}
