//! A small life of a whole broker, which goes on after errors and keeps an account of what it was
//! promised; and the look, after the next open, at whether that is so.

use std::collections::BTreeMap;
use std::time::Duration;

use ottla::storage::Storage;
use ottla::{Broker, CleanupPolicy, Consumer, Durability, Error, ManualClock, Producer};

use super::{check_text, create, drain, open, patiently, send, small, turns};
use crate::support::{at, value};

/// The topics, and whether what they acknowledge survives a loss of power.
const TOPICS: [(&str, bool); 5] =
    [("power", true), ("process", false), ("compacted", true), ("aging", true), ("doomed", true)];

/// What was promised, and what went wrong.
#[derive(Debug, Default)]
pub(super) struct Account {
    pub(super) errors: Vec<Error>,
    /// Acknowledged records: topic and offset, to value.
    acked: BTreeMap<(&'static str, i64), String>,
    /// Whether the creation was answered, by topic.
    created: BTreeMap<&'static str, bool>,
    /// The lowest offset that somebody asked to keep.
    kept_from: BTreeMap<&'static str, i64>,
    /// `None` if nobody asked for the deletion of `doomed`, or how that was answered.
    deleted: Option<bool>,
    /// Commits acknowledged and asked for, in order.
    commits: Vec<(i64, bool)>,
    /// How the shutdown went; `None` if it was never opened.
    pub(super) shutdown: Option<Result<(), Error>>,
}

impl Account {
    fn note<T>(&mut self, result: Result<T, Error>) -> Option<T> {
        result.map_err(|error| self.errors.push(error)).ok()
    }

    async fn create_all(&mut self, broker: &Broker) {
        for (topic, survives_power) in TOPICS {
            let durability = if survives_power { Durability::Power } else { Durability::Process };
            let config = match topic {
                "compacted" => small(durability).cleanup_policy(CleanupPolicy::Compact),
                "aging" => small(durability).retention(Some(Duration::from_secs(3600))),
                _ => small(durability),
            };
            let created = create(broker, topic, config).await;
            self.created.insert(topic, created.is_ok());
            self.note(created);
        }
    }

    async fn produce(&mut self, producer: &Producer, clock: &ManualClock, from: usize) {
        for (topic, _) in TOPICS {
            if topic == "doomed" && self.deleted.is_some() {
                continue;
            }
            for n in from..from + 6 {
                let value = format!("{topic}{n}:{}", "x".repeat(200));
                let record = ottla::Record::to(topic).partition(0).timestamp(clock.wall());
                let record = record.key(format!("k{}", n % 2)).value(value.as_str());
                let sent = patiently(producer.send(record)).await.map_err(Error::from);
                if let Some(sent) = self.note(sent) {
                    self.acked.insert((topic, sent.offset), value);
                }
            }
        }
    }

    /// Everything acknowledged that is the consumer's to see comes once, in order.
    async fn consume(&mut self, consumer: &mut Consumer) {
        let (records, errors) = drain(consumer).await;
        let mut seen: BTreeMap<String, Vec<(i64, String)>> = BTreeMap::new();
        for record in &records {
            let topic = seen.entry(record.topic.to_string()).or_default();
            topic.push((record.offset, value(record)));
        }
        for topic in ["power", "process"] {
            let seen = seen.remove(topic).unwrap_or_default();
            assert!(seen.windows(2).all(|pair| pair[0].0 < pair[1].0), "{topic}: {seen:?}");
            let position = consumer.position(&at(topic, 0)).map_or(0, |it| it.offset);
            let first = seen.first().map_or(position, |(offset, _)| *offset);
            for ((_, offset), value) in self.acked.range((topic, first)..(topic, position)) {
                let found = seen.iter().find(|(seen, _)| seen == offset);
                assert_eq!(found.map(|(_, value)| value), Some(value), "{topic} at {offset}");
            }
        }
        self.errors.extend(errors);
    }

    async fn commit(&mut self, consumer: &mut Consumer) {
        let Some(position) = consumer.position(&at("power", 0)) else { return };
        let committed = patiently(consumer.commit()).await;
        self.commits.push((position.offset, committed.is_ok()));
        self.note(committed);
    }

