//! What one partition remembers of its idempotent producers, and the verdict on what they send.
//!
//! A producer that numbers its records may send a batch again after a lost answer; the partition
//! then says where the first copy went instead of appending a second. The rules are those of Apache
//! Kafka (`ProducerAppendInfo`, `ProducerStateEntry`).
//!
//! State goes in three ways: by age ([`ProducerState::expire`]), with a cut tail
//! ([`ProducerState::truncate_from`]), or with the oldest producers of an over-full rebuild. It
//! does *not* go when the log start moves past a producer's records: Kafka gave that up (KIP-360),
//! because a producer that writes seldom would lose its place.
//!
//! Invariants: a producer's batches belong to its current epoch, and their offsets rise. Sequences
//! run from 0 to 2^31 - 1 and start over.

use std::collections::{BTreeMap, BTreeSet};

use crate::batch::BatchHeader;

/// How many of a producer's latest batches are recognised when they come again.
pub(super) const BATCHES_REMEMBERED: usize = 5;

/// How many producers one partition remembers unless told otherwise.
pub(super) const DEFAULT_MAX_PRODUCERS: usize = 100_000;

/// What a record batch's header says about its producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ProducerBatch {
    /// Who sent it; negative if it is not idempotent, and then nothing else here matters.
    pub(super) producer_id: i64,
    /// Tells a producer's incarnations apart.
    pub(super) epoch: i16,
    /// The sequence of its first record.
    pub(super) base_sequence: i32,
    /// The header's field: records sent, less one.
    pub(super) last_offset_delta: i32,
    /// The batch's largest timestamp in milliseconds, as it stands in the log.
    pub(super) timestamp: i64,
}

impl ProducerBatch {
    /// What this batch's header says.
    pub(super) fn of(header: &BatchHeader) -> Self {
        ProducerBatch {
            producer_id: header.producer_id,
            epoch: header.producer_epoch,
            base_sequence: header.base_sequence,
            last_offset_delta: header.last_offset_delta,
            timestamp: header.max_timestamp,
        }
    }

    /// The sequence of its last record.
    pub(super) fn last_sequence(&self) -> i32 {
        add_sequence(self.base_sequence, i64::from(self.last_offset_delta))
    }
}

/// What to do with a batch that may be appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Append it, then say so with [`ProducerState::applied`].
    Append,
    /// It is in the log already: answer with this, and append nothing.
    Duplicate {
        /// The offset of the first copy's first record.
        base_offset: i64,
        /// The first copy's largest timestamp: its append time, where the topic stamps records.
        timestamp: i64,
    },
}

/// Why a batch must not be appended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProducerError {
    /// The producer has an id but no place in its own order (INVALID_RECORD).
    #[error(
        "a batch has no epoch or no sequence: producer id {producer_id}, epoch {epoch}, \
         base sequence {base_sequence}"
    )]
    Unsequenced {
        /// Who sent it.
        producer_id: i64,
        /// As sent.
        epoch: i16,
        /// As sent.
        base_sequence: i32,
    },
    /// A newer incarnation of this producer has written here (INVALID_PRODUCER_EPOCH).
    #[error("producer epoch is over: producer id {producer_id}, epoch {found}, current {current}")]
    InvalidEpoch {
        /// Who sent it.
        producer_id: i64,
        /// The epoch it sent.
        found: i16,
        /// The newest epoch seen.
        current: i16,
    },
    /// Records are missing, or it is too late to recognise a retry (OUT_OF_ORDER_SEQUENCE_NUMBER).
    #[error(
        "sequence out of order: producer id {producer_id}, epoch {epoch}, found {found}, \
         expected {expected}"
    )]
    OutOfOrderSequence {
        /// Who sent it.
        producer_id: i64,
        /// The epoch it sent.
        epoch: i16,
        /// The base sequence it sent.
        found: i32,
        /// The only base sequence that could be appended.
        expected: i32,
    },
    /// One producer more than the partition may remember; some must expire first.
    #[error("too many producers: producer id {producer_id} is new, the limit is {limit}")]
    TooManyProducers {
        /// Who sent the batch.
        producer_id: i64,
        /// How many are remembered at most.
        limit: usize,
    },
}

/// All producers of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ProducerState {
    /// By producer id. Ordered, so that neither files nor behaviour depend on a hash.
    pub(super) producers: BTreeMap<i64, Producer>,
    max_producers: usize,
}

