//! The records of one partition between their producer and the transport.
//!
//! Invariants:
//! * At most one batch is in flight, so the order of the appends is the order in the log.
//! * Where records wait, something will send them: the batch in flight when it completes, or the
//!   timer if they linger. No caller's future does.
//! * The mutex is held for copying one record or moving one batch; never while the transport is
//!   called or a waiter woken.
//! * A transport that completes a batch before `submit` returns does not recurse: that completion
//!   leaves the next batch to the loop that is submitting.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::BytesMut;
use tracing::{debug, warn};

use super::Acks;
use super::delivery::{BatchAck, Delivery, Outcome, Place};
use super::linger::Linger;
use super::shared::Shared;
use super::topics::Sticky;
use crate::batch::{BatchBuilder, HEADER_LEN};
use crate::error::Result;
use crate::record::{Record, Timestamp};
use crate::topic::{TopicId, TopicPartition};
use crate::transport::{BatchMetadata, Completion, Submission};

/// The batches of one partition, in one life of its topic.
pub(super) struct Partition {
    at: TopicPartition,
    topic_id: TopicId,
    shared: Arc<Shared>,
    sticky: Arc<Sticky>,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    /// The batch that records are added to.
    open: Option<PendingBatch>,
    /// Batches that were full, oldest first. All are older than the open one.
    ready: VecDeque<PendingBatch>,
    /// The batch that the transport has; older than all others.
    in_flight: Option<Arc<BatchAck>>,
    /// Whether some thread is in [`Partition::pump`], and will look here once more.
    pumping: bool,
}

struct PendingBatch {
    builder: BatchBuilder,
    ack: Arc<BatchAck>,
    /// What its records hold of the buffer's budget.
    reserved: usize,
    /// When its linger is over, by the clock's `instant`.
    linger_until: Duration,
    /// Whether it may go although it is not full.
    due: bool,
}

/// What is to be remembered of a batch while the transport has it.
struct Flight {
    ack: Arc<BatchAck>,
    records: i32,
    bytes: usize,
    reserved: usize,
}

/// What an append must know besides the record.
#[derive(Clone, Copy)]
pub(super) struct Sizing {
    /// The most bytes that the record takes in a batch; so many it has of the buffer's budget.
    pub(super) record: usize,
    /// Where a batch is closed.
    pub(super) batch_limit: usize,
}

impl Partition {
    pub(super) fn new(
        at: TopicPartition,
        topic_id: TopicId,
        shared: Arc<Shared>,
        sticky: Arc<Sticky>,
    ) -> Self {
        Partition { at, topic_id, shared, sticky, queue: Mutex::default() }
    }

    /// Buffers a record and, if nothing is in flight and nothing lingers, sends it.
    ///
    /// `None`: the open batch had no room, is closed now, and the record `may_move` elsewhere
    /// instead of opening the next one here.
    pub(super) fn append(
        self: &Arc<Self>,
        record: &Record<'_>,
        timestamp: Timestamp,
        sizing: Sizing,
        may_move: bool,
    ) -> Option<Delivery> {
        let mut queue = self.lock();
        let full = |open: &PendingBatch| open.builder.len() + sizing.record > sizing.batch_limit;
        let closed = queue.open.as_ref().is_some_and(full);
        if closed {
            self.close_open(&mut queue);
        }
        let mut lingers = false;
        let delivery = (!closed || !may_move).then(|| {
            let (delivery, opened_to_linger) = self.push(&mut queue, record, timestamp, sizing);
            lingers = opened_to_linger;
            delivery
        });
        let next = self.next_batch(&mut queue);
        drop(queue);
        if lingers {
            self.start_lingering();
        }
        if let Some(batch) = next {
            self.pump(batch);
        }
        delivery
    }

    /// Adds a record to the open batch. Also says whether that is a new one that lingers.
    #[inline]
    fn push(
        &self,
        queue: &mut Queue,
        record: &Record<'_>,
        timestamp: Timestamp,
        sizing: Sizing,
    ) -> (Delivery, bool) {
        let opens = queue.open.is_none();
        let open = queue.open.get_or_insert_with(|| self.open_batch(sizing.record));
        let (key, value) = (record.key.as_deref(), record.value.as_deref());
        let index = open.builder.push(timestamp.as_millis(), key, value, &record.headers);
        open.reserved += sizing.record;
        let explicit_partition = record.partition.is_some();
        let place = Place { index, timestamp, explicit_partition };
        let delivery = Delivery::new(Arc::clone(&open.ack), place);
        let lingers = opens && !open.due;
        if open.builder.len() >= sizing.batch_limit {
            self.close_open(queue);
        }
        (delivery, lingers)
    }

    /// Sends what there is without lingering. Returns the acknowledgement after which all records
    /// that are buffered now have been answered.
    pub(super) fn send_now(self: &Arc<Self>) -> Option<Arc<BatchAck>> {
        self.send_if(|_| true)
    }

    /// Sends the open batch if it was to linger until `now` or less.
    pub(super) fn send_due(self: &Arc<Self>, now: Duration) {
        self.send_if(|open| open.linger_until <= now);
    }