    async fn administer(&mut self, broker: &Broker, clock: &ManualClock) {
        let compacted = patiently(broker.compact("compacted")).await;
        self.note(compacted);
        let admin = broker.admin();
        self.kept_from.insert("process", 5);
        let process = at("process", 0);
        let start = patiently(admin.delete_records(&process, 5)).await;
        self.note(start);
        let altered = patiently(admin.alter_configs("power", [("retention.ms", Some("-1"))])).await;
        self.note(altered);
        let grown = patiently(admin.create_partitions("power", 2)).await;
        self.note(grown);
        let deleted = patiently(admin.delete_topic("doomed")).await;
        self.deleted = Some(deleted.is_ok());
        self.note(deleted);
        // What is old goes.
        self.kept_from.insert("aging", i64::MAX);
        clock.advance(Duration::from_secs(7200));
        turns().await;
    }
}

/// Lives from open to shutdown. A failure of the storage may come at any time.
pub(super) async fn live(storage: impl Storage) -> Account {
    let mut account = Account::default();
    let opened = open(storage).await;
    let Some((broker, clock)) = account.note(opened) else { return account };
    let producer = broker.producer().build();
    account.create_all(&broker).await;
    account.produce(&producer, &clock, 0).await;
    let subscribed = broker.consumer().group("g").subscribe(["power", "process"]);
    let consumer = patiently(subscribed).await;
    let mut consumer = account.note(consumer);
    if let Some(consumer) = &mut consumer {
        account.consume(consumer).await;
        account.commit(consumer).await;
    }
    account.administer(&broker, &clock).await;
    account.produce(&producer, &clock, 6).await;
    if let Some(consumer) = &mut consumer {
        account.consume(consumer).await;
        account.commit(consumer).await;
    }
    // One thing failed, once: so at most one partition is gone, and all others take records.
    let refused = count_refused(&producer).await;
    assert!(refused <= 1, "{refused} partitions take nothing: {:?}", account.errors);
    let stats = broker.stats();
    if let Some(stats) = account.note(stats) {
        assert!(stats.read_only_partitions <= 1, "{stats:?}: {:?}", account.errors);
    }
    drop(consumer);
    let shutdown = patiently(broker.shutdown()).await;
    account.shutdown = Some(shutdown);
    account
}

async fn count_refused(producer: &Producer) -> usize {
    let mut refused = 0;
    for (topic, _) in TOPICS {
        match send(producer, topic, "last").await {
            Ok(_) => {}
            Err(Error::ReadOnly { .. } | Error::Closed { .. }) => refused += 1,
            Err(Error::UnknownTopic { .. } | Error::StorageFull { .. }) => {}
            Err(error) => panic!("{topic}: {error:?}"),
        }
    }
    refused
}

impl Account {
    /// Errors say what has failed, and are of the kinds that failing storage has.
    pub(super) fn check_errors(&self) {
        let shutdown = self.shutdown.iter().filter_map(|it| it.as_ref().err());
        for error in self.errors.iter().chain(shutdown) {
            check_text(error);
            let is_known = match error {
                Error::Io { .. } | Error::ReadOnly { .. } | Error::StorageFull { .. } => true,
                Error::Closed { reason } => reason.contains("thrown by"),
                // What was not created is not there; a consumer of it is told.
                Error::UnknownTopic { topic } => {
                    self.created.get(topic.as_str()) == Some(&false) || topic == "doomed"
                }
                // Its records before that were deleted.
                Error::OffsetOutOfRange { at, .. } => at.topic == "process",
                _ => false,
            };
            assert!(is_known, "{error:?} among {:?}", self.errors);
        }
    }

    /// After the next open: what was promised is there.
    pub(super) async fn check_kept(&self, broker: &Broker, power_was_lost: bool) {
        let topics = broker.topics().unwrap();
        for (topic, survives_power) in TOPICS {
            let is_there = topics.iter().any(|it| *it == topic);
            if topic == "doomed" && self.deleted.is_some() {
                assert!(!(is_there && self.deleted == Some(true)), "a deleted topic is back");
                continue;
            }
            if self.created.get(topic) == Some(&true) {
                assert!(is_there, "{topic} is gone");
            }
            if is_there && (survives_power || !power_was_lost) {
                self.check_records(broker, topic).await;
            }
        }
        let offsets = patiently(broker.admin().group_offsets("g")).await;
        let committed = offsets.unwrap_or_default().get(&at("power", 0)).map(|it| it.offset);
        let last = self.commits.iter().rposition(|(_, is_acked)| *is_acked);
        let possible = last.map_or(&[][..], |last| &self.commits[last..]);
        let is_possible = possible.iter().any(|(offset, _)| committed == Some(*offset));
        assert!(last.is_none() || is_possible, "{committed:?} of {:?}", self.commits);
    }

    async fn check_records(&self, broker: &Broker, topic: &'static str) {
        let mut consumer = patiently(broker.consumer().subscribe([topic])).await.unwrap();
        let (records, errors) = drain(&mut consumer).await;
        assert!(errors.is_empty(), "{topic}: {errors:?}");
        let found: BTreeMap<i64, String> = records
            .iter()
            .filter(|it| it.partition == 0)
            .map(|it| (it.offset, value(it)))
            .collect();
        let kept_from = self.kept_from.get(topic).copied().unwrap_or(0);
        let is_compacted = topic == "compacted";
        for ((_, offset), value) in self.acked.range((topic, kept_from)..=(topic, i64::MAX)) {
            match found.get(offset) {
                Some(found) => assert_eq!(found, value, "{topic} at {offset}"),
                None => assert!(is_compacted, "{topic} at {offset} is lost: {found:?}"),
            }
        }
        if is_compacted {
            // Of each key the last that was acknowledged, or a later one.
            for key in 0..2 {
                let of_key = |value: &str| {
                    let number = value.trim_start_matches("compacted").split(':').next();
                    let number = number.and_then(|number| number.parse::<usize>().ok());
                    number.is_some_and(|n| n % 2 == key)
                };
                let mut acked = self.acked.range((topic, 0)..=(topic, i64::MAX)).rev();
                let last = acked.find(|(_, value)| of_key(value)).map(|((_, offset), _)| *offset);
                let found = found.iter().rev().find(|(_, value)| of_key(value)).map(|it| *it.0);
                assert!(found >= last, "key {key}: {found:?}, but {last:?} was acknowledged");
            }
        }
    }
}
