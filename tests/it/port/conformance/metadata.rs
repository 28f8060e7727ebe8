//! Metadata.

use std::collections::BTreeSet;

use ottla::topic::TopicId;
use ottla::wire::ErrorCode;
use ottla::wire::metadata::{MetadataRequest, MetadataRequestTopic, NO_OPERATIONS};

use super::super::client::RawClient;
use super::{metadata, targets};

/// By an id, and perhaps a name as well.
fn by_id(topic_id: TopicId, name: Option<&str>) -> MetadataRequest {
    let topic = MetadataRequestTopic { topic_id, name: name.map(str::to_owned) };
    MetadataRequest { topics: Some(vec![topic]), ..metadata(None, false) }
}

#[tokio::test]
async fn metadata_names_what_there_is() {
    for target in targets("metadata").await {
        let mut client = target.with_topic(&[]).await;
        let one = client.ask(&metadata(Some(&[&target.topic]), false), 12).await;
        let topic = &one.topics[0];
        assert_eq!(topic.name.as_deref(), Some(&*target.topic));
        assert_ne!(topic.topic_id, TopicId([0; 16]));
        assert_eq!(topic.partitions.len(), 1);
        let partition = &topic.partitions[0];
        assert_eq!((partition.leader_id, partition.leader_epoch), (one.controller_id, 0));
        assert_eq!(partition.replica_nodes, [one.controller_id]);
        assert_eq!(partition.isr_nodes, [one.controller_id]);
        assert!(one.cluster_id.is_some_and(|id| !id.is_empty()));
        assert_eq!((one.brokers[0].port, one.brokers.len()), (target.address.port().into(), 1));
        // All: by null, or in version 0 by none; none by none.
        let has = |names: Vec<Option<String>>| names.contains(&Some(target.topic.clone()));
        for (request, version, all) in [
            (metadata(None, false), 12, true),
            (metadata(Some(&[]), false), 0, true),
            (metadata(Some(&[]), false), 1, false),
        ] {
            let answer = client.ask(&request, version).await;
            let names = answer.topics.into_iter().map(|it| it.name).collect();
            assert_eq!(has(names), all, "version {version}");
        }
        let unknown = format!("{}-unknown", target.topic);
        let answer = client.ask(&metadata(Some(&[&unknown, "a b", ""]), false), 12).await;
        let codes: BTreeSet<ErrorCode> = answer.topics.iter().map(|it| it.error_code).collect();
        let expected = [ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, ErrorCode::INVALID_TOPIC_EXCEPTION];
        assert_eq!(codes, BTreeSet::from(expected));
    }
}

#[tokio::test]
async fn names_of_topics_have_rules() {
    for target in targets("names").await {
        let mut client = target.client().await;
        let (longest, longer) = ("x".repeat(249), "x".repeat(250));
        for (name, code) in [
            ("a.b_c-D1", ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
            (&longest, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
            (&longer, ErrorCode::INVALID_TOPIC_EXCEPTION),
            ("", ErrorCode::INVALID_TOPIC_EXCEPTION),
            (".", ErrorCode::INVALID_TOPIC_EXCEPTION),
            ("..", ErrorCode::INVALID_TOPIC_EXCEPTION),
            ("a b", ErrorCode::INVALID_TOPIC_EXCEPTION),
            ("a:b", ErrorCode::INVALID_TOPIC_EXCEPTION),
            ("\u{e4}", ErrorCode::INVALID_TOPIC_EXCEPTION),
        ] {
            let answer = client.ask(&metadata(Some(&[name]), false), 12).await;
            assert_eq!(answer.topics[0].error_code, code, "{name:?}");
            assert_eq!(answer.topics[0].name.as_deref(), Some(name));
        }
    }
}

/// Versions 10 and 11 tell ids, but are not asked by them: there, no name in an answer is null.
#[tokio::test]
async fn topics_are_found_by_their_ids() {
    for target in targets("byid").await {
        let mut client = target.with_topic(&[]).await;
        let topic = client.ask(&metadata(Some(&[&target.topic]), false), 12).await.topics.remove(0);
        let (own, other) = (topic.topic_id, TopicId([7; 16]));
        let mut ask = async |request: MetadataRequest, version| {
            let found = client.ask(&request, version).await.topics.remove(0);
            (found.error_code, found.name)
        };
        let known = (ErrorCode::NONE, Some(target.topic.clone()));
        assert_eq!(ask(by_id(own, None), 12).await, known);
        assert_eq!(ask(by_id(other, None), 12).await, (ErrorCode::UNKNOWN_TOPIC_ID, None));
        // Of both, the id counts.
        assert_eq!(ask(by_id(own, Some("nowhere")), 12).await, known);
        let unknown = ask(by_id(other, Some(&target.topic)), 12).await;
        assert_eq!(unknown.0, ErrorCode::UNKNOWN_TOPIC_ID);
        for version in [10, 11] {
            for id in [own, other] {
                let answer = ask(by_id(id, None), version).await;
                assert_eq!(answer, (ErrorCode::INVALID_REQUEST, Some(String::new())));
                let answer = ask(by_id(id, Some(&target.topic)), version).await;
                assert_eq!(answer.0, ErrorCode::INVALID_REQUEST);
            }
        }
    }
}

#[tokio::test]
async fn a_topic_is_told_once_and_what_may_be_done_if_that_is_asked_for() {
    for target in targets("once").await {
        let (topic, mut client) = (&*target.topic, target.with_topic(&[]).await);
        let twice = metadata(Some(&[topic, "nowhere", topic, "nowhere"]), false);
        let answer = client.ask(&twice, 12).await;
        let names: BTreeSet<_> = answer.topics.iter().map(|it| it.name.as_deref()).collect();
        assert_eq!((answer.topics.len(), names), (2, [Some(topic), Some("nowhere")].into()));
        assert!(answer.topics.iter().all(|it| it.topic_authorized_operations == NO_OPERATIONS));
        let all = MetadataRequest {
            include_cluster_authorized_operations: true,
            include_topic_authorized_operations: true,
            ..metadata(Some(&[topic]), false)
        };
        for version in 8..=10 {
            let answer = client.ask(&all, version).await;
            // Without an authorizer everybody may do everything.
            assert_eq!(answer.topics[0].topic_authorized_operations, 0b1101_1111_1000);
            assert_eq!(answer.cluster_authorized_operations, 0b1_1111_1010_0000);
        }
    }
}

/// At first Kafka says that there is no such topic; how ottla differs: `quirks`.
#[tokio::test]
async fn asking_for_an_unknown_topic_creates_it_if_allowed() {
    for target in targets("auto").await {
        let mut client = target.client().await;
        let (new, old) = (format!("{}-new", target.topic), format!("{}-old", target.topic));
        for _ in 0..2 {
            let answer = client.ask(&metadata(Some(&[&new]), false), 4).await;
            assert_eq!(answer.topics[0].error_code, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
        }
        assert_eq!(partitions_once_created(&mut client, &new, true, 4).await, 1);
        // Before version 4 it always does.
        assert_eq!(partitions_once_created(&mut client, &old, false, 1).await, 1);
    }
}

async fn partitions_once_created(
    client: &mut RawClient,
    topic: &str,
    allowed: bool,
    version: i16,
) -> usize {
    loop {
        let answer = client.ask(&metadata(Some(&[topic]), allowed), version).await;
        match answer.topics[0].error_code {
            ErrorCode::NONE => return answer.topics[0].partitions.len(),
            ErrorCode::UNKNOWN_TOPIC_OR_PARTITION | ErrorCode::LEADER_NOT_AVAILABLE => {}
            other => panic!("{other}"),
        }
    }
}
