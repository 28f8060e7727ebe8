//! What is sent of what was read.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::batch::{RecordView, Retained, put_emptied, set_log_append_time, set_producer};
use crate::record::Payload;

const ANY: Form = Form { limit: 1 << 20, codec: None, without_holes: true };

/// A batch of a source, with values of so many bytes each.
fn batch(base_offset: i64, values: &[usize]) -> Batch {
    let mut builder = BatchBuilder::new(BytesMut::new());
    for (offset, len) in (base_offset..).zip(values) {
        let (key, header) = (offset.to_string(), Some(Payload::from(&b"h"[..])));
        let value = vec![offset as u8; *len];
        builder.push(1_000 - offset, Some(key.as_bytes()), Some(&value), &[("k".into(), header)]);
    }
    let mut bytes = builder.finish();
    set_producer(&mut bytes, 77, 3, 12);
    patch(&mut bytes, base_offset, 9);
    Batch::parse(bytes.freeze()).unwrap()
}

/// The same, but without some of its records, as compaction leaves it.
fn with_holes(base_offset: i64, values: &[usize], gone: impl Fn(i64) -> bool) -> Batch {
    let whole = batch(base_offset, values);
    let (mut retained, mut bytes) = (Retained::default(), BytesMut::new());
    retained.select(&whole, |view| !gone(view.offset)).unwrap();
    match retained.kept() {
        0 => put_emptied(whole.header(), &mut bytes),
        _ => assert!(retained.write(&whole, None, &mut bytes)),
    }
    Batch::parse(bytes.freeze()).unwrap()
}

type Shown = (i64, i64, Vec<u8>, Vec<u8>, Vec<(String, Vec<u8>)>);

fn show(view: &RecordView<'_>) -> Shown {
    let headers = view.headers().map(|it| (it.key.to_string(), it.value.unwrap().to_vec()));
    let (key, value) = (view.key.unwrap().to_vec(), view.value.unwrap().to_vec());
    (view.offset, view.timestamp.as_millis(), key, value, headers.collect())
}

/// All records of batches from an offset on.
fn shown(batches: &[Batch], from: i64) -> Vec<Shown> {
    let records = batches.iter().flat_map(Batch::records).map(Result::unwrap);
    records.filter(|view| view.offset >= from).map(|view| show(&view)).collect()
}

/// What is sent of batches, and its records under the source's offsets.
fn sent(batches: &[Batch], from: i64, form: Form) -> (Vec<Next>, Vec<Shown>) {
    let mut outgoing = Outgoing::default();
    outgoing.push(batches.to_vec());
    let (mut all, mut records, mut at) = (Vec::new(), Vec::new(), from);
    while let Some(next) = outgoing.next(at, form).unwrap() {
        let batch = Batch::parse_checked(Bytes::from(next.batch.to_vec())).unwrap();
        let header = batch.header();
        assert_eq!((header.base_offset, header.partition_leader_epoch), (0, -1));
        assert_eq!(
            (header.record_count, next.records),
            (header.last_offset_delta + 1, header.record_count)
        );
        assert_eq!(next.source_epoch, 9);
        for view in batch.expanded(usize::MAX).unwrap().records() {
            let mut record = show(&view.unwrap());
            record.0 += next.first;
            records.push(record);
        }
        at = next.end;
        all.push(next);
    }
    (all, records)
}

proptest! {
    #[test]
    fn all_that_is_there_is_sent_once_and_in_order(
        sizes in proptest::collection::vec(proptest::collection::vec(0_usize..300, 1..20), 1..12),
        from in 0_i64..60,
        limit in 1_usize..3000,
        codec in proptest::option::of(Just(Compression::None)),
    ) {
        let mut batches = Vec::new();
        for values in &sizes {
            let base = batches.last().map_or(0, |last: &Batch| last.header().next_offset());
            batches.push(batch(base, values));
        }
        let (all, records) = sent(&batches, from, Form { limit, codec, without_holes: true });
        prop_assert_eq!(records, shown(&batches, from));
        for next in &all {
                let len = next.batch.len();
            prop_assert!(len <= limit || next.records == 1, "{len} bytes");
        }
    }
}

#[test]
fn a_long_batch_goes_as_it_is_and_short_ones_together() {
    let batches = [batch(0, &[600]), batch(1, &[20, 20]), batch(3, &[20]), batch(4, &[5])];
    let form = Form { limit: 1000, ..ANY };
    let (all, records) = sent(&batches, 0, form);
    assert_eq!(records, shown(&batches, 0));
    let each: Vec<_> = all.iter().map(|next| (next.first, next.end)).collect();
    assert_eq!(each, [(0, 1), (1, 5)]);
    assert_eq!(all[0].batch[21..], batches[0].bytes()[21..], "but for offset, epoch and CRC");
}

#[test]
fn a_batch_that_begins_before_goes_in_part() {
    let batches = [batch(10, &[5, 5, 5])];
    let (all, records) = sent(&batches, 11, ANY);
    assert_eq!((all.len(), all[0].first, records), (1, 11, shown(&batches, 11)));
}

#[test]
fn the_brokers_time_becomes_the_records_own() {
    let mut bytes = BytesMut::from(&batch(0, &[5, 5]).bytes()[..]);
    set_log_append_time(&mut bytes, 5_000);
    let (all, records) = sent(&[Batch::parse(bytes.freeze()).unwrap()], 0, ANY);
    let header = BatchHeader::parse(&all[0].batch).unwrap();
    assert_eq!(header.timestamp_type(), TimestampType::CreateTime);
    assert!(records.iter().all(|record| record.1 == 5_000), "{records:?}");
}

#[test]
fn what_compaction_has_left_out_parts_batches_where_numbers_follow_offsets() {
    let is_gone = |offset| matches!(offset, 0 | 3 | 6 | 7);
    let batches = [
        with_holes(0, &[5, 5, 5], is_gone),
        with_holes(3, &[5, 5, 5], is_gone),
        with_holes(6, &[5, 5], is_gone),
        batch(8, &[5]),
    ];
    let ends = |form| {
        let (all, records) = sent(&batches, 0, form);
        assert_eq!(records.len(), 5);
        all.iter().map(|next| (next.first, next.end, next.records)).collect::<Vec<_>>()
    };
    assert_eq!(ends(ANY), [(1, 3, 2), (4, 6, 2), (8, 9, 1)]);
    // Then only the order is kept, which is what its records are compared by.
    let mut outgoing = Outgoing::default();
    outgoing.push(batches.to_vec());
    let next = outgoing.next(0, Form { without_holes: false, ..ANY }).unwrap().unwrap();
    assert_eq!((next.first, next.end, next.records), (1, 9, 5));
    assert!(outgoing.next(9, ANY).unwrap().is_none());
    // Nothing is left of what comes then.
    outgoing.push(vec![with_holes(9, &[5, 5, 5], |_| true)]);
    assert!(outgoing.next(9, ANY).unwrap().is_none());
    assert_eq!(outgoing.end(), 12);
}
