//! Random histories: what must hold whatever happens.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    Join(u8, bool),
    JoinStatic(u8),
    Rejoin(u8),
    Sync(u8),
    Heartbeat(u8),
    Leave(u8),
    Vanish(u8),
    Pass(u64),
    Break(bool),
}

fn step() -> impl Strategy<Value = Step> {
    let member = 0u8..6;
    prop_oneof![
        2 => (member.clone(), any::<bool>()).prop_map(|(m, local)| Step::Join(m, local)),
        1 => member.clone().prop_map(Step::JoinStatic),
        5 => member.clone().prop_map(Step::Rejoin),
        5 => member.clone().prop_map(Step::Sync),
        3 => member.clone().prop_map(Step::Heartbeat),
        1 => member.clone().prop_map(Step::Leave),
        1 => member.prop_map(Step::Vanish),
        2 => (0u64..30).prop_map(Step::Pass),
        1 => any::<bool>().prop_map(Step::Break),
    ]
}

/// A member as it sees itself.
#[derive(Debug, Clone, Default)]
struct Own {
    id: Option<String>,
    instance: Option<String>,
    local: bool,
    join: Option<ReplyId>,
    generation: i32,
}

struct Play {
    world: World,
    owns: Vec<Own>,
    ids: u64,
    asked: BTreeSet<ReplyId>,
}

impl Play {
    fn request(&self, m: usize) -> JoinGroup {
        let own = &self.owns[m];
        JoinGroup {
            member_id: own.id.clone().unwrap_or_default(),
            new_member_id: format!("m{m}-{}", self.ids),
            instance_id: own.instance.clone(),
            session_timeout: (!own.local).then_some(10 * SECOND),
            accepts_member_id: false,
            ..request("")
        }
    }

    fn join(&mut self, m: usize) {
        self.ids += 1;
        let request = self.request(m);
        let reply = self.world.join(request);
        self.asked.insert(reply);
        self.owns[m].join = Some(reply);
    }

    /// What members learn from the answers that have come.
    fn learn(&mut self) {
        for own in &mut self.owns {
            let Some(answer) = own.join.and_then(|reply| self.world.joins.get(&reply)) else {
                continue;
            };
            match answer {
                Ok(joined) => {
                    own.id = Some(joined.member_id.clone());
                    own.generation = joined.generation;
                }
                Err(_) => *own = Own::default(),
            }
            own.join = None;
        }
    }

    fn sync(&mut self, m: usize) {
        let own = self.owns[m].clone();
        let Some(id) = own.id else { return };
        let reply = self.world.reply();
        self.asked.insert(reply);
        let all: Vec<String> = self.world.group.members().keys().cloned().collect();
        let generation = own.generation;
        let assignments =
            all.iter().map(|id| (id.clone(), bytes(&format!("{id}@{generation}")))).collect();
        let member = MemberRef { member_id: id, instance_id: own.instance };
        let request =
            SyncGroup { member, generation, protocol_type: None, protocol: None, assignments };
        self.world.group.sync(self.world.now, reply, request);
        self.world.settle();
    }

    fn play(&mut self, step: Step) {
        match step {
            Step::Join(m, local) => {
                self.owns[usize::from(m)] = Own { local, ..Own::default() };
                self.join(m.into());
            }
            Step::JoinStatic(m) => {
                let instance = Some(format!("i{}", m % 3));
                self.owns[usize::from(m)] = Own { instance, ..Own::default() };
                self.join(m.into());
            }
            Step::Rejoin(m) => {
                if self.owns[usize::from(m)].id.is_some() {
                    self.join(m.into());
                }
            }
            Step::Sync(m) => self.sync(m.into()),
            Step::Heartbeat(m) | Step::Leave(m) => {
                let own = self.owns[usize::from(m)].clone();
                let Some(id) = own.id else { return };
                let member = MemberRef { member_id: id, instance_id: own.instance };
                let now = self.world.now;
                if let Step::Heartbeat(_) = step {
                    let _ = self.world.group.heartbeat(now, &member, own.generation);
                } else if self.world.group.leave(now, &member).is_ok() {
                    self.owns[usize::from(m)] = Own::default();
                }
                self.world.settle();
            }
            Step::Vanish(m) => {
                if let Some(id) = std::mem::take(&mut self.owns[usize::from(m)]).id {
                    self.world.group.vanish(self.world.now, &id);
                    self.world.settle();
                }
            }
            Step::Pass(seconds) => self.world.pass(Duration::from_secs(seconds)),
            Step::Break(broken) => self.world.stores = !broken,
        }
        self.learn();
    }

    fn check(&self, before: i32) {
        let group = &self.world.group;
        assert!(group.generation() >= before, "the generation went back");
        assert!(group.generation() - before <= 3);
        let is_empty = group.members().is_empty();
        match group.state() {
            GroupState::Empty => assert!(is_empty && group.leader().is_none()),
            GroupState::Stable | GroupState::CompletingRebalance => {
                assert!(group.members().contains_key(group.leader().unwrap()));
                assert_eq!(group.protocol(), Some("range"));
            }
            GroupState::PreparingRebalance => {
                assert!(group.next_deadline().is_some(), "it would wait for ever");
            }
            GroupState::Dead => unreachable!("nobody deletes it"),
        }
        if group.state() == GroupState::Stable {
            for (id, member) in group.members() {
                let given = String::from_utf8(member.assignment.to_vec()).unwrap();
                let expected = format!("@{}", group.generation());
                // A static member has what the one had whose place it took.
                let is_own = member.instance_id.is_some()
                    || given.starts_with(id.split('-').next().unwrap());
                assert!(given.is_empty() || (given.ends_with(&expected) && is_own), "{given}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn whatever_members_do(steps in prop::collection::vec(step(), 1..120)) {
        let mut play = Play {
            world: World::new(),
            owns: vec![Own::default(); 6],
            ids: 0,
            asked: BTreeSet::new(),
        };
        for step in steps {
            let before = play.world.group.generation();
            play.play(step);
            play.check(before);
        }
        // Given time, and nobody who vanished in silence, everybody has an answer.
        play.world.stores = true;
        play.world.pass(Duration::from_secs(1_000));
        let answered = play.world.joins.keys().chain(play.world.syncs.keys());
        let answered: BTreeSet<ReplyId> = answered.copied().collect();
        let open: Vec<&ReplyId> = play.asked.difference(&answered).collect();
        prop_assert!(open.is_empty(), "{open:?} wait for ever");
    }
}
