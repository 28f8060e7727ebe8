//! Producing: [`Producer`] and what belongs to it.
//!
//! A record is checked, given a partition and encoded into that partition's open batch, on the
//! caller's thread (`topics`, `accumulator`). Batches go through the transport one at a time for
//! each partition; while one is on its way, the next one fills. What comes back resolves the
//! [`Delivery`] of each of its records (`delivery`).
//!
//! Nothing here knows where the broker is, and no future of a caller's moves anything: a future
//! that is dropped loses its caller the answer, at most.

mod accumulator;
mod blocking;
mod builder;
mod delivery;
mod error;
mod linger;
mod partitioner;
mod shared;
mod stamp;
#[cfg(test)]
mod tests;
mod topics;

use std::fmt;
use std::future::poll_fn;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::task::Poll;

use tokio::task::coop::consume_budget;

pub use builder::{Acks, ProducerBuilder};
pub use delivery::Delivery;
pub use error::ProduceError;
pub use partitioner::{CustomPartitioner, Partitioner, PartitionerInput};

use self::accumulator::{Caller, Parts, Unbuffered};
use self::blocking::block_on;
use self::builder::Settings;
use self::shared::{Room, Shared};
use self::topics::{Topic, Topics};
use crate::error::{Error, Result};
use crate::record::{Record, RecordMetadata, Timestamp};
use crate::topic::TopicName;
use crate::transport::{Buffered, Transport};

/// Sends records to topics.
///
/// Cheap to clone, and made to be shared: all clones have one buffer and one order. Records of one
/// partition are appended in the order in which they were buffered; those that several tasks send
/// at once go in any order.
///
/// Without a key, records go round robin over the partitions, a batch at a time. With one they go
/// where the [`Partitioner`] says.
///
/// Buffered records are sent even if all clones are dropped; to learn that they have arrived, await
/// [`Producer::flush`] or the deliveries first.
pub struct Producer {
    inner: Arc<Inner>,
    /// The topic of the first record, which is most often that of all. One for each clone; other
    /// topics, and this one once it has changed, are looked up among all that are known.
    first: OnceLock<Arc<Topic>>,
}

/// What the clones of a producer share; unlike [`Shared`] it ends with the last of them.
#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    topics: Topics,
    /// Held for what it says: that someone may still produce. What is on its way after that goes
    /// through the one in `shared`.
    _transport: Arc<dyn Transport>,
}

/// Why a record could not be buffered without waiting.
enum Refusal {
    /// The topic is not known yet.
    UnknownTopic,
    /// There is no room for so many bytes.
    Full { bytes: usize },
    /// It never can. In a box, as what is returned for each record is to be small.
    Invalid(Box<Error>),
}

impl Refusal {
    #[cold]
    fn invalid(error: Error) -> Self {
        Refusal::Invalid(Box::new(error))
    }
}

impl Producer {
    fn new(transport: Arc<dyn Transport>, settings: Settings) -> Self {
        let unattended = transport.unattended().unwrap_or_else(|| Arc::clone(&transport));
        let shared = Shared::new(unattended, settings);
        transport.register(Arc::<Shared>::downgrade(&shared));
        let topics = Topics::new(Arc::clone(&shared));
        let inner = Inner { shared, topics, _transport: transport };
        Producer { inner: Arc::new(inner), first: OnceLock::new() }
    }

    /// Sends a record and waits for its acknowledgement: its partition, offset and timestamp.
    ///
    /// Many calls at once share batches; calls one after the other each cost a round trip, so a
    /// stream of records is better sent by [`Producer::enqueue`].
    ///
    /// # Errors
    ///
    /// Those of [`Producer::enqueue`], and what the broker answers. The [`ProduceError`] has the
    /// record.
    ///
    /// # Cancel safety
    ///
    /// Nothing happens before the first poll. If the future is dropped while it waits for the
    /// topic or for room in the buffer, the record is not sent; after that, it is.
    pub async fn send(&self, record: Record<'_>) -> Result<RecordMetadata, ProduceError> {
        let delivery = match self.attempt(&record, None, Caller::Waits) {
            Ok(delivery) => delivery,
            Err(refusal) => self.wait_and_attempt(record, refusal, Caller::Waits).await?,
        };
        // It may be there already. A task that sends and sends lets others run all the same.
        consume_budget().await;
        delivery.await
    }

