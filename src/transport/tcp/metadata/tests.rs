//! Answers of brokers that are behind the others, or ahead of them.

use super::*;
use crate::wire::metadata::{MetadataResponseBroker, MetadataResponsePartition};

const ID: TopicId = TopicId([1; 16]);
const OTHER_ID: TopicId = TopicId([2; 16]);

fn name(name: &str) -> TopicName {
    TopicName::parse(name).unwrap()
}

/// Topic `t`, with the leader and its epoch of each partition.
fn answer(id: TopicId, leaders: &[(i32, i32)]) -> MetadataResponse {
    let partition = |(index, (leader_id, leader_epoch)): (usize, &(i32, i32))| {
        let (leader_id, leader_epoch) = (*leader_id, *leader_epoch);
        let partition_index = index as i32;
        MetadataResponsePartition {
            partition_index,
            leader_id,
            leader_epoch,
            ..MetadataResponsePartition::default()
        }
    };
    let topic = MetadataResponseTopic {
        name: Some("t".to_owned()),
        topic_id: id,
        partitions: leaders.iter().enumerate().map(partition).collect(),
        ..MetadataResponseTopic::default()
    };
    MetadataResponse { topics: vec![topic], ..MetadataResponse::default() }
}

fn missing(error_code: ErrorCode) -> MetadataResponse {
    let mut response = answer(ID, &[]);
    response.topics[0].error_code = error_code;
    response
}

fn leaders(metadata: &Metadata) -> Vec<(Option<i32>, i32)> {
    let of = |partition| metadata.leader(&TopicPartition::new("t", partition).unwrap());
    (0..).map_while(of).map(|leader| (leader.node, leader.epoch)).collect()
}

#[test]
fn a_former_leader_is_not_believed_unless_the_topic_is_another() {
    let (mut metadata, now) = (Metadata::default(), Instant::now());
    assert!(metadata.take_in(answer(ID, &[(1, 5), (2, 5)]), None, now), "it has come");
    assert!(!metadata.take_in(answer(ID, &[(3, 4), (3, 6)]), None, now));
    assert_eq!(leaders(&metadata), [(Some(1), 5), (Some(3), 6)]);
    // The same epoch may have no leader for a while; one that does not tell any is believed.
    metadata.take_in(answer(ID, &[(-1, 5), (4, -1)]), None, now);
    assert_eq!(leaders(&metadata), [(None, 5), (Some(4), -1)]);
    // One that has not heard of new partitions yet takes none away.
    assert!(!metadata.take_in(answer(ID, &[(1, 5)]), None, now));
    assert_eq!(leaders(&metadata), [(Some(1), 5), (Some(4), -1)]);
    assert!(metadata.take_in(answer(ID, &[(1, 5), (4, 0), (5, 0)]), None, now), "it has grown");
    assert_eq!(metadata.topic("t").unwrap().partitions, 3);

    assert!(metadata.take_in(answer(OTHER_ID, &[(6, 0)]), None, now), "it is another");
    assert_eq!(leaders(&metadata), [(Some(6), 0)]);
    assert_eq!(metadata.topic("t").unwrap().id, OTHER_ID);
}

#[test]
fn a_topic_is_gone_when_it_has_been_missing_for_a_second() {
    let (mut metadata, start) = (Metadata::default(), Instant::now());
    let at = |millis| start + Duration::from_millis(millis);
    let (gone, t) = (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, name("t"));
    metadata.take_in(answer(ID, &[(1, 0)]), None, start);
    let asked = [t.clone()];
    // Whoever was asked for another topic says nothing of this one.
    let others = [name("u")];
    assert!(!metadata.take_in(MetadataResponse::default(), Some(&others), at(0)));
    assert!(!metadata.is_in_doubt());
    assert!(!metadata.take_in(missing(gone), Some(&asked), at(100)));
    assert!(metadata.is_in_doubt() && metadata.topic("t").is_some());
    assert_eq!(metadata.error(&t), Some(gone));
    // Another broker has it: all begins anew.
    assert!(!metadata.take_in(answer(ID, &[(1, 0)]), Some(&asked), at(900)));
    assert!(!metadata.is_in_doubt() && metadata.error(&t).is_none());
    assert!(!metadata.take_in(MetadataResponse::default(), None, at(1200)));
    assert!(!metadata.take_in(MetadataResponse::default(), None, at(2199)));
    assert!(metadata.topic("t").is_some());
    assert!(metadata.take_in(MetadataResponse::default(), None, at(2200)));
    assert!(metadata.topic("t").is_none() && !metadata.is_in_doubt());
    assert_eq!(leaders(&metadata), []);
    assert!(!metadata.take_in(missing(gone), None, at(5000)), "it was gone before");
}

#[test]
fn what_this_client_has_deleted_is_gone_at_once() {
    let (mut metadata, now) = (Metadata::default(), Instant::now());
    metadata.take_in(answer(OTHER_ID, &[(1, 0)]), None, now);
    assert!(!metadata.forget(&name("t"), ID), "that was the one before");
    assert!(metadata.forget(&name("t"), OTHER_ID));
    assert!(metadata.topic("t").is_none() && !metadata.forget(&name("t"), OTHER_ID));
}

#[test]
fn hints_are_taken_if_they_are_news() {
    let (mut metadata, now) = (Metadata::default(), Instant::now());
    metadata.take_in(answer(ID, &[(1, 5)]), None, now);
    let at = |partition| TopicPartition::new("t", partition).unwrap();
    for (partition, node, epoch) in [(0, 2, 5), (0, 2, 4), (0, -1, 6), (1, 2, 6), (-1, 2, 6)] {
        assert!(!metadata.hint(&at(partition), node, epoch), "{node} since {epoch}");
    }
    assert!(!metadata.hint(&TopicPartition::new("u", 0).unwrap(), 2, 6));
    assert_eq!(leaders(&metadata), [(Some(1), 5)]);
    assert!(metadata.hint(&at(0), 2, 6));
    assert_eq!(leaders(&metadata), [(Some(2), 6)]);
    assert!(!metadata.take_in(answer(ID, &[(1, 5)]), None, now), "who is behind says that");
    assert_eq!(leaders(&metadata), [(Some(2), 6)]);
}

#[test]
fn brokers_that_know_none_are_not_believed() {
    let (mut metadata, now) = (Metadata::default(), Instant::now());
    let broker = |node_id, port| MetadataResponseBroker {
        node_id,
        host: "kafka".to_owned(),
        port,
        ..MetadataResponseBroker::default()
    };
    let mut response = answer(ID, &[(1, 0)]);
    response.topics[0].is_internal = true;
    response.brokers = vec![broker(1, 9092), broker(2, -1)];
    response.controller_id = 1;
    metadata.take_in(response, None, now);
    assert_eq!(metadata.brokers.keys().collect::<Vec<_>>(), [&1], "a port is a port");
    assert_eq!(metadata.controller, Some(1));
    assert!(metadata.topics().is_empty() && metadata.topic("t").is_some());
    metadata.take_in(MetadataResponse::default(), Some(&[]), now);
    assert_eq!((metadata.brokers.len(), metadata.controller), (1, None));
}
