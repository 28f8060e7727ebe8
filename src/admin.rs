//! [`Admin`]: looking after topics, their records and consumer groups.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::broker::{ConfigEntry, TopicConfig, TopicDescription};
use crate::error::Result;
use crate::group::{CommittedOffset, GroupDescription};
use crate::topic::{TopicName, TopicPartition};
use crate::transport::{OffsetSpec, Transport};

/// Looks after topics, their records and consumer groups. Cheap to clone.
///
/// ```
/// use ottla::{Broker, OffsetSpec, Record, TopicConfig, TopicPartition};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> ottla::Result<()> {
/// let broker = Broker::in_memory().await?;
/// let admin = broker.admin();
/// admin.create_topic("orders", TopicConfig::new().partitions(2)).await?;
/// admin.alter_configs("orders", [("retention.ms", Some("3600000"))]).await?;
/// admin.create_partitions("orders", 4).await?;
///
/// let producer = broker.producer().build();
/// for n in 0..10 {
///     producer.send(Record::to("orders").partition(3).value(n.to_string())).await?;
/// }
/// // Let the group "billing" begin with what is to come.
/// admin.reset_group_offsets("billing", ["orders"], OffsetSpec::Latest).await?;
/// let at = TopicPartition::new("orders", 3)?;
/// assert_eq!(admin.group_offsets("billing").await?[&at].offset, 10);
/// assert_eq!(admin.delete_records(&at, 4).await?, 4);
/// # Ok(())
/// # }
/// ```
///
/// All methods are cancel safe: dropped before they return, what was asked for may have happened.
/// Any returns [`Error::Closed`](crate::Error::Closed) once the broker is closed.
#[derive(Debug, Clone)]
pub struct Admin {
    transport: Arc<dyn Transport>,
}

/// Topics.
impl Admin {
    pub(crate) fn new(transport: Arc<dyn Transport>) -> Self {
        Admin { transport }
    }

    /// Creates a topic. On disk it is durable when this returns.
    ///
    /// # Errors
    /// `InvalidTopic`; `TopicAlreadyExists`, also for a name that differs only in `.` against
    /// `_`; `InvalidPartitions`; `InvalidConfig`, which lists what is allowed.
    pub async fn create_topic(&self, name: &str, config: TopicConfig) -> Result<TopicDescription> {
        self.transport.admin().create_topic(TopicName::parse(name)?, config).await
    }

    /// Deletes a topic with its records, and what groups have committed for it. Consumers of it
    /// get `UnknownTopic`.
    ///
    /// # Errors
    /// `UnknownTopic`. `Io` if it is deleted, but not all of its files are gone: that is tried
    /// again from time to time. `StorageFull` where even the space that its records give back is
    /// too little to write that down: the topic is closed then, and empty when it is opened again.
    pub async fn delete_topic(&self, name: &str) -> Result<()> {
        self.transport.admin().delete_topic(TopicName::parse(name)?).await
    }

    /// The names of all topics, sorted; not of those that the broker has for itself.
    pub async fn topics(&self) -> Result<Vec<TopicName>> {
        self.transport.admin().topics().await
    }

    /// A topic as it is now: partitions, offsets, sizes.
    pub async fn describe_topic(&self, name: &str) -> Result<TopicDescription> {
        self.transport.admin().describe_topic(TopicName::parse(name)?).await
    }

    /// Adds partitions, so that the topic has `total`. Producers and consumers notice by
    /// themselves. Records of one key that come after it may go to another partition than those
    /// before: their order is kept within a partition only.
    ///
    /// # Errors
    /// `InvalidPartitions` unless `total` is more than there are, and 100,000 at most.
    pub async fn create_partitions(&self, topic: &str, total: i32) -> Result<()> {
        self.transport.admin().create_partitions(TopicName::parse(topic)?, total).await
    }

    /// All settings of a topic: what is in effect, who says so, what would be otherwise.
    pub async fn describe_configs(&self, topic: &str) -> Result<Vec<ConfigEntry>> {
        self.transport.admin().describe_configs(TopicName::parse(topic)?).await
    }

    /// Changes settings, by Kafka's names; `None` puts one back to what a new topic would get. All
    /// change, or none does. They hold for whatever is appended after this returns; retention and
    /// compaction go by them at their next look.
    ///
    /// # Errors
    /// `InvalidConfig`, which lists the names, or the values allowed.
    pub async fn alter_configs(
        &self,
        topic: &str,
        changes: impl IntoIterator<Item = (impl Into<String>, Option<impl Into<String>>)>,
    ) -> Result<()> {
        let changes = changes.into_iter().map(|(name, value)| (name.into(), value.map(Into::into)));
        let changes = changes.collect();
        self.transport.admin().alter_configs(TopicName::parse(topic)?, changes).await
    }
}

/// Records and offsets.
impl Admin {
    /// Deletes the records before an offset, which may stand inside of a batch; -1 is the high
    /// watermark. Returns the offset of the first record that is left, or will come. What groups
    /// have committed stays as it is: a member that begins before it gets `OffsetOutOfRange`, and
    /// goes by its `out_of_range` setting.
    ///
    /// # Errors
    /// `OffsetOutOfRange` beyond the high watermark; `InvalidState` for a topic that is only
    /// compacted; `UnknownTopic`, `UnknownPartition`. `StorageFull` where even the space that whole
    /// segments before the offset give back is too little to write it down: those are gone then.
    pub async fn delete_records(&self, at: &TopicPartition, before: i64) -> Result<i64> {
        self.transport.admin().delete_records(at, before).await
    }

