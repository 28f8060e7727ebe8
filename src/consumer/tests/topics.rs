//! Topics and partitions come and go.

use super::mock::MILLIS_PER_OFFSET;
use super::*;
use crate::assignor::Assignment;
use crate::consumer::Start;
use crate::record::Timestamp;

#[tokio::test]
async fn it_starts_where_it_is_told_to() {
    let mock = Mock::with_partitions(1);
    mock.append(0, 2);
    mock.append(0, 4);
    mock.retain_from(0, 2);
    let at = |offset: i64| Start::Timestamp(Timestamp::from_millis(offset * MILLIS_PER_OFFSET));
    for (start, offset) in
        [(Start::Earliest, 2), (Start::Latest, 6), (at(4), 4), (at(0), 2), (at(100), 6)]
    {
        let builder = mock.consumer().start(start);
        let consumer = builder.subscribe(["t"]).await.unwrap();
        assert_eq!(offset_of(&consumer, 0), offset, "{start:?}");
        let consumer = mock.consumer().start(start).assign([tp(0)]).await.unwrap();
        assert_eq!(offset_of(&consumer, 0), offset, "{start:?}");
    }
}

#[tokio::test]
async fn latest_includes_what_is_produced_after_subscribing() {
    let mock = Mock::with_partitions(1);
    mock.append(0, 2);
    let mut consumer = mock.consumer().start(Start::Latest).subscribe(["t"]).await.unwrap();
    mock.append(0, 2);
    assert_eq!(at_hand(&mut consumer), run(0, 2..=3));
}

#[tokio::test]
async fn an_unknown_topic_is_created_or_refused() {
    let mock = Mock::new();
    let error = mock.consumer().subscribe(["t"]).await.unwrap_err();
    assert!(matches!(error, Error::UnknownTopic { topic } if topic == "t"));
    let error = mock.consumer().subscribe(["no/topic"]).await.unwrap_err();
    assert!(matches!(error, Error::InvalidTopic(_)));
    mock.auto_create(2);
    let consumer = mock.consumer().subscribe(["t", "t"]).await.unwrap();
    assert_eq!(consumer.assignment(), [tp(0), tp(1)]);
    let none: [&str; 0] = [];
    let error = mock.consumer().subscribe(none).await.unwrap_err();
    assert!(matches!(error, Error::InvalidState(_)));
}

#[tokio::test]
async fn partitions_that_are_not_there_cannot_be_assigned() {
    let mock = Mock::with_partitions(2);
    for partition in [2, -1] {
        let error = mock.consumer().assign([tp(0), tp(partition)]).await.unwrap_err();
        assert!(matches!(error, Error::UnknownPartition { partitions: 2, .. }), "{error}");
    }
    let consumer = mock.consumer().assign([tp(1), tp(1)]).await.unwrap();
    assert_eq!(consumer.assignment(), [tp(1)]);
}

#[tokio::test]
async fn a_new_partition_is_read_from_its_beginning_and_wakes_who_waits() {
    let mock = Mock::with_partitions(1);
    let mut consumer = mock.consumer().start(Start::Latest).subscribe(["t"]).await.unwrap();
    let mut fixed = mock.consumer().assign([tp(0)]).await.unwrap();
    let consuming = tokio::spawn(async move {
        let record = consumer.recv().await;
        (text(&record.unwrap()), consumer.assignment())
    });
    tokio::task::yield_now().await;
    mock.create("t", 2);
    tokio::task::yield_now().await;
    mock.append(1, 1);
    assert_eq!(consuming.await.unwrap(), ("1:0".to_owned(), vec![tp(0), tp(1)]));
    assert!(recv_once(&mut fixed).is_none());
    assert_eq!(fixed.assignment(), [tp(0)]);
}

#[tokio::test]
async fn a_deleted_topic_is_told_once_and_its_namesake_is_read_from_the_beginning() {
    // Whichever comes first, the failing fetch or the metadata.
    for quietly in [false, true] {
        let mock = Mock::with_partitions(2);
        mock.create("other", 1);
        mock.append(0, 3);
        mock.append(1, 3);
        let mut consumer = mock.consumer().subscribe(["t", "other"]).await.unwrap();
        assert_eq!(text(&consumer.recv().await.unwrap()), "0:0");
        consumer.pause(&[tp(0)]).unwrap();
        if quietly {
            mock.delete_quietly("t");
        }
        let gone = move |error| matches!(error, Err(Error::UnknownTopic { topic }) if topic == "t");
        if quietly {
            assert!(recv_once(&mut consumer).is_some_and(gone));
        }
        mock.delete("t");
        if !quietly {
            assert!(recv_once(&mut consumer).is_some_and(gone));
        }
        assert!(recv_once(&mut consumer).is_none(), "told once");
        assert_eq!(consumer.assignment(), [TopicPartition::new("other", 0).unwrap()]);
        assert_eq!(consumer.position(&tp(0)), None);

        mock.create("t", 1);
        mock.append(0, 2);
        assert_eq!(at_hand(&mut consumer), run(0, 0..=1));
    }
}

#[tokio::test]
async fn a_topic_deleted_and_created_unseen_is_told_as_well() {
    let mock = Mock::with_partitions(1);
    mock.append(0, 5);
    let mut consumer = mock.consumer().subscribe(["t"]).await.unwrap();
    assert_eq!(text(&consumer.recv().await.unwrap()), "0:0");
    mock.delete("t");
    mock.create("t", 1);
    mock.append(0, 2);
    // What was fetched before is of no use, but it is there.
    let rest: Vec<_> = (0..4).map(|_| recv_once(&mut consumer).unwrap().unwrap().offset).collect();
    assert_eq!(rest, [1, 2, 3, 4]);
    assert!(matches!(recv_once(&mut consumer), Some(Err(Error::UnknownTopic { .. }))));
    assert_eq!(at_hand(&mut consumer), run(0, 0..=1));
}

#[tokio::test]
async fn with_nothing_assigned_any_more_no_one_waits_for_ever() {
    let mock = Mock::with_partitions(1);
    let mut consumer = mock.consumer().assign([tp(0)]).await.unwrap();
    mock.delete("t");
    assert!(matches!(consumer.recv().await, Err(Error::UnknownTopic { .. })));
    mock.create("t", 1);
    mock.append(0, 1);
    for _ in 0..2 {
        assert!(matches!(consumer.recv().await, Err(Error::InvalidState(_))));
    }
}

#[tokio::test]
async fn a_topic_that_goes_while_it_is_looked_at_was_not_named() {
    for group in [false, true] {
        let mock = Mock::with_partitions(1);
        mock.append(0, 3);
        mock.create("a", 2);
        mock.delete_when_listed("a");
        let all = ["a", "t"].map(|topic| TopicPartition::new(topic, 0).unwrap()).to_vec();
        mock.assign(Assignment { partitions: all, user_data: None }.encode());
        let builder = if group { mock.consumer().group("g") } else { mock.consumer() };
        let mut consumer = builder.subscribe_pattern(".").await.unwrap();
        assert_eq!(at_hand(&mut consumer), run(0, 0..=2));
        assert!(recv_once(&mut consumer).is_none());
        assert_eq!(consumer.assignment(), [tp(0)]);
    }
}
