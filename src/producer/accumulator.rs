//! The records of one partition between their producer and the transport.
//!
//! Invariants:
//! * At most one batch is submitted, so the order of the appends is the order in the log. It is
//!   taken when its turn comes, and filled until then; with it, those behind it that are full.
//! * Where records wait, something will send them: the batch in flight when it completes, or the
//!   timer if they linger. No caller's future does.
//! * The mutex is held for copying one record or moving one batch; never while the transport is
//!   called or a waiter woken.
//! * A transport that completes a batch before `submit` returns does not recurse: that completion
//!   leaves the next batch to the loop that is submitting.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tracing::{debug, warn};

use super::Acks;
use super::delivery::{BatchAck, Delivery, Outcome, Place};
use super::linger::Linger;
use super::shared::{Room, Shared};
use super::stamp::Stamper;
use super::topics::Sticky;
use crate::batch::{Batch, BatchBuilder, Compression, HEADER_LEN, compress};
use crate::error::Result;
use crate::record::{Payload, Record, Timestamp};
use crate::topic::{TopicId, TopicPartition};
use crate::transport::{BatchMetadata, BatchPart, BatchSource, QueuedBatch, Submission};

/// The batches of one partition, in one life of its topic.
pub(super) struct Partition {
    /// No other partition of the producer has it.
    number: u64,
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
    /// Whether the transport has been told that there is a batch to take.
    submitted: bool,
    /// The batches that it has taken, oldest first. All are older than the others.
    flights: VecDeque<Flight>,
    /// Whether some thread is in [`Partition::pump`], and will look here once more.
    pumping: bool,
    /// Whether it is known to [`Shared`] that there may be something here.
    known_busy: bool,
}

struct PendingBatch {
    builder: BatchBuilder,
    codec: Compression,
    ack: Arc<BatchAck>,
    stamper: Stamper,
    /// What it holds of the buffer's budget: at least what its records may take.
    reserved: usize,
    /// How much of that is for records to come.
    spare: usize,
    /// When its linger is over, by the clock's `instant`.
    linger_until: Duration,
    /// Whether it may go although it is not full.
    due: bool,
}

impl PendingBatch {
    /// Whether such a record can be added without more ado, and leaves room in the batch.
    #[inline(always)]
    fn has_room(&self, sizing: Sizing) -> bool {
        self.spare >= sizing.record && self.builder.len() + sizing.record < sizing.batch_limit
    }

    /// Keeps no more of the budget than its records have. Returns what is to be given back.
    fn trim(&mut self) -> usize {
        let surplus = std::mem::take(&mut self.spare);
        self.reserved -= surplus;
        surplus
    }
}

/// What is to be remembered of a batch while the transport has it.
#[derive(Clone)]
struct Flight {
    ack: Arc<BatchAck>,
    codec: Compression,
    records: i32,
    reserved: usize,
}

/// How many batches in a row a caller sends who waits for the first: others may go on for ever.
const MAX_HELP: usize = 16;

/// A batch's buffer begins with this much, unless it was another's before. Then its bytes are left
/// as they are, so that they need not be filled with zeros again.
const FIRST_CAPACITY: usize = 512;

/// Who buffers records.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Caller {
    /// Goes on at once.
    Streams,
    /// Waits for the acknowledgement.
    Waits,
}

/// Why a record was not buffered.
pub(super) enum Unbuffered {
    /// The buffer has no room for it.
    Full,
    /// The open batch had none; it is closed now, and the record may open one elsewhere.
    Moves,
}

/// What a batch takes of a record, and what says where it goes.
#[derive(Clone, Copy)]
pub(super) struct Parts<'a> {
    pub(super) partition: Option<i32>,
    pub(super) key: Option<&'a [u8]>,
    pub(super) value: Option<&'a [u8]>,
    pub(super) timestamp: Option<Timestamp>,
    pub(super) headers: &'a [(Cow<'a, str>, Option<Payload<'a>>)],
}

impl<'a> Parts<'a> {
    #[inline(always)]
    pub(super) fn of(record: &'a Record<'a>) -> Self {
        Parts {
            partition: record.partition,
            key: record.key.as_deref(),
            value: record.value.as_deref(),
            timestamp: record.timestamp,
            headers: &record.headers,
        }
    }
}

/// What an append must know besides the record.
#[derive(Clone, Copy)]
pub(super) struct Sizing {
    /// The most bytes that the record takes in a batch; so many it has of the buffer's budget.
    pub(super) record: usize,
    /// Where a batch is closed.
    pub(super) batch_limit: usize,
    /// How a batch that the record opens is compressed.
    pub(super) codec: Compression,
}

