//! Which topics a consumer wants, and what their coming and going means for it. Pure: it compares
//! what it knew of the topics with what is known of them now.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use regex_lite::Regex;

use crate::error::{Error, Result};
use crate::topic::{TopicId, TopicName, TopicPartition};
use crate::transport::TopicMetadata;

/// The topics that a consumer named, by `subscribe` or by `assign`.
#[derive(Debug)]
pub(super) struct Subscription {
    topics: BTreeMap<TopicName, Topic>,
    /// Whether new partitions, and topics that are created again, are read as well.
    follows: bool,
    /// What the names of all topics that are read look like, if it is that way that they are named.
    pattern: Option<Pattern>,
}

/// What the whole of a topic's name has to look like.
#[derive(Debug)]
pub(super) struct Pattern(Regex);

impl Pattern {
    pub(super) fn new(pattern: &str) -> Result<Self> {
        let whole = format!("^(?:{pattern})$");
        // Alone first: a pattern that closes the group is none.
        let regex = Regex::new(pattern).and_then(|_| Regex::new(&whole));
        regex.map(Pattern).map_err(|error| {
            let text = format!("pattern {pattern:?} is no regular expression: {error}");
            Error::InvalidState(text)
        })
    }

    pub(super) fn matches(&self, topic: &str) -> bool {
        self.0.is_match(topic)
    }
}

/// What was last known of a topic.
#[derive(Debug)]
struct Topic {
    id: TopicId,
    partitions: i32,
    /// Deleted. The id stays: late news of it must not look like a new life.
    lost: bool,
}

/// What a consumer must do now.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Stop reading all partitions of the topic, and tell the user.
    Lost(TopicName),
    /// Read the partition from its beginning.
    Added(TopicPartition, TopicId),
}

impl Subscription {
    /// Follows these topics: all partitions, also those to come.
    pub(super) fn to_topics<'a>(topics: impl Iterator<Item = &'a TopicMetadata>) -> Self {
        Subscription::new(topics, true)
    }

    /// Follows these topics, and all others with such names.
    pub(super) fn to_pattern<'a>(
        pattern: Pattern,
        topics: impl Iterator<Item = &'a TopicMetadata>,
    ) -> Self {
        Subscription { pattern: Some(pattern), ..Subscription::new(topics, true) }
    }

    /// Fixed partitions of these topics.
    pub(super) fn to_partitions<'a>(topics: impl Iterator<Item = &'a TopicMetadata>) -> Self {
        Subscription::new(topics, false)
    }

    fn new<'a>(topics: impl Iterator<Item = &'a TopicMetadata>, follows: bool) -> Self {
        let known = |topic: &TopicMetadata| Topic {
            id: topic.id,
            partitions: topic.partitions,
            lost: false,
        };
        let topics = topics.map(|topic| (topic.name.clone(), known(topic))).collect();
        Subscription { topics, follows, pattern: None }
    }

    /// Whether partitions can still come.
    pub(super) fn follows(&self) -> bool {
        self.follows
    }

    /// Whether topics were named one by one: then one that goes is missed.
    pub(super) fn names_topics(&self) -> bool {
        self.pattern.is_none()
    }

    /// The topics, but for those that are gone.
    pub(super) fn names(&self) -> Vec<TopicName> {
        let there = self.topics.iter().filter(|(_, topic)| !topic.lost);
        there.map(|(name, _)| name.clone()).collect()
    }

    /// Notes that this life of a topic is over; false if that was known.
    pub(super) fn lose(&mut self, topic: &TopicName, id: TopicId) -> bool {
        match self.topics.get_mut(topic).filter(|known| known.id == id) {
            Some(known) => !std::mem::replace(&mut known.lost, true),
            None => false,
        }
    }

    /// Compares with what is `known` now of a topic, and with `all` topics where it matters.
    pub(super) fn refresh(
        &mut self,
        known: impl Fn(&str) -> Option<Arc<TopicMetadata>>,
        all: impl FnOnce() -> Vec<Arc<TopicMetadata>>,
    ) -> Vec<Change> {
        let mut changes = self.refresh_known(&known);
        if let Some(pattern) = &self.pattern {
            self.topics.retain(|name, topic| !topic.lost || known(name.as_str()).is_some());
            for topic in all() {
                if pattern.matches(topic.name.as_str()) && !self.topics.contains_key(&topic.name) {
                    let name = topic.name.clone();
                    let (id, partitions) = (topic.id, topic.partitions);
                    changes.extend(added(&name, id, 0..partitions));
                    self.topics.insert(name, Topic { id, partitions, lost: false });
                }
            }
        }
        changes
    }

    fn refresh_known(
        &mut self,
        known: &impl Fn(&str) -> Option<Arc<TopicMetadata>>,
    ) -> Vec<Change> {
        let mut changes = Vec::new();
        for (name, topic) in &mut self.topics {
            let now = known(name.as_str());
            let same_life = now.as_ref().is_some_and(|now| now.id == topic.id);
            if !same_life && !std::mem::replace(&mut topic.lost, true) {
                changes.push(Change::Lost(name.clone()));
            }
            let Some(now) = now.filter(|_| self.follows) else { continue };
            if same_life && topic.lost {
                continue;
            }
            let from = if same_life { topic.partitions } else { 0 };
            changes.extend(added(name, now.id, from..now.partitions));
            let partitions = now.partitions.max(from);
            *topic = Topic { id: now.id, partitions, lost: false };
        }
        changes
    }
}