    /// Buffers a record, waiting for room if the buffer is full, and returns the future of its
    /// acknowledgement.
    ///
    /// Callers get room in the order in which they asked for it. A record without a timestamp gets
    /// the time at which it is buffered; in a fast stream, that of up to 15 records before.
    ///
    /// # Errors
    ///
    /// Nothing has been buffered, and the [`ProduceError`] has the record:
    /// * [`Error::InvalidTopic`], [`Error::UnknownTopic`], [`Error::UnknownPartition`] (also if a
    ///   custom partitioner answers with one),
    /// * [`Error::InvalidTimestamp`] if it is before 1970,
    /// * [`Error::InvalidConfig`] if batches are to be [compressed](ProducerBuilder::compression)
    ///   with a codec that is not built in, by the producer's settings or the topic's,
    /// * [`Error::MessageTooLarge`] if the record, as a batch of its own, is over
    ///   `max.request.size`, the topic's `max.message.bytes` or `buffer.memory`,
    /// * whatever keeps the topic from being looked up, as [`Error::Closed`].
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it is ready, the record is not sent, and the room that was
    /// set aside for it goes to the next caller.
    #[expect(clippy::manual_async_fn, reason = "an `async fn` would move the record once more")]
    pub fn enqueue(
        &self,
        record: Record<'_>,
    ) -> impl Future<Output = Result<Delivery, ProduceError>> + Send {
        async move {
            // Before the record is buffered: dropped here, the future has done nothing.
            if self.inner.shared.makes_way() {
                make_way().await;
            }
            match self.attempt(&record, None, Caller::Streams) {
                Ok(delivery) => Ok(delivery),
                Err(refusal) => self.wait_and_attempt(record, refusal, Caller::Streams).await,
            }
        }
    }

    /// Buffers a record if that can be done without waiting.
    ///
    /// # Errors
    ///
    /// Those of [`Producer::enqueue`]; [`Error::BufferFull`] if there is no room, or others wait
    /// for it already; and [`Error::UnknownTopic`] also if the topic has just not been looked up
    /// yet, which [`Producer::partitions_for`] does.
    pub fn try_send(&self, record: Record<'_>) -> Result<Delivery, ProduceError> {
        self.attempt(&record, None, Caller::Streams).map_err(|refusal| {
            let error = match refusal {
                Refusal::Invalid(error) => *error,
                Refusal::Full { .. } => self.buffer_full(),
                Refusal::UnknownTopic => match self.inner.shared.transport.check_open() {
                    Ok(()) => unknown_topic(&record.topic),
                    Err(closed) => closed,
                },
            };
            ProduceError::before_buffering(error, record)
        })
    }

    /// Waits until all records that were buffered before the call have been acknowledged or have
    /// failed. What lingers is sent at once.
    ///
    /// Whether they have failed say their deliveries and [`Producer::stats`]. Calls of `enqueue`
    /// and `send` that still wait for room are not waited for. With [`Acks::None`], too, it waits
    /// for the broker's answer.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the records are sent all the same. What lingers is sent when it is
    /// first polled.
    pub async fn flush(&self) {
        self.inner.shared.flush().await;
    }

    /// How many partitions a topic has; they count from 0. Creates the topic if the broker creates
    /// topics automatically.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidTopic`], [`Error::UnknownTopic`], and whatever keeps the topic from being
    /// looked up, as [`Error::Closed`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing, though a topic may be created.
    pub async fn partitions_for(&self, topic: &str) -> Result<i32> {
        Ok(self.inner.topics.find(topic).await?.partition_count())
    }

    /// [`Producer::send`] for threads without a runtime: blocks until the acknowledgement.
    ///
    /// Must not be called from async code: it would block the runtime's thread, possibly the one
    /// that it waits for.
    pub fn send_blocking(&self, record: Record<'_>) -> Result<RecordMetadata, ProduceError> {
        block_on(self.send(record))
    }

    /// [`Producer::enqueue`] for threads without a runtime: blocks until there is room.
    ///
    /// Must not be called from async code; there, [`Producer::try_send`] never blocks.
    pub fn enqueue_blocking(&self, record: Record<'_>) -> Result<Delivery, ProduceError> {
        match self.attempt(&record, None, Caller::Streams) {
            Ok(delivery) => Ok(delivery),
            Err(refusal) => block_on(self.wait_and_attempt(record, refusal, Caller::Streams)),
        }
    }

    /// [`Producer::flush`] for threads without a runtime: blocks until all have been answered.
    ///
    /// Must not be called from async code.
    pub fn flush_blocking(&self) {
        block_on(self.flush());
    }

    /// What the producer has done so far, all clones together.
    pub fn stats(&self) -> ProducerStats {
        let Shared { counters, memory, .. } = &*self.inner.shared;
        ProducerStats {
            records_sent: counters.records_sent.load(Ordering::Relaxed),
            records_failed: counters.records_failed.load(Ordering::Relaxed),
            batches: counters.batches.load(Ordering::Relaxed),
            bytes: counters.bytes.load(Ordering::Relaxed),
            buffered_bytes: memory.buffered(),
        }
    }

    /// Checks the record and buffers it, in `room` if the caller has waited for it.
    #[inline]
    fn attempt(
        &self,
        record: &Record<'_>,
        room: Option<Room<'_>>,
        caller: Caller,
    ) -> Result<Delivery, Refusal> {
        if let Some(topic) = self.first.get()
            && topic.name() == record.topic
            && topic.is_current()
        {
            return self.attempt_in(topic, record, room, caller);
        }
        let topic = self.inner.topics.known(&record.topic).ok_or(Refusal::UnknownTopic)?;
        let _ = self.first.set(Arc::clone(&topic));
        self.attempt_in(&topic, record, room, caller)
    }

