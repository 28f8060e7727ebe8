//! A cluster as a client knows it: connections for what need not wait long, and metadata that are
//! kept fresh.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, RwLock, Weak};

use tokio::sync::{Notify, watch};
use tokio::time::{Duration, Instant, sleep, timeout};

use super::connection::Connection;
use super::errors::{Verdict, of_code, verdict};
use super::metadata::{Leader, Metadata};
use super::pool::Pool;
use super::settings::{Address, Settings};
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::topic::{TopicId, TopicName, TopicPartition};
use crate::transport::TopicMetadata;
use crate::transport::backoff::Backoff;
use crate::wire::ErrorCode;
use crate::wire::metadata::{MetadataRequest, MetadataRequestTopic};

/// What all parts of a client share.
pub(super) struct Cluster {
    pub(super) settings: Arc<Settings>,
    pub(super) clock: Clock,
    pub(super) pool: Pool,
    bootstrap: Vec<Address>,
    metadata: RwLock<Metadata>,
    wanted: Mutex<Wanted>,
    /// Rises when topics or partitions come or go.
    version: watch::Sender<u64>,
    /// How many answers have been taken in.
    rounds: watch::Sender<u64>,
    /// One question for all topics at a time; how many were answered.
    refreshing: tokio::sync::Mutex<()>,
    answered: watch::Sender<u64>,
    nudge: Notify,
}

/// Which topics are kept fresh.
#[derive(Debug, Default)]
struct Wanted {
    topics: BTreeSet<TopicName>,
    all: bool,
}

impl Cluster {
    /// A cluster of which nothing is known but where some of its brokers should be.
    pub(super) fn new(bootstrap: Vec<Address>, settings: Settings) -> Arc<Self> {
        let settings = Arc::new(settings);
        Arc::new(Cluster {
            pool: Pool::new(settings.clone()),
            clock: settings.clock.clone(),
            settings,
            bootstrap,
            metadata: RwLock::default(),
            wanted: Mutex::default(),
            version: watch::Sender::new(0),
            rounds: watch::Sender::new(0),
            refreshing: tokio::sync::Mutex::default(),
            answered: watch::Sender::new(0),
            nudge: Notify::new(),
        })
    }

    /// Keeps what is known of it fresh from now on.
    pub(super) fn keep_fresh(self: &Arc<Self>) {
        tokio::spawn(keep_fresh(Arc::downgrade(self)));
    }

