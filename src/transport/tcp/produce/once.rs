//! Sending one batch once, for somebody who numbers batches, and tries again, by itself.

use bytes::Bytes;

use super::answers::{by_partition, fate, refusal};
use super::put;
use super::queue::Fate;
use crate::error::{Error, Result};
use crate::topic::{TopicId, TopicPartition};
use crate::transport::Produced;
use crate::transport::tcp::cluster::Cluster;
use crate::transport::tcp::errors::may_pass;
use crate::transport::tcp::pool::Pool;
use crate::transport::tcp::settings::millis;
use crate::wire::ApiKey;
use crate::wire::produce::{PartitionProduceResponse, ProduceRequest};

/// Sends it to the partition's leader, over a connection of `pool`: an answer may take as long as
/// replicas do.
pub(in crate::transport::tcp) async fn once(
    cluster: &Cluster,
    pool: &Pool,
    at: &TopicPartition,
    topic_id: TopicId,
    batch: Bytes,
) -> Produced {
    let known = cluster.known_topic(at.topic.as_str());
    if known.is_none_or(|known| known.id != topic_id) {
        return Produced::Failed(Error::UnknownTopic { topic: at.topic.to_string() });
    }
    match ask(cluster, pool, at, batch).await {
        Ok(Some(said)) => match fate(cluster, at, &said) {
            Fate::Appended(told) => {
                let base_offset = Some(told.base_offset).filter(|offset| *offset >= 0);
                Produced::Appended { base_offset }
            }
            Fate::OutOfSequence => Produced::OutOfSequence(refusal(at, &said)),
            Fate::Forgotten => Produced::Fenced(refusal(at, &said)),
            Fate::TooLarge(error) => Produced::TooLarge(error),
            Fate::Again | Fate::Unknown => Produced::Again(refusal(at, &said)),
            Fate::Failed(error) => Produced::Failed(error),
        },
        Ok(None) => {
            let text = format!("a broker's answer says nothing of {at}");
            Produced::Again(Error::InvalidState(text))
        }
        Err(error) => {
            cluster.nudge();
            if may_pass(&error) { Produced::Again(error) } else { Produced::Failed(error) }
        }
    }
}

/// What the leader says of the batch, if anything.
async fn ask(
    cluster: &Cluster,
    pool: &Pool,
    at: &TopicPartition,
    batch: Bytes,
) -> Result<Option<PartitionProduceResponse>> {
    let (connection, _) = cluster.leader_in(pool, at).await?;
    let version = connection.version(ApiKey::Produce, i16::MAX)?;
    let mut topic_data = Vec::new();
    put(&mut topic_data, at, batch);
    let patience = cluster.settings.request_timeout;
    let request = ProduceRequest {
        transactional_id: None,
        acks: -1,
        timeout_ms: millis(patience),
        topic_data,
    };
    let response = connection.start(&request, version, patience)?.await_it().await?;
    let mut told = by_partition(response).into_iter();
    let of_it = |topic: &str, index: i32| topic == at.topic.as_str() && index == at.partition;
    Ok(told.find(|(topic, said)| of_it(topic, said.index)).map(|(_, said)| said))
}
