//! The transport to a broker in this process: channels to its actors, reads of its logs' shared
//! parts.

mod admin;
mod group;

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use fnv::FnvHashMap;
use tokio::sync::watch;

use crate::batch::{Batch, DEFAULT_MAX_DECOMPRESSED_BYTES};
use crate::broker::core::Topic;
use crate::broker::{BrokerHandle, UserHandle, check_not_internal};
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::log::ReadCursor;
use crate::partition::ready::ReadyQueue;
use crate::partition::{Buffered, Partition, ReaderPosition};
use crate::topic::{TopicId, TopicName, TopicPartition};

use self::group::LocalGroup;
use super::{
    Administration, FetchPosition, Fetched, Fetcher, GroupSession, ListedOffset, OffsetSpec,
    Produced, ProducerId, Submission, TopicMetadata, Transport,
};

/// Leads to the broker of this process that `handle` belongs to.
#[derive(Debug, Clone)]
pub(crate) struct LocalTransport {
    handle: Arc<BrokerHandle>,
    /// `None` if no user holds this.
    user: Option<Arc<UserHandle>>,
}

impl LocalTransport {
    pub(crate) fn new(user: Arc<UserHandle>) -> Self {
        LocalTransport { handle: user.0.clone(), user: Some(user) }
    }

    /// Done when the broker is closed.
    pub(crate) async fn ended(&self) {
        self.handle.core.ended().await;
    }

    /// The partition, if the broker is open, and the topic still the one that was meant.
    pub(crate) fn partition(&self, at: &TopicPartition, id: Option<TopicId>) -> Result<Partition> {
        self.handle.core.check_open()?;
        self.find(at, id)
    }

    /// The partition, which may be closing.
    fn find(&self, at: &TopicPartition, id: Option<TopicId>) -> Result<Partition> {
        let topic = self.handle.core.topic(at.topic.as_str());
        let topic = topic.filter(|topic| id.is_none_or(|id| id == topic.id()));
        let topic = topic.ok_or_else(|| unknown(&at.topic))?;
        topic.partition(at.partition).cloned()
    }
}

fn check_records(at: &TopicPartition, batch: &Bytes) -> Result<()> {
    let batch = Batch::parse(batch.clone());
    let checked = batch.and_then(|batch| batch.check_records(DEFAULT_MAX_DECOMPRESSED_BYTES));
    checked.map_err(|source| Error::InvalidRecord { at: at.clone(), source })
}

fn refused(error: Error) -> Produced {
    use crate::log::ProducerError::{InvalidEpoch, OutOfOrderSequence};
    match &error {
        Error::Producer { source: OutOfOrderSequence { .. }, .. } => Produced::OutOfSequence(error),
        Error::Producer { source: InvalidEpoch { .. }, .. } => Produced::Fenced(error),
        Error::MessageTooLarge { .. } => Produced::TooLarge(error),
        _ if error.is_retriable() => Produced::Again(error),
        _ => Produced::Failed(error),
    }
}

fn unknown(topic: &TopicName) -> Error {
    Error::UnknownTopic { topic: topic.as_str().to_owned() }
}

fn metadata(topic: &Topic) -> Arc<TopicMetadata> {
    let (max_message, segment) =
        (topic.log_config.max_message_bytes, topic.log_config.segment_bytes);
    let (max_batch_bytes, max_batch_setting) = match usize::try_from(segment) {
        Ok(segment) if segment < max_message => (segment, "segment.bytes"),
        _ => (max_message, "max.message.bytes"),
    };
    Arc::new(TopicMetadata {
        name: topic.name.clone(),
        id: topic.id(),
        partitions: topic.partitions.len() as i32,
        max_batch_bytes,
        max_batch_setting,
        needs_keys: topic.log_config.cleanup_policy.compacts(),
        compression: topic.log_config.compression,
    })
}

#[async_trait]
impl Transport for LocalTransport {
    fn clock(&self) -> &Clock {
        self.handle.core.clock()
    }

    fn unattended(&self) -> Option<Arc<dyn Transport>> {
        let _attended = self.user.as_ref()?;
        Some(Arc::new(LocalTransport { handle: self.handle.clone(), user: None }))
    }

