//! The broker's actor: owns the catalog, creates, alters and deletes topics, closes everything at
//! the end.

mod altering;
mod background;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{ControlFlow, Range};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::error::{Error, Result};
use crate::log::{Log, remove_contents};
use crate::partition::panics::{Ended, caught_in};
use crate::partition::{ENDED, Partition};
use crate::topic::{TopicId, TopicName, TopicPartition};

use super::catalog::{Catalog, Change, TopicEntry, encode};
use super::catalog_log::{is_mostly_history, shorten};
use super::core::{Core, Topic, with_disk};
use super::folders::{CATALOG_TOPIC, CLEAN_MARK, is_doomed, remove_folder, rename_for_deletion};
use super::groups::OFFSETS_TOPIC;
use super::groups::check_not_internal;
use super::lock::DirLock;
use super::open::Opened;
use super::settings::{Durability, TopicConfig};
use super::{Broker, BrokerHandle, UserHandle};

pub(crate) use altering::ConfigChange;
#[cfg(feature = "tcp")]
pub(super) use altering::check_grown;
use background::Background;

/// Commands that may wait for the broker.
const MAILBOX: usize = 64;

/// When old records are first looked for after opening, as in Kafka.
const FIRST_LOOK: Duration = Duration::from_secs(30);

/// How many producer ids are given out with one record (Kafka: `ProducerIdsBlock`).
const PRODUCER_ID_BLOCK: i64 = 1000;

pub(super) enum Command {
    Create {
        name: TopicName,
        config: TopicConfig,
        answer: Answer<Arc<Topic>>,
    },
    /// Whether a topic could be created, and how many partitions it would have.
    #[cfg_attr(not(feature = "tcp"), expect(dead_code))]
    CheckCreate {
        name: TopicName,
        config: TopicConfig,
        answer: Answer<TopicEntry>,
    },
    Delete {
        name: TopicName,
        answer: Answer<()>,
    },
    Alter {
        name: TopicName,
        changes: Vec<ConfigChange>,
        only_ask: bool,
        answer: Answer<()>,
    },
    Grow {
        name: TopicName,
        total: i32,
        answer: Answer<()>,
    },
    ProducerIds {
        answer: Answer<Range<i64>>,
    },
    #[cfg_attr(not(feature = "tcp"), expect(dead_code))]
    ClusterId {
        answer: Answer<TopicId>,
    },
    LogStart {
        at: TopicPartition,
        id: TopicId,
        offset: i64,
        answer: Answer<()>,
    },
    Shutdown {
        answer: Answer<()>,
    },
}

type Answer<T> = oneshot::Sender<Result<T>>;

struct Actor {
    core: Arc<Core>,
    catalog: Catalog,
    /// The catalog's log, for a broker on disk: a partition like any other.
    catalog_log: Option<Partition>,
    lock: Option<Arc<DirLock>>,
    background: Background,
    /// By the clock's `instant`; set before the task first runs, which a manual clock may precede.
    next_retention: Duration,
    /// What the task has panicked with.
    panic: Option<Arc<str>>,
}

/// Nobody waits for a broker whose task has ended, whatever ended it.
impl Drop for Actor {
    fn drop(&mut self) {
        // First: who sees that it is closed may open it again, and waits for the lock.
        if let Some(lock) = &self.lock {
            lock.holding().will_be_released();
        }
        // After a shutdown this changes nothing: the first reason stays. One that was cut short
        // has left some partitions open.
        let reason = self.panic.take().unwrap_or_else(|| ENDED.into());
        self.core.close(Ended { reason, is_well: false });
        let topics = self.core.all_topics();
        topics.iter().flat_map(|it| &it.partitions).for_each(Partition::abandon);
        // A thread that writes at this moment may keep it for as long as that takes.
        self.lock = None;
        self.core.ended.send_replace(true);
    }
}

/// Builds the partitions of what was opened, and starts the actor.
pub(super) fn start(core: Core, opened: Option<Opened>, lock: Option<Arc<DirLock>>) -> Broker {
    let core = Arc::new(core);
    let first_look = match core.settings.read_only {
        true => Duration::MAX,
        false => FIRST_LOOK.min(core.settings.retention_check_interval),
    };
    let mut actor = Actor {
        core: core.clone(),
        catalog: Catalog::default(),
        catalog_log: None,
        lock,
        background: Background::default(),
        next_retention: core.clock().instant().saturating_add(first_look),
        panic: None,
    };
    if let Some(opened) = opened {
        actor.take_over(opened);
    }
    let (commands, mailbox) = mpsc::channel(MAILBOX);
    let holding = actor.lock.as_ref().map(|lock| lock.holding());
    core.context.runtime.clone().spawn(actor.run(mailbox));
    let handle = Arc::new(BrokerHandle { core, commands, holding });
    Broker(Arc::new(UserHandle(handle)))
}

