//! The question put in numbers: members, topics and partitions as indices, in the orders that the
//! strategies need.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use crate::topic::{TopicName, TopicPartition};

use super::Member;
use super::java::{self, HashOrder};

/// What is to be assigned to whom.
pub(super) struct Problem<'a> {
    /// In the order in which Java's map of subscriptions iterates. Elsewhere a member is an index
    /// into this.
    pub(super) members: Vec<&'a Member>,
    /// Those with partitions and subscribers, by name. Elsewhere a topic is an index into this.
    pub(super) topics: Vec<Topic<'a>>,
    /// Topics in the order in which Java's map of them iterates.
    pub(super) topics_as_hashed: Vec<usize>,
    /// Each member's topics, ascending; one twice if it is subscribed twice.
    pub(super) topics_of: Vec<Vec<usize>>,
    /// Each member's place if they are sorted by id.
    pub(super) rank_by_id: Vec<usize>,
    /// The topic of each partition. Partitions are numbered through, by topic and number.
    topic_of: Vec<usize>,
    /// Each member's place among those given.
    places: Vec<usize>,
    /// How many were given.
    given: usize,
}

/// A topic with at least one partition.
pub(super) struct Topic<'a> {
    pub(super) name: &'a TopicName,
    /// The index of its partition 0; the others follow.
    pub(super) first: usize,
    pub(super) partitions: usize,
    /// Ascending; one twice if it is subscribed twice.
    pub(super) subscribers: Vec<usize>,
}

impl<'a> Problem<'a> {
    pub(super) fn new(members: &'a [Member], count: impl Fn(&TopicName) -> i32) -> Self {
        let places = places_as_hashed(members);
        let given = members.len();
        let members: Vec<&Member> = places.iter().map(|&place| &members[place]).collect();
        let rank_by_id = ranks(&members, |a, b| java::compare(&a.id, &b.id));
        let (mut topics, topics_as_hashed) = topics(&members, count);
        let mut problem = Problem {
            topics_of: topics_of(&members, &mut topics),
            topic_of: number_partitions(&mut topics),
            members,
            topics,
            topics_as_hashed,
            rank_by_id,
            places,
            given,
        };
        for topics in &mut problem.topics_of {
            topics.sort_unstable();
        }
        problem
    }

    pub(super) fn partition_count(&self) -> usize {
        self.topic_of.len()
    }

    /// The topic of a partition.
    pub(super) fn topic_of(&self, partition: usize) -> usize {
        self.topic_of[partition]
    }

    /// A partition's number within its topic.
    pub(super) fn number_of(&self, partition: usize) -> usize {
        partition - self.topics[self.topic_of[partition]].first
    }

    /// The index of a partition, if there is one that somebody is subscribed to.
    pub(super) fn index_of(&self, partition: &TopicPartition) -> Option<usize> {
        let at = self.topics.binary_search_by(|topic| topic.name.cmp(&partition.topic)).ok()?;
        let number = usize::try_from(partition.partition).ok()?;
        let topic = &self.topics[at];
        (number < topic.partitions).then_some(topic.first + number)
    }

    pub(super) fn is_subscribed(&self, member: usize, topic: usize) -> bool {
        self.topics_of[member].binary_search(&topic).is_ok()
    }

    /// Static members by their instance id, then the others by their member id.
    pub(super) fn members_static_first(&self) -> Vec<usize> {
        let mut sorted: Vec<usize> = (0..self.members.len()).collect();
        sorted.sort_by(|&a, &b| static_first(self.members[a], self.members[b]));
        sorted
    }

    pub(super) fn in_the_order_given(&self, assigned: Vec<Vec<usize>>) -> Vec<Vec<TopicPartition>> {
        let mut result = vec![Vec::new(); self.given];
        for (member, partitions) in assigned.into_iter().enumerate() {
            result[self.places[member]] =
                partitions.into_iter().map(|partition| self.topic_partition(partition)).collect();
        }
        result
    }

