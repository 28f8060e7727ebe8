//! OffsetFetch: how far groups have come. Versions 1 to 9.
//!
//! What was never committed is no error: its offset is -1. There are no transactions, so that every
//! offset is stable.

use std::collections::BTreeMap;

use super::answer::{Client, Handle, Outcome};
use crate::group::{Command, CommittedOffset};
use crate::topic::TopicPartition;
use crate::wire::ErrorCode;
use crate::wire::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
    OffsetFetchResponse, OffsetFetchResponseGroup, OffsetFetchResponsePartition,
    OffsetFetchResponsePartitions, OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};

/// Before it, an error is told with each partition.
const FIRST_WITH_ERROR: i16 = 2;

/// From here on many groups are asked about at once.
const FIRST_BATCHED: i16 = 8;

impl Handle for OffsetFetchRequest {
    fn refuse(self, _: &Client, version: i16, error: ErrorCode) -> Outcome<OffsetFetchResponse> {
        let groups = asked(self, version).into_iter();
        told(groups.map(|group| refused(group, version, error)).collect(), version)
    }

    async fn start(self, client: Client, version: i16) -> Outcome<OffsetFetchResponse> {
        let mut groups = Vec::new();
        for group in asked(self, version) {
            groups.push(match committed(&client, &group).await {
                Ok(offsets) => found(group, offsets),
                Err(error) => refused(group, version, error),
            });
        }
        told(groups, version)
    }
}

type Offsets = BTreeMap<TopicPartition, CommittedOffset>;

/// The groups, however many there may be.
fn asked(request: OffsetFetchRequest, version: i16) -> Vec<OffsetFetchRequestGroup> {
    if version >= FIRST_BATCHED {
        return request.groups;
    }
    let topics = |topics: Vec<OffsetFetchRequestTopic>| {
        let topics = topics.into_iter().map(|topic| OffsetFetchRequestTopics {
            name: topic.name,
            partition_indexes: topic.partition_indexes,
        });
        topics.collect()
    };
    vec![OffsetFetchRequestGroup {
        group_id: request.group_id,
        topics: request.topics.map(topics),
        ..OffsetFetchRequestGroup::default()
    }]
}

/// All that a group has committed for topics that are there.
async fn committed(client: &Client, group: &OffsetFetchRequestGroup) -> Result<Offsets, ErrorCode> {
    if !client.knows(&group.group_id).await? {
        return Ok(Offsets::new());
    }
    let fetch = |answer| Command::Fetch { partitions: Vec::new(), answer };
    let offsets = client.ask(&group.group_id, fetch).await?.into_iter();
    let broker = client.server.broker();
    Ok(offsets.filter(|(at, committed)| broker.is_current(at, committed)).collect())
}

fn found(group: OffsetFetchRequestGroup, offsets: Offsets) -> OffsetFetchResponseGroup {
    let topics = match group.topics {
        Some(topics) => topics.into_iter().map(|topic| named(topic, &offsets)).collect(),
        None => all(offsets),
    };
    OffsetFetchResponseGroup { group_id: group.group_id, topics, error_code: ErrorCode::NONE }
}

/// The partitions of a topic that are asked for.
fn named(topic: OffsetFetchRequestTopics, offsets: &Offsets) -> OffsetFetchResponseTopics {
    let partitions = topic.partition_indexes.iter().map(|&partition| {
        let at = TopicPartition::new(&topic.name, partition).ok();
        match at.and_then(|at| offsets.get(&at)) {
            Some(committed) => there(partition, committed.clone()),
            None => none(partition, ErrorCode::NONE),
        }
    });
    let partitions = partitions.collect();
    OffsetFetchResponseTopics { name: topic.name, partitions }
}

fn all(offsets: Offsets) -> Vec<OffsetFetchResponseTopics> {
    let mut topics: Vec<OffsetFetchResponseTopics> = Vec::new();
    for (at, committed) in offsets {
        let partition = there(at.partition, committed);
        match topics.last_mut().filter(|last| at.topic == *last.name) {
            Some(topic) => topic.partitions.push(partition),
            None => topics.push(OffsetFetchResponseTopics {
                name: at.topic.to_string(),
                partitions: vec![partition],
            }),
        }
    }
    topics
}

fn there(partition_index: i32, committed: CommittedOffset) -> OffsetFetchResponsePartitions {
    OffsetFetchResponsePartitions {
        partition_index,
        committed_offset: committed.offset,
        committed_leader_epoch: committed.leader_epoch,
        metadata: Some(committed.metadata),
        error_code: ErrorCode::NONE,
    }
}

fn none(partition_index: i32, error_code: ErrorCode) -> OffsetFetchResponsePartitions {
    OffsetFetchResponsePartitions {
        partition_index,
        committed_offset: -1,
        committed_leader_epoch: -1,
        metadata: Some(String::new()),
        error_code,
    }
}

fn refused(
    group: OffsetFetchRequestGroup,
    version: i16,
    error_code: ErrorCode,
) -> OffsetFetchResponseGroup {
    let topics = group.topics.filter(|_| version < FIRST_WITH_ERROR).unwrap_or_default();
    let topics = topics.into_iter().map(|topic| OffsetFetchResponseTopics {
        name: topic.name,
        partitions: topic.partition_indexes.iter().map(|&it| none(it, error_code)).collect(),
    });
    let topics = topics.collect();
    OffsetFetchResponseGroup { group_id: group.group_id, topics, error_code }
}

fn told(groups: Vec<OffsetFetchResponseGroup>, version: i16) -> Outcome<OffsetFetchResponse> {
    if version >= FIRST_BATCHED {
        return Outcome::Response(OffsetFetchResponse { groups, ..Default::default() });
    }
    let Some(group) = groups.into_iter().next() else {
        return Outcome::Response(OffsetFetchResponse::default());
    };
    let topics = group.topics.into_iter().map(|topic| OffsetFetchResponseTopic {
        name: topic.name,
        partitions: topic.partitions.into_iter().map(alone).collect(),
    });
    Outcome::Response(OffsetFetchResponse {
        topics: topics.collect(),
        error_code: group.error_code,
        ..OffsetFetchResponse::default()
    })
}

/// The same, where one group is asked about.
fn alone(partition: OffsetFetchResponsePartitions) -> OffsetFetchResponsePartition {
    OffsetFetchResponsePartition {
        partition_index: partition.partition_index,
        committed_offset: partition.committed_offset,
        committed_leader_epoch: partition.committed_leader_epoch,
        metadata: partition.metadata,
        error_code: partition.error_code,
    }
}
