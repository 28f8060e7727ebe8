//! A member, and what it must have been handed out so far.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use ottla::{
    Broker, Consumer, ConsumerRecord, Error, GroupDescription, RebalanceListener, Revoked,
    Strategy, TopicPartition,
};

use super::ledger::Ledger;
use super::script::{Habit, How};

/// How long a rebalance waits for a member.
pub(super) const REBALANCE_TIMEOUT: Duration = Duration::from_secs(60);

const AUTO_COMMIT: Duration = Duration::from_secs(10);

pub(super) struct Member {
    pub(super) consumer: Consumer,
    /// Which group it is in.
    pub(super) group: usize,
    pub(super) how: How,
    /// The indexes of the topics that it is subscribed to.
    pub(super) topics: Vec<usize>,
    pub(super) stalled: bool,
    ledger: Ledger,
    refused: Arc<Mutex<Option<Error>>>,
    /// The next offset of each partition that it has.
    positions: BTreeMap<TopicPartition, i64>,
}

impl Member {
    pub(super) async fn join(
        broker: &Broker,
        (group, ledger, common): (usize, &Ledger, Strategy),
        how: How,
        topics: usize,
    ) -> Self {
        let refused = Arc::new(Mutex::default());
        let builder = broker.consumer().group(&format!("g{group}"));
        let builder = builder.strategies(how.strategies(common));
        let builder = builder.max_poll_interval(REBALANCE_TIMEOUT);
        let builder = match how.instance {
            Some(n) => builder.group_instance_id(format!("static{n}")),
            None => builder,
        };
        let listener =
            Listener { ledger: ledger.clone(), refused: refused.clone(), habit: how.habit };
        let builder = match how.habit {
            Habit::HandsOver | Habit::HandsOverSlowly => builder.rebalance_listener(listener),
            Habit::Auto => builder.auto_commit(AUTO_COMMIT),
            Habit::Never => builder,
        };
        let topics = how.topics(topics);
        let names = topics.iter().map(|n| format!("t{n}"));
        let consumer = builder.subscribe(names).await.unwrap();
        let (ledger, positions) = (ledger.clone(), BTreeMap::new());
        Member { consumer, group, how, topics, stalled: false, ledger, refused, positions }
    }

    pub(super) fn id(&self) -> String {
        self.consumer.group_metadata().expect("it is in a group").member_id
    }

    pub(super) fn generation(&self) -> i32 {
        self.consumer.group_metadata().expect("it is in a group").generation
    }

    /// Whether the group, as it was told just now, has this member.
    pub(super) fn is_in(&self, told: &Told) -> bool {
        told.has(&self.id())
    }

    /// Polls once. `told` is the group as it is now. False if another has taken its place for good.
    pub(super) fn poll(&mut self, told: &Told) -> bool {
        if self.how.habit == Habit::Auto {
            self.ledger.open().begin(&self.offsets());
        }
        match self.consumer.try_recv() {
            Ok(record) => {
                self.note(told, record);
                true
            }
            Err(Error::Group { source: ottla::GroupError::FencedInstanceId { .. }, .. }) => {
                assert!(self.how.instance.is_some() && !self.is_in(told), "fenced for no reason");
                false
            }
            Err(error) => panic!("polling failed: {error}"),
        }
    }

    /// Compares what it has now with what it had.
    fn note(&mut self, told: &Told, record: Option<ConsumerRecord>) {
        if !self.is_in(told) {
            // Others may have what it had: nothing follows for the group from what it still does.
            self.positions.clear();
            self.refused.lock().unwrap().take();
            return;
        }
        if let Some(refused) = self.refused.lock().unwrap().take() {
            panic!("a member could not hand over: {refused}");
        }
        let mut now = self.consumer.positions();
        let mut book = self.ledger.open();
        let id = self.id();
        let before = record.as_ref().map(|it| (at(it), it.offset));
        for (at, position) in &now {
            if !self.positions.contains_key(at) {
                let here = before.as_ref().filter(|(of, _)| of == at);
                let start = here.map_or(position.offset, |(_, offset)| *offset);
                book.starts(at, start, |it| told.has(it));
                self.positions.insert(at.clone(), start);
            }
        }
        if let Some((at, offset)) = before {
            let expected = self.positions.get_mut(&at).expect("it is handed out what it has");
            assert_eq!(offset, *expected, "{at} is not handed out in order");
            let value = record.and_then(|it| it.value).expect("it has a value");
            assert_eq!(value, format!("{at}@{offset}"), "another record");
            *expected += 1;
            book.delivered(&at, offset);
        }
        self.positions.retain(|at, position| match now.remove(at) {
            Some(found) => {
                assert_eq!(found.offset, *position, "{at}: it stands where it should not");
                true
            }
            None => {
                if self.how.habit.hands_over() {
                    book.owes(at, &id, *position);
                }
                false
            }
        });
    }

