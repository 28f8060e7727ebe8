//! One rule each.

use crate::assignor::{Assignment, Subscription};
use crate::topic::TopicPartition;

use super::*;

fn rebalancing<T: std::fmt::Debug>(result: Result<T, GroupError>) {
    assert_eq!(result.unwrap_err(), GroupError::RebalanceInProgress);
}

fn unknown<T: std::fmt::Debug>(result: Result<T, GroupError>) {
    let error = result.unwrap_err();
    assert!(matches!(error, GroupError::UnknownMember { .. }), "{error:?}");
}

#[test]
fn one_member_leads_and_has_its_assignment() {
    let mut world = World::new();
    let joined = world.join(new_member("a"));
    let joined = world.joined(joined);
    assert_eq!((joined.generation, &*joined.leader, &*joined.protocol), (1, "a", "range"));
    assert_eq!(joined.members.len(), 1);
    let synced = world.sync("a", 1, &[("a", "all")]);
    assert_eq!(world.assigned(synced), bytes("all"));
    assert_eq!((world.group.state(), world.stored), (GroupState::Stable, 1));
    world.heartbeat("a", 1).unwrap();
    world.leave("a").unwrap();
    assert_eq!((world.group.state(), world.group.generation()), (GroupState::Empty, 2));
    unknown(world.heartbeat("a", 2));
}

#[test]
fn a_second_member_makes_the_first_join_again() {
    let mut world = World::new();
    world.join(new_member("a"));
    world.sync("a", 1, &[]);
    let b = world.join(new_member("b"));
    rebalancing(world.heartbeat("a", 1));
    assert!(!world.joins.contains_key(&b), "answered before all have joined");
    let a = world.join(request("a"));
    assert_eq!(world.joined(a).members.len(), 2);
    assert_eq!((world.joined(b).members.len(), &*world.joined(b).leader), (0, "a"));
    // The follower waits for the leader; who is not mentioned has nothing.
    let b = world.sync("b", 2, &[]);
    assert!(!world.syncs.contains_key(&b));
    let a = world.sync("a", 2, &[("a", "x")]);
    assert_eq!((world.assigned(a), world.assigned(b)), (bytes("x"), bytes("")));
    assert!(matches!(
        world.heartbeat("b", 1),
        Err(GroupError::IllegalGeneration { generation: 1, current: 2 })
    ));
    // Asking once more gives the same.
    let again = world.sync("a", 2, &[("a", "y")]);
    assert_eq!(world.assigned(again), bytes("x"));
}

#[test]
fn a_new_member_is_told_its_id_first_and_waited_for() {
    let mut world = World::new();
    world.join(new_member("a"));
    world.sync("a", 1, &[]);
    let told = world.join(JoinGroup { new_member_id: "b".to_owned(), ..request("") });
    let error = world.joins[&told].clone().unwrap_err();
    assert_eq!(error, GroupError::MemberIdRequired { member_id: "b".to_owned() });
    // Nothing has happened yet; but a rebalance now waits for it.
    world.heartbeat("a", 1).unwrap();
    let a = world.join(request("a"));
    assert!(!world.joins.contains_key(&a));
    let b = world.join(request("b"));
    assert_eq!((world.joined(a).generation, world.joined(b).generation), (2, 2));
}

#[test]
fn an_id_that_is_not_used_expires() {
    let mut world = World::new();
    world.join(new_member("a"));
    world.sync("a", 1, &[]);
    world.join(JoinGroup { new_member_id: "b".to_owned(), ..request("") });
    let a = world.join(request("a"));
    world.pass(9 * SECOND);
    assert!(!world.joins.contains_key(&a));
    world.pass(SECOND);
    assert_eq!(world.joined(a).generation, 2);
    let late = world.join(request("b"));
    unknown(world.joins[&late].clone());
}

#[test]
fn who_does_not_join_in_time_is_put_out() {
    let mut world = World::new();
    world.join(JoinGroup { session_timeout: None, ..new_member("a") });
    world.sync("a", 1, &[]);
    let b = world.join(new_member("b"));
    world.pass(59 * SECOND);
    assert!(!world.joins.contains_key(&b));
    world.pass(SECOND);
    let joined = world.joined(b);
    assert_eq!((joined.generation, &*joined.leader, joined.members.len()), (2, "b", 1));
    unknown(world.heartbeat("a", 1));
}

