//! OffsetForLeaderEpoch: where an epoch ended, so that a reader finds out what it has read that is
//! no more (KIP-320). Versions 2 to 4.

use super::answer::{Client, Handle, Outcome, Server};
use super::errors::code_of;
use super::fetch::{check_leader_epoch, end_of_epoch};
use crate::wire::ErrorCode;
use crate::wire::offset_for_leader_epoch::{
    EpochEndOffset, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
    OffsetForLeaderPartition, OffsetForLeaderTopicResult,
};

impl Handle for OffsetForLeaderEpochRequest {
    fn refuse(
        self,
        _: &Client,
        _: i16,
        error_code: ErrorCode,
    ) -> Outcome<OffsetForLeaderEpochResponse> {
        answer(self, |_, asked| EpochEndOffset {
            partition: asked.partition,
            error_code,
            ..EpochEndOffset::default()
        })
    }

    async fn start(self, client: Client, _version: i16) -> Outcome<OffsetForLeaderEpochResponse> {
        answer(self, |topic, asked| end(&client.server, topic, asked))
    }
}

fn answer(
    request: OffsetForLeaderEpochRequest,
    end: impl Fn(&str, &OffsetForLeaderPartition) -> EpochEndOffset,
) -> Outcome<OffsetForLeaderEpochResponse> {
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|asked| end(&topic.topic, asked)).collect();
        OffsetForLeaderTopicResult { partitions, topic: topic.topic }
    });
    let topics = topics.collect();
    Outcome::Response(OffsetForLeaderEpochResponse { topics, throttle_time_ms: 0 })
}

fn end(server: &Server, topic: &str, asked: &OffsetForLeaderPartition) -> EpochEndOffset {
    let partition = asked.partition;
    let unknown = EpochEndOffset { partition, ..EpochEndOffset::default() };
    match server.partition(topic, partition) {
        Err(error) => EpochEndOffset { error_code: code_of(&error), ..unknown },
        Ok(found) => match check_leader_epoch(&found, asked.current_leader_epoch) {
            Err(error_code) => EpochEndOffset { error_code, ..unknown },
            Ok(()) => match end_of_epoch(&found, asked.leader_epoch) {
                Some((leader_epoch, end_offset)) => {
                    EpochEndOffset { leader_epoch, end_offset, ..unknown }
                }
                None => unknown,
            },
        },
    }
}
