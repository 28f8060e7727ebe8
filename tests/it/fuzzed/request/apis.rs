//! From an API's key to its request's type.

/// Calls `function::<Request>(…)` for the request that a key stands for.
macro_rules! for_api {
    ($key:expr, $function:ident($($arg:expr),*)) => {
        match $key {
            ApiKey::Produce => $function::<wire::produce::ProduceRequest>($($arg),*),
            ApiKey::Fetch => $function::<wire::fetch::FetchRequest>($($arg),*),
            ApiKey::ListOffsets => $function::<wire::list_offsets::ListOffsetsRequest>($($arg),*),
            ApiKey::Metadata => $function::<wire::metadata::MetadataRequest>($($arg),*),
            ApiKey::OffsetCommit => {
                $function::<wire::offset_commit::OffsetCommitRequest>($($arg),*)
            }
            ApiKey::OffsetFetch => $function::<wire::offset_fetch::OffsetFetchRequest>($($arg),*),
            ApiKey::FindCoordinator => {
                $function::<wire::find_coordinator::FindCoordinatorRequest>($($arg),*)
            }
            ApiKey::JoinGroup => $function::<wire::join_group::JoinGroupRequest>($($arg),*),
            ApiKey::Heartbeat => $function::<wire::heartbeat::HeartbeatRequest>($($arg),*),
            ApiKey::LeaveGroup => $function::<wire::leave_group::LeaveGroupRequest>($($arg),*),
            ApiKey::SyncGroup => $function::<wire::sync_group::SyncGroupRequest>($($arg),*),
            ApiKey::DescribeGroups => {
                $function::<wire::describe_groups::DescribeGroupsRequest>($($arg),*)
            }
            ApiKey::ListGroups => $function::<wire::list_groups::ListGroupsRequest>($($arg),*),
            ApiKey::SaslHandshake => {
                $function::<wire::sasl_handshake::SaslHandshakeRequest>($($arg),*)
            }
            ApiKey::SaslAuthenticate => {
                $function::<wire::sasl_authenticate::SaslAuthenticateRequest>($($arg),*)
            }
            ApiKey::ApiVersions => $function::<wire::api_versions::ApiVersionsRequest>($($arg),*),
            ApiKey::CreateTopics => {
                $function::<wire::create_topics::CreateTopicsRequest>($($arg),*)
            }
            ApiKey::DeleteTopics => {
                $function::<wire::delete_topics::DeleteTopicsRequest>($($arg),*)
            }
            ApiKey::DeleteRecords => {
                $function::<wire::delete_records::DeleteRecordsRequest>($($arg),*)
            }
            ApiKey::InitProducerId => {
                $function::<wire::init_producer_id::InitProducerIdRequest>($($arg),*)
            }
            ApiKey::OffsetForLeaderEpoch => {
                $function::<wire::offset_for_leader_epoch::OffsetForLeaderEpochRequest>($($arg),*)
            }
            ApiKey::DescribeAcls => {
                $function::<wire::describe_acls::DescribeAclsRequest>($($arg),*)
            }
            ApiKey::CreateAcls => $function::<wire::create_acls::CreateAclsRequest>($($arg),*),
            ApiKey::DeleteAcls => $function::<wire::delete_acls::DeleteAclsRequest>($($arg),*),
            ApiKey::DescribeConfigs => {
                $function::<wire::describe_configs::DescribeConfigsRequest>($($arg),*)
            }
            ApiKey::AlterConfigs => {
                $function::<wire::alter_configs::AlterConfigsRequest>($($arg),*)
            }
            ApiKey::DescribeLogDirs => {
                $function::<wire::describe_log_dirs::DescribeLogDirsRequest>($($arg),*)
            }
            ApiKey::CreatePartitions => {
                $function::<wire::create_partitions::CreatePartitionsRequest>($($arg),*)
            }
            ApiKey::DeleteGroups => {
                $function::<wire::delete_groups::DeleteGroupsRequest>($($arg),*)
            }
            ApiKey::IncrementalAlterConfigs => {
                $function::<wire::incremental_alter_configs::IncrementalAlterConfigsRequest>(
                    $($arg),*
                )
            }
            ApiKey::AlterPartitionReassignments => {
                $function::<wire::alter_partition_reassignments::AlterPartitionReassignmentsRequest>(
                    $($arg),*
                )
            }
            ApiKey::ListPartitionReassignments => {
                $function::<wire::list_partition_reassignments::ListPartitionReassignmentsRequest>(
                    $($arg),*
                )
            }
            ApiKey::OffsetDelete => {
                $function::<wire::offset_delete::OffsetDeleteRequest>($($arg),*)
            }
            ApiKey::DescribeCluster => {
                $function::<wire::describe_cluster::DescribeClusterRequest>($($arg),*)
            }
        }
    };
}

pub(crate) use for_api;
