//! What is validated, what is refused, with which error, and what is corrected.

use std::time::Duration;

use bytes::BytesMut;
use proptest::collection::vec;
use proptest::prelude::*;

use super::{Parts, altered, any_records, build, small};
use crate::batch::*;
use crate::record::{Timestamp, TimestampType};

const NOW: i64 = 1_700_000_000_000;

/// A topic with Kafka's defaults.
fn rules() -> Rules {
    Rules {
        max_message_bytes: 1_048_588,
        segment_bytes: 1 << 30,
        compacted: false,
        timestamp_type: TimestampType::CreateTime,
        now: Timestamp::from_millis(NOW),
        timestamp_before_max: Duration::from_millis(i64::MAX as u64),
        timestamp_after_max: Duration::from_secs(3600),
        compression: None,
        max_decompressed_bytes: 1 << 20,
    }
}

/// None, and those that are built in.
fn codecs() -> impl Iterator<Item = Compression> {
    Compression::ALL.into_iter().filter(|codec| codec.is_built_in())
}

/// A batch as a client sends it.
fn sent() -> Batch {
    Batch::parse(build(&small()).freeze()).unwrap()
}

fn check(batch: &Batch, rules: &Rules) -> Result<Batch, InvalidBatch> {
    check_bytes(batch.bytes(), rules)
}

fn check_bytes(bytes: &[u8], rules: &Rules) -> Result<Batch, InvalidBatch> {
    let validated = validate(BytesMut::from(bytes), rules)?;
    let batch = Batch::parse_checked(validated.bytes.freeze()).unwrap();
    assert_eq!(batch.header(), &validated.header);
    Ok(batch)
}

/// What is refused of a batch whose header says otherwise.
fn refused(change: impl FnOnce(&mut BatchHeader)) -> InvalidBatch {
    let batch = sent();
    let records = batch.bytes().slice(HEADER_LEN..);
    let mut header = *batch.header();
    header.batch_length = (HEADER_LEN - LOG_OVERHEAD + records.len()) as i32;
    change(&mut header);
    let mut bytes = [&header.to_bytes()[..], &records].concat();
    header::seal(&mut bytes);
    check_bytes(&bytes, &rules()).unwrap_err()
}

fn is_invalid_record(error: &InvalidBatch, says: &str) -> bool {
    let InvalidBatch::InvalidRecord { reason, records } = error else { return false };
    records.is_empty() && reason.contains(says)
}

macro_rules! assert_invalid {
    ($error:expr, $says:expr) => {
        let error = $error;
        assert!(is_invalid_record(&error, $says), "{error:?}");
    };
}

#[test]
fn there_is_one_batch_of_version_2() {
    let whole = sent().bytes().to_vec();
    let with = |bytes: &[u8]| check_bytes(bytes, &rules()).unwrap_err();
    for len in [0, 12, HEADER_LEN - 1, HEADER_LEN, whole.len() - 1] {
        assert_invalid!(with(&whole[..len]), "no whole batch");
    }
    assert_invalid!(with(&whole.repeat(2)), "more than one batch");
    assert_invalid!(with(&[&whole[..], b"x"].concat()), "more than one batch");
    for magic in [0, 1] {
        assert_invalid!(refused(|it| it.magic = magic), "unsupported magic");
    }
    for magic in [-1, 3] {
        let corrupt = refused(|it| it.magic = magic);
        assert!(matches!(corrupt, InvalidBatch::CorruptMessage(_)), "{corrupt:?}");
    }
    let corrupt = refused(|it| it.batch_length = 48);
    assert!(matches!(corrupt, InvalidBatch::CorruptMessage(_)), "{corrupt:?}");
}

#[test]
fn checks_have_kafkas_order() {
    let mut bytes = build(&small());
    let limit = bytes.len() - 1;
    let tight = Rules { max_message_bytes: limit, ..rules() };
    *bytes.last_mut().unwrap() ^= 1;
    bytes[60] = 9; // another count
    patch(&mut bytes, 1, 0);
    let error = |bytes: &[u8], rules: &Rules| check_bytes(bytes, rules).unwrap_err();
    assert_invalid!(error(&bytes, &tight), "base offset 1");
    patch(&mut bytes, 0, 0);
    let too_large = InvalidBatch::MessageTooLarge { size: limit + 1, limit };
    assert_eq!(error(&bytes, &tight), too_large);
    let corrupt = error(&bytes, &rules());
    assert!(matches!(corrupt, InvalidBatch::CorruptMessage(BatchError::CrcMismatch { .. })));
    header::seal(&mut bytes);
    assert_invalid!(error(&bytes, &rules()), "9 records with offsets 0 to 1");
}

