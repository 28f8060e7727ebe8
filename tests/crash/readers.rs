//! Consumers that keep their positions over crashes, and what they have read.

use std::collections::{BTreeMap, BTreeSet};

use ottla::consumer::Position;
use ottla::{Consumer, ConsumerRecord, Error, TopicPartition};

use super::groups::{OFFSETS, Place};
use super::model::{Id, Topic};
use super::world::{World, at, patiently};

/// How many there are at most.
const READERS: usize = 4;

pub(super) struct Reader {
    topic: String,
    life: u64,
    /// Where it commits.
    group: Option<String>,
    consumer: Option<Consumer>,
    views: BTreeMap<i32, View>,
}

/// What it has read of one partition.
struct View {
    read: BTreeMap<i64, Id>,
    position: Position,
    /// The first offset of what it has read, and the log has lost.
    lost_from: i64,
}

impl View {
    fn at(position: Position) -> Self {
        View { read: BTreeMap::new(), position, lost_from: i64::MAX }
    }

    /// It goes on from here though it has lost what it had read: none of that would be there now.
    fn forgive(&mut self, from: i64) {
        if self.lost_from < from {
            self.lost_from = i64::MAX;
            self.read.clear();
        }
    }
}

fn partition_of(record: &ConsumerRecord) -> TopicPartition {
    TopicPartition { topic: record.topic.clone(), partition: record.partition }
}

impl Reader {
    pub(super) fn topic(&self) -> &str {
        &self.topic
    }

    pub(super) fn stop(&mut self) {
        self.consumer = None;
    }

    /// Compares what it has read with what the log holds now.
    fn compare(&mut self, partition: i32, topic: &Topic) {
        let Some(view) = self.views.get_mut(&partition) else { return };
        let part = &topic.partitions[partition as usize];
        let differs = |(offset, id): (&i64, &Id)| {
            let lost = match part.known.get(offset) {
                Some(known) => known.id != *id,
                None => *offset >= part.opened_end,
            };
            lost.then_some(*offset)
        };
        let lost = view.read.iter().find_map(differs);
        if view.position.leader_epoch.is_none() {
            // It began there, or was sent there, and has read nothing since: nobody can tell.
            drop(lost.map(|first| view.read.split_off(&first)));
            return;
        }
        // It has passed offsets without records, which may be lost too.
        let beyond = (view.position.offset > part.opened_end).then_some(part.opened_end);
        let lost = lost.into_iter().chain(beyond).min().unwrap_or(i64::MAX);
        view.lost_from = view.lost_from.min(lost);
    }
}

impl World {
    /// All readers of a topic: what they have read may be lost.
    pub(super) fn compare_readers(&mut self) {
        let slots = &self.slots;
        self.readers.retain(|reader| {
            slots[&reader.topic].topic.as_ref().is_some_and(|topic| topic.life == reader.life)
        });
        for reader in &mut self.readers {
            let topic = slots[&reader.topic].topic.as_ref().expect("it was looked for");
            for partition in 0..topic.partitions.len() as i32 {
                reader.compare(partition, topic);
            }
        }
    }

    /// Most go on at once, some at a later life.
    pub(super) async fn resume_readers(&mut self) {
        let mut readers = std::mem::take(&mut self.readers);
        for reader in &mut readers {
            if !self.dice.one_in(4) {
                self.resume(reader).await;
            }
        }
        self.readers = readers;
    }

