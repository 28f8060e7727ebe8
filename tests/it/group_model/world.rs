//! A broker, its groups and their members, and the steps of a script.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ottla::storage::SimDisk;
use ottla::{
    Broker, Clock, Durability, Error, GroupError, GroupState, ManualClock, Record, Strategy,
    TopicConfig, TopicPartition,
};
use proptest::sample::Index;

use super::ledger::Ledger;
use super::member::{Member, Told};
use super::script::{Habit, How, Script, Step};
use crate::support::at;

/// How many members a group has at most.
const MAX_MEMBERS: usize = 5;

/// After how many rounds of polling a group that has not settled needs time to pass.
const ROUNDS_BEFORE_TIME: usize = 40;

/// For how many rounds nothing changes in a group that has settled.
const ROUNDS_OF_PEACE: usize = 6;

/// After how many rounds it never will.
const MAX_ROUNDS: usize = 2000;

/// Where the broker is.
pub(super) enum Place {
    Memory,
    Sim(SimDisk, Durability),
}

impl Place {
    async fn open(&self, clock: &ManualClock) -> Broker {
        let builder = Broker::builder().clock(clock.clone());
        match self {
            Place::Memory => builder.in_memory().await.unwrap(),
            Place::Sim(disk, durability) => {
                let defaults = TopicConfig::new().durability(*durability);
                let builder = builder.topic_defaults(defaults);
                builder.open_on(Arc::new(disk.process())).await.unwrap()
            }
        }
    }
}

pub(super) struct World {
    place: Place,
    clock: ManualClock,
    broker: Broker,
    /// The partitions of each topic.
    topics: Vec<i32>,
    groups: Vec<(Strategy, Ledger)>,
    members: Vec<Member>,
    /// How many records each partition has.
    ends: BTreeMap<TopicPartition, i64>,
}

impl World {
    pub(super) async fn play(place: Place, script: &Script) {
        let clock = Clock::manual();
        let broker = place.open(&clock).await;
        let mut ends = BTreeMap::new();
        for (n, partitions) in script.topics.iter().enumerate() {
            let (name, config) = (format!("t{n}"), TopicConfig::new().partitions(*partitions));
            broker.create_topic(&name, config).await.unwrap();
            ends.extend((0..*partitions).map(|partition| (at(&name, partition), 0)));
        }
        let groups = script.groups.iter().map(|it| (*it, Ledger::default())).collect();
        let (topics, members) = (script.topics.clone(), Vec::new());
        let mut world = World { place, clock, broker, topics, groups, members, ends };
        for step in &script.steps {
            world.take(step).await;
            for group in 0..world.groups.len() {
                let told = world.told(group).await;
                world.owners(group, &told);
            }
        }
        world.end(script.leave).await;
    }

    async fn take(&mut self, step: &Step) {
        match step {
            Step::Produce { to, records } => self.produce(*to, *records).await,
            Step::Join { group, how } => self.join(group.index(self.groups.len()), how).await,
            Step::Leave(member) => {
                if let Some(n) = self.pick(*member) {
                    self.leave(n).await;
                }
            }
            Step::Die(member) => {
                if let Some(n) = self.pick(*member) {
                    self.members.remove(n).die();
                }
            }
            Step::Stall(member) => {
                // The group keeps a static one that is late, with what it had: see `advance`.
                let member = self.pick(*member).map(|n| &mut self.members[n]);
                if let Some(member) = member.filter(|it| it.how.instance.is_none()) {
                    member.stalled = true;
                }
            }
            Step::Wake(member) => {
                if let Some(n) = self.pick(*member) {
                    self.members[n].stalled = false;
                }
            }
            Step::Commit(member) => {
                if let Some(n) = self.pick(*member) {
                    let told = self.told(self.members[n].group).await;
                    self.members[n].commit(&told).await;
                }
            }
            Step::CommitBack { member, by } => {
                if let Some(n) = self.pick(*member) {
                    let told = self.told(self.members[n].group).await;
                    self.members[n].commit_back(&told, *by).await;
                }
            }
            Step::Poll { member, times } => {
                if let Some(n) = self.pick(*member) {
                    self.poll(n, *times).await;
                }
            }
            Step::PollAll { rounds, times } => {
                for _ in 0..*rounds {
                    self.poll_all(*times).await;
                }
            }
            Step::Advance(seconds) => self.advance(*seconds).await,
            Step::Settle { wake } => self.settle(*wake).await,
            Step::Restart { clean, members_first } => self.restart(*clean, *members_first).await,
        }
    }

