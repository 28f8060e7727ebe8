//! Sharing out where members are subscribed to different topics.
//!
//! Everybody keeps what they own and are still subscribed to; the rest goes, topic by topic, to the
//! subscriber that has least; then partitions move from who has more to who has less, as long as
//! that makes the difference smaller. Better balanced than this it cannot be made by moving one
//! partition. (But Java moves another of the same topic instead, if that undoes an earlier move.)

use std::cmp::Reverse;

use super::super::problem::Problem;
use super::Claim;
use super::movements::Movements;

const NOBODY: usize = usize::MAX;

/// Rounds of balancing after which partitions are no longer moved in place of others. That is how
/// Java, in rare groups, goes round in a circle for ever; where it does not, a handful is enough.
const ROUNDS_LIKE_JAVA: usize = 100;

/// Who last had each partition in an older generation than the latest.
pub(super) fn previous_owners(
    problem: &Problem<'_>,
    claims: &[Claim],
    max_generation: i32,
) -> Vec<usize> {
    let mut previous = vec![(NOBODY, i32::MIN); problem.partition_count()];
    for (member, claim) in claims.iter().enumerate() {
        if claim.generation >= max_generation {
            continue;
        }
        for &partition in &claim.partitions {
            let (owner, generation) = previous[partition];
            if owner == NOBODY || claim.generation > generation {
                previous[partition] = (member, claim.generation);
            }
        }
    }
    previous.into_iter().map(|(member, _)| member).collect()
}

pub(super) fn assign(
    problem: &Problem<'_>,
    owned: Vec<Vec<usize>>,
    previous: Vec<usize>,
) -> Vec<Vec<usize>> {
    let mut balancer = Balancer {
        problem,
        assigned: owned,
        owner: vec![NOBODY; problem.partition_count()],
        previous,
        movements: Movements::default(),
        unbalanced: 0,
        is_balanced: None,
    };
    let has_revoked = balancer.revoke_unsubscribed();
    let is_first = balancer.assigned.iter().all(Vec::is_empty);
    let mut unassigned = balancer.by_choice();
    unassigned.retain(|&partition| balancer.owner[partition] == NOBODY);
    for &partition in &unassigned {
        balancer.assign_to_least_loaded(partition);
    }

    let before = balancer.assigned.clone();
    let has_part = balancer.members_with_choice();
    unassigned.retain(|&partition| balancer.has_choice(partition));
    if !has_revoked {
        balancer.balance(&unassigned);
    }
    let mut all = balancer.by_choice();
    all.retain(|&partition| balancer.has_choice(partition));
    let has_moved = balancer.balance(&all);
    let imbalance = |assigned| imbalance(assigned, &has_part);
    if !is_first && has_moved && imbalance(&balancer.assigned) >= imbalance(&before) {
        return before;
    }
    balancer.assigned
}

struct Balancer<'a> {
    problem: &'a Problem<'a>,
    assigned: Vec<Vec<usize>>,
    /// The member that each partition is assigned to, or [`NOBODY`].
    owner: Vec<usize>,
    /// See [`previous_owners`].
    previous: Vec<usize>,
    movements: Movements,
    /// The topic that was last found to be unbalanced: it often still is.
    unbalanced: usize,
    /// Whether it is balanced, if that has been looked at since the last move.
    is_balanced: Option<bool>,
}

