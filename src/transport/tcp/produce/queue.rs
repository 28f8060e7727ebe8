//! One partition's batches on their way: in which order they go, under which sequence numbers, and
//! what becomes of each. Pure: it knows neither a socket nor the time.
//!
//! * Batches go out in the order in which they were taken, and are told their fate in that order.
//! * A batch has its producer id, epoch and sequence number before it is sent for the first time,
//!   and goes out again as the same bytes: so the broker knows what it has already.
//! * When one of several under way fails, nothing new is sent until all are answered; then they go
//!   out again, the first one first.
//! * Where it is not known, or known not to be so, that the broker has everything up to some
//!   number, the epoch rises and the numbers begin again (KIP-360).

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use tokio::time::{Duration, Instant};

use crate::batch::{BatchHeader, set_producer};
use crate::error::{Error, Result};
use crate::topic::{TopicId, TopicPartition};
use crate::transport::{BatchMetadata, Completion, QueuedBatch};

/// Batches of a partition that may be under way: brokers remember the last five of a producer.
const MAX_SENT: usize = 5;

/// Who a producer is to the brokers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) id: i64,
    pub(super) epoch: i16,
}

/// A partition's batches.
pub(super) struct Queue {
    pub(super) at: TopicPartition,
    pub(super) topic_id: TopicId,
    /// Not taken yet.
    waiting: VecDeque<Waiting>,
    /// Taken, and not told their fate.
    sent: VecDeque<Sent>,
    in_flight: usize,
    /// The broker that what is under way was sent to.
    pub(super) node: Option<i32>,
    identity: Option<Identity>,
    next_sequence: i32,
    next_key: u64,
    /// Whether what is under way is waited for before anything else is sent.
    mends: bool,
    /// Whether the numbers begin again before anything else is sent.
    renews: bool,
    /// How often in a row sending has failed.
    pub(super) failures: u32,
}

struct Waiting {
    batch: QueuedBatch,
    deadline: Instant,
    patience: Duration,
}

struct Sent {
    key: u64,
    bytes: Bytes,
    completion: Completion,
    records: i32,
    sequence: i32,
    deadline: Instant,
    patience: Duration,
    state: State,
    /// Whether the broker may have it, though it has not said so.
    may_be_there: bool,
}

enum State {
    Waits,
    Flies,
    Done(Result<BatchMetadata>),
}

/// A batch that is to be sent now.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) key: u64,
    pub(super) bytes: Bytes,
}

/// What a broker has said of a batch.
pub(super) enum Fate {
    Appended(BatchMetadata),
    /// It may be sent again.
    Again,
    /// The numbers do not fit.
    OutOfSequence,
    /// The broker knows nothing of this producer's number any more.
    Forgotten,
    Failed(Error),
    /// There was no answer.
    Unknown,
}

impl Queue {
    pub(super) fn new(at: TopicPartition, topic_id: TopicId) -> Self {
        Queue {
            at,
            topic_id,
            waiting: VecDeque::new(),
            sent: VecDeque::new(),
            in_flight: 0,
            node: None,
            identity: None,
            next_sequence: 0,
            next_key: 0,
            mends: false,
            renews: false,
            failures: 0,
        }
    }

    pub(super) fn push(&mut self, batch: QueuedBatch, now: Instant, patience: Duration) {
        self.waiting.push_back(Waiting { batch, deadline: now + patience, patience });
    }

    /// Whether nothing is here.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.sent.is_empty()
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Whether there may be something to send.
    pub(super) fn may_send(&self) -> bool {
        if self.mends && self.in_flight > 0 {
            return false;
        }
        let again = self.sent.iter().any(|sent| matches!(sent.state, State::Waits));
        let more = !self.waiting.is_empty() || !self.sent.is_empty();
        again || more && self.sent.len() < MAX_SENT
    }

    /// The next batch to send, as `fresh` if the queue has no identity of its own. `Err` if one is
    /// needed that nobody has had.
    pub(super) fn next(&mut self, fresh: Identity) -> Result<Option<Outgoing>, NeedsIdentity> {
        if self.mends && self.in_flight > 0 {
            return Ok(None);
        }
        self.mends = false;
        if self.renews {
            self.renew(fresh)?;
        }
        if let Some(again) = self.sent.iter_mut().find(|it| matches!(it.state, State::Waits)) {
            again.state = State::Flies;
            self.in_flight += 1;
            return Ok(Some(Outgoing { key: again.key, bytes: again.bytes.clone() }));
        }
        if self.sent.len() >= MAX_SENT {
            return Ok(None);
        }
        let identity = *self.identity.get_or_insert(fresh);
        let last = self.sent.back();
        let full = last.and_then(|last| {
            let (batch, completion) = last.completion.take_full()?;
            Some((batch, completion, last.deadline, last.patience))
        });
        let taken = full.or_else(|| {
            let Waiting { batch, deadline, patience } = self.waiting.pop_front()?;
            let (batch, completion) = batch.take();
            Some((batch, completion, deadline, patience))
        });
        let Some((batch, completion, deadline, patience)) = taken else { return Ok(None) };
        Ok(self.send_taken(identity, batch, completion, (deadline, patience)))
    }

