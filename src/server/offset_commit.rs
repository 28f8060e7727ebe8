//! OffsetCommit: how far a group has come. Versions 2 to 9.
//!
//! What is wrong with one partition's offset is told for that one, and the others are committed.

use super::answer::{Client, Handle, Outcome, Server};
use super::errors::code_of;
use super::groups::member;
use crate::error::Result;
use crate::group::{Command, Commit, CommittedOffset, MAX_METADATA};
use crate::topic::TopicPartition;
use crate::wire::ErrorCode;
use crate::wire::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
    OffsetCommitResponse, OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};

/// From here on clients understand that there is no such group.
const FIRST_WITH_NOT_FOUND: i16 = 9;

/// What a commit of a partition comes to.
type Offset = (TopicPartition, CommittedOffset);

impl Handle for OffsetCommitRequest {
    fn refuse(self, _: &Client, _: i16, error: ErrorCode) -> Outcome<OffsetCommitResponse> {
        told(self.topics.into_iter().map(|topic| each(topic, |_, _| error)).collect())
    }

    async fn start(self, client: Client, version: i16) -> Outcome<OffsetCommitResponse> {
        let mut offsets = Vec::new();
        let mut check = |topic: &str, asked: &OffsetCommitRequestPartition| {
            match offset(&client.server, topic, asked) {
                Ok(offset) => offsets.push(offset),
                Err(error) => return error,
            }
            ErrorCode::NONE
        };
        let topics = self.topics.into_iter().map(|topic| each(topic, &mut check));
        let mut topics: Vec<OffsetCommitResponseTopic> = topics.collect();
        // Of a topic that is not there no group is asked.
        let concern = |it: &&mut OffsetCommitResponsePartition| {
            it.error_code != ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
        };
        let mut asked = topics.iter_mut().flat_map(|it| &mut it.partitions).filter(concern);
        if let Some(first) = asked.next() {
            let member = member(self.member_id, self.group_instance_id);
            let generation = self.generation_id_or_member_epoch;
            let commit = Commit { member, generation, offsets };
            if let Err(error) = store(&client, &self.group_id, commit, version).await {
                std::iter::once(first).chain(asked).for_each(|it| it.error_code = error);
            }
        }
        told(topics)
    }
}

async fn store(
    client: &Client,
    group: &str,
    commit: Commit,
    version: i16,
) -> Result<(), ErrorCode> {
    // Who is no member may be the first to commit; of a group that is not there nobody is one.
    if commit.generation >= 0 && !client.knows(group).await? {
        return Err(match version >= FIRST_WITH_NOT_FOUND {
            true => ErrorCode::GROUP_ID_NOT_FOUND,
            false => ErrorCode::ILLEGAL_GENERATION,
        });
    }
    client.change(group, |answer| Command::Commit { commit, answer }).await
}

/// What there is to say of each partition of a topic.
fn each(
    topic: OffsetCommitRequestTopic,
    mut say: impl FnMut(&str, &OffsetCommitRequestPartition) -> ErrorCode,
) -> OffsetCommitResponseTopic {
    let partitions = topic.partitions.iter().map(|asked| OffsetCommitResponsePartition {
        partition_index: asked.partition_index,
        error_code: say(&topic.name, asked),
    });
    let partitions = partitions.collect();
    OffsetCommitResponseTopic { name: topic.name, partitions }
}

fn told(topics: Vec<OffsetCommitResponseTopic>) -> Outcome<OffsetCommitResponse> {
    Outcome::Response(OffsetCommitResponse { topics, throttle_time_ms: 0 })
}

fn offset(
    server: &Server,
    topic: &str,
    asked: &OffsetCommitRequestPartition,
) -> Result<Offset, ErrorCode> {
    let id = server.core().topic(topic).map(|topic| topic.id());
    let partition = server.partition(topic, asked.partition_index);
    let at = partition.map_err(|error| code_of(&error))?.at().clone();
    let metadata = asked.committed_metadata.clone().unwrap_or_default();
    if metadata.len() > MAX_METADATA {
        return Err(ErrorCode::OFFSET_METADATA_TOO_LARGE);
    }
    let committed = CommittedOffset {
        offset: asked.committed_offset,
        leader_epoch: asked.committed_leader_epoch,
        metadata,
        timestamp: server.core().clock().wall().as_millis(),
        topic_id: id,
    };
    Ok((at, committed))
}