    fn topic_partition(&self, partition: usize) -> TopicPartition {
        let topic = self.topics[self.topic_of[partition]].name.clone();
        let number = self.number_of(partition);
        TopicPartition {
            topic,
            partition: number.try_into().expect("the number of partitions is an i32"),
        }
    }
}

/// The places of the members that count, in the order of a `HashMap` into which they were put.
fn places_as_hashed(members: &[Member]) -> Vec<usize> {
    let mut last = BTreeMap::new();
    for (place, member) in members.iter().enumerate() {
        last.insert(member.id.as_str(), place);
    }
    let mut order = HashOrder::new();
    for member in members {
        // What is put a second time stays where it is, with a new value.
        if let Some(place) = last.remove(member.id.as_str()) {
            order.put(java::string_hash(&member.id), place);
        }
    }
    order.into_vec()
}

fn ranks(members: &[&Member], compare: impl Fn(&Member, &Member) -> Ordering) -> Vec<usize> {
    let mut sorted: Vec<usize> = (0..members.len()).collect();
    sorted.sort_by(|&a, &b| compare(members[a], members[b]));
    let mut ranks = vec![0; members.len()];
    for (rank, member) in sorted.into_iter().enumerate() {
        ranks[member] = rank;
    }
    ranks
}

fn static_first(a: &Member, b: &Member) -> Ordering {
    match (&a.group_instance_id, &b.group_instance_id) {
        (Some(a), Some(b)) => java::compare(a, b),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => java::compare(&a.id, &b.id),
    }
}

/// Topics that have partitions, by name; and their order in Java.
fn topics<'a>(
    members: &[&'a Member],
    count: impl Fn(&TopicName) -> i32,
) -> (Vec<Topic<'a>>, Vec<usize>) {
    // Java gathers the names in a set, and puts what exists into a map in that set's order.
    let mut names = HashOrder::new();
    let mut partitions_of = BTreeMap::new();
    for topic in members.iter().flat_map(|member| &member.subscription.topics) {
        if !partitions_of.contains_key(topic) {
            partitions_of.insert(topic, usize::try_from(count(topic)).unwrap_or(0));
            names.put(java::string_hash(topic.as_str()), topic);
        }
    }
    let mut existing = HashOrder::new();
    for topic in names.into_vec() {
        if partitions_of[topic] > 0 {
            existing.put(java::string_hash(topic.as_str()), topic);
        }
    }
    partitions_of.retain(|_, partitions| *partitions > 0);
    let places: BTreeMap<&TopicName, usize> =
        partitions_of.keys().enumerate().map(|(at, topic)| (*topic, at)).collect();
    let as_hashed = existing.into_vec().into_iter().map(|topic| places[topic]).collect();
    let topics = partitions_of.into_iter().map(|(name, partitions)| Topic {
        name,
        first: 0,
        partitions,
        subscribers: Vec::new(),
    });
    (topics.collect(), as_hashed)
}

/// Numbers the partitions of all topics through, and gives the topic of each.
fn number_partitions(topics: &mut [Topic<'_>]) -> Vec<usize> {
    let mut topic_of = Vec::new();
    for (at, topic) in topics.iter_mut().enumerate() {
        topic.first = topic_of.len();
        topic_of.resize(topic.first + topic.partitions, at);
    }
    topic_of
}

/// Notes subscribers and subscriptions to topics that have partitions.
fn topics_of(members: &[&Member], topics: &mut [Topic<'_>]) -> Vec<Vec<usize>> {
    let mut topics_of = vec![Vec::new(); members.len()];
    for (member, subscribed) in topics_of.iter_mut().enumerate() {
        for name in &members[member].subscription.topics {
            if let Ok(at) = topics.binary_search_by(|topic| topic.name.cmp(name)) {
                topics[at].subscribers.push(member);
                subscribed.push(at);
            }
        }
    }
    topics_of
}