impl Actor {
    fn take_over(&mut self, opened: Opened) {
        let context = &self.core.context;
        let at = TopicPartition::new(CATALOG_TOPIC, 0).expect("a legal name");
        let catalog_log = Partition::new(at, opened.catalog_log, context.clone());
        // Set once, here.
        let _ = self.core.catalog.set(catalog_log.reader().clone());
        self.catalog_log = Some(catalog_log);
        let mut logs = opened.partitions;
        for (name, entry) in &opened.catalog.topics {
            match assemble(&self.core, name, entry, &mut logs) {
                Ok(topic) => self.core.insert(topic),
                // Only a setting that this version does not allow: checked when it was opened.
                Err(error) => tracing::error!(topic = %name, %error, "topic left out"),
            }
        }
        self.catalog = opened.catalog;
        // Set once, here.
        let _ = self.core.report.set(opened.report);
    }

    /// A topic with empty logs. On disk each looks for its folder.
    async fn new_topic(&self, name: &TopicName, entry: &TopicEntry) -> Result<Topic> {
        let (core, name, entry) = (self.core.clone(), name.clone(), entry.clone());
        let blocks = core.storage.as_ref().is_some_and(|storage| storage.may_block());
        let runtime = core.context.runtime.clone();
        let work = move || assemble(&core, &name, &entry, &mut BTreeMap::new());
        with_disk(&runtime, blocks, work).await
    }

    async fn run(mut self, mut mailbox: mpsc::Receiver<Command>) {
        if let Err(panic) = caught_in(self.serve(&mut mailbox)).await {
            tracing::error!(%panic, "the broker's task has panicked");
            self.panic = Some(format!("the broker has ended by {panic}").into());
        }
    }

    async fn serve(&mut self, mailbox: &mut mpsc::Receiver<Command>) {
        let clock = self.core.context.clock.clone();
        let interval = self.core.settings.retention_check_interval;
        loop {
            tokio::select! {
                biased;
                command = mailbox.recv() => match command {
                    Some(command) => {
                        if self.handle(command, mailbox).await.is_break() {
                            return;
                        }
                    }
                    None => {
                        if let Err(error) = self.shutdown("the broker was dropped").await {
                            tracing::error!(%error, "closing the broker failed");
                        }
                        return;
                    }
                },
                () = clock.sleep_until(self.next_retention) => {
                    self.next_retention = clock.instant().saturating_add(interval);
                    self.expire_offsets();
                    self.finish_all_deletions().await;
                    self.background.look(&self.core);
                }
            }
        }
    }