    fn send_taken(
        &mut self,
        identity: Identity,
        mut batch: BytesMut,
        completion: Completion,
        (deadline, patience): (Instant, Duration),
    ) -> Option<Outgoing> {
        let Ok(header) = BatchHeader::parse(&batch) else {
            // It was lost with whoever had it: the completion says so.
            return None;
        };
        let (records, sequence) = (header.record_count, self.next_sequence);
        set_producer(&mut batch, identity.id, identity.epoch, sequence);
        self.next_sequence = after(sequence, records);
        self.next_key += 1;
        let (key, bytes) = (self.next_key, batch.freeze());
        self.in_flight += 1;
        self.sent.push_back(Sent {
            key,
            bytes: bytes.clone(),
            completion,
            records,
            sequence,
            deadline,
            patience,
            state: State::Flies,
            may_be_there: false,
        });
        Some(Outgoing { key, bytes })
    }

    /// The numbers begin again under a new epoch; what waits gets new ones.
    fn renew(&mut self, fresh: Identity) -> Result<(), NeedsIdentity> {
        let former = self.identity.unwrap_or(fresh);
        let identity = match former.epoch.checked_add(1) {
            Some(epoch) => Identity { id: former.id, epoch },
            None if fresh.id != former.id => fresh,
            None => return Err(NeedsIdentity),
        };
        self.next_sequence = 0;
        for sent in &mut self.sent {
            if !matches!(sent.state, State::Waits) {
                continue;
            }
            let mut bytes = owned(std::mem::take(&mut sent.bytes));
            sent.sequence = self.next_sequence;
            set_producer(&mut bytes, identity.id, identity.epoch, sent.sequence);
            sent.bytes = bytes.freeze();
            sent.may_be_there = false;
            self.next_sequence = after(self.next_sequence, sent.records);
        }
        (self.identity, self.renews) = (Some(identity), false);
        Ok(())
    }

    /// Takes in what was said of a batch under way. Whether its sending may be tried again.
    pub(super) fn answered(&mut self, key: u64, fate: Fate) -> bool {
        let Some(index) = self.sent.iter().position(|sent| sent.key == key) else { return false };
        if !matches!(self.sent[index].state, State::Flies) {
            return false;
        }
        self.in_flight -= 1;
        let is_first =
            self.sent.iter().take(index).all(|it| matches!(it.state, State::Done(Ok(_))));
        let is_last = index + 1 == self.sent.len();
        let sent = &mut self.sent[index];
        match fate {
            Fate::Appended(metadata) => {
                sent.state = State::Done(Ok(metadata));
                self.failures = 0;
                return false;
            }
            Fate::Failed(error) => {
                // Those behind it have numbers that can't follow any more.
                match is_last && !sent.may_be_there {
                    true => self.next_sequence = sent.sequence,
                    false => self.renews = true,
                }
                sent.state = State::Done(Err(error));
            }
            Fate::Forgotten => {
                sent.state = State::Waits;
                self.renews = true;
            }
            Fate::OutOfSequence => {
                sent.state = State::Waits;
                self.renews |= is_first;
            }
            // Whoever says so may have it all the same: what lacked was other replicas, or time.
            Fate::Again | Fate::Unknown => {
                sent.state = State::Waits;
                sent.may_be_there = true;
            }
        }
        self.mends = true;
        self.failures += 1;
        true
    }

    /// Batches whose fate is known, in their order.
    pub(super) fn settled(&mut self) -> Vec<Settled> {
        let mut settled = Vec::new();
        while let Some(Sent { state: State::Done(_), .. }) = self.sent.front() {
            let Some(Sent { bytes, completion, state: State::Done(result), .. }) =
                self.sent.pop_front()
            else {
                break;
            };
            settled.push(Settled { bytes, completion, result });
        }
        settled
    }

    /// Gives up what has taken too long, but for what is under way, which will be answered.
    pub(super) fn give_up(&mut self, now: Instant, why: &str) -> bool {
        let mut any = false;
        let (at, in_flight) = (&self.at, self.in_flight);
        let late = |after| Error::Timeout { what: format!("delivering to {at} ({why})"), after };
        for sent in &mut self.sent {
            if sent.deadline <= now && matches!(sent.state, State::Waits) && in_flight == 0 {
                sent.state = State::Done(Err(late(sent.patience)));
                (self.renews, any) = (true, true);
            }
        }
        while let Some(first) = self.waiting.front().filter(|first| first.deadline <= now) {
            let error = late(first.patience);
            if let Some(Waiting { batch, .. }) = self.waiting.pop_front() {
                batch.fail(error);
                any = true;
            }
        }
        any
    }

    /// Nothing of it can ever be sent.
    pub(super) fn fail_all(&mut self, error: &Error) {
        for sent in &mut self.sent {
            if matches!(sent.state, State::Waits) {
                sent.state = State::Done(Err(error.clone()));
                self.renews = true;
            }
        }
        for Waiting { batch, .. } in std::mem::take(&mut self.waiting) {
            batch.fail(error.clone());
        }
    }
}

/// The epochs of a producer id are used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NeedsIdentity;

/// A batch whose fate is known.
pub(super) struct Settled {
    bytes: Bytes,
    completion: Completion,
    result: Result<BatchMetadata>,
}

impl Settled {
    /// Tells whoever waits for it.
    pub(super) fn tell(self) {
        let Settled { bytes, completion, result } = self;
        // After a success only the buffer matters, if nobody else has it any more.
        let batch = match &result {
            Ok(_) => bytes.try_into_mut().unwrap_or_default(),
            Err(_) => owned(bytes),
        };
        completion.run(batch, result);
    }
}

fn owned(bytes: Bytes) -> BytesMut {
    bytes.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]))
}

/// The sequence number behind so many records: after the highest comes 0.
fn after(sequence: i32, records: i32) -> i32 {
    let next = i64::from(sequence) + i64::from(records);
    (next & i64::from(i32::MAX)) as i32
}

#[cfg(test)]
mod tests;