impl Partition {
    pub(super) fn new(
        at: TopicPartition,
        topic_id: TopicId,
        shared: Arc<Shared>,
        sticky: Arc<Sticky>,
    ) -> Self {
        let number = shared.number();
        Partition { number, at, topic_id, shared, sticky, queue: Mutex::default() }
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    pub(super) fn at(&self) -> &TopicPartition {
        &self.at
    }

    /// Buffers a record and, if nothing is in flight and nothing lingers, sends it. It takes the
    /// `room` that the caller has waited for, or some of the buffer's.
    #[inline(always)]
    pub(super) fn append(
        self: &Arc<Self>,
        record: Parts<'_>,
        sizing: Sizing,
        room: &mut Option<Room<'_>>,
        may_move: bool,
        caller: Caller,
    ) -> Result<Delivery, Unbuffered> {
        let mut queue = self.lock();
        // In a stream it is so for all but a few.
        let is_submitted = queue.submitted;
        if let Some(open) = &mut queue.open
            && is_submitted
            && room.is_none()
            && open.has_room(sizing)
        {
            return Ok(self.push(open, record, sizing, 0));
        }
        self.append_and_submit(queue, record, sizing, room, may_move, caller)
    }

    #[inline(never)]
    fn append_and_submit(
        self: &Arc<Self>,
        mut queue: MutexGuard<'_, Queue>,
        record: Parts<'_>,
        sizing: Sizing,
        room: &mut Option<Room<'_>>,
        may_move: bool,
        caller: Caller,
    ) -> Result<Delivery, Unbuffered> {
        let full = |open: &PendingBatch| open.builder.len() + sizing.record > sizing.batch_limit;
        let mut surplus = 0;
        if queue.open.as_ref().is_some_and(full) {
            surplus = self.close_open(&mut queue);
            if may_move {
                self.submit_next(queue, Caller::Streams);
                self.shared.memory.release(surplus);
                return Err(Unbuffered::Moves);
            }
        }
        let spare = queue.open.as_ref().map_or(0, |open| open.spare);
        let taken = match room.take() {
            // It is given back when the batch completes.
            Some(room) => Some(room.keep()),
            None if spare >= sizing.record => Some(0),
            // A batch that goes at once may have no use for more.
            None => self.shared.memory.take_room(sizing.record, queue.submitted),
        };
        let Some(taken) = taken else {
            self.submit_next(queue, Caller::Streams);
            self.shared.memory.release(surplus);
            return Err(Unbuffered::Full);
        };
        if !std::mem::replace(&mut queue.known_busy, true) {
            self.shared.works(self);
        }
        let opens = queue.open.is_none();
        let open = queue.open.get_or_insert_with(|| self.open_batch(sizing));
        let delivery = self.push(open, record, sizing, taken);
        if open.builder.len() >= sizing.batch_limit {
            surplus += self.close_open(&mut queue);
        }
        let lingers = opens && queue.open.as_ref().is_some_and(|open| !open.due);
        self.submit_next(queue, caller);
        self.shared.memory.release(surplus);
        if lingers {
            self.start_lingering();
        }
        Ok(delivery)
    }

    /// Adds a record to the open batch, for which so much of the budget was `taken`.
    #[inline(always)]
    fn push(
        &self,
        open: &mut PendingBatch,
        record: Parts<'_>,
        sizing: Sizing,
        taken: usize,
    ) -> Delivery {
        let timestamp = match record.timestamp {
            Some(timestamp) => timestamp,
            None => open.stamper.next(|| self.shared.transport.clock()),
        };
        let Parts { key, value, headers, .. } = record;
        let index = open.builder.push(timestamp.as_millis(), key, value, headers);
        open.reserved += taken;
        open.spare = open.spare + taken - sizing.record;
        let place = Place::new(index, timestamp, record.partition.is_some());
        Delivery::new(Arc::clone(&open.ack), place)
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
        let last = newest.or(queue.flights.back().map(|flight| &flight.ack)).cloned();
        if last.is_none() && std::mem::take(&mut queue.known_busy) {
            self.shared.rests(self);
        }
        self.submit_next(queue, Caller::Streams);
        last
    }

    /// Whether nothing is buffered.
    pub(super) fn is_idle(&self) -> bool {
        let queue = self.lock();
        queue.open.is_none() && queue.ready.is_empty() && !queue.submitted
    }

    #[cold]
    fn start_lingering(self: &Arc<Self>) {
        if !Linger::start(&self.shared, self) {
            self.send_now();
        }
    }

    #[cold]
    fn open_batch(&self, first: Sizing) -> PendingBatch {
        let settings = &self.shared.settings;
        let spare = self.shared.spares.take(0);
        let mut buffer = spare.unwrap_or_else(|| BytesMut::with_capacity(FIRST_CAPACITY));
        buffer.reserve(HEADER_LEN + first.record);
        let lingers = self.shared.lingers();
        let linger_until = match lingers {
            true => self.shared.transport.clock().instant().saturating_add(settings.linger),
            false => Duration::ZERO,
        };
        PendingBatch {
            builder: BatchBuilder::new(buffer),
            codec: first.codec,
            ack: Arc::new(BatchAck::new(self.at.clone(), settings.acks != Acks::None)),
            stamper: Stamper::new(),
            reserved: 0,
            spare: 0,
            linger_until,
            due: !lingers,
        }
    }

    /// Returns the room that the batch did not need, to be given back when the lock is.
    #[cold]
    fn close_open(&self, queue: &mut Queue) -> usize {
        let Some(mut batch) = queue.open.take() else { return 0 };
        let surplus = batch.trim();
        queue.ready.push_back(batch);
        self.leave();
        self.shared.note_filled();
        surplus
    }

    /// Records without a key go to the next partition from now on.
    fn leave(&self) {
        self.sticky.leave(self.at.partition);
    }

    /// Whether a batch may be submitted now. Who is told so must [`Partition::pump`]: it counts as
    /// submitted already, so no other thread can overtake.
    #[inline]
    fn may_submit(&self, queue: &mut Queue) -> bool {
        let has_batch = !queue.ready.is_empty() || queue.open.as_ref().is_some_and(|it| it.due);
        let may = has_batch && !queue.submitted && !queue.pumping;
        queue.submitted |= may;
        queue.pumping |= may;
        may
    }

    /// Submits a batch if one may be.
    #[inline]
    fn submit_next(self: &Arc<Self>, mut queue: MutexGuard<'_, Queue>, caller: Caller) {
        let submits = self.may_submit(&mut queue);
        drop(queue);
        if submits {
            self.pump(caller);
        }
    }

    /// Submits a batch, and those after it for as long as the transport completes them at once.
    #[cold]
    fn pump(self: &Arc<Self>, caller: Caller) {
        let mut pumping = Pumping(Some(self));
        for sent in 0.. {
            let (at, topic_id) = (self.at.clone(), self.topic_id);
            let batch = QueuedBatch::new(self.clone());
            let is_awaited = caller == Caller::Waits && sent < MAX_HELP;
            let delivery_timeout = self.shared.settings.delivery_timeout;
            let submission = Submission { at, topic_id, batch, is_awaited, delivery_timeout };
            self.shared.transport.submit(submission);
            let mut queue = self.lock();
            queue.pumping = false;
            if !self.may_submit(&mut queue) {
                pumping.0 = None;
                return;
            }
        }
    }

    fn account_parts(&self, batch: BytesMut, parts: Vec<BatchPart>) -> Outcome {
        for part in &parts {
            match part.result {
                Ok(_) => self.shared.counters.count_sent(part.records, part.bytes),
                Err(_) => self.shared.counters.count_failed(part.records),
            }
        }
        Outcome::Split { parts, batch: expanded(batch.freeze()) }
    }

    fn account(&self, flight: &Flight, batch: BytesMut, result: Result<BatchMetadata>) -> Outcome {
        let records = flight.records;
        match result {
            Ok(metadata) => {
                self.shared.counters.count_sent(records, batch.len());
                // What it was compressed from is there already.
                if flight.codec == Compression::None {
                    self.shared.spares.give(batch);
                }
                Outcome::Appended(metadata)
            }
            Err(error) => {
                self.shared.counters.count_failed(records);
                Outcome::Failed { error, batch: expanded(batch.freeze()) }
            }
        }
    }

    /// Takes note of a batch that is taken now, and gives its bytes.
    fn depart(&self, mut queue: MutexGuard<'_, Queue>, mut batch: PendingBatch) -> BytesMut {
        let surplus = batch.trim();
        let PendingBatch { builder, codec, ack, reserved, .. } = batch;
        let records = builder.count();
        queue.flights.push_back(Flight { ack, codec, records, reserved });
        drop(queue);
        self.shared.memory.release(surplus);
        let plain = builder.finish();
        if codec == Compression::None {
            return plain;
        }
        match compress(&plain, codec) {
            Ok(compressed) if compressed.len() < plain.len() => {
                self.shared.spares.give(plain);
                compressed
            }
            // Compressing would gain nothing, or failed.
            _ => plain,
        }
    }

    fn report(&self, flight: &Flight, bytes: usize) {
        let (topic, partition) = (self.at.topic.as_str(), self.at.partition);
        let records = flight.records;
        match (flight.ack.outcome(), self.shared.settings.acks) {
            (Some(Outcome::Appended(BatchMetadata { base_offset, .. })), _) => {
                debug!(topic, partition, base_offset, records, bytes, "batch acknowledged");
            }
            (Some(Outcome::Failed { error, .. }), Acks::None) => {
                warn!(topic, partition, records, %error, "batch lost (acks=0)");
            }
            (Some(Outcome::Failed { error, .. }), _) => {
                debug!(topic, partition, records, %error, "batch failed");
            }
            (Some(Outcome::Split { parts, .. }), acks) => {
                let error = parts.iter().find_map(|part| part.result.as_ref().err());
                let parts = parts.len();
                match (error, acks) {
                    (Some(error), Acks::None) => {
                        warn!(topic, partition, parts, %error, "records lost (acks=0)");
                    }
                    (Some(error), _) => debug!(topic, partition, parts, %error, "a part failed"),
                    (None, _) => debug!(topic, partition, records, parts, "batch acknowledged"),
                }
            }
            (None, _) => {}
        }
    }

    /// Runs on any thread, possibly inside of `submit`. The order matters: counters and budget are
    /// right before anyone can see the outcome, a flush that finds nothing in flight may rely on
    /// the outcome being known, and the next batch is submitted before anyone is woken.
    fn completed(self: &Arc<Self>, bytes: usize, account: impl FnOnce(&Flight) -> Outcome) {
        let flight = self.lock().flights.front().cloned();
        let Some(flight) = flight else { return };
        let outcome = account(&flight);
        self.shared.memory.release(flight.reserved);
        let waiters = flight.ack.resolve(outcome);
        let mut queue = self.lock();
        queue.flights.pop_front();
        queue.submitted = !queue.flights.is_empty();
        self.submit_next(queue, Caller::Streams);
        drop(waiters);
        // Last: a subscriber is a stranger's code too.
        self.report(&flight, bytes);
    }

    #[inline(always)]
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().expect("records are checked before they are encoded under the lock")
    }
}

