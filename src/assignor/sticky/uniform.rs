//! Sharing out where all members are subscribed to the same topics: everybody gets as many
//! partitions as everybody else, or one more.

use std::collections::VecDeque;

use super::super::problem::Problem;
use super::{Settled, Shares};

/// Members keep what they own up to their quota; the rest is dealt to those who have less.
pub(super) fn assign(problem: &Problem<'_>, settled: Settled) -> Shares {
    let members = problem.members.len();
    if members == 0 {
        return Shares { assigned: Vec::new(), moving: Some(Vec::new()) };
    }
    let mut dealer = Dealer {
        problem,
        quota: problem.partition_count() / members,
        to_be_richer: problem.partition_count() % members,
        poorer: Vec::new(),
        at_quota: VecDeque::new(),
        assigned: vec![Vec::new(); members],
        is_assigned: vec![false; problem.partition_count()],
        given_up_by: vec![None; problem.partition_count()],
        contested: settled.contested,
        moving: Vec::new(),
    };
    for (member, owned) in settled.owned.into_iter().enumerate() {
        dealer.keep_owned(member, owned);
    }
    dealer.deal_the_rest();
    Shares { assigned: dealer.assigned, moving: Some(dealer.moving) }
}

struct Dealer<'a> {
    problem: &'a Problem<'a>,
    /// What everybody gets.
    quota: usize,
    /// How many members are still to get one more.
    to_be_richer: usize,
    /// Members that have less than the quota.
    poorer: Vec<usize>,
    /// Members that have just the quota, and may get one more.
    at_quota: VecDeque<usize>,
    assigned: Vec<Vec<usize>>,
    is_assigned: Vec<bool>,
    /// Who had a partition that they may not keep.
    given_up_by: Vec<Option<usize>>,
    contested: Vec<bool>,
    moving: Vec<(usize, usize)>,
}

impl Dealer<'_> {
    fn keep_owned(&mut self, member: usize, mut owned: Vec<usize>) {
        owned.retain(|&partition| !self.contested[partition]);
        // By number first: who must give up gives up the highest numbers, of all topics.
        owned.sort_by_key(|&partition| {
            (self.problem.number_of(partition), self.problem.topic_of(partition))
        });
        let kept = if owned.len() < self.quota {
            self.poorer.push(member);
            owned.len()
        } else if owned.len() > self.quota && self.to_be_richer > 0 {
            self.to_be_richer -= 1;
            self.quota + 1
        } else {
            if self.to_be_richer > 0 {
                self.at_quota.push_back(member);
            }
            self.quota
        };
        for &partition in &owned[kept..] {
            self.given_up_by[partition] = Some(member);
        }
        owned.truncate(kept);
        for &partition in &owned {
            self.is_assigned[partition] = true;
        }
        self.assigned[member] = owned;
    }

    /// In turns to the poorer, until all are at the quota; then one to each who may have more.
    fn deal_the_rest(&mut self) {
        let rank = &self.problem.rank_by_id;
        self.poorer.sort_by_key(|&member| rank[member]);
        self.at_quota.make_contiguous().sort_by_key(|&member| rank[member]);
        let mut next = 0;
        for partition in 0..self.problem.partition_count() {
            if self.is_assigned[partition] {
                continue;
            }
            if next == self.poorer.len() {
                next = 0;
            }
            let poorer = self.poorer.get(next).copied();
            let Some(member) = poorer.or_else(|| self.at_quota.pop_front()) else {
                // Quotas add up to the number of partitions.
                return debug_assert!(false, "partitions left, and nobody to have them");
            };
            next += 1;
            self.give(partition, member);
            if self.assigned[member].len() == self.quota {
                next -= 1;
                self.poorer.remove(next);
                self.at_quota.push_back(member);
            }
        }
    }

    fn give(&mut self, partition: usize, member: usize) {
        self.assigned[member].push(partition);
        let had_another = self.given_up_by[partition].is_some_and(|owner| owner != member);
        if had_another || self.contested[partition] {
            self.moving.push((partition, member));
        }
    }
}
