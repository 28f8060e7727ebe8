//! What particular clients need, and where ottla differs from Apache Kafka: `docs/differences.md`
//! says why.

use std::time::Duration;

use bytes::{Buf, Bytes};
use ottla::batch::Batch;
use ottla::topic::TopicId;
use ottla::wire::api_versions::ApiVersionsRequest;
use ottla::wire::create_topics::{CreatableTopic, CreatableTopicConfig, CreateTopicsRequest};
use ottla::wire::delete_topics::DeleteTopicsRequest;
use ottla::wire::describe_configs::{DescribeConfigsRequest, DescribeConfigsResource};
use ottla::wire::fetch::FetchRequest;
use ottla::wire::find_coordinator::FindCoordinatorRequest;
use ottla::wire::incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use ottla::wire::init_producer_id::InitProducerIdRequest;
use ottla::wire::list_offsets::{
    LATEST, ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use ottla::wire::metadata::MetadataRequest;
use ottla::wire::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use ottla::wire::offset_fetch::{OffsetFetchRequest, OffsetFetchRequestGroup};
use ottla::wire::offset_for_leader_epoch::{
    OffsetForLeaderEpochRequest, OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use ottla::wire::produce::ProduceRequest;
use ottla::wire::{ApiKey, ErrorCode};
use ottla::{Broker, Clock, Durability, Listener};
use tempfile::TempDir;

use super::client::{RawClient, batch, header, now, patched, produce_request, sequenced};
use super::conformance::{
    BY_NAME, fetch, fetched, metadata, offset_at, produced, producer_id, records,
};
use super::{create, listening};
use crate::support::{copy_dir, file_in, flip_bit, within};

async fn client_of(listener: &Listener) -> RawClient {
    RawClient::connect(listener.local_addr()).await
}

/// A broker on disk that listens.
async fn on_disk(dir: &TempDir) -> (Broker, Listener) {
    let broker = Broker::open(dir.path()).await.unwrap();
    let listener = broker.listen("127.0.0.1:0").await.unwrap();
    (broker, listener)
}

fn named() -> ApiVersionsRequest {
    ApiVersionsRequest {
        client_software_name: "a".to_owned(),
        client_software_version: "1".to_owned(),
    }
}

fn topic(name: &str, partitions: i32, factor: i16, configs: &[(&str, &str)]) -> CreatableTopic {
    let setting = |(name, value): &(&str, &str)| CreatableTopicConfig {
        name: (*name).to_owned(),
        value: Some((*value).to_owned()),
    };
    CreatableTopic {
        name: name.to_owned(),
        num_partitions: partitions,
        replication_factor: factor,
        configs: configs.iter().map(setting).collect(),
        ..CreatableTopic::default()
    }
}

/// What becomes of each.
async fn created(client: &mut RawClient, topics: Vec<CreatableTopic>) -> Vec<ErrorCode> {
    let request = CreateTopicsRequest { topics, timeout_ms: 10_000, validate_only: false };
    let answer = client.ask(&request, 7).await;
    answer.topics.iter().map(|it| it.error_code).collect()
}

/// Old librdkafkas look for single versions, and compress only for a broker that says it has
/// version 0 of Produce; other clients know but one version, or the highest here.
#[tokio::test]
async fn every_client_finds_the_versions_that_it_uses() {
    let (_broker, listener) = listening().await;
    let answer = client_of(&listener).await.ask(&ApiVersionsRequest::default(), 0).await;
    let range = |key| {
        let told = answer.api_keys.iter().find(|it| it.api_key == key);
        told.map(|it| it.min_version..=it.max_version)
    };
    let clients: [(&str, &[(i16, i16)]); 8] = [
        (
            "librdkafka 2.0, by single versions",
            &[(0, 0), (0, 3), (0, 7), (1, 4), (1, 10), (2, 1), (10, 0), (22, 0)],
        ),
        ("librdkafka 2.0", &[(0, 7), (1, 11), (2, 2), (3, 4), (19, 4), (20, 1), (22, 4), (23, 2)]),
        ("rskafka", &[(0, 3), (1, 4), (2, 3), (3, 4), (19, 5), (20, 5)]),
        ("kafka-python 2.0", &[(0, 7), (1, 4), (2, 1), (3, 0), (3, 1), (10, 0)]),
        ("aiokafka", &[(0, 8), (1, 11), (2, 5), (3, 5), (22, 0)]),
        ("kafkajs", &[(0, 7), (1, 11), (2, 3), (3, 6), (10, 2), (18, 2), (22, 1)]),
        ("Sarama", &[(0, 10), (1, 12), (2, 6), (3, 11), (10, 3), (19, 7), (20, 6), (22, 4)]),
        ("franz-go", &[(0, 11), (1, 17), (2, 10), (3, 12), (10, 5), (18, 4), (22, 5), (23, 4)]),
    ];
    for (client, versions) in clients {
        for (key, version) in versions {
            assert!(range(*key).unwrap().contains(version), "{client}: {key} {version}");
        }
    }
    // Telemetry would make every client try it, and KIP-848 its groups.
    assert_eq!([range(68), range(71), range(72)], [None, None, None]);
    assert_eq!(answer.api_keys.len(), ApiKey::ALL.len());
}

/// Before 2.2 librdkafka reads on at the wrong place behind a tagged field. It has two flexible
/// answers. No tagged field also means that no feature is finalized: with `transaction.version` Java
/// would begin transactions of the second kind.
#[tokio::test]
async fn old_librdkafkas_meet_no_tagged_field() {
    let (_broker, listener) = listening().await;
    let mut client = client_of(&listener).await;
    for version in [3, 4] {
        client.send(&named(), version).await;
        let mut frame = client.frame().await.unwrap();
        // Correlation id, error, and the array's length. The header has no room for tagged fields.
        frame.advance(4);
        assert_eq!(frame.get_i16(), 0);
        let count = frame.get_u8() - 1;
        for _ in 0..count {
            frame.advance(6);
            assert_eq!(frame.get_u8(), 0);
        }
        assert_eq!(frame[..], [0, 0, 0, 0, 0], "throttle time, and no tagged fields");
    }
    let request = InitProducerIdRequest::default();
    for version in 2..=4 {
        let id = client.send(&request, version).await;
        let frame = client.frame().await.unwrap();
        let start = [&id.to_be_bytes()[..], &[0], &[0; 4], &[0; 2]].concat();
        assert_eq!(frame[..11], start[..], "id, no tagged fields, throttle time, no error");
        assert_eq!((frame.len(), &frame[19..]), (22, &[0, 0, 0][..]), "epoch, no tagged fields");
    }
}

/// What Kafka has beyond this ends the connection, as it is not said to be there.
#[tokio::test]
async fn only_what_is_said_to_be_there_is_served() {
    let (_broker, listener) = listening().await;
    // Newer versions; telemetry; transactions; the newer protocol of groups.
    for (key, version) in [
        (0, 12),
        (1, 18),
        (3, 13),
        (8, 10),
        (9, 10),
        (10, 6),
        (15, 6),
        (17, 2),
        (36, 3),
        (71, 0),
        (24, 0),
        (68, 0),
    ] {
        let mut client = client_of(&listener).await;
        client.send_frame(&[&header(key, version)[..], &[0; 20]].concat()).await;
        client.is_closed().await;
    }
    // Who asks in an unknown version learns everything, where Kafka tells the range of this one.
    let mut client = client_of(&listener).await;
    client.send_frame(&header(18, 5)).await;
    let frame = client.frame().await.unwrap();
    assert_eq!(frame[4..10], [0, 35, 0, 0, 0, ApiKey::ALL.len() as u8]);
}

#[tokio::test]
async fn transactions_are_refused_for_good() {
    let (_broker, listener) = listening().await;
    create(listener.local_addr(), "t", 1, &[]).await;
    let mut client = client_of(&listener).await;
    let refused = ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED;
    for version in 1..=5 {
        let request = FindCoordinatorRequest {
            key: "x".to_owned(),
            key_type: 1,
            coordinator_keys: vec!["x".to_owned()],
        };
        let answer = client.ask(&request, version).await;
        let code = answer.coordinators.first().map_or(answer.error_code, |it| it.error_code);
        assert_eq!(code, refused, "version {version}");
    }
    let transactional_id = Some("x".to_owned());
    let request = InitProducerIdRequest {
        transactional_id: transactional_id.clone(),
        transaction_timeout_ms: 1000,
        ..InitProducerIdRequest::default()
    };
    for version in ApiKey::InitProducerId.versions() {
        let answer = client.ask(&request, version).await;
        assert_eq!((answer.error_code, answer.producer_id), (refused, -1));
    }
    let request = ProduceRequest { transactional_id, ..produce_request("t", 0, batch(&["a"]), -1) };
    let answer = client.ask(&request, 9).await;
    assert_eq!(answer.responses[0].partition_responses[0].error_code, refused);
}

#[tokio::test]
async fn topics_are_created_more_freely() {
    let (_broker, listener) = listening().await;
    let mut client = client_of(&listener).await;
    for factor in [1, 3, i16::MAX] {
        let name = format!("replicas-{factor}");
        let request = CreateTopicsRequest {
            topics: vec![topic(&name, 1, factor, &[("min.insync.replicas", "two")])],
            // Whatever it says, it is waited for.
            timeout_ms: 0,
            validate_only: false,
        };
        let told = client.ask(&request, 7).await.topics.remove(0);
        assert_eq!((told.error_code, told.replication_factor), (ErrorCode::NONE, 1));
        let answer = client.ask(&metadata(Some(&[&name]), false), 12).await;
        assert_eq!(answer.topics[0].partitions[0].replica_nodes, [1]);
    }
    // There at once, and not after an error.
    let answer = client.ask(&metadata(Some(&["asked.for"]), true), 12).await;
    let found = &answer.topics[0];
    assert_eq!((found.error_code, found.partitions.len()), (ErrorCode::NONE, 1));
    // And a collision is told, where Kafka says for ever that there is no such topic.
    let answer = client.ask(&metadata(Some(&["asked_for"]), true), 12).await;
    assert_eq!(answer.topics[0].error_code, ErrorCode::INVALID_TOPIC_EXCEPTION);
    // In one request as well.
    let codes = created(&mut client, vec![topic("a.b", 1, 1, &[]), topic("a_b", 1, 1, &[])]).await;
    assert_eq!(codes, [ErrorCode::NONE, ErrorCode::INVALID_TOPIC_EXCEPTION]);
}

#[tokio::test]
async fn topics_are_created_within_limits() {
    let (_broker, listener) = listening().await;
    let mut client = client_of(&listener).await;
    for (refused, code) in [
        (topic("t", 1, 1, &[("flush.messages", "5")]), ErrorCode::INVALID_CONFIG),
        // Nothing in memory survives a loss of power.
        (topic("t", 1, 1, &[("flush.messages", "1")]), ErrorCode::INVALID_CONFIG),
        (topic("t", 1, 1, &[("cleanup.policy", "")]), ErrorCode::INVALID_CONFIG),
        (topic("__consumer_offsets", 1, 1, &[]), ErrorCode::INVALID_REQUEST),
    ] {
        assert_eq!(created(&mut client, vec![refused.clone()]).await, [code], "{refused:?}");
    }
    let request = CreateTopicsRequest {
        topics: vec![topic("t", 1, 1, &[])],
        timeout_ms: 10_000,
        validate_only: true,
    };
    let would = client.ask(&request, 7).await.topics.remove(0);
    assert_eq!(would.topic_id, TopicId([0; 16]), "what is not there has no id");
    let mut names: Vec<_> = would.configs.unwrap().into_iter().map(|it| it.name).collect();
    names.sort();
    let expected = "cleanup.policy compression.type delete.retention.ms index.interval.bytes \
                    max.message.bytes message.timestamp.after.max.ms \
                    message.timestamp.before.max.ms message.timestamp.type \
                    min.cleanable.dirty.ratio min.compaction.lag.ms ottla.partition.max.bytes \
                    retention.bytes retention.ms segment.bytes segment.ms";
    assert_eq!(names.join(" "), expected);
}

/// As durable as Kafka's by default, and as `flush.messages` says; what is created for the asking
/// is as the broker's own topics are.
#[tokio::test]
async fn durability_is_kafkas_for_those_who_create_topics() {
    let dir = TempDir::new().unwrap();
    let (broker, listener) = on_disk(&dir).await;
    let mut client = client_of(&listener).await;
    let topics = vec![topic("plain", 1, 1, &[]), topic("synced", 1, 1, &[("flush.messages", "1")])];
    assert_eq!(created(&mut client, topics).await, [ErrorCode::NONE; 2]);
    client.ask(&metadata(Some(&["asked"]), true), 12).await;
    for (topic, durability) in [
        ("plain", Durability::Process),
        ("synced", Durability::Power),
        ("asked", Durability::Power),
    ] {
        assert_eq!(broker.describe_topic(topic).unwrap().durability, durability, "{topic}");
    }
}

/// Kafka has one request of a connection at a time; here appending does not wait for those before
/// it, though its answer does.
#[tokio::test]
async fn appending_does_not_wait_for_a_fetch_before_it() {
    let (_broker, listener) = listening().await;
    create(listener.local_addr(), "t", 2, &[]).await;
    let mut client = client_of(&listener).await;
    let waiting = FetchRequest { max_wait_ms: i32::MAX, ..fetch("t", 1, 0) };
    let first = client.send(&waiting, BY_NAME).await;
    let second = client.send(&produce_request("t", 0, batch(&["a"]), -1), 7).await;
    let mut other = client_of(&listener).await;
    within(async { while offset_at(&mut other, "t", LATEST).await.offset == 0 {} }).await;
    other.ask(&produce_request("t", 1, batch(&["b"]), -1), 7).await;
    let answer = client.receive::<FetchRequest>(first, BY_NAME).await;
    assert_eq!(records(&answer.responses[0].partitions[0]), [(0, "b".to_owned())]);
    client.receive::<ProduceRequest>(second, 7).await;
}

/// Kafka refuses the first, and of the second appends the last batch only.
#[tokio::test]
async fn what_is_asked_for_twice_is_done_twice() {
    let (_broker, listener) = listening().await;
    create(listener.local_addr(), "t", 1, &[]).await;
    let mut client = client_of(&listener).await;
    let latest = ListOffsetsPartition { timestamp: LATEST, ..ListOffsetsPartition::default() };
    let partitions = vec![latest.clone(), latest];
    let topics = vec![ListOffsetsTopic { name: "t".to_owned(), partitions }];
    let request = ListOffsetsRequest { topics, ..ListOffsetsRequest::default() };
    let answer = client.ask(&request, 7).await;
    let codes: Vec<_> = answer.topics[0].partitions.iter().map(|it| it.error_code).collect();
    assert_eq!(codes, [ErrorCode::NONE; 2]);
    let mut request = produce_request("t", 0, batch(&["a"]), -1);
    let again = produce_request("t", 0, batch(&["b"]), -1).topic_data.remove(0);
    request.topic_data[0].partition_data.extend(again.partition_data);
    let answer = client.ask(&request, 7).await;
    let told = answer.responses[0].partition_responses.iter();
    assert_eq!(told.map(|it| it.base_offset).collect::<Vec<_>>(), [0, 1]);
}

#[tokio::test]
async fn batches_that_kafka_mends_or_stumbles_over_are_refused() {
    let (_broker, listener) = listening().await;
    create(listener.local_addr(), "t", 1, &[]).await;
    let mut client = client_of(&listener).await;
    let sound = batch(&["a", "b"]);
    for (what, records, code) in [
        ("a byte behind it", [&sound[..], b"x"].concat().into(), ErrorCode::INVALID_RECORD),
        ("LogAppendTime", patched(&sound, 21, &[0, 8]), ErrorCode::INVALID_TIMESTAMP),
        (
            "an id without epoch",
            sequenced(&[(now(), "a")], Some((5, -1, 0))),
            ErrorCode::INVALID_RECORD,
        ),
        ("codec 5", patched(&sound, 21, &[0, 5]), ErrorCode::UNSUPPORTED_COMPRESSION_TYPE),
    ] {
        let answer = client.produce("t", records).await;
        assert_eq!((answer.error_code, answer.base_offset), (code, -1), "{what}");
        // Kafka tells where the log starts, and no message.
        assert_eq!((answer.log_start_offset, answer.error_message.is_some()), (-1, true), "{what}");
    }
    // What comes again has no time of the broker's: none was set.
    let id = producer_id(&mut client, 4).await;
    for _ in 0..2 {
        let answer = client.produce("t", sequenced(&[(now(), "a")], Some((id, 0, 0)))).await;
        assert_eq!((answer.base_offset, answer.log_append_time_ms), (0, -1));
    }
}

/// A few bytes may be very many, once they are decompressed.
#[cfg(feature = "zstd")]
#[tokio::test]
async fn a_batch_has_64_mib_at_most_once_it_is_decompressed() {
    use ottla::batch::{Compression, compress};

    let (_broker, listener) = listening().await;
    let mut client = client_of(&listener).await;
    create(listener.local_addr(), "t", 1, &[]).await;
    for (mib, code) in [(63, ErrorCode::NONE), (65, ErrorCode::MESSAGE_TOO_LARGE)] {
        let plain = batch(&[&"x".repeat(mib << 20)]);
        let records = compress(&plain, Compression::Zstd).unwrap();
        assert!(records.len() < 100_000, "{}", records.len());
        let answer = client.produce("t", records.freeze()).await;
        assert_eq!(answer.error_code, code, "{mib} MiB: {answer:?}");
    }
}

/// `producer.id.expiration.ms`: after a day of silence a producer may begin anywhere.
#[tokio::test]
async fn producers_are_forgotten_after_a_day() {
    const HOUR: Duration = Duration::from_secs(3600);
    let clock = Clock::manual();
    let broker = Broker::builder().clock(clock.clone()).in_memory().await.unwrap();
    let listener = broker.listen("127.0.0.1:0").await.unwrap();
    let mut client = client_of(&listener).await;
    create(listener.local_addr(), "t", 1, &[("message.timestamp.type", "LogAppendTime")]).await;
    let id = producer_id(&mut client, 4).await;
    let mut send = async |sequence| {
        let records = sequenced(&[(now(), "a")], Some((id, 0, sequence)));
        client.produce("t", records).await.error_code
    };
    assert_eq!(send(0).await, ErrorCode::NONE);
    clock.advance(23 * HOUR);
    assert_eq!(send(5).await, ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER);
    clock.advance(2 * HOUR);
    within(async {
        while send(5).await != ErrorCode::NONE {
            clock.advance(HOUR / 12);
        }
    })
    .await;
    assert_eq!(send(9).await, ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER);
}

#[tokio::test]
async fn a_fetch_is_taken_as_a_consumers_and_limits_below_0_for_0() {
    let (_broker, listener) = listening().await;
    create(listener.local_addr(), "t", 1, &[]).await;
    let mut client = client_of(&listener).await;
    produced(&mut client, "t", batch(&["a"])).await;
    let mut negative = FetchRequest { max_bytes: -1, min_bytes: -1, ..fetch("t", 0, 0) };
    negative.topics[0].partitions[0].partition_max_bytes = -1;
    for request in [
        negative,
        FetchRequest { replica_id: 5, ..fetch("t", 0, 0) },
        FetchRequest { isolation_level: 2, ..fetch("t", 0, 0) },
    ] {
        let data = fetched(&mut client, &request).await;
        assert_eq!(records(&data), [(0, "a".to_owned())], "{request:?}");
    }
    // Of nothing there is no session.
    let nothing = FetchRequest { session_epoch: 0, topics: Vec::new(), ..fetch("t", 0, 0) };
    assert_eq!(client.ask(&nothing, BY_NAME).await.session_id, 0);
    // An id that is gone is unknown, in a session as outside of one.
    let found = client.ask(&metadata(Some(&["t"]), false), 12).await;
    let mut by_id = FetchRequest { session_epoch: 0, ..fetch("t", 0, 0) };
    by_id.topics[0].topic_id = found.topics[0].topic_id;
    let session_id = client.ask(&by_id, 13).await.session_id;
    let topic_names = vec!["t".to_owned()];
    client.ask(&DeleteTopicsRequest { topic_names, ..DeleteTopicsRequest::default() }, 5).await;
    let again = FetchRequest { session_id, session_epoch: 1, topics: Vec::new(), ..by_id };
    let answer = client.ask(&again, 13).await;
    let code = answer.responses[0].partitions[0].error_code;
    assert_eq!(code, ErrorCode::UNKNOWN_TOPIC_ID);
}

/// Nobody but groups creates it or writes to it, and nobody removes it.
#[tokio::test]
async fn the_groups_own_topic_is_only_read() {
    let dir = TempDir::new().unwrap();
    let (broker, listener) = on_disk(&dir).await;
    let own = "__consumer_offsets";
    let mut client = client_of(&listener).await;
    let unknown = client.ask(&metadata(Some(&[own]), true), 12).await.topics.remove(0);
    let code = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
    assert_eq!((unknown.error_code, unknown.is_internal), (code, true));
    create(listener.local_addr(), "t", 1, &[]).await;
    produced(&mut client, "t", batch(&["a"])).await;
    let mut member = broker.consumer().group("g").subscribe(["t"]).await.unwrap();
    within(member.recv()).await.unwrap();
    member.commit().await.unwrap();
    let known = client.ask(&metadata(Some(&[own]), true), 12).await.topics.remove(0);
    assert_eq!((known.error_code, known.is_internal), (ErrorCode::NONE, true));
    let answer = client.produce(own, batch(&["a"])).await;
    assert_eq!(answer.error_code, ErrorCode::INVALID_TOPIC_EXCEPTION);
    let request =
        DeleteTopicsRequest { topic_names: vec![own.to_owned()], ..DeleteTopicsRequest::default() };
    let answer = client.ask(&request, 5).await;
    assert_eq!(answer.responses[0].error_code, ErrorCode::INVALID_REQUEST);
}

/// Ids of the cluster, of topics and of producers; what producers have sent; and the leader epoch,
/// which Kafka raises each time.
#[tokio::test]
async fn a_restart_changes_nothing() {
    let dir = TempDir::new().unwrap();
    let (mut told, mut given) = (Vec::new(), Vec::new());
    for _ in 0..2 {
        let (broker, listener) = on_disk(&dir).await;
        let mut client = client_of(&listener).await;
        if given.is_empty() {
            create(listener.local_addr(), "t", 1, &[]).await;
        }
        let answer = client.ask(&metadata(Some(&["t"]), false), 12).await;
        let found = &answer.topics[0];
        told.push((answer.cluster_id, found.topic_id, found.partitions[0].leader_epoch));
        given.push(producer_id(&mut client, 4).await);
        let sent = sequenced(&[(now(), "a")], Some((given[0], 0, 0)));
        assert_eq!(produced(&mut client, "t", sent).await, 0, "known again");
        assert_eq!(offset_at(&mut client, "t", LATEST).await.offset, 1);
        listener.close().await;
        broker.shutdown().await.unwrap();
    }
    assert_eq!(told[0], told[1]);
    assert_ne!(given[0], given[1], "an id was given out twice");
}

/// Only where records may be lost does a new epoch begin; who comes with the old one is told.
#[tokio::test]
async fn a_crash_begins_an_epoch() {
    let (live, dir) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (_broker, listener) = on_disk(&live).await;
    create(listener.local_addr(), "t", 1, &[]).await;
    produced(&mut client_of(&listener).await, "t", batch(&["a", "b"])).await;
    copy_dir(live.path(), dir.path());
    let (_broker, listener) = on_disk(&dir).await;
    let mut client = client_of(&listener).await;
    let answer = client.ask(&metadata(Some(&["t"]), false), 12).await;
    let epoch = answer.topics[0].partitions[0].leader_epoch;
    assert!(epoch > 0, "{epoch}");
    let end_of = |current_leader_epoch| OffsetForLeaderEpochRequest {
        replica_id: -1,
        topics: vec![OffsetForLeaderTopic {
            topic: "t".to_owned(),
            partitions: vec![OffsetForLeaderPartition {
                current_leader_epoch,
                ..OffsetForLeaderPartition::default()
            }],
        }],
    };
    for (current, code) in [
        (epoch - 1, ErrorCode::FENCED_LEADER_EPOCH),
        (epoch, ErrorCode::NONE),
        (epoch + 1, ErrorCode::UNKNOWN_LEADER_EPOCH),
    ] {
        let mut request = FetchRequest { max_wait_ms: 0, ..fetch("t", 0, 0) };
        request.topics[0].partitions[0].current_leader_epoch = current;
        assert_eq!(fetched(&mut client, &request).await.error_code, code);
        let end = client.ask(&end_of(current), 4).await.topics[0].partitions[0].clone();
        assert_eq!(end.error_code, code);
        if code == ErrorCode::NONE {
            assert_eq!((end.leader_epoch, end.end_offset), (0, 2), "of epoch 0");
        }
    }
}

/// A batch without records stands for what can't be read: readers go on behind it.
#[tokio::test]
async fn a_gap_of_damage_looks_like_one_of_compaction() {
    let dir = TempDir::new().unwrap();
    let (broker, listener) = on_disk(&dir).await;
    create(listener.local_addr(), "t", 1, &[]).await;
    let mut client = client_of(&listener).await;
    for value in ["a", "b", "c"] {
        produced(&mut client, "t", batch(&[value])).await;
    }
    listener.close().await;
    broker.shutdown().await.unwrap();
    let log = file_in(&dir.path().join("t-0"), "log");
    let size = std::fs::metadata(&log).unwrap().len() as usize / 3;
    flip_bit(&log, 2 * size - 2);
    let (_broker, listener) = on_disk(&dir).await;
    let mut client = client_of(&listener).await;
    let (mut offset, mut found) = (0, Vec::new());
    while offset < 3 {
        let data = fetched(&mut client, &fetch("t", 0, offset)).await;
        assert_eq!(data.error_code, ErrorCode::NONE);
        let mut bytes: Bytes = data.records.into_bytes();
        while !bytes.is_empty() {
            let batch = Batch::parse_checked(bytes.clone()).unwrap();
            bytes = bytes.slice(batch.bytes().len()..);
            found.push((batch.header().base_offset, batch.header().record_count));
            offset = batch.header().next_offset();
        }
    }
    assert_eq!(found, [(0, 1), (1, 0), (2, 1)]);
}

/// By the address that each has reached, unless another is advertised.
#[tokio::test]
async fn clients_are_told_where_they_are() {
    let broker = Broker::in_memory().await.unwrap();
    let plain = broker.listen("127.0.0.1:0").await.unwrap();
    let other = broker.listener().advertise("broker.example", 7).node_id(5);
    let other = other.bind("127.0.0.1:0").await.unwrap();
    let port = i32::from(plain.local_addr().port());
    for (listener, expected) in
        [(&plain, (1, "127.0.0.1".to_owned(), port)), (&other, (5, "broker.example".to_owned(), 7))]
    {
        let answer = client_of(listener).await.ask(&MetadataRequest::default(), 9).await;
        let told = &answer.brokers[0];
        assert_eq!((told.node_id, told.host.clone(), told.port), expected);
    }
}

/// Kafka takes commits to it, as clients of long ago made them.
#[tokio::test]
async fn the_group_without_a_name_has_nothing() {
    let (_broker, listener) = listening().await;
    create(listener.local_addr(), "t", 1, &[]).await;
    let mut client = client_of(&listener).await;
    let partition = OffsetCommitRequestPartition::default();
    let topic = OffsetCommitRequestTopic { name: "t".to_owned(), partitions: vec![partition] };
    let commit = OffsetCommitRequest {
        generation_id_or_member_epoch: -1,
        topics: vec![topic],
        ..OffsetCommitRequest::default()
    };
    let answer = client.ask_newest(&commit).await;
    assert_eq!(answer.topics[0].partitions[0].error_code, ErrorCode::INVALID_GROUP_ID);
    let fetch = OffsetFetchRequest {
        groups: vec![OffsetFetchRequestGroup::default()],
        ..OffsetFetchRequest::default()
    };
    let group = client.ask_newest(&fetch).await.groups.remove(0);
    assert_eq!((group.error_code, group.topics.len()), (ErrorCode::NONE, 0));
}

/// Nothing of a broker, and of a topic not what it promises, changes while it is there.
#[tokio::test]
async fn a_brokers_settings_stay() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::open(dir.path()).await.unwrap();
    let listener = broker.listen("127.0.0.1:0").await.unwrap();
    create(listener.local_addr(), "fast", 1, &[]).await;
    create(listener.local_addr(), "safe", 1, &[("flush.messages", "1")]).await;
    let mut client = client_of(&listener).await;
    let (topic, node) = (2, 4);
    for (kind, name, setting, operation, value, code) in [
        (node, "1", "num.partitions", 0, Some("3"), ErrorCode::INVALID_REQUEST),
        (node, "", "log.retention.ms", 0, Some("3"), ErrorCode::INVALID_REQUEST),
        (topic, "fast", "flush.messages", 0, Some("1"), ErrorCode::INVALID_CONFIG),
        (topic, "fast", "flush.messages", 1, None, ErrorCode::NONE),
        (topic, "safe", "flush.messages", 0, Some(" 1"), ErrorCode::NONE),
        (topic, "safe", "flush.messages", 0, Some("2"), ErrorCode::INVALID_CONFIG),
        (topic, "safe", "flush.messages", 1, None, ErrorCode::INVALID_CONFIG),
        (topic, "safe", "min.insync.replicas", 0, Some("9"), ErrorCode::NONE),
        (topic, "safe", "retention.ms", 9, Some("9"), ErrorCode::INVALID_REQUEST),
        (topic, "__consumer_offsets", "retention.ms", 0, Some("9"), ErrorCode::INVALID_REQUEST),
    ] {
        // So that the last of them is there.
        broker.admin().groups().await.unwrap();
        let config = AlterableConfig {
            name: setting.to_owned(),
            config_operation: operation,
            value: value.map(str::to_owned),
        };
        let resource = AlterConfigsResource {
            resource_type: kind,
            resource_name: name.to_owned(),
            configs: vec![config],
        };
        let request =
            IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false };
        let told = client.ask_newest(&request).await.responses.remove(0);
        assert_eq!(told.error_code, code, "{name} {setting} {value:?}: {:?}", told.error_message);
    }
    let asked = |name: &str| DescribeConfigsResource {
        resource_type: node,
        resource_name: name.to_owned(),
        configuration_keys: None,
    };
    let request = DescribeConfigsRequest {
        resources: vec![asked(""), asked("1")],
        include_synonyms: true,
        include_documentation: false,
    };
    let results = client.ask_newest(&request).await.results;
    assert_eq!((results[0].error_code, results[0].configs.len()), (ErrorCode::NONE, 0));
    // Nobody can say what it would be otherwise.
    let id = results[1].configs.iter().find(|it| it.name == "node.id").unwrap();
    assert_eq!((id.value.as_deref(), id.synonyms.len()), (Some("1"), 1));
}
