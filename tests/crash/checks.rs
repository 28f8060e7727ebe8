//! What is held against a broker that was opened after a crash.

use std::collections::{BTreeMap, BTreeSet};

use ottla::{ConsumerRecord, Durability, Error, GroupError, Recovered, TopicPartition};

use super::faults::Kind;
use super::member::MEMBERS;
use super::model::{Id, Known, Topic};
use super::world::{Change, Crash, World, at, patiently};

/// What a partition holds.
struct Content {
    start: i64,
    end: i64,
    epoch: i32,
    records: BTreeMap<i64, Known>,
    /// What can't be read, as the reader was told.
    corrupt: Vec<(i64, i64)>,
}

/// The number of a record, which is as it was sent.
pub(super) fn check_record(topic: &Topic, record: &ConsumerRecord) -> Id {
    let at = format!("{}-{}@{}", record.topic, record.partition, record.offset);
    let id = record.headers.last("id").and_then(|id| Some(Id::from_le_bytes(id.try_into().ok()?)));
    let id = id.unwrap_or_else(|| panic!("{at} has no number: {record:?}"));
    let sent = topic.sent.get(&id);
    let sent = sent.unwrap_or_else(|| panic!("{at}: {id} was never sent to life {}", topic.life));
    let text = |bytes: &Option<bytes::Bytes>| {
        bytes.as_ref().map(|it| String::from_utf8(it.to_vec()).expect("it was text"))
    };
    assert_eq!(text(&record.key), sent.key, "{at}: the key of {id}");
    assert_eq!(text(&record.value), sent.value, "{at}: the value of {id}");
    assert_eq!(record.timestamp.as_millis(), sent.timestamp, "{at}: the timestamp of {id}");
    id
}

impl World {
    pub(super) async fn check_all(&mut self, worst: Crash) {
        self.check_report();
        self.check_catalog();
        let names: Vec<String> = self.slots.keys().cloned().collect();
        for name in names {
            if self.slot(&name).topic.is_some() {
                self.check_topic(&name, worst).await;
            }
        }
        self.compare_readers();
        self.check_groups(worst).await;
        self.shut = false;
        self.attempts = 0;
        self.damage.clear();
    }

    fn is_clean(&self) -> bool {
        self.broker().recovery_report().is_some_and(|report| report.clean_shutdown)
    }

    fn check_report(&self) {
        let report = self.broker().recovery_report().expect("it is on a disk");
        let is_new = self.slots.values().all(|it| it.topic.is_none() && it.former.is_empty());
        assert!(!self.is_clean() || self.shut || is_new, "nobody has shut it down: {report:?}");
        let lost = report.unreadable_catalog_records;
        assert_eq!(lost, 0, "records of the catalog are lost: {report:?}");
        assert!(report.topics_without_catalog.is_empty(), "topics come from nowhere: {report:?}");
        assert!(report.stray.is_empty() && report.foreign.is_empty(), "folders: {report:?}");
        for (at, recovered) in report.partitions.iter().filter(|_| !self.is_damaged) {
            assert!(recovered.lost.is_empty() && recovered.foreign.is_empty(), "{at}: {report:?}");
        }
    }

