//! Back pressure, and records that are refused before anything is queued.

use super::*;
use crate::record::Timestamp;

/// A producer whose buffer holds three of [`large`]'s records.
fn small(mock: &Arc<Mock>) -> Producer {
    mock.producer().batch_size(1_000).buffer_memory(3_500).build()
}

fn large() -> Record<'static> {
    Record::to("t").partition(0).value(vec![7; 1_000])
}

#[test]
fn enqueue_waits_for_room_in_turn_and_goes_on_when_a_batch_completes() {
    let mock = Mock::new(Route::Hold, 1);
    let producer = small(&mock);
    for _ in 0..3 {
        ready(producer.enqueue(large())).unwrap();
    }
    let mut first = Box::pin(producer.enqueue(large()));
    let mut second = Box::pin(producer.enqueue(record("small")));
    assert!(poll_once(first.as_mut()).is_none());
    assert!(poll_once(second.as_mut()).is_none(), "a small one does not overtake");
    mock.complete_next();
    assert!(poll_once(second.as_mut()).is_some() && poll_once(first.as_mut()).is_some());
    mock.complete_all();
    assert_eq!(producer.stats().buffered_bytes, 0);
    assert_eq!(producer.stats().records_sent, 5);
}

#[test]
fn try_send_does_not_wait_and_gives_the_record_back() {
    let mock = Mock::new(Route::Hold, 1);
    let producer = small(&mock);
    for _ in 0..3 {
        producer.try_send(large()).unwrap();
    }
    let refused = producer.try_send(large().key("k")).unwrap_err();
    assert!(matches!(refused.error(), Error::BufferFull { limit: 3_500, buffered: 3_000.. }));
    assert!(refused.error().is_retriable());
    assert_eq!(refused.record(), Some(large().key("k")));
    mock.complete_next();
    producer.try_send(refused.into_record().unwrap()).unwrap();
}

#[test]
fn who_gives_up_waiting_leaves_no_room_taken() {
    let mock = Mock::new(Route::Hold, 1);
    let producer = small(&mock);
    for _ in 0..3 {
        ready(producer.enqueue(large())).unwrap();
    }
    let mut waiting = Box::pin(producer.send(large()));
    assert!(poll_once(waiting.as_mut()).is_none());
    drop(waiting);
    // One that has got its room and is dropped before it could use it.
    let mut waiting = Box::pin(producer.send(large()));
    assert!(poll_once(waiting.as_mut()).is_none());
    mock.complete_next();
    drop(waiting);
    mock.complete_all();
    assert_eq!(producer.stats().buffered_bytes, 0);
    assert_eq!(producer.stats().records_sent, 3);
}

#[test]
fn a_record_as_large_as_the_buffer_gets_through() {
    let mock = Mock::new(Route::Hold, 1);
    let producer = mock.producer().batch_size(1).buffer_memory(1_000).build();
    // 61 of header; 2 length, 3 of attributes and deltas, 1 null key, 2 length, 1 no headers.
    let value = vec![0; 1_000 - 61 - 9];
    ready(producer.enqueue(record("").value(value.clone()))).unwrap();
    let submitted = mock.state().submitted[0].2.bytes().len();
    assert_eq!(submitted, 1_000);
    mock.complete_next();
    assert_eq!(producer.stats().buffered_bytes, 0);
    let value = [&value[..], &[0]].concat();
    let refused = ready(producer.enqueue(record("").value(value))).unwrap_err();
    let Error::MessageTooLarge { size: 1_001, limit: 1_000, setting: "buffer.memory" } =
        refused.error()
    else {
        panic!("{refused}");
    };
}

#[test]
fn records_that_are_too_large_are_refused_before_anything_is_queued() {
    let mock = Mock::new(Route::Hold, 1);
    let too_large = |producer: &Producer, record: Record<'_>| match producer.try_send(record) {
        Err(error) => match error.into_error() {
            Error::MessageTooLarge { size, limit, setting } => Some((size, limit, setting)),
            other => panic!("{other}"),
        },
        Ok(_) => None,
    };
    let producer = mock.producer().max_request_size(100).build();
    assert_eq!(too_large(&producer, record(&"x".repeat(32))), None);
    let limit = (100, "max.request.size");
    let refused = too_large(&producer, record(&"x".repeat(33)));
    assert_eq!(refused, Some((101, limit.0, limit.1)));
    // A header of "h" and one byte takes four.
    assert_eq!(too_large(&producer, record(&"x".repeat(28)).header("h", "v")), None);
    let refused = too_large(&producer, record(&"x".repeat(29)).header("h", "v"));
    assert_eq!(refused, Some((101, limit.0, limit.1)));

    mock.set_topic(topic("t", 1, 1, 90));
    let refused = too_large(&producer, record(&"x".repeat(23)));
    assert_eq!(refused, Some((91, 90, "max.message.bytes")));
    assert_eq!(mock.batch_sizes(), [1], "of those that fit, the second waits for the first");
}

#[test]
fn negative_timestamps_are_refused() {
    let mock = Mock::new(Route::Hold, 1);
    let producer = mock.producer().build();
    let record = record("v").timestamp(Timestamp::from_millis(-1));
    let refused = ready(producer.send(record.clone())).unwrap_err();
    assert!(matches!(refused.error(), Error::InvalidTimestamp { timestamp: -1 }));
    assert_eq!(refused.record(), Some(record));
    assert_eq!((mock.batch_sizes().len(), producer.stats().buffered_bytes), (0, 0));
}

#[test]
fn partitions_that_are_not_there_are_refused() {
    let mock = Mock::new(Route::Hold, 3);
    let choose = |input: &PartitionerInput<'_>| if input.key == b"low" { -1 } else { 3 };
    let producer = mock.producer().partitioner(Partitioner::custom(choose)).build();
    let plain = || Record::to("t").value("v");
    for (record, named) in [
        (plain().partition(3), 3),
        (plain().partition(-1), -1),
        (plain().partition(i32::MIN), i32::MIN),
        (plain().key("low"), -1),
        (plain().key("high"), 3),
    ] {
        let refused = ready(producer.send(record.clone())).unwrap_err();
        match refused.error() {
            Error::UnknownPartition { topic, partition, partitions: 3 } => {
                assert_eq!((topic.as_str(), *partition), ("t", named));
            }
            other => panic!("{other}"),
        }
        assert_eq!(refused.into_record(), Some(record));
    }
    assert_eq!((mock.batch_sizes().len(), producer.stats().buffered_bytes), (0, 0));
}
