//! Arbitrary bytes as a record batch: nothing panics, and what validates holds what it says.
//!
//! Input: the bytes. They are looked at as they are, and once more with length, magic and CRC put
//! right, so that mutations reach the records.

use std::borrow::Cow;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use ottla::batch::{
    Batch, BatchBuilder, BatchError, BatchHeader, Compression, HEADER_LEN, LOG_OVERHEAD, MAGIC,
    RecordView, Retained, check_crc, compress, first_without_key, patch, put_emptied, put_filler,
    set_log_append_time, to_consumer_record, validate,
};
use ottla::log::LogConfig;
use ottla::{ConsumerRecord, Payload, Timestamp, TimestampType, TopicName};

/// Where the bytes that the CRC covers begin.
const CRC_FROM: usize = 21;
/// What a batch may take once it is decompressed.
const MAX_DECOMPRESSED: usize = 1 << 20;
/// The fewest bytes that a record takes.
const MIN_RECORD_LEN: usize = 7;

/// Looks at one input. Panics are findings.
pub fn run(data: &[u8]) {
    inspect(data);
    if data.len() >= HEADER_LEN {
        inspect(&mended(data));
    }
}

/// With length, magic and CRC of what it is.
fn mended(data: &[u8]) -> Vec<u8> {
    let mut bytes = data.to_vec();
    bytes[8..12].copy_from_slice(&((data.len() - LOG_OVERHEAD) as i32).to_be_bytes());
    bytes[16] = MAGIC as u8;
    if let Err(BatchError::CrcMismatch { computed, .. }) = check_crc(&bytes) {
        bytes[CRC_FROM - 4..CRC_FROM].copy_from_slice(&computed.to_be_bytes());
    }
    bytes
}

fn inspect(data: &[u8]) {
    let header = BatchHeader::parse(data);
    let keyless = first_without_key(data);
    let Ok(batch) = Batch::parse(Bytes::copy_from_slice(data)) else {
        assert!(check_crc(data).is_err());
        return;
    };
    assert_eq!(header.as_ref(), Ok(batch.header()));
    assert_eq!(batch.bytes(), &data[..batch.header().size()]);
    let records = decode(&batch);
    assert_eq!(check_crc(data).is_ok(), Batch::parse_checked(batch.bytes().clone()).is_ok());
    check_leftovers(&batch);
    if check_crc(data).is_err() {
        return;
    }
    flip_bits(batch.bytes());
    relabel(&batch);
    expand(&batch);
    check_validated(data);
    if let Ok(records) = records {
        check_keys(&batch, &records, keyless);
        check_records(&batch, &records);
        check_owned(&batch, &records);
        encode_again(&records);
        retain(&batch, &records);
    }
}

/// Decompressed it is a batch, no longer than allowed; compressed again, with a codec or another,
/// it holds the same.
fn expand(batch: &Batch) {
    let Ok(plain) = batch.expanded(MAX_DECOMPRESSED) else { return };
    let (header, size) = (plain.header(), plain.bytes().len());
    assert_eq!(header.compression(), Compression::None);
    let rest = |it: &BatchHeader| {
        let attributes = it.attributes & !0b111;
        BatchHeader { crc: 0, batch_length: 0, attributes, ..*it }
    };
    assert_eq!(rest(header), rest(batch.header()));
    assert!(size <= MAX_DECOMPRESSED || batch.header().compression() == Compression::None);
    check_crc(plain.bytes()).expect("it is sealed anew");
    let _ = decode(&plain);
    let codec = Compression::ALL[size % Compression::ALL.len()];
    if codec.is_built_in() {
        let again = compress(plain.bytes(), codec).expect("it is not compressed");
        let again = Batch::parse_checked(again.freeze()).expect("it was just compressed");
        assert_eq!(again.expanded(size).as_ref(), Ok(&plain));
    }
}