    async fn resume(&mut self, reader: &mut Reader) {
        let topic = self.slots[&reader.topic].topic.as_ref().expect("it is there");
        let partitions = topic.partitions.len() as i32;
        let all: Vec<TopicPartition> = (0..partitions).map(|it| at(&reader.topic, it)).collect();
        let builder = self.broker().consumer();
        let builder = match &reader.group {
            Some(group) => builder.group(group),
            None => builder,
        };
        let mut consumer = match patiently(builder.assign(all.clone())).await {
            Ok(consumer) => consumer,
            Err(_) if self.is_going(&reader.topic) => return,
            Err(error) => return self.excuse("a consumer", &error, &[OFFSETS], 0),
        };
        for at in all {
            // Where its group has committed, there may have been no record ever.
            let position = match &reader.group {
                Some(_) => Position::from(0),
                None => consumer.position(&at).expect("it is assigned"),
            };
            let view = reader.views.entry(at.partition).or_insert_with(|| View::at(position));
            consumer.seek(&at, view.position).expect("it is assigned");
        }
        reader.consumer = Some(consumer);
    }

    pub(super) async fn new_reader(&mut self) {
        if self.readers.len() >= READERS {
            let n = self.dice.index(READERS);
            self.readers.remove(n);
        }
        let group = self.dice.one_in(2).then(|| format!("g{}", self.dice.below(2)));
        let Some(topic) = self.any_topic() else { return };
        let (topic, life) = (topic.name.clone(), topic.life);
        let mut reader = Reader { topic, life, group, consumer: None, views: BTreeMap::new() };
        self.note_reader("begins", &reader);
        self.resume(&mut reader).await;
        self.readers.push(reader);
    }

    fn note_reader(&mut self, what: &str, reader: &Reader) {
        let Reader { topic, life, .. } = reader;
        self.note(|| format!("reader of {topic} ({life}) {what}"));
    }

    pub(super) async fn read(&mut self) {
        let count = self.readers.len();
        let times = self.dice.between(1, 30);
        if count == 0 {
            return self.new_reader().await;
        }
        let n = self.dice.index(count);
        let mut reader = self.readers.remove(n);
        if self.read_some(&mut reader, times).await {
            self.readers.push(reader);
        }
    }

    /// Whether the reader goes on.
    async fn read_some(&mut self, reader: &mut Reader, times: i64) -> bool {
        let Some(mut consumer) = reader.consumer.take() else { return true };
        for _ in 0..times {
            match consumer.try_recv() {
                Ok(Some(record)) => self.received(reader, &record),
                Ok(None) => tokio::task::yield_now().await,
                Err(error) => {
                    if !self.met(reader, &error) {
                        return false;
                    }
                }
            }
        }
        for (at, position) in consumer.positions() {
            let start = self.log_start(reader, &at);
            let view = reader.views.get_mut(&at.partition).expect("it has a view of each");
            let passed = position.offset - view.position.offset;
            assert!(passed >= 0, "{at}: from {:?} back to {position:?}", view.position);
            let told = view.lost_from.max(start) >= view.position.offset || passed == 0;
            assert!(told, "{at}: passes from {:?} to {position:?}", view.position);
            if passed > 0 {
                view.forgive(view.position.offset);
            }
            view.position = position;
        }
        reader.consumer = Some(consumer);
        true
    }

    fn received(&mut self, reader: &mut Reader, record: &ConsumerRecord) {
        let now = self.now();
        // Of what is not there any more nobody need be told that it was lost before.
        let start = self.log_start(reader, &partition_of(record));
        let view = reader.views.get_mut(&record.partition).expect("it has a view of each");
        let at = format!("{}-{}@{}", record.topic, record.partition, record.offset);
        let from = view.position.offset;
        assert!(record.offset >= from, "{at} comes to a reader at {from}");
        let lost = view.lost_from;
        assert!(
            lost.max(start) >= from,
            "{at} comes to a reader at {:?}, not {lost}: {record:?}",
            view.position
        );
        view.forgive(from);
        let slot = self.slots.get_mut(&reader.topic).expect("names are fixed");
        // It may have been deleted a moment ago.
        let Some(topic) = slot.topic.as_mut().filter(|it| it.life == reader.life) else { return };
        let id = super::checks::check_record(topic, record);
        topic.learn(record.partition, record.offset, id, Some(record.leader_epoch));
        let part = &topic.partitions[record.partition as usize];
        for offset in part.known.range(from..record.offset).map(|(offset, _)| *offset) {
            let may = topic.may_be_gone(record.partition, offset, now, |_| true);
            assert!(may, "{at} comes to a reader at {from}, but {offset} does not");
        }
        view.read.insert(record.offset, id);
        let leader_epoch = Some(record.leader_epoch);
        view.position = Position { offset: record.offset + 1, leader_epoch };
    }