    /// Each topic is there or not, grown or not, altered or not: as answered, or either way.
    fn check_catalog(&mut self) {
        let broker = self.broker().clone();
        let mut there: BTreeSet<String> = BTreeSet::new();
        there.extend(broker.topics().expect("it is open").iter().map(ToString::to_string));
        // On a full disk what a topic holds may go before it is deleted.
        let (fills, mut emptied) = (self.kind == Kind::Faults, BTreeSet::new());
        for (name, slot) in &mut self.slots {
            let told = broker.describe_topic(name).ok();
            assert_eq!(there.remove(name), told.is_some(), "{name} is there, and is not");
            let made = match (&slot.pending, &slot.topic, &told) {
                (Some(Change::Create(_)), _, told) => told.is_some(),
                (Some(Change::Delete), _, told) => told.is_none(),
                (Some(Change::Grow(total)), _, Some(told)) => told.partitions.len() == *total,
                (Some(Change::Alter(config)), _, Some(told)) => told.config == *config,
                _ => false,
            };
            let change = slot.pending.take();
            if fills && matches!(change, Some(Change::Delete)) && told.is_some() {
                emptied.insert(name.clone());
            }
            if made {
                slot.make(change.expect("it was matched"), told.as_ref().map(|it| it.id));
            }
            let Some(told) = told else {
                assert!(slot.topic.is_none(), "{name} is gone");
                continue;
            };
            let topic = slot.topic.as_mut().unwrap_or_else(|| panic!("{name} is there again"));
            assert_eq!(Some(told.id), topic.id, "{name} is another topic");
            assert!(!slot.former.contains(&told.id), "{name} is a former topic");
            assert_eq!(told.durability, topic.durability, "{name}");
            assert_eq!(told.partitions.len(), topic.partitions.len(), "{name}");
            assert_eq!(told.config, topic.config, "{name}");
        }
        assert!(there.is_empty(), "topics come from nowhere: {there:?}");
        self.readers.retain(|reader| !emptied.contains(reader.topic()));
        for name in emptied {
            let topic = self.slot(&name).topic.as_mut().expect("it was not deleted");
            for part in &mut topic.partitions {
                part.known.clear();
                part.deleted_to = 0;
            }
        }
    }

    pub(super) async fn check_topic(&mut self, name: &str, worst: Crash) {
        let contents = self.read_all(name).await;
        let (now, clean) = (self.now(), self.is_clean());
        let report = self.broker().recovery_report().expect("it is on a disk").clone();
        let (damage, told_before) = (self.damage.clone(), self.attempts > 1);
        // On a full disk an epoch waits for its first batch to be written down.
        let may_wait = self.kind == Kind::Faults;
        let topic = self.slot(name).topic.as_mut().expect("it was looked for");
        for (partition, content) in contents.iter().enumerate() {
            if !clean && content.epoch >= 0 {
                let epoch = topic.partitions[partition].epoch;
                let is_used = content.records.values().any(|it| it.epoch == Some(epoch));
                // Damaged for a second time, the file of epochs is made of the batches again.
                let is_hit = damage.iter().any(|it| it.is_in(name, partition as i32));
                let waits = may_wait && content.epoch == epoch;
                let rises = content.epoch > epoch || !is_used && (waits || is_hit);
                assert!(rises, "{name}-{partition}: epoch {epoch}, and now {}", content.epoch);
            }
            let recovered = report.partitions.get(&at(name, partition as i32));
            let is_told = |offset| {
                let cut = |it: &Recovered| {
                    let lost = it.lost.iter().any(|it| (it.from..it.to).contains(&offset));
                    lost || it.cut.iter().any(|it| it.offset <= offset)
                };
                let corrupt =
                    content.corrupt.iter().any(|(from, to)| (*from..*to).contains(&offset));
                told_before || corrupt || recovered.is_some_and(cut)
            };
            let explains =
                |offset| damage.iter().any(|it| it.explains(name, partition as i32, offset));
            let is_lost = |offset: Option<i64>| match offset {
                Some(offset) => explains(Some(offset)) && is_told(offset),
                None => explains(None),
            };
            check_promises(topic, partition as i32, content, worst, now, &is_lost);
        }
        let mut all = BTreeSet::new();
        let ids = contents.iter().flat_map(|it| it.records.values().map(|known| known.id));
        ids.for_each(|id| assert!(all.insert(id), "{name}: {id} is there twice"));
        for (id, sent) in &mut topic.sent {
            sent.dead |= sent.offset.is_none() && !all.contains(id);
        }
    }

