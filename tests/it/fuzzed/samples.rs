//! A request of each kind in every version, each list in it with one element: for the seeds, and for
//! whoever wants to know what reading takes.

use bytes::{Buf, Bytes};
use ottla::TopicId;
use ottla::wire::{
    ApiKey, Frame, Records, Request, alter_configs as alter,
    alter_partition_reassignments as moves, api_versions as api, create_acls,
    create_partitions as grow, create_topics as create, delete_acls, delete_groups,
    delete_records as trim, delete_topics as delete, describe_acls, describe_cluster as cluster,
    describe_configs as configs, describe_groups as described, describe_log_dirs as dirs,
    encode_request, fetch, find_coordinator as find, heartbeat,
    incremental_alter_configs as incremental, init_producer_id as init, join_group as join,
    leave_group as leave, list_groups, list_offsets as list,
    list_partition_reassignments as moving, metadata, offset_commit as commit,
    offset_delete as forget, offset_fetch as committed, offset_for_leader_epoch as epoch, produce,
    sasl_authenticate as login, sasl_handshake as greet, sync_group as sync,
};

/// A frame of one version.
#[derive(Clone)]
pub struct Sample {
    pub api: ApiKey,
    pub version: i16,
    pub frame: Bytes,
}

/// Requests about partition 0 of a topic, of which `batch` is to be appended.
pub fn requests(topic: &str, topic_id: TopicId, batch: &Bytes) -> Vec<Sample> {
    let mut all = of_records(topic, topic_id, batch);
    all.extend(of_groups(topic));
    all.extend(of_administrators(topic));
    all
}

