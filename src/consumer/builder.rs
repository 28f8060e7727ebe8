//! Making a [`Consumer`]: settings, and the verbs that say what it reads.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::group::{GroupSettings, GroupStart, Membership, RebalanceListener, committed_begins};
use super::subscription::{Pattern, Subscription};
use super::{Consumer, OutOfRange, Position, Settings, Start};
use crate::assignor::Strategy;
use crate::batch::DEFAULT_MAX_DECOMPRESSED_BYTES;
use crate::error::{Error, Result};
use crate::topic::{TopicId, TopicName, TopicPartition};
use crate::transport::{OffsetSpec, TopicMetadata, Transport};

/// 1 MiB, Kafka's default for `max.partition.fetch.bytes`.
const DEFAULT_MAX_PARTITION_FETCH_BYTES: usize = 1 << 20;

/// The longest `client.rack`, in bytes.
const MAX_CLIENT_RACK: usize = 249;

/// Settings of a [`Consumer`]; ends with [`subscribe`](ConsumerBuilder::subscribe) or
/// [`assign`](ConsumerBuilder::assign).
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until `subscribe` or `assign`"]
pub struct ConsumerBuilder {
    transport: Arc<dyn Transport>,
    start: Start,
    settings: Settings,
    group: Option<GroupSettings>,
}

impl ConsumerBuilder {
    pub(crate) fn new(transport: Arc<dyn Transport>) -> Self {
        let settings = Settings {
            out_of_range: OutOfRange::default(),
            max_partition_fetch_bytes: DEFAULT_MAX_PARTITION_FETCH_BYTES,
            max_decompressed_bytes: DEFAULT_MAX_DECOMPRESSED_BYTES,
            client_rack: "".into(),
        };
        ConsumerBuilder { transport, start: Start::default(), settings, group: None }
    }

    /// Makes the consumer part of a group (`group.id`). With [`subscribe`](Self::subscribe) the
    /// group's members share the partitions; with [`assign`](Self::assign) the group only keeps
    /// offsets. Reading begins where the group has committed.
    pub fn group(self, id: &str) -> Self {
        self.with_group(|group| group.id = Some(id.into()))
    }

    /// Makes the consumer a static member (`group.instance.id`): gone for less than 45 s, it has
    /// its partitions back without a rebalance. Not for two consumers at once: the second fences
    /// the first. It also keeps its place when the broker is opened again, or it is closed: for
    /// that time the group has a member, unless
    /// [`Admin::remove_member`](crate::admin::Admin::remove_member) puts it out.
    pub fn group_instance_id(self, id: impl Into<String>) -> Self {
        self.with_group(|group| group.instance_id = Some(id.into()))
    }

    /// What the group's description calls the consumer (`client.id`), and what the member ids begin
    /// with that it is given. Default: the client's (`ClientBuilder::client_id`), or `ottla`.
    pub fn client_id(self, id: impl Into<String>) -> Self {
        self.with_group(|group| group.client_id = Some(id.into()))
    }

    /// How the group shares out partitions, by preference; all members must have one in common
    /// (`partition.assignment.strategy`). Default: [`Strategy::CooperativeSticky`] alone.
    pub fn strategies(self, strategies: impl IntoIterator<Item = Strategy>) -> Self {
        self.with_group(|group| group.strategies = strategies.into_iter().collect())
    }

    /// How long this consumer may go without being polled before its partitions go to others
    /// (`max.poll.interval.ms`), and how long a rebalance waits for it. Default 5 minutes, at least
    /// 1 ms.
    ///
    /// A consumer that awaits is polled: the time runs from the end of one
    /// [`recv`](Consumer::recv), [`poll`](Consumer::poll) or `try_recv` to the next, and as a
    /// stream from one record to the next. Then it leaves the group, up to a quarter of the
    /// interval later; with [`group_instance_id`](Self::group_instance_id) it keeps its partitions
    /// for another 45 s. Its next call tells the listener that they are
    /// [`lost`](RebalanceListener::lost), and joins again; what was not committed is read again.
    /// Commits before that call are [`Error::Group`].
    pub fn max_poll_interval(self, interval: Duration) -> Self {
        self.with_group(|group| group.max_poll_interval = interval)
    }

    /// Commits by itself: at this interval, 1 ms or more, as long as it is polled or awaited,
    /// before partitions leave, and when it is closed. What was handed out before the latest call
    /// counts as consumed. Default: never.
    pub fn auto_commit(self, interval: Duration) -> Self {
        self.with_group(|group| group.auto_commit = Some(interval))
    }

    /// Who is told of partitions that come and go.
    pub fn rebalance_listener(self, listener: impl RebalanceListener) -> Self {
        self.with_group(|group| group.listener = Some(Arc::new(listener)))
    }

    fn with_group(mut self, set: impl FnOnce(&mut GroupSettings)) -> Self {
        // Without a group there is nothing to set; the verbs say so.
        set(self.group.get_or_insert_default());
        self
    }