    fn known_topic(&self, topic: &str) -> Option<Arc<TopicMetadata>> {
        self.handle.core.topic(topic).map(|topic| metadata(&topic))
    }

    fn known_topics(&self) -> Vec<Arc<TopicMetadata>> {
        let topics = self.handle.topics().unwrap_or_default();
        topics.iter().map(|topic| metadata(topic)).collect()
    }

    async fn metadata(&self, topic: &TopicName) -> Result<Arc<TopicMetadata>> {
        let topic = self.handle.topic_or_create(topic).await?;
        Ok(metadata(&topic))
    }

    fn metadata_version(&self) -> watch::Receiver<u64> {
        self.handle.core.version()
    }

    fn check_open(&self) -> Result<()> {
        self.handle.core.check_open()
    }

    fn register(&self, producer: Weak<dyn Buffered>) {
        self.handle.core.add_producer(producer);
    }

    fn submit(&self, submission: Submission) {
        let Submission { at, topic_id, batch, is_awaited, .. } = submission;
        let allowed = self.handle.core.check_writable();
        if let Err(error) = allowed.and_then(|()| check_not_internal(&at.topic)) {
            return batch.fail(error);
        }
        // What was buffered before the broker began to close is taken until its partition closes.
        match self.find(&at, Some(topic_id)) {
            Ok(partition) if is_awaited => partition.append_awaited(batch),
            Ok(partition) => partition.append(batch),
            Err(error) => batch.fail(error),
        }
    }

    async fn producer_id(&self) -> Result<ProducerId> {
        // The rest of the block is nobody's: there are enough.
        let ids = self.handle.producer_ids().await?;
        Ok(ProducerId { id: ids.start, epoch: 0 })
    }

    async fn produce(&self, at: &TopicPartition, topic_id: TopicId, batch: Bytes) -> Produced {
        let allowed = self.handle.core.check_writable();
        let partition = allowed
            .and_then(|()| check_not_internal(&at.topic))
            .and_then(|()| self.partition(at, Some(topic_id)));
        // It may be from a file. What memory has is handed out as it is.
        let partition = partition.and_then(|partition| match partition.may_block() {
            true => Ok(partition),
            false => check_records(at, &batch).map(|()| partition),
        });
        let batch = batch.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
        let appended = match partition {
            Ok(partition) => partition.append_one(batch).await,
            Err(error) => Err(error),
        };
        match appended {
            Ok(told) => Produced::Appended { base_offset: Some(told.base_offset) },
            Err(error) => refused(error),
        }
    }

    fn fetcher(&self, _: &str) -> Box<dyn Fetcher> {
        Box::new(LocalFetcher {
            transport: self.clone(),
            ready: ReadyQueue::new(),
            slots: FnvHashMap::default(),
            keys: HashMap::new(),
            standing: HashMap::new(),
            next_key: 0,
            reading: None,
            read: VecDeque::new(),
            has_read_long: false,
        })
    }

    fn group(&self, id: &str) -> Arc<dyn GroupSession> {
        Arc::new(LocalGroup::new(self.handle.clone(), id))
    }

    fn admin(&self) -> &dyn Administration {
        self
    }

    async fn list_offset(&self, at: &TopicPartition, spec: OffsetSpec) -> Result<ListedOffset> {
        let partition = self.partition(at, None)?;
        let reader = partition.reader();
        let leader_epoch = -1;
        let timestamp = match spec {
            OffsetSpec::Earliest => {
                return Ok(ListedOffset { offset: Some(reader.log_start_offset()), leader_epoch });
            }
            OffsetSpec::Latest => {
                return Ok(ListedOffset {
                    offset: Some(reader.last_stable_offset()),
                    leader_epoch,
                });
            }
            OffsetSpec::Timestamp(timestamp) => timestamp,
        };
        let look = {
            let reader = reader.clone();
            move || reader.offset_for_timestamp(timestamp.as_millis())
        };
        let found = match partition.may_block() {
            true => partition.run_beside(look).await?,
            false => look(),
        };
        let found = found.map_err(|error| Error::read(at, error))?;
        let offset = found.map(|found| found.offset);
        Ok(ListedOffset { offset, leader_epoch: -1 })
    }
}