/// Lets others submit should the transport panic.
struct Pumping<'a>(Option<&'a Partition>);

impl Drop for Pumping<'_> {
    fn drop(&mut self) {
        if let Some(partition) = self.0 {
            partition.lock().pumping = false;
        }
    }
}

/// A batch that comes back, as it was before it was compressed: its records may be asked for, one
/// by one. What has no batch in it stays as it is.
fn expanded(bytes: Bytes) -> Bytes {
    let batch = Batch::parse(bytes.clone()).and_then(|batch| batch.expanded(usize::MAX));
    batch.map_or(bytes, |batch| batch.bytes().clone())
}

impl BatchSource for Partition {
    fn records(&self) -> usize {
        let queue = self.lock();
        let batches = queue.ready.iter().chain(&queue.open);
        batches.map(|batch| batch.builder.count() as usize).sum()
    }

    fn bytes(&self) -> usize {
        let queue = self.lock();
        let next = queue.ready.front().or(queue.open.as_ref());
        next.map_or(0, |batch| batch.builder.len())
    }

    fn take(&self) -> BytesMut {
        let mut queue = self.lock();
        let ready = queue.ready.pop_front();
        let batch = ready.or_else(|| queue.open.take().inspect(|_| self.leave()));
        // What was submitted is there until it is taken, and it is taken once.
        batch.map(|batch| self.depart(queue, batch)).unwrap_or_default()
    }

    fn take_full(&self) -> Option<BytesMut> {
        let mut queue = self.lock();
        let batch = queue.ready.pop_front()?;
        Some(self.depart(queue, batch))
    }

    fn complete(self: Arc<Self>, batch: BytesMut, result: Result<BatchMetadata>) {
        self.completed(batch.len(), |flight| self.account(flight, batch, result));
    }

    fn complete_in_parts(self: Arc<Self>, batch: BytesMut, parts: Vec<BatchPart>) {
        self.completed(batch.len(), |_| self.account_parts(batch, parts));
    }
}

impl Drop for Partition {
    fn drop(&mut self) {
        self.shared.rests(self);
    }
}

impl fmt::Debug for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Partition").field(&self.at).finish()
    }
}