fn of_records(topic: &str, topic_id: TopicId, batch: &Bytes) -> Vec<Sample> {
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
        in_all_versions(&greet::SaslHandshakeRequest { mechanism: "PLAIN".to_owned() }),
        in_all_versions(&login::SaslAuthenticateRequest { auth_bytes: Bytes::new() }),
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

fn of_groups(topic: &str) -> Vec<Sample> {
    let group_id = || "g".to_owned();
    [
        in_all_versions(&commit_request(topic)),
        in_all_versions(&committed_request(topic)),
        in_all_versions(&join_request()),
        in_all_versions(&heartbeat::HeartbeatRequest {
            group_id: group_id(),
            generation_id: 1,
            ..Default::default()
        }),
        in_all_versions(&leave::LeaveGroupRequest {
            group_id: group_id(),
            members: vec![Default::default()],
            ..Default::default()
        }),
        in_all_versions(&sync::SyncGroupRequest {
            group_id: group_id(),
            generation_id: 1,
            protocol_type: Some("consumer".to_owned()),
            protocol_name: Some("range".to_owned()),
            assignments: vec![Default::default()],
            ..Default::default()
        }),
        in_all_versions(&described::DescribeGroupsRequest {
            groups: vec![group_id()],
            include_authorized_operations: true,
        }),
        in_all_versions(&list_groups::ListGroupsRequest {
            states_filter: vec!["Empty".to_owned()],
            types_filter: vec!["classic".to_owned()],
        }),
        in_all_versions(&delete_groups::DeleteGroupsRequest { groups_names: vec![group_id()] }),
        in_all_versions(&forget_request(topic)),
    ]
    .concat()
}

fn of_administrators(topic: &str) -> Vec<Sample> {
    [
        in_all_versions(&trim_request(topic)),
        in_all_versions(&configs_request(topic)),
        in_all_versions(&alter_request(topic)),
        in_all_versions(&dirs_request(topic)),
        in_all_versions(&grow_request(topic)),
        in_all_versions(&incremental_request(topic)),
        in_all_versions(&cluster::DescribeClusterRequest::default()),
        in_all_versions(&describe_acls::DescribeAclsRequest::default()),
        in_all_versions(&create_acls::CreateAclsRequest { creations: vec![Default::default()] }),
        in_all_versions(&delete_acls::DeleteAclsRequest { filters: vec![Default::default()] }),
        in_all_versions(&moves_request(topic)),
        in_all_versions(&moving::ListPartitionReassignmentsRequest {
            topics: Some(vec![moving::ListPartitionReassignmentsTopics {
                name: topic.to_owned(),
                partition_indexes: vec![0],
            }]),
            ..Default::default()
        }),
    ]
    .concat()
}

fn moves_request(topic: &str) -> moves::AlterPartitionReassignmentsRequest {
    let partition = moves::ReassignablePartition { partition_index: 0, replicas: Some(vec![1]) };
    let name = topic.to_owned();
    let topics = vec![moves::ReassignableTopic { name, partitions: vec![partition] }];
    moves::AlterPartitionReassignmentsRequest { topics, ..Default::default() }
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

fn commit_request(topic: &str) -> commit::OffsetCommitRequest {
    let partition = commit::OffsetCommitRequestPartition {
        committed_offset: 1,
        committed_metadata: Some("m".to_owned()),
        ..Default::default()
    };
    let name = topic.to_owned();
    commit::OffsetCommitRequest {
        group_id: "g".to_owned(),
        generation_id_or_member_epoch: -1,
        topics: vec![commit::OffsetCommitRequestTopic { name, partitions: vec![partition] }],
        ..Default::default()
    }
}

fn committed_request(topic: &str) -> committed::OffsetFetchRequest {
    let (name, partition_indexes) = (topic.to_owned(), vec![0]);
    let topics = vec![committed::OffsetFetchRequestTopics { name, partition_indexes }];
    let group_id = "g".to_owned();
    let group =
        committed::OffsetFetchRequestGroup { group_id, topics: Some(topics), ..Default::default() };
    let (name, partition_indexes) = (topic.to_owned(), vec![0]);
    committed::OffsetFetchRequest {
        group_id: "g".to_owned(),
        topics: Some(vec![committed::OffsetFetchRequestTopic { name, partition_indexes }]),
        groups: vec![group],
        require_stable: false,
    }
}

fn join_request() -> join::JoinGroupRequest {
    let protocol = join::JoinGroupRequestProtocol {
        name: "range".to_owned(),
        metadata: Bytes::from_static(b"metadata"),
    };
    join::JoinGroupRequest {
        group_id: "g".to_owned(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 10_000,
        protocol_type: "consumer".to_owned(),
        protocols: vec![protocol],
        ..Default::default()
    }
}

fn forget_request(topic: &str) -> forget::OffsetDeleteRequest {
    let partitions = vec![forget::OffsetDeleteRequestPartition::default()];
    let topic = forget::OffsetDeleteRequestTopic { name: topic.to_owned(), partitions };
    forget::OffsetDeleteRequest { group_id: "g".to_owned(), topics: vec![topic] }
}

fn trim_request(topic: &str) -> trim::DeleteRecordsRequest {
    let partitions = vec![trim::DeleteRecordsPartition { partition_index: 0, offset: -1 }];
    let topic = trim::DeleteRecordsTopic { name: topic.to_owned(), partitions };
    trim::DeleteRecordsRequest { topics: vec![topic], timeout_ms: 1000 }
}

fn configs_request(topic: &str) -> configs::DescribeConfigsRequest {
    let resource = configs::DescribeConfigsResource {
        resource_type: 2,
        resource_name: topic.to_owned(),
        configuration_keys: Some(vec!["retention.ms".to_owned()]),
    };
    configs::DescribeConfigsRequest {
        resources: vec![resource],
        include_synonyms: true,
        include_documentation: true,
    }
}

fn alter_request(topic: &str) -> alter::AlterConfigsRequest {
    let (name, value) = ("retention.ms".to_owned(), Some("1000".to_owned()));
    let resource = alter::AlterConfigsResource {
        resource_type: 2,
        resource_name: topic.to_owned(),
        configs: vec![alter::AlterableConfig { name, value }],
    };
    alter::AlterConfigsRequest { resources: vec![resource], validate_only: false }
}

fn incremental_request(topic: &str) -> incremental::IncrementalAlterConfigsRequest {
    let config = incremental::AlterableConfig {
        name: "cleanup.policy".to_owned(),
        config_operation: 2,
        value: Some("compact".to_owned()),
    };
    let resource = incremental::AlterConfigsResource {
        resource_type: 2,
        resource_name: topic.to_owned(),
        configs: vec![config],
    };
    incremental::IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false }
}

fn dirs_request(topic: &str) -> dirs::DescribeLogDirsRequest {
    let topic = dirs::DescribableLogDirTopic { topic: topic.to_owned(), partitions: vec![0] };
    dirs::DescribeLogDirsRequest { topics: Some(vec![topic]) }
}

fn grow_request(topic: &str) -> grow::CreatePartitionsRequest {
    let assignment = grow::CreatePartitionsAssignment { broker_ids: vec![1] };
    let topic = grow::CreatePartitionsTopic {
        name: topic.to_owned(),
        count: 2,
        assignments: Some(vec![assignment]),
    };
    grow::CreatePartitionsRequest { topics: vec![topic], ..Default::default() }
}
