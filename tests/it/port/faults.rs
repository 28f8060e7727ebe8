//! Faults on request: clients meet the error that was asked for, once, and nothing is done.

use std::time::{Duration, Instant};

use ottla::wire::api_versions::ApiVersionsRequest;
use ottla::wire::create_topics::{CreatableTopic, CreateTopicsRequest};
use ottla::wire::delete_topics::{DeleteTopicState, DeleteTopicsRequest};
use ottla::wire::fetch::FetchRequest;
use ottla::wire::find_coordinator::FindCoordinatorRequest;
use ottla::wire::init_producer_id::InitProducerIdRequest;
use ottla::wire::list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use ottla::wire::metadata::{MetadataRequest, MetadataRequestTopic};
use ottla::wire::offset_for_leader_epoch::{
    OffsetForLeaderEpochRequest, OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use ottla::wire::produce::ProduceRequest;
use ottla::{ApiKey, Broker, ErrorCode};

use super::client::{RawClient, batch, produce_request};
use super::conformance::fetch;
use super::{create, listening};

/// No code of ottla's own: it can only have been asked for.
const ASKED: ErrorCode = ErrorCode::THROTTLING_QUOTA_EXCEEDED;

fn end(broker: &Broker) -> i64 {
    broker.describe_topic("t").unwrap().partitions[0].high_watermark
}

/// Every kind of request tells the error in its own place, in its oldest and its newest version,
/// for all that it names; the next one of its kind succeeds.
#[tokio::test]
async fn every_kind_of_request_can_fail() {
    let (broker, listener) = listening().await;
    create(listener.local_addr(), "t", 2, &[]).await;
    let mut client = RawClient::connect(listener.local_addr()).await;
    macro_rules! codes {
        ($request:expr, $api:ident, $version:expr, |$answer:ident| $codes:expr) => {{
            broker.fail_next(ApiKey::$api, ASKED);
            let codes: [Vec<ErrorCode>; 2] = [
                {
                    let $answer = client.ask(&$request, $version).await;
                    $codes
                },
                {
                    let $answer = client.ask(&$request, $version).await;
                    $codes
                },
            ];
            let [failed, carried_out] = codes;
            assert!(!failed.is_empty() && failed.iter().all(|it| *it == ASKED), "{failed:?}");
            assert!(carried_out.iter().all(|it| *it == ErrorCode::NONE), "{carried_out:?}");
            assert_eq!(failed.len(), carried_out.len().max(1));
        }};
    }
    let named = ApiVersionsRequest {
        client_software_name: "raw".to_owned(),
        client_software_version: "1".to_owned(),
    };
    for version in [0, 4] {
        codes!(named, ApiVersions, version, |it| vec![it.error_code]);
    }
    for version in [3, 11] {
        codes!(produce_request("t", 0, batch(&["a"]), -1), Produce, version, |it| {
            it.responses[0].partition_responses.iter().map(|it| it.error_code).collect()
        });
    }
    for version in [4, 12] {
        codes!(fetch("t", 0, 0), Fetch, version, |it| {
            it.responses[0].partitions.iter().map(|it| it.error_code).collect()
        });
    }
    let partitions = (0..2).map(|partition_index| ListOffsetsPartition {
        partition_index,
        timestamp: -1,
        ..ListOffsetsPartition::default()
    });
    let offsets = ListOffsetsRequest {
        topics: vec![ListOffsetsTopic { name: "t".to_owned(), partitions: partitions.collect() }],
        ..ListOffsetsRequest::default()
    };
    for version in [1, 10] {
        codes!(offsets, ListOffsets, version, |it| {
            it.topics[0].partitions.iter().map(|it| it.error_code).collect()
        });
    }
    let name = Some("t".to_owned());
    let one = MetadataRequestTopic { name: name.clone(), ..MetadataRequestTopic::default() };
    for (topics, version) in [(Some(vec![one.clone()]), 0), (Some(vec![one]), 12), (None, 12)] {
        let asked = MetadataRequest { topics, ..MetadataRequest::default() };
        codes!(asked, Metadata, version, |it| {
            assert_eq!(it.brokers.len(), 1, "who is to be asked again is told in any case");
            it.topics.iter().map(|it| it.error_code).collect()
        });
    }
    let group = FindCoordinatorRequest { key: "g".to_owned(), ..Default::default() };
    codes!(group, FindCoordinator, 0, |it| vec![it.error_code]);
    let groups = FindCoordinatorRequest {
        coordinator_keys: vec!["g".to_owned(), "h".to_owned()],
        ..FindCoordinatorRequest::default()
    };
    codes!(groups, FindCoordinator, 5, |it| {
        it.coordinators.iter().map(|it| it.error_code).collect()
    });
    for version in [0, 5] {
        codes!(InitProducerIdRequest::default(), InitProducerId, version, |it| {
            vec![it.error_code]
        });
    }
    let asked = OffsetForLeaderPartition { leader_epoch: 0, ..Default::default() };
    let epochs = OffsetForLeaderEpochRequest {
        topics: vec![OffsetForLeaderTopic { topic: "t".to_owned(), partitions: vec![asked] }],
        ..OffsetForLeaderEpochRequest::default()
    };
    for version in [2, 4] {
        codes!(epochs, OffsetForLeaderEpoch, version, |it| {
            it.topics[0].partitions.iter().map(|it| it.error_code).collect()
        });
    }
    let topic = CreatableTopic { name: "u".to_owned(), num_partitions: 1, ..Default::default() };
    let topic = CreatableTopic { replication_factor: 1, ..topic };
    let creating = CreateTopicsRequest { topics: vec![topic], ..Default::default() };
    codes!(creating, CreateTopics, 7, |it| it.topics.iter().map(|it| it.error_code).collect());
    let by_name = DeleteTopicsRequest { topic_names: vec!["u".to_owned()], ..Default::default() };
    codes!(by_name, DeleteTopics, 1, |it| it.responses.iter().map(|it| it.error_code).collect());
    let named = DeleteTopicState { name, ..DeleteTopicState::default() };
    let by_name = DeleteTopicsRequest { topics: vec![named], ..Default::default() };
    codes!(by_name, DeleteTopics, 6, |it| it.responses.iter().map(|it| it.error_code).collect());
}

#[tokio::test]
async fn what_fails_is_not_done_and_faults_come_in_turn() {
    let (broker, listener) = listening().await;
    let address = listener.local_addr();
    create(address, "t", 1, &[]).await;
    let mut client = RawClient::connect(address).await;
    for error in [ErrorCode::NONE, ASKED, ErrorCode::NOT_LEADER_OR_FOLLOWER] {
        broker.fail_next(ApiKey::Produce, error);
    }
    let mut met = Vec::new();
    for _ in 0..4 {
        met.push((client.produce("t", batch(&["a"])).await.error_code, end(&broker)));
    }
    let (none, moved) = (ErrorCode::NONE, ErrorCode::NOT_LEADER_OR_FOLLOWER);
    assert_eq!(met, [(none, 1), (ASKED, 1), (moved, 1), (none, 2)]);
    // Without an answer, the end of the connection tells; and so for what no broker answers.
    broker.fail_next(ApiKey::Produce, ASKED);
    client.send(&produce_request("t", 0, batch(&["a"]), 0), 7).await;
    client.is_closed().await;
    broker.fail_next(ApiKey::Produce, ErrorCode::NETWORK_EXCEPTION);
    let mut client = RawClient::connect(address).await;
    let id = client.send(&MetadataRequest::default(), 1).await;
    client.send(&produce_request("t", 0, batch(&["a"]), -1), 7).await;
    client.receive::<MetadataRequest>(id, 1).await;
    client.is_closed().await;
    assert_eq!(end(&broker), 2);
}

/// Those of partitions are told for what the session has, those of sessions for it as a whole.
#[tokio::test]
async fn fetches_of_a_session_fail_as_a_session_does() {
    let (broker, listener) = listening().await;
    create(listener.local_addr(), "t", 1, &[]).await;
    let mut client = RawClient::connect(listener.local_addr()).await;
    client.produce("t", batch(&["a"])).await;
    let first = FetchRequest { session_epoch: 0, ..fetch("t", 0, 0) };
    let session_id = client.ask(&first, 12).await.session_id;
    let next = |session_epoch| FetchRequest {
        session_id,
        session_epoch,
        topics: Vec::new(),
        ..fetch("t", 0, 0)
    };
    broker.fail_next(ApiKey::Fetch, ASKED);
    let answer = client.ask(&next(1), 12).await;
    assert_eq!((answer.error_code, answer.session_id), (ErrorCode::NONE, session_id));
    assert_eq!(answer.responses[0].partitions[0].error_code, ASKED);
    broker.fail_next(ApiKey::Fetch, ErrorCode::FETCH_SESSION_ID_NOT_FOUND);
    let answer = client.ask(&next(2), 12).await;
    assert_eq!(answer.error_code, ErrorCode::FETCH_SESSION_ID_NOT_FOUND);
    assert!(answer.responses.is_empty());
    // It was not touched.
    let answer = client.ask(&next(2), 12).await;
    assert_eq!(answer.responses[0].partitions[0].error_code, ErrorCode::NONE);
}

/// The record is there long before the answer is.
#[tokio::test]
async fn answers_can_be_late() {
    const LATE: Duration = Duration::from_millis(700);
    let (broker, listener) = listening().await;
    create(listener.local_addr(), "t", 1, &[]).await;
    let mut client = RawClient::connect(listener.local_addr()).await;
    broker.delay_next(ApiKey::Produce, LATE);
    let began = Instant::now();
    let id = client.send(&produce_request("t", 0, batch(&["a"]), -1), 7).await;
    let mut reader = RawClient::connect(listener.local_addr()).await;
    let read = reader.ask(&fetch("t", 0, 0), 12).await;
    let read_after = began.elapsed();
    assert!(!read.responses[0].partitions[0].records.is_empty());
    client.receive::<ProduceRequest>(id, 7).await;
    assert!(read_after < LATE && began.elapsed() >= LATE, "{read_after:?}");
    // Only the next was meant.
    assert_eq!(client.produce("t", batch(&["b"])).await.base_offset, 1);
    assert!(began.elapsed() < 2 * LATE);
}