impl Balancer<'_> {
    /// Takes from members what they are no longer subscribed to. Says whether there was any.
    fn revoke_unsubscribed(&mut self) -> bool {
        let mut has_revoked = false;
        for (member, partitions) in self.assigned.iter_mut().enumerate() {
            let owned = partitions.len();
            partitions.retain(|&partition| {
                self.problem.is_subscribed(member, self.problem.topic_of(partition))
            });
            has_revoked |= partitions.len() < owned;
            for &partition in partitions.iter() {
                self.owner[partition] = member;
            }
        }
        has_revoked
    }

    /// All partitions, those with the fewest subscribers first.
    fn by_choice(&self) -> Vec<usize> {
        let mut topics: Vec<_> = self.problem.topics.iter().collect();
        // The sort is stable: equal ones stay in the order of their names.
        topics.sort_by_key(|topic| topic.subscribers.len());
        topics.into_iter().flat_map(|topic| topic.first..topic.first + topic.partitions).collect()
    }

    /// Whether more than one member may have it.
    fn has_choice(&self, partition: usize) -> bool {
        self.problem.topics[self.problem.topic_of(partition)].subscribers.len() >= 2
    }

    fn load(&self, member: usize) -> usize {
        self.assigned[member].len()
    }

    /// The subscriber of a topic that has least; of equal ones the first by id.
    fn least_loaded(&self, topic: usize) -> usize {
        let subscribers = self.problem.topics[topic].subscribers.iter().copied();
        subscribers
            .min_by_key(|&member| (self.load(member), self.problem.rank_by_id[member]))
            .expect("a topic in a problem has a subscriber")
    }

    fn assign_to_least_loaded(&mut self, partition: usize) {
        let member = self.least_loaded(self.problem.topic_of(partition));
        self.assigned[member].push(partition);
        self.owner[partition] = member;
    }

    /// Moves partitions until that makes nothing better. Says whether any moved.
    ///
    /// Ends, because in the end every move makes the sum of the squared loads smaller.
    fn balance(&mut self, partitions: &[usize]) -> bool {
        let mut rounds = 0;
        while self.balance_once(partitions, rounds < ROUNDS_LIKE_JAVA) {
            rounds += 1;
        }
        rounds > 0
    }

    fn balance_once(&mut self, partitions: &[usize], with_substitutes: bool) -> bool {
        let mut has_moved = false;
        for &partition in partitions {
            if self.is_balanced() {
                break;
            }
            if let Some(member) = self.better_owner(partition) {
                let moved = match with_substitutes {
                    true => self.substitute(partition, member),
                    false => partition,
                };
                self.move_one(moved, member);
                has_moved = true;
            }
        }
        has_moved
    }

    /// Who had it before, or else who has least; if that makes the difference smaller.
    fn better_owner(&self, partition: usize) -> Option<usize> {
        let topic = self.problem.topic_of(partition);
        let load = self.load(self.owner[partition]);
        let is_better = |member: &usize| load > self.load(*member) + 1;
        let previous = Some(self.previous[partition])
            .filter(|&member| member != NOBODY && self.problem.is_subscribed(member, topic));
        previous.filter(is_better).or_else(|| Some(self.least_loaded(topic)).filter(is_better))
    }

    /// The partition itself, or another of its topic that has to be moved in its place.
    fn substitute(&self, partition: usize, to: usize) -> usize {
        self.movements.instead_of(self.problem, partition, self.owner[partition], to)
    }

    fn move_one(&mut self, partition: usize, to: usize) {
        let from = self.owner[partition];
        self.movements.record(self.problem, partition, from, to);
        self.assigned[from].retain(|&other| other != partition);
        self.assigned[to].push(partition);
        self.owner[partition] = to;
        self.is_balanced = None;
    }

    /// Whether no partition could go to a subscriber that would then still have less than its
    /// owner has now.
    fn is_balanced(&mut self) -> bool {
        if let Some(known) = self.is_balanced {
            return known;
        }
        let topics = 0..self.problem.topics.len();
        let is_unbalanced = |topic: &usize| self.is_topic_unbalanced(*topic);
        let found = Some(self.unbalanced)
            .filter(|topic| topics.contains(topic) && is_unbalanced(topic))
            .or_else(|| topics.clone().find(is_unbalanced));
        self.unbalanced = found.unwrap_or(self.unbalanced);
        *self.is_balanced.insert(found.is_none())
    }

    fn is_topic_unbalanced(&self, topic: usize) -> bool {
        let least = self.load(self.least_loaded(topic));
        let topic = &self.problem.topics[topic];
        let mut owners = self.owner[topic.first..][..topic.partitions].iter();
        owners.any(|&owner| self.load(owner) > least + 1)
    }

    /// Members that could have more, or have something that somebody else could.
    fn members_with_choice(&self) -> Vec<usize> {
        let has_choice = |&member: &usize| {
            self.load(member) < self.most(member)
                || self.assigned[member].iter().any(|&partition| self.has_choice(partition))
        };
        (0..self.assigned.len()).filter(has_choice).collect()
    }

    /// How many partitions a member could have at most.
    fn most(&self, member: usize) -> usize {
        let topics = self.problem.topics_of[member].iter();
        topics.map(|&topic| self.problem.topics[topic].partitions).sum()
    }
}

/// The sum of the differences between every two of `members`.
fn imbalance(assigned: &[Vec<usize>], members: &[usize]) -> u64 {
    let mut loads: Vec<u64> = members.iter().map(|&member| assigned[member].len() as u64).collect();
    loads.sort_unstable_by_key(|&load| Reverse(load));
    let others = (0..loads.len() as u64).rev();
    let mut below: u64 = loads.iter().sum();
    let differences = loads.into_iter().zip(others).map(|(load, others)| {
        below -= load;
        load * others - below
    });
    differences.sum()
}
