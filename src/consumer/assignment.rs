//! The partitions that a consumer reads, and where it stands in each.
//!
//! Each has a slot, a number that stays with it, so that handing out a record looks nothing up.

use std::collections::BTreeMap;
use std::ops::{Index, IndexMut};
use std::sync::atomic::{AtomicU64, Ordering};

use super::Position;
use crate::error::{Error, Result};
use crate::topic::{TopicId, TopicName, TopicPartition};

/// One partition that is read.
#[derive(Debug)]
pub(super) struct Partition {
    pub(super) at: TopicPartition,
    /// The life of the topic that is read; its namesakes are other topics.
    pub(super) topic_id: TopicId,
    /// The next offset to hand out.
    pub(super) position: Position,
    pub(super) paused: bool,
    /// For how long it has been this consumer's: another when it comes again.
    pub(super) tenure: Tenure,
}

/// The time for which one consumer has a partition, without a break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tenure(u64);

impl Tenure {
    /// One that there was not before, in any consumer.
    fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Tenure(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// Partitions by name and by slot.
#[derive(Debug, Default)]
pub(super) struct Assignment {
    slots: Vec<Option<Partition>>,
    index: BTreeMap<TopicPartition, usize>,
}

impl Assignment {
    /// Adds a partition that is not there yet; returns its slot.
    pub(super) fn add(&mut self, at: TopicPartition, topic_id: TopicId, from: Position) -> usize {
        debug_assert!(!self.index.contains_key(&at), "{at} is assigned once");
        let (position, paused, tenure) = (from, false, Tenure::new());
        let partition = Partition { at: at.clone(), topic_id, position, paused, tenure };
        let slot = match self.slots.iter().position(Option::is_none) {
            Some(free) => free,
            None => {
                self.slots.push(None);
                self.slots.len() - 1
            }
        };
        self.slots[slot] = Some(partition);
        self.index.insert(at, slot);
        slot
    }

    /// Takes all partitions of a topic away; returns them with the slots that they had.
    pub(super) fn remove_topic(&mut self, topic: &TopicName) -> Vec<(usize, Partition)> {
        let slots = &mut self.slots;
        let gone = self.index.extract_if(.., |at, _| at.topic == *topic);
        gone.filter_map(|(_, slot)| Some((slot, slots[slot].take()?))).collect()
    }

    /// Takes a partition away; returns the slot that it had.
    pub(super) fn remove(&mut self, at: &TopicPartition) -> Option<usize> {
        let slot = self.index.remove(at)?;
        self.slots[slot] = None;
        Some(slot)
    }

    pub(super) fn slot_of(&self, at: &TopicPartition) -> Option<usize> {
        self.index.get(at).copied()
    }

    /// As [`Assignment::slot_of`], for a partition that a caller named.
    pub(super) fn named(&self, at: &TopicPartition) -> Result<usize> {
        let missing = || Error::InvalidState(format!("{at} is not assigned to this consumer"));
        self.slot_of(at).ok_or_else(missing)
    }

    /// The slots of the partitions that a caller named; of all, if none was named.
    pub(super) fn named_or_all(&self, partitions: &[TopicPartition]) -> Result<Vec<usize>> {
        match partitions {
            [] => Ok(self.index.values().copied().collect()),
            named => named.iter().map(|at| self.named(at)).collect(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// All partitions, in the order of their names.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Partition> {
        self.index.values().map(|slot| &self[*slot])
    }
}

impl Index<usize> for Assignment {
    type Output = Partition;

    #[inline]
    fn index(&self, slot: usize) -> &Partition {
        self.slots[slot].as_ref().expect("a slot is forgotten when its partition goes")
    }
}

impl IndexMut<usize> for Assignment {
    #[inline]
    fn index_mut(&mut self, slot: usize) -> &mut Partition {
        self.slots[slot].as_mut().expect("a slot is forgotten when its partition goes")
    }
}
