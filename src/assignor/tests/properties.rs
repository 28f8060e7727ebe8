//! What has to hold in any group, whatever its members claim.

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::Strategy as Generator;

use super::super::{Strategy, *};
use super::topic;

const TOPICS: [&str; 5] = ["Aa", "BB", "c", "d", "e"];

/// Members, and how many partitions each of [`TOPICS`] has.
#[derive(Debug, Clone)]
struct Group {
    members: Vec<Member>,
    counts: Vec<i32>,
}

impl Group {
    fn count(&self, topic: &TopicName) -> i32 {
        TOPICS.iter().position(|name| topic == name).map_or(0, |at| self.counts[at])
    }

    fn assign(&self, assignor: &mut Assignor) -> Vec<Vec<TopicPartition>> {
        assignor.assign(&self.members, |topic| self.count(topic))
    }

    /// All partitions of topics that somebody is subscribed to.
    fn partitions(&self) -> BTreeSet<TopicPartition> {
        let topics = self.members.iter().flat_map(|member| &member.subscription.topics);
        let all = topics.flat_map(|topic| {
            (0..self.count(topic))
                .map(|partition| TopicPartition { topic: topic.clone(), partition })
        });
        all.collect()
    }

    /// Members join again, each with what it was assigned.
    fn feed_back(&mut self, assigned: &[Vec<TopicPartition>], generation: i32) {
        for (member, assigned) in self.members.iter_mut().zip(assigned) {
            let mut assignor = Assignor::new(Strategy::Sticky);
            assignor.on_assignment(assigned, generation);
            member.subscription.user_data = assignor.user_data();
            member.subscription.owned_partitions = assigned.clone();
            member.subscription.generation = generation;
        }
    }

    fn has_one_subscription(&self) -> bool {
        let mut topics = self.members.iter().map(|member| &member.subscription.topics);
        let first = topics.next();
        topics.all(|topics| Some(topics) == first)
    }

    /// Whether no partition could better be somebody else's.
    fn is_balanced(&self, assigned: &[Vec<TopicPartition>]) -> bool {
        let mut least = BTreeMap::new();
        for (member, assigned) in self.members.iter().zip(assigned) {
            for topic in &member.subscription.topics {
                let least = least.entry(topic).or_insert(usize::MAX);
                *least = assigned.len().min(*least);
            }
        }
        let has_least = |partitions: &Vec<TopicPartition>| {
            partitions.iter().all(|partition| partitions.len() <= least[&partition.topic] + 1)
        };
        assigned.iter().all(has_least)
    }
}

/// Everybody's topics, as bits; everybody the same every other time.
fn subscriptions(members: usize) -> impl Generator<Value = Vec<u8>> {
    prop_oneof![(0u8..32).prop_map(move |bits| vec![bits; members]), vec(0u8..32, members)]
}

fn claimed() -> impl Generator<Value = Vec<TopicPartition>> {
    let partition = (0usize..5, -1i32..9)
        .prop_map(|(at, partition)| TopicPartition { topic: topic(TOPICS[at]), partition });
    vec(partition, 0..9)
}

fn user_data() -> impl Generator<Value = Option<Bytes>> {
    let sticky = (claimed(), -1i32..4)
        .prop_map(|(claimed, generation)| Some(user_data::sticky(&claimed, generation)));
    prop_oneof![Just(None), sticky, vec(any::<u8>(), 0..40).prop_map(|bytes| Some(bytes.into()))]
}

