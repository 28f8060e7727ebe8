//! Forwarding a broker's topics to a cluster: [`Broker::mirror`].
//!
//! One task watches which partitions there are (`watch`), and one works for each (`forward`): it
//! reads batches from the source, numbers them, sends them one after the other, and notes how far
//! it has come. `place` is what is remembered, and what the target's own batches tell; `outgoing`
//! makes batches for the target from those of the source.

mod forward;
mod outgoing;
mod place;
mod stats;
mod watch;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::broker::core::{Claim, Taken};
use crate::broker::{Broker, check_not_internal};
use crate::client::Client;
use crate::consumer::Start;
use crate::error::{Error, Result};
use crate::topic::{TopicName, TopicPartition};
use crate::transport::local::LocalTransport;
use crate::transport::{ProducerId, Transport};

pub use stats::{MirrorStats, MirroredPartition};

use stats::Progress;
use watch::Watch;

/// What the name of a mirror's group begins with.
const GROUP: &str = "ottla-mirror-";
/// What all partitions together may have read and not sent, in round figures; sending takes twice
/// as much again.
const MEMORY: usize = 32 << 20;
/// When partitions are tried again that could not be begun.
const RETRY: Duration = Duration::from_secs(1);

/// What happens when a partition has come to the most that it may take
/// ([`TopicConfig::max_partition_bytes`](crate::TopicConfig::max_partition_bytes)), or memory is
/// used up, with records that are not mirrored yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Backlog {
    /// Producers wait until there is room. Retention keeps what is not mirrored, too. In memory,
    /// topics share what there is: once nothing else can be dropped, producers of topics that are
    /// not mirrored get [`Error::MemoryFull`].
    #[default]
    Block,
    /// The oldest records go, mirrored or not, as without a mirror; also those that are older than
    /// `retention.ms`. [`MirroredPartition::lost`] counts them.
    DropOldest,
    /// Producers get [`Error::BacklogFull`], in memory [`Error::MemoryFull`]. Retention keeps what
    /// is not mirrored, too.
    Reject,
}

/// What the target may have twice after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guarantee {
    /// Nothing: each record is there once.
    ExactlyOnce,
    /// What was under way when the program ended, and what was sent in the second before.
    AtLeastOnce,
}

/// A mirror that is to be: ends with [`to`](MirrorBuilder::to).
#[derive(Debug)]
#[must_use = "a builder does nothing before `to`"]
pub struct MirrorBuilder {
    broker: Broker,
    topics: Vec<String>,
    name: String,
    backlog: Backlog,
    start: Start,
    creates_topics: bool,
    batch_size: Option<usize>,
}

/// What all tasks of a mirror share.
struct Settings {
    source: LocalTransport,
    topics: Vec<TopicName>,
    target: Arc<dyn Transport>,
    group: String,
    backlog: Backlog,
    start: Start,
    creates_topics: bool,
    batch_size: usize,
    progress: Progress,
    /// How many partitions may hold what they have read, and send it.
    reads: Arc<Semaphore>,
    /// Held by all tasks, so that none is left when the next mirror of this name begins.
    claim: Claim,
    /// Who the mirror is to the target, once somebody has asked.
    producer: tokio::sync::Mutex<Option<ProducerId>>,
}

/// A mirror at work. Dropped, it stops where it is; [`Mirror::stop`] waits until it has noted
/// where.
///
/// It keeps its broker open, as any handle does.
#[derive(Debug)]
pub struct Mirror {
    settings: Arc<Settings>,
    stop: tokio::sync::watch::Sender<bool>,
    /// `None` once it has been waited for.
    task: Option<JoinHandle<()>>,
}