    /// What is visible while the broker runs is what was acknowledged and read before.
    pub(super) async fn check_running(&mut self, name: &str) {
        let Some(contents) = self.read_visible(name).await else { return };
        let now = self.now();
        let topic = self.slot(name).topic.as_mut().expect("it was looked for");
        for (partition, content) in (0..).zip(&contents) {
            for (offset, known) in &content.records {
                topic.learn(partition, *offset, known.id, known.epoch);
            }
            for (offset, known) in &topic.partitions[partition as usize].known {
                let found = content.records.get(offset).map(|it| it.id);
                let stays =
                    |at: Option<i64>| at.is_some_and(|it| content.records.contains_key(&it));
                let may = found.is_none() && topic.may_be_gone(partition, *offset, now, stays);
                assert!(
                    found == Some(known.id) || may,
                    "{name}-{partition}@{offset}: {found:?} while it runs, not {known:?}"
                );
            }
        }
    }

    async fn read_all(&mut self, name: &str) -> Vec<Content> {
        let told = self.broker().describe_topic(name).expect("it is there");
        for it in &told.partitions {
            let end = it.log_end_offset;
            assert_eq!(it.high_watermark, end, "{name}-{}: not all is served", it.partition);
        }
        self.read_visible(name).await.unwrap_or_else(|| panic!("{name} is dead"))
    }

    /// Reads up to the high watermark; nothing if the disk dies of it.
    async fn read_visible(&mut self, name: &str) -> Option<Vec<Content>> {
        let told = self.broker().describe_topic(name).expect("it is there");
        let all: Vec<TopicPartition> =
            told.partitions.iter().map(|it| at(name, it.partition)).collect();
        let content = |it: &ottla::PartitionDescription| {
            let end = it.high_watermark;
            let (start, epoch) = (it.log_start_offset, it.leader_epoch);
            Content { start, end, epoch, records: BTreeMap::new(), corrupt: Vec::new() }
        };
        let mut contents: Vec<Content> = told.partitions.iter().map(content).collect();
        let consumer = patiently(self.broker().consumer().assign(all.clone())).await;
        let consumer = match consumer {
            Err(_) if self.is_dead() => return None,
            consumer => consumer,
        };
        let mut consumer = consumer.unwrap_or_else(|error| panic!("reading {name}: {error}"));
        let topic = self.slots[name].topic.as_ref().expect("it was looked for");
        for turn in 0.. {
            match consumer.try_recv() {
                Ok(Some(record)) => {
                    let id = check_record(topic, &record);
                    let known = Known { id, epoch: Some(record.leader_epoch) };
                    contents[record.partition as usize].records.insert(record.offset, known);
                }
                Ok(None) => {
                    let positions = consumer.positions();
                    let is_read = |at: &TopicPartition| {
                        positions[at].offset >= contents[at.partition as usize].end
                    };
                    if all.iter().all(is_read) {
                        return Some(contents);
                    }
                    assert!(turn < 50_000, "{name} can't be read: {positions:?}");
                    tokio::task::yield_now().await;
                }
                Err(_) if self.is_dead() => return None,
                Err(Error::Corrupt { at, from, to }) if self.is_damaged => {
                    contents[at.partition as usize].corrupt.push((from, to));
                }
                Err(error) => panic!("reading {name}: {error}"),
            }
        }
        unreachable!("turns do not end")
    }

    async fn check_groups(&mut self, worst: Crash) {
        let admin = self.broker().admin();
        let kept = self.offsets == Durability::Power || worst < Crash::Power;
        for group in ["g0", "g1", MEMBERS] {
            let told = match patiently(admin.group_offsets(group)).await {
                Ok(told) => told,
                Err(Error::Group { source: GroupError::GroupIdNotFound, .. }) => BTreeMap::new(),
                Err(error) => panic!("offsets of {group}: {error}"),
            };
            let slots = &self.slots;
            let life = |name: &str| slots[name].topic.as_ref().map_or(0, |topic| topic.life);
            let place =
                |at: &TopicPartition| (at.topic.to_string(), life(at.topic.as_str()), at.partition);
            let committed = told.iter().map(|(at, it)| (place(at), it.offset)).collect();
            let is_there = |place: &super::groups::Place| {
                slots[&place.0].topic.as_ref().is_some_and(|topic| topic.life == place.1)
            };
            let damaged = self.are_offsets_damaged();
            self.ledger.observe(group, &committed, (kept, damaged), is_there);
        }
    }