impl ProducerState {
    /// Remembers nobody yet, and at most `max_producers`.
    pub(super) fn new(max_producers: usize) -> Self {
        ProducerState { producers: BTreeMap::new(), max_producers }
    }

    /// How many producers are remembered.
    pub(super) fn len(&self) -> usize {
        self.producers.len()
    }

    /// Judges a batch that a client sent.
    ///
    /// A producer of which nothing is known (new, or expired) may begin at any sequence.
    pub(super) fn check(&self, batch: &ProducerBatch) -> Result<Verdict, ProducerError> {
        let ProducerBatch { producer_id, epoch, base_sequence, .. } = *batch;
        if producer_id < 0 {
            return Ok(Verdict::Append);
        }
        if epoch < 0 || base_sequence < 0 {
            return Err(ProducerError::Unsequenced { producer_id, epoch, base_sequence });
        }
        match self.producers.get(&producer_id) {
            Some(producer) => producer.check(batch),
            None if self.len() < self.max_producers => Ok(Verdict::Append),
            None => Err(ProducerError::TooManyProducers { producer_id, limit: self.max_producers }),
        }
    }

    /// Takes note of a batch that is now in the log, whether just appended or met in a rebuild.
    ///
    /// Offsets must rise from call to call. Nothing is checked: what is in the log has happened.
    pub(super) fn applied(&mut self, batch: &ProducerBatch, base_offset: i64) {
        if batch.producer_id < 0 {
            return;
        }
        self.producers.entry(batch.producer_id).or_default().applied(batch, base_offset);
        self.drop_oldest_if_overfull();
    }

    /// Forgets producers whose last batch is `expiration_ms` old or older; answers how many.
    ///
    /// Age is that of the batch's timestamp, as in Kafka: so it is the same after a rebuild, and a
    /// producer of old (or missing) timestamps is forgotten at once. One with an open transaction
    /// stays. A rebuild calls this now and then, lest it hold all that ever wrote.
    pub(super) fn expire(&mut self, now_ms: i64, expiration_ms: i64) -> usize {
        let before = self.len();
        self.producers.retain(|_, producer| {
            let age_ms = now_ms.saturating_sub(producer.last_timestamp);
            producer.current_txn_first_offset.is_some() || age_ms < expiration_ms
        });
        before - self.len()
    }

    /// The log was cut: forgets all batches that reach to `offset` or beyond it.
    ///
    /// A producer of whom no batch is left is forgotten, its epoch included. (Kafka reloads a
    /// snapshot from below the cut and scans from there, which can tell more. What is kept here
    /// is the same.)
    pub(super) fn truncate_from(&mut self, offset: i64) {
        self.producers.retain(|_, producer| producer.truncate_from(offset));
    }

    /// Where each producer's last batch ends, and its last one that ends before `offset`, as far
    /// as remembered.
    pub(super) fn last_offsets(&self, offset: i64) -> BTreeSet<(i64, i64)> {
        let of_producer = |(producer_id, producer): (&i64, &Producer)| {
            let batches = producer.batches();
            let before = batches.iter().rfind(|it| it.last_offset < offset);
            [batches.last(), before].map(|it| it.map(|it| (*producer_id, it.last_offset)))
        };
        self.producers.iter().flat_map(of_producer).flatten().collect()
    }

    /// Bounds a rebuild: [`check`](Self::check), which refuses more producers, is not asked then.
    fn drop_oldest_if_overfull(&mut self) {
        // Twice the limit, so that the work is shared by as many batches as there are producers.
        if self.len() <= self.max_producers.saturating_mul(2) {
            return;
        }
        let mut offsets: Vec<i64> = self.producers.values().map(Producer::last_offset).collect();
        let last_to_go = offsets.len() - self.max_producers - 1;
        let (_, newest_dropped, _) = offsets.select_nth_unstable(last_to_go);
        self.producers.retain(|_, producer| producer.last_offset() > *newest_dropped);
    }
}

