//! What one broker, without an authorizer, says of access lists and of moving replicas.

use ottla::wire::alter_partition_reassignments::{
    AlterPartitionReassignmentsRequest, ReassignablePartition, ReassignableTopic,
};
use ottla::wire::create_acls::{AclCreation, CreateAclsRequest};
use ottla::wire::delete_acls::{DeleteAclsFilter, DeleteAclsRequest};
use ottla::wire::describe_acls::DescribeAclsRequest;
use ottla::wire::list_partition_reassignments::{
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsTopics,
};
use ottla::wire::{ApiKey, ErrorCode};

use super::targets;

/// Kafka's numbers.
const ANY: i8 = 1;
const TOPIC: i8 = 2;
const LITERAL: i8 = 3;
const READ: i8 = 3;
const ALLOW: i8 = 3;

#[tokio::test]
async fn there_are_no_access_lists() {
    for target in targets("acls").await {
        let mut client = target.client().await;
        for version in ApiKey::DescribeAcls.versions() {
            let request = DescribeAclsRequest {
                resource_type_filter: ANY,
                pattern_type_filter: ANY,
                operation: ANY,
                permission_type: ANY,
                ..DescribeAclsRequest::default()
            };
            let told = client.ask(&request, version).await;
            assert_eq!(told.error_code, ErrorCode::SECURITY_DISABLED, "version {version}");
            assert!(told.error_message.is_some() && told.resources.is_empty(), "{told:?}");
        }
        let creation = AclCreation {
            resource_type: TOPIC,
            resource_name: target.topic.clone(),
            resource_pattern_type: LITERAL,
            principal: "User:alice".to_owned(),
            host: "*".to_owned(),
            operation: READ,
            permission_type: ALLOW,
        };
        let request = CreateAclsRequest { creations: vec![creation.clone(), creation] };
        for version in ApiKey::CreateAcls.versions() {
            let told = client.ask(&request, version).await;
            let codes: Vec<_> = told.results.iter().map(|it| it.error_code).collect();
            assert_eq!(codes, [ErrorCode::SECURITY_DISABLED; 2], "version {version}");
        }
        let filter = DeleteAclsFilter {
            resource_type_filter: TOPIC,
            pattern_type_filter: LITERAL,
            operation: READ,
            permission_type: ALLOW,
            ..DeleteAclsFilter::default()
        };
        let request = DeleteAclsRequest { filters: vec![filter] };
        for version in ApiKey::DeleteAcls.versions() {
            let told = client.ask(&request, version).await;
            let [result] = &told.filter_results[..] else { panic!("{told:?}") };
            assert_eq!(result.error_code, ErrorCode::SECURITY_DISABLED, "version {version}");
            assert_eq!(result.matching_acls, []);
        }
    }
}

#[tokio::test]
async fn partitions_move_nowhere() {
    for target in targets("moves").await {
        let (topic, mut client) = (&target.topic, target.with_topic(&[]).await);
        let partition = |partition_index, replicas: Option<&[i32]>| ReassignablePartition {
            partition_index,
            replicas: replicas.map(<[i32]>::to_vec),
        };
        for version in ApiKey::AlterPartitionReassignments.versions() {
            for (asked, code) in [
                (partition(0, Some(&[1])), ErrorCode::NONE),
                (partition(0, None), ErrorCode::NO_REASSIGNMENT_IN_PROGRESS),
                (partition(0, Some(&[2])), ErrorCode::INVALID_REPLICA_ASSIGNMENT),
                (partition(0, Some(&[1, 1])), ErrorCode::INVALID_REPLICA_ASSIGNMENT),
                (partition(0, Some(&[])), ErrorCode::INVALID_REPLICA_ASSIGNMENT),
                (partition(7, Some(&[1])), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
                (partition(7, None), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
            ] {
                let about = format!("version {version}: {asked:?}");
                let topics =
                    vec![ReassignableTopic { name: topic.clone(), partitions: vec![asked] }];
                let request = AlterPartitionReassignmentsRequest { topics, ..Default::default() };
                let told = client.ask(&request, version).await;
                assert_eq!(told.error_code, ErrorCode::NONE, "{about}");
                let result = &told.responses[0].partitions[0];
                assert_eq!(result.error_code, code, "{about}: {result:?}");
            }
        }
        let named =
            ListPartitionReassignmentsTopics { name: topic.clone(), partition_indexes: vec![0, 7] };
        let unknown = ListPartitionReassignmentsTopics {
            name: "nowhere".to_owned(),
            partition_indexes: vec![0],
        };
        for topics in [None, Some(Vec::new()), Some(vec![named, unknown])] {
            let request = ListPartitionReassignmentsRequest { topics, ..Default::default() };
            let told = client.ask(&request, 0).await;
            assert_eq!((told.error_code, &told.topics[..]), (ErrorCode::NONE, &[][..]));
        }
    }
}
