//! What moved from whom to whom while balancing, so that two members do not swap partitions of the
//! same topic.

use std::collections::BTreeMap;

use super::super::java::{self, HashOrder};
use super::super::problem::Problem;

/// From one member to another.
type Pair = (usize, usize);

/// Where partitions were before they moved, and where they are.
#[derive(Default)]
pub(super) struct Movements {
    by_partition: BTreeMap<usize, Pair>,
    by_topic: BTreeMap<(usize, Pair), HashOrder<usize>>,
}

impl Movements {
    /// Which partition to move in place of `partition`: one of its topic that moved the other way,
    /// if there is one.
    pub(super) fn instead_of(
        &self,
        problem: &Problem<'_>,
        partition: usize,
        from: usize,
        to: usize,
    ) -> usize {
        let from = self.by_partition.get(&partition).map_or(from, |(first_from, _)| *first_from);
        let topic = problem.topic_of(partition);
        let reverse = self.by_topic.get(&(topic, (to, from)));
        reverse.and_then(HashOrder::first).copied().unwrap_or(partition)
    }

    pub(super) fn record(
        &mut self,
        problem: &Problem<'_>,
        partition: usize,
        from: usize,
        to: usize,
    ) {
        let topic = problem.topic_of(partition);
        let Some(before) = self.by_partition.remove(&partition) else {
            return self.add(problem, partition, (from, to));
        };
        if let Some(moved) = self.by_topic.get_mut(&(topic, before)) {
            moved.remove(&partition);
            if moved.is_empty() {
                self.by_topic.remove(&(topic, before));
            }
        }
        if before.0 != to {
            self.add(problem, partition, (before.0, to));
        }
    }

    fn add(&mut self, problem: &Problem<'_>, partition: usize, pair: Pair) {
        self.by_partition.insert(partition, pair);
        let topic = problem.topic_of(partition);
        let number = i32::try_from(problem.number_of(partition))
            .expect("the number of partitions is an i32");
        let topic_hash = java::string_hash(problem.topics[topic].name.as_str());
        let hash = java::topic_partition_hash(topic_hash, number);
        let moved = self.by_topic.entry((topic, pair)).or_insert_with(HashOrder::new);
        moved.put(hash, partition);
    }
}
