//! What becomes of a batch ([`BatchAck`]), and of one record in it ([`Delivery`]).
//!
//! One acknowledgement serves all records of a batch, so a record costs no allocation. It is
//! resolved once, by the batch's completion; dropping a `Delivery` changes nothing for anyone.

use std::fmt;
use std::mem;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use super::ProduceError;
use crate::error::Error;
use crate::record::{RecordMetadata, Timestamp};
use crate::topic::TopicPartition;
use crate::transport::{BatchMetadata, BatchPart, wake};

/// The acknowledgement of a record that has been buffered: a future.
///
/// Resolves when the record is acknowledged, or has failed with the rest of its batch; with
/// [`Acks::None`](super::Acks::None) at once. It need not be polled: the record is on its way, and
/// stays so if this is dropped. Polled again after it has resolved, it gives the same answer.
pub struct Delivery {
    ack: Arc<BatchAck>,
    place: Place,
    slot: Slot,
}

/// Where among the batch's waiters one is, once it is; counted from 1.
type Slot = Option<NonZeroU32>;

/// One record of a batch, and what its batch does not say of it. In as few bytes as there can be,
/// with no gap between them: it is handed through several functions for each record.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) timestamp: Timestamp,
    /// The record's index, or if the caller chose the partition its complement.
    marked_index: i32,
}

impl Place {
    /// Of the record with this index in its batch, from 0.
    #[inline]
    pub(super) fn new(index: i32, timestamp: Timestamp, explicit_partition: bool) -> Self {
        Place { timestamp, marked_index: if explicit_partition { !index } else { index } }
    }

    pub(super) fn index(self) -> i32 {
        if self.explicit_partition() { !self.marked_index } else { self.marked_index }
    }

    /// Whether the caller chose the partition.
    pub(super) fn explicit_partition(self) -> bool {
        self.marked_index < 0
    }
}

impl Delivery {
    pub(super) fn new(ack: Arc<BatchAck>, place: Place) -> Self {
        Delivery { ack, place, slot: None }
    }

    /// `index` counts from where the base offset is.
    fn metadata(&self, batch: &BatchMetadata, index: i32) -> RecordMetadata {
        let timestamp = batch.log_append_time.unwrap_or(self.place.timestamp);
        // A broker that has had the batch before may not know any more where.
        let offset = match batch.base_offset {
            -1 => -1,
            base_offset => base_offset + i64::from(index),
        };
        RecordMetadata::new(&self.ack.at, offset, timestamp)
    }
}

impl Future for Delivery {
    type Output = Result<RecordMetadata, ProduceError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if !this.ack.confirms {
            let metadata = RecordMetadata::new(&this.ack.at, -1, this.place.timestamp);
            return Poll::Ready(Ok(metadata));
        }
        Poll::Ready(match this.ack.poll_outcome(cx, &mut this.slot) {
            Poll::Ready(outcome) => match outcome.of(this.place.index()) {
                Ok((batch, index)) => Ok(this.metadata(batch, index)),
                Err(error) => {
                    Err(ProduceError::after_buffering(error.clone(), &this.ack, this.place))
                }
            },
            Poll::Pending => return Poll::Pending,
        })
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("at", &self.ack.at)
            .field("index", &self.place.index())
            .field("outcome", &self.ack.outcome.get())
            .finish()
    }
}

/// Where the fate of a batch is written, and who waits for it.
pub(super) struct BatchAck {
    pub(super) at: TopicPartition,
    /// False with `acks=0`: deliveries do not wait. A flush does.
    confirms: bool,
    /// Written before the waiters are taken out, so whoever finds it empty while holding the
    /// waiters' lock will be woken.
    outcome: OnceLock<Outcome>,
    waiters: Mutex<Waiters>,
}

#[derive(Debug)]
pub(super) enum Outcome {
    Appended(BatchMetadata),
    Failed {
        error: Error,
        /// The batch as it was encoded; empty if it was lost with a broker that is gone.
        batch: Bytes,
    },
    /// It was too large for the broker, and sent in parts.
    Split {
        parts: Vec<BatchPart>,
        /// All of it, as it was encoded.
        batch: Bytes,
    },
}

