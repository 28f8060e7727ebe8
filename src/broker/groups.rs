//! The broker's consumer groups: what they are stored in, and loading them at their first use.

use crate::error::{Error, GroupError, Result};
use crate::group::{Command, Coordinator, GroupDescription, GroupLimits};
use crate::log::{CleanupPolicy, ReadCursor, ReadError};
use crate::partition::Partition;
use crate::topic::{TopicName, TopicPartition};

use super::core::on_blocking_thread;
use super::settings::{Durability, TopicConfig};
use super::{Broker, BrokerHandle};

/// Where the groups of a broker on disk are stored, under Kafka's name.
pub(crate) const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// How large a segment of it gets.
const SEGMENT_BYTES: u64 = 8 << 20;

/// How much of it is read at a time.
const READ_BYTES: usize = 1 << 20;

/// It comes and goes with the groups, not with those who consume topics.
pub(super) fn check_not_internal(name: &TopicName) -> Result<()> {
    match *name == OFFSETS_TOPIC {
        true => Err(Error::InvalidState(format!("topic {name:?} is the consumer groups' own"))),
        false => Ok(()),
    }
}

/// Consumer groups.
impl Broker {
    /// The names of all groups that have members or offsets.
    ///
    /// # Errors
    /// [`Error::Closed`]; on disk, what keeps `__consumer_offsets` from being read.
    pub async fn groups(&self) -> Result<Vec<String>> {
        Ok(self.0.coordinator().await?.ids().iter().map(ToString::to_string).collect())
    }

    /// What there is to know about a group.
    ///
    /// # Errors
    /// As [`Broker::groups`]; [`GroupError::GroupIdNotFound`].
    pub async fn describe_group(&self, group: &str) -> Result<GroupDescription> {
        let coordinator = self.group(group).await?;
        coordinator.ask(group, |answer| Command::Describe { answer }).await
    }

    /// Deletes a group with its offsets.
    ///
    /// # Errors
    /// As [`Broker::describe_group`]; [`GroupError::NonEmptyGroup`] while it has members.
    pub async fn delete_group(&self, group: &str) -> Result<()> {
        let coordinator = self.group(group).await?;
        coordinator.ask(group, |answer| Command::Delete { answer }).await
    }

    /// Forgets a group's offsets in these partitions: whoever begins there starts anew.
    ///
    /// # Errors
    /// As [`Broker::describe_group`]; [`GroupError::GroupSubscribedToTopic`] while members consume
    /// one of the topics.
    pub async fn delete_offsets(&self, group: &str, partitions: &[TopicPartition]) -> Result<()> {
        let coordinator = self.group(group).await?;
        let partitions = partitions.to_vec();
        coordinator.ask(group, |answer| Command::Forget { partitions, answer }).await
    }

    async fn group(&self, group: &str) -> Result<&Coordinator> {
        let coordinator = self.0.coordinator().await?;
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
        let store = match self.core.storage {
            Some(_) => Some(self.offsets_partition().await?),
            None => None,
        };
        let (runtime, clock) = (context.runtime.clone(), context.clock.clone());
        let limits = GroupLimits::default();
        let coordinator = Coordinator::new(runtime, clock, limits, store.clone());
        if let Some(store) = store {
            let loading = coordinator.clone();
            let blocks = store.may_block();
            let load = move || load(&loading, &store);
            let unreadable = match blocks {
                true => on_blocking_thread(&context.runtime, load).await?,
                false => load()?,
            };
            let groups = coordinator.ids().len();
            tracing::info!(groups, unreadable, "consumer groups loaded");
        }
        Ok(coordinator)
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
            Ok(batches) if batches.is_empty() => {
                coordinator.loaded();
                return Ok(unreadable);
            }
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