fn added(
    name: &TopicName,
    id: TopicId,
    partitions: Range<i32>,
) -> impl Iterator<Item = Change> + use<> {
    let name = name.clone();
    partitions
        .map(move |partition| Change::Added(TopicPartition { topic: name.clone(), partition }, id))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(id: u8, partitions: i32) -> TopicMetadata {
        TopicMetadata {
            name: TopicName::parse("t").unwrap(),
            id: TopicId([id; 16]),
            partitions,
            max_batch_bytes: 1 << 20,
            max_batch_setting: "max.message.bytes",
            needs_keys: false,
            compression: None,
        }
    }

    fn refresh(subscription: &mut Subscription, now: Option<TopicMetadata>) -> Vec<String> {
        let changes = subscription.refresh(|_| now.clone().map(Arc::new), Vec::new);
        let text = |change| match change {
            Change::Lost(topic) => format!("lost {topic}"),
            Change::Added(at, id) => format!("{at} of {}", id.0[0]),
        };
        changes.into_iter().map(text).collect()
    }

    const NONE: [&str; 0] = [];

    #[test]
    fn a_subscription_follows_growth_loss_and_return() {
        let mut wanted = Subscription::to_topics([topic(1, 1)].iter());
        assert_eq!(refresh(&mut wanted, Some(topic(1, 1))), NONE);
        assert_eq!(refresh(&mut wanted, Some(topic(1, 3))), ["t-1 of 1", "t-2 of 1"]);
        assert_eq!(refresh(&mut wanted, None), ["lost t"]);
        assert_eq!(refresh(&mut wanted, None), NONE);
        assert_eq!(refresh(&mut wanted, Some(topic(2, 1))), ["t-0 of 2"]);
        assert_eq!(refresh(&mut wanted, Some(topic(3, 1))), ["lost t", "t-0 of 3"]);
    }

    #[test]
    fn late_news_of_a_lost_topic_does_not_bring_it_back() {
        let mut wanted = Subscription::to_topics([topic(1, 1)].iter());
        let name = TopicName::parse("t").unwrap();
        assert!(wanted.lose(&name, TopicId([1; 16])));
        assert!(!wanted.lose(&name, TopicId([1; 16])));
        assert_eq!(refresh(&mut wanted, Some(topic(1, 1))), NONE);
        assert_eq!(refresh(&mut wanted, None), NONE);
        assert_eq!(refresh(&mut wanted, Some(topic(2, 1))), ["t-0 of 2"]);
        assert!(!wanted.lose(&name, TopicId([1; 16])), "of a former life");
        assert_eq!(wanted.names(), [name]);
    }

    #[test]
    fn fixed_partitions_are_lost_for_good() {
        let mut wanted = Subscription::to_partitions([topic(1, 1)].iter());
        assert_eq!(refresh(&mut wanted, Some(topic(1, 2))), NONE);
        assert_eq!(refresh(&mut wanted, Some(topic(2, 2))), ["lost t"]);
        assert_eq!(refresh(&mut wanted, Some(topic(2, 2))), NONE);
    }
}
