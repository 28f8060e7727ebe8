//! Batches that are not what was written: cut, flipped, forged.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

use super::{altered, any_records, build, small, stored};
use crate::batch::*;
use crate::topic::TopicName;

/// A one-record batch with these bytes for records.
fn raw(records: &[u8]) -> Batch {
    altered(&stored(&small()[..1]), |_| {}, records)
}

fn only_error(batch: &Batch) -> BatchError {
    let mut records = batch.records();
    let error = records.find_map(Result::err).expect("an error");
    assert!(records.next().is_none(), "reading ends after an error");
    error
}

fn fault(records: &[u8]) -> RecordFault {
    match only_error(&raw(records)) {
        BatchError::MalformedRecord { index: 0, fault } => fault,
        other => panic!("{other:?}"),
    }
}

proptest! {
    #[test]
    fn damaged_records_never_panic(
        records in any_records(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = build(&records).to_vec();
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        read_all(bytes);
    }

    /// Going over records and reading them come to the same.
    #[test]
    fn as_many_are_passed_as_can_be_read(
        records in any_records(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        steps in vec(0usize..5, 1..20),
    ) {
        let mut bytes = build(&records).to_vec();
        for (at, byte) in damage {
            let records = bytes.len() - HEADER_LEN;
            if records > 0 {
                bytes[HEADER_LEN + at.index(records)] = byte;
            }
        }
        let batch = Batch::parse(bytes.into()).expect("its header is as it was");
        let (mut passing, mut reading) = (RecordPosition::default(), RecordPosition::default());
        for step in steps {
            let sound = std::iter::from_fn(|| {
                let before = reading.clone();
                match reading.next(&batch) {
                    Some(Ok(view)) => Some(view.offset),
                    _ => {
                        reading = before;
                        None
                    }
                }
            });
            let offsets: Vec<i64> = sound.take(step).collect();
            let passed = passing.pass(&batch, step);
            assert_eq!(passed, (offsets.len(), offsets.last().copied()));
            assert_eq!(passing, reading);
        }
        let fault = |position: &mut RecordPosition| position.next(&batch).map(|it| it.err());
        assert_eq!(fault(&mut passing), fault(&mut reading));
    }

    #[test]
    fn any_bytes_never_panic(noise in vec(any::<u8>(), 0..200), count in any::<i32>()) {
        read_all(noise.clone());
        if count >= 0 {
            let change = |h: &mut BatchHeader| (h.record_count, h.last_offset_delta) = (count, 9);
            read_all(altered(&stored(&small()), change, &noise).bytes().to_vec());
        }
    }
}

/// Reads all that can be read of what may not be a batch.
fn read_all(bytes: Vec<u8>) {
    let _ = check_crc(&bytes);
    let Ok(batch) = Batch::parse(bytes.into()) else {
        return;
    };
    let topic = TopicName::parse("t").unwrap();
    for view in batch.records().flatten() {
        assert_eq!(view.headers().count(), view.header_count());
        let record = to_consumer_record(&view, &batch, &topic, 0);
        assert_eq!(record.headers.len(), view.header_count());
        assert!((batch.header().base_offset..batch.header().next_offset()).contains(&view.offset));
    }
}

#[test]
fn every_flipped_bit_under_the_crc_is_noticed() {
    let sound = build(&small());
    for bit in 21 * 8..sound.len() * 8 {
        let mut bytes = sound.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(check_crc(&bytes).is_err(), "bit {bit}");
        assert!(Batch::parse_checked(bytes.freeze()).is_err(), "bit {bit}");
    }
}

#[test]
fn a_batch_cut_short_is_an_error_and_one_followed_by_bytes_is_not() {
    let whole = build(&small()).freeze();
    for len in 0..whole.len() {
        let needed = if len < HEADER_LEN { HEADER_LEN } else { whole.len() };
        let cut = Err(BatchError::Truncated { needed, have: len });
        assert_eq!(Batch::parse(whole.slice(..len)), cut);
        assert_eq!(check_crc(&whole[..len]).err(), cut.err());
    }
    let followed = Bytes::from([&whole[..], b"more"].concat());
    assert_eq!(Batch::parse_checked(followed).unwrap().bytes(), &whole);
}

#[test]
fn a_codec_that_is_not_built_in_is_named_once() {
    let batch = altered(&stored(&small()), |h| h.attributes = 4, b"compressed");
    let error = only_error(&batch);
    assert_eq!(error, BatchError::UnsupportedCompression(Compression::Zstd));
    assert!(error.to_string().contains("feature `zstd`"));
}

#[test]
fn malformed_records_say_what_is_wrong() {
    use crate::codec::CodecError::*;
    // Length, attributes, timestamp, offset, key, value, header count.
    assert!(raw(&[12, 0, 0, 0, 1, 1, 0]).records().all(|record| record.is_ok()));
    assert_eq!(fault(&[14, 0, 0, 0, 1, 1, 0]), UnexpectedEnd { needed: 7, left: 6 }.into());
    assert_eq!(fault(&[1, 0, 0, 0, 1, 1, 0]), NegativeLength(-1).into());
    assert_eq!(fault(&[12, 0, 0, 0, 3, 1, 0]), NegativeLength(-2).into());
    assert_eq!(fault(&[12, 0, 0, 0, 1, 8, 0]), UnexpectedEnd { needed: 4, left: 1 }.into());
    assert_eq!(fault(&[12, 0, 0, 1, 1, 1, 0]), RecordFault::OffsetDelta(-1));
    assert_eq!(fault(&[12, 0, 0, 2, 1, 1, 0]), RecordFault::OffsetDelta(1));
    assert_eq!(fault(&[12, 0, 0, 0, 1, 1, 1]), RecordFault::HeaderCount(-1));
    assert_eq!(fault(&[14, 0, 0, 0, 1, 1, 2, 0]), RecordFault::HeaderCount(1));
    assert_eq!(fault(&[16, 0, 0, 0, 1, 1, 2, 1, 0]), NegativeLength(-1).into());
    assert_eq!(fault(&[14, 0, 0, 0, 1, 1, 0, 0]), RecordFault::LeftOver(1));
    assert_eq!(fault(&[0x80, 0x80, 0x80, 0x80, 0x80, 0]), VarintTooLong.into());
    let trailing = raw(&[12, 0, 0, 0, 1, 1, 0, 9]);
    assert_eq!(only_error(&trailing), BatchError::TrailingBytes(1));
    let missing = altered(&trailing, |h| h.record_count = 2, &[12, 0, 0, 0, 1, 1, 0]);
    let fault = UnexpectedEnd { needed: 1, left: 0 }.into();
    assert_eq!(only_error(&missing), BatchError::MalformedRecord { index: 1, fault });
}
