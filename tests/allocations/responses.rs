//! An answer of each kind in every version, each list in it with one element.

use ottla::wire::{
    Request, alter_configs as alter, alter_partition_reassignments as moves, api_versions as api,
    create_acls, create_partitions as grow, create_topics as create, delete_acls, delete_groups,
    delete_records as trim, delete_topics as delete, describe_acls, describe_cluster as cluster,
    describe_configs as configs, describe_groups as described, describe_log_dirs as dirs,
    encode_response, fetch, find_coordinator as find, heartbeat,
    incremental_alter_configs as incremental, init_producer_id as init, join_group as join,
    leave_group as leave, list_groups, list_offsets as list,
    list_partition_reassignments as moving, metadata, offset_commit as commit,
    offset_delete as forget, offset_fetch as committed, offset_for_leader_epoch as epoch, produce,
    sasl_authenticate as login, sasl_handshake as greet, sync_group as sync,
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
        of_groups(),
        of_administrators(),
        of_acls_and_moves(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn of_groups() -> Vec<Sample> {
    [
        answered::<commit::OffsetCommitRequest>(&commit::OffsetCommitResponse {
            topics: vec![commit::OffsetCommitResponseTopic {
                partitions: vec![Default::default()],
                ..Default::default()
            }],
            ..Default::default()
        }),
        answered::<committed::OffsetFetchRequest>(&committed_response()),
        answered::<join::JoinGroupRequest>(&join::JoinGroupResponse {
            protocol_name: Some("range".to_owned()),
            members: vec![Default::default()],
            ..Default::default()
        }),
        answered::<heartbeat::HeartbeatRequest>(&Default::default()),
        answered::<leave::LeaveGroupRequest>(&leave::LeaveGroupResponse {
            members: vec![Default::default()],
            ..Default::default()
        }),
        answered::<sync::SyncGroupRequest>(&Default::default()),
        answered::<login::SaslAuthenticateRequest>(&Default::default()),
        answered::<greet::SaslHandshakeRequest>(&greet::SaslHandshakeResponse {
            mechanisms: vec!["PLAIN".to_owned()],
            ..Default::default()
        }),
        answered::<described::DescribeGroupsRequest>(&described::DescribeGroupsResponse {
            groups: vec![described::DescribedGroup {
                members: vec![Default::default()],
                ..Default::default()
            }],
            ..Default::default()
        }),
        answered::<list_groups::ListGroupsRequest>(&list_groups::ListGroupsResponse {
            groups: vec![Default::default()],
            ..Default::default()
        }),
        answered::<delete_groups::DeleteGroupsRequest>(&delete_groups::DeleteGroupsResponse {
            results: vec![Default::default()],
            ..Default::default()
        }),
        answered::<forget::OffsetDeleteRequest>(&forget::OffsetDeleteResponse {
            topics: vec![forget::OffsetDeleteResponseTopic {
                partitions: vec![Default::default()],
                ..Default::default()
            }],
            ..Default::default()
        }),
    ]
    .concat()
}

fn of_administrators() -> Vec<Sample> {
    [
        answered::<trim::DeleteRecordsRequest>(&trim::DeleteRecordsResponse {
            topics: vec![trim::DeleteRecordsTopicResult {
                partitions: vec![Default::default()],
                ..Default::default()
            }],
            ..Default::default()
        }),
        answered::<configs::DescribeConfigsRequest>(&configs_response()),
        answered::<alter::AlterConfigsRequest>(&alter::AlterConfigsResponse {
            responses: vec![Default::default()],
            ..Default::default()
        }),
        answered::<dirs::DescribeLogDirsRequest>(&dirs_response()),
        answered::<grow::CreatePartitionsRequest>(&grow::CreatePartitionsResponse {
            results: vec![Default::default()],
            ..Default::default()
        }),
        answered::<incremental::IncrementalAlterConfigsRequest>(
            &incremental::IncrementalAlterConfigsResponse {
                responses: vec![Default::default()],
                ..Default::default()
            },
        ),
        answered::<cluster::DescribeClusterRequest>(&cluster::DescribeClusterResponse {
            brokers: vec![Default::default()],
            ..Default::default()
        }),
    ]
    .concat()
}

fn of_acls_and_moves() -> Vec<Sample> {
    [
        answered::<describe_acls::DescribeAclsRequest>(&describe_acls::DescribeAclsResponse {
            resources: vec![describe_acls::DescribeAclsResource {
                acls: vec![Default::default()],
                ..Default::default()
            }],
            ..Default::default()
        }),
        answered::<create_acls::CreateAclsRequest>(&create_acls::CreateAclsResponse {
            results: vec![Default::default()],
            ..Default::default()
        }),
        answered::<delete_acls::DeleteAclsRequest>(&delete_acls::DeleteAclsResponse {
            filter_results: vec![delete_acls::DeleteAclsFilterResult {
                matching_acls: vec![Default::default()],
                ..Default::default()
            }],
            ..Default::default()
        }),
        answered::<moves::AlterPartitionReassignmentsRequest>(
            &moves::AlterPartitionReassignmentsResponse {
                responses: vec![moves::ReassignableTopicResponse {
                    partitions: vec![Default::default()],
                    ..Default::default()
                }],
                ..Default::default()
            },
        ),
        answered::<moving::ListPartitionReassignmentsRequest>(
            &moving::ListPartitionReassignmentsResponse {
                topics: vec![moving::OngoingTopicReassignment {
                    partitions: vec![moving::OngoingPartitionReassignment {
                        replicas: vec![1],
                        adding_replicas: vec![1],
                        removing_replicas: vec![1],
                        ..Default::default()
                    }],
                    ..Default::default()
                }],
                ..Default::default()
            },
        ),
    ]
    .concat()
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

fn committed_response() -> committed::OffsetFetchResponse {
    let topic = committed::OffsetFetchResponseTopics {
        partitions: vec![Default::default()],
        ..Default::default()
    };
    let group = committed::OffsetFetchResponseGroup { topics: vec![topic], ..Default::default() };
    let topic = committed::OffsetFetchResponseTopic {
        partitions: vec![Default::default()],
        ..Default::default()
    };
    committed::OffsetFetchResponse {
        topics: vec![topic],
        groups: vec![group],
        ..Default::default()
    }
}

fn configs_response() -> configs::DescribeConfigsResponse {
    let setting = configs::DescribeConfigsResourceResult {
        synonyms: vec![Default::default()],
        ..Default::default()
    };
    let result = configs::DescribeConfigsResult { configs: vec![setting], ..Default::default() };
    configs::DescribeConfigsResponse { results: vec![result], ..Default::default() }
}

fn dirs_response() -> dirs::DescribeLogDirsResponse {
    let topic =
        dirs::DescribeLogDirsTopic { partitions: vec![Default::default()], ..Default::default() };
    let result = dirs::DescribeLogDirsResult { topics: vec![topic], ..Default::default() };
    dirs::DescribeLogDirsResponse { results: vec![result], ..Default::default() }
}
