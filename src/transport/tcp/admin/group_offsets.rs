//! OffsetCommit, OffsetDelete: what groups have committed, changed from outside.

use std::collections::{BTreeMap, BTreeSet};

use super::groups::{check_named, coordinator, error_of, is_there, non_empty, refused};
use super::seen;
use crate::error::{Error, GroupError, Result};
use crate::group::CommittedOffset;
use crate::topic::{TopicName, TopicPartition};
use crate::transport::tcp::cluster::Cluster;
use crate::wire::ErrorCode;
use crate::wire::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use crate::wire::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};

/// Those offsets whose topics are there: brokers forget the others, but not at once.
pub(super) async fn of_topics_there(
    cluster: &Cluster,
    group: &str,
    mut committed: Vec<(TopicPartition, CommittedOffset)>,
) -> Result<Vec<(TopicPartition, CommittedOffset)>> {
    let what = format!("looking up offsets of group {group:?}");
    if committed.is_empty() {
        // The answer is the same for a group that is not there.
        return match cluster.until_done(&what, || is_there(cluster, group)).await? {
            true => Ok(committed),
            false => Err(refused(group, GroupError::GroupIdNotFound)),
        };
    }
    let names = names_of(committed.iter().map(|(at, _)| at));
    let there = cluster.until_done(&what, || seen::look_for(cluster, &names)).await?;
    committed.retain(|(at, _)| there.contains_key(&at.topic));
    Ok(committed)
}

fn names_of<'a>(partitions: impl Iterator<Item = &'a TopicPartition>) -> Vec<TopicName> {
    let names: BTreeSet<&TopicName> = partitions.map(|at| &at.topic).collect();
    names.into_iter().cloned().collect()
}

/// Commits as somebody who is no member.
pub(super) async fn alter(
    cluster: &Cluster,
    group: &str,
    offsets: Vec<(TopicPartition, i64)>,
) -> Result<()> {
    if group.is_empty() {
        return Err(refused(group, GroupError::InvalidGroupId));
    }
    let names = names_of(offsets.iter().map(|(at, _)| at));
    let what = format!("altering offsets of group {group:?}");
    let there = cluster.until_done(&what, || seen::look_for(cluster, &names)).await?;
    for (at, offset) in &offsets {
        there.get(&at.topic).ok_or_else(|| seen::unknown(&at.topic))?.check(at)?;
        if *offset < 0 {
            let text = format!("offset {offset} for {at}: offsets begin at 0");
            return Err(Error::InvalidState(text));
        }
    }
    let offsets: BTreeMap<TopicPartition, i64> = offsets.into_iter().collect();
    if offsets.is_empty() {
        return Ok(());
    }
    cluster.until_done(&what, || alter_once(cluster, group, &offsets, &what)).await
}

async fn alter_once(
    cluster: &Cluster,
    group: &str,
    offsets: &BTreeMap<TopicPartition, i64>,
    what: &str,
) -> Result<()> {
    let mut topics = BTreeMap::<&TopicName, Vec<OffsetCommitRequestPartition>>::new();
    for (at, offset) in offsets {
        topics.entry(&at.topic).or_default().push(OffsetCommitRequestPartition {
            partition_index: at.partition,
            committed_offset: *offset,
            committed_leader_epoch: -1,
            committed_metadata: Some(String::new()),
        });
    }
    let topics = topics
        .into_iter()
        .map(|(name, partitions)| OffsetCommitRequestTopic { name: name.to_string(), partitions });
    let request = OffsetCommitRequest {
        group_id: group.to_owned(),
        generation_id_or_member_epoch: -1,
        topics: topics.collect(),
        ..OffsetCommitRequest::default()
    };
    let response = coordinator(cluster, group).await?.ask(&request).await?;
    let each = response.topics.iter().flat_map(|topic| &topic.partitions);
    let failed = each.map(|it| it.error_code).find(|code| *code != ErrorCode::NONE);
    match failed {
        None => Ok(()),
        // Only members may commit for it: which of these says so depends on the group's state.
        Some(
            ErrorCode::UNKNOWN_MEMBER_ID
            | ErrorCode::ILLEGAL_GENERATION
            | ErrorCode::REBALANCE_IN_PROGRESS
            | ErrorCode::NON_EMPTY_GROUP,
        ) => Err(non_empty(cluster, group).await),
        Some(code) => Err(error_of(group, code, what)),
    }
}

pub(super) async fn delete(
    cluster: &Cluster,
    group: &str,
    partitions: Vec<TopicPartition>,
) -> Result<()> {
    check_named(group)?;
    let partitions: BTreeSet<TopicPartition> = partitions.into_iter().collect();
    let what = format!("deleting offsets of group {group:?}");
    cluster.until_done(&what, || delete_once(cluster, group, &partitions, &what)).await
}

async fn delete_once(
    cluster: &Cluster,
    group: &str,
    partitions: &BTreeSet<TopicPartition>,
    what: &str,
) -> Result<()> {
    let mut topics = BTreeMap::<&TopicName, Vec<OffsetDeleteRequestPartition>>::new();
    for at in partitions {
        let partition = OffsetDeleteRequestPartition { partition_index: at.partition };
        topics.entry(&at.topic).or_default().push(partition);
    }
    let topics = topics
        .into_iter()
        .map(|(name, partitions)| OffsetDeleteRequestTopic { name: name.to_string(), partitions });
    let request = OffsetDeleteRequest { group_id: group.to_owned(), topics: topics.collect() };
    let response = coordinator(cluster, group).await?.ask(&request).await?;
    match response.error_code {
        ErrorCode::NONE => {}
        // Of members that are no consumers nobody knows what they consume.
        ErrorCode::NON_EMPTY_GROUP => return Err(non_empty(cluster, group).await),
        code => return Err(error_of(group, code, what)),
    }
    for topic in response.topics {
        for partition in topic.partitions {
            match partition.error_code {
                // For what is not there nothing is committed.
                ErrorCode::NONE | ErrorCode::UNKNOWN_TOPIC_OR_PARTITION => {}
                ErrorCode::GROUP_SUBSCRIBED_TO_TOPIC => {
                    let source = GroupError::GroupSubscribedToTopic { topic: topic.name };
                    return Err(refused(group, source));
                }
                code => return Err(error_of(group, code, what)),
            }
        }
    }
    Ok(())
}