fn group() -> impl Generator<Value = Group> {
    (1usize..9).prop_flat_map(|size| {
        let claims = vec((claimed(), -1i32..4, user_data(), proptest::option::of(0u8..9)), size);
        (subscriptions(size), claims, vec(0i32..8, 5)).prop_map(|(subscribed, claims, counts)| {
            let members = subscribed.into_iter().zip(claims).enumerate();
            let members = members.map(|(at, (bits, (owned, generation, user_data, instance)))| {
                let topics = TOPICS.iter().enumerate().filter(|(at, _)| bits >> at & 1 == 1);
                let mut subscription = Subscription::to(topics.map(|(_, name)| topic(name)));
                subscription.owned_partitions = owned;
                subscription.generation = generation;
                subscription.user_data = user_data;
                Member {
                    id: format!("member-{}", at * 7919 % 100),
                    group_instance_id: instance.map(|number| format!("instance-{number}")),
                    subscription,
                }
            });
            Group { members: members.collect(), counts }
        })
    })
}

/// Nobody has what is not theirs to have, and no two have the same. Gives all that is assigned.
fn check(group: &Group, assigned: &[Vec<TopicPartition>]) -> BTreeSet<TopicPartition> {
    let mut all = BTreeSet::new();
    assert_eq!(assigned.len(), group.members.len());
    for (member, assigned) in group.members.iter().zip(assigned) {
        for partition in assigned {
            assert!(member.subscription.topics.contains(&partition.topic), "{partition}");
            assert!((0..group.count(&partition.topic)).contains(&partition.partition));
            assert!(all.insert(partition.clone()), "{partition} is assigned twice");
        }
    }
    all
}

fn sorted(mut assigned: Vec<Vec<TopicPartition>>) -> Vec<Vec<TopicPartition>> {
    assigned.iter_mut().for_each(|partitions| partitions.sort());
    assigned
}

proptest! {
    #[test]
    fn every_partition_is_assigned_to_one_subscriber(group in group(), at in 0usize..3) {
        let assigned = group.assign(&mut Assignor::new(Strategy::ALL[at]));
        prop_assert_eq!(check(&group, &assigned), group.partitions());
    }

    #[test]
    fn sticky_is_balanced_and_stays_as_it_is(mut group in group()) {
        let mut assignor = Assignor::new(Strategy::Sticky);
        let assigned = group.assign(&mut assignor);
        prop_assert!(group.is_balanced(&assigned), "{assigned:?}");
        group.feed_back(&assigned, 9);
        prop_assert_eq!(sorted(group.assign(&mut assignor)), sorted(assigned));
    }

    /// Where not all have the same subscription, giving what was taken away may make another
    /// partition move; it does in Java.
    #[test]
    fn cooperative_sticky_gives_in_the_second_round_what_it_takes_in_the_first(
        mut group in group(),
    ) {
        let mut assignor = Assignor::new(Strategy::CooperativeSticky);
        let mut assigned = group.assign(&mut assignor);
        check(&group, &assigned);
        let mut rounds = 1;
        while check(&group, &assigned) != group.partitions() || rounds < 2 {
            group.feed_back(&assigned, 9 + rounds);
            assigned = group.assign(&mut assignor);
            rounds += 1;
            let limit = if group.has_one_subscription() { 2 } else { 4 };
            prop_assert!(rounds <= limit, "{assigned:?}");
        }
        prop_assert!(group.is_balanced(&assigned), "{assigned:?}");
        group.feed_back(&assigned, 20);
        prop_assert_eq!(sorted(group.assign(&mut assignor)), sorted(assigned));
    }

    #[test]
    fn cooperative_sticky_leaves_to_its_owner_what_moves(mut group in group()) {
        let before = group.assign(&mut Assignor::new(Strategy::Range));
        group.feed_back(&before, 5);
        // One is new, so that something has to move.
        group.members[0].subscription.owned_partitions.clear();
        let after = group.assign(&mut Assignor::new(Strategy::CooperativeSticky));
        for (member, assigned) in group.members.iter().zip(&after) {
            for partition in assigned {
                let is_owner = |other: &&Member| {
                    other.subscription.owned_partitions.contains(partition)
                };
                let owner = group.members.iter().find(is_owner);
                prop_assert!(owner.is_none_or(|owner| owner.id == member.id), "{partition}");
            }
        }
    }
}