    /// Nothing that is there now may be lost, whatever crash comes.
    pub(super) fn all_is_durable(&mut self) {
        let topics = self.slots.values_mut().filter_map(|slot| slot.topic.as_mut());
        for topic in topics.filter(|topic| topic.durability != Durability::Memory) {
            for part in &mut topic.partitions {
                let last = part.known.last_key_value().map_or(0, |(last, _)| last + 1);
                part.opened_end = part.opened_end.max(last);
            }
        }
        self.ledger.is_durable();
    }
}

fn check_promises(
    topic: &mut Topic,
    partition: i32,
    content: &Content,
    worst: Crash,
    now: i64,
    is_lost: &dyn Fn(Option<i64>) -> bool,
) {
    check_order(topic, partition, content);
    for (offset, known) in &content.records {
        topic.place(partition, *offset, known.id);
    }
    let name = format!("{}-{partition} ({:?})", topic.name, topic.durability);
    let part = &topic.partitions[partition as usize];
    let safe = match topic.durability {
        Durability::Power => i64::MAX,
        Durability::Process if worst < Crash::Power => i64::MAX,
        Durability::Process => part.opened_end,
        Durability::Memory => 0,
    };
    if topic.durability == Durability::Memory {
        assert_eq!((content.start, content.end), (0, 0), "{name} is not empty");
    }
    let first = content.records.keys().next().copied().unwrap_or(content.end);
    assert!(content.start <= first, "{name} begins at {} but holds {first}", content.start);
    let start = content.start;
    let deleted = part.deleted_to;
    assert!(topic.durability == Durability::Memory || start >= deleted, "{name}: {start}");
    for (offset, known) in &part.known {
        match content.records.get(offset) {
            Some(found) => {
                let epoch = known.epoch.is_none_or(|epoch| Some(epoch) == found.epoch);
                assert!(found.id == known.id && epoch, "{name}@{offset}: {found:?}, not {known:?}");
            }
            None if is_lost(Some(*offset)) => {}
            None if *offset >= content.end => {
                assert!(*offset >= safe, "{name}@{offset}: {known:?} is lost, {worst:?}");
            }
            None => {
                // What replaced it may have been lost since.
                let is_there = |at: i64| content.records.contains_key(&at);
                let stays = |at: Option<i64>| at.is_some_and(is_there) || is_lost(at);
                let may = topic.may_be_gone(partition, *offset, now, stays);
                assert!(may, "{name}@{offset}: {known:?}, {:?} is gone", topic.sent[&known.id]);
            }
        }
    }
    take_over(topic, partition, content);
}

/// What is there was sent, each once, in the order in which it was sent.
fn check_order(topic: &Topic, partition: i32, content: &Content) {
    let mut latest: BTreeMap<usize, Id> = BTreeMap::new();
    let part = &topic.partitions[partition as usize];
    for (offset, known) in &content.records {
        let sent = &topic.sent[&known.id];
        let at = format!("{}-{partition}@{offset}: {known:?}", topic.name);
        let earlier = latest.insert(sent.producer, known.id);
        assert!(earlier.is_none_or(|it| it < known.id), "{at} comes after {earlier:?}");
        // What was compacted away may be back, if the compaction was not durable.
        let is_back = *offset < part.opened_end && !part.known.contains_key(offset);
        assert!(!sent.dead || is_back, "{at} is back");
    }
}

/// From now on this is what the log holds.
fn take_over(topic: &mut Topic, partition: i32, content: &Content) {
    let part = &mut topic.partitions[partition as usize];
    let lost = part.known.split_off(&content.end);
    for known in lost.values() {
        topic.sent.get_mut(&known.id).expect("it was sent").dead = true;
    }
    part.known.clear();
    part.opened_end = content.end;
    part.epoch = content.epoch;
    if topic.durability == Durability::Memory {
        (part.deleted_to, part.asked_to) = (0, 0);
    }
    for (offset, known) in &content.records {
        topic.learn(partition, *offset, known.id, known.epoch);
    }
}
