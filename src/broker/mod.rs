//! The broker: owns topics and their storage, in memory or in a data directory.
//!
//! [`Broker`] is a handle; the work is done by an actor (`actor`) and one more per partition
//! (`crate::partition`). Knows no socket, and no producer or consumer: those reach it through
//! `crate::transport`.

mod actor;
mod admin;
mod builder;
pub(crate) mod catalog;
pub(crate) mod catalog_log;
mod compaction;
mod config;
pub(crate) mod core;
mod description;
#[cfg(feature = "tcp")]
mod faults;
pub(crate) mod folders;
mod groups;
mod lock;
mod open;
mod report;
mod settings;
mod stats;

use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::topic::TopicName;

pub use builder::BrokerBuilder;
pub use compaction::CompactionSummary;
#[cfg(feature = "tcp")]
pub(crate) use config::FLUSH_MESSAGES;
pub use config::{ConfigEntry, ConfigSource};
pub use description::{PartitionDescription, TopicDescription};
pub(crate) use groups::{OFFSETS_TOPIC, check_not_internal};
pub use report::RecoveryReport;
pub use settings::{Durability, MAX_PARTITIONS, TopicConfig};
pub use stats::BrokerStats;

use actor::Command;
use core::{Core, Topic};
use lock::Holding;

/// A handle to an embedded broker. Cheap to clone; all clones lead to the same broker.
///
/// When the last handle is dropped, clients, producers and consumers included, the broker closes
/// itself in the background. [`Broker::shutdown`] does so at a known moment, and says how it went.
#[derive(Debug, Clone)]
pub struct Broker(pub(crate) Arc<UserHandle>);

/// What every handle of a user's shares. When it ends, the broker is about to: only batches on
/// their way still hold it.
#[derive(Debug)]
pub(crate) struct UserHandle(pub(crate) Arc<BrokerHandle>);

impl Deref for UserHandle {
    type Target = BrokerHandle;

    fn deref(&self) -> &BrokerHandle {
        &self.0
    }
}

impl Drop for UserHandle {
    fn drop(&mut self) {
        if let Some(holding) = &self.holding {
            holding.will_be_released();
        }
    }
}

/// The way to the broker's actor. Its end is the end of the broker.
#[derive(Debug)]
pub(crate) struct BrokerHandle {
    pub(crate) core: Arc<Core>,
    commands: mpsc::Sender<Command>,
    holding: Option<Arc<Holding>>,
}

impl Broker {
    /// Settings, then `open` or `in_memory`.
    pub fn builder() -> BrokerBuilder {
        BrokerBuilder::default()
    }

    /// Opens a data directory with default settings: see [`BrokerBuilder::open`].
    pub async fn open(path: impl AsRef<Path>) -> Result<Broker> {
        Broker::builder().open(path).await
    }

    /// Opens a data directory for reading, with default settings: see
    /// [`BrokerBuilder::open_read_only`].
    pub async fn open_read_only(path: impl AsRef<Path>) -> Result<Broker> {
        Broker::builder().open_read_only(path).await
    }

    /// A broker in memory with default settings: see [`BrokerBuilder::in_memory`].
    pub async fn in_memory() -> Result<Broker> {
        Broker::builder().in_memory().await
    }

    /// Creates a topic. On disk it is durable when this returns. Cancel safe: dropped before it
    /// returns, the topic may or may not have been created.
    ///
    /// # Errors
    /// [`Error::InvalidTopic`], [`Error::TopicAlreadyExists`] (also for a name that differs only
    /// in `.` against `_`), [`Error::InvalidPartitions`], [`Error::InvalidConfig`].
    pub async fn create_topic(&self, name: &str, config: TopicConfig) -> Result<TopicDescription> {
        self.0.create_topic(TopicName::parse(name)?, config).await
    }

    /// Deletes a topic with its records. Consumers of it get [`Error::UnknownTopic`].
    ///
    /// # Errors
    /// Those of `Admin::delete_topic`.
    pub async fn delete_topic(&self, name: &str) -> Result<()> {
        self.0.delete_topic(TopicName::parse(name)?).await
    }

    /// The names of all topics, sorted; not that of `__consumer_offsets`, which a broker on disk
    /// makes for its consumer groups.
    pub fn topics(&self) -> Result<Vec<TopicName>> {
        Ok(self.0.topics()?.iter().map(|topic| topic.name.clone()).collect())
    }

    /// A topic, as it is now.
    pub fn describe_topic(&self, name: &str) -> Result<TopicDescription> {
        self.0.describe_topic(&TopicName::parse(name)?)
    }

    /// What opening the data directory found and mended; `None` in memory.
    pub fn recovery_report(&self) -> Option<&RecoveryReport> {
        self.0.core.report.get()
    }

    /// Bytes that topics in memory take, with what consumers still hold of dropped segments.
    pub fn memory_used(&self) -> usize {
        self.0.core.memory.used()
    }

    /// The broker's clock.
    pub fn clock(&self) -> &Clock {
        self.0.core.clock()
    }

    /// Closes the broker: appends accepted before are made durable and acknowledged, the data
    /// directory is marked as cleanly closed and can be opened again. Every other handle gets
    /// [`Error::Closed`] from then on. Shutting down twice is fine.
    ///
    /// Cancel safe: dropped before it returns, the broker closes all the same.
    ///
    /// # Errors
    /// That of the first partition that could not be made durable, is read-only, or has panicked;
    /// the next open recovers it. Or what kept the directory from being marked: then the next open
    /// only looks closer. The directory is released in any case.
    pub async fn shutdown(&self) -> Result<()> {
        let (answer, answered) = oneshot::channel();
        if self.0.commands.send(Command::Shutdown { answer }).await.is_ok()
            && let Ok(result) = answered.await
        {
            return result;
        }
        // Another handle was first: its call has the result.
        self.0.core.ended().await;
        match self.0.core.was_closed() {
            true => Ok(()),
            false => Err(self.0.why_closed()),
        }
    }
}

impl BrokerHandle {
    pub(crate) async fn create(&self, name: TopicName, config: TopicConfig) -> Result<Arc<Topic>> {
        self.command(|answer| Command::Create { name, config, answer }).await
    }

    /// The topic; created with default settings if it is unknown and that is allowed.
    pub(crate) async fn topic_or_create(&self, name: &TopicName) -> Result<Arc<Topic>> {
        self.core.check_open()?;
        if let Some(topic) = self.core.topic(name.as_str()) {
            return Ok(topic);
        }
        if !self.core.settings.auto_create_topics {
            return Err(Error::UnknownTopic { topic: name.as_str().to_owned() });
        }
        groups::check_not_internal(name)?;
        match self.create(name.clone(), TopicConfig::new()).await {
            // Someone else was first.
            Err(Error::TopicAlreadyExists { existing: None, .. }) => {
                let topic = self.core.topic(name.as_str());
                topic.ok_or_else(|| Error::UnknownTopic { topic: name.as_str().to_owned() })
            }
            result => result,
        }
    }

    async fn command<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T>>) -> Command,
    ) -> Result<T> {
        self.core.check_writable()?;
        let (answer, answered) = oneshot::channel();
        if self.commands.send(command(answer)).await.is_ok()
            && let Ok(result) = answered.await
        {
            return result;
        }
        // The actor is on its way out; then it is known why.
        self.core.ended().await;
        Err(self.why_closed())
    }

    fn why_closed(&self) -> Error {
        match self.core.check_open() {
            Err(error) => error,
            Ok(()) => Error::closed("the broker's runtime has ended, or its task has panicked"),
        }
    }
}
