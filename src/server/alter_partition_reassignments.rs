//! AlterPartitionReassignments: every partition is on the one broker, and may be moved to that.
//! Versions 0 and 1.

use super::answer::{Client, Handle, Outcome, Server};
use crate::wire::ErrorCode;
use crate::wire::alter_partition_reassignments::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse, ReassignablePartition,
    ReassignablePartitionResponse, ReassignableTopicResponse,
};

impl Handle for AlterPartitionReassignmentsRequest {
    fn refuse(
        self,
        _: &Client,
        _: i16,
        error_code: ErrorCode,
    ) -> Outcome<AlterPartitionReassignmentsResponse> {
        Outcome::Response(AlterPartitionReassignmentsResponse {
            error_code,
            error_message: Some(error_code.to_string()),
            ..AlterPartitionReassignmentsResponse::default()
        })
    }

    async fn start(
        self,
        client: Client,
        _version: i16,
    ) -> Outcome<AlterPartitionReassignmentsResponse> {
        let responses = self.topics.into_iter().map(|topic| {
            let moved = topic.partitions.into_iter();
            let moved = moved.map(|it| moved_to(&client.server, &topic.name, it));
            let partitions = moved.collect();
            ReassignableTopicResponse { name: topic.name, partitions }
        });
        Outcome::Response(AlterPartitionReassignmentsResponse {
            allow_replication_factor_change: self.allow_replication_factor_change,
            responses: responses.collect(),
            ..AlterPartitionReassignmentsResponse::default()
        })
    }
}

fn moved_to(
    server: &Server,
    topic: &str,
    asked: ReassignablePartition,
) -> ReassignablePartitionResponse {
    let ReassignablePartition { partition_index, replicas } = asked;
    let here = server.settings().node_id;
    let refusal = match replicas {
        _ if server.partition(topic, partition_index).is_err() => {
            let text = format!("there is no partition {partition_index} of {topic:?}");
            Some((ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, text))
        }
        None => {
            let text = "no partition is being moved".to_owned();
            Some((ErrorCode::NO_REASSIGNMENT_IN_PROGRESS, text))
        }
        Some(replicas) if replicas != [here] => {
            let text = format!("broker {here} is the only one, not {replicas:?}");
            Some((ErrorCode::INVALID_REPLICA_ASSIGNMENT, text))
        }
        Some(_) => None,
    };
    let (error_code, error_message) = match refusal {
        Some((code, why)) => (code, Some(why)),
        None => (ErrorCode::NONE, None),
    };
    ReassignablePartitionResponse { partition_index, error_code, error_message }
}
