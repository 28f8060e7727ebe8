//! The way of a record that meets no trouble: batches, order, placement, acknowledgement.

use super::*;
use crate::batch::Compression;
use crate::record::Timestamp;

#[test]
fn the_first_record_goes_alone_and_the_backlog_together_in_order() {
    let mock = Mock::new(Route::Hold, 1);
    let producer = mock.producer().build();
    let values = numbered(0..10);
    let mut deliveries: Vec<_> =
        values.iter().map(|value| ready(producer.enqueue(record(value))).unwrap()).collect();
    assert_eq!(mock.batch_sizes(), [1]);
    mock.complete_next();
    assert_eq!(mock.batch_sizes(), [1, 9]);
    assert!(deliveries.iter_mut().skip(1).all(is_pending));
    mock.complete_next();
    assert_eq!(mock.values(0), values);
    for (offset, delivery) in deliveries.into_iter().enumerate() {
        let at = ready(delivery).unwrap();
        assert_eq!((at.topic.as_str(), at.partition, at.offset), ("t", 0, offset as i64));
    }
    let stats = producer.stats();
    assert_eq!((stats.records_sent, stats.records_failed, stats.batches), (10, 0, 2));
    assert_eq!(stats.buffered_bytes, 0);
}

#[test]
fn batches_are_closed_at_their_size_and_stay_in_order() {
    let mock = Mock::new(Route::Hold, 1);
    // 61 bytes of header and 10 records of at most 50.
    let producer = mock.producer().batch_size(61 + 500).build();
    let values = numbered(100..200);
    for value in &values {
        ready(producer.enqueue(record(value))).unwrap();
    }
    mock.complete_all();
    assert_eq!(mock.values(0), values);
    let sizes = mock.batch_sizes();
    assert!(sizes.len() > 3 && sizes[1] > 10, "{sizes:?}");
    for (_, _, batch) in &mock.state().submitted {
        assert!(batch.bytes().len() <= 61 + 500, "{sizes:?}");
    }
}

#[test]
fn a_record_larger_than_a_batch_gets_one_of_its_own() {
    let mock = Mock::new(Route::Hold, 1);
    let producer = mock.producer().batch_size(200).build();
    let large = "x".repeat(1000);
    for value in ["0", "1", &large, "2"] {
        ready(producer.enqueue(record(value))).unwrap();
    }
    mock.complete_all();
    assert_eq!(mock.batch_sizes(), [1, 1, 1, 1]);
    assert_eq!(mock.values(0), ["0", "1", &large, "2"]);
}

#[test]
fn a_topics_limit_closes_batches_too() {
    let mock = Mock::new(Route::Hold, 1);
    mock.set_topic(topic("t", 1, 1, 200));
    let producer = mock.producer().build();
    for value in numbered(0..30) {
        ready(producer.enqueue(record(&value))).unwrap();
    }
    mock.complete_all();
    assert!(mock.state().submitted.iter().all(|(_, _, batch)| batch.bytes().len() <= 200));
}

#[tokio::test]
async fn send_resolves_at_the_acknowledgement() {
    let mock = Mock::new(Route::Hold, 1);
    let producer = mock.producer().build();
    let sender = tokio::spawn({
        let producer = producer.clone();
        async move { producer.send(record("a")).await }
    });
    while mock.in_flight() == 0 {
        tokio::task::yield_now().await;
    }
    assert!(!sender.is_finished());
    mock.complete_next();
    assert_eq!(sender.await.unwrap().unwrap().offset, 0);
}

#[test]
fn records_are_stamped_when_they_are_buffered_unless_they_have_a_time() {
    let clock = Clock::manual();
    let mock = Mock::with_clock(Route::Immediate, 1, clock.clone());
    let producer = mock.producer().build();
    clock.advance(std::time::Duration::from_secs(5));
    let now = ready(producer.send(record("a"))).unwrap().timestamp;
    assert_eq!(now, clock.wall());
    let own = Timestamp::from_millis(7);
    assert_eq!(ready(producer.send(record("b").timestamp(own))).unwrap().timestamp, own);
    let brokers = Timestamp::from_millis(99);
    mock.state().log_append_time = Some(brokers);
    assert_eq!(ready(producer.send(record("c").timestamp(own))).unwrap().timestamp, brokers);
}