/// A fetch session with this process's partitions.
struct LocalFetcher {
    transport: LocalTransport,
    ready: Arc<ReadyQueue>,
    /// By a key that is used once: whatever refers to an older one is out of date.
    slots: FnvHashMap<u64, Slot>,
    keys: HashMap<TopicPartition, u64>,
    /// Where partitions stopped: memory waits for a paused consumer, too.
    standing: HashMap<TopicPartition, ReaderPosition>,
    next_key: u64,
    /// What a blocking thread is reading.
    reading: Option<Reading>,
    /// What it has read.
    read: VecDeque<ReadDone>,
    /// Whether others should have their turn before the next read.
    has_read_long: bool,
}

struct Slot {
    at: TopicPartition,
    topic_id: TopicId,
    /// The partition, or why there is none.
    partition: Result<Partition>,
    cursor: ReadCursor,
    /// Where the log knows this reader to be, if it waits for readers.
    position: Option<ReaderPosition>,
}

/// Reads on a blocking thread: for which slots they are, and what comes back.
struct Reading {
    keys: Vec<u64>,
    done: Pin<Box<dyn Future<Output = Result<Vec<ReadDone>>> + Send>>,
}

/// Which slot it is for, and where that goes on.
type ReadDone = (u64, ReadCursor, Result<Vec<Batch>>);

/// What is in the page cache is read on the caller's thread, so much of it at a time.
const AT_HAND: usize = 256 << 10;
/// So many partitions are read together on a blocking thread.
const TOGETHER: usize = 16;

impl Fetcher for LocalFetcher {
    fn fetch_from(&mut self, at: &TopicPartition, topic_id: TopicId, position: FetchPosition) {
        self.stop(at);
        let key = self.next_key;
        self.next_key += 1;
        let cursor = ReadCursor::new(position.offset, position.leader_epoch);
        let partition = self.transport.partition(at, Some(topic_id));
        let position = partition.as_ref().ok().and_then(|it| it.register(position.offset));
        let slot = Slot { at: at.clone(), topic_id, partition, cursor, position };
        self.slots.insert(key, slot);
        // Only now: one of the two places counts at any time.
        self.standing.remove(at);
        self.keys.insert(at.clone(), key);
        self.ready.push(key);
    }

    fn stop(&mut self, at: &TopicPartition) {
        let Some(key) = self.keys.remove(at) else { return };
        let Some(slot) = self.slots.remove(&key) else { return };
        if let Ok(partition) = &slot.partition {
            partition.forget(&self.ready, key);
        }
        if let Some(position) = slot.position {
            self.standing.insert(at.clone(), position);
        }
    }

    fn leave(&mut self, at: &TopicPartition) {
        self.stop(at);
        self.standing.remove(at);
    }

    fn poll_fetch(&mut self, cx: &mut Context<'_>, max_bytes: usize) -> Poll<Fetched> {
        if std::mem::take(&mut self.has_read_long) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        loop {
            if let Some((key, cursor, result)) = self.read.pop_front() {
                if let Some(slot) = self.slots.get_mut(&key) {
                    slot.cursor = cursor;
                }
                if let Some(fetched) = self.handle(key, result) {
                    return Poll::Ready(fetched);
                }
                continue;
            }
            if let Some(reading) = &mut self.reading {
                let done = ready!(reading.done.as_mut().poll(cx));
                let keys = self.reading.take().map(|reading| reading.keys).unwrap_or_default();
                match done {
                    Ok(read) => self.read.extend(read),
                    Err(error) => self.read.extend(keys.iter().filter_map(|key| {
                        let cursor = self.slots.get(key)?.cursor.clone();
                        Some((*key, cursor, Err(error.clone())))
                    })),
                }
                continue;
            }
            let key = ready!(self.ready.poll_pop(cx));
            if let Some(fetched) = self.read(key, max_bytes) {
                return Poll::Ready(fetched);
            }
        }
    }
}

impl Drop for LocalFetcher {
    fn drop(&mut self) {
        for (key, slot) in &self.slots {
            if let Ok(partition) = &slot.partition {
                partition.forget(&self.ready, *key);
            }
        }
    }
}