    fn send_if(self: &Arc<Self>, due: impl FnOnce(&PendingBatch) -> bool) -> Option<Arc<BatchAck>> {
        let mut queue = self.lock();
        if let Some(open) = &mut queue.open {
            open.due |= due(open);
        }
        let newest = queue.open.as_ref().or(queue.ready.back()).map(|batch| &batch.ack);
        let last = newest.or(queue.in_flight.as_ref()).cloned();
        let next = self.next_batch(&mut queue);
        drop(queue);
        if let Some(batch) = next {
            self.pump(batch);
        }
        last
    }

    /// Whether nothing is buffered.
    pub(super) fn is_idle(&self) -> bool {
        let queue = self.lock();
        queue.open.is_none() && queue.ready.is_empty() && queue.in_flight.is_none()
    }

    #[cold]
    fn start_lingering(self: &Arc<Self>) {
        if !Linger::start(&self.shared, self) {
            self.send_now();
        }
    }

    fn open_batch(&self, first_record: usize) -> PendingBatch {
        let settings = &self.shared.settings;
        let mut buffer = self.shared.spares.take();
        buffer.reserve(HEADER_LEN + first_record);
        let lingers = self.shared.lingers();
        let linger_until = match lingers {
            true => self.shared.transport.clock().instant().saturating_add(settings.linger),
            false => Duration::ZERO,
        };
        PendingBatch {
            builder: BatchBuilder::new(buffer),
            ack: Arc::new(BatchAck::new(self.at.clone(), settings.acks != Acks::None)),
            reserved: 0,
            linger_until,
            due: !lingers,
        }
    }

    fn close_open(&self, queue: &mut Queue) {
        if let Some(batch) = queue.open.take() {
            queue.ready.push_back(batch);
            self.sticky.leave(self.at.partition);
        }
    }

    /// The next batch to send, if it may go now. Who gets one must [`Partition::pump`] it: it
    /// counts as in flight already, so no other thread can overtake.
    fn next_batch(&self, queue: &mut Queue) -> Option<PendingBatch> {
        if queue.in_flight.is_some() || queue.pumping {
            return None;
        }
        let batch = match queue.ready.pop_front() {
            Some(batch) => batch,
            None => {
                let batch = queue.open.take_if(|open| open.due)?;
                self.sticky.leave(self.at.partition);
                batch
            }
        };
        queue.in_flight = Some(Arc::clone(&batch.ack));
        queue.pumping = true;
        Some(batch)
    }

    /// Submits a batch, and those after it for as long as the transport completes them at once.
    fn pump(self: &Arc<Self>, mut batch: PendingBatch) {
        loop {
            self.submit(batch);
            let mut queue = self.lock();
            queue.pumping = false;
            match self.next_batch(&mut queue) {
                Some(next) => batch = next,
                None => return,
            }
        }
    }

    fn submit(self: &Arc<Self>, pending: PendingBatch) {
        let PendingBatch { builder, ack, reserved, .. } = pending;
        let records = builder.count();
        let batch = builder.finish();
        let flight = Flight { ack, records, bytes: batch.len(), reserved };
        let partition = Arc::clone(self);
        let completion =
            Completion::new(move |batch, result| partition.complete(flight, batch, result));
        let (at, topic_id) = (self.at.clone(), self.topic_id);
        self.shared.transport.submit(Submission { at, topic_id, batch, completion });
    }

    /// Runs on any thread, possibly inside of [`Partition::submit`]. The order matters: counters
    /// and budget are right before anyone can see the outcome, a flush that finds nothing in
    /// flight may rely on the outcome being known, and the next batch goes before anyone is woken.
    fn complete(self: &Arc<Self>, flight: Flight, batch: BytesMut, result: Result<BatchMetadata>) {
        let outcome = self.account(&flight, batch, result);
        self.shared.memory.release(flight.reserved);
        let waiters = flight.ack.resolve(outcome);
        let mut queue = self.lock();
        queue.in_flight = None;
        let next = self.next_batch(&mut queue);
        drop(queue);
        if let Some(next) = next {
            self.pump(next);
        }
        drop(waiters);
    }

    fn account(&self, flight: &Flight, batch: BytesMut, result: Result<BatchMetadata>) -> Outcome {
        let (topic, partition) = (self.at.topic.as_str(), self.at.partition);
        let &Flight { records, bytes, .. } = flight;
        match result {
            Ok(metadata) => {
                self.shared.spares.give(batch);
                self.shared.counters.count_sent(records, bytes);
                let base_offset = metadata.base_offset;
                debug!(topic, partition, base_offset, records, bytes, "batch acknowledged");
                Outcome::Appended(metadata)
            }
            Err(error) => {
                self.shared.counters.count_failed(records);
                match self.shared.settings.acks {
                    Acks::None => warn!(topic, partition, records, %error, "batch lost (acks=0)"),
                    _ => debug!(topic, partition, records, %error, "batch failed"),
                }
                Outcome::Failed { error, batch: batch.freeze() }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().expect("records are checked before they are encoded under the lock")
    }
}

impl fmt::Debug for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Partition").field(&self.at).finish()
    }
}
