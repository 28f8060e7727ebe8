//! Records come in order, each once, whichever way they are received.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake;

use bytes::BytesMut;
use futures_core::Stream;

use super::*;
use crate::batch::BatchBuilder;
use crate::consumer::Position;

#[tokio::test]
async fn records_come_in_order_and_move_the_position() {
    let mock = Mock::with_partitions(1);
    mock.append(0, 2);
    mock.append(0, 3);
    let mut consumer = mock.consumer().subscribe(["t"]).await.unwrap();
    for offset in 0..5 {
        assert_eq!(offset_of(&consumer, 0), offset);
        assert_eq!(text(&consumer.recv().await.unwrap()), format!("0:{offset}"));
    }
    assert_eq!(consumer.position(&tp(0)), Some(Position { offset: 5, leader_epoch: Some(0) }));
    assert!(recv_once(&mut consumer).is_none());
}

#[tokio::test]
async fn a_flooded_partition_leaves_the_others_their_turn() {
    let mock = Mock::with_partitions(3);
    for _ in 0..50 {
        mock.append(0, 2);
    }
    mock.append(1, 2);
    mock.append(2, 2);
    let builder = mock.consumer().max_partition_fetch_bytes(1);
    let mut consumer = builder.subscribe(["t"]).await.unwrap();
    let first = at_hand(&mut consumer);
    assert_eq!(first[..6], ["0:0", "0:1", "1:0", "1:1", "2:0", "2:1"]);
    assert_eq!(first.len(), 104);
}

#[tokio::test]
async fn poll_takes_what_is_there_from_all_partitions() {
    let mock = Mock::with_partitions(2);
    mock.append(0, 3);
    mock.append(0, 3);
    mock.append(1, 2);
    let mut consumer = mock.consumer().subscribe(["t"]).await.unwrap();
    let records = consumer.poll(usize::MAX).await.unwrap();
    assert_eq!(texts(&records), [run(0, 0..=5), run(1, 0..=1)].concat());
    assert_eq!(records.iter().len(), 8);
    let owned: Vec<_> = records.clone().into_iter().map(|record| text(&record)).collect();
    assert_eq!(owned, texts(&records));
    let mut waiting = boxed_poll(&mut consumer, 10);
    assert!(waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    mock.append(1, 1);
    assert_eq!(texts(&waiting.await.unwrap()), ["1:2"]);
}

fn boxed_poll(
    consumer: &mut Consumer,
    max: usize,
) -> Pin<Box<dyn Future<Output = Result<Records>> + Send + '_>> {
    Box::pin(consumer.poll(max))
}

#[tokio::test]
async fn max_cuts_within_a_batch_and_the_rest_comes_next() {
    let mock = Mock::with_partitions(1);
    mock.append(0, 5);
    mock.append(0, 5);
    let mut consumer = mock.consumer().subscribe(["t"]).await.unwrap();
    assert_eq!(texts(&consumer.poll(3).await.unwrap()), run(0, 0..=2));
    assert_eq!(offset_of(&consumer, 0), 3);
    assert_eq!(text(&consumer.recv().await.unwrap()), "0:3");
    assert_eq!(texts(&consumer.poll(4).await.unwrap()), run(0, 4..=7));
    assert_eq!(texts(&consumer.poll(0).await.unwrap()), ["0:8"]);
    assert_eq!(texts(&consumer.poll(9).await.unwrap()), ["0:9"]);
    assert_eq!(offset_of(&consumer, 0), 10);
}

#[tokio::test]
async fn what_the_first_batch_holds_before_the_position_stays_out() {
    let mock = Mock::with_partitions(1);
    mock.append(0, 6);
    let mut consumer = mock.consumer().subscribe(["t"]).await.unwrap();
    consumer.seek(&tp(0), 4).unwrap();
    assert_eq!(at_hand(&mut consumer), run(0, 4..=5));
    consumer.seek(&tp(0), 2).unwrap();
    assert_eq!(texts(&consumer.poll(3).await.unwrap()), run(0, 2..=4));
}