    #[inline(always)]
    fn attempt_in(
        &self,
        topic: &Topic,
        record: &Record<'_>,
        room: Option<Room<'_>>,
        caller: Caller,
    ) -> Result<Delivery, Refusal> {
        let shared = &*self.inner.shared;
        let record = Parts::of(record);
        if let Some(timestamp) = record.timestamp.map(Timestamp::as_millis)
            && timestamp < 0
        {
            return Err(Refusal::invalid(Error::InvalidTimestamp { timestamp }));
        }
        let sizing = topic.size(record).map_err(Refusal::invalid)?;
        let place = || topic.place(record, &shared.settings.partitioner).map_err(Refusal::invalid);
        let partition = place()?;
        if record.key.is_none() && topic.needs_keys() {
            let at = partition.at().clone();
            return Err(Refusal::invalid(Error::MissingKey { at, index: 0 }));
        }
        let mut room = room;
        let may_move = record.partition.is_none() && record.key.is_none();
        let appended = partition.append(record, sizing, &mut room, may_move, caller);
        match appended {
            Ok(delivery) => return Ok(delivery),
            Err(Unbuffered::Full) => {}
            Err(Unbuffered::Moves) => {
                let moved = place()?.append(record, sizing, &mut room, false, caller);
                if let Ok(delivery) = moved {
                    return Ok(delivery);
                }
            }
        }
        Err(Refusal::Full { bytes: sizing.record })
    }

    /// Waits for what the record lacks, until it can be buffered.
    async fn wait_and_attempt(
        &self,
        record: Record<'_>,
        mut refusal: Refusal,
        caller: Caller,
    ) -> Result<Delivery, ProduceError> {
        let mut has_looked = false;
        loop {
            let is_unknown = matches!(
                &refusal,
                Refusal::Invalid(it) if matches!(**it, Error::UnknownPartition { .. })
            );
            // It may have been added just now.
            if is_unknown && !std::mem::replace(&mut has_looked, true) {
                if self.inner.shared.transport.looks_again().await {
                    match self.attempt(&record, None, caller) {
                        Ok(delivery) => return Ok(delivery),
                        Err(again) => refusal = again,
                    }
                }
                continue;
            }
            let room = match self.wait_for(&record, refusal).await {
                Ok(room) => room,
                Err(error) => return Err(ProduceError::before_buffering(error, record)),
            };
            refusal = match self.attempt(&record, room, caller) {
                Ok(delivery) => return Ok(delivery),
                Err(refusal) => refusal,
            };
        }
    }

    /// Waits for what a record lacks; room, if that is it.
    async fn wait_for(&self, record: &Record<'_>, refusal: Refusal) -> Result<Option<Room<'_>>> {
        match refusal {
            Refusal::Invalid(error) => Err(*error),
            Refusal::Full { bytes } => Ok(Some(self.inner.shared.wait_for_room(bytes).await)),
            Refusal::UnknownTopic => {
                self.inner.topics.find(&record.topic).await?;
                Ok(None)
            }
        }
    }

    fn buffer_full(&self) -> Error {
        let memory = &self.inner.shared.memory;
        Error::BufferFull { buffered: memory.buffered(), limit: memory.limit() }
    }
}

/// Lets other tasks run first. Unlike `tokio::task::yield_now`, which comes back when the thread
/// has nothing else to do, this offers the task to idle threads at once: what was buffered is
/// appended and consumed here, while the caller goes on there.
async fn make_way() {
    let mut has_made_way = false;
    poll_fn(|context| {
        if std::mem::replace(&mut has_made_way, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

fn unknown_topic(name: &str) -> Error {
    match TopicName::parse(name) {
        Ok(_) => Error::UnknownTopic { topic: name.to_owned() },
        Err(invalid) => invalid.into(),
    }
}

impl Clone for Producer {
    fn clone(&self) -> Self {
        Producer { inner: Arc::clone(&self.inner), first: OnceLock::new() }
    }
}

impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer")
            .field("settings", &self.inner.shared.settings)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

impl Drop for Inner {
    /// The last clone is gone: what lingers need not wait for more.
    fn drop(&mut self) {
        self.shared.send_lingering();
        self.shared.linger.end();
    }
}

/// What a producer has done so far: see [`Producer::stats`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ProducerStats {
    /// Records that were acknowledged; with [`Acks::None`], appended.
    pub records_sent: u64,
    /// Records that were buffered and failed later. Those refused before are not counted.
    pub records_failed: u64,
    /// Batches that were acknowledged.
    pub batches: u64,
    /// The bytes of these batches, headers included, as they were sent: compressed, if they were.
    pub bytes: u64,
    /// Bytes of `buffer.memory` in use now: records that have not been answered, and room set
    /// aside for a caller who waits for more of it.
    pub buffered_bytes: usize,
}
