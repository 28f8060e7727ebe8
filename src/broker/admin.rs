//! What administrators ask of a broker, apart from its groups.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::partition::Partition;
use crate::topic::{TopicName, TopicPartition};

use super::actor::{Command, ConfigChange};
use super::config::{self, ConfigEntry};
use super::core::Topic;
use super::groups::check_not_internal;
use super::settings::TopicConfig;
use super::{BrokerHandle, TopicDescription};

impl BrokerHandle {
    pub(crate) async fn create_topic(
        &self,
        name: TopicName,
        config: TopicConfig,
    ) -> Result<TopicDescription> {
        check_not_internal(&name)?;
        self.create(name, config).await.map(|topic| topic.describe())
    }

    pub(crate) async fn delete_topic(&self, name: TopicName) -> Result<()> {
        check_not_internal(&name)?;
        self.command(|answer| Command::Delete { name, answer }).await
    }

    /// How many partitions a topic would have, and which settings, if it can be created.
    #[cfg(feature = "tcp")]
    pub(crate) async fn check_create(
        &self,
        name: TopicName,
        config: TopicConfig,
    ) -> Result<(i32, Vec<ConfigEntry>)> {
        check_not_internal(&name)?;
        let entry = self.command(|answer| Command::CheckCreate { name, config, answer }).await?;
        let effective = entry.config.log_config(entry.durability)?;
        Ok((entry.partitions, config::describe(&entry.config, &effective)))
    }

    /// What a topic is that a Kafka client creates: without a word of syncs it is as durable as
    /// Kafka's are, unless the broker's defaults say more.
    #[cfg(feature = "tcp")]
    pub(crate) fn network_defaults(&self) -> TopicConfig {
        let settings = &self.core.settings;
        match self.core.storage.is_some() && settings.topic_defaults.durability.is_none() {
            true => TopicConfig::new().durability(super::Durability::Process),
            false => TopicConfig::new(),
        }
    }

    /// How many partitions a topic has whose creator names no number.
    #[cfg(feature = "tcp")]
    pub(crate) fn default_partitions(&self) -> i32 {
        self.core.settings.topic_defaults.partitions.unwrap_or(1)
    }

    /// A block of producer ids that nobody else gets.
    pub(crate) async fn producer_ids(&self) -> Result<std::ops::Range<i64>> {
        self.command(|answer| Command::ProducerIds { answer }).await
    }

    /// What clients on the network know the broker by. One that only reads has none to keep.
    #[cfg(feature = "tcp")]
    pub(crate) async fn cluster_id(&self) -> Result<crate::topic::TopicId> {
        match self.command(|answer| Command::ClusterId { answer }).await {
            Err(Error::OpenForReading) => Ok(self.core.new_id()),
            answer => answer,
        }
    }

    /// All topics that are the users'.
    pub(crate) fn topics(&self) -> Result<Vec<Arc<Topic>>> {
        self.core.check_open()?;
        let mut topics = self.core.all_topics();
        topics.retain(|topic| check_not_internal(&topic.name).is_ok());
        Ok(topics)
    }

    pub(crate) fn describe_topic(&self, name: &TopicName) -> Result<TopicDescription> {
        self.existing(name).map(|topic| topic.describe())
    }

    pub(crate) async fn create_partitions(&self, name: TopicName, total: i32) -> Result<()> {
        check_not_internal(&name)?;
        self.command(|answer| Command::Grow { name, total, answer }).await
    }

    /// Whether a topic can have so many partitions.
    #[cfg(feature = "tcp")]
    pub(crate) fn check_grow(&self, name: &TopicName, total: i32) -> Result<()> {
        check_not_internal(name)?;
        self.core.check_writable()?;
        super::actor::check_grown(self.existing(name)?.partitions.len() as i32, total)
    }

    pub(crate) fn describe_configs(&self, name: &TopicName) -> Result<Vec<ConfigEntry>> {
        let topic = self.existing(name)?;
        Ok(config::describe(&topic.entry.config, &topic.log_config))
    }

    /// Changes settings, or only asks whether that can be done.
    pub(crate) async fn alter_configs(
        &self,
        name: TopicName,
        changes: Vec<ConfigChange>,
        only_ask: bool,
    ) -> Result<()> {
        check_not_internal(&name)?;
        self.command(|answer| Command::Alter { name, changes, only_ask, answer }).await
    }