    /// Whether the reader goes on.
    fn met(&mut self, reader: &mut Reader, error: &Error) -> bool {
        self.note_reader(&format!("met {error}"), reader);
        match error {
            Error::Truncated { at, to } => {
                self.tally.truncated.add(1);
                let start = self.log_start(reader, at);
                let view = reader.views.get_mut(&at.partition).expect("it has a view of each");
                let from = view.position.offset;
                assert!(view.lost_from < from, "{at}: {error} for a reader at {from}");
                let agreed = view.lost_from.max(start);
                assert!(*to <= agreed, "{at}: {error}, but only {agreed} is agreed");
                view.read.split_off(to);
                *view =
                    View { read: std::mem::take(&mut view.read), ..View::at(Position::from(*to)) };
                true
            }
            Error::OffsetOutOfRange { at, log_start_offset, log_end_offset, .. } => {
                let view = reader.views.get_mut(&at.partition).expect("it has a view of each");
                let from = view.position.offset;
                let unknown = view.position.leader_epoch.is_none();
                let is_lost = (view.lost_from < from || unknown) && from > *log_end_offset;
                assert!(from < *log_start_offset || is_lost, "{error} for a reader at {from}");
                *view = View::at(Position::from(*log_start_offset));
                true
            }
            Error::Corrupt { at, to, .. } if self.is_damaged => {
                let view = reader.views.get_mut(&at.partition).expect("it has a view of each");
                view.position.offset = view.position.offset.max(*to);
                true
            }
            Error::UnknownTopic { .. } => {
                assert!(self.is_going(&reader.topic) || self.is_other(reader), "{error}");
                false
            }
            _ if self.is_going(&reader.topic) => false,
            error => {
                self.excuse("reading", error, &[&format!("{}-", reader.topic), OFFSETS], 0);
                true
            }
        }
    }

    fn is_other(&self, reader: &Reader) -> bool {
        self.slots[&reader.topic].topic.as_ref().is_none_or(|topic| topic.life != reader.life)
    }

    fn log_start(&self, reader: &Reader, at: &TopicPartition) -> i64 {
        let told = self.broker().describe_topic(&reader.topic);
        let part = told.ok().and_then(|told| told.partitions.get(at.partition as usize).copied());
        part.map_or(0, |part| part.log_start_offset)
    }

    /// A reader commits where it stands.
    pub(super) async fn commit(&mut self) {
        let with_group: BTreeSet<usize> = self
            .readers
            .iter()
            .enumerate()
            .filter(|(_, it)| it.group.is_some() && it.consumer.is_some())
            .map(|(n, _)| n)
            .collect();
        let Some(n) = with_group.iter().nth(self.dice.index(with_group.len())).copied() else {
            return self.alter_offsets();
        };
        let mut reader = self.readers.remove(n);
        let group = reader.group.clone().expect("it was looked for");
        let place = |partition: &i32| -> Place { (reader.topic.clone(), reader.life, *partition) };
        let positions = reader.views.iter();
        let offsets = positions.map(|(it, view)| (place(it), view.position.offset)).collect();
        let call = self.ledger.begin(&group, offsets);
        self.note(|| format!("{call:?}"));
        let consumer = reader.consumer.as_mut().expect("it was looked for");
        let committed = patiently(consumer.commit()).await;
        self.ledger.end(call, committed.is_ok(), self.is_unknown());
        if let Err(error) = committed
            && !self.is_going(&reader.topic)
        {
            self.excuse("a reader's commit", &error, &[OFFSETS], 0);
        }
        self.readers.push(reader);
    }
}