impl Broker {
    /// Forwards topics of this broker to another, or to a cluster: settings, then
    /// [`to`](MirrorBuilder::to). Topics that are not there yet are mirrored once they are.
    ///
    /// Each record arrives in the partition of the same number of the topic of the same name, with
    /// its key, value, headers and timestamp. Order is kept within a partition. Others may write to
    /// those topics as well: many brokers can be mirrored to one cluster.
    ///
    /// ```
    /// use ottla::{Broker, Record};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> ottla::Result<()> {
    /// # let cluster = Broker::in_memory().await?;
    /// # let client = cluster.client();
    /// let broker = Broker::in_memory().await?; // or Broker::open("./data").await?
    /// let mirror = broker.mirror(["readings"]).to(&client).await?;
    ///
    /// broker.producer().build().send(Record::to("readings").value("21.5")).await?;
    /// mirror.caught_up().await?;
    /// let mut consumer = client.consumer().subscribe(["readings"]).await?;
    /// assert_eq!(consumer.recv().await?.value.as_deref(), Some(&b"21.5"[..]));
    /// mirror.stop().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Where it goes on
    ///
    /// How far it has come is noted in the broker, as offsets of the group `ottla-mirror-NAME`,
    /// which do not expire: about once a second, and at [`Mirror::stop`]. In a data directory that
    /// outlives the process. What was sent after the last note is found in the target: its batches
    /// have the mirror's producer id, and numbers that follow the source's offsets. The target
    /// takes no batch whose number does not come next. So each record is there once, whichever side
    /// ends, is killed, or loses its connection in between: [`Guarantee::ExactlyOnce`]. To find its
    /// batches the mirror reads what was written to the target since the last note, by anybody.
    ///
    /// It is [`Guarantee::AtLeastOnce`] where numbers can't follow offsets, in topics that are
    /// compacted here, and where the target gives no producer id for want of permission. Brokers
    /// forget a producer that has sent nothing for a day (`producer.id.expiration.ms`); a batch
    /// that has been under way for longer than that would be there twice.
    ///
    /// # When the cluster is away
    ///
    /// The mirror tries again for as long as it takes, with growing pauses of up to ten seconds,
    /// and [`Mirror::stats`] says what it waits for, and how much. Meanwhile the broker keeps what
    /// is to be mirrored: give the topics a cap
    /// ([`max_partition_bytes`](crate::TopicConfig::max_partition_bytes)), and say by
    /// [`backlog`](MirrorBuilder::backlog) what happens when they reach it. That goes from when the
    /// mirror begins; while there is none, retention does as ever.
    pub fn mirror<T: Into<String>>(&self, topics: impl IntoIterator<Item = T>) -> MirrorBuilder {
        MirrorBuilder {
            broker: self.clone(),
            topics: topics.into_iter().map(Into::into).collect(),
            name: "default".to_owned(),
            backlog: Backlog::default(),
            start: Start::Earliest,
            creates_topics: true,
            batch_size: None,
        }
    }
}

impl MirrorBuilder {
    /// What its position is kept under; a broker that is mirrored to two clusters needs two names.
    /// Default: `default`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// What happens when there is no room for more that is not mirrored. Default:
    /// [`Backlog::Block`].
    pub fn backlog(mut self, backlog: Backlog) -> Self {
        self.backlog = backlog;
        self
    }

    /// Where a partition begins that was never mirrored under this name. Default:
    /// [`Start::Earliest`]; partitions that come later begin there in any case.
    pub fn start(mut self, start: Start) -> Self {
        self.start = start;
        self
    }

    /// Whether topics that the target does not have are created there, with as many partitions as
    /// here, and all else as the target has it. Default: true. Partitions are never added to a
    /// topic that is there: keys of other producers would move.
    pub fn create_topics(mut self, create: bool) -> Self {
        self.creates_topics = create;
        self
    }

    /// How long batches are, in bytes before they are compressed (`batch.size`). Default: the
    /// target's, which over the network is 1,000,000, but at least 256 KiB. One that the target
    /// takes for too large goes in parts.
    pub fn batch_size(mut self, bytes: usize) -> Self {
        self.batch_size = Some(bytes);
        self
    }

