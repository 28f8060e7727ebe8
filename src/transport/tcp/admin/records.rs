//! DeleteRecords: records before an offset go.

use super::seen;
use super::topics::silent;
use crate::error::{Error, Result};
use crate::topic::TopicPartition;
use crate::transport::OffsetSpec;
use crate::transport::tcp::cluster::Cluster;
use crate::transport::tcp::errors::of_code;
use crate::transport::tcp::offsets;
use crate::transport::tcp::settings::millis;
use crate::wire::delete_records::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic,
};
use crate::wire::{ApiKey, ErrorCode};

/// The offset that means the high watermark.
const HIGH_WATERMARK: i64 = -1;

/// Returns where the log begins then.
pub(super) async fn delete(cluster: &Cluster, at: &TopicPartition, before: i64) -> Result<i64> {
    let what = format!("deleting records of {at}");
    // Whether it is there is asked first: for what follows it would be created.
    let seen = cluster.until_done(&what, || seen::existing(cluster, &at.topic)).await?;
    seen.check(at)?;
    // A second attempt is not to delete what has come since the first.
    let offset = match before {
        HIGH_WATERMARK => {
            let end = offsets::list(cluster, at, OffsetSpec::Latest).await?;
            end.offset.unwrap_or(HIGH_WATERMARK)
        }
        offset => offset,
    };
    match cluster.until_done(&what, || delete_once(cluster, at, offset, &what)).await? {
        Some(start) => Ok(start),
        None => Err(Error::OffsetOutOfRange {
            at: at.clone(),
            offset,
            log_start_offset: end_of(cluster, at, OffsetSpec::Earliest).await?,
            log_end_offset: end_of(cluster, at, OffsetSpec::Latest).await?,
        }),
    }
}

async fn end_of(cluster: &Cluster, at: &TopicPartition, spec: OffsetSpec) -> Result<i64> {
    Ok(offsets::list(cluster, at, spec).await?.offset.unwrap_or(0))
}

/// `None` for an offset out of range: as an error, it would be tried again.
async fn delete_once(
    cluster: &Cluster,
    at: &TopicPartition,
    offset: i64,
    what: &str,
) -> Result<Option<i64>> {
    let seen = seen::existing(cluster, &at.topic).await?;
    let (address, _) = seen.leader(at)?;
    let connection = cluster.pool.get(address).await?;
    let version = connection.version(ApiKey::DeleteRecords, i16::MAX)?;
    let patience = cluster.settings.request_timeout;
    let partition = DeleteRecordsPartition { partition_index: at.partition, offset };
    let topic = DeleteRecordsTopic { name: at.topic.to_string(), partitions: vec![partition] };
    let request = DeleteRecordsRequest { topics: vec![topic], timeout_ms: millis(patience) };
    let response = connection.start(&request, version, patience)?.await_it().await?;
    let mut told = response.topics.into_iter().flat_map(|topic| topic.partitions);
    let told = told.find(|it| it.partition_index == at.partition).ok_or_else(|| silent(what))?;
    match told.error_code {
        ErrorCode::NONE => Ok(Some(told.low_watermark)),
        ErrorCode::OFFSET_OUT_OF_RANGE => Ok(None),
        ErrorCode::POLICY_VIOLATION => Err(Error::InvalidState(format!(
            "records of {at} can't be deleted: its topic is compacted, and nothing else \
             (cleanup.policy), or its broker only reads"
        ))),
        code => Err(of_code(code, what, None)),
    }
}