    fn membership(&self, start: GroupStart, assigned: bool) -> Result<Option<Box<Membership>>> {
        let Some(group) = &self.group else { return Ok(None) };
        let id = group.check()?;
        let session = self.transport.group(&id);
        let clock = self.transport.clock().clone();
        let membership = Membership::new(session, id, group.clone(), start, assigned, clock);
        Ok(Some(Box::new(membership)))
    }

    /// Where to begin in a partition without a position. Default: [`Start::Earliest`].
    pub fn start(mut self, start: Start) -> Self {
        self.start = start;
        self
    }

    /// What to do when the position lies outside of the log. Default: [`OutOfRange::Error`].
    pub fn out_of_range(mut self, policy: OutOfRange) -> Self {
        self.settings.out_of_range = policy;
        self
    }

    /// How much of one partition is read at a time, in bytes; a batch that is larger is read all
    /// the same. Default: 1 MiB. Kafka: `max.partition.fetch.bytes`.
    pub fn max_partition_fetch_bytes(mut self, bytes: usize) -> Self {
        self.settings.max_partition_fetch_bytes = bytes;
        self
    }

    /// How much memory one batch may take once it is decompressed, in bytes: what is compressed may
    /// be a thousand times as long. Default: 64 MiB. Kafka has no such limit.
    ///
    /// A batch that would take more is one [`Error::InvalidRecord`], for
    /// [`DecompressedTooLarge`](crate::BatchError::DecompressedTooLarge), and consuming goes on
    /// behind it. Its records are still there for a consumer with a higher limit.
    pub fn max_decompressed_bytes(mut self, bytes: usize) -> Self {
        self.settings.max_decompressed_bytes = bytes;
        self
    }

    /// Where the consumer stands (`client.rack`), as the brokers call it: the data center, or the
    /// zone of one. Up to 249 bytes; default: nowhere in particular.
    ///
    /// A cluster whose brokers have racks, and a `replica.selector.class`, then lets it read from a
    /// replica that is near instead of the leader (KIP-392), for as long as that has what it asks
    /// for; the leader is asked again after the client's `metadata_max_age`. A group's leader that
    /// heeds racks learns of it, too (KIP-881); the strategies here do not. In this process, and at
    /// a port of this library, there are no replicas, and it changes nothing.
    pub fn client_rack(mut self, rack: impl Into<Arc<str>>) -> Self {
        self.settings.client_rack = rack.into();
        self
    }

