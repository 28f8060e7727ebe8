//! `sticky` and `cooperative-sticky`: balanced, and as little moved as that allows.
//!
//! Members say what they have ([`Claim`]); [`settle`] decides who really had what. Then one of two
//! algorithms shares out: `uniform` if all members are subscribed to the same topics, `general` if
//! not. `cooperative-sticky` lastly takes out again what moves.

mod general;
mod movements;
mod uniform;

use std::borrow::Cow;
use std::cmp::Ordering;

use crate::topic::TopicPartition;

use super::problem::Problem;
use super::{Member, NO_GENERATION, user_data};

/// Members take what they had from their user data: under the eager protocol they own nothing when
/// they join.
pub(super) fn assign(problem: &Problem<'_>, max_generation: &mut i32) -> Vec<Vec<usize>> {
    share_out(problem, &claims(problem, in_user_data), max_generation).assigned
}

/// What moves is in nobody's assignment: its owner gives it up, and joins again.
pub(super) fn assign_cooperatively(
    problem: &Problem<'_>,
    max_generation: &mut i32,
) -> Vec<Vec<usize>> {
    let shares = share_out(problem, &claims(problem, in_fields), max_generation);
    let mut assigned = shares.assigned;
    let moving = shares.moving.unwrap_or_else(|| moving(problem, &assigned));
    for (partition, member) in moving {
        assigned[member].retain(|&other| other != partition);
    }
    assigned
}

/// What a member says that it has.
struct Claim {
    /// Those that exist, in the member's order.
    partitions: Vec<usize>,
    generation: i32,
}

/// An assignment, and how it differs from the one before.
struct Shares {
    assigned: Vec<Vec<usize>>,
    /// Partitions that somebody else had, and who is to have them; unless it is not known.
    moving: Option<Vec<(usize, usize)>>,
}

fn claims(
    problem: &Problem<'_>,
    read: fn(&Member) -> (Cow<'_, [TopicPartition]>, i32),
) -> Vec<Claim> {
    let claim = |member: &&Member| {
        let (partitions, generation) = read(member);
        let existing = partitions.iter().filter_map(|partition| problem.index_of(partition));
        Claim { partitions: existing.collect(), generation }
    };
    problem.members.iter().map(claim).collect()
}

fn in_user_data(member: &Member) -> (Cow<'_, [TopicPartition]>, i32) {
    let user_data = member.subscription.user_data.as_deref().unwrap_or_default();
    let (partitions, generation) = user_data::read_sticky(user_data);
    (partitions.into(), generation)
}

/// Members of before version 2 of the subscription tell the generation in their user data.
fn in_fields(member: &Member) -> (Cow<'_, [TopicPartition]>, i32) {
    let subscription = &member.subscription;
    let generation = match subscription.generation {
        ..0 => {
            let user_data = subscription.user_data.as_deref().unwrap_or_default();
            user_data::read_cooperative_sticky(user_data)
        }
        generation => generation,
    };
    (subscription.owned_partitions.as_slice().into(), generation)
}

fn share_out(problem: &Problem<'_>, claims: &[Claim], max_generation: &mut i32) -> Shares {
    let claimed = claims.iter().map(|claim| claim.generation).max();
    *max_generation = claimed.unwrap_or(NO_GENERATION).max(*max_generation);
    let settled = settle(problem, claims);
    if has_one_subscription(problem) {
        uniform::assign(problem, settled)
    } else {
        let previous = general::previous_owners(problem, claims, *max_generation);
        Shares { assigned: general::assign(problem, settled.owned, previous), moving: None }
    }
}

/// Who has what, after claims have been weighed.
struct Settled {
    /// Of each member; no partition twice.
    owned: Vec<Vec<usize>>,
    /// Partitions that two members claimed in the same generation, so that at first neither had
    /// it. A third, of a later generation, may.
    contested: Vec<bool>,
}

/// A claim in a later generation wins; two in the same cancel out. Members are looked at in turn.
fn settle(problem: &Problem<'_>, claims: &[Claim]) -> Settled {
    /// The latest word on one partition.
    #[derive(Clone, Copy)]
    struct Latest {
        claimant: usize,
        /// The claim that stands, by its number; none if two cancelled out.
        standing: Option<usize>,
    }
    let mut latest: Vec<Option<Latest>> = vec![None; problem.partition_count()];
    let mut contested = vec![false; problem.partition_count()];
    let all = claims.iter().enumerate().flat_map(|(claimant, claim)| {
        claim.partitions.iter().map(move |&partition| (claimant, partition))
    });
    for (number, (claimant, partition)) in all.clone().enumerate() {
        let standing = match latest[partition] {
            None => Some(number),
            Some(earlier) => {
                // Java asks the field here, whatever the strategy reads else.
                let field = problem.members[earlier.claimant].subscription.generation;
                let earlier_generation = field.max(NO_GENERATION);
                match claims[claimant].generation.cmp(&earlier_generation) {
                    Ordering::Less => continue,
                    Ordering::Equal => {
                        contested[partition] = true;
                        None
                    }
                    // Who repeats a claim that was cancelled does not get it back.
                    Ordering::Greater if claimant == earlier.claimant => {
                        earlier.standing.map(|_| number)
                    }
                    Ordering::Greater => Some(number),
                }
            }
        };
        latest[partition] = Some(Latest { claimant, standing });
    }
    let mut owned = vec![Vec::new(); claims.len()];
    for (number, (claimant, partition)) in all.enumerate() {
        if latest[partition].is_some_and(|latest| latest.standing == Some(number)) {
            owned[claimant].push(partition);
        }
    }
    Settled { owned, contested }
}

/// Whether all members are subscribed to the same topics, existing or not.
fn has_one_subscription(problem: &Problem<'_>) -> bool {
    let mut subscriptions = problem.members.iter().map(|member| &member.subscription.topics);
    let Some(first) = subscriptions.next() else { return true };
    let mut names: Vec<_> = first.iter().collect();
    names.sort_unstable();
    names.dedup();
    subscriptions.all(|topics| {
        topics.len() == names.len()
            && topics.iter().all(|topic| names.binary_search(&topic).is_ok())
    })
}

/// Partitions that are assigned to somebody who did not have them, while somebody else did.
fn moving(problem: &Problem<'_>, assigned: &[Vec<usize>]) -> Vec<(usize, usize)> {
    let mut assignee = vec![usize::MAX; problem.partition_count()];
    for (member, partitions) in assigned.iter().enumerate() {
        for &partition in partitions {
            assignee[partition] = member;
        }
    }
    let mut is_kept = vec![false; assignee.len()];
    let mut is_revoked = vec![false; assignee.len()];
    for (member, owner) in problem.members.iter().enumerate() {
        for partition in &owner.subscription.owned_partitions {
            let Some(partition) = problem.index_of(partition) else { continue };
            let kept = assignee[partition] == member;
            is_kept[partition] |= kept;
            is_revoked[partition] |= !kept;
        }
    }
    let all = assignee.into_iter().enumerate();
    all.filter(|&(partition, _)| is_revoked[partition] && !is_kept[partition]).collect()
}
