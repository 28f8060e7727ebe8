//! A request of each kind in every version, each list in it with one element: for the seeds, and for
//! whoever wants to know what reading takes.

use bytes::{Buf, Bytes};
use ottla::TopicId;
use ottla::wire::{
    ApiKey, Frame, Records, Request, api_versions as api, create_topics as create,
    delete_topics as delete, encode_request, fetch, find_coordinator as find,
    init_producer_id as init, list_offsets as list, metadata, offset_for_leader_epoch as epoch,
    produce,
};

/// A frame of one version.
pub struct Sample {
    pub api: ApiKey,
    pub version: i16,
    pub frame: Bytes,
}

/// Requests about partition 0 of a topic, of which `batch` is to be appended.
pub fn requests(topic: &str, topic_id: TopicId, batch: &Bytes) -> Vec<Sample> {
    [
        in_all_versions(&produce_request(topic, batch)),
        in_all_versions(&fetch_request(topic, topic_id)),
        in_all_versions(&list_request(topic)),
        in_all_versions(&metadata_request(topic, topic_id)),
        in_all_versions(&find::FindCoordinatorRequest {
            key: "g".to_owned(),
            key_type: 0,
            coordinator_keys: vec!["g".to_owned()],
        }),
        in_all_versions(&api::ApiVersionsRequest {
            client_software_name: "fuzzer".to_owned(),
            client_software_version: "1".to_owned(),
        }),
        in_all_versions(&create_request()),
        in_all_versions(&delete_request(topic, topic_id)),
        in_all_versions(&init::InitProducerIdRequest {
            transactional_id: None,
            transaction_timeout_ms: 60_000,
            ..Default::default()
        }),
        in_all_versions(&epoch_request(topic)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// A frame without its length.
pub fn whole(mut frame: Frame) -> Bytes {
    frame.advance(4);
    frame.copy_to_bytes(frame.remaining())
}

fn in_all_versions<R: Request>(request: &R) -> Vec<Sample> {
    let client_id = Some("fuzzer".to_owned());
    let sample = |version| {
        let frame = encode_request(request, version, 7, &client_id).expect("it is not long");
        Sample { api: R::KEY, version, frame: whole(frame) }
    };
    R::KEY.versions().map(sample).collect()
}

fn produce_request(topic: &str, batch: &Bytes) -> produce::ProduceRequest {
    let data =
        produce::PartitionProduceData { index: 0, records: Records::new(vec![batch.clone()]) };
    let topic = produce::TopicProduceData { name: topic.to_owned(), partition_data: vec![data] };
    produce::ProduceRequest {
        transactional_id: None,
        acks: -1,
        timeout_ms: 1000,
        topic_data: vec![topic],
    }
}

fn fetch_request(topic: &str, topic_id: TopicId) -> fetch::FetchRequest {
    let topic = topic.to_owned();
    let partition = fetch::FetchPartition {
        partition_max_bytes: 1 << 20,
        replica_directory_id: TopicId([1; 16]),
        ..Default::default()
    };
    let forgotten = fetch::ForgottenTopic { topic: topic.clone(), topic_id, partitions: vec![1] };
    fetch::FetchRequest {
        max_wait_ms: 100,
        min_bytes: 1,
        session_epoch: 0,
        topics: vec![fetch::FetchTopic { topic, topic_id, partitions: vec![partition] }],
        forgotten_topics_data: vec![forgotten],
        cluster_id: Some("c".to_owned()),
        replica_state: fetch::ReplicaState { replica_id: -1, replica_epoch: 0 },
        ..Default::default()
    }
}

fn list_request(topic: &str) -> list::ListOffsetsRequest {
    let partitions = vec![list::ListOffsetsPartition { timestamp: -1, ..Default::default() }];
    let topics = vec![list::ListOffsetsTopic { name: topic.to_owned(), partitions }];
    list::ListOffsetsRequest { topics, ..Default::default() }
}

fn metadata_request(topic: &str, topic_id: TopicId) -> metadata::MetadataRequest {
    let topic = metadata::MetadataRequestTopic { topic_id, name: Some(topic.to_owned()) };
    metadata::MetadataRequest { topics: Some(vec![topic]), ..Default::default() }
}

fn create_request() -> create::CreateTopicsRequest {
    let assignment = create::CreatableReplicaAssignment { partition_index: 0, broker_ids: vec![1] };
    let config = create::CreatableTopicConfig {
        name: "cleanup.policy".to_owned(),
        value: Some("compact".to_owned()),
    };
    let topic = create::CreatableTopic {
        name: "new".to_owned(),
        num_partitions: -1,
        replication_factor: -1,
        assignments: vec![assignment],
        configs: vec![config],
    };
    create::CreateTopicsRequest { topics: vec![topic], ..Default::default() }
}

fn delete_request(topic: &str, topic_id: TopicId) -> delete::DeleteTopicsRequest {
    delete::DeleteTopicsRequest {
        topics: vec![delete::DeleteTopicState { name: None, topic_id }],
        topic_names: vec![topic.to_owned()],
        timeout_ms: 1000,
    }
}

fn epoch_request(topic: &str) -> epoch::OffsetForLeaderEpochRequest {
    let partitions = vec![epoch::OffsetForLeaderPartition::default()];
    let topics = vec![epoch::OffsetForLeaderTopic { topic: topic.to_owned(), partitions }];
    epoch::OffsetForLeaderEpochRequest { topics, ..Default::default() }
}