    fn pick(&self, member: Index) -> Option<usize> {
        (!self.members.is_empty()).then(|| member.index(self.members.len()))
    }

    async fn produce(&mut self, to: Index, records: i64) {
        let n = to.index(self.ends.len());
        let (at, end) = self.ends.iter_mut().nth(n).expect("there is a partition");
        let producer = self.broker.producer().build();
        for offset in *end..*end + records {
            let record = Record::to(at.topic.as_str()).partition(at.partition);
            producer.enqueue(record.value(format!("{at}@{offset}"))).await.unwrap();
        }
        producer.flush().await;
        *end += records;
    }

    async fn join(&mut self, group: usize, how: &How) {
        if self.members.iter().filter(|it| it.group == group).count() < MAX_MEMBERS {
            let (common, ledger) = &self.groups[group];
            let of = (group, ledger, *common);
            let member = Member::join(&self.broker, of, how.clone(), self.topics.len()).await;
            self.members.push(member);
        }
    }

    async fn leave(&mut self, n: usize) {
        let member = self.members.remove(n);
        let group = member.group;
        let told = self.told(group).await;
        let paid = member.leave(&told).await;
        let committed = self.observe(group).await;
        for (at, position) in paid {
            let found = committed.get(&at).copied().unwrap_or(0);
            assert_eq!(found, position, "{at}: whoever left has not committed where it stood");
        }
    }

    /// Polls one member, unless another has its place; then it goes.
    async fn poll(&mut self, n: usize, times: usize) -> bool {
        let told = self.told(self.members[n].group).await;
        for _ in 0..times {
            if !self.members[n].poll(&told) {
                self.members.remove(n).die();
                return false;
            }
        }
        true
    }

    async fn poll_all(&mut self, times: usize) {
        let mut n = 0;
        while n < self.members.len() {
            if self.members[n].stalled || self.poll(n, times).await {
                n += 1;
            }
        }
    }

    /// Lets time pass, and those who wait for it.
    ///
    /// A static member that is late is not put out at once, and its generation goes on without
    /// it: until it knows, it seems to have what others have. So it is not late here.
    async fn advance(&mut self, seconds: u64) {
        if self.members.iter().any(|member| member.how.instance.is_some()) {
            let mut unchanged = 0;
            let mut before = Vec::new();
            while unchanged < 4 {
                self.poll_all(40).await;
                let mut now = Vec::new();
                for group in 0..self.groups.len() {
                    now.push(self.told(group).await.0.map(|it| (it.state, it.generation)));
                }
                unchanged = if now == before { unchanged + 1 } else { 0 };
                before = now;
            }
        }
        self.clock.advance(Duration::from_secs(seconds));
        for _ in 0..4 {
            tokio::task::yield_now().await;
        }
    }

    async fn told(&self, group: usize) -> Told {
        match self.broker.admin().describe_group(&format!("g{group}")).await {
            Ok(told) => Told(Some(told)),
            Err(Error::Group { source: GroupError::GroupIdNotFound, .. }) => Told(None),
            Err(error) => panic!("groups can't be described: {error}"),
        }
    }

    /// What the group has committed, which the ledger is to allow.
    async fn observe(&mut self, group: usize) -> BTreeMap<TopicPartition, i64> {
        let all: Vec<TopicPartition> = self.ends.keys().cloned().collect();
        let builder = self.broker.consumer().group(&format!("g{group}"));
        let mut observer = builder.assign(all.clone()).await.unwrap();
        let committed = observer.committed(&all).await.unwrap();
        let mut book = self.groups[group].1.open();
        let offset = |at| committed.get(at).map_or(0, |position| position.offset);
        let committed: BTreeMap<_, _> = all.iter().map(|at| (at.clone(), offset(at))).collect();
        for (at, offset) in &committed {
            book.observe(at, *offset);
        }
        committed
    }

