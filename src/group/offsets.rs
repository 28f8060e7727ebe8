//! How far a group has come in each partition.

use std::collections::BTreeMap;

use crate::topic::{TopicId, TopicPartition};

/// The longest metadata that a commit may carry (`offset.metadata.max.bytes`).
pub(crate) const MAX_METADATA: usize = 4096;

/// A group's place in one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CommittedOffset {
    /// The next offset to consume.
    pub offset: i64,
    /// The leader epoch of the record before it; -1 if unknown.
    pub leader_epoch: i32,
    /// Whatever the member wants to remember.
    pub metadata: String,
    /// When it was committed, in milliseconds since 1970 by the committer's clock.
    pub timestamp: i64,
    /// The life of the topic that it was committed for, if the committer knew.
    pub topic_id: Option<TopicId>,
}

impl CommittedOffset {
    /// An offset without an epoch or metadata.
    pub(crate) fn new(offset: i64, timestamp: i64, topic_id: TopicId) -> Self {
        let (metadata, topic_id) = (String::new(), Some(topic_id));
        CommittedOffset { offset, leader_epoch: -1, metadata, timestamp, topic_id }
    }
}

/// What a group has committed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Offsets {
    by_partition: BTreeMap<TopicPartition, CommittedOffset>,
    /// What it takes.
    bytes: usize,
}

/// What an offset takes.
pub(super) fn size_of_offset(offset: &CommittedOffset) -> usize {
    size_of::<TopicPartition>() + size_of::<CommittedOffset>() + offset.metadata.len()
}

impl Offsets {
    pub(crate) fn insert(&mut self, at: TopicPartition, offset: CommittedOffset) {
        self.bytes += size_of_offset(&offset);
        let former = self.by_partition.insert(at, offset);
        self.bytes -= former.as_ref().map_or(0, size_of_offset);
    }

    pub(crate) fn remove(&mut self, at: &TopicPartition) {
        let former = self.by_partition.remove(at);
        self.bytes -= former.as_ref().map_or(0, size_of_offset);
    }

    pub(crate) fn get(&self, at: &TopicPartition) -> Option<&CommittedOffset> {
        self.by_partition.get(at)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&TopicPartition, &CommittedOffset)> {
        self.by_partition.iter()
    }

    /// What it takes.
    pub(super) fn size(&self) -> usize {
        self.bytes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_partition.is_empty()
    }

    /// The partitions whose offsets have not been committed since `before` (milliseconds), apart
    /// from topics that are `subscribed` to.
    pub(crate) fn older_than(
        &self,
        before: i64,
        subscribed: impl Fn(&str) -> bool,
    ) -> Vec<TopicPartition> {
        let old = self.by_partition.iter().filter(|(at, committed)| {
            committed.timestamp <= before && !subscribed(at.topic.as_str())
        });
        old.map(|(at, _)| at.clone()).collect()
    }
}
