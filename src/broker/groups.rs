//! The broker's consumer groups: what they are stored in, and loading them at their first use.

use std::sync::Arc;

use crate::error::{Error, GroupError, Result};
use crate::group::{
    Command, CommittedOffset, Coordinator, GroupDescription, Holder, IsThere, MemberRef,
};
use crate::log::{CleanupPolicy, ReadCursor, ReadError};
use crate::partition::Partition;
use crate::storage::MemoryPolicy;
use crate::topic::{TopicName, TopicPartition};

use super::BrokerHandle;
use super::core::with_disk;
use super::settings::{Durability, TopicConfig};

/// Where the groups of a broker on disk are stored, under Kafka's name.
pub(crate) const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// How large a segment of it gets.
const SEGMENT_BYTES: u64 = 8 << 20;

/// How much of it is read at a time.
const READ_BYTES: usize = 1 << 20;

/// It comes and goes with the groups, not with those who consume topics.
pub(crate) fn check_not_internal(name: &TopicName) -> Result<()> {
    match *name == OFFSETS_TOPIC {
        true => Err(Error::InvalidState(format!("topic {name:?} is the consumer groups' own"))),
        false => Ok(()),
    }
}

/// What administrators ask of groups.
impl BrokerHandle {
    pub(crate) async fn groups(&self) -> Result<Vec<String>> {
        Ok(self.coordinator().await?.ids().iter().map(ToString::to_string).collect())
    }

    /// All groups, with their states.
    #[cfg(feature = "tcp")]
    pub(crate) async fn list_groups(&self) -> Result<Vec<crate::group::GroupListing>> {
        self.coordinator().await?.list().await
    }

    pub(crate) async fn describe_group(&self, group: &str) -> Result<GroupDescription> {
        let coordinator = self.known_group(group).await?;
        coordinator.ask(group, |answer| Command::Describe { answer }).await
    }

    pub(crate) async fn delete_group(&self, group: &str) -> Result<()> {
        self.core.check_writable()?;
        let coordinator = self.known_group(group).await?;
        coordinator.ask(group, |answer| Command::Delete { answer }).await
    }

    pub(crate) async fn group_offsets(
        &self,
        group: &str,
    ) -> Result<Vec<(TopicPartition, CommittedOffset)>> {
        let coordinator = self.known_group(group).await?;
        let partitions = Vec::new();
        let fetch = |answer| Command::Fetch { partitions, answer };
        let mut offsets = coordinator.ask(group, fetch).await?;
        offsets.retain(|(at, committed)| self.is_current(at, committed));
        Ok(offsets)
    }

    /// Whether an offset is for the topic that there is, and not for one that is gone.
    pub(crate) fn is_current(&self, at: &TopicPartition, committed: &CommittedOffset) -> bool {
        let topic = self.core.topic(at.topic.as_str());
        topic.is_some_and(|topic| committed.topic_id.is_none_or(|id| id == topic.id()))
    }

    /// Puts out a static member, who may be away.
    pub(crate) async fn remove_member(&self, group: &str, instance_id: &str) -> Result<()> {
        self.core.check_writable()?;
        let coordinator = self.known_group(group).await?;
        let instance_id = Some(instance_id.to_owned());
        let member = MemberRef { member_id: String::new(), instance_id };
        let members = vec![member];
        let left = coordinator.ask(group, |answer| Command::Leave { members, answer }).await?;
        left.into_iter().collect()
    }

    /// Sets offsets of a group without members, which is created if it is not there.
    pub(crate) async fn alter_group_offsets(
        &self,
        group: &str,
        offsets: Vec<(TopicPartition, i64)>,
    ) -> Result<()> {
        self.core.check_writable()?;
        let now = self.core.clock().wall().as_millis();
        let mut checked = Vec::with_capacity(offsets.len());
        for (at, offset) in offsets {
            let topic = self.existing(&at.topic)?;
            topic.partition(at.partition)?;
            if offset < 0 {
                let text = format!("offset {offset} for {at}: offsets begin at 0");
                return Err(Error::InvalidState(text));
            }
            checked.push((at, CommittedOffset::new(offset, now, topic.id())));
        }
        let alter = |answer| Command::Alter { offsets: checked, answer };
        self.coordinator().await?.ask(group, alter).await
    }

    pub(crate) async fn delete_group_offsets(
        &self,
        group: &str,
        partitions: Vec<TopicPartition>,
    ) -> Result<()> {
        self.core.check_writable()?;
        let coordinator = self.known_group(group).await?;
        coordinator.ask(group, |answer| Command::Forget { partitions, answer }).await
    }

    async fn known_group(&self, group: &str) -> Result<&Coordinator> {
        let coordinator = self.coordinator().await?;
        match coordinator.knows(group) {
            true => Ok(coordinator),
            false => {
                Err(Error::Group { group: group.to_owned(), source: GroupError::GroupIdNotFound })
            }
        }
    }
}