#[tokio::test]
async fn control_and_empty_batches_are_passed_over() {
    let mock = Mock::with_partitions(1);
    mock.append(0, 1);
    mock.append_control(0);
    mock.append_empty(0, 3);
    mock.append(0, 1);
    mock.append_empty(0, 4);
    let mut consumer = mock.consumer().subscribe(["t"]).await.unwrap();
    assert_eq!(at_hand(&mut consumer), ["0:0", "0:5"]);
    assert_eq!(offset_of(&consumer, 0), 10, "the log ends with a gap");
    consumer.seek(&tp(0), 0).unwrap();
    let polled = consumer.poll(10).await.unwrap();
    assert_eq!(texts(&polled), ["0:0", "0:5"]);
    assert_eq!(offset_of(&consumer, 0), 10);
}

#[tokio::test]
async fn after_the_last_record_of_a_batch_the_position_is_past_its_gap() {
    let mock = Mock::with_partitions(1);
    // Compaction took the last three of five records.
    mock.append_changed(0, 2, |bytes| bytes[23..27].copy_from_slice(&4i32.to_be_bytes()));
    let mut consumer = mock.consumer().subscribe(["t"]).await.unwrap();
    assert_eq!(texts(&consumer.poll(2).await.unwrap()), ["0:0", "0:1"]);
    assert_eq!(offset_of(&consumer, 0), 5);
    consumer.seek(&tp(0), 1).unwrap();
    assert_eq!(text(&consumer.recv().await.unwrap()), "0:1");
    assert_eq!(offset_of(&consumer, 0), 5);
}

#[tokio::test]
async fn headers_keys_and_nulls_arrive_both_ways() {
    let mock = Mock::with_partitions(1);
    let mut builder = BatchBuilder::new(BytesMut::new());
    builder.push(7, Some(b"k"), None, &[("h".into(), Some("v".into())), ("n".into(), None)]);
    mock.append_bytes(0, builder.finish());
    let mut consumer = mock.consumer().subscribe(["t"]).await.unwrap();
    let records = consumer.poll(1).await.unwrap();
    let record = records.iter().next().unwrap();
    assert_eq!((record.key, record.value), (Some(&b"k"[..]), None));
    assert_eq!((record.timestamp.as_millis(), record.leader_epoch), (7, 0));
    let headers: Vec<_> = record.headers().map(|h| (h.key.into_owned(), h.value)).collect();
    assert_eq!(headers, [("h".to_owned(), Some(&b"v"[..])), ("n".to_owned(), None)]);
    assert_eq!(record.header_count(), 2);
    let owned = record.to_owned();
    consumer.seek(&tp(0), 0).unwrap();
    assert_eq!(consumer.recv().await.unwrap(), owned);
    assert_eq!(owned.headers.last("h"), Some(&b"v"[..]));
}

#[tokio::test]
async fn futures_dropped_after_one_poll_lose_nothing() {
    let mock = Mock::with_partitions(2);
    let builder = mock.consumer().max_partition_fetch_bytes(1);
    let mut consumer = builder.subscribe(["t"]).await.unwrap();
    let (mut zero, mut one) = (Vec::new(), Vec::new());
    for round in 0..300 {
        if round % 3 == 0 {
            mock.append(round % 2, i64::from(round % 4) + 1);
        }
        let mut records = Vec::new();
        match round % 2 {
            0 => records.extend(recv_once(&mut consumer).map(Result::unwrap)),
            _ => records
                .extend(poll_once(consumer.poll(2)).map(Result::unwrap).into_iter().flatten()),
        }
        for record in records {
            let of = if record.partition == 0 { &mut zero } else { &mut one };
            of.push(text(&record));
        }
    }
    for rest in at_hand(&mut consumer) {
        let of = if rest.starts_with("0:") { &mut zero } else { &mut one };
        of.push(rest);
    }
    assert_eq!(zero, run(0, 0..=mock.end(0) - 1));
    assert_eq!(one, run(1, 0..=mock.end(1) - 1));
}

