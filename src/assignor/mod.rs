//! Who of a group reads what: members × partitions → an assignment, as Apache Kafka's Java client
//! computes it.
//!
//! A group's leader calls [`Assignor::assign`]; every member has an [`Assignor`] that remembers
//! what it was given. [`Subscription`] and [`Assignment`] are what members and leader tell each
//! other, by way of a coordinator that does not look inside.
//!
//! Pure: no task, no clock, no randomness, and the same input gives the same result on every
//! machine. The result is the one of kafka-clients 4.4, down to the order of partitions, because
//! the leader of a group may change between that client and this one. Where Java's result hangs on
//! the order in which a `HashMap` iterates, `java` reproduces that order.
//!
//! Different from Java, on purpose:
//! * Nobody is assigned a topic that they did not subscribe to. Java's sticky assignors do that if
//!   the first subscription that they look at has no topic, and the others are alike; and when a
//!   partition goes back to a member that had it in an older generation and is no longer
//!   subscribed (or fail with a `NullPointerException` there).
//! * A claim to a partition that the topic does not have is ignored. Java keeps it, and then
//!   assigns other partitions twice or fails.
//! * Balancing always ends. Java's, in rare groups of different subscriptions, does not.
//! * Racks are carried, but not looked at. Java looks at them if the replicas have some too.
//!
//! Different because it is out of reach: the order in a bucket of nine or more keys of a `HashMap`
//! of 64 buckets or more, which Java makes a tree of.
//!
//! Different because no Java client does it: a member that is subscribed to a topic twice. A name
//! that no topic can have is not subscribed to at all.

mod java;
mod problem;
mod protocol;
mod range;
mod round_robin;
mod sticky;
#[cfg(test)]
mod tests;
mod user_data;

use bytes::Bytes;

use crate::topic::{TopicName, TopicPartition};

use problem::Problem;
pub use protocol::{Assignment, ProtocolError, Subscription};

/// The generation of a member that is in none.
pub const NO_GENERATION: i32 = -1;

/// A rule for sharing out partitions: what Kafka's `partition.assignment.strategy` names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Strategy {
    /// Topic by topic, an equal run of partitions to each subscriber. The same partitions of
    /// topics of equal size go to the same member.
    Range,
    /// All partitions of all topics in turn, one to each member.
    RoundRobin,
    /// Balanced, and as little moved as that allows. All members stop for a rebalance.
    Sticky,
    /// As `Sticky`, but a partition that moves is first only taken away, and given to its new
    /// owner in a second rebalance. Nobody stops reading what they keep.
    CooperativeSticky,
}

impl Strategy {
    /// All there are.
    pub const ALL: [Strategy; 4] =
        [Strategy::Range, Strategy::RoundRobin, Strategy::Sticky, Strategy::CooperativeSticky];

    /// The protocol name by which a coordinator knows it.
    pub fn name(self) -> &'static str {
        match self {
            Strategy::Range => "range",
            Strategy::RoundRobin => "roundrobin",
            Strategy::Sticky => "sticky",
            Strategy::CooperativeSticky => "cooperative-sticky",
        }
    }

    /// The strategy of this protocol name.
    pub fn from_name(name: &str) -> Option<Self> {
        Strategy::ALL.into_iter().find(|strategy| strategy.name() == name)
    }

    /// How members may rebalance under it. A member uses the greatest that all of its strategies
    /// have in common.
    pub fn rebalance_protocols(self) -> &'static [RebalanceProtocol] {
        match self {
            Strategy::CooperativeSticky => {
                &[RebalanceProtocol::Cooperative, RebalanceProtocol::Eager]
            }
            _ => &[RebalanceProtocol::Eager],
        }
    }
}

/// What members do with what they own when a rebalance begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RebalanceProtocol {
    /// They give up everything.
    Eager,
    /// They keep it, and give up only what the new assignment takes from them.
    Cooperative,
}

/// One member of a group, as its leader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The id that the coordinator gave it.
    pub id: String,
    /// What a static member is called.
    pub group_instance_id: Option<String>,
    /// What it wants and has.
    pub subscription: Subscription,
}

/// A strategy, and what one consumer must remember of its own past under it.
#[derive(Debug, Clone)]
pub struct Assignor {
    strategy: Strategy,
    /// The latest assignment, if there was one.
    assigned: Option<Vec<TopicPartition>>,
    /// The generation of that assignment.
    generation: i32,
    /// The highest generation that a member claimed in any assignment made here.
    max_generation: i32,
}

impl Assignor {
    /// One that remembers nothing.
    pub fn new(strategy: Strategy) -> Self {
        Assignor {
            strategy,
            assigned: None,
            generation: NO_GENERATION,
            max_generation: NO_GENERATION,
        }
    }

    /// The strategy it follows.
    pub fn strategy(&self) -> Strategy {
        self.strategy
    }

    /// What this consumer's next [`Subscription::user_data`] is.
    pub fn user_data(&self) -> Option<Bytes> {
        match self.strategy {
            Strategy::Range | Strategy::RoundRobin => None,
            Strategy::Sticky => {
                self.assigned.as_ref().map(|assigned| user_data::sticky(assigned, self.generation))
            }
            Strategy::CooperativeSticky => Some(user_data::cooperative_sticky(self.generation)),
        }
    }

    /// This consumer was assigned `partitions` in `generation`.
    pub fn on_assignment(&mut self, partitions: &[TopicPartition], generation: i32) {
        self.generation = generation;
        if self.strategy == Strategy::Sticky {
            self.assigned = Some(partitions.to_vec());
        }
    }

    /// What each of `members` is to have, in their order.
    ///
    /// `partition_count` tells how many partitions a topic has, 0 if there is no such topic. Of
    /// members with the same id the last counts, and the others get nothing.
    ///
    /// The members' order is that of the coordinator's answer. It decides only between ids whose
    /// hashes fall together.
    pub fn assign(
        &mut self,
        members: &[Member],
        partition_count: impl Fn(&TopicName) -> i32,
    ) -> Vec<Vec<TopicPartition>> {
        let problem = Problem::new(members, partition_count);
        let assigned = match self.strategy {
            Strategy::Range => range::assign(&problem),
            Strategy::RoundRobin => round_robin::assign(&problem),
            Strategy::Sticky => sticky::assign(&problem, &mut self.max_generation),
            Strategy::CooperativeSticky => {
                sticky::assign_cooperatively(&problem, &mut self.max_generation)
            }
        };
        problem.in_the_order_given(assigned)
    }
}
