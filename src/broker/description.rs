//! What there is to tell about topics.

use crate::topic::{TopicId, TopicName};

use super::core::Topic;
use super::settings::{Durability, TopicConfig};

/// What there is to know about a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicDescription {
    /// Its name.
    pub name: TopicName,
    /// Its id, which a topic of the same name created later does not share.
    pub id: TopicId,
    /// What acknowledged records survive. Of Apache Kafka's topics this is `Power` with
    /// `flush.messages=1`, else `Process`, for each of their replicas.
    pub durability: Durability,
    /// What was set for it, by itself or by the broker's defaults when it was created; everything
    /// else is at Kafka's default. Over the network, without settings that only Apache Kafka has:
    /// [`describe_configs`](crate::admin::Admin::describe_configs) tells them, too.
    pub config: TopicConfig,
    /// Its partitions, in order.
    pub partitions: Vec<PartitionDescription>,
}

/// What there is to know about a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct PartitionDescription {
    /// Its number.
    pub partition: i32,
    /// The first offset there is.
    pub log_start_offset: i64,
    /// The offset before which records are visible.
    pub high_watermark: i64,
    /// The offset that the next record gets; over the network, the high watermark.
    pub log_end_offset: i64,
    /// The latest leader epoch; -1 before the first record.
    pub leader_epoch: i32,
    /// Bytes in its segments; 0 where a broker on the network does not tell.
    pub size_bytes: u64,
    /// How many segments there are; 0 over the network, where nobody tells.
    pub segments: usize,
}

impl Topic {
    pub(crate) fn describe(&self) -> TopicDescription {
        let partitions = self.partitions.iter().zip(0..).map(|(it, partition)| {
            let reader = it.reader();
            PartitionDescription {
                partition,
                log_start_offset: reader.log_start_offset(),
                high_watermark: reader.high_watermark(),
                log_end_offset: reader.log_end_offset(),
                leader_epoch: reader.leader_epoch(),
                size_bytes: reader.size(),
                segments: reader.segment_count(),
            }
        });
        TopicDescription {
            name: self.name.clone(),
            id: self.id(),
            durability: self.entry.durability,
            config: self.entry.config.clone(),
            partitions: partitions.collect(),
        }
    }
}
