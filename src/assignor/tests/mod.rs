//! The Java client's answers, and what has to hold whatever is asked.

mod properties;
mod vectors;

use super::*;

fn topic(name: &str) -> TopicName {
    name.parse().expect("is legal")
}

fn member(id: &str, topics: &[&str]) -> Member {
    let subscription = Subscription::to(topics.iter().map(|name| topic(name)));
    Member { id: id.to_owned(), group_instance_id: None, subscription }
}

/// With what it owned in a generation, as all strategies tell it.
fn owner(id: &str, topics: &[&str], owned: &[(&str, &[i32])], generation: i32) -> Member {
    let mut member = member(id, topics);
    let partitions = owned.iter().flat_map(|(name, partitions)| {
        partitions.iter().map(|&partition| TopicPartition { topic: topic(name), partition })
    });
    member.subscription.owned_partitions = partitions.collect();
    let mut assignor = Assignor::new(Strategy::Sticky);
    assignor.on_assignment(&member.subscription.owned_partitions, generation);
    member.subscription.user_data = assignor.user_data();
    member.subscription.generation = generation;
    member
}

fn assign(strategy: Strategy, members: &[Member], counts: &[(&str, i32)]) -> Vec<String> {
    let assigned = Assignor::new(strategy).assign(members, |topic| {
        let count = counts.iter().find(|(name, _)| topic == name);
        count.map_or(0, |(_, count)| *count)
    });
    assigned.iter().map(|partitions| format!("{partitions:?}")).collect()
}

#[test]
fn strategies_have_kafkas_names_and_protocols() {
    let names = Strategy::ALL.map(Strategy::name);
    assert_eq!(names, ["range", "roundrobin", "sticky", "cooperative-sticky"]);
    assert_eq!(Strategy::from_name("cooperative-sticky"), Some(Strategy::CooperativeSticky));
    assert_eq!(Strategy::from_name("Range"), None);
    use RebalanceProtocol::{Cooperative, Eager};
    assert!(Cooperative > Eager);
    assert_eq!(Strategy::Sticky.rebalance_protocols(), [Eager]);
    assert_eq!(Strategy::CooperativeSticky.rebalance_protocols(), [Cooperative, Eager]);
}

#[test]
fn no_members_and_no_topics_are_no_problem() {
    for strategy in Strategy::ALL {
        assert!(assign(strategy, &[], &[("t", 3)]).is_empty());
        assert_eq!(assign(strategy, &[member("m", &[])], &[("t", 3)]), ["[]"]);
        assert_eq!(assign(strategy, &[member("m", &["t"])], &[("t", -1)]), ["[]"]);
    }
}

#[test]
fn of_members_with_one_id_the_last_counts() {
    let members = [member("m", &["t"]), member("m", &["u"])];
    for strategy in Strategy::ALL {
        assert_eq!(assign(strategy, &members, &[("t", 1), ("u", 1)]), ["[]", "[u-0]"]);
    }
}

/// Java gives partitions to the first, if it comes first: it takes both for subscribed to "t".
#[test]
fn who_is_subscribed_to_nothing_gets_nothing() {
    let members = [member("a", &[]), member("b", &["t"])];
    for strategy in Strategy::ALL {
        assert_eq!(assign(strategy, &members, &[("t", 2)]), ["[]", "[t-0, t-1]"]);
    }
}

/// Java gives "t" back to the second, which is no longer subscribed to it.
#[test]
fn a_previous_owner_that_has_unsubscribed_gets_nothing_back() {
    let members = [
        owner("a", &["t", "u"], &[("t", &[0, 1, 2, 3])], 2),
        owner("b", &["u"], &[("t", &[0, 1, 2, 3])], 1),
        member("c", &["t"]),
    ];
    let assigned = assign(Strategy::Sticky, &members, &[("t", 4), ("u", 1)]);
    assert_eq!(assigned, ["[t-2, t-3]", "[u-0]", "[t-0, t-1]"]);
}

/// Java would let "a" keep what does not exist, and take it for its share.
#[test]
fn what_a_topic_does_not_have_is_not_kept() {
    let members =
        [owner("a", &["t"], &[("t", &[7, -1])], 1), owner("b", &["t"], &[("t", &[0])], 1)];
    for strategy in [Strategy::Sticky, Strategy::CooperativeSticky] {
        assert_eq!(assign(strategy, &members, &[("t", 2)]), ["[t-1]", "[t-0]"]);
    }
}

/// As Java does: the claims of "a" and "b" cancel out, and "b" would win over itself by its second
/// one, because its field says an older generation than its user data.
#[test]
fn who_repeats_a_claim_that_was_cancelled_does_not_get_it_back() {
    let mut second = owner("b", &["t", "u"], &[("t", &[0, 0])], 3);
    second.subscription.generation = 0;
    let members = [owner("a", &["t", "u"], &[("t", &[0])], 3), second, owner("c", &["u"], &[], 3)];
    let assigned = assign(Strategy::Sticky, &members, &[("t", 1), ("u", 2)]);
    assert_eq!(assigned, ["[t-0]", "[u-0]", "[u-1]"]);
}

/// Java's client does not come to an end here: it moves the same partitions in a circle.
#[test]
fn balancing_ends_where_java_goes_round_in_circles() {
    let members = [
        owner("mjl6", &["m"], &[("m", &[3, 5, 7, 9, 12, 15, 18, 21, 24])], 1),
        owner("mp1l", &["A", "m"], &[("m", &[10, 13, 16, 19, 22, 25, 0, 1, 2])], 1),
        owner("macx", &["m"], &[("m", &[4, 6, 8, 11, 14, 17, 20, 23, 26])], 1),
        owner("AaBB", &["A"], &[("A", &[0, 3, 6, 9, 4, 10])], 1),
        owner("\u{ffee}", &["A"], &[("A", &[2, 5, 8, 1, 7])], 1),
        member("consumer-1", &["A", "m"]),
    ];
    let counts = |name: &TopicName| if name == "A" { 11 } else { 27 };
    let assigned = Assignor::new(Strategy::Sticky).assign(&members, counts);
    let loads: Vec<usize> = assigned.iter().map(Vec::len).collect();
    assert_eq!(loads, [7, 7, 7, 6, 5, 6]);
}
