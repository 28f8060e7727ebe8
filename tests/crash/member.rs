//! The members of a group that shares partitions: they join, read what they are assigned, commit,
//! leave, or are gone without a word.
//!
//! How members share is tested elsewhere (`group_model`); here it is what becomes of their group
//! when the broker dies at any moment of that. Whoever is assigned a partition goes on where the
//! group has committed; within a generation nobody is handed out what somebody was before.

use std::collections::BTreeMap;

use ottla::{Consumer, ConsumerRecord, Error, TopicPartition};

use super::groups::Place;
use super::world::{World, patiently};

/// Their group.
pub(super) const MEMBERS: &str = "m";

/// How many there are at most.
const MOST: usize = 3;

pub(super) struct Member {
    number: u64,
    consumer: Consumer,
    /// The partitions that it was assigned when it was last looked at, and the offset from which
    /// on it is handed out records: none if it has been told to go on elsewhere.
    has: BTreeMap<TopicPartition, Option<i64>>,
    generation: i32,
}

/// What a group was handed out of each partition in one generation: the next offset, and to whom.
#[derive(Debug, Default)]
pub(super) struct HandedOut {
    generation: i32,
    next: BTreeMap<Place, (i64, u64)>,
}

impl World {
    /// Somebody joins, leaves, reads or commits.
    pub(super) async fn share(&mut self) {
        let count = self.members.len();
        if count == 0 || count < MOST && self.dice.one_in(4) {
            return self.join().await;
        }
        let n = self.dice.index(count);
        let mut member = self.members.remove(n);
        if self.dice.one_in(10) {
            return self.leave(member).await;
        }
        for _ in 0..self.dice.between(1, 20) {
            let received = member.consumer.try_recv();
            self.look_at(&mut member);
            match received {
                Ok(Some(record)) => self.handed_out(&mut member, &record),
                Ok(None) => tokio::task::yield_now().await,
                // Where it was to go on is not there any more: the readers look closely at that.
                Err(Error::Truncated { at, .. } | Error::OffsetOutOfRange { at, .. }) => {
                    self.goes_on_elsewhere(&mut member, at);
                }
                Err(Error::Corrupt { .. }) if self.is_damaged => {}
                Err(error) => self.excuse("a member", &error, &[], 0),
            }
        }
        if self.dice.one_in(2) {
            self.commit_of(&mut member).await;
        }
        self.members.push(member);
    }

    async fn commit_of(&mut self, member: &mut Member) {
        let positions = member.consumer.positions();
        let offsets = positions.iter().map(|(at, position)| (self.place(at), position.offset));
        let offsets = offsets.collect();
        let call = self.ledger.begin(MEMBERS, offsets);
        self.note(|| format!("{call:?} by {}", member.number));
        let committed = patiently(member.consumer.commit()).await;
        self.ledger.end(call, committed.is_ok(), self.is_unknown());
        match committed {
            // It has joined, but nothing is assigned yet; or it was long away.
            Ok(()) | Err(Error::Group { .. }) => {}
            Err(error) => self.excuse("a member's commit", &error, &[], 0),
        }
    }

    async fn join(&mut self) {
        let is_whole = |name: &&String| self.slots[*name].topic.is_some() && !self.is_going(name);
        let names: Vec<String> = self.slots.keys().filter(is_whole).cloned().collect();
        if names.is_empty() {
            return;
        }
        let number = self.next_id;
        self.next_id += 1;
        self.note(|| format!("member {number} joins for {names:?}"));
        let builder = self.broker().consumer().group(MEMBERS);
        match patiently(builder.subscribe(names)).await {
            Ok(consumer) => {
                let (has, generation) = (BTreeMap::new(), -1);
                self.members.push(Member { number, consumer, has, generation });
            }
            Err(error) => self.excuse("joining", &error, &[], 0),
        }
    }

    async fn leave(&mut self, member: Member) {
        let closes = self.dice.one_in(2);
        self.note(|| format!("member {} leaves, in order: {closes}", member.number));
        if !closes {
            return;
        }
        match patiently(member.consumer.close()).await {
            // It was long away, and put out.
            Ok(()) | Err(Error::Group { .. }) => {}
            Err(error) => self.excuse("leaving", &error, &[], 0),
        }
    }

    fn place(&self, at: &TopicPartition) -> Place {
        let name = at.topic.as_str();
        let life = self.slots[name].topic.as_ref().map_or(0, |it| it.life);
        (name.to_owned(), life, at.partition)
    }

    fn goes_on_elsewhere(&mut self, member: &mut Member, at: TopicPartition) {
        let place = self.place(&at);
        self.handed_out.next.remove(&place);
        member.has.insert(at, None);
    }

    fn handed_out(&mut self, member: &mut Member, record: &ConsumerRecord) {
        let at = TopicPartition { topic: record.topic.clone(), partition: record.partition };
        self.check_start(member, &at, record.offset);
        self.check_once(member, &at, record.offset);
        let name = record.topic.to_string();
        let topic = self.slot(&name).topic.as_mut().expect("it goes before a topic is deleted");
        let id = super::checks::check_record(topic, record);
        topic.learn(record.partition, record.offset, id, Some(record.leader_epoch));
    }

    /// Forgets what the member does not have any more, or has had to give up in between.
    fn look_at(&mut self, member: &mut Member) {
        let assigned = member.consumer.assignment();
        let group = member.consumer.group_metadata().expect("it is in a group");
        if group.generation > member.generation + 1 {
            member.has.clear();
        }
        member.generation = group.generation;
        member.has.retain(|at, _| assigned.contains(at));
        if group.generation != self.handed_out.generation {
            let next = BTreeMap::new();
            self.handed_out = HandedOut { generation: group.generation, next };
        }
    }

    /// Whoever has a partition reads on; whoever gets it goes on where the group has committed.
    fn check_start(&mut self, member: &mut Member, at: &TopicPartition, offset: i64) {
        let next = member.has.insert(at.clone(), Some(offset + 1));
        let place = self.place(at);
        let (least, most) = match next {
            Some(None) => return,
            Some(Some(next)) => (next, next),
            None => self.ledger.may_be_committed(MEMBERS, &place),
        };
        let who = member.number;
        assert!(offset >= least, "member {who} gets {at}@{offset}, though at {least} or {most}");
        let topic = self.slots[&place.0].topic.as_ref().expect("it goes before it is deleted");
        let known = &topic.partitions[at.partition as usize].known;
        for passed in known.range(most.min(offset)..offset).map(|(passed, _)| *passed) {
            let may = topic.may_be_gone(at.partition, passed, self.now(), |_| true);
            assert!(may, "member {who} gets {at}@{offset}, but not {passed}, though at {most}");
        }
    }

    /// Nobody else has had it in this generation, nor this member itself.
    fn check_once(&mut self, member: &Member, at: &TopicPartition, offset: i64) {
        let place = self.place(at);
        let generation = self.handed_out.generation;
        if let Some((next, who)) = self.handed_out.next.get(&place) {
            assert!(
                offset >= *next && *who == member.number,
                "{at}@{offset} to {} in generation {generation}: {who} is at {next}",
                member.number
            );
        }
        self.handed_out.next.insert(place, (offset + 1, member.number));
    }
}
