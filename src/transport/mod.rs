//! The second seam: the calls that a client makes, wherever the broker is.
//!
//! Producers and consumers hold an `Arc<dyn Transport>` and know no more. Nothing here knows a
//! socket or an actor; `local` leads to the actors of this process.

mod admin;
pub(crate) mod backoff;
pub(crate) mod local;
#[cfg(feature = "tcp")]
pub(crate) mod tcp;

use std::fmt::{self, Debug};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::batch::{Batch, Compression};
use crate::clock::Clock;
use crate::error::{Error, Result};
pub(crate) use crate::group::{
    Commit, CommittedOffset, JoinGroup, Joined, MemberRef, SyncGroup, Synced,
};
#[cfg(any(test, feature = "tcp"))]
pub(crate) use crate::partition::Completion;
pub(crate) use crate::partition::ready::wake;
pub(crate) use crate::partition::{BatchMetadata, BatchPart, BatchSource, Buffered, QueuedBatch};
use crate::record::Timestamp;
use crate::topic::{TopicId, TopicName, TopicPartition};

pub(crate) use admin::Administration;

/// What a client must know of a topic to produce to it and consume from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TopicMetadata {
    pub(crate) name: TopicName,
    pub(crate) id: TopicId,
    /// How many partitions it has; they count from 0.
    pub(crate) partitions: i32,
    /// The largest batch it takes.
    pub(crate) max_batch_bytes: usize,
    /// The setting that says so: `max.message.bytes`, or `segment.bytes` if that is less.
    pub(crate) max_batch_setting: &'static str,
    /// Whether every record must have a key: the topic is compacted.
    pub(crate) needs_keys: bool,
    /// How its batches are to be compressed; `None` leaves it to the producer.
    pub(crate) compression: Option<Compression>,
}

/// The calls a client makes.
#[async_trait]
pub(crate) trait Transport: Debug + Send + Sync + 'static {
    /// The clock by which this client stamps and waits.
    fn clock(&self) -> &Clock;

    /// The same transport for what goes on after its users have let go, so that whoever waits for
    /// that need not wait for nothing. `None` if there is no difference.
    fn unattended(&self) -> Option<Arc<dyn Transport>> {
        None
    }

    /// Whether there is somebody to ask: one attempt, for callers that want to know soon why not.
    async fn reach(&self) -> Result<()> {
        Ok(())
    }

    /// The topic as far as it is known here, without waiting. `None` sends the caller to
    /// [`Transport::metadata`].
    fn known_topic(&self, topic: &str) -> Option<Arc<TopicMetadata>>;

    /// All topics, as far as they are known here, without waiting; not the broker's own.
    fn known_topics(&self) -> Vec<Arc<TopicMetadata>>;

    /// All topics, asked for where they are not known here.
    async fn all_topics(&self) -> Result<Vec<Arc<TopicMetadata>>> {
        Ok(self.known_topics())
    }

    /// Looks whether there is news of topics that [`Transport::known_topic`] does not know yet.
    /// False where there can't be.
    async fn looks_again(&self) -> bool {
        false
    }

    /// The topic; if it is unknown and automatic creation is on, it is created.
    async fn metadata(&self, topic: &TopicName) -> Result<Arc<TopicMetadata>>;

    /// Rises whenever topics or partitions come or go.
    fn metadata_version(&self) -> watch::Receiver<u64>;

    /// Fails once the broker takes no records any more.
    fn check_open(&self) -> Result<()> {
        Ok(())
    }

    /// Where a producer closes a batch, in bytes, if it was not told.
    fn batch_size(&self) -> usize {
        64 << 10
    }

    /// Makes a producer known, whose records are to be sent before the broker closes.
    fn register(&self, producer: Weak<dyn Buffered>) {
        let _ = producer;
    }

    /// Waits until what producers have taken is answered, where nothing else takes care of it: a
    /// broker of this process does as it closes.
    async fn drain(&self) {}

    /// Hands over a batch for appending. Never waits; the batch is taken from its source when its
    /// turn comes, and its fate told exactly once, on whatever thread finishes the work (possibly
    /// before this returns, possibly this one).
    fn submit(&self, submission: Submission);

    /// A number for somebody who numbers batches by itself.
    async fn producer_id(&self) -> Result<ProducerId>;

    /// Sends a batch that is ready as it is, once, and waits for what becomes of it. Dropped, it
    /// may have been appended, or be later.
    async fn produce(&self, at: &TopicPartition, topic_id: TopicId, batch: Bytes) -> Produced;

    /// A fetch session: many partitions, one place to wait. Brokers that have replicas learn where
    /// the reader stands (`client.rack`; empty: nowhere in particular).
    fn fetcher(&self, client_rack: &str) -> Box<dyn Fetcher>;

    /// The offset that `spec` describes.
    async fn list_offset(&self, at: &TopicPartition, spec: OffsetSpec) -> Result<ListedOffset>;

    /// The way to a consumer group, for one consumer.
    fn group(&self, id: &str) -> Arc<dyn GroupSession>;

    /// What an administrator may ask.
    fn admin(&self) -> &dyn Administration;
}

/// What one consumer asks its group's coordinator. All futures are cancel safe: dropped, the
/// question may have been answered.
#[async_trait]
pub(crate) trait GroupSession: Debug + Send + Sync {
    /// What the client calls itself (`client.id`).
    fn client_id(&self) -> String {
        "ottla".to_owned()
    }

