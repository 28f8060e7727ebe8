//! Batches that fail, and what becomes of their records.

use super::*;
use crate::batch::Compression;

fn full_record(n: i32) -> Record<'static> {
    Record::to("t")
        .partition(0)
        .key(format!("key {n}"))
        .value(format!("value {n}"))
        .timestamp(crate::record::Timestamp::from_millis(1_000 - i64::from(n)))
        .header("n", n.to_string())
        .header("", "empty key")
        .null_header("null")
}

#[test]
fn each_delivery_of_a_failed_batch_gets_the_error_and_its_own_record() {
    let mock = Mock::new(Route::Hold, 1);
    let producer = mock.producer().build();
    ready(producer.enqueue(record("first"))).unwrap();
    let deliveries: Vec<_> =
        (0..5).map(|n| ready(producer.enqueue(full_record(n))).unwrap()).collect();
    let tombstone = Record::to("t").key("k").timestamp(crate::record::Timestamp::from_millis(3));
    let tombstone_delivery = ready(producer.enqueue(tombstone.clone())).unwrap();
    mock.complete_next();
    mock.fail_next(Error::StorageFull { what: "the log".into() });
    for (n, delivery) in (0..).zip(deliveries) {
        let failed = ready(delivery).unwrap_err();
        assert!(matches!(failed.error(), Error::StorageFull { .. }));
        assert_eq!(failed.to_string(), failed.error().to_string());
        assert_eq!(failed.record(), Some(full_record(n)));
        assert_eq!(failed.into_record(), Some(full_record(n)));
    }
    let failed = ready(tombstone_delivery).unwrap_err();
    assert_eq!(failed.record(), Some(tombstone), "no partition was named, and no value given");
    assert!(matches!(Error::from(failed), Error::StorageFull { .. }));
    let stats = producer.stats();
    assert_eq!((stats.records_sent, stats.records_failed, stats.batches), (1, 6, 1));
    assert_eq!(stats.buffered_bytes, 0);
}

#[test]
fn a_compressed_batch_that_fails_gives_its_records_back() {
    for codec in Compression::ALL.into_iter().filter(|codec| codec.is_built_in()) {
        let mock = Mock::new(Route::Hold, 1);
        let producer = mock.producer().compression(codec).build();
        ready(producer.enqueue(record("first"))).unwrap();
        let deliveries: Vec<_> =
            (0..50).map(|n| ready(producer.enqueue(full_record(n))).unwrap()).collect();
        mock.complete_next();
        mock.fail_next(Error::StorageFull { what: "the log".into() });
        assert_eq!(mock.state().submitted[1].2.header().compression(), codec);
        for (n, delivery) in (0..).zip(deliveries) {
            assert_eq!(ready(delivery).unwrap_err().into_record(), Some(full_record(n)));
        }
        assert_eq!(producer.stats().buffered_bytes, 0);
    }
}

#[test]
fn of_a_batch_that_was_sent_in_parts_each_record_has_its_own_fate() {
    let mock = Mock::new(Route::Hold, 1);
    let producer = mock.producer().build();
    ready(producer.enqueue(record("first"))).unwrap();
    let deliveries: Vec<_> =
        (0..6).map(|n| ready(producer.enqueue(full_record(n))).unwrap()).collect();
    mock.complete_next();
    let before = producer.stats().bytes;
    let Taken { batch, completion, .. } = mock.take_next();
    let at = |base_offset| Ok(BatchMetadata { base_offset, log_append_time: None });
    let full = Err(Error::StorageFull { what: "the log".into() });
    let parts = [(2, at(10)), (1, full), (3, at(20))];
    let parts = parts.map(|(records, result)| BatchPart { records, bytes: 100, result });
    completion.run_in_parts(batch, parts.to_vec());
    for (n, (delivery, offset)) in (0..).zip(deliveries.into_iter().zip([10, 11, -1, 20, 21, 22])) {
        match ready(delivery) {
            Ok(metadata) => assert_eq!(metadata.offset, offset),
            Err(failed) => {
                assert!(matches!(failed.error(), Error::StorageFull { .. }));
                assert_eq!((n, failed.record()), (2, Some(full_record(n))));
            }
        }
    }
    let stats = producer.stats();
    assert_eq!((stats.records_sent, stats.records_failed, stats.batches), (6, 1, 3));
    assert_eq!((stats.bytes - before, stats.buffered_bytes), (200, 0));
}

#[test]
fn a_failed_batch_does_not_keep_the_next_from_going() {
    let mock = Mock::new(Route::Hold, 1);
    let producer = mock.producer().build();
    let first = ready(producer.enqueue(record("0"))).unwrap();
    let second = ready(producer.enqueue(record("1"))).unwrap();
    mock.fail_next(Error::closed("test"));
    assert!(ready(first).is_err());
    mock.complete_next();
    assert_eq!(ready(second).unwrap().offset, 0);
}

#[test]
fn a_transport_that_drops_a_batch_leaves_no_one_waiting() {
    let mock = Mock::new(Route::Hold, 1);
    let producer = mock.producer().build();
    let first = ready(producer.enqueue(record("0"))).unwrap();
    let second = ready(producer.enqueue(record("1"))).unwrap();
    drop(mock.take_next());
    let failed = ready(first).unwrap_err();
    assert!(matches!(failed.error(), Error::Closed { .. }));
    assert_eq!(failed.record(), None);
    drop(mock.take_next());
    assert!(ready(second).is_err());
    assert_eq!(producer.stats().buffered_bytes, 0);
}

#[test]
fn a_transport_that_panics_loses_its_batch_and_no_other() {
    let mock = Mock::new(Route::Panic, 1);
    let producer = mock.producer().build();
    ready(producer.partitions_for("t")).unwrap();
    let send = std::panic::AssertUnwindSafe(|| producer.try_send(record("lost")));
    std::panic::catch_unwind(send).unwrap_err();
    assert_eq!(producer.stats().records_failed, 1);
    mock.state().route = Route::Immediate;
    assert_eq!(ready(producer.send(record("0"))).unwrap().offset, 0);
    assert_eq!(producer.stats().buffered_bytes, 0);
}

#[test]
fn a_transport_that_completes_at_once_does_not_recurse() {
    let mock = Mock::new(Route::Hold, 1);
    let producer = mock.producer().batch_size(1).build();
    ready(producer.partitions_for("t")).unwrap();
    const RECORDS: usize = 100_000;
    let mut last = None;
    for _ in 0..RECORDS {
        // Not `enqueue`: it makes way for others when there is a backlog.
        last = Some(producer.try_send(record("v")).unwrap());
    }
    mock.state().route = Route::Immediate;
    // Each batch releases the next; a call inside a call would overflow any stack.
    mock.complete_next();
    assert_eq!(ready(last.unwrap()).unwrap().offset, RECORDS as i64 - 1);
    assert_eq!(mock.batch_sizes().len(), RECORDS);
    assert_eq!(producer.stats().buffered_bytes, 0);
    for n in 0..10 {
        let at = ready(producer.send(record("v"))).unwrap();
        assert_eq!(at.offset, RECORDS as i64 + n);
    }
}
