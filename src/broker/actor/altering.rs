//! Changing topics that there are: settings, partitions, log start offsets.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::topic::{TopicId, TopicName, TopicPartition};

use super::super::catalog::{Change, TopicEntry};
use super::super::core::{Topic, with_disk};
use super::super::settings::{Durability, MAX_PARTITIONS};
use super::{Actor, open_partitions};

/// A setting's name and its new value; `None` puts it back to what a new topic would get.
pub(crate) type ConfigChange = (String, Option<String>);

/// Partitions only ever become more.
pub(crate) fn check_grown(present: i32, total: i32) -> Result<()> {
    let (least, limit) = (present + 1, MAX_PARTITIONS);
    match (least..=limit).contains(&total) {
        true => Ok(()),
        false => Err(Error::InvalidPartitions { partitions: total, least, limit }),
    }
}

impl Actor {
    /// All changes, or none; none if it is `only_ask`ed whether they can be made.
    pub(super) async fn alter(
        &mut self,
        name: &TopicName,
        changes: Vec<ConfigChange>,
        only_ask: bool,
    ) -> Result<()> {
        let (topic, mut entry) = self.known(name)?;
        for (setting, value) in changes {
            entry.config = match value {
                Some(value) => entry.config.set(&setting, value)?,
                None => entry.config.unset(&setting, &self.core.settings.topic_defaults)?,
            };
        }
        if entry == topic.entry {
            return Ok(());
        }
        let log_config = entry.config.log_config(entry.durability)?;
        if only_ask {
            return Ok(());
        }
        self.record(vec![Change::Topic(name.clone(), Some(entry.clone()))]).await?;
        for partition in &topic.partitions {
            // One that has failed is read-only, and has no use for settings.
            if let Err(error) = partition.configure(log_config.clone()).await {
                tracing::warn!(partition = %partition.at(), %error, "settings not changed");
            }
        }
        tracing::info!(topic = %name, config = ?entry.config, "topic altered");
        self.core.insert(Topic { entry, log_config, ..topic.as_ref().clone() });
        Ok(())
    }

    /// Adds partitions, so that there are `total`.
    pub(super) async fn grow(&mut self, name: &TopicName, total: i32) -> Result<()> {
        let (topic, mut entry) = self.known(name)?;
        let present = entry.partitions;
        check_grown(present, total)?;
        entry.partitions = total;
        entry.config = entry.config.partitions(total);
        let topic = self.with_partitions(topic, entry.clone()).await?;
        self.record(vec![Change::Topic(name.clone(), Some(entry))]).await?;
        tracing::info!(topic = %name, from = present, to = total, "partitions added");
        self.core.insert(topic);
        Ok(())
    }

    async fn with_partitions(&self, topic: Arc<Topic>, entry: TopicEntry) -> Result<Topic> {
        let core = self.core.clone();
        let blocks = core.storage.as_ref().is_some_and(|storage| storage.may_block());
        let runtime = core.context.runtime.clone();
        let work = move || {
            let added = topic.entry.partitions..entry.partitions;
            let mut topic = Topic { entry, ..topic.as_ref().clone() };
            let added = open_partitions(&core, &topic, added, &mut BTreeMap::new())?;
            if let Some(used) = added.iter().find(|it| it.reader().log_end_offset() > 0) {
                let text = format!("a folder with records is in the way of {}", used.at());
                return Err(Error::InvalidState(text));
            }
            topic.partitions.extend(added);
            Ok(topic)
        };
        with_disk(&runtime, blocks, work).await
    }

    /// Keeps in mind that a partition's records begin at `offset`.
    pub(super) async fn keep_log_start(
        &mut self,
        at: TopicPartition,
        id: TopicId,
        offset: i64,
    ) -> Result<()> {
        let (_, entry) = self.known(&at.topic)?;
        if entry.id != id {
            return Err(Error::UnknownTopic { topic: at.topic.to_string() });
        }
        match entry.durability {
            // Its log is gone when this might be asked for.
            Durability::Memory => Ok(()),
            _ => {
                // Of two calls the one that wanted less may come last.
                let known = self.catalog.log_starts.get(&at).copied().unwrap_or(0);
                if offset <= known {
                    return Ok(());
                }
                self.record(vec![Change::LogStart(at, Some(offset))]).await
            }
        }
    }

    fn known(&self, name: &TopicName) -> Result<(Arc<Topic>, TopicEntry)> {
        let unknown = || Error::UnknownTopic { topic: name.to_string() };
        let topic = self.core.topic(name.as_str()).ok_or_else(unknown)?;
        let entry = topic.entry.clone();
        Ok((topic, entry))
    }
}