    /// Joins, or joins again; waits for the rebalance that follows. The first join makes this
    /// session's owner a member for as long as the session lives.
    async fn join(&self, request: JoinGroup) -> Result<Joined>;

    /// Asks for the assignment, and brings that of all as the leader; waits for the leader.
    async fn sync(&self, request: SyncGroup) -> Result<Synced>;

    /// Rises when the member should ask, by [`GroupSession::heartbeat`], whether its generation is
    /// still the group's.
    fn changes(&self) -> Result<watch::Receiver<u64>>;

    /// Done at `deadline`, by the clock's `instant`; for callers that may be on no runtime.
    fn sleep_until(&self, deadline: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>>;

    /// Fails if the group rebalances, or does not know the member any more.
    async fn heartbeat(&self, member: MemberRef, generation: i32) -> Result<()>;

    /// Does something beside the member, until what is returned is dropped.
    fn beside(&self, work: Pin<Box<dyn Future<Output = ()> + Send>>) -> JoinSet<()>;

    /// Says no more that the member is there: it is gone when its session is over.
    fn fall_silent(&self);

    /// Leaves the group.
    async fn leave(&self, member: MemberRef) -> Result<()>;

    /// Stores offsets.
    async fn commit(&self, commit: Commit) -> Result<()>;

    /// The stored offsets of these partitions, where there are any.
    async fn committed(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<Vec<(TopicPartition, CommittedOffset)>>;
}

/// One batch on its way to a partition.
pub(crate) struct Submission {
    pub(crate) at: TopicPartition,
    /// The topic's id when the producer chose it: a re-created topic must not get the batch.
    pub(crate) topic_id: TopicId,
    /// An encoded record batch, once it is taken.
    pub(crate) batch: QueuedBatch,
    /// Whether the caller waits for its fate, and may as well do the work.
    pub(crate) is_awaited: bool,
    /// How long may be tried to deliver it, where that may take several attempts.
    #[cfg_attr(not(feature = "tcp"), expect(dead_code, reason = "one attempt is enough here"))]
    pub(crate) delivery_timeout: Duration,
}

impl Debug for Submission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Submission").field("at", &self.at).finish_non_exhaustive()
    }
}

/// Who an idempotent producer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ProducerId {
    pub(crate) id: i64,
    pub(crate) epoch: i16,
}

/// What became of a batch that was sent once.
#[derive(Debug)]
pub(crate) enum Produced {
    /// It is there, now or since before; where, if that is known.
    Appended { base_offset: Option<i64> },
    /// The numbers do not follow those that are there. It was not appended.
    OutOfSequence(Error),
    /// There are batches of a later epoch. It was not appended.
    Fenced(Error),
    /// It is too large, and was not appended.
    TooLarge(Error),
    /// Nobody knows, or it may go better later.
    Again(Error),
    /// It was refused.
    Failed(Error),
}

/// A place in a partition's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FetchPosition {
    /// The next offset to read.
    pub(crate) offset: i64,
    /// The leader epoch of the record before it; -1 if unknown.
    pub(crate) leader_epoch: i32,
}

/// A fetch session. Partitions that have records are served in turn; those that have none wait
/// in one queue. Poll-based, so that `recv` can be dropped at any time and loses nothing: what
/// has been read but not returned stays in the session.
pub(crate) trait Fetcher: Send {
    /// Starts fetching `at` from `position`, or moves there. What was read for the old position
    /// is forgotten. `topic_id` ties the session to this life of the topic.
    fn fetch_from(&mut self, at: &TopicPartition, topic_id: TopicId, position: FetchPosition);

    /// Stops fetching `at`, for now: memory that waits for readers waits on for this one.
    fn stop(&mut self, at: &TopicPartition);

    /// Stops fetching `at` for good.
    fn leave(&mut self, at: &TopicPartition) {
        self.stop(at);
    }

    /// The next batches of any partition. Each answer moves that partition's position behind it;
    /// after an error the partition stands still until the next `fetch_from`.
    fn poll_fetch(&mut self, cx: &mut Context<'_>, max_bytes: usize) -> Poll<Fetched>;
}

/// What a fetch session read of one partition.
#[derive(Debug)]
pub(crate) struct Fetched {
    pub(crate) at: TopicPartition,
    /// Whole batches; the first may begin before the position asked for. Never empty.
    pub(crate) result: Result<Vec<Batch>>,
    /// Whether the records are known to be well formed: they have been in this process's memory
    /// from when they were encoded, or validated.
    pub(crate) is_sound: bool,
}

impl Fetched {
    /// What may hold anything, as what came from a network.
    pub(crate) fn unchecked(at: TopicPartition, result: Result<Vec<Batch>>) -> Self {
        Fetched { at, result, is_sound: false }
    }
}

/// Which offset of a partition is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OffsetSpec {
    /// That of the first record there is.
    Earliest,
    /// That of the record which comes next.
    Latest,
    /// The first record with at least this timestamp.
    Timestamp(Timestamp),
}

/// The offset that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ListedOffset {
    /// `None` if no record has such a timestamp.
    pub(crate) offset: Option<i64>,
    pub(crate) leader_epoch: i32,
}