    /// Whether a setting speaks of replicas, and means nothing here.
    #[cfg(feature = "tcp")]
    pub(crate) fn is_of_replicas(&self, setting: &str) -> bool {
        config::OF_REPLICAS.contains(&setting)
    }

    /// What a topic has that is created without a word.
    #[cfg(feature = "tcp")]
    pub(crate) fn topic_defaults(&self) -> Vec<ConfigEntry> {
        let defaults = &self.core.settings.topic_defaults;
        let effective = defaults.log_config(super::Durability::Process).unwrap_or_default();
        config::describe(defaults, &effective)
    }

    /// What else this broker was started with, by Kafka's names.
    #[cfg(feature = "tcp")]
    pub(crate) fn fixed_configs(&self) -> Vec<(&'static str, String)> {
        let settings = &self.core.settings;
        let groups = &settings.group_limits;
        let millis = |duration: std::time::Duration| duration.as_millis().to_string();
        let minutes = settings.offsets_retention.as_secs() / 60;
        vec![
            ("auto.create.topics.enable", settings.auto_create_topics.to_string()),
            ("group.initial.rebalance.delay.ms", millis(groups.initial_rebalance_delay)),
            ("group.max.session.timeout.ms", millis(groups.max_session_timeout)),
            ("group.max.size", groups.max_members.to_string()),
            ("group.min.session.timeout.ms", millis(groups.min_session_timeout)),
            ("log.dirs", self.core.data_dir().unwrap_or_default().to_owned()),
            ("log.retention.check.interval.ms", millis(settings.retention_check_interval)),
            ("num.partitions", self.default_partitions().to_string()),
            ("offsets.retention.minutes", minutes.to_string()),
        ]
    }

    /// Deletes the records before an offset; -1 is the high watermark. Returns the log start
    /// offset.
    pub(crate) async fn delete_records(&self, at: &TopicPartition, before: i64) -> Result<i64> {
        check_not_internal(&at.topic)?;
        let topic = self.existing(&at.topic)?;
        let partition = topic.partition(at.partition)?;
        if !topic.log_config.cleanup_policy.deletes() {
            let text = format!(
                "records of {at} can't be deleted: its topic is compacted, and nothing else \
                 (cleanup.policy)"
            );
            return Err(Error::InvalidState(text));
        }
        let reader = partition.reader();
        let (start, high_watermark) = (reader.log_start_offset(), reader.high_watermark());
        let offset = if before == -1 { high_watermark } else { before };
        if !(0..=high_watermark).contains(&offset) {
            return Err(Error::OffsetOutOfRange {
                at: at.clone(),
                offset,
                log_start_offset: start,
                log_end_offset: high_watermark,
            });
        }
        if offset > 0 {
            // Written down first: what was seen to be gone does not come back. Also where retention
            // has come further: nobody has made durable that those segments are gone.
            let (at, id) = (at.clone(), topic.id());
            let keep = || {
                let at = at.clone();
                self.command(|answer| Command::LogStart { at, id, offset, answer })
            };
            match keep().await {
                Err(full @ Error::StorageFull { .. }) => {
                    drop_segments(partition, offset, full).await?;
                    keep().await?;
                }
                kept => kept?,
            }
        }
        if offset > start {
            let advanced = partition.run(move |log| log.advance_log_start(offset)).await?;
            advanced.map_err(|error| Error::append(partition.at(), error))?;
            self.core.context.memory.ring();
        }
        Ok(reader.log_start_offset())
    }

    /// The topic, if there is one of that name.
    pub(super) fn existing(&self, name: &TopicName) -> Result<Arc<Topic>> {
        self.core.check_open()?;
        let unknown = || Error::UnknownTopic { topic: name.to_string() };
        self.core.topic(name.as_str()).ok_or_else(unknown)
    }
}

/// On a full disk: removes the segments before an offset, which need not be written down, to make
/// room for what has to be. `full` is the answer if there are none.
async fn drop_segments(partition: &Partition, offset: i64, full: Error) -> Result<()> {
    let dropped = partition.run(move |log| log.drop_segments_before(offset)).await?;
    match dropped.map_err(|error| Error::append(partition.at(), error))? {
        0 => Err(full),
        _ => Ok(()),
    }
}