    /// The offset that `spec` means in each partition; `None` where no record is so late.
    ///
    /// # Errors
    /// `UnknownTopic`, `UnknownPartition`; what keeps the log from being read.
    pub async fn list_offsets(
        &self,
        partitions: &[TopicPartition],
        spec: OffsetSpec,
    ) -> Result<BTreeMap<TopicPartition, Option<i64>>> {
        let mut offsets = BTreeMap::new();
        for at in partitions {
            offsets.insert(at.clone(), self.transport.list_offset(at, spec).await?.offset);
        }
        Ok(offsets)
    }
}

/// Consumer groups. Errors that a group answers are [`Error::Group`](crate::Error::Group), with a
/// [`GroupError`](crate::GroupError): `GroupIdNotFound` where there is no such group.
impl Admin {
    /// The names of all groups that have members or offsets.
    pub async fn groups(&self) -> Result<Vec<String>> {
        self.transport.admin().groups().await
    }

    /// A group as it is now, with its members and what they are assigned.
    pub async fn describe_group(&self, group: &str) -> Result<GroupDescription> {
        self.transport.admin().describe_group(group).await
    }

    /// Puts a static member out of its group, by its instance id: otherwise it keeps its place for
    /// 45 s after it was closed, or its broker. One that is there joins again by itself.
    ///
    /// # Errors
    /// `UnknownMember`.
    pub async fn remove_member(&self, group: &str, instance_id: &str) -> Result<()> {
        self.transport.admin().remove_member(group, instance_id).await
    }

    /// Deletes a group with its offsets.
    ///
    /// # Errors
    /// `NonEmptyGroup` while it has members.
    pub async fn delete_group(&self, group: &str) -> Result<()> {
        self.transport.admin().delete_group(group).await
    }

    /// What a group has committed, where it has.
    pub async fn group_offsets(
        &self,
        group: &str,
    ) -> Result<BTreeMap<TopicPartition, CommittedOffset>> {
        Ok(self.transport.admin().group_offsets(group).await?.into_iter().collect())
    }

    /// How many records a group has yet to consume, in each partition for which it has committed.
    pub async fn group_lag(&self, group: &str) -> Result<BTreeMap<TopicPartition, i64>> {
        let mut lag = BTreeMap::new();
        for (at, committed) in self.group_offsets(group).await? {
            let end = self.transport.list_offset(&at, OffsetSpec::Latest).await?;
            let left = end.offset.unwrap_or(0).saturating_sub(committed.offset);
            lag.insert(at, left.max(0));
        }
        Ok(lag)
    }

    /// Sets the offsets of a group without members, which is created if it is not there. Any
    /// offset from 0 on is taken; whether there are records is found out by whoever begins there.
    ///
    /// # Errors
    /// `NonEmptyGroup` while it has members; `UnknownTopic`, `UnknownPartition`; `InvalidState`
    /// for an offset below 0.
    pub async fn alter_group_offsets(
        &self,
        group: &str,
        offsets: impl IntoIterator<Item = (TopicPartition, i64)>,
    ) -> Result<()> {
        let offsets = offsets.into_iter().collect();
        self.transport.admin().alter_group_offsets(group, offsets).await
    }

    /// Lets a group without members begin, in all partitions of these topics, with the first
    /// record, with what is to come, or with the first record of a time (what is to come, if no
    /// record is so late). Returns the offsets.
    ///
    /// # Errors
    /// As [`Admin::alter_group_offsets`] and [`Admin::list_offsets`].
    pub async fn reset_group_offsets(
        &self,
        group: &str,
        topics: impl IntoIterator<Item = impl AsRef<str>>,
        to: OffsetSpec,
    ) -> Result<BTreeMap<TopicPartition, i64>> {
        let names = topics.into_iter().map(|topic| TopicName::parse(topic.as_ref()));
        let names = names.collect::<Result<Vec<_>, _>>()?;
        let mut offsets = BTreeMap::new();
        for topic in names {
            let partitions = self.transport.admin().describe_topic(topic.clone()).await?.partitions;
            for partition in partitions {
                let at = TopicPartition { topic: topic.clone(), partition: partition.partition };
                // The end comes first: asked for later, it would skip records that arrive between.
                let end = self.transport.list_offset(&at, OffsetSpec::Latest).await?;
                let found = self.transport.list_offset(&at, to).await?;
                offsets.insert(at, found.offset.or(end.offset).unwrap_or(0));
            }
        }
        self.alter_group_offsets(group, offsets.clone()).await?;
        Ok(offsets)
    }

    /// Forgets a group's offsets in these partitions: whoever begins there starts anew.
    ///
    /// # Errors
    /// `GroupSubscribedToTopic` while members consume one of the topics.
    pub async fn delete_group_offsets(
        &self,
        group: &str,
        partitions: &[TopicPartition],
    ) -> Result<()> {
        self.transport.admin().delete_group_offsets(group, partitions.to_vec()).await
    }
}
