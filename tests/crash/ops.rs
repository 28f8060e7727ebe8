//! What is asked of the broker besides producing and consuming, and goes on beside all else.

use std::future::Future;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use ottla::{CleanupPolicy, Durability, Error, TopicConfig, TopicDescription, TopicPartition};

use super::groups::{Call, OFFSETS};
use super::model::Topic;
use super::world::{Change, World, at, look};

type Answer = Pin<Box<dyn Future<Output = Result<Told, Error>>>>;

/// What answers say.
enum Told {
    Created(Box<TopicDescription>),
    Start(i64),
    Done,
}

/// What was asked, and the future of the answer.
pub(super) struct Op {
    what: What,
    answer: Answer,
}

#[derive(Debug, Clone)]
enum What {
    /// A change of the catalog: what it is to be stands in the topic's slot.
    Change(String),
    DeleteRecords {
        at: TopicPartition,
        life: u64,
        to: i64,
    },
    Compact(String),
    Commit(Call),
}

impl World {
    fn ask(&mut self, what: What, answer: Answer) {
        self.note(|| format!("{what:?}"));
        self.ops.push(Op { what, answer });
        // It reaches the broker now, or at a later turn.
        if self.dice.one_in(2) {
            self.collect();
        }
    }

    /// Some change of some topic, if none is under way.
    pub(super) fn change_topic(&mut self) {
        let names: Vec<String> = self.slots.keys().cloned().collect();
        let name = names[self.dice.index(names.len())].clone();
        let slot = &self.slots[&name];
        if slot.pending.is_some() {
            return;
        }
        match (&slot.topic, self.dice.below(10)) {
            (None, _) => self.create(&name),
            (Some(_), 0..2) => self.delete(&name),
            (Some(_), 2..5) => self.grow(&name),
            (Some(_), _) => self.alter(&name),
        }
    }

    pub(super) fn create(&mut self, name: &str) {
        let promises = [Durability::Memory, Durability::Process, Durability::Power];
        let any = self.dice.pick(&promises);
        let durability = self.dice.pick(&[Durability::Process, Durability::Power, any]);
        let partitions = self.dice.between(1, 3) as i32;
        let policy = self.a_policy();
        let config = TopicConfig::new()
            .partitions(partitions)
            .durability(durability)
            .cleanup_policy(policy)
            .segment_bytes(self.dice.between(1024, 3000) as u64);
        let config = config.set("index.interval.bytes", self.dice.below(500)).expect("a number");
        let config = config.set("min.cleanable.dirty.ratio", "0.1").expect("a ratio");
        let config = self
            .settings()
            .into_iter()
            .fold(config, |config, (name, value)| config.set(name, value).expect("it is allowed"));
        self.next_life += 1;
        let mut topic = Topic::new(name, self.next_life, durability, config.clone());
        topic.grow(partitions as usize);
        self.note(|| format!("create {name}: {config:?}"));
        self.slot(name).pending = Some(Change::Create(topic));
        let (admin, topic) = (self.broker().admin(), name.to_owned());
        let answer = async move {
            admin.create_topic(&topic, config).await.map(|it| Told::Created(Box::new(it)))
        };
        self.ask(What::Change(name.to_owned()), Box::pin(answer));
    }

    fn a_policy(&mut self) -> CleanupPolicy {
        let all = [CleanupPolicy::Delete, CleanupPolicy::Compact, CleanupPolicy::CompactDelete];
        self.dice.pick(&all)
    }

    /// Two settings, or three.
    fn settings(&mut self) -> Vec<(&'static str, String)> {
        let retention = self.dice.pick(&["-1", "600000", "7200000"]);
        let tombstones = self.dice.pick(&["0", "60000", "3600000"]);
        let mut settings =
            vec![("retention.ms", retention.into()), ("delete.retention.ms", tombstones.into())];
        if self.dice.one_in(3) {
            let bytes = self.dice.pick(&["-1", "3000", "6000"]);
            settings.push(("retention.bytes", bytes.into()));
        }
        if self.dice.one_in(6) {
            settings.push(("max.message.bytes", "1000".into()));
            settings.push(("ottla.partition.max.bytes", "9000".into()));
        }
        settings
    }

    fn delete(&mut self, name: &str) {
        self.note(|| format!("delete {name}"));
        // What it would commit from now on could be of the topic that is deleted, or of the next.
        self.members.clear();
        self.slot(name).pending = Some(Change::Delete);
        let (admin, topic) = (self.broker().admin(), name.to_owned());
        let answer = async move { admin.delete_topic(&topic).await.map(|()| Told::Done) };
        self.ask(What::Change(name.to_owned()), Box::pin(answer));
    }