#[test]
fn who_does_not_sync_in_time_is_put_out() {
    let mut world = World::new();
    let local = |id| JoinGroup { session_timeout: None, ..new_member(id) };
    world.join(local("a"));
    world.sync("a", 1, &[]);
    let b = world.join(local("b"));
    world.join(JoinGroup { session_timeout: None, ..request("a") });
    assert_eq!(world.joined(b).generation, 2);
    let b = world.sync("b", 2, &[]);
    world.pass(60 * SECOND);
    // The leader brought nothing: the others are to join again.
    rebalancing(world.syncs[&b].clone());
    let b = world.join(request("b"));
    let joined = world.joined(b);
    assert_eq!((joined.generation, &*joined.leader), (3, "b"));
    unknown(world.heartbeat("a", 2));
}

#[test]
fn silence_ends_a_session_but_not_while_the_group_is_waited_for() {
    let mut world = World::new();
    world.join(new_member("a"));
    world.sync("a", 1, &[]);
    world.pass(9 * SECOND);
    world.heartbeat("a", 1).unwrap();
    world.pass(9 * SECOND);
    world.heartbeat("a", 1).unwrap();
    // b waits for a for longer than its session; a, which is silent, goes.
    let b = world.join(new_member("b"));
    world.pass(10 * SECOND);
    assert_eq!(world.joined(b).generation, 2);
    unknown(world.heartbeat("a", 1));
    let local = JoinGroup { session_timeout: None, ..new_member("c") };
    let c = world.join(local);
    let b = world.join(request("b"));
    assert_eq!((world.joined(b).generation, world.joined(c).generation), (3, 3));
    world.pass(5 * SECOND);
    world.sync("c", 3, &[]);
    let b = world.sync("b", 3, &[]);
    assert!(world.syncs[&b].is_ok());
    // In this process nobody is silent.
    world.pass(10 * SECOND);
    assert_eq!(world.group.members().keys().collect::<Vec<_>>(), ["c"]);
}

#[test]
fn a_member_that_vanishes_leaves_and_a_static_one_has_its_session() {
    let mut world = World::new();
    let local = |request: JoinGroup| JoinGroup { session_timeout: None, ..request };
    world.join(local(new_member("a")));
    world.sync("a", 1, &[]);
    world.join(local(static_member("s", "one")));
    world.join(local(request("a")));
    world.group.vanish(world.now, "a");
    world.settle();
    assert_eq!(world.group.state(), GroupState::PreparingRebalance);
    world.group.vanish(world.now, "s");
    world.pass(44 * SECOND);
    assert_eq!(world.group.members().len(), 1);
    world.pass(SECOND);
    assert_eq!((world.group.state(), world.group.members().len()), (GroupState::Empty, 0));
}

#[test]
fn a_static_member_comes_back_without_a_rebalance() {
    for accepts_skip in [true, false] {
        let mut world = World::new();
        world.join(static_member("s1", "one"));
        world.sync("s1", 1, &[("s1", "x")]);
        let back = world.join(JoinGroup { accepts_skip, ..static_member("s2", "one") });
        let joined = world.joined(back);
        assert_eq!((joined.generation, &*joined.member_id), (1, "s2"));
        let leads = (&*joined.leader == "s2", joined.skip_assignment, joined.members.len());
        assert_eq!(leads, (accepts_skip, accepts_skip, usize::from(accepts_skip)));
        let s2 = world.sync("s2", 1, &[]);
        assert_eq!(world.assigned(s2), bytes("x"));
        let fenced = GroupError::FencedInstanceId { instance_id: "one".to_owned() };
        let old = world.group.heartbeat(world.now, &fixed("s1", "one"), 1);
        assert_eq!(old.unwrap_err(), fenced);
        unknown(world.heartbeat("s1", 1));
        // It keeps its place for its session, however it leaves; an admin can put it out.
        world.group.leave(world.now, &fixed("", "one")).unwrap();
        world.settle();
        assert_eq!(world.group.state(), GroupState::Empty);
    }
}

/// What it was to give up would stay with nobody: under the cooperative protocol others get it once
/// its owner has joined again.
#[test]
fn a_static_member_comes_back_with_a_rebalance_if_the_former_had_to_give_up_partitions() {
    let partitions = |numbers: &[i32]| {
        let all = numbers.iter().map(|n| TopicPartition::new("t", *n).unwrap());
        all.collect::<Vec<_>>()
    };
    let owning = |id, numbers: &[i32]| {
        let subscription = Subscription {
            owned_partitions: partitions(numbers),
            ..Subscription::to(["t".parse().unwrap()])
        };
        let protocols = vec![("range".to_owned(), subscription.encode())];
        JoinGroup { protocols, ..static_member(id, "one") }
    };
    for (assigned, generation) in [(&[0][..], 2), (&[], 2), (&[1, 0], 1), (&[0, 1, 2], 1)] {
        let mut world = World::new();
        world.join(owning("s1", &[0, 1]));
        let user_data = Some(bytes(""));
        let assignment = Assignment { partitions: partitions(assigned), user_data }.encode();
        world.sync("s1", 1, &[("s1", std::str::from_utf8(&assignment).unwrap())]);
        let back = world.join(owning("s2", &[]));
        assert_eq!(world.joined(back).generation, generation, "{assigned:?}");
    }
}