/// What a peer may send is one batch whose records can all be read, and that says so of them.
fn check_validated(data: &[u8]) {
    let config = LogConfig { timestamp_after_max: Duration::MAX, ..LogConfig::default() };
    let rules = config.rules(Timestamp::from_millis(0), MAX_DECOMPRESSED);
    let Ok(valid) = validate(BytesMut::from(data), &rules) else { return };
    let batch = Batch::parse_checked(valid.bytes.freeze()).expect("it is valid");
    let plain = batch.expanded(MAX_DECOMPRESSED).expect("it is valid");
    let records = decode(&plain).expect("they are valid");
    assert!(records.iter().zip(0..).all(|(record, offset)| record.offset == offset));
    assert_eq!(records.len() as i64, valid.header.next_offset());
    let latest = records.iter().map(|record| record.timestamp.as_millis()).max();
    assert_eq!(latest.map(|latest| latest.max(-1)), Some(valid.header.max_timestamp));
}

/// All records, or the first error, after which nothing comes.
fn decode(batch: &Batch) -> Result<Vec<RecordView<'_>>, BatchError> {
    let (mut found, mut iter) = (Vec::new(), batch.records());
    for record in iter.by_ref() {
        match record {
            Ok(record) => found.push(record),
            Err(error) => {
                assert!(iter.next().is_none(), "something follows {error}");
                return Err(error);
            }
        }
    }
    assert!(found.len() * MIN_RECORD_LEN <= batch.bytes().len());
    Ok(found)
}

