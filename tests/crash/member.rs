//! The member of a group that shares partitions: it joins, reads what it is assigned and commits.
//!
//! How members share is tested elsewhere (`group_model`); here it is what becomes of their group
//! when the broker dies at any moment of that.

use ottla::{ConsumerRecord, Error};

use super::groups::Place;
use super::world::{World, patiently};

/// Its group.
pub(super) const MEMBERS: &str = "m";

impl World {
    /// Joins, reads or commits.
    pub(super) async fn share(&mut self) {
        let Some(mut member) = self.member.take() else { return self.join().await };
        for _ in 0..self.dice.between(1, 20) {
            match member.try_recv() {
                Ok(Some(record)) => self.handed_out(&record),
                Ok(None) => tokio::task::yield_now().await,
                // Where it was to begin is not there any more: the readers look closely at that.
                Err(Error::Truncated { .. } | Error::OffsetOutOfRange { .. }) => {}
                Err(Error::Corrupt { .. }) if self.is_damaged => {}
                Err(error) => self.excuse("a member", &error, &[], 0),
            }
        }
        if self.dice.one_in(2) {
            let positions = member.positions();
            let life = |name: &str| self.slots[name].topic.as_ref().map_or(0, |it| it.life);
            let place = |(at, position): (&ottla::TopicPartition, &ottla::consumer::Position)| {
                let name = at.topic.as_str();
                let place: Place = (name.to_owned(), life(name), at.partition);
                (place, position.offset)
            };
            let call = self.ledger.begin(MEMBERS, positions.iter().map(place).collect());
            self.note(|| format!("{call:?}"));
            let committed = patiently(member.commit()).await;
            self.ledger.end(call, committed.is_ok(), self.is_unknown());
            match committed {
                // It has joined, but nothing is assigned yet; or it was long away.
                Ok(()) | Err(Error::Group { .. }) => {}
                Err(error) => self.excuse("a member's commit", &error, &[], 0),
            }
        }
        self.member = Some(member);
    }

    async fn join(&mut self) {
        let is_whole = |name: &&String| self.slots[*name].topic.is_some() && !self.is_going(name);
        let names: Vec<String> = self.slots.keys().filter(is_whole).cloned().collect();
        if names.is_empty() {
            return;
        }
        self.note(|| format!("a member joins for {names:?}"));
        let builder = self.broker().consumer().group(MEMBERS);
        match patiently(builder.subscribe(names)).await {
            Ok(member) => self.member = Some(member),
            Err(error) => self.excuse("joining", &error, &[], 0),
        }
    }

    fn handed_out(&mut self, record: &ConsumerRecord) {
        let name = record.topic.to_string();
        let topic = self.slot(&name).topic.as_mut().expect("it goes before a topic is deleted");
        let id = super::checks::check_record(topic, record);
        topic.learn(record.partition, record.offset, id, Some(record.leader_epoch));
    }
}
