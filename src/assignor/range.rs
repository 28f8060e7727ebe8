//! `range`: topic by topic, an equal run of partitions to each subscriber.

use super::problem::Problem;

/// The first subscribers, static ones before the others, get one partition more if they do not
/// come out even.
pub(super) fn assign(problem: &Problem<'_>) -> Vec<Vec<usize>> {
    let mut place = vec![0; problem.members.len()];
    for (at, member) in problem.members_static_first().into_iter().enumerate() {
        place[member] = at;
    }
    let mut assigned = vec![Vec::new(); problem.members.len()];
    for &topic in &problem.topics_as_hashed {
        let topic = &problem.topics[topic];
        let mut subscribers = topic.subscribers.clone();
        subscribers.sort_unstable_by_key(|&member| place[member]);
        subscribers.dedup();

        let each = topic.partitions / subscribers.len();
        let extra = topic.partitions % subscribers.len();
        let mut next = topic.first;
        for (at, member) in subscribers.into_iter().enumerate() {
            let run = each + usize::from(at < extra);
            assigned[member].extend(next..next + run);
            next += run;
        }
    }
    assigned
}