/// The header says what the records are.
fn check_records(batch: &Batch, records: &[RecordView<'_>]) {
    let header = batch.header();
    assert_eq!(records.len(), header.record_count as usize);
    assert!(records.is_empty() || header.compression() == Compression::None);
    for record in records {
        assert!((header.base_offset..=header.last_offset()).contains(&record.offset));
        assert_eq!(record.headers().count(), record.header_count());
        if header.timestamp_type() == TimestampType::LogAppendTime {
            assert_eq!(record.timestamp.as_millis(), header.max_timestamp);
        }
    }
    assert_eq!(header.next_offset(), header.last_offset() + 1);
}

fn check_keys(batch: &Batch, records: &[RecordView<'_>], keyless: Result<Option<i32>, BatchError>) {
    let first = records.iter().position(|record| record.key.is_none());
    assert_eq!(keyless, Ok(first.map(|index| index as i32)), "{batch:?}");
}

/// What a consumer gets is what is there.
fn check_owned(batch: &Batch, records: &[RecordView<'_>]) {
    let topic = TopicName::parse("t").expect("a legal name");
    for view in records {
        let record: ConsumerRecord = to_consumer_record(view, batch, &topic, 3);
        assert_eq!((record.offset, record.timestamp), (view.offset, view.timestamp));
        assert_eq!((record.key.as_deref(), record.value.as_deref()), (view.key, view.value));
        assert_eq!(record.headers.len(), view.header_count());
        assert!(record.headers.iter().eq(view.headers()));
    }
}

type OwnedHeaders<'a> = Vec<(Cow<'a, str>, Option<Payload<'a>>)>;

fn headers<'a>(record: &RecordView<'a>) -> OwnedHeaders<'a> {
    record.headers().map(|it| (it.key, it.value.map(Payload::from))).collect()
}

/// The same, but for the offset.
fn same(one: &RecordView<'_>, other: &RecordView<'_>) -> bool {
    (one.timestamp, one.key, one.value) == (other.timestamp, other.key, other.value)
        && one.headers().eq(other.headers())
}

/// Encoded anew, the records are the same, and numbered without gaps.
fn encode_again(records: &[RecordView<'_>]) {
    if records.is_empty() {
        return;
    }
    let mut builder = BatchBuilder::new(BytesMut::new());
    for (record, index) in records.iter().zip(0..) {
        let headers = headers(record);
        let at = record.timestamp.as_millis();
        let most = builder.len()
            + BatchBuilder::record_size_upper_bound(record.key, record.value, &headers);
        assert_eq!(builder.push(at, record.key, record.value, &headers), index);
        assert!(builder.len() <= most);
        if index == 0 {
            let size = BatchBuilder::single_record_size(record.key, record.value, &headers);
            assert_eq!(builder.len(), size);
        }
    }
    let bytes = builder.finish().freeze();
    let batch = Batch::parse_checked(bytes.clone()).expect("it was just built");
    assert_eq!(batch.bytes(), &bytes);
    let again = decode(&batch).expect("it was just built");
    assert_eq!(again.len(), records.len());
    assert!(again.iter().zip(records).all(|(new, old)| same(new, old)));
    assert!(again.iter().zip(0..).all(|(record, index)| record.offset == index));
    let latest = records.iter().map(|record| record.timestamp.as_millis()).max();
    assert_eq!(Some(batch.header().max_timestamp), latest);
    assert_eq!(batch.header().base_timestamp, records[0].timestamp.as_millis());
}

/// What compaction leaves is a batch with just what was kept.
fn retain(batch: &Batch, records: &[RecordView<'_>]) {
    for (step, horizon) in [(1, None), (2, None), (1, Some(i64::MAX)), (3, Some(5))] {
        let mut nth = 0_usize;
        let mut retained = Retained::default();
        let keep = |_: &RecordView<'_>| {
            nth += 1;
            nth.is_multiple_of(step)
        };
        retained.select(batch, keep).expect("its records can be read");
        let wanted = || records.iter().skip(step - 1).step_by(step);
        assert_eq!(retained.kept() as usize, wanted().count());
        let mut to = BytesMut::new();
        if retained.kept() == 0 || !retained.write(batch, horizon, &mut to) {
            continue;
        }
        let left = Batch::parse_checked(to.freeze()).expect("it was just written");
        let kept = decode(&left).expect("it was just written");
        assert_eq!(kept.len(), wanted().count());
        assert!(kept.iter().zip(wanted()).all(|(new, old)| same(new, old)));
        assert!(kept.iter().zip(wanted()).all(|(new, old)| new.offset == old.offset));
        assert_eq!(left.header().last_offset(), batch.header().last_offset());
        if horizon.is_some() {
            assert_eq!(left.header().delete_horizon(), horizon);
        }
    }
}

/// Batches that stand in this one's place.
fn check_leftovers(batch: &Batch) {
    let header = batch.header();
    let mut to = BytesMut::new();
    put_emptied(header, &mut to);
    let emptied = Batch::parse_checked(to.split().freeze()).expect("it was just written");
    assert_eq!(decode(&emptied), Ok(Vec::new()));
    assert_eq!(emptied.header().next_offset(), header.next_offset());
    assert_eq!(emptied.header().last_sequence(), header.last_sequence());
    put_filler(header.base_offset..header.next_offset(), 7, &mut to);
    let filler = Batch::parse_checked(to.freeze()).expect("it was just written");
    assert_eq!(filler.header().base_offset, header.base_offset);
    assert_eq!(filler.header().next_offset(), header.next_offset());
}

/// Whatever bit of what the CRC covers is not as it was: it is noticed. Tries some, other ones
/// in each batch.
fn flip_bits(batch: &[u8]) {
    let mut bytes = batch.to_vec();
    let bits = (batch.len() - CRC_FROM) * 8;
    let step = 1 + bits / 61;
    let phase = usize::from(batch[CRC_FROM - 1]) % step;
    for bit in (phase..bits).step_by(step) {
        let (byte, mask) = (CRC_FROM + bit / 8, 1 << (bit % 8));
        bytes[byte] ^= mask;
        assert!(check_crc(&bytes).is_err(), "bit {bit} was flipped");
        bytes[byte] ^= mask;
    }
}

/// A log gives it a place, and maybe a time. The records stay.
fn relabel(batch: &Batch) {
    let mut bytes = BytesMut::from(&batch.bytes()[..]);
    patch(&mut bytes, 1 << 40, 9);
    let moved = Batch::parse_checked(bytes.clone().freeze()).expect("the CRC does not cover that");
    assert_eq!((moved.header().base_offset, moved.header().partition_leader_epoch), (1 << 40, 9));
    set_log_append_time(&mut bytes, 77);
    let stamped = Batch::parse_checked(bytes.freeze()).expect("it has a new CRC");
    assert_eq!(stamped.header().timestamp_type(), TimestampType::LogAppendTime);
    match (decode(batch), decode(&stamped)) {
        (Ok(old), Ok(new)) => {
            assert_eq!(old.len(), new.len());
            for (old, new) in old.iter().zip(&new) {
                assert_eq!((old.key, old.value), (new.key, new.value));
                assert_eq!(new.timestamp.as_millis(), 77);
            }
        }
        (old, new) => assert_eq!(old.err(), new.err()),
    }
}
