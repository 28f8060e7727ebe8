//! [`Records`]: what one `poll` returns.
//!
//! It owns the batches, as they were produced, and knows which of their records it stands for;
//! iterating decodes them where they lie. `poll` has decoded them once before: a malformed record
//! must be an error of the call that finds it, not a hole in what a user iterates over. So
//! nothing here fails, and no more is kept than one [`Part`] a batch.

use std::collections::BTreeMap;
use std::fmt;
use std::iter::FusedIterator;
use std::{slice, vec};

use super::Position;
use crate::batch::{Batch, HeaderIter, RecordPosition, RecordView, to_consumer_record};
use crate::record::{ConsumerRecord, Timestamp, TimestampType};
use crate::topic::{TopicId, TopicName, TopicPartition};

/// Records of one batch.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) at: TopicPartition,
    /// The life of the topic that they are of.
    pub(super) topic_id: TopicId,
    pub(super) batch: Batch,
    /// Before the first of them.
    pub(super) start: RecordPosition,
    /// How many there are, each of which has been decoded without an error.
    pub(super) count: usize,
    /// What follows the last of them.
    pub(super) end: Position,
}

/// Records that one [`poll`](super::Consumer::poll) handed out: those of a partition in the order
/// of their offsets, partitions one after the other.
///
/// [`Records::iter`] borrows and allocates nothing; iterating over the value itself gives
/// [`ConsumerRecord`]s, which share the bytes. Cheap to clone. The batches' memory is freed when
/// the last of them, and of the records made from them, is dropped.
#[derive(Clone, Default)]
pub struct Records {
    parts: Vec<Part>,
    len: usize,
    /// Bytes of all batches.
    bytes: usize,
}

impl Records {
    pub(super) fn push(&mut self, part: Part) {
        self.len += part.count;
        self.bytes += part.batch.bytes().len();
        self.parts.push(part);
    }

    /// How many bytes the batches take; a batch that is there in two parts counts twice.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// What follows the records, in each of their partitions.
    pub(super) fn ends(&self) -> BTreeMap<TopicPartition, (TopicId, Position)> {
        self.parts.iter().map(|part| (part.at.clone(), (part.topic_id, part.end))).collect()
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The records, where they lie.
    pub fn iter(&self) -> Iter<'_> {
        Iter { parts: self.parts.iter(), part: None, left: self.len }
    }
}

impl fmt::Debug for Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<'a> IntoIterator for &'a Records {
    type Item = RecordRef<'a>;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

impl IntoIterator for Records {
    type Item = ConsumerRecord;
    type IntoIter = IntoIter;

    fn into_iter(self) -> IntoIter {
        IntoIter { parts: self.parts.into_iter(), part: None, left: self.len }
    }
}

/// A record in the bytes of its batch.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct RecordRef<'a> {
    /// Its topic.
    pub topic: &'a TopicName,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// The leader epoch of its batch.
    pub leader_epoch: i32,
    /// Its timestamp.
    pub timestamp: Timestamp,
    /// Who set the timestamp.
    pub timestamp_type: TimestampType,
    /// Its key; `None` is a null key.
    pub key: Option<&'a [u8]>,
    /// Its value; `None` is a null value.
    pub value: Option<&'a [u8]>,
    view: RecordView<'a>,
    batch: &'a Batch,
}

impl<'a> RecordRef<'a> {
    #[inline]
    fn new(part: &'a Part, view: RecordView<'a>) -> Self {
        let header = part.batch.header();
        RecordRef {
            topic: &part.at.topic,
            partition: part.at.partition,
            offset: view.offset,
            leader_epoch: header.partition_leader_epoch,
            timestamp: view.timestamp,
            timestamp_type: header.timestamp_type(),
            key: view.key,
            value: view.value,
            view,
            batch: &part.batch,
        }
    }

    /// Its headers, in order.
    pub fn headers(&self) -> HeaderIter<'a> {
        self.view.headers()
    }

    /// How many headers there are.
    pub fn header_count(&self) -> usize {
        self.view.header_count()
    }

    /// The record free of the borrow. It shares the batch's bytes.
    pub fn to_owned(&self) -> ConsumerRecord {
        to_consumer_record(&self.view, self.batch, self.topic, self.partition)
    }
}

impl fmt::Debug for RecordRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_owned().fmt(f)
    }
}

impl From<RecordRef<'_>> for ConsumerRecord {
    fn from(record: RecordRef<'_>) -> Self {
        record.to_owned()
    }
}

/// The records of [`Records`], borrowed.
#[derive(Debug, Clone)]
pub struct Iter<'a> {
    parts: slice::Iter<'a, Part>,
    part: Option<(&'a Part, Cursor)>,
    left: usize,
}

/// How far a part has been read.
#[derive(Debug, Clone)]
struct Cursor {
    position: RecordPosition,
    left: usize,
}

impl Cursor {
    fn new(part: &Part) -> Self {
        Cursor { position: part.start.clone(), left: part.count }
    }

    #[inline]
    fn next<'a>(&mut self, part: &'a Part) -> Option<RecordView<'a>> {
        self.left = self.left.checked_sub(1)?;
        // No error: `poll` has decoded these records.
        self.position.next(&part.batch)?.ok()
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = RecordRef<'a>;

    #[inline]
    fn next(&mut self) -> Option<RecordRef<'a>> {
        loop {
            if let Some((part, cursor)) = &mut self.part
                && let Some(view) = cursor.next(part)
            {
                self.left -= 1;
                return Some(RecordRef::new(part, view));
            }
            let part = self.parts.next()?;
            self.part = Some((part, Cursor::new(part)));
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Iter<'_> {}
impl FusedIterator for Iter<'_> {}

/// The records of [`Records`], each owned.
#[derive(Debug)]
pub struct IntoIter {
    parts: vec::IntoIter<Part>,
    part: Option<(Part, Cursor)>,
    left: usize,
}

impl Iterator for IntoIter {
    type Item = ConsumerRecord;

    #[inline]
    fn next(&mut self) -> Option<ConsumerRecord> {
        loop {
            if let Some((part, cursor)) = &mut self.part
                && let Some(view) = cursor.next(part)
            {
                self.left -= 1;
                let TopicPartition { topic, partition } = &part.at;
                return Some(to_consumer_record(&view, &part.batch, topic, *partition));
            }
            self.part = None;
            let part = self.parts.next()?;
            let cursor = Cursor::new(&part);
            self.part = Some((part, cursor));
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for IntoIter {}
impl FusedIterator for IntoIter {}
