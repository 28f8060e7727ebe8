//! Which versions there are, and what becomes of others.

use ottla::topic::TopicId;
use ottla::wire::api_versions::ApiVersionsRequest;
use ottla::wire::create_topics::{CreatableTopic, CreateTopicsRequest};
use ottla::wire::delete_topics::{DeleteTopicState, DeleteTopicsRequest};
use ottla::wire::fetch::FetchRequest;
use ottla::wire::list_offsets::LATEST;
use ottla::wire::metadata::MetadataRequest;
use ottla::wire::offset_for_leader_epoch::{
    OffsetForLeaderEpochRequest, OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use ottla::wire::produce::ProduceRequest;
use ottla::wire::{ApiKey, ErrorCode};

use super::super::client::{RawClient, batch, header, produce_request};
use super::{BY_NAME, fetch, listed, metadata, produced, targets};

#[tokio::test]
async fn versions_are_told_in_every_version() {
    for target in targets("versions").await {
        let mut client = target.client().await;
        let request = ApiVersionsRequest {
            client_software_name: "raw-client".to_owned(),
            client_software_version: "1.0".to_owned(),
        };
        for version in ApiKey::ApiVersions.versions() {
            let answer = client.ask(&request, version).await;
            assert_eq!(answer.error_code, ErrorCode::NONE);
            // All that is described here is served by both.
            for api in ApiKey::ALL {
                let told = answer.api_keys.iter().find(|it| it.api_key == *api as i16).unwrap();
                let described = api.versions();
                assert!(told.min_version <= *described.start(), "{api:?}");
                assert!(told.max_version >= *described.end(), "{api:?}");
            }
        }
        // An unknown version is answered in the oldest; the connection goes on.
        client.send_frame(&[&header(18, 99)[..], b"whatever"].concat()).await;
        let frame = client.frame().await.unwrap();
        assert_eq!(frame[..6], [0, 0, 0, 7, 0, 35], "UNSUPPORTED_VERSION");
        let own = [0, 18, 0, 0, 0, 4];
        assert!(frame.windows(6).any(|window| window == own), "its own versions are there");
        for (name, version) in [("-", "1"), ("a b", "1"), ("", "1"), ("a", ""), ("a", "1.")] {
            let named = ApiVersionsRequest {
                client_software_name: name.to_owned(),
                client_software_version: version.to_owned(),
            };
            let answer = client.ask(&named, 3).await;
            assert_eq!(answer.error_code, ErrorCode::INVALID_REQUEST, "{name:?} {version:?}");
        }
    }
}

/// No error says so, as its form would not be known.
#[tokio::test]
async fn what_is_not_served_ends_the_connection() {
    for target in targets("unserved").await {
        let unknown = [(999, 0), (-1, 0), (3, 99), (3, -1), (1, 3), (4, 0), (19, 1)];
        // Versions of Produce that are only said to be there.
        for (key, version) in unknown.into_iter().chain([(0, 0), (0, 1), (0, 2)]) {
            let mut client = target.client().await;
            client.send_frame(&[&header(key, version)[..], &[0; 20]].concat()).await;
            client.is_closed().await;
        }
        // A string that is longer than the frame; an array that is; a name that is null.
        let bodies: [(i16, i16, &[u8]); 3] = [
            (18, 3, &[9, 9]),
            (3, 12, &[0xff, 0xff, 0xff, 0x0f]),
            (3, 1, &[0, 0, 0, 1, 0xff, 0xff]),
        ];
        for (key, version, body) in bodies {
            let mut client = target.client().await;
            client.send_frame(&[&header(key, version)[..], body].concat()).await;
            client.is_closed().await;
        }
    }
}

#[tokio::test]
async fn what_is_not_known_in_a_request_is_passed_over() {
    for target in targets("beyond").await {
        let mut client = target.client().await;
        // Metadata of no topics, with a tagged field in its header, and one in its body.
        let tagged = b"\0\x03\0\x0c\0\0\0\x07\xff\xff\x01\x4d\x02ab\x01\0\0\x01\x63\x01c";
        let trailing = [&header(3, 1)[..], &[0, 0, 0, 0], b"more"].concat();
        for request in [&tagged[..], &trailing] {
            client.send_frame(request).await;
            assert_eq!(client.frame().await.unwrap()[..4], [0, 0, 0, 7]);
        }
    }
}

#[tokio::test]
async fn every_version_is_served() {
    for target in targets("every").await {
        let (topic, mut client) = (&target.topic, target.with_topic(&[]).await);
        produced(&mut client, topic, batch(&["a"])).await;
        for version in ApiKey::Metadata.versions() {
            let answer = client.ask(&metadata(Some(&[topic]), false), version).await;
            let found = &answer.topics[0];
            let epoch = if version < 7 { -1 } else { 0 };
            assert_eq!(found.partitions[0].leader_epoch, epoch, "version {version}");
            assert_eq!(found.topic_id == TopicId([0; 16]), version < 10, "version {version}");
        }
        for version in ApiKey::ListOffsets.versions() {
            let found = listed(&mut client, topic, LATEST, version).await;
            let epoch = if version < 4 { -1 } else { 0 };
            assert_eq!((found.error_code, found.offset), (ErrorCode::NONE, 1), "version {version}");
            assert_eq!(found.leader_epoch, epoch, "version {version}");
        }
        for version in ApiKey::OffsetForLeaderEpoch.versions() {
            let partitions = vec![OffsetForLeaderPartition::default()];
            let topics = vec![OffsetForLeaderTopic { topic: topic.clone(), partitions }];
            let request = OffsetForLeaderEpochRequest { replica_id: -1, topics };
            let end = client.ask(&request, version).await.topics[0].partitions[0].clone();
            assert_eq!((end.error_code, end.end_offset), (ErrorCode::NONE, 1));
        }
        create_and_delete_in_every_version(&mut client, topic).await;
    }
}

async fn create_and_delete_in_every_version(client: &mut RawClient, prefix: &str) {
    let versions = ApiKey::CreateTopics.versions().zip(ApiKey::DeleteTopics.versions());
    for (version, deleting) in versions {
        let name = format!("{prefix}-{version}");
        let topic = CreatableTopic {
            name: name.clone(),
            num_partitions: 2,
            replication_factor: 1,
            ..CreatableTopic::default()
        };
        let topics = vec![topic];
        let timeout_ms = 10_000;
        let request = CreateTopicsRequest { topics, timeout_ms, validate_only: false };
        let made = client.ask(&request, version).await.topics.remove(0);
        assert_eq!(made.error_code, ErrorCode::NONE, "version {version}");
        assert_eq!(made.num_partitions, if version < 5 { -1 } else { 2 });
        assert_eq!(made.configs.is_some_and(|it| !it.is_empty()), version >= 5);
        assert_eq!(made.topic_id == TopicId([0; 16]), version < 7);
        let request = DeleteTopicsRequest {
            topics: vec![DeleteTopicState { name: Some(name.clone()), ..Default::default() }],
            topic_names: vec![name],
            timeout_ms,
        };
        let gone = client.ask(&request, deleting).await.responses.remove(0);
        assert_eq!(gone.error_code, ErrorCode::NONE, "version {deleting}");
    }
}

/// Answers come in order, though appending begins at once and fetching waits.
#[tokio::test]
async fn answers_come_in_the_order_of_requests() {
    for target in targets("order").await {
        let (topic, mut client) = (&target.topic, target.with_topic(&[]).await);
        let soon = FetchRequest { max_wait_ms: 200, min_bytes: 1 << 20, ..fetch(topic, 0, 0) };
        let first = client.send(&soon, BY_NAME).await;
        let second = client.send(&produce_request(topic, 0, batch(&["a"]), -1), 7).await;
        let third = client.send(&metadata(Some(&[topic]), false), 12).await;
        client.receive::<FetchRequest>(first, BY_NAME).await;
        let answer = client.receive::<ProduceRequest>(second, 7).await;
        assert_eq!(answer.responses[0].partition_responses[0].base_offset, 0);
        client.receive::<MetadataRequest>(third, 12).await;
    }
}