#[test]
fn a_client_may_not_say_everything() {
    assert_invalid!(refused(|it| it.record_count = 0), "0 records");
    assert_invalid!(refused(|it| it.record_count = -1), "record_count = -1");
    assert_invalid!(refused(|it| it.last_offset_delta = -1), "last_offset_delta = -1");
    assert_invalid!(refused(|it| it.last_offset_delta = i32::MAX), "2 records with offsets");
    assert_invalid!(refused(|it| it.attributes |= 1 << 5), "control");
    assert_invalid!(refused(|it| it.producer_id = 0), "sequence -1 of producer id 0");
    let stamped = refused(|it| it.attributes |= 1 << 3);
    assert!(matches!(stamped, InvalidBatch::InvalidTimestamp { .. }), "{stamped:?}");
    for unknown in 5..8 {
        let codec = BatchError::UnknownCompression(unknown);
        let error = refused(|it| it.attributes |= unknown);
        assert_eq!(error, InvalidBatch::UnsupportedCompression(codec));
    }
    for codec in Compression::ALL.into_iter().filter(|codec| !codec.is_built_in()) {
        let unsupported =
            InvalidBatch::UnsupportedCompression(BatchError::UnsupportedCompression(codec));
        assert_eq!(refused(|it| it.attributes |= codec.id()), unsupported);
        let target = Rules { compression: Some(codec), ..rules() };
        assert_eq!(check(&sent(), &target), Err(unsupported));
    }
}

/// A batch of these records, one offset each, compressed.
fn forged(records: &[&[u8]], codec: Compression) -> Batch {
    let count = records.len() as i32;
    let change =
        |it: &mut BatchHeader| (it.record_count, it.last_offset_delta) = (count, count - 1);
    let batch = altered(&sent(), change, &records.concat());
    Batch::parse(compress(batch.bytes(), codec).unwrap().freeze()).unwrap()
}

#[test]
fn records_are_sound_as_many_as_stated_and_numbered_from_0() {
    // Length, attributes, timestamp delta, offset delta, null key, null value, no headers.
    let record = |delta: u8| [12, 0, 0, delta * 2, 1, 1, 0];
    let (first, second, third) = (record(0), record(1), record(2));
    for codec in codecs() {
        let with = |records: &[&[u8]]| check(&forged(records, codec), &rules());
        assert!(with(&[&first, &second, &third]).is_ok(), "{codec}");
        assert_invalid!(with(&[&first, &third, &second]).unwrap_err(), "record 1 of the batch");
        assert_invalid!(with(&[&second, &first]).unwrap_err(), "offset delta 1");
        assert_invalid!(with(&[&first, &first]).unwrap_err(), "offset delta 0");
        assert_invalid!(with(&[&first, b""]).unwrap_err(), "malformed record");
        let two = [&first[..], &second].concat();
        assert_invalid!(with(&[&two]).unwrap_err(), "goes on after its last record");
        assert_invalid!(with(&[&first[..6]]).unwrap_err(), "malformed record");
    }
}

#[test]
fn keys_and_timestamps_are_judged_record_by_record() {
    let hour = 3_600_000;
    let part = |key: Option<&str>, timestamp| Parts {
        timestamp,
        key: key.map(|key| key.as_bytes().to_vec()),
        value: None,
        headers: Vec::new(),
    };
    let records = [
        part(Some("a"), NOW + hour),
        part(None, -1),
        part(None, NOW + hour + 1),
        part(Some("b"), NOW - hour - 1),
        part(Some("c"), i64::MIN),
    ];
    let timestamp = |index: i32| {
        let reason = InvalidReason::Timestamp(records[index as usize].timestamp);
        InvalidRecord { index, reason }
    };
    let keyless = |index| InvalidRecord { index, reason: InvalidReason::MissingKey };
    for codec in codecs() {
        let bytes = compress(&build(&records), codec).unwrap();
        let check = |rules: &Rules| match check_bytes(&bytes, rules) {
            Ok(batch) => Ok(batch.header().max_timestamp),
            Err(InvalidBatch::InvalidTimestamp { records, .. }) => Err((32, records)),
            Err(InvalidBatch::InvalidRecord { records, .. }) => Err((87, records)),
            Err(other) => panic!("{other:?}"),
        };
        // So far back as i64::MIN no default reaches.
        assert_eq!(check(&rules()), Err((32, vec![timestamp(2), timestamp(4)])));
        let near = Rules { timestamp_before_max: Duration::from_secs(3600), ..rules() };
        assert_eq!(check(&near), Err((32, vec![timestamp(2), timestamp(3), timestamp(4)])));
        let compacted = Rules { compacted: true, ..rules() };
        let both = vec![keyless(1), keyless(2), timestamp(4)];
        assert_eq!(check(&compacted), Err((32, both)));
        let any = Duration::MAX;
        let at_ease = Rules { timestamp_before_max: any, timestamp_after_max: any, ..rules() };
        assert_eq!(check(&at_ease), Ok(NOW + hour + 1));
        let compacted = Rules { compacted: true, ..at_ease };
        assert_eq!(check(&compacted), Err((87, vec![keyless(1), keyless(2)])));
        let brokers = Rules { timestamp_type: TimestampType::LogAppendTime, ..rules() };
        assert!(check(&brokers).is_ok(), "whatever they are");
    }
}

