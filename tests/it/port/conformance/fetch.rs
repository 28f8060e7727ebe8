//! Fetch, outside of sessions.

use bytes::Bytes;
use ottla::topic::TopicId;
use ottla::wire::delete_topics::DeleteTopicsRequest;
use ottla::wire::fetch::{EpochEndOffset, FetchRequest, PartitionData};
use ottla::wire::{ApiKey, ErrorCode};

use super::super::client::{RawClient, batch, produce_request};
use super::super::create;
use super::{BY_NAME, Target, fetch, fetched, metadata, produced, records, targets};

#[tokio::test]
async fn topics_are_fetched_by_their_ids() {
    for target in targets("ids").await {
        let (topic, mut client) = (&target.topic, target.with_topic(&[]).await);
        produced(&mut client, topic, batch(&["a"])).await;
        let found = client.ask(&metadata(Some(&[topic]), false), 12).await;
        let mut request = fetch(topic, 0, 0);
        for version in 13..=*ApiKey::Fetch.versions().end() {
            request.topics[0].topic_id = found.topics[0].topic_id;
            let answer = client.ask(&request, version).await;
            assert_eq!(answer.responses[0].topic_id, found.topics[0].topic_id);
            assert_eq!(records(&answer.responses[0].partitions[0]).len(), 1);
            for unknown in [TopicId([7; 16]), TopicId([0; 16])] {
                request.topics[0].topic_id = unknown;
                let answer = client.ask(&request, version).await;
                let code = answer.responses[0].partitions[0].error_code;
                assert_eq!(code, ErrorCode::UNKNOWN_TOPIC_ID);
            }
        }
    }
}