struct CountWakes(AtomicUsize);

impl Wake for CountWakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn an_append_wakes_who_waits() {
    let mock = Mock::with_partitions(1);
    let mut consumer = mock.consumer().subscribe(["t"]).await.unwrap();
    let wakes = Arc::new(CountWakes(AtomicUsize::new(0)));
    let waker = Waker::from(wakes.clone());
    let mut waiting = Box::pin(consumer.recv());
    assert!(waiting.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    assert_eq!(wakes.0.load(Ordering::Relaxed), 0);
    mock.append(0, 1);
    assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
    assert_eq!(text(&waiting.await.unwrap()), "0:0");
}

#[tokio::test]
async fn a_loop_that_always_has_records_lets_others_run() {
    let mock = Mock::with_partitions(1);
    mock.append(0, 20_000);
    let mut consumer = mock.consumer().subscribe(["t"]).await.unwrap();
    let other = Arc::new(AtomicUsize::new(0));
    let seen = other.clone();
    tokio::spawn(async move { seen.store(1, Ordering::Relaxed) });
    for _ in 0..20_000 {
        consumer.recv().await.unwrap();
    }
    assert_eq!(other.load(Ordering::Relaxed), 1, "the other task had its turn");
}

#[test]
fn a_plain_thread_parks_until_there_is_a_record() {
    let mock = Mock::with_partitions(1);
    let mut consumer = poll_once(mock.consumer().subscribe(["t"])).unwrap().unwrap();
    let consuming = std::thread::spawn(move || {
        let first = text(&consumer.recv_blocking().unwrap());
        (first, texts(&consumer.poll_blocking(2).unwrap()))
    });
    mock.append(0, 3);
    let (first, rest) = consuming.join().unwrap();
    assert_eq!((first, rest), ("0:0".to_owned(), run(0, 1..=2)));
}

#[tokio::test]
async fn blocking_forms_do_not_depend_on_the_tasks_budget() {
    let mock = Mock::with_partitions(1);
    for _ in 0..1_000 {
        mock.append(0, 1);
    }
    let builder = mock.consumer().max_partition_fetch_bytes(1);
    let mut consumer = builder.subscribe(["t"]).await.unwrap();
    for offset in 0..500 {
        assert_eq!(consumer.recv_blocking().unwrap().offset, offset);
    }
    assert_eq!(at_hand(&mut consumer).len(), 500);
}

#[tokio::test]
async fn a_stream_ends_after_closed() {
    let mock = Mock::with_partitions(1);
    mock.append(0, 1);
    let mut consumer = mock.consumer().subscribe(["t"]).await.unwrap();
    let mut next = || poll_once(std::future::poll_fn(|cx| Pin::new(&mut consumer).poll_next(cx)));
    assert_eq!(next().unwrap().unwrap().unwrap().offset, 0);
    assert!(next().is_none(), "waits");
    mock.fail_next(0, io_error());
    assert!(matches!(next(), Some(Some(Err(Error::Io { .. })))));
    mock.close();
    assert!(matches!(next(), Some(Some(Err(Error::Closed { .. })))));
    assert!(matches!(next(), Some(None)));
    assert!(matches!(recv_once(&mut consumer), Some(Err(Error::Closed { .. }))));
}

#[test]
fn a_consumer_and_its_futures_can_move_between_threads() {
    fn is_send<T: Send>(value: T) -> T {
        value
    }
    let mock = Mock::with_partitions(1);
    let mut consumer = poll_once(is_send(mock.consumer().subscribe(["t"]))).unwrap().unwrap();
    drop(is_send(mock.consumer().assign([tp(0)])));
    drop(is_send(consumer.recv()));
    drop(is_send(consumer.lag()));
    drop(is_send(consumer.seek_to_end(&[])));
    drop(is_send(consumer));
}