    /// Whoever asked may have gone; it is done all the same. Breaks after a shutdown.
    async fn handle(
        &mut self,
        command: Command,
        mailbox: &mut mpsc::Receiver<Command>,
    ) -> ControlFlow<()> {
        match command {
            Command::Create { name, config, answer } => {
                let _ = answer.send(self.create(name, config).await);
            }
            Command::CheckCreate { name, config, answer } => {
                let _ = answer.send(self.check_create(&name, config));
            }
            Command::Delete { name, answer } => {
                let _ = answer.send(self.delete(name).await);
            }
            Command::Alter { name, changes, only_ask, answer } => {
                let _ = answer.send(self.alter(&name, changes, only_ask).await);
            }
            Command::Grow { name, total, answer } => {
                let _ = answer.send(self.grow(&name, total).await);
            }
            Command::ProducerIds { answer } => {
                let _ = answer.send(self.producer_ids().await);
            }
            Command::ClusterId { answer } => {
                let _ = answer.send(self.cluster_id().await);
            }
            Command::LogStart { at, id, offset, answer } => {
                let _ = answer.send(self.keep_log_start(at, id, offset).await);
            }
            Command::Shutdown { answer } => {
                mailbox.close();
                let _ = answer.send(self.shutdown("the broker was shut down").await);
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }

    async fn create(&mut self, name: TopicName, config: TopicConfig) -> Result<Arc<Topic>> {
        let entry = self.check_create(&name, config)?;
        let TopicEntry { partitions, durability, .. } = entry;
        let mut changes = vec![Change::Topic(name.clone(), Some(entry.clone()))];
        if durability == Durability::Memory && self.catalog.runs.is_none() {
            changes.push(Change::Runs(i64::from(self.core.memory_epoch)));
        }
        self.finish_deletions(&name).await?;
        // Before it is recorded: nothing is written yet, and a topic that can't be opened is none.
        let topic = self.new_topic(&name, &entry).await?;
        self.record(changes).await?;
        tracing::info!(topic = %name, id = %entry.id, partitions, ?durability, "topic created");
        self.core.insert(topic);
        self.core.topic(name.as_str()).ok_or_else(|| Error::closed("the topic is gone again"))
    }

    /// What a topic would be.
    fn check_create(&self, name: &TopicName, config: TopicConfig) -> Result<TopicEntry> {
        // Those are meant for the users' topics.
        let config = match *name == OFFSETS_TOPIC {
            true => config,
            false => config.or(&self.core.settings.topic_defaults),
        };
        self.check_new(name)?;
        let partitions = config.checked_partitions()?;
        let durability = self.durability(&config)?;
        config.log_config(durability)?;
        // As the catalog gives it back.
        let config = config.partitions(partitions).durability(durability);
        Ok(TopicEntry { id: self.core.new_id(), partitions, durability, config })
    }

    fn check_new(&self, name: &TopicName) -> Result<()> {
        let topics = &self.catalog.topics;
        let exists = |existing: Option<&TopicName>| Error::TopicAlreadyExists {
            topic: name.as_str().to_owned(),
            existing: existing.map(|it| it.as_str().to_owned()),
        };
        if topics.contains_key(name) || name == CATALOG_TOPIC {
            return Err(exists(None));
        }
        let key = name.collision_key();
        if let Some(other) = topics.keys().find(|other| other.collision_key() == key) {
            return Err(exists(Some(other)));
        }
        let limit = self.core.settings.max_topics;
        let is_users = check_not_internal(name).is_ok();
        if is_users && topics.keys().filter(|it| check_not_internal(it).is_ok()).count() >= limit {
            let text = format!("there are {limit} topics, the most there may be (max_topics)");
            return Err(Error::InvalidState(text));
        }
        Ok(())
    }

    fn durability(&self, config: &TopicConfig) -> Result<Durability> {
        match (&self.core.storage, config.durability) {
            (Some(_), chosen) => Ok(chosen.unwrap_or(Durability::Power)),
            (None, None | Some(Durability::Memory)) => Ok(Durability::Memory),
            (None, Some(other)) => Err(Error::InvalidConfig {
                name: "durability".to_owned(),
                reason: format!("an in-memory broker can promise Memory, not {other:?}"),
            }),
        }
    }

    async fn delete(&mut self, name: TopicName) -> Result<()> {
        let Some(entry) = self.catalog.topics.get(&name).cloned() else {
            return Err(Error::UnknownTopic { topic: name.as_str().to_owned() });
        };
        let what = (name.clone(), entry.partitions);
        let gone = vec![Change::Topic(name.clone(), None), Change::Deleted(entry.id, Some(what))];
        match self.record(gone.clone()).await {
            Err(full @ Error::StorageFull { .. }) => {
                // What is to go makes the room to say so.
                self.empty(&name, full).await?;
                self.record(gone).await?;
            }
            recorded => recorded?,
        }
        let Some(topic) = self.core.remove(&name) else { return Ok(()) };
        close_for_deletion(&topic, true).await;
        if entry.durability == Durability::Memory {
            self.remove_folders(self.core.memory.clone(), entry.id, &name, entry.partitions)
                .await?;
        }
        tracing::info!(topic = %name, id = %entry.id, "topic deleted");
        if let Some(coordinator) = self.core.coordinator.get() {
            coordinator.forget_topic(&name, entry.id);
        }
        self.core.context.memory.ring();
        self.finish_deletions(&name).await
    }

    /// On a full disk: closes a topic that is to be deleted, and removes what it holds. If it can't
    /// be deleted after that it is there, empty and closed, until it can. `full` is the answer for
    /// one that holds nothing.
    async fn empty(&self, name: &TopicName, full: Error) -> Result<()> {
        let storage = self.core.storage.clone();
        let topic = self.core.topic(name.as_str());
        let topic = topic.filter(|it| it.entry.durability != Durability::Memory);
        let (Some(storage), Some(topic)) = (storage, topic) else { return Err(full) };
        if topic.partitions.iter().all(|partition| partition.reader().size() == 0) {
            return Err(full);
        }
        close_for_deletion(&topic, false).await;
        let dirs: Vec<String> = topic.partitions.iter().map(|it| it.at().to_string()).collect();
        let failed = format!("deleting topic {name}");
        let blocks = storage.may_block();
        let work = move || {
            let mut dirs = dirs.iter();
            let removed = dirs.try_for_each(|dir| remove_contents(&*storage, Path::new(dir)));
            removed.map_err(|error| Error::io(failed, error))
        };
        with_disk(&self.core.context.runtime, blocks, work).await
    }

    /// Tries again what of earlier deletions has failed.
    async fn finish_all_deletions(&mut self) {
        let names: BTreeSet<_> = self.catalog.deleted.values().map(|it| it.0.clone()).collect();
        for name in names {
            if let Err(error) = self.finish_deletions(&name).await {
                tracing::warn!(topic = %name, %error, "not all of a deleted topic is gone");
            }
        }
    }

    /// Removes what is left of deleted topics of this name: its folders would become the next
    /// one's.
    async fn finish_deletions(&mut self, name: &TopicName) -> Result<()> {
        let deleted = self.catalog.deleted.iter();
        let left: Vec<_> =
            deleted.filter(|(_, it)| it.0 == *name).map(|(id, it)| (*id, it.1)).collect();
        for (id, partitions) in left {
            if let Some(storage) = self.core.storage.clone() {
                self.remove_folders(storage, id, name, partitions).await?;
            }
            self.record(vec![Change::Deleted(id, None)]).await?;
        }
        Ok(())
    }

    async fn remove_folders(
        &self,
        storage: Arc<dyn crate::storage::Storage>,
        id: crate::topic::TopicId,
        name: &TopicName,
        partitions: i32,
    ) -> Result<()> {
        let of = |partition| TopicPartition { topic: name.clone(), partition };
        let at: Vec<TopicPartition> = (0..partitions).map(of).collect();
        let name = name.clone();
        let blocks = storage.may_block();
        let work = move || {
            let mut doomed = Vec::with_capacity(at.len());
            for at in &at {
                doomed.push(rename_for_deletion(&*storage, at, id)?);
            }
            storage.sync_dir(Path::new(""))?;
            doomed.iter().try_for_each(|dir| remove_folder(&*storage, dir))?;
            // One that could not be renamed must not be back once nobody knows it was deleted.
            match doomed.iter().all(|dir| dir.to_str().is_some_and(is_doomed)) {
                true => Ok(()),
                false => storage.sync_dir(Path::new("")),
            }
        };
        let failed = move |error| Error::io(format!("deleting topic {name}"), error);
        let runtime = self.core.context.runtime.clone();
        with_disk(&runtime, blocks, move || work().map_err(failed)).await
    }

    /// Producer ids that nobody has: given out once, whatever happens to those who ask.
    async fn producer_ids(&mut self) -> Result<Range<i64>> {
        let first = self.catalog.next_producer_id.unwrap_or(0);
        let next = first.checked_add(PRODUCER_ID_BLOCK).ok_or_else(|| {
            Error::InvalidState("all producer ids have been given out".to_owned())
        })?;
        self.record(vec![Change::NextProducerId(next)]).await?;
        Ok(first..next)
    }

    /// The same for as long as the data directory exists.
    async fn cluster_id(&mut self) -> Result<TopicId> {
        if let Some(id) = self.catalog.cluster_id {
            return Ok(id);
        }
        let id = self.core.new_id();
        self.record(vec![Change::ClusterId(id)]).await?;
        Ok(id)
    }

    /// Writes changes to the catalog, durably, and then applies them.
    async fn record(&mut self, changes: Vec<Change>) -> Result<()> {
        if let Some(log) = &self.catalog_log {
            let now = self.core.context.clock.wall().as_millis();
            log.append_one(encode(&changes, now)).await?;
        }
        changes.into_iter().for_each(|change| self.catalog.apply(change));
        self.shorten().await;
        Ok(())
    }

    /// Keeps the catalog's log from growing with its history.
    async fn shorten(&self) {
        let Some(log) = &self.catalog_log else { return };
        if !is_mostly_history(log.reader(), self.catalog.len()) {
            return;
        }
        let snapshot = self.catalog.snapshot();
        match log.run(move |log| shorten(log, &snapshot)).await {
            Ok(Ok(())) => tracing::debug!("the catalog was shortened"),
            Ok(Err(error)) => tracing::warn!(%error, "the catalog could not be shortened"),
            Err(error) => tracing::warn!(%error, "the catalog could not be shortened"),
        }
    }

    /// Drains, makes durable, marks as clean. Handles get `Closed` from then on.
    async fn shutdown(&mut self, reason: &str) -> Result<()> {
        let reason: Arc<str> = reason.into();
        if let Some(lock) = &self.lock {
            lock.holding().will_be_released();
        }
        self.core.close(Ended { reason: reason.clone(), is_well: true });
        self.core.submit_all();
        if let Some(coordinator) = self.core.coordinator.get() {
            coordinator.close(reason.clone()).await;
        }
        self.background.stop();
        let mut closing = JoinSet::new();
        for topic in self.core.all_topics() {
            for partition in topic.partitions.clone() {
                let reason = reason.clone();
                closing.spawn(async move {
                    let closed = partition.close(reason).await;
                    if let Err(error) = &closed {
                        tracing::warn!(partition = %partition.at(), %error, "not closed well");
                    }
                    drop(partition.compacting().lock().await);
                    closed
                });
            }
        }
        let mut result = Ok(());
        while let Some(closed) = closing.join_next().await {
            result = result.and(closed.unwrap_or_else(|e| Err(Error::closed(e.to_string()))));
        }
        if let Some(log) = &self.catalog_log {
            result = result.and(log.close(reason).await);
        }
        if result.is_ok() {
            result = self.mark_clean().await;
        }
        self.lock = None;
        tracing::debug!(ok = result.is_ok(), "broker closed");
        result
    }

    async fn mark_clean(&self) -> Result<()> {
        let Some(storage) = self.core.storage.clone() else { return Ok(()) };
        let blocks = storage.may_block();
        let work = move || {
            let mark = storage.open(Path::new(CLEAN_MARK), true)?;
            mark.sync()?;
            storage.sync_dir(Path::new(""))
        };
        let failed = |error| Error::io("marking the data directory as clean", error);
        let runtime = self.core.context.runtime.clone();
        with_disk(&runtime, blocks, move || work().map_err(failed)).await
    }
}

/// Once the deletion is on record, what the logs hold is worth no sync any more.
async fn close_for_deletion(topic: &Topic, is_recorded: bool) {
    for partition in &topic.partitions {
        let reason = format!("topic {} was deleted", topic.name).into();
        // What could not be synced is being thrown away.
        let _ = match is_recorded {
            true => partition.discard(reason).await,
            false => partition.close(reason).await,
        };
        drop(partition.compacting().lock().await);
    }
}

/// A topic around its logs; those that are not given are opened.
fn assemble(
    core: &Core,
    name: &TopicName,
    entry: &TopicEntry,
    logs: &mut BTreeMap<TopicPartition, Log>,
) -> Result<Topic> {
    let log_config = entry.config.log_config(entry.durability)?;
    let (name, entry) = (name.clone(), entry.clone());
    let all = 0..entry.partitions;
    let mut topic =
        Topic { name, entry, log_config, partitions: Vec::new(), warned: Arc::default() };
    topic.partitions = open_partitions(core, &topic, all, logs)?;
    Ok(topic)
}

/// Partitions of a topic around their logs; those that are not given are opened.
fn open_partitions(
    core: &Core,
    topic: &Topic,
    numbers: Range<i32>,
    logs: &mut BTreeMap<TopicPartition, Log>,
) -> Result<Vec<Partition>> {
    let mut partitions = Vec::with_capacity(numbers.len());
    for partition in numbers {
        let at = TopicPartition { topic: topic.name.clone(), partition };
        let mut log = match logs.remove(&at) {
            Some(log) => log,
            None => {
                let opening = core.opening(at.clone(), &topic.entry, topic.log_config.clone());
                let opened = Log::open(opening);
                opened.map_err(|error| Error::io(format!("opening partition {at}"), error))?.0
            }
        };
        log.warn_once_with(&topic.warned);
        partitions.push(Partition::new(at, log, core.context.clone()));
    }
    Ok(partitions)
}