#[test]
fn a_second_static_member_fences_the_first_that_still_waits() {
    let mut world = World::new();
    world.join(new_member("a"));
    world.sync("a", 1, &[]);
    let first = world.join(static_member("s1", "one"));
    let second = world.join(static_member("s2", "one"));
    let fenced = world.joins[&first].clone().unwrap_err();
    assert!(matches!(fenced, GroupError::FencedInstanceId { .. }));
    world.join(request("a"));
    assert_eq!(world.joined(second).generation, 2);
    assert_eq!(world.group.members().len(), 2);
}

#[test]
fn the_protocol_is_one_that_all_offer_and_most_prefer() {
    // What clients offer unless told otherwise.
    let java: &[&str] = &["range", "cooperative-sticky"];
    let librdkafka: &[&str] = &["range", "roundrobin"];
    let sarama: &[&str] = &["range"];
    let ours: &[&str] = &["cooperative-sticky"];
    let selected = |lists: &[&[&str]]| {
        let mut world = World::new();
        let names = ["a", "b", "c", "d"];
        let join = |world: &mut World, id: &str, protocols: &[&str]| {
            let known = world.group.members().contains_key(id);
            let who = if known { request(id) } else { new_member(id) };
            world.join(offering(who, protocols))
        };
        let mut last = 0;
        for (n, list) in lists.iter().enumerate() {
            last = join(&mut world, names[n], list);
            for (m, list) in lists[..n].iter().enumerate() {
                join(&mut world, names[m], list);
            }
        }
        world.joins[&last].clone().map(|joined| joined.protocol)
    };
    assert_eq!(selected(&[java, librdkafka, sarama]).unwrap(), "range");
    assert_eq!(selected(&[java, ours]).unwrap(), "cooperative-sticky");
    assert_eq!(selected(&[ours, java, java]).unwrap(), "cooperative-sticky");
    let error = selected(&[librdkafka, ours]).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("cooperative-sticky") && text.contains("roundrobin"), "{text}");
    // The majority decides among those that all offer.
    let (ab, ba): (&[&str], &[&str]) = (&["range", "sticky"], &["sticky", "range"]);
    assert_eq!(selected(&[ab, ba, ba]).unwrap(), "sticky");
    assert_eq!(selected(&[ab, ab, ba]).unwrap(), "range");
    // As many votes for each: the one that Java's HashMap has first.
    assert_eq!(selected(&[ab, ba]), selected(&[ba, ab]));
}

#[test]
fn another_type_and_no_protocols_are_refused() {
    let mut world = World::new();
    let none = world.join(offering(new_member("a"), &[]));
    assert!(matches!(world.joins[&none], Err(GroupError::InconsistentProtocol { .. })));
    world.join(new_member("a"));
    let other = JoinGroup { protocol_type: "connect".to_owned(), ..new_member("b") };
    let other = world.join(other);
    assert!(matches!(world.joins[&other], Err(GroupError::InconsistentProtocol { .. })));
    // Once it is empty, the group is anybody's.
    world.leave("a").unwrap();
    let connect = JoinGroup { protocol_type: "connect".to_owned(), ..new_member("b") };
    let connect = world.join(connect);
    assert_eq!(world.joined(connect).protocol_type, "connect");
    let request = SyncGroup {
        member: member("b"),
        generation: 3,
        protocol_type: Some("consumer".to_owned()),
        protocol: None,
        assignments: Vec::new(),
    };
    world.group.sync(world.now, 999, request);
    world.settle();
    assert!(matches!(world.syncs[&999], Err(GroupError::InconsistentProtocol { .. })));
}

