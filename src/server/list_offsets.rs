//! ListOffsets: the offset of a time. Versions 1 to 10.

use std::future::poll_fn;
use std::time::Duration;

use tokio::time::timeout;

use super::answer::{Client, Handle, Outcome};
use super::errors::code_of;
use super::fetch::check_leader_epoch;
use crate::error::Error;
use crate::log::FoundOffset;
use crate::partition::Partition;
use crate::partition::ready::ReadyQueue;
use crate::wire::ErrorCode;
use crate::wire::list_offsets::{
    EARLIEST, EARLIEST_LOCAL, LATEST, LATEST_TIERED, ListOffsetsPartition,
    ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse,
    ListOffsetsTopicResponse, MAX_TIMESTAMP,
};

/// How long to wait for a record with the latest timestamp that is just being synced.
const SYNC_WAIT: Duration = Duration::from_secs(10);

impl Handle for ListOffsetsRequest {
    fn refuse(self, _: &Client, _: i16, error: ErrorCode) -> Outcome<ListOffsetsResponse> {
        let topics = self.topics.into_iter().map(|topic| {
            let all = topic.partitions.iter();
            let partitions = all.map(|asked| refused(asked.partition_index, error)).collect();
            ListOffsetsTopicResponse { name: topic.name, partitions }
        });
        let topics = topics.collect();
        Outcome::Response(ListOffsetsResponse { topics, throttle_time_ms: 0 })
    }

    async fn start(self, client: Client, version: i16) -> Outcome<ListOffsetsResponse> {
        answer(self, client, version).await
    }
}

async fn answer(
    request: ListOffsetsRequest,
    client: Client,
    version: i16,
) -> Outcome<ListOffsetsResponse> {
    let mut topics = Vec::new();
    for topic in request.topics {
        let mut partitions = Vec::new();
        for asked in topic.partitions {
            let partition_index = asked.partition_index;
            let found = list(&client, &topic.name, asked, version).await;
            partitions.push(found.unwrap_or_else(|error| refused(partition_index, error)));
        }
        topics.push(ListOffsetsTopicResponse { name: topic.name, partitions });
    }
    Outcome::Response(ListOffsetsResponse { topics, throttle_time_ms: 0 })
}

fn refused(partition_index: i32, error_code: ErrorCode) -> ListOffsetsPartitionResponse {
    ListOffsetsPartitionResponse { partition_index, error_code, ..Default::default() }
}

async fn list(
    client: &Client,
    topic: &str,
    asked: ListOffsetsPartition,
    version: i16,
) -> Result<ListOffsetsPartitionResponse, ErrorCode> {
    if version < first_version(asked.timestamp) {
        return Err(ErrorCode::UNSUPPORTED_VERSION);
    }
    let partition_index = asked.partition_index;
    let partition = client.server.partition(topic, partition_index);
    let partition = partition.map_err(|error| code_of(&error))?;
    check_leader_epoch(&partition, asked.current_leader_epoch)?;
    let none = ListOffsetsPartitionResponse { partition_index, ..Default::default() };
    let reader = partition.reader();
    let at = |offset: i64| ListOffsetsPartitionResponse {
        offset,
        leader_epoch: reader.epoch_at(offset).max(0),
        ..none.clone()
    };
    let found = match asked.timestamp {
        EARLIEST | EARLIEST_LOCAL => return Ok(at(reader.log_start_offset())),
        // All that is visible is committed: the last stable offset is the high watermark.
        LATEST => return Ok(at(reader.last_stable_offset())),
        LATEST_TIERED => return Ok(none),
        MAX_TIMESTAMP => match latest_visible(client, &partition).await {
            Some(timestamp) => search(&partition, timestamp).await?,
            None => None,
        },
        timestamp => search(&partition, timestamp).await?,
    };
    Ok(match found {
        Some(FoundOffset { offset, timestamp, leader_epoch }) => {
            ListOffsetsPartitionResponse { offset, timestamp, leader_epoch, ..none }
        }
        None => none,
    })
}

/// The version that a time came with; no version has the others below 0.
fn first_version(timestamp: i64) -> i16 {
    match timestamp {
        LATEST | EARLIEST | 0.. => 1,
        MAX_TIMESTAMP => 7,
        EARLIEST_LOCAL => 8,
        LATEST_TIERED => 9,
        _ => i16::MAX,
    }
}

/// The latest timestamp, once its record is visible.
async fn latest_visible(client: &Client, partition: &Partition) -> Option<i64> {
    let (timestamp, offset) = partition.reader().latest_timestamp()?;
    let ready = ReadyQueue::new();
    partition.notify_beyond(offset, &ready, 0);
    let mut closing = client.closing.clone();
    let visible = async {
        tokio::select! {
            biased;
            () = closing.closed() => {}
            _ = poll_fn(|cx| ready.poll_pop(cx)) => {}
        }
    };
    // Whether it came or not, what can be found is looked for.
    let _ = timeout(SYNC_WAIT, visible).await;
    partition.forget(&ready, 0);
    Some(timestamp)
}

async fn search(partition: &Partition, timestamp: i64) -> Result<Option<FoundOffset>, ErrorCode> {
    let reader = partition.reader().clone();
    let look = move || reader.offset_for_timestamp(timestamp);
    let found = match partition.may_block() {
        true => partition.run_beside(look).await.map_err(|error| code_of(&error))?,
        false => look(),
    };
    found.map_err(|error| code_of(&Error::read(partition.at(), error)))
}
