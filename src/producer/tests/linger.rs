//! Lingering, by a clock that is moved by hand.

use std::time::Duration;

use super::*;

const LINGER: Duration = Duration::from_millis(100);

/// Lets the timer's task run until it waits again.
async fn settle() {
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
}

fn lingering() -> (ManualClock, Arc<Mock>, Producer) {
    let clock = Clock::manual();
    let mock = Mock::with_clock(Route::Hold, 2, clock.clone());
    let producer = mock.producer().linger(LINGER).batch_size(1_000).build();
    (clock, mock, producer)
}

#[tokio::test]
async fn a_batch_lingers_from_its_first_record_on() {
    let (clock, mock, producer) = lingering();
    producer.enqueue(record("0")).await.unwrap();
    settle().await;
    clock.advance(LINGER / 2);
    producer.enqueue(record("1")).await.unwrap();
    producer.enqueue(record("other").partition(1)).await.unwrap();
    settle().await;
    assert_eq!(mock.in_flight(), 0);
    clock.advance(LINGER / 2);
    settle().await;
    assert_eq!((mock.batch_sizes(), mock.values(0).len()), (vec![2], 2));
    clock.advance(LINGER / 2);
    settle().await;
    assert_eq!(mock.values(1), ["other"]);
    // The task has nothing to do and ends; the next record needs another.
    mock.complete_all();
    producer.enqueue(record("2")).await.unwrap();
    settle().await;
    clock.advance(LINGER);
    settle().await;
    assert_eq!(mock.values(0), ["0", "1", "2"]);
}

#[tokio::test]
async fn a_full_batch_goes_at_once_and_the_one_it_made_way_for_in_time() {
    let (clock, mock, producer) = lingering();
    let half = "x".repeat(600);
    producer.enqueue(record(&half)).await.unwrap();
    settle().await;
    clock.advance(LINGER / 2);
    producer.enqueue(record(&half)).await.unwrap();
    assert_eq!(mock.batch_sizes(), [1]);
    mock.complete_all();
    settle().await;
    clock.advance(LINGER / 2);
    settle().await;
    assert_eq!(mock.batch_sizes(), [1], "the second batch lingers from its own first record on");
    clock.advance(LINGER / 2);
    settle().await;
    assert_eq!(mock.batch_sizes(), [1, 1]);
    mock.complete_all();
    producer.enqueue(record(&half.repeat(2))).await.unwrap();
    assert_eq!(mock.batch_sizes(), [1, 1, 1], "full with its first record");
}

#[tokio::test]
async fn a_batch_whose_time_has_come_in_flight_goes_when_the_flight_ends() {
    let (clock, mock, producer) = lingering();
    for value in ["0", "1"] {
        producer.enqueue(record(value)).await.unwrap();
        settle().await;
        clock.advance(LINGER);
        settle().await;
    }
    assert_eq!(mock.batch_sizes(), [1]);
    mock.complete_next();
    assert_eq!(mock.batch_sizes(), [1, 1]);
}

#[tokio::test]
async fn flush_ends_the_lingering() {
    let (_clock, mock, producer) = lingering();
    producer.enqueue(record("0")).await.unwrap();
    producer.enqueue(record("1").partition(1)).await.unwrap();
    let mut flush = Box::pin(producer.flush());
    assert!(poll_once(flush.as_mut()).is_none());
    assert_eq!(mock.in_flight(), 2);
    mock.complete_all();
    assert!(poll_once(flush.as_mut()).is_some());
}

#[tokio::test]
async fn dropping_the_last_clone_ends_the_lingering() {
    let (_clock, mock, producer) = lingering();
    let clone = producer.clone();
    producer.enqueue(record("0")).await.unwrap();
    drop(producer);
    assert_eq!(mock.in_flight(), 0);
    drop(clone);
    assert_eq!(mock.in_flight(), 1);
}

#[tokio::test]
async fn nothing_lingers_while_someone_waits_for_room() {
    let mock = Mock::new(Route::Hold, 1);
    let producer = mock.producer().linger(LINGER).batch_size(1_000).buffer_memory(1_000).build();
    let half = "x".repeat(600);
    ready(producer.enqueue(record(&half))).unwrap();
    assert_eq!(mock.in_flight(), 0);
    let mut second = Box::pin(producer.enqueue(record(&half)));
    assert!(poll_once(second.as_mut()).is_none());
    let mut third = Box::pin(producer.enqueue(record(&half)));
    assert!(poll_once(third.as_mut()).is_none());
    // No time passes: what lingers is the room that they wait for.
    mock.complete_next();
    assert!(poll_once(second.as_mut()).is_some());
    mock.complete_next();
    assert!(poll_once(third.as_mut()).is_some());
    assert_eq!(mock.in_flight(), 0, "no one waits any more");
}

#[test]
fn without_a_runtime_nothing_lingers() {
    let (_clock, mock, producer) = lingering();
    ready(producer.enqueue(record("0"))).unwrap();
    assert_eq!(mock.in_flight(), 1);
    mock.complete_all();
    producer.enqueue_blocking(record("1")).unwrap();
    assert_eq!(mock.in_flight(), 1);
}

#[test]
fn a_runtime_that_ends_sends_what_lingers() {
    let (_clock, mock, producer) = lingering();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async { producer.enqueue(record("0")).await }).unwrap();
    assert_eq!(mock.in_flight(), 0);
    drop(runtime);
    assert_eq!(mock.in_flight(), 1);
}
