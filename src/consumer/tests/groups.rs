//! A group whose leader is not of this process, nor of this version.

use bytes::Bytes;

use super::*;
use crate::assignor::Assignment;
use crate::error::GroupError;

fn assignment(partitions: &[(&str, i32)]) -> Bytes {
    let at = |(topic, partition): &(&str, i32)| TopicPartition::new(topic, *partition).unwrap();
    Assignment { partitions: partitions.iter().map(at).collect(), user_data: None }.encode()
}

#[tokio::test]
async fn what_is_assigned_and_not_there_is_left_out() {
    let mock = Mock::with_partitions(2);
    mock.append(1, 3);
    mock.assign(assignment(&[("t", 1), ("t", 2), ("t", i32::MAX), ("t", -1), ("gone", 0)]));
    let mut consumer = mock.consumer().group("g").subscribe(["t"]).await.unwrap();
    assert_eq!(at_hand(&mut consumer), run(1, 0..=2));
    assert_eq!(consumer.assignment(), [tp(1)]);
    consumer.commit().await.unwrap();
}

/// Kafka gives a static member that comes back what it had, until it joins once more.
#[tokio::test]
async fn what_a_static_member_does_not_want_any_more_is_left_out_and_told() {
    let mock = Mock::with_partitions(1);
    mock.append(0, 3);
    mock.create("u", 1);
    mock.assign(assignment(&[("t", 0), ("u", 0)]));
    let build = || mock.consumer().group("g");
    let mut fixed = build().group_instance_id("a").subscribe(["t"]).await.unwrap();
    assert_eq!(at_hand(&mut fixed), run(0, 0..=2));
    assert_eq!(fixed.assignment(), [tp(0)]);
    // Once: whoever is not heard now never is.
    assert!(recv_once(&mut fixed).is_none());
    assert_eq!(fixed.group_metadata().unwrap().generation, 2);
    let mut other = build().subscribe(["t"]).await.unwrap();
    assert_eq!(at_hand(&mut other), run(0, 0..=2));
    assert_eq!(other.assignment(), [tp(0)]);
    assert_eq!(other.group_metadata().unwrap().generation, 1);
}

/// Its partitions are nobody else's meanwhile.
#[tokio::test]
async fn a_commit_while_the_group_is_rebalanced_says_so() {
    let mock = Mock::with_partitions(1);
    mock.append(0, 3);
    mock.assign(assignment(&[("t", 0)]));
    let mut consumer = mock.consumer().group("g").subscribe(["t"]).await.unwrap();
    assert_eq!(at_hand(&mut consumer), run(0, 0..=2));
    consumer.commit().await.unwrap();
    mock.move_on();
    let before = consumer.commit().await;
    let source = |committed: Result<()>| match committed.unwrap_err() {
        Error::Group { source, .. } => source,
        error => panic!("{error}"),
    };
    assert!(matches!(source(before), GroupError::IllegalGeneration { .. }), "it does not join yet");
    assert!(recv_once(&mut consumer).is_none());
    assert_eq!(source(consumer.commit().await), GroupError::RebalanceInProgress);
    assert_eq!(consumer.assignment(), [tp(0)]);
}

/// For leaders that heed it (KIP-881).
#[tokio::test]
async fn a_member_tells_its_rack() {
    let mock = Mock::with_partitions(1);
    for rack in ["", "b"] {
        let consumer = mock.consumer().group("g").client_rack(rack);
        let mut consumer = consumer.subscribe(["t"]).await.unwrap();
        assert!(recv_once(&mut consumer).is_none());
    }
    let racks: Vec<_> = mock.subscriptions().into_iter().map(|it| it.rack).collect();
    assert_eq!(racks, [None, Some("b".to_owned())]);
}

#[tokio::test]
async fn an_assignment_that_cannot_be_read_is_none() {
    let mock = Mock::with_partitions(1);
    mock.append(0, 3);
    let sound = assignment(&[("t", 0)]);
    for bytes in [Bytes::new(), sound.slice(..5), Bytes::from_static(&[0x7f; 40])] {
        mock.assign(bytes);
        let mut consumer = mock.consumer().group("g").subscribe(["t"]).await.unwrap();
        assert!(at_hand(&mut consumer).is_empty() && consumer.assignment().is_empty());
        // There may be more in the next generation.
        assert!(recv_once(&mut consumer).is_none());
    }
}