    /// Begins. It does not wait for the target, which may be away:
    /// [`ClientBuilder::connect_later`](crate::ClientBuilder::connect_later) makes a client then,
    /// too.
    ///
    /// # Errors
    /// [`Error::InvalidTopic`]; [`Error::InvalidConfig`] without topics, for a name that is no
    /// group's, and for one whose mirror is at work; [`Error::InvalidState`] if a topic would be
    /// mirrored to itself; [`Error::OpenForReading`], [`Error::Closed`].
    pub async fn to(self, client: &Client) -> Result<Mirror> {
        let invalid = |name: &str, reason: String| {
            Err(Error::InvalidConfig { name: name.to_owned(), reason })
        };
        let topics = self.topics.iter().map(|name| TopicName::parse(name));
        let topics = topics.collect::<Result<Vec<_>, _>>()?;
        for name in &topics {
            check_not_internal(name)?;
        }
        if topics.is_empty() {
            return invalid("topics", "there are none to mirror".to_owned());
        }
        if self.name.is_empty() || self.name.len() > 200 {
            return invalid("name", "a mirror's name has 1 to 200 bytes".to_owned());
        }
        if self.batch_size.is_some_and(|bytes| bytes == 0) {
            return invalid("batch.size", "it is at least 1".to_owned());
        }
        let core = &self.broker.0.core;
        core.check_open()?;
        core.check_writable()?;
        for name in topics.iter().map(TopicName::as_str) {
            let there = client.transport.known_topic(name).map(|topic| topic.id);
            if there.is_some() && there == core.topic(name).map(|topic| topic.id()) {
                let text = format!("{name:?} is mirrored to itself: its records would never end");
                return Err(Error::InvalidState(text));
            }
        }
        let group = format!("{GROUP}{}", self.name);
        let claim = loop {
            match core.claim(&group) {
                Ok(claim) => break claim,
                // One that was dropped ends when its tasks have.
                Err(Taken::Ending(mut is_over)) => drop(is_over.wait_for(|it| *it).await),
                Err(Taken::InUse) => {
                    let text = format!("the mirror {:?} of this broker is at work", self.name);
                    return invalid("name", text);
                }
            }
        };
        let source = LocalTransport::new(self.broker.0.clone());
        let settings = Arc::new(Settings {
            source,
            topics,
            target: client.transport.clone(),
            group,
            backlog: self.backlog,
            start: self.start,
            creates_topics: self.creates_topics,
            batch_size: self.batch_size.unwrap_or(client.transport.batch_size().max(256 << 10)),
            progress: Progress::default(),
            reads: Arc::new(Semaphore::new(MEMORY / forward::READ_BYTES)),
            claim,
            producer: tokio::sync::Mutex::default(),
        });
        let (stop, is_stopped) = tokio::sync::watch::channel(false);
        let watch = Watch::new(settings.clone(), is_stopped);
        // From here on nothing that is not mirrored is dropped.
        let watch = watch.begun().await?;
        let task = core.context.runtime.spawn(watch.run());
        Ok(Mirror { settings, stop, task: Some(task) })
    }
}

impl Mirror {
    /// How far it has come, partition by partition. It asks nobody.
    pub fn stats(&self) -> MirrorStats {
        self.settings.progress.stats()
    }

    /// Waits until all that was in the topics when this was called is in the target, or is lost to
    /// it; for as long as it takes. Cancel safe.
    ///
    /// # Errors
    /// [`Error::Closed`] if the mirror has ended, since its broker has.
    pub async fn caught_up(&self) -> Result<()> {
        let Settings { source, topics, progress, .. } = &*self.settings;
        source.check_open()?;
        let mut ends = Vec::new();
        for known in topics.iter().filter_map(|name| source.known_topic(name.as_str())) {
            for partition in 0..known.partitions {
                let at = TopicPartition { topic: known.name.clone(), partition };
                if let Ok(found) = source.partition(&at, Some(known.id)) {
                    ends.push(((at, known.id), found.reader().high_watermark()));
                }
            }
        }
        progress.caught_up(&ends, |(at, id)| source.partition(at, Some(*id)).is_err()).await
    }

    /// Stops, and notes how far it has come. What was under way is found again when a mirror of
    /// this name begins. Do so before [`Broker::shutdown`]. Cancel safe: dropped before it returns,
    /// it stops all the same.
    ///
    /// # Errors
    /// That of the note; the next mirror of this name looks closer, then.
    pub async fn stop(mut self) -> Result<()> {
        // Nobody listens if it has ended.
        let _ = self.stop.send(true);
        if let Some(task) = self.task.take() {
            let _ = task.await;
        }
        self.settings.progress.noted()
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        self.settings.claim.ends();
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings").field("group", &self.group).finish_non_exhaustive()
    }
}
