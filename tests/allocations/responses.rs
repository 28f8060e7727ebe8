//! An answer of each kind in every version, each list in it with one element.

use ottla::wire::{
    Request, api_versions as api, create_topics as create, delete_topics as delete,
    encode_response, fetch, find_coordinator as find, init_producer_id as init,
    list_offsets as list, metadata, offset_for_leader_epoch as epoch, produce,
};

use super::samples::{Sample, whole};

/// What a broker could answer, and more.
pub fn responses() -> Vec<Sample> {
    [
        answered::<produce::ProduceRequest>(&produce_response()),
        answered::<fetch::FetchRequest>(&fetch_response()),
        answered::<list::ListOffsetsRequest>(&list_response()),
        answered::<metadata::MetadataRequest>(&metadata_response()),
        answered::<find::FindCoordinatorRequest>(&find::FindCoordinatorResponse {
            coordinators: vec![Default::default()],
            ..Default::default()
        }),
        answered::<api::ApiVersionsRequest>(&api_response()),
        answered::<create::CreateTopicsRequest>(&create_response()),
        answered::<delete::DeleteTopicsRequest>(&delete::DeleteTopicsResponse {
            responses: vec![Default::default()],
            ..Default::default()
        }),
        answered::<init::InitProducerIdRequest>(&Default::default()),
        answered::<epoch::OffsetForLeaderEpochRequest>(&epoch_response()),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn answered<R: Request>(response: &R::Response) -> Vec<Sample> {
    let sample = |version| {
        let frame = encode_response::<R>(response, version, 7).expect("it is not long");
        Sample { api: R::KEY, version, frame: whole(frame) }
    };
    R::KEY.versions().map(sample).collect()
}

fn produce_response() -> produce::ProduceResponse {
    let partition = produce::PartitionProduceResponse {
        record_errors: vec![Default::default()],
        current_leader: produce::LeaderIdAndEpoch { leader_id: 1, leader_epoch: 1 },
        ..Default::default()
    };
    let responses = vec![produce::TopicProduceResponse {
        partition_responses: vec![partition],
        ..Default::default()
    }];
    produce::ProduceResponse {
        responses,
        node_endpoints: vec![Default::default()],
        ..Default::default()
    }
}

fn fetch_response() -> fetch::FetchResponse {
    let partition = fetch::PartitionData {
        aborted_transactions: Some(vec![Default::default()]),
        diverging_epoch: fetch::EpochEndOffset { epoch: 1, end_offset: 1 },
        ..Default::default()
    };
    let topic = fetch::FetchableTopicResponse { partitions: vec![partition], ..Default::default() };
    fetch::FetchResponse {
        responses: vec![topic],
        node_endpoints: vec![Default::default()],
        ..Default::default()
    }
}

fn list_response() -> list::ListOffsetsResponse {
    let topic = list::ListOffsetsTopicResponse {
        partitions: vec![Default::default()],
        ..Default::default()
    };
    list::ListOffsetsResponse { topics: vec![topic], ..Default::default() }
}

fn metadata_response() -> metadata::MetadataResponse {
    let partition = metadata::MetadataResponsePartition {
        replica_nodes: vec![2],
        isr_nodes: vec![2],
        offline_replicas: vec![2],
        ..Default::default()
    };
    let topic = metadata::MetadataResponseTopic {
        name: Some("t".to_owned()),
        partitions: vec![partition],
        ..Default::default()
    };
    metadata::MetadataResponse {
        brokers: vec![Default::default()],
        topics: vec![topic],
        ..Default::default()
    }
}

fn api_response() -> api::ApiVersionsResponse {
    let one = |name: &str| api::SupportedFeature { name: name.to_owned(), ..Default::default() };
    api::ApiVersionsResponse {
        api_keys: vec![Default::default()],
        supported_features: vec![one("f")],
        finalized_features: vec![Default::default()],
        ..Default::default()
    }
}

fn create_response() -> create::CreateTopicsResponse {
    let topic = create::CreatableTopicResult {
        configs: Some(vec![Default::default()]),
        ..Default::default()
    };
    create::CreateTopicsResponse { topics: vec![topic], ..Default::default() }
}

fn epoch_response() -> epoch::OffsetForLeaderEpochResponse {
    let topic = epoch::OffsetForLeaderTopicResult {
        partitions: vec![Default::default()],
        ..Default::default()
    };
    epoch::OffsetForLeaderEpochResponse { topics: vec![topic], ..Default::default() }
}
