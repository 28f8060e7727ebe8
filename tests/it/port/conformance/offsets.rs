//! ListOffsets and OffsetForLeaderEpoch.

use ottla::wire::list_offsets::{
    EARLIEST, EARLIEST_LOCAL, LATEST, LATEST_TIERED, ListOffsetsPartitionResponse, MAX_TIMESTAMP,
};
use ottla::wire::offset_for_leader_epoch::{
    OffsetForLeaderEpochRequest, OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use ottla::wire::{ApiKey, ErrorCode};

use super::super::client::{RawClient, batch, now, timed};
use super::{fetch, fetched, listed, offset_at, produced, targets};

/// The end of an epoch.
async fn end_of(client: &mut RawClient, topic: &str, leader_epoch: i32) -> (ErrorCode, i32, i64) {
    let asked = OffsetForLeaderPartition { leader_epoch, ..Default::default() };
    let of = OffsetForLeaderTopic { topic: topic.to_owned(), partitions: vec![asked] };
    let request = OffsetForLeaderEpochRequest { replica_id: -1, topics: vec![of] };
    let end = client.ask(&request, 4).await.topics.remove(0).partitions.remove(0);
    (end.error_code, end.leader_epoch, end.end_offset)
}

#[tokio::test]
async fn offsets_are_found_by_time() {
    for target in targets("times").await {
        let (topic, mut client) = (&target.topic, target.with_topic(&[]).await);
        let found = |it: ListOffsetsPartitionResponse| (it.offset, it.timestamp);
        let start = now() - 100_000;
        assert_eq!(found(offset_at(&mut client, topic, MAX_TIMESTAMP).await), (-1, -1));
        produced(&mut client, topic, timed(&[(start, "a"), (start + 20, "b")])).await;
        produced(&mut client, topic, timed(&[(start + 50, "c"), (start + 10, "d")])).await;
        for (timestamp, expected) in [
            (EARLIEST, (0, -1)),
            (LATEST, (4, -1)),
            (MAX_TIMESTAMP, (2, start + 50)),
            (0, (0, start)),
            (start + 1, (1, start + 20)),
            (start + 21, (2, start + 50)),
            (start + 51, (-1, -1)),
        ] {
            let answer = offset_at(&mut client, topic, timestamp).await;
            assert_eq!(answer.error_code, ErrorCode::NONE);
            assert_eq!(found(answer), expected, "{timestamp}");
        }
        let answer = offset_at(&mut client, "nowhere", LATEST).await;
        assert_eq!(answer.error_code, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
        assert_eq!(found(answer), (-1, -1));
    }
}

#[tokio::test]
async fn leader_epochs_are_checked() {
    for target in targets("epochs").await {
        let (topic, mut client) = (&target.topic, target.with_topic(&[]).await);
        produced(&mut client, topic, batch(&["a", "b"])).await;
        for (epoch, code) in
            [(-1, ErrorCode::NONE), (0, ErrorCode::NONE), (1, ErrorCode::UNKNOWN_LEADER_EPOCH)]
        {
            let mut request = fetch(topic, 0, 0);
            request.topics[0].partitions[0].current_leader_epoch = epoch;
            assert_eq!(fetched(&mut client, &request).await.error_code, code);
        }
        assert_eq!(end_of(&mut client, topic, 0).await, (ErrorCode::NONE, 0, 2));
        assert_eq!(end_of(&mut client, topic, 5).await, (ErrorCode::NONE, -1, -1));
        let unknown = (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, -1, -1);
        assert_eq!(end_of(&mut client, "nowhere", 0).await, unknown);
    }
}

/// Epoch 0 is told before there is a record, and is known then, too.
#[tokio::test]
async fn an_empty_log_has_an_epoch() {
    for target in targets("emptylog").await {
        let (topic, mut client) = (&target.topic, target.with_topic(&[]).await);
        for time in [EARLIEST, LATEST] {
            let found = offset_at(&mut client, topic, time).await;
            assert_eq!((found.offset, found.timestamp, found.leader_epoch), (0, -1, 0));
        }
        let none = offset_at(&mut client, topic, 0).await;
        assert_eq!((none.error_code, none.offset, none.leader_epoch), (ErrorCode::NONE, -1, -1));
        assert_eq!(end_of(&mut client, topic, 0).await, (ErrorCode::NONE, 0, 0));
        assert_eq!(end_of(&mut client, topic, 1).await, (ErrorCode::NONE, -1, -1));
        let mut request = fetch(topic, 0, 0);
        request.max_wait_ms = 0;
        request.topics[0].partitions[0].last_fetched_epoch = 0;
        assert_eq!(fetched(&mut client, &request).await.error_code, ErrorCode::NONE);
    }
}

#[tokio::test]
async fn special_times_came_with_versions() {
    for target in targets("special").await {
        let (topic, mut client) = (&target.topic, target.with_topic(&[]).await);
        produced(&mut client, topic, timed(&[(now(), "a")])).await;
        let times = [
            (MAX_TIMESTAMP, 7, 0),
            (EARLIEST_LOCAL, 8, 0),
            // Nothing is tiered.
            (LATEST_TIERED, 9, -1),
            (-6, 11, -1),
            (-7, i16::MAX, -1),
        ];
        for (time, first, offset) in times {
            for version in ApiKey::ListOffsets.versions() {
                let found = listed(&mut client, topic, time, version).await;
                let expected = match version < first {
                    true => (ErrorCode::UNSUPPORTED_VERSION, -1),
                    false => (ErrorCode::NONE, offset),
                };
                assert_eq!((found.error_code, found.offset), expected, "{time} {version}");
            }
        }
    }
}