#[test]
fn a_dropped_delivery_and_a_dropped_producer_still_send() {
    let mock = Mock::new(Route::Hold, 1);
    let producer = mock.producer().build();
    drop(ready(producer.enqueue(record("0"))).unwrap());
    let mut send = Box::pin(producer.send(record("1")));
    assert!(poll_once(send.as_mut()).is_none(), "buffered, and not acknowledged");
    drop(send);
    let mut last = ready(producer.enqueue(record("2"))).unwrap();
    drop(producer);
    mock.complete_all();
    assert_eq!(mock.values(0), ["0", "1", "2"]);
    assert!(!is_pending(&mut last));
    assert_eq!(Arc::strong_count(&mock), 1, "nothing of the producer is left");
}

#[test]
fn without_a_key_awaited_records_go_round_robin() {
    let mock = Mock::new(Route::Immediate, 3);
    let producer = mock.producer().build();
    let placed: Vec<_> = (0..9)
        .map(|_| ready(producer.send(Record::to("t").value("v"))).unwrap().partition)
        .collect();
    assert_eq!(placed, [0, 1, 2, 0, 1, 2, 0, 1, 2]);
}

#[test]
fn without_a_key_a_stream_fills_batch_after_batch_evenly() {
    let mock = Mock::new(Route::Hold, 3);
    let producer = mock.producer().batch_size(1000).build();
    for n in 0..9_000 {
        ready(producer.enqueue(Record::to("t").value(format!("{n:06}")))).unwrap();
        if n % 100 == 99 && mock.in_flight() > 0 {
            mock.complete_next();
        }
    }
    mock.complete_all();
    let counts: Vec<_> = (0..3).map(|partition| mock.values(partition).len()).collect();
    assert_eq!(counts.iter().sum::<usize>(), 9_000);
    assert!(counts.iter().all(|count| (2_800..3_200).contains(count)), "{counts:?}");
    let sizes = mock.batch_sizes();
    let single = sizes.iter().filter(|size| **size == 1).count();
    assert!(single <= 4, "a full batch leaves no straggler behind: {sizes:?}");
}

#[test]
fn keys_go_where_the_partitioner_says() {
    let mock = Mock::new(Route::Immediate, 3);
    let producer = mock.producer().build();
    let expected = Partitioner::Fnv1a.partition_for_key("t", b"alice", 3);
    for _ in 0..3 {
        let at = ready(producer.send(Record::to("t").key("alice"))).unwrap();
        assert_eq!(at.partition, expected);
    }
}

#[test]
fn flush_waits_for_earlier_records_and_for_no_later_ones() {
    let mock = Mock::new(Route::Hold, 2);
    let producer = mock.producer().batch_size(1).build();
    let mut flush = Box::pin(producer.flush());
    assert!(poll_once(flush.as_mut()).is_some(), "nothing is buffered");

    let mut early: Vec<_> =
        (0..4).map(|n| ready(producer.enqueue(record("v").partition(n % 2))).unwrap()).collect();
    let mut flush = Box::pin(producer.flush());
    assert!(poll_once(flush.as_mut()).is_none());
    let mut late = ready(producer.enqueue(record("late"))).unwrap();
    for _ in 0..3 {
        mock.complete_next();
        assert!(poll_once(flush.as_mut()).is_none());
    }
    mock.complete_next();
    assert!(poll_once(flush.as_mut()).is_some());
    assert!(early.iter_mut().all(|delivery| !is_pending(delivery)) && is_pending(&mut late));
}

#[test]
fn acks_none_resolves_at_once_and_flush_still_waits() {
    let mock = Mock::new(Route::Hold, 1);
    let producer = mock.producer().acks(Acks::None).build();
    let at = ready(producer.send(record("0"))).unwrap();
    assert!(at.offset == -1 && !at.has_offset());
    let mut flush = Box::pin(producer.flush());
    assert!(poll_once(flush.as_mut()).is_none());
    mock.fail_next(Error::closed("test"));
    assert!(poll_once(flush.as_mut()).is_some());
    assert_eq!((producer.stats().records_sent, producer.stats().records_failed), (0, 1));
}