/// What is remembered of one producer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Producer {
    /// The newest epoch it wrote with.
    pub(super) epoch: i16,
    /// The timestamp of the last thing it wrote.
    pub(super) last_timestamp: i64,
    /// The epoch of the coordinator that ended its last transaction; -1 if there was none.
    pub(super) coordinator_epoch: i32,
    /// Where its open transaction begins.
    pub(super) current_txn_first_offset: Option<i64>,
    batches: [AppendedBatch; BATCHES_REMEMBERED],
    /// How many of `batches` count, oldest first; the others are zero.
    batch_count: usize,
}

impl Default for Producer {
    fn default() -> Self {
        Producer {
            epoch: -1,
            last_timestamp: -1,
            coordinator_epoch: -1,
            current_txn_first_offset: None,
            batches: Default::default(),
            batch_count: 0,
        }
    }
}

impl Producer {
    fn check(&self, batch: &ProducerBatch) -> Result<Verdict, ProducerError> {
        let ProducerBatch { producer_id, epoch, base_sequence: found, .. } = *batch;
        if epoch < self.epoch {
            return Err(ProducerError::InvalidEpoch {
                producer_id,
                found: epoch,
                current: self.epoch,
            });
        }
        let same_epoch = epoch == self.epoch;
        if same_epoch && let Some(first) = self.batches().iter().find(|it| it.is_copy(batch)) {
            let base_offset = first.base_offset();
            return Ok(Verdict::Duplicate { base_offset, timestamp: first.timestamp });
        }
        let expected = match self.batches().last() {
            Some(last) if same_epoch => add_sequence(last.last_sequence, 1),
            _ => 0,
        };
        if found != expected {
            return Err(ProducerError::OutOfOrderSequence { producer_id, epoch, found, expected });
        }
        Ok(Verdict::Append)
    }

    fn applied(&mut self, batch: &ProducerBatch, base_offset: i64) {
        if self.epoch != batch.epoch {
            self.epoch = batch.epoch;
            self.keep_first(0);
        }
        self.last_timestamp = batch.timestamp;
        // Brokers write for a producer too, outside its sequence: only the epoch counts then.
        if batch.base_sequence >= 0 {
            self.push(AppendedBatch {
                last_sequence: batch.last_sequence(),
                offset_delta: batch.last_offset_delta,
                last_offset: base_offset.saturating_add(i64::from(batch.last_offset_delta)),
                timestamp: batch.timestamp,
            });
        }
    }

    /// Whether anything is left.
    fn truncate_from(&mut self, offset: i64) -> bool {
        self.keep_first(self.batches().partition_point(|it| it.last_offset < offset));
        self.current_txn_first_offset = self.current_txn_first_offset.filter(|it| *it < offset);
        let Some(last) = self.batches().last() else {
            return false;
        };
        self.last_timestamp = last.timestamp;
        true
    }

    /// The batches remembered, oldest first.
    pub(super) fn batches(&self) -> &[AppendedBatch] {
        &self.batches[..self.batch_count]
    }

    pub(super) fn push(&mut self, batch: AppendedBatch) {
        if self.batch_count == BATCHES_REMEMBERED {
            self.batches.rotate_left(1);
            self.batch_count -= 1;
        }
        self.batches[self.batch_count] = batch;
        self.batch_count += 1;
    }

    fn keep_first(&mut self, count: usize) {
        self.batches[count..].fill(AppendedBatch::default());
        self.batch_count = count;
    }

    fn last_offset(&self) -> i64 {
        self.batches().last().map_or(-1, |it| it.last_offset)
    }
}

/// A batch of a producer's current epoch that is in the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct AppendedBatch {
    pub(super) last_sequence: i32,
    /// Last offset less base offset, and so last sequence less first sequence.
    pub(super) offset_delta: i32,
    pub(super) last_offset: i64,
    pub(super) timestamp: i64,
}

impl AppendedBatch {
    fn base_offset(&self) -> i64 {
        self.last_offset.saturating_sub(i64::from(self.offset_delta))
    }

    fn first_sequence(&self) -> i32 {
        add_sequence(self.last_sequence, -i64::from(self.offset_delta))
    }

    fn is_copy(&self, batch: &ProducerBatch) -> bool {
        self.first_sequence() == batch.base_sequence && self.last_sequence == batch.last_sequence()
    }
}

/// Moves along the circle of 2^31 sequences.
fn add_sequence(sequence: i32, by: i64) -> i32 {
    (i64::from(sequence) + by).rem_euclid(1 << 31) as i32
}

#[cfg(test)]
mod tests;
