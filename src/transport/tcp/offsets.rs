//! ListOffsets: the offset of a place in a partition's log.

use super::cluster::Cluster;
use super::errors::of_code;
use crate::error::{Error, Result};
use crate::topic::TopicPartition;
use crate::transport::{ListedOffset, OffsetSpec};
use crate::wire::ErrorCode;
use crate::wire::list_offsets::{
    EARLIEST, LATEST, ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};

/// Asks the partition's leader, whoever that turns out to be.
pub(super) async fn list(
    cluster: &Cluster,
    at: &TopicPartition,
    spec: OffsetSpec,
) -> Result<ListedOffset> {
    let known = cluster.topic(&at.topic, false).await?;
    if !(0..known.partitions).contains(&at.partition) {
        return Err(cluster.unknown_partition(at));
    }
    let what = format!("looking up an offset of {at}");
    cluster.until_done(&what, || ask(cluster, at, spec, &what)).await
}

async fn ask(
    cluster: &Cluster,
    at: &TopicPartition,
    spec: OffsetSpec,
    what: &str,
) -> Result<ListedOffset> {
    let (connection, current_leader_epoch) = cluster.leader_in(&cluster.pool, at).await?;
    let timestamp = match spec {
        OffsetSpec::Earliest => EARLIEST,
        OffsetSpec::Latest => LATEST,
        // Below are places, not times.
        OffsetSpec::Timestamp(timestamp) => timestamp.as_millis().max(0),
    };
    let partition =
        ListOffsetsPartition { partition_index: at.partition, current_leader_epoch, timestamp };
    let topic = ListOffsetsTopic { name: at.topic.to_string(), partitions: vec![partition] };
    let request = ListOffsetsRequest { topics: vec![topic], ..ListOffsetsRequest::default() };
    let response = connection.ask(&request).await?;
    let mut told = response.topics.into_iter().flat_map(|topic| topic.partitions);
    let Some(told) = told.find(|it| it.partition_index == at.partition) else {
        let error = ErrorCode::UNKNOWN_SERVER_ERROR;
        return Err(of_code(error, what, Some("the answer says nothing of it")));
    };
    match told.error_code {
        ErrorCode::NONE => Ok(ListedOffset {
            offset: Some(told.offset).filter(|offset| *offset >= 0),
            leader_epoch: told.leader_epoch,
        }),
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
            if cluster.known_topic(at.topic.as_str()).is_none() =>
        {
            Err(Error::UnknownTopic { topic: at.topic.to_string() })
        }
        error => Err(of_code(error, what, None)),
    }
}