    fn grow(&mut self, name: &str) {
        let slot = self.slot(name);
        let present = slot.topic.as_ref().map_or(0, |topic| topic.partitions.len());
        if present >= 4 {
            return;
        }
        let total = present + 1;
        slot.pending = Some(Change::Grow(total));
        self.note(|| format!("grow {name} to {total}"));
        let (admin, topic) = (self.broker().admin(), name.to_owned());
        let answer =
            async move { admin.create_partitions(&topic, total as i32).await.map(|()| Told::Done) };
        self.ask(What::Change(name.to_owned()), Box::pin(answer));
    }

    fn alter(&mut self, name: &str) {
        let mut settings = self.settings();
        if self.dice.one_in(2) {
            settings.push(("cleanup.policy", self.a_policy().to_string()));
        }
        self.note(|| format!("alter {name}: {settings:?}"));
        let slot = self.slot(name);
        let topic = slot.topic.as_mut().expect("it is there");
        let config = settings.iter().fold(topic.config.clone(), |config, (name, value)| {
            config.set(name, value).expect("it is allowed")
        });
        topic.allows.add(&config);
        slot.pending = Some(Change::Alter(config));
        let (admin, topic) = (self.broker().admin(), name.to_owned());
        let answer = async move {
            let settings = settings.into_iter().map(|(name, value)| (name, Some(value)));
            admin.alter_configs(&topic, settings).await.map(|()| Told::Done)
        };
        self.ask(What::Change(name.to_owned()), Box::pin(answer));
    }

    /// A topic that is there, and that nothing is being done to but what can go on beside.
    pub(super) fn any_topic(&mut self) -> Option<&mut Topic> {
        let count = self.slots.values().filter(|slot| slot.topic.is_some()).count();
        let n = self.dice.index(count);
        self.slots.values_mut().filter_map(|slot| slot.topic.as_mut()).nth(n)
    }

    pub(super) fn slot(&mut self, name: &str) -> &mut super::world::Slot {
        self.slots.get_mut(name).expect("names are fixed")
    }

    pub(super) fn delete_records(&mut self) {
        let die = self.dice.next();
        let Some(topic) = self.any_topic() else { return };
        let (name, life) = (topic.name.clone(), topic.life);
        let partition = (die % topic.partitions.len() as u64) as i32;
        let known = &topic.partitions[partition as usize].known;
        let Some((last, _)) = known.last_key_value().filter(|_| topic.deletes()) else { return };
        let to = (die >> 8) as i64 % (last + 2);
        let part = &mut topic.partitions[partition as usize];
        part.asked_to = part.asked_to.max(to);
        let (admin, at) = (self.broker().admin(), at(&name, partition));
        let asked = at.clone();
        let answer = async move { admin.delete_records(&asked, to).await.map(Told::Start) };
        self.ask(What::DeleteRecords { at, life, to }, Box::pin(answer));
    }

    pub(super) fn compact(&mut self) {
        let Some(topic) = self.any_topic() else { return };
        let name = topic.name.clone();
        let (broker, topic) = (self.broker().clone(), name.clone());
        let answer = async move { broker.compact(&topic).await.map(|_| Told::Done) };
        self.ask(What::Compact(name), Box::pin(answer));
    }

    /// Sets offsets of a group without members.
    pub(super) fn alter_offsets(&mut self) {
        let group = format!("g{}", self.dice.below(2));
        let die = self.dice.next();
        let Some(topic) = self.any_topic() else { return };
        let (name, life) = (topic.name.clone(), topic.life);
        let partition = (die % topic.partitions.len() as u64) as i32;
        let offset = (die >> 8) as i64 % 100;
        let offsets = vec![(at(&name, partition), offset)];
        let call = self.ledger.begin(&group, vec![((name, life, partition), offset)]);
        self.note(|| format!("{call:?}: {group} {offsets:?}"));
        let admin = self.broker().admin();
        let answer =
            async move { admin.alter_group_offsets(&group, offsets).await.map(|()| Told::Done) };
        self.ask(What::Commit(call), Box::pin(answer));
    }

    pub(super) fn advance(&mut self) {
        let seconds = self.dice.pick(&[1, 6, 31, 301, 301, 1200, 4000]);
        self.note(|| format!("{seconds} s pass"));
        self.clock.advance(Duration::from_secs(seconds));
    }

