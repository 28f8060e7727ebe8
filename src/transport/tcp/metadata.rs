//! What is known of the cluster: brokers, topics, who leads which partition. Pure: answers go in,
//! what is known comes out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::settings::Address;
use crate::topic::{TopicId, TopicName, TopicPartition};
use crate::transport::TopicMetadata;
use crate::wire::ErrorCode;
use crate::wire::metadata::{MetadataResponse, MetadataResponseTopic};

/// A topic that is gone from an answer is gone if it stays so for that long: a broker may be behind
/// the others.
const GONE_AFTER: Duration = Duration::from_secs(1);

/// All that is known.
#[derive(Debug, Default)]
pub(super) struct Metadata {
    /// By node id.
    pub(super) brokers: BTreeMap<i32, Address>,
    pub(super) controller: Option<i32>,
    topics: BTreeMap<TopicName, Topic>,
    /// What a topic that is not there was answered with.
    errors: BTreeMap<TopicName, ErrorCode>,
}

/// What is known of a topic.
#[derive(Debug, Clone)]
struct Topic {
    metadata: Arc<TopicMetadata>,
    is_internal: bool,
    leaders: Vec<Leader>,
    /// Since when answers do not have it any more.
    missing_since: Option<Instant>,
}

/// Who leads a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Leader {
    /// The broker's node id; `None` while there is none.
    pub(super) node: Option<i32>,
    /// Since which epoch; -1 if that is not known.
    pub(super) epoch: i32,
}

impl Metadata {
    /// Takes in an answer to a question for `asked` topics, or for all. Whether topics or
    /// partitions have come or gone.
    pub(super) fn take_in(
        &mut self,
        response: MetadataResponse,
        asked: Option<&[TopicName]>,
        now: Instant,
    ) -> bool {
        let brokers = response.brokers.into_iter().filter_map(|broker| {
            let port = u16::try_from(broker.port).ok()?;
            Some((broker.node_id, Address { host: broker.host, port }))
        });
        let brokers: BTreeMap<i32, Address> = brokers.collect();
        // A broker that has just begun may know none, not even itself.
        if !brokers.is_empty() {
            self.brokers = brokers;
        }
        self.controller = Some(response.controller_id).filter(|id| *id >= 0);
        let mut changed = false;
        let mut seen = Vec::new();
        for topic in response.topics {
            let Some(name) = topic.name.as_deref().and_then(|name| TopicName::parse(name).ok())
            else {
                continue;
            };
            match topic.error_code {
                ErrorCode::NONE => {
                    self.errors.remove(&name);
                    changed |= self.take_in_topic(&name, topic);
                    seen.push(name);
                }
                error => drop(self.errors.insert(name, error)),
            }
        }
        let known: Vec<TopicName> = match asked {
            Some(asked) => asked.to_vec(),
            None => self.topics.keys().cloned().collect(),
        };
        for name in known.iter().filter(|name| !seen.contains(name)) {
            changed |= self.note_missing(name, now);
        }
        changed
    }

    fn take_in_topic(&mut self, name: &TopicName, told: MetadataResponseTopic) -> bool {
        let known = self.topics.get(name);
        // Zeros from a broker that has no ids yet, or does not tell them.
        let is_same = known.is_some_and(|it| it.metadata.id == told.topic_id);
        let count = told.partitions.len().max(match known {
            Some(known) if is_same => known.leaders.len(),
            _ => 0,
        });
        let mut leaders = vec![Leader { node: None, epoch: -1 }; count];
        if let Some(known) = known.filter(|_| is_same) {
            leaders[..known.leaders.len()].copy_from_slice(&known.leaders);
        }
        for partition in told.partitions {
            let index = usize::try_from(partition.partition_index).ok();
            let Some(leader) = index.and_then(|index| leaders.get_mut(index)) else { continue };
            // A broker that is behind may tell of a former leader (KIP-320).
            if partition.leader_epoch >= 0 && partition.leader_epoch < leader.epoch {
                continue;
            }
            let node = Some(partition.leader_id).filter(|node| *node >= 0);
            *leader = Leader { node, epoch: partition.leader_epoch };
        }
        let partitions = leaders.len() as i32;
        let changed = !is_same || known.is_some_and(|it| it.metadata.partitions != partitions);
        let metadata = match known.filter(|_| !changed) {
            Some(known) => known.metadata.clone(),
            None => Arc::new(described(name, told.topic_id, partitions)),
        };
        let is_internal = told.is_internal;
        let topic = Topic { metadata, is_internal, leaders, missing_since: None };
        self.topics.insert(name.clone(), topic);
        changed
    }

    fn note_missing(&mut self, name: &TopicName, now: Instant) -> bool {
        let Some(topic) = self.topics.get_mut(name) else { return false };
        let since = *topic.missing_since.get_or_insert(now);
        let is_gone = now.duration_since(since) >= GONE_AFTER;
        if is_gone {
            self.topics.remove(name);
        }
        is_gone
    }

    /// A topic is gone for sure: this client has deleted it. Whether it was known.
    pub(super) fn forget(&mut self, name: &TopicName, id: TopicId) -> bool {
        let is_it = self.topics.get(name).is_some_and(|topic| topic.metadata.id == id);
        is_it && self.topics.remove(name).is_some()
    }

    /// Whether a topic was missing that may be gone: ask again soon.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.topics.values().any(|topic| topic.missing_since.is_some())
    }

    pub(super) fn topic(&self, name: &str) -> Option<Arc<TopicMetadata>> {
        self.topics.get(name).map(|topic| topic.metadata.clone())
    }

    /// All topics but the brokers' own.
    pub(super) fn topics(&self) -> Vec<Arc<TopicMetadata>> {
        let theirs = self.topics.values().filter(|topic| !topic.is_internal);
        theirs.map(|topic| topic.metadata.clone()).collect()
    }

    /// Why a topic is not there.
    pub(super) fn error(&self, name: &TopicName) -> Option<ErrorCode> {
        self.errors.get(name).copied()
    }

    /// Who leads a partition; `None` if the topic is not known, or has no such partition.
    pub(super) fn leader(&self, at: &TopicPartition) -> Option<Leader> {
        let topic = self.topics.get(&at.topic)?;
        topic.leaders.get(usize::try_from(at.partition).ok()?).copied()
    }

    /// What a broker says besides an error (KIP-951). Whether it was news.
    pub(super) fn hint(&mut self, at: &TopicPartition, node: i32, epoch: i32) -> bool {
        let Some(topic) = self.topics.get_mut(&at.topic) else { return false };
        let index = usize::try_from(at.partition).ok();
        let leader = index.and_then(|index| topic.leaders.get_mut(index));
        match leader {
            Some(leader) if node >= 0 && epoch > leader.epoch => {
                *leader = Leader { node: Some(node), epoch };
                true
            }
            _ => false,
        }
    }
}

/// What a producer must know: a broker on the network refuses what it does not take.
fn described(name: &TopicName, id: TopicId, partitions: i32) -> TopicMetadata {
    TopicMetadata {
        name: name.clone(),
        id,
        partitions,
        max_batch_bytes: usize::MAX,
        max_batch_setting: "max.message.bytes",
        needs_keys: false,
        compression: None,
    }
}

#[cfg(test)]
mod tests;
