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
//! * Until a broker has taken the first batch under an epoch, nothing follows it: of a producer
//!   that it does not know it takes any number, and the second would come to stand before it.
//! * A batch that is too large for the broker goes out again as two, with the same numbers.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use tokio::time::{Duration, Instant};

use crate::batch::{Batch, BatchHeader, halve, set_producer};
use crate::error::{Error, Result};
use crate::topic::{TopicId, TopicPartition};
use crate::transport::{BatchMetadata, BatchPart, Completion, ProducerId, QueuedBatch};

/// Batches of a partition that may be under way: brokers remember the last five of a producer.
const MAX_IN_FLIGHT: usize = 5;

/// A partition's batches.
pub(super) struct Queue {
    pub(super) at: TopicPartition,
    pub(super) topic_id: TopicId,
    /// Not taken yet.
    waiting: VecDeque<Waiting>,
    /// Taken, and not told their fate.
    sent: VecDeque<Sent>,
    /// What became of the first parts of the batch whose others come next in `sent`.
    parts: Vec<BatchPart>,
    /// What is longer is sent in parts: something was refused that was twice as long.
    part_bytes: usize,
    in_flight: usize,
    /// The broker that what is under way was sent to.
    pub(super) node: Option<i32>,
    identity: Option<ProducerId>,
    next_sequence: i32,
    next_key: u64,
    /// Whether what is under way is waited for before anything else is sent.
    mends: bool,
    /// Whether the numbers begin again before anything else is sent.
    renews: bool,
    /// Whether a broker has taken something under this identity.
    is_known: bool,
    /// How often in a row sending has failed.
    pub(super) failures: u32,
}

struct Waiting {
    batch: QueuedBatch,
    deadline: Instant,
    patience: Duration,
}

/// A batch, or a part of one.
struct Sent {
    key: u64,
    bytes: Bytes,
    records: i32,
    end: End,
    sequence: i32,
    deadline: Instant,
    patience: Duration,
    state: State,
    /// Whether the broker may have it, though it has not said so.
    may_be_there: bool,
}

