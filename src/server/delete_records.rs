//! DeleteRecords: records before an offset go. Versions 0 to 2.

use super::answer::{Client, Handle, Outcome, Server};
use super::errors::code_of;
use crate::broker::check_not_internal;
use crate::wire::ErrorCode;
use crate::wire::delete_records::{
    DeleteRecordsPartition, DeleteRecordsPartitionResult, DeleteRecordsRequest,
    DeleteRecordsResponse, DeleteRecordsTopicResult,
};

impl Handle for DeleteRecordsRequest {
    fn refuse(self, _: &Client, _: i16, error: ErrorCode) -> Outcome<DeleteRecordsResponse> {
        let topics = self.topics.into_iter().map(|topic| {
            let all = topic.partitions.iter();
            let partitions = all.map(|it| result(it.partition_index, Err(error))).collect();
            DeleteRecordsTopicResult { name: topic.name, partitions }
        });
        told(topics.collect())
    }

    async fn start(self, client: Client, _version: i16) -> Outcome<DeleteRecordsResponse> {
        let mut topics: Vec<DeleteRecordsTopicResult> = Vec::new();
        for topic in self.topics {
            let mut partitions = Vec::new();
            for asked in topic.partitions {
                let deleted = delete(&client.server, &topic.name, &asked).await;
                partitions.push(result(asked.partition_index, deleted));
            }
            topics.push(DeleteRecordsTopicResult { name: topic.name, partitions });
        }
        told(topics)
    }
}

fn told(topics: Vec<DeleteRecordsTopicResult>) -> Outcome<DeleteRecordsResponse> {
    Outcome::Response(DeleteRecordsResponse { topics, throttle_time_ms: 0 })
}

fn result(partition_index: i32, deleted: Result<i64, ErrorCode>) -> DeleteRecordsPartitionResult {
    DeleteRecordsPartitionResult {
        partition_index,
        low_watermark: deleted.unwrap_or(-1),
        error_code: deleted.err().unwrap_or(ErrorCode::NONE),
    }
}

/// The offset at which the partition begins now.
async fn delete(
    server: &Server,
    topic: &str,
    asked: &DeleteRecordsPartition,
) -> Result<i64, ErrorCode> {
    let partition = server.partition(topic, asked.partition_index);
    let partition = partition.map_err(|error| code_of(&error))?;
    let at = partition.at();
    if check_not_internal(&at.topic).is_err() {
        return Err(ErrorCode::INVALID_TOPIC_EXCEPTION);
    }
    let topic = server.core().topic(topic);
    if topic.is_some_and(|topic| !topic.log_config.cleanup_policy.deletes()) {
        return Err(ErrorCode::POLICY_VIOLATION);
    }
    let deleted = server.broker().delete_records(at, asked.offset).await;
    deleted.map_err(|error| code_of(&error))
}
