//! Seeking, pausing, and what can be asked.

use super::mock::MILLIS_PER_OFFSET;
use super::*;
use crate::consumer::Position;
use crate::record::Timestamp;

#[tokio::test]
async fn seek_discards_what_was_fetched() {
    let mock = Mock::with_partitions(2);
    mock.append(0, 9);
    mock.append(1, 2);
    let mut consumer = mock.consumer().subscribe(["t"]).await.unwrap();
    assert_eq!(text(&consumer.recv().await.unwrap()), "0:0");
    consumer.seek(&tp(0), Position { offset: 7, leader_epoch: Some(0) }).unwrap();
    assert_eq!(mock.told().last().unwrap(), "0@7/0");
    assert_eq!(at_hand(&mut consumer), [run(1, 0..=1), run(0, 7..=8)].concat());
    consumer.seek(&tp(0), 8).unwrap();
    assert_eq!(mock.told(), ["0@8/-1"]);
    assert_eq!(at_hand(&mut consumer), ["0:8"]);
}

#[tokio::test]
async fn seek_to_time_beginning_and_end() {
    let mock = Mock::with_partitions(2);
    mock.append(0, 4);
    mock.append(1, 8);
    let mut consumer = mock.consumer().subscribe(["t"]).await.unwrap();
    consumer.recv().await.unwrap();
    let offsets = |consumer: &Consumer| (offset_of(consumer, 0), offset_of(consumer, 1));
    consumer.seek_to_time(Timestamp::from_millis(6 * MILLIS_PER_OFFSET)).await.unwrap();
    assert_eq!(offsets(&consumer), (4, 6));
    assert_eq!(at_hand(&mut consumer), run(1, 6..=7));
    consumer.seek_to_beginning(&[tp(0)]).await.unwrap();
    assert_eq!(offsets(&consumer), (0, 8));
    consumer.seek_to_end(&[]).await.unwrap();
    assert_eq!(offsets(&consumer), (4, 8));
    consumer.seek_to_beginning(&[]).await.unwrap();
    assert_eq!(offsets(&consumer), (0, 0));
}

#[tokio::test]
async fn what_was_fetched_of_a_paused_partition_is_held_back() {
    let mock = Mock::with_partitions(2);
    mock.append(0, 4);
    mock.append(1, 2);
    let mut consumer = mock.consumer().subscribe(["t"]).await.unwrap();
    assert_eq!(text(&consumer.recv().await.unwrap()), "0:0");
    consumer.pause(&[tp(0)]).unwrap();
    assert_eq!(mock.told().last().unwrap(), "0 stopped");
    consumer.pause(&[tp(0)]).unwrap();
    assert_eq!(consumer.paused(), [tp(0)]);
    mock.append(0, 2);
    assert_eq!(at_hand(&mut consumer), run(1, 0..=1));
    assert_eq!(offset_of(&consumer, 0), 1);
    mock.told();
    consumer.resume(&[tp(0), tp(1)]).unwrap();
    assert_eq!(mock.told(), ["0@4/0"], "nothing is read twice");
    assert_eq!(at_hand(&mut consumer), run(0, 1..=5));
    assert!(consumer.paused().is_empty());
}

#[tokio::test]
async fn a_paused_partition_can_be_moved() {
    let mock = Mock::with_partitions(1);
    mock.append(0, 4);
    let mut consumer = mock.consumer().subscribe(["t"]).await.unwrap();
    consumer.recv().await.unwrap();
    consumer.pause(&[tp(0)]).unwrap();
    consumer.seek(&tp(0), 3).unwrap();
    assert!(recv_once(&mut consumer).is_none());
    consumer.resume(&[tp(0)]).unwrap();
    assert_eq!(at_hand(&mut consumer), ["0:3"]);
}

#[tokio::test]
async fn an_error_of_a_paused_partition_is_told_after_it_is_resumed() {
    let mock = Mock::with_partitions(1);
    mock.append(0, 2);
    let mut consumer = mock.consumer().subscribe(["t"]).await.unwrap();
    mock.fail_next(0, io_error());
    assert!(recv_once(&mut consumer).unwrap().is_err());
    consumer.pause(&[tp(0)]).unwrap();
    assert!(recv_once(&mut consumer).is_none(), "not tried again");
    consumer.resume(&[tp(0)]).unwrap();
    assert_eq!(at_hand(&mut consumer), run(0, 0..=1));
}

#[tokio::test]
async fn lag_is_what_can_be_read_and_was_not_handed_out() {
    let mock = Mock::with_partitions(2);
    mock.append(0, 4);
    let mut consumer = mock.consumer().subscribe(["t"]).await.unwrap();
    consumer.poll(3).await.unwrap();
    mock.append(0, 5);
    let lag = consumer.lag().await.unwrap();
    assert_eq!(lag.into_iter().collect::<Vec<_>>(), [(tp(0), 6), (tp(1), 0)]);
    assert_eq!(consumer.end_offset(&tp(0)).await.unwrap(), 9);
    let positions = consumer.positions();
    assert_eq!(positions[&tp(0)], Position { offset: 3, leader_epoch: Some(0) });
    assert_eq!(positions[&tp(1)].offset, 0);
}

#[tokio::test]
async fn a_partition_that_is_not_assigned_is_named() {
    let mock = Mock::with_partitions(2);
    let mut consumer = mock.consumer().assign([tp(0)]).await.unwrap();
    let named = |result: Result<()>| match result {
        Err(Error::InvalidState(text)) => text.contains("t-1"),
        other => panic!("{other:?}"),
    };
    assert!(named(consumer.seek(&tp(1), 0)));
    assert!(named(consumer.pause(&[tp(0), tp(1)])));
    assert!(named(consumer.resume(&[tp(1)])));
    assert!(named(consumer.seek_to_end(&[tp(1)]).await));
    assert!(named(consumer.end_offset(&tp(1)).await.map(drop)));
    assert!(consumer.paused().is_empty(), "nothing was changed");
    assert_eq!(consumer.position(&tp(1)), None);
}