/// What is behind a part.
enum End {
    /// The next part.
    More,
    /// Nothing; this is the way to tell what became of the batch, which `whole` is if this is not.
    Last { completion: Completion, whole: Option<Bytes> },
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
    /// It is too large, and was not appended. A record alone fails with the error.
    TooLarge(Error),
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
            parts: Vec::new(),
            part_bytes: usize::MAX,
            in_flight: 0,
            node: None,
            identity: None,
            next_sequence: 0,
            next_key: 0,
            mends: false,
            renews: false,
            is_known: false,
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
        let again = self.sent.iter().any(|sent| matches!(sent.state, State::Waits));
        let more = !self.waiting.is_empty() || !self.sent.is_empty();
        self.has_way() && (again || more && self.sent.len() < MAX_IN_FLIGHT)
    }

    fn has_way(&self) -> bool {
        let most = if self.mends || !self.is_known { 1 } else { MAX_IN_FLIGHT };
        self.in_flight < most
    }

    /// The next batch to send, as `fresh` if the queue has no identity of its own. `Err` if one is
    /// needed that nobody has had.
    pub(super) fn next(&mut self, fresh: ProducerId) -> Result<Option<Outgoing>, NeedsIdentity> {
        if !self.has_way() {
            return Ok(None);
        }
        self.mends = false;
        if self.renews {
            self.renew(fresh)?;
        }
        let has_one = self.sent.iter().any(|it| matches!(it.state, State::Waits));
        if !has_one && self.sent.len() < MAX_IN_FLIGHT {
            let identity = *self.identity.get_or_insert(fresh);
            self.take(identity);
        }
        let next = self.sent.iter().position(|it| matches!(it.state, State::Waits));
        let Some(index) = next else { return Ok(None) };
        while self.sent[index].bytes.len() > self.part_bytes && self.halve(index) {}
        let next = &mut self.sent[index];
        next.state = State::Flies;
        self.in_flight += 1;
        Ok(Some(Outgoing { key: next.key, bytes: next.bytes.clone() }))
    }

    /// Takes a batch: one that is full already goes before those of other sources.
    fn take(&mut self, identity: ProducerId) {
        let full = self.sent.back().and_then(|last| {
            let End::Last { completion, .. } = &last.end else { return None };
            let (batch, completion) = completion.take_full()?;
            Some((batch, completion, last.deadline, last.patience))
        });
        let taken = full.or_else(|| {
            let Waiting { batch, deadline, patience } = self.waiting.pop_front()?;
            let (batch, completion) = batch.take();
            Some((batch, completion, deadline, patience))
        });
        let Some((mut batch, completion, deadline, patience)) = taken else { return };
        let Ok(header) = BatchHeader::parse(&batch) else {
            // It was lost with whoever had it: the completion says so.
            return;
        };
        let (records, sequence) = (header.record_count, self.next_sequence);
        set_producer(&mut batch, identity.id, identity.epoch, sequence);
        self.next_sequence = after(sequence, records);
        self.next_key += 1;
        self.sent.push_back(Sent {
            key: self.next_key,
            bytes: batch.freeze(),
            records,
            end: End::Last { completion, whole: None },
            sequence,
            deadline,
            patience,
            state: State::Waits,
            may_be_there: false,
        });
    }

    /// Makes two of one, which have the same numbers together, where that can be done.
    fn halve(&mut self, index: usize) -> bool {
        let sent = &mut self.sent[index];
        // What may be there already is known there by its number and how many records it has.
        if sent.may_be_there {
            return false;
        }
        let batch = Batch::parse(sent.bytes.clone());
        let halves = batch.and_then(|batch| Ok((halve(&batch)?, *batch.header())));
        let Ok((Some([mut first, mut second]), header)) = halves else { return false };
        let records = BatchHeader::parse(&first).map_or(0, |header| header.record_count);
        let sequence = after(sent.sequence, records);
        let (id, epoch) = (header.producer_id, header.producer_epoch);
        set_producer(&mut first, id, epoch, sent.sequence);
        set_producer(&mut second, id, epoch, sequence);
        let whole = std::mem::replace(&mut sent.bytes, first.freeze());
        let end = match std::mem::replace(&mut sent.end, End::More) {
            End::Last { completion, whole: None } => End::Last { completion, whole: Some(whole) },
            end => end,
        };
        let rest = Sent {
            key: self.next_key + 2,
            bytes: second.freeze(),
            records: sent.records - records,
            end,
            sequence,
            deadline: sent.deadline,
            patience: sent.patience,
            state: State::Waits,
            may_be_there: false,
        };
        (sent.key, sent.records, sent.state) = (self.next_key + 1, records, State::Waits);
        self.next_key += 2;
        self.sent.insert(index + 1, rest);
        true
    }

    /// The numbers begin again under a new epoch; what waits gets new ones.
    fn renew(&mut self, fresh: ProducerId) -> Result<(), NeedsIdentity> {
        let former = self.identity.unwrap_or(fresh);
        let identity = match former.epoch.checked_add(1) {
            Some(epoch) => ProducerId { id: former.id, epoch },
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
        (self.identity, self.renews, self.is_known) = (Some(identity), false, false);
        Ok(())
    }

    /// Takes in what was said of a batch under way. Whether its sending may be tried again.
    pub(super) fn answered(&mut self, key: u64, fate: Fate) -> bool {
        let Some(index) = self.sent.iter().position(|sent| sent.key == key) else { return false };
        if !matches!(self.sent[index].state, State::Flies) {
            return false;
        }
        self.in_flight -= 1;
        if matches!(fate, Fate::TooLarge(_)) && self.part(index) {
            self.mends = true;
            return false;
        }
        let is_first =
            self.sent.iter().take(index).all(|it| matches!(it.state, State::Done(Ok(_))));
        let is_last = index + 1 == self.sent.len();
        let sent = &mut self.sent[index];
        match fate {
            Fate::Appended(metadata) => {
                sent.state = State::Done(Ok(metadata));
                (self.failures, self.is_known) = (0, true);
                return false;
            }
            Fate::TooLarge(error) | Fate::Failed(error) => {
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

    /// A batch is too large. Whether it goes in parts now.
    fn part(&mut self, index: usize) -> bool {
        let bytes = self.sent[index].bytes.len();
        // Halves are shorter, and what is only a little shorter is not tried.
        self.part_bytes = self.part_bytes.min(bytes / 4 * 3);
        self.halve(index)
    }

    /// Batches whose fate is known, in their order.
    pub(super) fn settled(&mut self) -> Vec<Settled> {
        let mut settled = Vec::new();
        while let Some(Sent { state: State::Done(_), .. }) = self.sent.front() {
            let Some(Sent { bytes, records, end, state: State::Done(result), .. }) =
                self.sent.pop_front()
            else {
                break;
            };
            let part = |result| BatchPart { records, bytes: bytes.len(), result };
            match end {
                End::More => self.parts.push(part(result)),
                End::Last { completion, whole: None } => {
                    settled.push(Settled { bytes, completion, fate: Told::Whole(result) });
                }
                End::Last { completion, whole: Some(whole) } => {
                    self.parts.push(part(result));
                    let fate = Told::InParts(std::mem::take(&mut self.parts));
                    settled.push(Settled { bytes: whole, completion, fate });
                }
            }
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
    fate: Told,
}

enum Told {
    Whole(Result<BatchMetadata>),
    InParts(Vec<BatchPart>),
}

impl Settled {
    /// Tells whoever waits for it.
    pub(super) fn tell(self) {
        let Settled { bytes, completion, fate } = self;
        match fate {
            // Only the buffer matters, if nobody else has it any more.
            Told::Whole(Ok(metadata)) => {
                completion.run(bytes.try_into_mut().unwrap_or_default(), Ok(metadata));
            }
            Told::Whole(Err(error)) => completion.run(owned(bytes), Err(error)),
            Told::InParts(parts) => completion.run_in_parts(owned(bytes), parts),
        }
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