impl LocalFetcher {
    /// Reads for the slot, here or by way of a blocking thread. `None` if there is nothing yet.
    fn read(&mut self, key: u64, max_bytes: usize) -> Option<Fetched> {
        let slot = self.slots.get_mut(&key)?;
        let partition = match &slot.partition {
            Ok(partition) => partition.clone(),
            Err(error) => {
                let error = error.clone();
                return self.failed(key, error);
            }
        };
        let is_at_end = partition.reader().high_watermark() <= slot.cursor.offset;
        if !partition.may_block() || is_at_end {
            let result = partition.read(&mut slot.cursor, max_bytes);
            return self.handle(key, result);
        }
        if let Some(result) = partition.read_cached(&mut slot.cursor, max_bytes.min(AT_HAND)) {
            let bytes = result.iter().flatten().map(|batch| batch.bytes().len()).sum::<usize>();
            self.has_read_long = bytes >= AT_HAND / 2;
            return self.handle(key, result);
        }
        self.read_elsewhere(key, partition, max_bytes);
        None
    }

    /// Reads on a blocking thread, for other slots too whose turn it is.
    fn read_elsewhere(&mut self, first: u64, partition: Partition, max_bytes: usize) {
        let mut keys = vec![first];
        keys.extend(std::iter::from_fn(|| self.ready.pop()).take(TOGETHER - 1));
        let wanted = keys.iter().filter_map(|key| {
            let slot = self.slots.get(key)?;
            Some((*key, slot.cursor.clone(), slot.partition.clone()))
        });
        let wanted: Vec<_> = wanted.collect();
        let max_bytes = max_bytes / wanted.len().max(1);
        let read = move || {
            let read = |(key, mut cursor, partition): (u64, ReadCursor, Result<Partition>)| {
                let result = partition.and_then(|it| it.read(&mut cursor, max_bytes));
                (key, cursor, result)
            };
            wanted.into_iter().map(read).collect()
        };
        let done = Box::pin(async move { partition.run_beside(read).await });
        self.reading = Some(Reading { keys, done });
    }

    /// Records go to the caller and the slot to the end of the queue; at the log's end the slot
    /// waits.
    fn handle(&mut self, key: u64, result: Result<Vec<Batch>>) -> Option<Fetched> {
        let slot = self.slots.get(&key)?;
        match result {
            Ok(batches) if batches.is_empty() => {
                if let Ok(partition) = &slot.partition {
                    partition.notify_beyond(slot.cursor.offset, &self.ready, key);
                }
                None
            }
            Ok(batches) => {
                if let Some(position) = &slot.position {
                    position.advance(slot.cursor.offset);
                }
                self.ready.push(key);
                let is_sound = slot.partition.as_ref().is_ok_and(|it| !it.may_block());
                Some(Fetched { at: slot.at.clone(), result: Ok(batches), is_sound })
            }
            Err(error) => self.failed(key, error),
        }
    }

    /// The slot stands still until the next `fetch_from`. A topic that was deleted is told from a
    /// broker that was closed.
    fn failed(&mut self, key: u64, error: Error) -> Option<Fetched> {
        let slot = self.slots.remove(&key)?;
        self.keys.remove(&slot.at);
        let gone = self.transport.partition(&slot.at, Some(slot.topic_id)).err();
        Some(Fetched::unchecked(slot.at, Err(gone.unwrap_or(error))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{BatchBuilder, HEADER_LEN};
    use crate::broker::Broker;

    #[tokio::test]
    async fn memory_takes_no_batch_whose_records_are_none() {
        let broker = Broker::in_memory().await.unwrap();
        broker.create_topic("t", Default::default()).await.unwrap();
        let transport = LocalTransport::new(broker.0.clone());
        let topic = transport.known_topic("t").unwrap();
        let at = TopicPartition::new("t", 0).unwrap();
        let mut builder = BatchBuilder::new(BytesMut::new());
        builder.push(0, None, Some(b"value"), &[]);
        let mut batch = builder.finish();
        let sound = batch.clone().freeze();
        batch[HEADER_LEN] += 2; // its length
        let refused = transport.produce(&at, topic.id, batch.freeze()).await;
        assert!(matches!(&refused, Produced::Failed(Error::InvalidRecord { .. })), "{refused:?}");
        let taken = transport.produce(&at, topic.id, sound).await;
        assert!(matches!(taken, Produced::Appended { base_offset: Some(0) }), "{taken:?}");
    }
}