#[test]
fn many_tasks_can_wait_for_one_batch_and_a_waiter_can_move() {
    #[derive(Default)]
    struct Counting(std::sync::atomic::AtomicUsize);
    impl std::task::Wake for Counting {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    let mock = Mock::new(Route::Hold, 1);
    let producer = mock.producer().build();
    ready(producer.enqueue(record("0"))).unwrap();
    let mut deliveries: Vec<_> =
        (0..3).map(|_| ready(producer.enqueue(record("v"))).unwrap()).collect();
    let wakers: Vec<Arc<Counting>> = (0..3).map(|_| Arc::default()).collect();
    for (delivery, counting) in deliveries.iter_mut().zip(&wakers) {
        // Twice with one waker that is replaced: it must not be woken.
        assert!(is_pending(delivery));
        let waker = Waker::from(Arc::clone(counting));
        let pinned = Pin::new(delivery);
        assert!(pinned.poll(&mut Context::from_waker(&waker)).is_pending());
    }
    mock.complete_next();
    assert!(wakers.iter().all(|waker| waker.0.load(Ordering::SeqCst) == 0));
    mock.complete_next();
    assert!(wakers.iter().all(|waker| waker.0.load(Ordering::SeqCst) == 1));
}

#[test]
fn who_gives_up_waiting_leaves_nothing_behind() {
    let mock = Mock::new(Route::Hold, 1);
    let producer = mock.producer().build();
    let mut delivery = ready(producer.enqueue(record("0"))).unwrap();
    let ack = producer.inner.shared.busy()[0].send_now().unwrap();
    let mut patient = Box::pin(producer.flush());
    for round in 0..100 {
        let (mut first, mut second) = (Box::pin(producer.flush()), Box::pin(producer.flush()));
        assert!(poll_once(first.as_mut()).is_none() && poll_once(second.as_mut()).is_none());
        if round == 50 {
            assert!(poll_once(patient.as_mut()).is_none() && is_pending(&mut delivery));
        }
    }
    assert!(ack.waiting() <= 4, "{} wait", ack.waiting());
    mock.complete_next();
    assert!(poll_once(patient.as_mut()).is_some());
    ready(delivery).unwrap();
}

#[test]
fn batches_are_compressed_where_it_makes_them_smaller() {
    for codec in Compression::ALL[1..].iter().copied().filter(|codec| codec.is_built_in()) {
        let mock = Mock::new(Route::Immediate, 1);
        let producer = mock.producer().compression(codec).build();
        ready(producer.send(record(&"all the same ".repeat(100)))).unwrap();
        ready(producer.send(record("1"))).unwrap();
        let state = mock.state();
        let batches: Vec<_> = state.submitted.iter().map(|(.., batch)| batch).collect();
        let codecs: Vec<_> = batches.iter().map(|batch| batch.header().compression()).collect();
        assert_eq!(codecs, [codec, Compression::None]);
        let bytes: usize = batches.iter().map(|batch| batch.bytes().len()).sum();
        assert!(bytes < 1_000 && producer.stats().bytes == bytes as u64, "{codec}: {bytes}");
    }
}

#[test]
fn a_codec_that_is_not_built_in_fails_each_record() {
    for codec in Compression::ALL.into_iter().filter(|codec| !codec.is_built_in()) {
        let mock = Mock::new(Route::Immediate, 1);
        let producer = mock.producer().compression(codec).build();
        for failed in [
            ready(producer.send(record("0"))).unwrap_err(),
            ready(producer.enqueue(record("0"))).unwrap_err(),
            producer.try_send(record("0")).unwrap_err(),
        ] {
            let text = failed.to_string();
            let names = ["compression.type", &format!("cargo feature `{codec}`")];
            assert!(names.iter().all(|name| text.contains(name)), "{text}");
            assert_eq!(failed.into_record(), Some(record("0")));
        }
        assert_eq!(producer.stats().buffered_bytes, 0);
        assert!(mock.state().submitted.is_empty());
    }
}