#[tokio::test]
async fn a_fetch_waits_for_records_and_not_for_ever() {
    for target in targets("wait").await {
        let (topic, mut client) = (&target.topic, target.with_topic(&[]).await);
        produced(&mut client, topic, batch(&["a"])).await;
        // At the end: nothing, after a while.
        let soon = FetchRequest { max_wait_ms: 50, ..fetch(topic, 0, 1) };
        let data = fetched(&mut client, &soon).await;
        assert_eq!((data.error_code, records(&data).len()), (ErrorCode::NONE, 0));
        assert_eq!((data.high_watermark, data.log_start_offset), (1, 0));
        // At once, if nothing is enough.
        let at_once = FetchRequest { min_bytes: 0, max_wait_ms: i32::MAX, ..fetch(topic, 0, 1) };
        assert_eq!(records(&fetched(&mut client, &at_once).await), []);
        // As soon as something comes.
        let long = FetchRequest { max_wait_ms: 60_000, ..fetch(topic, 0, 1) };
        let id = client.send(&long, BY_NAME).await;
        let mut other = target.client().await;
        produced(&mut other, topic, batch(&["b"])).await;
        let answer = client.receive::<FetchRequest>(id, BY_NAME).await;
        assert_eq!(records(&answer.responses[0].partitions[0]), [(1, "b".to_owned())]);
        // More than there is: what there is, in the end.
        let greedy = FetchRequest { min_bytes: 10_000, max_wait_ms: 50, ..fetch(topic, 0, 0) };
        assert_eq!(records(&fetched(&mut client, &greedy).await).len(), 2);
        // At once, if something is wrong.
        for (offset, partition, code) in [
            (3, 0, ErrorCode::OFFSET_OUT_OF_RANGE),
            (-1, 0, ErrorCode::OFFSET_OUT_OF_RANGE),
            (0, 9, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
        ] {
            let request = FetchRequest { max_wait_ms: i32::MAX, ..fetch(topic, partition, offset) };
            let data = fetched(&mut client, &request).await;
            assert_eq!(data.error_code, code);
            assert_eq!((data.high_watermark, data.log_start_offset), (-1, -1));
            assert!(data.records.is_empty());
        }
    }
}

/// To one of several partitions.
async fn produced_to(target: &Target, client: &mut RawClient, partition: i32, records: Bytes) {
    let request = produce_request(&target.topic, partition, records, -1);
    let code = loop {
        let answer = client.ask(&request, 7).await;
        let code = answer.responses[0].partition_responses[0].error_code;
        // Kafka may not lead it yet.
        if code != ErrorCode::NOT_LEADER_OR_FOLLOWER || target.ours.is_some() {
            break code;
        }
    };
    assert_eq!(code, ErrorCode::NONE);
}

#[tokio::test]
async fn limits_of_a_fetch_leave_one_batch() {
    for target in targets("limits").await {
        let topic = &target.topic;
        create(target.address, topic, 2, &[]).await;
        let mut client = target.with_partitions(topic).await;
        let value = "x".repeat(1000);
        for partition in [0, 1, 0, 1] {
            produced_to(&target, &mut client, partition, batch(&[&value])).await;
        }
        let both = |max_bytes, partition_max_bytes| {
            let mut request = FetchRequest { max_bytes, ..fetch(topic, 0, 0) };
            let mut second = request.topics[0].partitions[0].clone();
            second.partition = 1;
            request.topics[0].partitions.push(second);
            for partition in &mut request.topics[0].partitions {
                partition.partition_max_bytes = partition_max_bytes;
            }
            request
        };
        for (max_bytes, partition_max_bytes, expected) in [
            (1 << 20, 1 << 20, [2, 2]),
            (1, 1 << 20, [1, 0]),
            (1 << 20, 1, [1, 0]),
            (1 << 20, 1500, [1, 1]),
            (1500, 1 << 20, [1, 0]),
        ] {
            let answer = client.ask(&both(max_bytes, partition_max_bytes), BY_NAME).await;
            // Kafka may end with a part of a batch: those that are whole count.
            let whole = |data: &PartitionData| {
                let bytes = data.records.clone().into_bytes();
                bytes.len() / (1000 + 61)
            };
            let counts: Vec<usize> = answer.responses[0].partitions.iter().map(whole).collect();
            assert_eq!(counts, expected, "{max_bytes} {partition_max_bytes}");
        }
    }
}

/// `fetch.max.bytes` of the broker, whatever a client would take.
#[tokio::test]
async fn an_answer_has_55_mib_at_most() {
    const MOST: usize = 55 << 20;
    for target in targets("most").await {
        let topic = &target.topic;
        create(target.address, topic, 8, &[("max.message.bytes", "9000000")]).await;
        let mut client = target.with_partitions(topic).await;
        let value = "x".repeat(8 << 20);
        let mut request = FetchRequest { max_bytes: i32::MAX, ..fetch(topic, 0, 0) };
        request.topics[0].partitions[0].partition_max_bytes = i32::MAX;
        for n in 0..8 {
            produced_to(&target, &mut client, n, batch(&[&value])).await;
            let mut next = request.topics[0].partitions[0].clone();
            next.partition = n;
            request.topics[0].partitions.extend((n > 0).then_some(next));
        }
        let answer = client.ask(&request, BY_NAME).await;
        let all = answer.responses[0].partitions.iter();
        let bytes: usize = all.map(|data| data.records.clone().into_bytes().len()).sum();
        // Kafka may end with a part of a batch.
        let is_most = bytes <= MOST && bytes > MOST - value.len() - 100;
        assert!(is_most, "{bytes}, ours: {}", target.ours.is_some());
    }
}

/// Librdkafka takes records that are null for a fault, at each poll that has none.
#[tokio::test]
async fn records_that_are_not_there_are_empty_and_not_null() {
    for target in targets("empty").await {
        let (topic, mut client) = (&target.topic, target.with_topic(&[]).await);
        for topic in [topic, "nowhere"] {
            let request = FetchRequest { max_wait_ms: 0, ..fetch(topic, 0, 0) };
            for version in ApiKey::Fetch.versions().filter(|version| *version <= BY_NAME) {
                client.send(&request, version).await;
                let frame = client.frame().await.unwrap();
                // In a flexible version, one more than the length, and three times no tagged fields.
                let expected = if version < 12 { [0, 0, 0, 0] } else { [1, 0, 0, 0] };
                assert_eq!(frame[frame.len() - 4..], expected, "version {version}");
            }
        }
    }
}

#[tokio::test]
async fn a_reader_that_has_read_what_is_not_there_is_told() {
    for target in targets("diverging").await {
        let (topic, mut client) = (&target.topic, target.with_topic(&[]).await);
        produced(&mut client, topic, batch(&["a", "b"])).await;
        let mut ask = async |offset, last_fetched_epoch| {
            let mut request = fetch(topic, 0, offset);
            request.topics[0].partitions[0].last_fetched_epoch = last_fetched_epoch;
            let data = fetched(&mut client, &request).await;
            (data.error_code, data.diverging_epoch, data.records.is_empty())
        };
        let nothing = EpochEndOffset::default();
        assert_eq!(ask(0, 0).await, (ErrorCode::NONE, nothing.clone(), false));
        let end = EpochEndOffset { epoch: 0, end_offset: 2 };
        assert_eq!(ask(9, 0).await, (ErrorCode::NONE, end, true));
        assert_eq!(ask(0, 5).await, (ErrorCode::OFFSET_OUT_OF_RANGE, nothing, true));
    }
}

#[tokio::test]
async fn a_fetch_that_waits_is_told_that_its_topic_is_gone() {
    for target in targets("gone").await {
        let (topic, mut client) = (&target.topic, target.with_topic(&[]).await);
        let request = FetchRequest { max_wait_ms: i32::MAX, ..fetch(topic, 0, 0) };
        let id = client.send(&request, BY_NAME).await;
        let delete = DeleteTopicsRequest {
            topic_names: vec![topic.clone()],
            timeout_ms: 10_000,
            ..DeleteTopicsRequest::default()
        };
        let answer = target.client().await.ask(&delete, 5).await;
        assert_eq!(answer.responses[0].error_code, ErrorCode::NONE);
        let answer = client.receive::<FetchRequest>(id, BY_NAME).await;
        let code = answer.responses[0].partitions[0].error_code;
        // Kafka's replica may be gone before its topic is.
        let gone = [ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, ErrorCode::NOT_LEADER_OR_FOLLOWER];
        assert!(gone.contains(&code), "{code}");
    }
}
