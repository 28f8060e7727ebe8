//! Offsets of groups, and what coordinators answer.

use std::collections::BTreeMap;

use tokio::time::Duration;

use super::Shared;
use crate::error::Result;
use crate::group::JoinedMember;
use crate::topic::{TopicName, TopicPartition};
use crate::transport::{Commit, CommittedOffset, Joined};
use crate::wire::join_group::JoinGroupResponse;
use crate::wire::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use crate::wire::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
    OffsetFetchResponse,
};
use crate::wire::{ApiKey, ErrorCode};

/// From this version on OffsetFetch is about many groups.
const MANY_GROUPS: i16 = 8;

pub(super) fn joined(response: JoinGroupResponse, protocol_type: &str) -> Joined {
    let members = response.members.into_iter().map(|member| JoinedMember {
        member_id: member.member_id,
        instance_id: member.group_instance_id,
        metadata: member.metadata,
    });
    Joined {
        member_id: response.member_id,
        generation: response.generation_id,
        protocol_type: response.protocol_type.unwrap_or_else(|| protocol_type.to_owned()),
        protocol: response.protocol_name.unwrap_or_default(),
        leader: response.leader,
        skip_assignment: response.skip_assignment,
        members: members.collect(),
    }
}

impl Shared {
    pub(super) async fn commit_once(&self, commit: &Commit) -> Result<()> {
        let mut topics = BTreeMap::<&TopicName, Vec<OffsetCommitRequestPartition>>::new();
        for (at, committed) in &commit.offsets {
            // Of a topic that is gone nothing is kept.
            let known = self.cluster.known_topic(at.topic.as_str());
            if known.is_none_or(|known| committed.topic_id.is_some_and(|id| id != known.id)) {
                continue;
            }
            topics.entry(&at.topic).or_default().push(OffsetCommitRequestPartition {
                partition_index: at.partition,
                committed_offset: committed.offset,
                committed_leader_epoch: committed.leader_epoch,
                committed_metadata: Some(committed.metadata.clone()),
            });
        }
        if topics.is_empty() {
            return Ok(());
        }
        let topics = topics.into_iter().map(|(name, partitions)| OffsetCommitRequestTopic {
            name: name.to_string(),
            partitions,
        });
        let request = OffsetCommitRequest {
            group_id: self.id.clone(),
            generation_id_or_member_epoch: commit.generation,
            member_id: commit.member.member_id.clone(),
            group_instance_id: commit.member.instance_id.clone(),
            retention_time_ms: -1,
            topics: topics.collect(),
        };
        let response = self.ask(&self.offsets, &request, Duration::ZERO).await?;
        let each = response.topics.iter().flat_map(|topic| &topic.partitions);
        let failed = each.map(|it| it.error_code).find(|code| *code != ErrorCode::NONE);
        let code = failed.unwrap_or(ErrorCode::NONE);
        self.check(code, "committing for", &commit.member, commit.generation)
    }

    /// What is committed for these partitions, or for all.
    pub(super) async fn committed_once(
        &self,
        partitions: Option<&[TopicPartition]>,
    ) -> Result<Vec<(TopicPartition, CommittedOffset)>> {
        let connection = self.connection(&self.offsets).await?;
        let version = connection.version(ApiKey::OffsetFetch, i16::MAX)?;
        let request = fetch_request(&self.id, partitions, version);
        let answer = connection.start(&request, version, Duration::ZERO)?.await_it().await;
        if answer.is_err() {
            self.forget_coordinator();
        }
        let (error, told) = offsets_in(answer?, version);
        let nobody = Default::default();
        self.check(error, "looking up offsets of", &nobody, -1)?;
        let mut found = Vec::new();
        for (at, committed, error) in told {
            self.check(error, "looking up offsets of", &nobody, -1)?;
            if committed.offset >= 0 {
                found.push((at, committed));
            }
        }
        Ok(found)
    }
}

fn fetch_request(
    group: &str,
    partitions: Option<&[TopicPartition]>,
    version: i16,
) -> OffsetFetchRequest {
    let by_topic = partitions.map(|partitions| {
        let mut topics = BTreeMap::<&TopicName, Vec<i32>>::new();
        partitions.iter().for_each(|at| topics.entry(&at.topic).or_default().push(at.partition));
        topics
    });
    let mut request = OffsetFetchRequest { require_stable: true, ..OffsetFetchRequest::default() };
    if version >= MANY_GROUPS {
        let topics = by_topic.map(|topics| {
            let each = topics.into_iter().map(|(name, partition_indexes)| {
                OffsetFetchRequestTopics { name: name.to_string(), partition_indexes }
            });
            each.collect()
        });
        let group_id = group.to_owned();
        let of_group = OffsetFetchRequestGroup { group_id, topics, ..Default::default() };
        request.groups.push(of_group);
    } else {
        group.clone_into(&mut request.group_id);
        request.topics = by_topic.map(|topics| {
            let each = topics.into_iter().map(|(name, partition_indexes)| {
                OffsetFetchRequestTopic { name: name.to_string(), partition_indexes }
            });
            each.collect()
        });
    }
    request
}

type Told = Vec<(TopicPartition, CommittedOffset, ErrorCode)>;

fn offsets_in(response: OffsetFetchResponse, version: i16) -> (ErrorCode, Told) {
    let mut told = Told::new();
    let mut put = |name: &str, partition: i32, offset, leader_epoch, metadata, error| {
        let Ok(topic) = TopicName::parse(name) else { return };
        let metadata: Option<String> = metadata;
        let metadata = metadata.unwrap_or_default();
        let committed =
            CommittedOffset { offset, leader_epoch, metadata, timestamp: -1, topic_id: None };
        told.push((TopicPartition { topic, partition }, committed, error));
    };
    let mut error = response.error_code;
    if version >= MANY_GROUPS {
        for group in response.groups {
            error = group.error_code;
            for topic in group.topics {
                for it in topic.partitions {
                    let (offset, epoch) = (it.committed_offset, it.committed_leader_epoch);
                    let (index, metadata) = (it.partition_index, it.metadata);
                    put(&topic.name, index, offset, epoch, metadata, it.error_code);
                }
            }
        }
    } else {
        for topic in response.topics {
            for it in topic.partitions {
                let (offset, epoch) = (it.committed_offset, it.committed_leader_epoch);
                let (index, metadata) = (it.partition_index, it.metadata);
                put(&topic.name, index, offset, epoch, metadata, it.error_code);
            }
        }
    }
    (error, told)
}
