//! What happens in a case: who joins, how they behave, and what is done to them.

use ottla::Strategy as Assignor;
use proptest::prelude::*;
use proptest::sample::Index;

/// A whole case.
#[derive(Debug, Clone)]
pub(super) struct Script {
    /// The partitions of each topic.
    pub(super) topics: Vec<i32>,
    /// Of each group: the strategy that all of its members offer.
    pub(super) groups: Vec<Assignor>,
    pub(super) steps: Vec<Step>,
    /// Whether the members that are there at the end leave as they should.
    pub(super) leave: bool,
}

#[derive(Debug, Clone)]
pub(super) enum Step {
    Produce {
        to: Index,
        records: i64,
    },
    Join {
        group: Index,
        how: How,
    },
    /// Closes a consumer.
    Leave(Index),
    /// Drops a consumer.
    Die(Index),
    /// Polls a consumer no more, until it is woken.
    Stall(Index),
    Wake(Index),
    Commit(Index),
    /// Commits this many records less than were handed out.
    CommitBack {
        member: Index,
        by: i64,
    },
    /// Polls a member, so many times in a row, without anybody else having a turn.
    Poll {
        member: Index,
        times: usize,
    },
    /// Polls all that are not stalled, in turn.
    PollAll {
        rounds: usize,
        times: usize,
    },
    /// Lets seconds pass.
    Advance(u64),
    /// Polls until every group is stable, and looks who has what.
    Settle {
        wake: bool,
    },
    /// Ends the broker, by a shutdown or by a crash, and opens it again.
    Restart {
        clean: bool,
        members_first: bool,
    },
}

/// How a member joins and behaves.
#[derive(Debug, Clone)]
pub(super) struct How {
    pub(super) habit: Habit,
    /// A static member: one of a few, so that they come back, and meet their like.
    pub(super) instance: Option<u8>,
    /// Offered beside the group's own strategy.
    others: Vec<Assignor>,
    /// Where the group's own stands among them.
    place: usize,
    /// A bit for each topic; those of no topic count as all.
    topics: u8,
}

/// How a member commits by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Habit {
    /// In its listener, before partitions leave.
    HandsOver,
    /// As [`Habit::HandsOver`], and it has something to finish first.
    HandsOverSlowly,
    /// Automatically.
    Auto,
    /// Not at all.
    Never,
}

impl Habit {
    /// Whether what it was handed out is committed when it goes as it should.
    pub(super) fn hands_over(self) -> bool {
        self != Habit::Never
    }
}

impl How {
    pub(super) fn new(habit: Habit) -> Self {
        let (others, place) = (Vec::new(), 0);
        How { habit, instance: None, others, place, topics: 0 }
    }

    pub(super) fn strategies(&self, common: Assignor) -> Vec<Assignor> {
        // A static member offers the same whenever it comes.
        let others = if self.instance.is_some() { &[] } else { &self.others[..] };
        let mut all: Vec<Assignor> = others.iter().copied().filter(|it| *it != common).collect();
        all.insert(self.place % (all.len() + 1), common);
        all
    }

    /// The indexes of its topics, of so many.
    pub(super) fn topics(&self, of: usize) -> Vec<usize> {
        let wanted: Vec<usize> = (0..of).filter(|n| self.topics & 1 << n != 0).collect();
        // As above.
        if wanted.is_empty() || self.instance.is_some() { (0..of).collect() } else { wanted }
    }
}

fn how() -> impl Strategy<Value = How> {
    let habit = prop_oneof![
        3 => Just(Habit::HandsOver),
        2 => Just(Habit::HandsOverSlowly),
        2 => Just(Habit::Auto),
        1 => Just(Habit::Never),
    ];
    let instance = prop::option::weighted(0.25, 0..2u8);
    let others = prop::sample::subsequence(Assignor::ALL.to_vec(), 0..=3).prop_shuffle();
    let topics = prop_oneof![2 => Just(0), 1 => 0..8u8];
    (habit, instance, others, 0..4usize, topics).prop_map(
        |(habit, instance, others, place, topics)| How { habit, instance, others, place, topics },
    )
}

fn step() -> impl Strategy<Value = Step> {
    let member = any::<Index>;
    prop_oneof![
        4 => (member(), 1..12i64).prop_map(|(to, records)| Step::Produce { to, records }),
        4 => (member(), how()).prop_map(|(group, how)| Step::Join { group, how }),
        1 => member().prop_map(Step::Leave),
        1 => member().prop_map(Step::Die),
        1 => member().prop_map(Step::Stall),
        1 => member().prop_map(Step::Wake),
        2 => member().prop_map(Step::Commit),
        1 => (member(), 0..6i64).prop_map(|(member, by)| Step::CommitBack { member, by }),
        5 => (member(), 1..6usize).prop_map(|(member, times)| Step::Poll { member, times }),
        5 => (1..6usize, 1..4usize).prop_map(|(rounds, times)| Step::PollAll { rounds, times }),
        1 => (1..90u64).prop_map(Step::Advance),
        2 => any::<bool>().prop_map(|wake| Step::Settle { wake }),
        1 => any::<(bool, bool)>()
            .prop_map(|(clean, members_first)| Step::Restart { clean, members_first }),
    ]
}

pub(super) fn script() -> impl Strategy<Value = Script> {
    let topics = prop::collection::vec(1..4i32, 1..4);
    let groups = prop::collection::vec(prop::sample::select(&Assignor::ALL[..]), 1..3);
    let steps = prop::collection::vec(step(), 10..90);
    (topics, groups, steps, any::<bool>()).prop_map(|(topics, groups, steps, leave)| Script {
        topics,
        groups,
        steps,
        leave,
    })
}