    /// Reads all partitions of these topics, and those that are added later, from their
    /// beginning: all they hold is newer than the subscription.
    ///
    /// A topic that is unknown is created, if the broker does that by itself. One that is deleted
    /// later is one [`Error::UnknownTopic`] from the consumer; if it is created again, it is
    /// read again, from its beginning. [`Start::Latest`] is decided before this returns: what is
    /// produced afterwards is read.
    ///
    /// Errors: [`Error::InvalidTopic`]; [`Error::UnknownTopic`]; [`Error::InvalidState`] without
    /// any topic; [`Error::Closed`]. Cancel safe, but a topic may have been created.
    pub async fn subscribe(
        self,
        topics: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Result<Consumer> {
        let parsed = topics.into_iter().map(|topic| TopicName::parse(topic.as_ref()));
        let names = parsed.collect::<Result<Vec<_>, _>>()?;
        // Taken before the topics are looked at: whatever changes afterwards is noticed.
        let version = self.transport.metadata_version();
        let topics: Vec<_> = self.topics(names).await?.into_values().collect();
        let subscription = Subscription::to_topics(topics.iter().map(AsRef::as_ref));
        self.follow(&topics, subscription, version).await
    }

    /// Reads all topics whose whole name the regular expression matches, those that are created
    /// later included; the broker's own never. That there is none yet is fine. A topic that is
    /// deleted is no error here: whoever names no topic misses none.
    ///
    /// As [`ConsumerBuilder::subscribe`] in all else; [`Error::InvalidState`] for what is no
    /// regular expression (the syntax is that of the `regex-lite` crate: no look-around, no
    /// back-references, and it takes linear time).
    pub async fn subscribe_pattern(self, pattern: &str) -> Result<Consumer> {
        let pattern = Pattern::new(pattern)?;
        self.check_rack()?;
        self.transport.check_open()?;
        let version = self.transport.metadata_version();
        let mut topics = self.transport.all_topics().await?;
        topics.retain(|topic| pattern.matches(topic.name.as_str()));
        let subscription = Subscription::to_pattern(pattern, topics.iter().map(AsRef::as_ref));
        self.follow(&topics, subscription, version).await
    }

    async fn follow(
        self,
        topics: &[Arc<TopicMetadata>],
        subscription: Subscription,
        version: watch::Receiver<u64>,
    ) -> Result<Consumer> {
        let all = topics.iter().flat_map(|topic| {
            let at = |partition| TopicPartition { topic: topic.name.clone(), partition };
            (0..topic.partitions).map(move |partition| (at(partition), topic.id))
        });
        let all = all.collect();
        // Whoever names no topic misses none.
        let may_go = !subscription.names_topics();
        let (membership, positions) = match self.group {
            // Partitions come from the group.
            Some(_) => {
                let start =
                    GroupStart::decided_now(&*self.transport, self.start, all, may_go).await?;
                (self.membership(start, false)?, Vec::new())
            }
            None => (None, self.positions(all, may_go).await?),
        };
        let (transport, settings) = (self.transport, self.settings);
        Ok(Consumer::new(transport, settings, subscription, version, membership, positions))
    }

    /// Reads these partitions, and no others. If their topic is deleted, that is one
    /// [`Error::UnknownTopic`] from the consumer, and they are no longer assigned.
    ///
    /// As [`ConsumerBuilder::subscribe`] in all else, and [`Error::UnknownPartition`].
    pub async fn assign(
        self,
        partitions: impl IntoIterator<Item = TopicPartition>,
    ) -> Result<Consumer> {
        let mut wanted = partitions.into_iter().collect::<Vec<_>>();
        wanted.sort_unstable();
        wanted.dedup();
        let version = self.transport.metadata_version();
        let names = wanted.iter().map(|at| at.topic.clone()).collect();
        let topics = self.topics(names).await?;
        let known = wanted.into_iter().map(|at| match topics.get(&at.topic) {
            Some(topic) if (0..topic.partitions).contains(&at.partition) => Ok((at, topic.id)),
            topic => Err(Error::UnknownPartition {
                topic: at.topic.to_string(),
                partition: at.partition,
                partitions: topic.map_or(0, |topic| topic.partitions),
            }),
        });
        let known = known.collect::<Result<Vec<_>>>()?;
        let membership = self.membership(GroupStart::new(self.start), true)?;
        let positions = match &self.group {
            Some(group) => {
                let session = self.transport.group(&group.check()?);
                let start = GroupStart::new(self.start);
                committed_begins(&*self.transport, &*session, known, &start, false).await?
            }
            None => self.positions(known, false).await?,
        };
        let subscription = Subscription::to_partitions(topics.values().map(AsRef::as_ref));
        let (transport, settings) = (self.transport, self.settings);
        Ok(Consumer::new(transport, settings, subscription, version, membership, positions))
    }

    fn check_rack(&self) -> Result<()> {
        let len = self.settings.client_rack.len();
        let reason = || format!("{len} bytes: it takes up to {MAX_CLIENT_RACK}");
        match len > MAX_CLIENT_RACK {
            true => Err(Error::InvalidConfig { name: "client.rack".to_owned(), reason: reason() }),
            false => Ok(()),
        }
    }

    async fn topics(
        &self,
        names: Vec<TopicName>,
    ) -> Result<BTreeMap<TopicName, Arc<TopicMetadata>>> {
        self.check_rack()?;
        if names.is_empty() {
            return Err(Error::InvalidState("a consumer needs something to consume".into()));
        }
        let mut topics = BTreeMap::new();
        for name in names {
            if topics.contains_key(&name) {
                continue;
            }
            let topic = match self.transport.known_topic(name.as_str()) {
                Some(topic) => topic,
                None => self.transport.metadata(&name).await?,
            };
            topics.insert(name, topic);
        }
        Ok(topics)
    }

    async fn positions(
        &self,
        partitions: Vec<(TopicPartition, TopicId)>,
        may_go: bool,
    ) -> Result<Vec<Begin>> {
        let mut positions = Vec::with_capacity(partitions.len());
        for (at, topic_id) in partitions {
            match locate(&*self.transport, &at, self.start).await {
                Ok(position) => positions.push(Begin { at, topic_id, position }),
                Err(Error::UnknownTopic { .. }) if may_go => {}
                Err(error) => return Err(error),
            }
        }
        Ok(positions)
    }
}

/// A partition, and where its reading begins.
pub(super) struct Begin {
    pub(super) at: TopicPartition,
    pub(super) topic_id: TopicId,
    pub(super) position: Position,
}

/// The offset that `start` means for a partition now.
pub(super) async fn locate(
    transport: &dyn Transport,
    at: &TopicPartition,
    start: Start,
) -> Result<Position> {
    let list = async |spec| transport.list_offset(at, spec).await.map(Position::listed);
    // Every log has a first offset and an end, so only a timestamp can find nothing.
    match start {
        Start::Earliest => Ok(list(OffsetSpec::Earliest).await?.unwrap_or_default()),
        Start::Latest => Ok(list(OffsetSpec::Latest).await?.unwrap_or_default()),
        Start::Timestamp(timestamp) => {
            // The end comes first: asked for later, it would skip records that arrive between.
            let end = list(OffsetSpec::Latest).await?.unwrap_or_default();
            Ok(list(OffsetSpec::Timestamp(timestamp)).await?.unwrap_or(end))
        }
    }
}