#[test]
fn unchanged_followers_stay_and_leaders_start_a_rebalance() {
    let mut world = World::new();
    world.join(new_member("a"));
    world.sync("a", 1, &[]);
    world.join(new_member("b"));
    assert_eq!(world.stabilise(&["a", "b"]), 2);
    let b = world.join(request("b"));
    assert_eq!((world.joined(b).generation, world.group.state()), (2, GroupState::Stable));
    let b = world.join(offering(request("b"), &["range", "sticky"]));
    assert_eq!(world.group.state(), GroupState::PreparingRebalance);
    let a = world.join(request("a"));
    assert_eq!((world.joined(a).generation, world.joined(b).generation), (3, 3));
    // Who lost the answer asks again.
    let again = world.join(request("a"));
    assert_eq!((world.joined(again).generation, world.joined(again).members.len()), (3, 2));
    world.sync("b", 3, &[]);
    world.sync("a", 3, &[]);
    world.join(request("a"));
    assert_eq!(world.group.state(), GroupState::PreparingRebalance);
}

#[test]
fn what_could_not_be_stored_is_not_assigned() {
    let mut world = World::new();
    world.join(new_member("a"));
    world.stores = false;
    let a = world.sync("a", 1, &[("a", "x")]);
    rebalancing(world.syncs[&a].clone());
    assert_eq!(world.group.state(), GroupState::PreparingRebalance);
    world.stores = true;
    assert_eq!(world.stabilise(&["a"]), 2);
}

#[test]
fn a_new_group_waits_for_more_members_if_told_to() {
    let limits = GroupLimits { initial_rebalance_delay: 3 * SECOND, ..GroupLimits::default() };
    let mut world = World::with(limits);
    let a = world.join(new_member("a"));
    world.pass(2 * SECOND);
    let b = world.join(new_member("b"));
    world.pass(SECOND);
    assert!(world.joins.is_empty(), "someone came, so it waits once more");
    world.pass(3 * SECOND);
    assert_eq!((world.joined(a).generation, world.joined(b).generation), (1, 1));
    world.sync("b", 1, &[]);
    world.sync("a", 1, &[]);
    let c = world.join(new_member("c"));
    world.join(request("a"));
    world.join(request("b"));
    assert_eq!(world.joined(c).generation, 2);
}

#[test]
fn commits_need_the_generation_and_simple_ones_an_empty_group() {
    let mut world = World::new();
    let none = MemberRef::default();
    world.group.check_commit(world.now, &none, -1).unwrap();
    world.join(new_member("a"));
    let during = world.group.check_commit(world.now, &member("a"), 1);
    rebalancing(during);
    world.sync("a", 1, &[]);
    world.group.check_commit(world.now, &member("a"), 1).unwrap();
    unknown(world.group.check_commit(world.now, &none, -1));
    let old = world.group.check_commit(world.now, &member("a"), 0);
    assert!(matches!(old, Err(GroupError::IllegalGeneration { .. })));
    // While the group prepares to rebalance, those who still own partitions may commit.
    world.join(new_member("b"));
    world.group.check_commit(world.now, &member("a"), 1).unwrap();
    assert!(matches!(world.group.check_unused(), Err(GroupError::NonEmptyGroup { members: 2 })));
}

#[test]
fn limits_hold() {
    let limits = GroupLimits { max_members: 2, ..GroupLimits::default() };
    let mut world = World::with(limits);
    world.join(new_member("a"));
    world.sync("a", 1, &[]);
    world.join(new_member("b"));
    world.stabilise(&["a", "b"]);
    let c = world.join(new_member("c"));
    assert_eq!(world.joins[&c].clone().unwrap_err(), GroupError::GroupMaxSizeReached { limit: 2 });
    let short = JoinGroup { session_timeout: Some(SECOND), ..new_member("d") };
    let short = world.join(short);
    let error = world.joins[&short].clone().unwrap_err().to_string();
    assert_eq!(error, "session timeout of 1s: 6s to 1800s are allowed");
    world.heartbeat("a", 2).unwrap();
}

#[test]
fn generations_do_not_overflow() {
    let mut world = World::new();
    world.group.generation = i32::MAX - 1;
    world.join(JoinGroup { session_timeout: None, ..new_member("a") });
    world.sync("a", i32::MAX, &[]);
    let late = world.group.check_commit(world.now, &member("a"), i32::MAX - 2);
    assert!(matches!(late, Err(GroupError::IllegalGeneration { .. })));
    world.join(JoinGroup { session_timeout: None, ..new_member("b") });
    let a = world.join(JoinGroup { session_timeout: None, ..request("a") });
    assert_eq!(world.joined(a).generation, 1, "it begins again");
    let future = world.group.check_commit(world.now, &member("b"), i32::MAX);
    assert!(matches!(future, Err(GroupError::IllegalGeneration { .. })));
}
