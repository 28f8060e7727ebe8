//! `roundrobin`: all partitions of all topics in turn, one to each member.

use super::problem::Problem;

/// Members that are not subscribed to a partition's topic are passed over.
pub(super) fn assign(problem: &Problem<'_>) -> Vec<Vec<usize>> {
    let mut assigned = vec![Vec::new(); problem.members.len()];
    let mut circle = problem.members_static_first().into_iter().cycle();
    for partition in 0..problem.partition_count() {
        let topic = problem.topic_of(partition);
        // Ends, because every topic has a subscriber.
        if let Some(member) = circle.find(|&member| problem.is_subscribed(member, topic)) {
            assigned[member].push(partition);
        }
    }
    assigned
}