    /// Rises when topics or partitions come or go.
    pub(super) fn version(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// Rises when metadata have come, new ones or the same.
    pub(super) fn rounds(&self) -> watch::Receiver<u64> {
        self.rounds.subscribe()
    }

    pub(super) fn known_topic(&self, name: &str) -> Option<Arc<TopicMetadata>> {
        self.read().topic(name)
    }

    pub(super) fn known_topics(&self) -> Vec<Arc<TopicMetadata>> {
        self.read().topics()
    }

    /// All topics, from now on.
    pub(super) async fn all_topics(&self) -> Result<Vec<Arc<TopicMetadata>>> {
        self.wanted().all = true;
        self.until_done("listing topics", || self.refresh()).await?;
        Ok(self.known_topics())
    }

    /// Who leads a partition, where it is known.
    pub(super) fn leader(&self, at: &TopicPartition) -> Option<Leader> {
        self.read().leader(at)
    }

    /// Where a broker is.
    pub(super) fn address(&self, node: i32) -> Option<Address> {
        self.read().brokers.get(&node).cloned()
    }

    /// All brokers.
    pub(super) fn brokers(&self) -> Vec<(i32, Address)> {
        let metadata = self.read();
        metadata.brokers.iter().map(|(node, address)| (*node, address.clone())).collect()
    }

    /// A broker names a new leader.
    pub(super) fn hint(&self, at: &TopicPartition, node: i32, epoch: i32) {
        let mut metadata = self.metadata.write().expect("no one panics with the metadata");
        let is_news = metadata.hint(at, node, epoch);
        drop(metadata);
        if is_news {
            self.rounds.send_modify(|rounds| *rounds += 1);
        }
    }

    /// This client has deleted a topic.
    pub(super) fn forget(&self, name: &TopicName, id: TopicId) {
        let mut metadata = self.metadata.write().expect("no one panics with the metadata");
        let was_known = metadata.forget(name, id);
        drop(metadata);
        if was_known {
            self.version.send_modify(|version| *version += 1);
            self.rounds.send_modify(|rounds| *rounds += 1);
        }
    }

    /// The leader's connection, among those of `pool`, and its epoch.
    pub(super) async fn leader_in(
        &self,
        pool: &Pool,
        at: &TopicPartition,
    ) -> Result<(Connection, i32)> {
        let Leader { node, epoch } = self.leader(at).ok_or_else(|| self.unknown_partition(at))?;
        let address = node.and_then(|node| self.address(node));
        let address = address.ok_or_else(|| leaderless(at))?;
        Ok((pool.get(&address).await?, epoch))
    }

    /// The administering broker's connection; any, where it is not told.
    pub(super) async fn controller(&self) -> Result<Connection> {
        let address = {
            let metadata = self.read();
            metadata.controller.and_then(|node| metadata.brokers.get(&node).cloned())
        };
        match address {
            Some(address) => self.pool.get(&address).await,
            None => self.any_broker().await,
        }
    }

    /// A connection to some broker: one that is open, or else the first that can be opened.
    pub(super) async fn any_broker(&self) -> Result<Connection> {
        if let Some((_, connection)) = self.pool.any_open() {
            return Ok(connection);
        }
        let mut addresses: Vec<Address> = self.read().brokers.values().cloned().collect();
        let named = self.bootstrap.iter().filter(|it| !addresses.contains(it)).cloned();
        addresses.extend(named.collect::<Vec<_>>());
        let mut attempts = Vec::new();
        for address in addresses {
            match self.pool.get(&address).await {
                Ok(connection) => return Ok(connection),
                Err(Error::Disconnected { broker, reason }) => {
                    attempts.push((broker, reason.to_string()));
                }
                Err(error) => return Err(error),
            }
        }
        Err(Error::Unreachable { attempts })
    }

    /// The topic; it is asked for if it is not known, and (`create`) created if the broker creates
    /// topics.
    pub(super) async fn topic(&self, name: &TopicName, create: bool) -> Result<Arc<TopicMetadata>> {
        let mut backoff = Backoff::new(self.settings.retry_backoff);
        let begun = Instant::now();
        loop {
            if let Some(found) = self.known_topic(name.as_str()) {
                self.wanted().topics.insert(name.clone());
                return Ok(found);
            }
            let asked = std::slice::from_ref(name);
            let (error, patience) = match self.ask(Some(asked), create).await {
                Ok(()) if self.known_topic(name.as_str()).is_some() => continue,
                Ok(()) => {
                    let error = self.read().error(name).unwrap_or(ErrorCode::NONE);
                    let unknown = || Error::UnknownTopic { topic: name.to_string() };
                    match (error, verdict(error)) {
                        (ErrorCode::NONE, _) => (unknown(), self.settings.topic_timeout),
                        (_, Verdict::Final) => {
                            return Err(of_code(error, format!("topic {name:?}"), None));
                        }
                        _ => (unknown(), self.settings.topic_timeout),
                    }
                }
                Err(error) => (error, self.settings.api_timeout),
            };
            let pause = backoff.next();
            if !error.is_retriable() && !matches!(error, Error::UnknownTopic { .. })
                || begun.elapsed() + pause > patience
            {
                return Err(error);
            }
            sleep(pause).await;
        }
    }

    /// Asks for news soon, and does not wait for them.
    pub(super) fn nudge(&self) {
        self.nudge.notify_one();
    }

    /// Asks for news of all topics in use. An answer that comes to others while this waits for its
    /// turn serves as well.
    pub(super) async fn refresh(&self) -> Result<()> {
        let answered = *self.answered.borrow();
        let one_at_a_time = self.refreshing.lock().await;
        if *self.answered.borrow() > answered {
            return Ok(());
        }
        let wanted = {
            let wanted = self.wanted();
            (!wanted.all).then(|| wanted.topics.iter().cloned().collect::<Vec<_>>())
        };
        let asked = self.ask(wanted.as_deref(), false).await;
        if asked.is_ok() {
            self.answered.send_modify(|answered| *answered += 1);
        }
        drop(one_at_a_time);
        asked
    }

    async fn ask(&self, topics: Option<&[TopicName]>, create: bool) -> Result<()> {
        let connection = self.any_broker().await?;
        let named = |name: &TopicName| MetadataRequestTopic {
            name: Some(name.to_string()),
            ..MetadataRequestTopic::default()
        };
        let request = MetadataRequest {
            topics: topics.map(|topics| topics.iter().map(named).collect()),
            allow_auto_topic_creation: create,
            ..MetadataRequest::default()
        };
        let response = connection.ask(&request).await?;
        let changed = {
            let mut metadata = self.metadata.write().expect("no one panics with the metadata");
            metadata.take_in(response, topics, Instant::now())
        };
        if changed {
            self.version.send_modify(|version| *version += 1);
        }
        self.rounds.send_modify(|rounds| *rounds += 1);
        Ok(())
    }

    /// Does something until it succeeds, fails for good, or has taken too long.
    pub(super) async fn until_done<T, F: Future<Output = Result<T>>>(
        &self,
        what: &str,
        attempt: impl FnMut() -> F,
    ) -> Result<T> {
        self.until_done_within(what, self.settings.api_timeout, attempt).await
    }

    /// The same, with a time of its own.
    pub(super) async fn until_done_within<T, F: Future<Output = Result<T>>>(
        &self,
        what: &str,
        patience: Duration,
        mut attempt: impl FnMut() -> F,
    ) -> Result<T> {
        let mut backoff = Backoff::new(self.settings.retry_backoff);
        let begun = Instant::now();
        let mut last = None;
        loop {
            let left = patience.saturating_sub(begun.elapsed());
            let late = || Error::Timeout { what: what.to_owned(), after: patience };
            let error = match timeout(left, attempt()).await {
                Ok(Err(error)) if error.is_retriable() => error,
                Ok(done) => return done,
                // Why it was tried again says more.
                Err(_) => return Err(last.unwrap_or_else(late)),
            };
            let pause = backoff.next();
            if begun.elapsed() + pause >= patience {
                return Err(error);
            }
            tracing::debug!(what, %error, "tried again");
            last = Some(error);
            sleep(pause).await;
            // Who leads, or coordinates, may be somebody else by now.
            let _ = timeout(self.settings.request_timeout, self.refresh()).await;
        }
    }

    /// Why a partition can't be found.
    pub(super) fn unknown_partition(&self, at: &TopicPartition) -> Error {
        let topic = at.topic.to_string();
        match self.known_topic(at.topic.as_str()) {
            Some(known) => Error::UnknownPartition {
                topic,
                partition: at.partition,
                partitions: known.partitions,
            },
            None => Error::UnknownTopic { topic },
        }
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Metadata> {
        self.metadata.read().expect("no one panics with the metadata")
    }

    fn wanted(&self) -> std::sync::MutexGuard<'_, Wanted> {
        self.wanted.lock().expect("no one panics with the list")
    }
}

/// For now.
pub(super) fn leaderless(at: &TopicPartition) -> Error {
    of_code(ErrorCode::LEADER_NOT_AVAILABLE, format!("finding the leader of {at}"), None)
}

/// Asks for metadata when they are old, or somebody misses something, for as long as there is a
/// client.
async fn keep_fresh(cluster: Weak<Cluster>) {
    let mut backoff = None;
    loop {
        let Some(held) = cluster.upgrade() else { return };
        let mut pauses =
            backoff.take().unwrap_or_else(|| Backoff::new(held.settings.retry_backoff));
        let pause = match held.refresh().await {
            Ok(()) => {
                pauses.reset();
                let in_doubt = held.read().is_in_doubt();
                if in_doubt { pauses.next() } else { held.settings.metadata_max_age }
            }
            Err(error) => {
                tracing::debug!(%error, "no metadata");
                pauses.next()
            }
        };
        backoff = Some(pauses);
        let least = held.settings.retry_backoff.0;
        drop(held);
        nudged_or_late(&cluster, least, pause).await;
    }
}

/// Waits for a nudge, `pause` at most and `least` at least.
async fn nudged_or_late(cluster: &Weak<Cluster>, least: Duration, pause: Duration) {
    sleep(least.min(pause)).await;
    let end = Instant::now() + pause.saturating_sub(least);
    // Looks up now and then, so as not to keep the client alive.
    while Instant::now() < end {
        let Some(held) = cluster.upgrade() else { return };
        let nudged = held.nudge.notified();
        let step = (end - Instant::now()).min(Duration::from_secs(1));
        if timeout(step, nudged).await.is_ok() {
            return;
        }
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("bootstrap", &self.bootstrap).finish_non_exhaustive()
    }
}