impl Outcome {
    /// What became of one of its records; where it was appended, also which one it is of those that
    /// were appended with it.
    fn of(&self, index: i32) -> Result<(&BatchMetadata, i32), &Error> {
        let (result, index) = match self {
            Outcome::Appended(batch) => return Ok((batch, index)),
            Outcome::Failed { error, .. } => return Err(error),
            Outcome::Split { parts, .. } => {
                let mut left = index;
                let part = parts.iter().find(|part| {
                    let is_it = left < part.records;
                    left -= if is_it { 0 } else { part.records };
                    is_it
                });
                (&part.expect("the parts have all records").result, left)
            }
        };
        result.as_ref().map(|batch| (batch, index))
    }

    /// The records, where some may have failed.
    pub(super) fn batch(&self) -> Option<&Bytes> {
        match self {
            Outcome::Appended(_) => None,
            Outcome::Failed { batch, .. } | Outcome::Split { batch, .. } => Some(batch),
        }
    }
}

impl BatchAck {
    pub(super) fn new(at: TopicPartition, confirms: bool) -> Self {
        let waiters = Mutex::default();
        BatchAck { at, confirms, outcome: OnceLock::new(), waiters }
    }

    pub(super) fn outcome(&self) -> Option<&Outcome> {
        self.outcome.get()
    }

    /// Writes down the batch's fate. Who waits for it is woken when the answer is dropped.
    pub(super) fn resolve(&self, outcome: Outcome) -> Waiters {
        let first_time = self.outcome.set(outcome).is_ok();
        debug_assert!(first_time, "a completion runs once");
        mem::take(&mut *self.waiters())
    }

    /// Waits until the batch's fate is known. Cancel safe.
    pub(super) async fn resolved(&self) {
        let mut waiting = Waiting { ack: self, slot: None };
        std::future::poll_fn(|cx| self.poll_outcome(cx, &mut waiting.slot).map(|_| ())).await;
    }

    fn poll_outcome(&self, cx: &mut Context<'_>, slot: &mut Slot) -> Poll<&Outcome> {
        if let Some(outcome) = self.outcome.get() {
            return Poll::Ready(outcome);
        }
        let mut waiters = self.waiters();
        match self.outcome.get() {
            Some(outcome) => Poll::Ready(outcome),
            None => {
                waiters.put(slot, cx.waker());
                Poll::Pending
            }
        }
    }

    /// How much memory is held for those who wait, in waiters.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        let waiters = self.waiters();
        usize::from(waiters.first.is_some()) + waiters.more.len()
    }

    fn waiters(&self) -> MutexGuard<'_, Waiters> {
        self.waiters.lock().expect("cloning a waker does not panic")
    }
}

/// A place among the waiters, given back by who gives up.
struct Waiting<'a> {
    ack: &'a BatchAck,
    slot: Slot,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(slot) = self.slot {
            self.ack.waiters().vacate(slot);
        }
    }
}

/// Who waits for a batch; all are woken when this is dropped.
#[derive(Default)]
#[must_use = "dropping it early wakes early"]
pub(super) struct Waiters {
    /// Alone for a batch of one record, which then needs no allocation.
    first: Option<Waker>,
    /// `None` where somebody has given up.
    more: Vec<Option<Waker>>,
}

impl Waiters {
    /// Adds a waiter, or replaces the waker that it left at `slot` before.
    fn put(&mut self, slot: &mut Slot, waker: &Waker) {
        let Some(place) = *slot else {
            let place = match self.first {
                None => {
                    self.first = Some(waker.clone());
                    1
                }
                Some(_) => {
                    self.more.push(Some(waker.clone()));
                    // No batch has so many records that this is too much for 32 bits.
                    self.more.len() as u32 + 1
                }
            };
            *slot = NonZeroU32::new(place);
            return;
        };
        let former = match place.get() {
            1 => &mut self.first,
            place => &mut self.more[place as usize - 2],
        };
        former.get_or_insert_with(|| waker.clone()).clone_from(waker);
    }

    /// Whoever has this slot does not wait any more. Does nothing once all were woken.
    fn vacate(&mut self, slot: NonZeroU32) {
        match slot.get() {
            1 => self.first = None,
            place => drop(self.more.get_mut(place as usize - 2).map(Option::take)),
        }
        while self.more.pop_if(|last| last.is_none()).is_some() {}
    }
}

impl Drop for Waiters {
    fn drop(&mut self) {
        let more = self.more.drain(..).flatten();
        self.first.take().into_iter().chain(more).for_each(wake);
    }
}
