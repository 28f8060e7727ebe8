//! What a life consists of: steps, until the disk dies or there were enough.

use std::task::Poll;

use ottla::{Error, Record, RecordMetadata};

use super::faults::Kind;
use super::model::{Id, Sent};
use super::world::{Awaited, World, at, look, patiently};

impl World {
    pub(super) async fn work(&mut self) {
        let steps = self.dice.between(5, 60);
        for _ in 0..steps {
            self.step().await;
            let turns = self.dice.pick(&[0, 0, 1, 3]);
            self.settle(turns).await;
            if self.is_dead() {
                break;
            }
        }
        // Some hear of what has happened, some do not.
        let turns = self.dice.pick(&[0, 1, 5]);
        self.settle(turns).await;
        if self.dice.one_in(3) {
            self.read().await;
        }
    }

    async fn step(&mut self) {
        if self.slots.values().all(|slot| slot.topic.is_none() && slot.pending.is_none()) {
            return self.create("a");
        }
        if self.kind == Kind::Faults && self.dice.one_in(10) {
            self.trouble();
        }
        match self.dice.below(42) {
            0..16 => self.produce().await,
            16..23 => self.read().await,
            23..25 => self.new_reader().await,
            25..28 => self.commit().await,
            28..30 => self.alter_offsets(),
            30..33 => self.change_topic(),
            33 => self.delete_records(),
            34..36 => self.compact(),
            36 => self.advance(),
            37..40 => self.share().await,
            _ => self.settle(4).await,
        }
    }

    async fn produce(&mut self) {
        let producer = self.dice.index(self.producers.len());
        let count = self.dice.between(1, 8);
        let Some(topic) = self.any_topic().map(|topic| topic.name.clone()) else { return };
        let looked_up = patiently(self.producers[producer].partitions_for(&topic)).await;
        if let Err(error) = looked_up {
            if !self.is_going(&topic) {
                self.excuse("looking a topic up", &error, &[], 0);
            }
            return;
        }
        self.note(|| format!("producer {producer} sends {count} to {topic}"));
        for _ in 0..count {
            self.send(producer, &topic, None);
        }
    }

    /// Sends one record, to this partition or to any.
    pub(super) fn send(&mut self, producer: usize, name: &str, partition: Option<i32>) {
        let id = self.next_id;
        self.next_id += 1;
        let mut sent = self.new_record(producer, id, name);
        sent.partition = partition.or(sent.partition);
        let header = id.to_le_bytes();
        let record = Record::to(name).timestamp(self.clock.wall()).header("id", &header[..]);
        let record = match sent.partition {
            Some(partition) => record.partition(partition),
            None => record,
        };
        let record = match &sent.key {
            Some(key) => record.key(key.as_str()),
            None => record,
        };
        let record = match &sent.value {
            Some(value) => record.value(value.as_str()),
            None => record,
        };
        let result = self.producers[producer].try_send(record);
        let topic = self.slot(name).topic.as_mut();
        match result {
            Ok(delivery) => {
                self.tally.sent.add(1);
                let since = self.failures();
                let life = self.slots[name].topic.as_ref().expect("it was picked").life;
                let place = sent.partition.map(|it| (name.to_owned(), life, it));
                let doomed = place.is_some_and(|it| self.read_only.contains(&it));
                let topic = self.slot(name).topic.as_mut().expect("it was picked");
                topic.sent.insert(id, sent);
                let topic = name.to_owned();
                self.awaited.push(Awaited { delivery, topic, life, id, since, doomed });
            }
            Err(_) if topic.is_none() || self.is_going(name) => {}
            // It grew or was made to compact a moment ago, or the change is under way.
            Err(error) if is_of_change(error.error()) => {}
            Err(error) => self.excuse("sending", error.error(), &[&format!("{name}-")], 0),
        }
    }

    fn new_record(&mut self, producer: usize, id: Id, name: &str) -> Sent {
        let (needs_key, partitions) = {
            let topic = self.slot(name).topic.as_ref().expect("it was picked");
            (topic.needs_keys(), topic.partitions.len() as i64)
        };
        let key = (needs_key || self.dice.one_in(2)).then(|| format!("k{}", self.dice.below(6)));
        let tombstone = key.is_some() && self.dice.one_in(5);
        let len = if self.dice.one_in(10) { 300 } else { self.dice.below(60) as usize };
        let value = (!tombstone).then(|| format!("{id}:{}", "x".repeat(len)));
        let chosen = !self.dice.one_in(4);
        let partition = chosen.then(|| self.dice.between(0, partitions - 1) as i32);
        let timestamp = self.now();
        Sent { producer, key, value, timestamp, partition, offset: None, dead: false }
    }

    /// Takes in what was acknowledged.
    pub(super) fn collect_acks(&mut self) {
        let mut waiting = Vec::new();
        for mut awaited in std::mem::take(&mut self.awaited) {
            match look(std::pin::Pin::new(&mut awaited.delivery)) {
                Poll::Pending => waiting.push(awaited),
                Poll::Ready(Ok(metadata)) => self.acknowledged(&awaited, &metadata),
                Poll::Ready(Err(error)) => self.refused(&awaited, error.error()),
            }
        }
        self.awaited = waiting;
    }

    fn acknowledged(&mut self, awaited: &Awaited, metadata: &RecordMetadata) {
        if !metadata.has_offset() {
            return;
        }
        let at = at(&awaited.topic, metadata.partition);
        assert!(!awaited.doomed, "{at} takes {} though it is read-only", awaited.id);
        self.tally.acknowledged.add(1);
        let topic = self.slot(&awaited.topic).topic.as_mut();
        if let Some(topic) = topic.filter(|it| it.life == awaited.life) {
            topic.learn(metadata.partition, metadata.offset, awaited.id, None);
        }
    }

    fn refused(&mut self, awaited: &Awaited, error: &Error) {
        let Awaited { topic: name, life, id, since, .. } = awaited;
        if self.is_going(name) || is_of_change(error) {
            return;
        }
        let topic = self.slot(name).topic.as_mut();
        let Some(topic) = topic.filter(|it| it.life == *life) else { return };
        let sent = topic.sent.get_mut(id).expect("it was sent");
        let folder = match sent.partition {
            Some(partition) => at(name, partition).to_string(),
            None => format!("{name}-"),
        };
        match error {
            // It is not there, and will not be.
            Error::StorageFull { .. } => sent.dead = true,
            Error::ReadOnly { at, .. } => {
                self.read_only.insert((name.clone(), *life, at.partition));
            }
            _ => {}
        }
        self.excuse("producing", error, &[&folder], *since);
    }
}

/// What a record may meet whose topic is changed at this time.
fn is_of_change(error: &Error) -> bool {
    matches!(
        error,
        Error::MissingKey { .. } | Error::MessageTooLarge { .. } | Error::UnknownPartition { .. }
    )
}