    /// The partitions that the group's members have; none is with two of them.
    fn owners(&self, group: usize, told: &Told) -> BTreeMap<TopicPartition, String> {
        let mut owners = BTreeMap::new();
        for member in self.members.iter().filter(|it| it.group == group && it.is_in(told)) {
            for at in member.consumer.assignment() {
                let other = owners.insert(at.clone(), member.id());
                assert_eq!(other, None, "{at} is also with {}; {told:?}", member.id());
            }
        }
        owners
    }

    async fn settle(&mut self, wake: bool) {
        if wake {
            self.members.iter_mut().for_each(|member| member.stalled = false);
        }
        for group in 0..self.groups.len() {
            self.settle_group(group).await;
            self.observe(group).await;
        }
    }

    /// Polls until nothing changes any more, and every partition has an owner.
    async fn settle_group(&mut self, group: usize) {
        let mut settled = (-1, 0);
        for round in 1..MAX_ROUNDS {
            let told = self.told(group).await;
            settled = match self.settled(group, &told) {
                Some(generation) if generation == settled.0 => (generation, settled.1 + 1),
                Some(generation) => (generation, 0),
                None => (-1, 0),
            };
            if settled.1 == ROUNDS_OF_PEACE {
                return;
            }
            self.poll_all(2).await;
            if round % ROUNDS_BEFORE_TIME == 0 {
                self.advance(31).await;
            }
        }
        panic!("the group does not settle: {:?}", self.told(group).await.0);
    }

    /// The generation, if the group is stable, and all partitions that are wanted have an owner.
    fn settled(&self, group: usize, told: &Told) -> Option<i32> {
        let members = || self.members.iter().filter(|it| it.group == group);
        if members().all(|it| it.stalled) {
            return Some(0);
        }
        let told_of = told.0.as_ref().filter(|told| told.state == GroupState::Stable)?;
        let here: BTreeSet<String> = members()
            .filter(|it| it.generation() == told_of.generation)
            .map(|it| it.id())
            .collect();
        let owners = self.owners(group, told);
        // Where somebody is stalled, it may not know yet what it has.
        let is_whole = members().all(|it| {
            it.topics.iter().all(|n| {
                let all = (0..self.topics[*n]).map(|partition| at(&format!("t{n}"), partition));
                all.into_iter().all(|at| owners.contains_key(&at))
            })
        });
        let all_here = told_of.members.iter().all(|it| here.contains(&it.member_id));
        let all_in = members().all(|it| it.stalled || it.is_in(told));
        let may_lack = members().any(|it| it.stalled);
        (all_here && all_in && (is_whole || may_lack)).then_some(told_of.generation)
    }

    async fn restart(&mut self, clean: bool, members_first: bool) {
        let Place::Sim(disk, durability) = &self.place else { return };
        if members_first {
            self.members.drain(..).for_each(Member::die);
        }
        match (clean, durability) {
            (true, _) => self.broker.shutdown().await.unwrap(),
            (false, Durability::Power) => disk.crash_power(),
            (false, _) => disk.crash_process(),
        }
        self.members.drain(..).for_each(Member::die);
        self.broker = self.place.open(&self.clock).await;
        for group in 0..self.groups.len() {
            self.observe(group).await;
        }
    }

    /// All go; one comes, and reads what was not done.
    async fn end(mut self, leave: bool) {
        while !self.members.is_empty() {
            match leave {
                true => self.leave(0).await,
                false => self.members.remove(0).die(),
            }
        }
        for group in 0..self.groups.len() {
            self.join(group, &How::new(Habit::Never)).await;
            self.settle(true).await;
            for _ in 0..MAX_ROUNDS {
                let positions = self.members[0].consumer.positions();
                if positions.values().map(|it| it.offset).eq(self.ends.values().copied()) {
                    break;
                }
                self.poll_all(20).await;
            }
            for (at, end) in &self.ends {
                let frontier = self.groups[group].1.open().frontier(at);
                assert_eq!(frontier, *end, "{at} was not handed out to its end");
            }
            let told = self.told(group).await;
            self.members[0].commit(&told).await;
            assert_eq!(self.observe(group).await, self.ends);
            self.leave(0).await;
        }
        self.broker.shutdown().await.unwrap();
    }
}