#[test]
fn of_many_invalid_records_some_are_told() {
    let mut builder = BatchBuilder::new(BytesMut::new());
    for _ in 0..5_000 {
        builder.push(0, None, None, &[]);
    }
    let compacted = Rules { compacted: true, ..rules() };
    let Err(InvalidBatch::InvalidRecord { reason, records }) =
        check_bytes(&builder.finish(), &compacted)
    else {
        panic!("they have no keys");
    };
    assert!(records.len() == 1_000 && reason.contains("5000"), "{reason}");
}

#[test]
fn the_latest_timestamp_is_put_right() {
    for codec in codecs() {
        let batch = Batch::parse(compress(sent().bytes(), codec).unwrap().freeze()).unwrap();
        assert_eq!(check(&batch, &rules()).unwrap(), batch, "nothing is wrong");
        let records = batch.bytes().slice(HEADER_LEN..);
        let wrong = altered(&batch, |it| it.max_timestamp = 1 << 60, &records);
        assert_eq!(check(&wrong, &rules()).unwrap(), batch, "{codec}");
    }
}

#[test]
fn a_batch_is_compressed_as_the_topic_wants_and_must_fit_then() {
    let batch = sent();
    for source in codecs() {
        let from = Batch::parse(compress(batch.bytes(), source).unwrap().freeze()).unwrap();
        for target in codecs() {
            let rules = Rules { compression: Some(target), ..rules() };
            let to = check(&from, &rules).unwrap();
            assert_eq!(to.header().compression(), target, "from {source}");
            assert_eq!(to.expanded(1 << 20).unwrap(), batch);
        }
        let size = batch.bytes().len();
        let limit = size as u64 - 1;
        let short = Rules { compression: Some(Compression::None), segment_bytes: limit, ..rules() };
        assert_eq!(check(&from, &short), Err(InvalidBatch::RecordListTooLarge { size, limit }));
    }
}

#[test]
fn bombs_are_put_out() {
    let mut builder = BatchBuilder::new(BytesMut::new());
    builder.push(NOW, None, Some(&vec![0; 4 << 20]), &[]);
    let plain = builder.finish();
    for codec in codecs().filter(|codec| *codec != Compression::None) {
        let bomb = compress(&plain, codec).unwrap();
        let limit = 1 << 20;
        assert!(bomb.len() < limit);
        let refused = check_bytes(&bomb, &rules());
        assert_eq!(refused, Err(InvalidBatch::DecompressedTooLarge { limit }), "{codec}");
        let roomy = Rules { max_decompressed_bytes: 5 << 20, ..rules() };
        assert!(check_bytes(&bomb, &roomy).is_ok());
        let target = Rules { compression: Some(Compression::None), ..roomy };
        let size = plain.len();
        let too_large = InvalidBatch::MessageTooLarge { size, limit: rules().max_message_bytes };
        assert_eq!(check_bytes(&bomb, &target), Err(too_large));
    }
}

proptest! {
    #[test]
    fn what_a_client_builds_is_valid_and_any_bytes_panic_nowhere(
        records in any_records(),
        noise in vec(any::<u8>(), 0..200),
        attributes in 0i16..8,
        count in 0i32..40,
    ) {
        let any = Duration::MAX;
        let at_ease = Rules { timestamp_before_max: any, timestamp_after_max: any, ..rules() };
        for codec in codecs() {
            let bytes = compress(&build(&records), codec).unwrap();
            let valid = check_bytes(&bytes, &at_ease).unwrap().expanded(1 << 20).unwrap();
            let read: Vec<_> = valid.records().collect::<Result<_, _>>().unwrap();
            prop_assert_eq!(read.iter().map(Parts::of_view).collect::<Vec<_>>(), &records[..]);
        }
        let _ = check_bytes(&noise, &at_ease);
        let header = BatchHeader {
            attributes,
            batch_length: (HEADER_LEN - LOG_OVERHEAD + noise.len()) as i32,
            record_count: count,
            last_offset_delta: (count - 1).max(0),
            ..*sent().header()
        };
        let mut bytes = [&header.to_bytes()[..], &noise].concat();
        header::seal(&mut bytes);
        if let Ok(valid) = check_bytes(&bytes, &at_ease) {
            let valid = valid.expanded(1 << 20).unwrap();
            assert_eq!(valid.records().filter(Result::is_ok).count() as i32, count);
        }
    }
}