impl BrokerHandle {
    /// The groups. Those of a broker in memory live as long as it does.
    pub(crate) async fn coordinator(&self) -> Result<&Coordinator> {
        self.core.check_open()?;
        self.core.coordinator.get_or_try_init(|| self.load_groups()).await
    }

    /// The groups, for those who have asked for them before.
    pub(crate) fn loaded_coordinator(&self) -> Result<&Coordinator> {
        self.core.check_open()?;
        let none = || Error::InvalidState("the groups have not been loaded".to_owned());
        self.core.coordinator.get().ok_or_else(none)
    }

    async fn load_groups(&self) -> Result<Coordinator> {
        let context = &self.core.context;
        let is_kept = self.core.storage.is_some() && self.core.check_writable().is_ok();
        let store = if is_kept { Some(self.offsets_partition().await?) } else { None };
        // Kafka has several partitions of it.
        let stored = self.core.topic(OFFSETS_TOPIC).map(|topic| topic.partitions.clone());
        let (runtime, clock) = (context.runtime.clone(), context.clock.clone());
        let limits = self.core.settings.group_limits.clone();
        let (is_there, holder) = (self.is_there(), self.holder());
        let coordinator = Coordinator::new(runtime, clock, limits, store, is_there, holder);
        if let Some(stored) = stored {
            let loading = coordinator.clone();
            let blocks = stored.iter().any(Partition::may_block);
            let load = move || {
                let mut unreadable = 0;
                for store in &stored {
                    unreadable += load(&loading, store)?;
                }
                loading.loaded();
                Ok(unreadable)
            };
            let unreadable = with_disk(&context.runtime, blocks, load).await?;
            let groups = coordinator.ids().len();
            tracing::info!(groups, unreadable, "consumer groups loaded");
        }
        Ok(coordinator)
    }

    fn is_there(&self) -> IsThere {
        let core = Arc::downgrade(&self.core);
        Box::new(move |name, id| {
            // Without a broker nobody can tell.
            let Some(core) = core.upgrade() else { return true };
            core.topic(name.as_str()).is_some_and(|topic| topic.id() == id)
        })
    }

    /// Under `MemoryPolicy::Block` memory waits for groups that have committed, too.
    fn holder(&self) -> Option<Holder> {
        if self.core.settings.memory_policy != MemoryPolicy::Block {
            return None;
        }
        let core = Arc::downgrade(&self.core);
        Some(Box::new(move |at, committed| {
            let topic = core.upgrade()?.topic(at.topic.as_str())?;
            let is_meant = committed.topic_id.is_none_or(|id| id == topic.id());
            let partition = topic.partition(at.partition).ok().filter(|_| is_meant)?;
            partition.register(committed.offset)
        }))
    }

    async fn offsets_partition(&self) -> Result<Partition> {
        let name = TopicName::parse(OFFSETS_TOPIC)?;
        if let Some(topic) = self.core.topic(OFFSETS_TOPIC) {
            return topic.partition(0).cloned();
        }
        let config = TopicConfig::new().partitions(1).segment_bytes(SEGMENT_BYTES);
        // A group is one record, however many members it has.
        let config = config.max_message_bytes(SEGMENT_BYTES as usize);
        let mut config = config.cleanup_policy(CleanupPolicy::Compact);
        // The one default that is for this topic too, unless it would not outlive the broker.
        let durability = self.core.settings.topic_defaults.durability;
        config.durability = durability.filter(|durability| *durability != Durability::Memory);
        match self.create(name, config).await {
            // Someone else was first.
            Err(Error::TopicAlreadyExists { existing: None, .. }) => {}
            created => return created?.partition(0).cloned(),
        }
        let topic = self.core.topic(OFFSETS_TOPIC);
        let topic = topic.ok_or_else(|| Error::UnknownTopic { topic: OFFSETS_TOPIC.to_owned() })?;
        topic.partition(0).cloned()
    }
}

/// Reads all that is stored; returns how many records are lost to damage or can't be read.
fn load(coordinator: &Coordinator, store: &Partition) -> Result<usize> {
    let reader = store.reader();
    let mut cursor = ReadCursor::new(reader.log_start_offset(), -1);
    let mut unreadable = 0;
    loop {
        match reader.read(&mut cursor, READ_BYTES) {
            Ok(batches) if batches.is_empty() => return Ok(unreadable),
            Ok(batches) => {
                unreadable += batches.iter().map(|batch| coordinator.load(batch)).sum::<usize>();
            }
            Err(ReadError::Corrupt { from, to }) => unreadable += (to - from) as usize,
            Err(error) => return Err(Error::read(store.at(), error)),
        }
    }
}

#[cfg(test)]
mod tests;
