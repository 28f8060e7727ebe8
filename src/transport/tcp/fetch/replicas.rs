//! Which replica of a partition is read instead of its leader, because the leader has said so
//! (KIP-392). Pure: the time is an argument.

use std::collections::BTreeMap;

use tokio::time::Instant;

use crate::topic::TopicPartition;
use crate::transport::tcp::metadata::Leader;

/// The replicas that leaders send this reader to, until they are asked again.
#[derive(Debug, Default)]
pub(super) struct Preferred(BTreeMap<TopicPartition, Lease>);

#[derive(Debug)]
struct Lease {
    node: i32,
    /// Who has said so: another leader is asked anew.
    by: Leader,
    until: Instant,
}

impl Preferred {
    /// The leader sends its reader to `node`.
    pub(super) fn follow(&mut self, at: &TopicPartition, node: i32, by: Leader, until: Instant) {
        tracing::debug!(%at, node, leader = ?by.node, "read from a replica that is nearer");
        self.0.insert(at.clone(), Lease { node, by, until });
    }

    /// The replica to read, if it is not the leader.
    pub(super) fn of(&mut self, at: &TopicPartition, leader: Leader, now: Instant) -> Option<i32> {
        let lease = self.0.get(at)?;
        if lease.by == leader && now < lease.until {
            return Some(lease.node);
        }
        self.0.remove(at);
        None
    }

    /// Whether `node` is read instead of the leader.
    pub(super) fn is(&self, at: &TopicPartition, node: i32) -> bool {
        self.0.get(at).is_some_and(|lease| lease.node == node)
    }

    /// Nothing is to be had of `node`: the leader is asked. Whether that is another one.
    pub(super) fn forget(&mut self, at: &TopicPartition, node: i32) -> bool {
        let was_read = self.is(at, node);
        if was_read {
            tracing::debug!(%at, node, "the leader is asked again");
            self.0.remove(at);
        }
        was_read
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Duration;

    use super::*;

    #[test]
    fn a_replica_is_read_until_its_time_is_over_the_leader_changes_or_it_fails() {
        let at = TopicPartition::new("t", 0).unwrap();
        let (first, second) =
            (Leader { node: Some(1), epoch: 4 }, Leader { node: Some(1), epoch: 5 });
        let (now, age) = (Instant::now(), Duration::from_secs(300));
        let mut preferred = Preferred::default();
        assert_eq!(preferred.of(&at, first, now), None);
        preferred.follow(&at, 2, first, now + age);
        assert_eq!(preferred.of(&at, first, now + age / 2), Some(2));
        assert!(preferred.is(&at, 2) && !preferred.is(&at, 1));
        assert_eq!(preferred.of(&at, first, now + age), None, "its time is over");
        assert_eq!(preferred.of(&at, first, now), None, "for good");

        preferred.follow(&at, 2, first, now + age);
        assert_eq!(preferred.of(&at, second, now), None, "another leader has said nothing");

        preferred.follow(&at, 2, second, now + age);
        assert!(!preferred.forget(&at, 1), "somebody else has failed");
        assert_eq!(preferred.of(&at, second, now), Some(2));
        assert!(preferred.forget(&at, 2));
        assert_eq!(preferred.of(&at, second, now), None);
    }
}