    /// Takes in what has been answered.
    pub(super) fn collect(&mut self) {
        let mut waiting = Vec::new();
        for mut op in std::mem::take(&mut self.ops) {
            match look(op.answer.as_mut()) {
                Poll::Ready(answer) => self.answered(op.what, answer),
                Poll::Pending => waiting.push(op),
            }
        }
        waiting.append(&mut self.ops);
        self.ops = waiting;
        self.collect_acks();
    }

    fn answered(&mut self, what: What, answer: Result<Told, Error>) {
        self.note(|| format!("{what:?} answered: {:?}", answer.as_ref().err()));
        match what {
            What::Change(name) => self.changed(&name, answer),
            What::Compact(name) => {
                if let Err(error) = answer {
                    self.excuse_compaction(&name, &error);
                }
            }
            What::Commit(call) => {
                let made = answer.is_ok();
                let unknown = self.is_unknown();
                self.ledger.end(call, made, unknown);
                if let Err(error) = answer {
                    let gone = matches!(
                        error,
                        Error::UnknownTopic { .. } | Error::UnknownPartition { .. }
                    );
                    if !gone {
                        self.excuse("a commit", &error, &[OFFSETS], 0);
                    }
                }
            }
            What::DeleteRecords { at, life, to } => self.deleted_records(&at, life, to, answer),
        }
    }

    fn deleted_records(
        &mut self,
        at: &TopicPartition,
        life: u64,
        to: i64,
        answer: Result<Told, Error>,
    ) {
        let topic = self.slot(at.topic.as_str()).topic.as_mut();
        let topic = topic.filter(|topic| topic.life == life);
        match answer {
            Ok(Told::Start(start)) => {
                assert!(start >= to, "{at} starts at {start}, not at {to}");
                if let Some(topic) = topic {
                    let part = &mut topic.partitions[at.partition as usize];
                    part.deleted_to = part.deleted_to.max(to);
                }
            }
            Ok(_) => unreachable!("deleting records answers where they begin"),
            // It is beyond the end, or the topic is compacted by now, or gone.
            Err(Error::OffsetOutOfRange { .. } | Error::InvalidState(_)) => {}
            Err(Error::UnknownTopic { .. } | Error::Closed { .. }) if topic.is_none() => {}
            Err(_) if self.is_going(at.topic.as_str()) => {}
            Err(error) => self.excuse("deleting records", &error, &[], 0),
        }
    }

    fn excuse_compaction(&self, name: &str, error: &Error) {
        match error {
            // It is not compacted now, or is gone.
            Error::InvalidState(_) | Error::UnknownTopic { .. } => {}
            _ if self.is_going(name) => {}
            Error::Closed { reason } if reason.ends_with("was deleted") => {}
            error => self.excuse("compaction", error, &[&format!("{name}-")], 0),
        }
    }

    /// Whether a topic is being deleted, or was.
    pub(super) fn is_going(&self, name: &str) -> bool {
        let slot = &self.slots[name];
        slot.topic.is_none() || matches!(slot.pending, Some(Change::Delete))
    }

    /// A change of the catalog has been made, or can't be: then it is known after the next open.
    fn changed(&mut self, name: &str, answer: Result<Told, Error>) {
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => return self.excuse("a change of a topic", &error, &[], 0),
        };
        let slot = self.slot(name);
        let change = slot.pending.take().expect("it is what was answered");
        if let (Change::Create(topic), Told::Created(description)) = (&change, answer) {
            let id = description.id;
            assert!(!slot.former.contains(&id), "{name} has the id of a former topic");
            assert_eq!(description.config, topic.config, "{name} is not as it was to be");
            slot.make(change, Some(id));
        } else {
            slot.make(change, None);
        }
    }
}

impl super::world::Slot {
    /// A change has been made.
    pub(super) fn make(&mut self, change: Change, id: Option<ottla::TopicId>) {
        match (change, &mut self.topic) {
            (Change::Create(mut topic), none) => {
                topic.id = id;
                *none = Some(topic);
            }
            (Change::Delete, there) => {
                let gone = there.take();
                self.former.extend(gone.and_then(|topic| topic.id));
            }
            (Change::Grow(total), Some(topic)) => {
                topic.grow(total);
                topic.config = topic.config.clone().partitions(total as i32);
            }
            (Change::Alter(config), Some(topic)) => topic.config = config,
            (change, None) => unreachable!("{change:?} of a topic that is not there"),
        }
    }
}