    pub(super) async fn commit(&mut self, told: &Told) {
        let offsets = self.offsets();
        let call = self.ledger.open().begin(&offsets);
        let committed = self.consumer.commit().await;
        self.ledger.open().end(call, &offsets, committed.is_ok());
        self.check(told, committed);
    }

    /// Commits less than it was handed out.
    pub(super) async fn commit_back(&mut self, told: &Told, by: i64) {
        let back = |(at, position): (TopicPartition, i64)| (at, (position - by).max(0));
        let offsets: Vec<_> = self.offsets().into_iter().map(back).collect();
        if !self.is_in(told) {
            return;
        }
        let call = self.ledger.open().begin_back(&offsets);
        let committed = self.consumer.commit_offsets(offsets.clone()).await;
        self.ledger.open().end(call, &offsets, committed.is_ok());
        self.check(told, committed);
    }

    /// A member may always commit, and nobody else.
    fn check(&self, told: &Told, committed: ottla::Result<()>) {
        let is_nothing = self.consumer.assignment().is_empty();
        match committed {
            Ok(()) => assert!(self.is_in(told) || is_nothing, "committed without being a member"),
            Err(error) => assert!(!self.is_in(told), "a member could not commit: {error}"),
        }
    }

    /// Leaves; what it says is committed then.
    pub(super) async fn leave(self, told: &Told) -> Vec<(TopicPartition, i64)> {
        let (is_member, id, offsets) = (self.is_in(told), self.id(), self.offsets());
        if self.how.habit == Habit::Auto {
            self.ledger.open().begin(&offsets);
        }
        let left = self.consumer.close().await;
        if !is_member {
            return Vec::new();
        }
        left.expect("a member can leave");
        if let Some(refused) = self.refused.lock().unwrap().take() {
            panic!("a member that left could not hand over: {refused}");
        }
        let mut paid = self.ledger.open().paid(&id);
        if self.how.habit.hands_over() {
            paid.extend(offsets);
        }
        paid
    }

    /// It is dropped.
    pub(super) fn die(self) {
        let id = self.id();
        drop(self.consumer);
        self.ledger.open().dies(&id);
    }

    fn offsets(&self) -> Vec<(TopicPartition, i64)> {
        self.positions.iter().map(|(at, position)| (at.clone(), *position)).collect()
    }
}

fn at(record: &ConsumerRecord) -> TopicPartition {
    TopicPartition { topic: record.topic.clone(), partition: record.partition }
}

/// What the broker told of a group; `None` if it knows none.
#[derive(Debug)]
pub(super) struct Told(pub(super) Option<GroupDescription>);

impl Told {
    pub(super) fn has(&self, member_id: &str) -> bool {
        let members = self.0.iter().flat_map(|told| &told.members);
        members.into_iter().any(|member| member.member_id == member_id)
    }
}

/// Commits what leaves, and tells the ledger.
struct Listener {
    ledger: Ledger,
    /// Why the latest commit was refused.
    refused: Arc<Mutex<Option<Error>>>,
    habit: Habit,
}

#[async_trait]
impl RebalanceListener for Listener {
    async fn revoked(&self, revoked: &Revoked) {
        let turns = if self.habit == Habit::HandsOverSlowly { 8 } else { 0 };
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
        let positions = revoked.positions().map(|(at, position)| (at.clone(), position.offset));
        let offsets: Vec<_> = positions.collect();
        let call = self.ledger.open().begin(&offsets);
        let committed = revoked.commit().await;
        self.ledger.open().end(call, &offsets, committed.is_ok());
        *self.refused.lock().unwrap() = committed.err();
    }
}
