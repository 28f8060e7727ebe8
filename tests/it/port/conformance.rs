//! What both ottla and Apache Kafka do.

use std::collections::BTreeSet;
use std::net::{SocketAddr, ToSocketAddrs};

use bytes::Bytes;
use ottla::batch::Batch;
use ottla::topic::TopicId;
use ottla::wire::api_versions::ApiVersionsRequest;
use ottla::wire::create_topics::{CreatableTopic, CreateTopicsRequest};
use ottla::wire::delete_topics::{DeleteTopicState, DeleteTopicsRequest};
use ottla::wire::fetch::{FetchPartition, FetchRequest, FetchTopic, ForgottenTopic, PartitionData};
use ottla::wire::find_coordinator::FindCoordinatorRequest;
use ottla::wire::init_producer_id::InitProducerIdRequest;
use ottla::wire::list_offsets::{
    EARLIEST, LATEST, ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsRequest,
    ListOffsetsTopic, MAX_TIMESTAMP,
};
use ottla::wire::metadata::{MetadataRequest, MetadataRequestTopic};
use ottla::wire::offset_for_leader_epoch::{
    OffsetForLeaderEpochRequest, OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use ottla::wire::{ApiKey, ErrorCode};
use ottla::{Broker, Listener};

use super::client::{RawClient, batch, header, now, produce_request, sequenced, timed};
use super::{create, listening};

/// Who is asked.
struct Target {
    address: SocketAddr,
    /// Told apart from those of other runs.
    topic: String,
    ours: Option<(Broker, Listener)>,
}

impl Target {
    async fn client(&self) -> RawClient {
        RawClient::connect(self.address).await
    }

    /// A client, and a topic of one partition.
    async fn with_topic(&self, configs: &[(&str, &str)]) -> RawClient {
        create(self.address, &self.topic, 1, configs).await;
        let mut client = self.client().await;
        // Kafka says that it is there a moment before it can be used.
        while offset_at(&mut client, &self.topic, LATEST).await.error_code != ErrorCode::NONE {}
        while client.ask(&metadata(Some(&[&self.topic]), false), 12).await.topics[0]
            .partitions
            .iter()
            .any(|it| it.error_code != ErrorCode::NONE)
        {}
        client
    }
}

/// Ours, and a real Kafka if there is one.
async fn targets(test: &str) -> Vec<Target> {
    let (broker, listener) = listening().await;
    let topic = format!("{test}-{:x}", now());
    let address = listener.local_addr();
    let mut all = vec![Target { address, topic: topic.clone(), ours: Some((broker, listener)) }];
    if let Ok(kafka) = std::env::var("OTTLA_TEST_KAFKA") {
        let address = kafka.to_socket_addrs().unwrap().next().unwrap();
        all.push(Target { address, topic, ours: None });
    }
    all
}

fn metadata(topics: Option<&[&str]>, create: bool) -> MetadataRequest {
    let topics = topics.map(|topics| {
        let named = |name: &&str| MetadataRequestTopic {
            name: Some((*name).to_owned()),
            ..MetadataRequestTopic::default()
        };
        topics.iter().map(named).collect()
    });
    MetadataRequest { topics, allow_auto_topic_creation: create, ..MetadataRequest::default() }
}

/// One partition from an offset on, by its name, outside of any session.
pub(super) fn fetch(topic: &str, partition: i32, offset: i64) -> FetchRequest {
    let partition = FetchPartition {
        partition,
        fetch_offset: offset,
        partition_max_bytes: 10 << 20,
        ..FetchPartition::default()
    };
    let topic = FetchTopic {
        topic: topic.to_owned(),
        partitions: vec![partition],
        ..FetchTopic::default()
    };
    FetchRequest {
        max_wait_ms: 10_000,
        min_bytes: 1,
        max_bytes: 50 << 20,
        topics: vec![topic],
        ..FetchRequest::default()
    }
}

/// Version 12 still names topics.
const BY_NAME: i16 = 12;

async fn fetched(client: &mut RawClient, request: &FetchRequest) -> PartitionData {
    let mut answer = client.ask(request, BY_NAME).await;
    assert_eq!(answer.error_code, ErrorCode::NONE);
    answer.responses.remove(0).partitions.remove(0)
}

/// Offsets and values.
fn records(data: &PartitionData) -> Vec<(i64, String)> {
    let mut bytes = data.records.clone().into_bytes();
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let batch = Batch::parse_checked(bytes.clone()).unwrap();
        bytes = bytes.slice(batch.bytes().len()..);
        for record in batch.records() {
            let record = record.unwrap();
            let value = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
            found.push((record.offset, value));
        }
    }
    found
}

async fn produced(client: &mut RawClient, topic: &str, records: Bytes) -> i64 {
    let answer = client.produce(topic, records).await;
    assert_eq!(answer.error_code, ErrorCode::NONE, "{answer:?}");
    answer.base_offset
}

async fn offset_at(
    client: &mut RawClient,
    topic: &str,
    timestamp: i64,
) -> ListOffsetsPartitionResponse {
    let partition = ListOffsetsPartition { timestamp, ..ListOffsetsPartition::default() };
    let name = topic.to_owned();
    let topics = vec![ListOffsetsTopic { name, partitions: vec![partition] }];
    let request = ListOffsetsRequest { topics, ..ListOffsetsRequest::default() };
    client.ask(&request, 7).await.topics.remove(0).partitions.remove(0)
}

#[tokio::test]
async fn versions_are_told_in_every_version() {
    for target in targets("versions").await {
        let mut client = target.client().await;
        let request = ApiVersionsRequest {
            client_software_name: "raw-client".to_owned(),
            client_software_version: "1.0".to_owned(),
        };
        for version in ApiKey::ApiVersions.versions() {
            let answer = client.ask(&request, version).await;
            assert_eq!(answer.error_code, ErrorCode::NONE);
            // All that is described here is served by both.
            for api in ApiKey::ALL {
                let told = answer.api_keys.iter().find(|it| it.api_key == *api as i16).unwrap();
                let described = api.versions();
                assert!(told.min_version <= *described.start(), "{api:?}");
                assert!(told.max_version >= *described.end(), "{api:?}");
            }
        }
        // An unknown version is answered in the oldest; the connection goes on.
        client.send_frame(&[&header(18, 99)[..], b"whatever"].concat()).await;
        let frame = client.frame().await.unwrap();
        assert_eq!(frame[..6], [0, 0, 0, 7, 0, 35], "UNSUPPORTED_VERSION");
        let own = [0, 18, 0, 0, 0, 4];
        assert!(frame.windows(6).any(|window| window == own), "its own versions are there");
        let nameless = ApiVersionsRequest { client_software_name: "-".to_owned(), ..request };
        let answer = client.ask(&nameless, 3).await;
        assert_eq!(answer.error_code, ErrorCode::INVALID_REQUEST);
    }
}

/// Old librdkafkas compress only for a broker that says it has version 0, and read no further than
/// a tagged field; telemetry would make every client try it.
#[tokio::test]
async fn the_versions_that_librdkafka_looks_for_are_there() {
    let (_broker, listener) = listening().await;
    let mut client = RawClient::connect(listener.local_addr()).await;
    let answer = client.ask(&ApiVersionsRequest::default(), 0).await;
    let range = |key| {
        let told = answer.api_keys.iter().find(|it| it.api_key == key);
        told.map(|it| it.min_version..=it.max_version)
    };
    for (key, version) in [(0, 0), (0, 3), (0, 7), (1, 4), (1, 10), (2, 1), (10, 0), (22, 0)] {
        assert!(range(key).unwrap().contains(&version), "{key} {version}");
    }
    assert_eq!((range(71), range(72)), (None, None));
    let request = ApiVersionsRequest {
        client_software_name: "a".to_owned(),
        client_software_version: "1".to_owned(),
    };
    let id = client.send(&request, 3).await;
    let frame = client.frame().await.unwrap();
    assert_eq!(frame[..4], id.to_be_bytes());
    assert_eq!(frame[frame.len() - 1], 0, "no tagged fields");
}

#[tokio::test]
async fn metadata_names_what_there_is() {
    for target in targets("metadata").await {
        let mut client = target.with_topic(&[]).await;
        let one = client.ask(&metadata(Some(&[&target.topic]), false), 12).await;
        let topic = &one.topics[0];
        assert_eq!(topic.name.as_deref(), Some(&*target.topic));
        assert_ne!(topic.topic_id, TopicId([0; 16]));
        assert_eq!(topic.partitions.len(), 1);
        let partition = &topic.partitions[0];
        assert_eq!((partition.leader_id, partition.leader_epoch), (one.controller_id, 0));
        assert_eq!(partition.replica_nodes, [one.controller_id]);
        assert_eq!(partition.isr_nodes, [one.controller_id]);
        assert!(one.cluster_id.is_some_and(|id| !id.is_empty()));
        assert_eq!((one.brokers[0].port, one.brokers.len()), (target.address.port().into(), 1));
        // All: by null, or in version 0 by none; none by none.
        let has = |names: Vec<Option<String>>| names.contains(&Some(target.topic.clone()));
        for (request, version, all) in [
            (metadata(None, false), 12, true),
            (metadata(Some(&[]), false), 0, true),
            (metadata(Some(&[]), false), 1, false),
        ] {
            let answer = client.ask(&request, version).await;
            let names = answer.topics.into_iter().map(|it| it.name).collect();
            assert_eq!(has(names), all, "version {version}");
        }
        let unknown = format!("{}-unknown", target.topic);
        let answer = client.ask(&metadata(Some(&[&unknown, "a b", ""]), false), 12).await;
        let codes: BTreeSet<ErrorCode> = answer.topics.iter().map(|it| it.error_code).collect();
        let expected = [ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, ErrorCode::INVALID_TOPIC_EXCEPTION];
        assert_eq!(codes, BTreeSet::from(expected));
        let by_id = |id| MetadataRequest {
            topics: Some(vec![MetadataRequestTopic { topic_id: id, name: None }]),
            ..metadata(None, false)
        };
        let answer = client.ask(&by_id(topic.topic_id), 12).await;
        assert_eq!(answer.topics[0].name.as_deref(), Some(&*target.topic));
        let answer = client.ask(&by_id(TopicId([7; 16])), 12).await;
        assert_eq!(answer.topics[0].error_code, ErrorCode::UNKNOWN_TOPIC_ID);
    }
}

/// Ours answers with the new topic at once, where Kafka first says that it has no leader.
#[tokio::test]
async fn asking_for_an_unknown_topic_creates_it_if_allowed() {
    let (_broker, listener) = listening().await;
    let mut client = RawClient::connect(listener.local_addr()).await;
    let answer = client.ask(&metadata(Some(&["t"]), false), 4).await;
    assert_eq!(answer.topics[0].error_code, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    let answer = client.ask(&metadata(Some(&["t"]), true), 4).await;
    assert_eq!(
        (answer.topics[0].error_code, answer.topics[0].partitions.len()),
        (ErrorCode::NONE, 1)
    );
    // Before version 4 it always does.
    let answer = client.ask(&metadata(Some(&["old"]), false), 1).await;
    assert_eq!(answer.topics[0].error_code, ErrorCode::NONE);
}

#[tokio::test]
async fn what_is_produced_is_fetched() {
    for target in targets("produce").await {
        let (topic, mut client) = (&target.topic, target.with_topic(&[]).await);
        assert_eq!(produced(&mut client, topic, batch(&["a", "b", "c"])).await, 0);
        assert_eq!(produced(&mut client, topic, batch(&["d"])).await, 3);
        for version in ApiKey::Produce.versions() {
            let request = produce_request(topic, 0, batch(&["e"]), 1);
            let answer = client.ask(&request, version).await;
            let partition = &answer.responses[0].partition_responses[0];
            assert_eq!(partition.error_code, ErrorCode::NONE, "version {version}");
            assert_eq!(partition.log_append_time_ms, -1);
            assert_eq!(partition.log_start_offset, if version < 5 { -1 } else { 0 });
        }
        // In the middle of a batch: all of it comes.
        let data = fetched(&mut client, &fetch(topic, 0, 1)).await;
        assert_eq!(records(&data)[0], (0, "a".to_owned()));
        assert_eq!(records(&data).len(), 13);
        assert_eq!(
            (data.high_watermark, data.last_stable_offset, data.log_start_offset),
            (13, 13, 0)
        );
        assert_eq!(data.aborted_transactions, None);
        let committed = FetchRequest { isolation_level: 1, ..fetch(topic, 0, 1) };
        let data = fetched(&mut client, &committed).await;
        assert_eq!(data.aborted_transactions.unwrap_or_default(), []);
        for version in ApiKey::Fetch.versions().filter(|version| *version <= BY_NAME) {
            let answer = client.ask(&fetch(topic, 0, 12), version).await;
            assert_eq!(records(&answer.responses[0].partitions[0]), [(12, "e".to_owned())]);
        }
    }
}

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
            request.topics[0].topic_id = TopicId([7; 16]);
            let answer = client.ask(&request, version).await;
            let code = answer.responses[0].partitions[0].error_code;
            assert_eq!(code, ErrorCode::UNKNOWN_TOPIC_ID);
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

#[tokio::test]
async fn limits_of_a_fetch_leave_one_batch() {
    for target in targets("limits").await {
        let topic = &target.topic;
        create(target.address, topic, 2, &[]).await;
        let mut client = target.client().await;
        let value = "x".repeat(1000);
        for partition in [0, 1, 0, 1] {
            let request = produce_request(topic, partition, batch(&[&value]), -1);
            let answer = loop {
                let answer = client.ask(&request, 7).await;
                let code = answer.responses[0].partition_responses[0].error_code;
                // Kafka may not lead it yet.
                if code != ErrorCode::NOT_LEADER_OR_FOLLOWER || target.ours.is_some() {
                    break code;
                }
            };
            assert_eq!(answer, ErrorCode::NONE);
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

#[tokio::test]
async fn sessions_tell_what_is_new() {
    for target in targets("session").await {
        let (topic, mut client) = (&target.topic, target.with_topic(&[]).await);
        let with = |id, epoch, request: FetchRequest| FetchRequest {
            session_id: id,
            session_epoch: epoch,
            max_wait_ms: 100,
            ..request
        };
        let nothing = || FetchRequest { topics: Vec::new(), ..fetch(topic, 0, 0) };
        // Whatever Kafka has to do first.
        produced(&mut client, topic, batch(&["before"])).await;
        let first = client.ask(&with(0, 0, fetch(topic, 0, 1)), BY_NAME).await;
        assert_eq!((first.error_code, first.responses.len()), (ErrorCode::NONE, 1));
        assert_eq!(first.responses[0].partitions[0].error_code, ErrorCode::NONE);
        let id = first.session_id;
        assert_ne!(id, 0);
        // Nothing is new, so nothing is told.
        let second = client.ask(&with(id, 1, nothing()), BY_NAME).await;
        assert_eq!((second.session_id, second.responses.len()), (id, 0));
        produced(&mut client, topic, batch(&["a"])).await;
        let third = client.ask(&with(id, 2, nothing()), BY_NAME).await;
        assert_eq!(records(&third.responses[0].partitions[0]), [(1, "a".to_owned())]);
        // It goes on where the client says.
        let fourth = client.ask(&with(id, 3, fetch(topic, 0, 2)), BY_NAME).await;
        assert_eq!(fourth.responses.len(), 0);
        for (id, epoch, code) in [
            (id, 9, ErrorCode::INVALID_FETCH_SESSION_EPOCH),
            (id ^ 1, 4, ErrorCode::FETCH_SESSION_ID_NOT_FOUND),
        ] {
            let answer = client.ask(&with(id, epoch, nothing()), BY_NAME).await;
            assert_eq!((answer.error_code, answer.session_id), (code, 0));
        }
        let forgotten = ForgottenTopic {
            topic: topic.clone(),
            partitions: vec![0],
            ..ForgottenTopic::default()
        };
        let forgetting = FetchRequest { forgotten_topics_data: vec![forgotten], ..nothing() };
        // Of nothing there is no session.
        let fifth = client.ask(&with(id, 4, forgetting), BY_NAME).await;
        assert_eq!((fifth.error_code, fifth.responses.len()), (ErrorCode::NONE, 0));
        assert_eq!(fifth.session_id, 0);
        let sixth = client.ask(&with(id, 5, nothing()), BY_NAME).await;
        assert_eq!(sixth.error_code, ErrorCode::FETCH_SESSION_ID_NOT_FOUND);
        // The last ends it.
        let another = client.ask(&with(0, 0, fetch(topic, 0, 0)), BY_NAME).await;
        let id = another.session_id;
        let last = client.ask(&with(id, -1, fetch(topic, 0, 0)), BY_NAME).await;
        assert_eq!((last.session_id, records(&last.responses[0].partitions[0]).len()), (0, 2));
        let gone = client.ask(&with(id, 1, nothing()), BY_NAME).await;
        assert_eq!(gone.error_code, ErrorCode::FETCH_SESSION_ID_NOT_FOUND);
    }
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
        let mut ask = async |leader_epoch| {
            let asked = OffsetForLeaderPartition { leader_epoch, ..Default::default() };
            let of = OffsetForLeaderTopic { topic: topic.clone(), partitions: vec![asked] };
            let request = OffsetForLeaderEpochRequest { replica_id: -1, topics: vec![of] };
            let mut answer = client.ask(&request, 4).await;
            let end = answer.topics.remove(0).partitions.remove(0);
            (end.error_code, end.leader_epoch, end.end_offset)
        };
        assert_eq!(ask(0).await, (ErrorCode::NONE, 0, 2));
        assert_eq!(ask(5).await, (ErrorCode::NONE, -1, -1));
    }
}

#[tokio::test]
async fn idempotent_producers_write_once() {
    for target in targets("idempotent").await {
        let (topic, mut client) = (&target.topic, target.with_topic(&[]).await);
        let mut ids = BTreeSet::new();
        for version in ApiKey::InitProducerId.versions() {
            let request = InitProducerIdRequest {
                transaction_timeout_ms: 1000,
                ..InitProducerIdRequest::default()
            };
            let mut answer = client.ask(&request, version).await;
            // Kafka's has to be loaded first.
            while answer.error_code == ErrorCode::COORDINATOR_LOAD_IN_PROGRESS {
                answer = client.ask(&request, version).await;
            }
            assert_eq!((answer.error_code, answer.producer_epoch), (ErrorCode::NONE, 0));
            assert!(ids.insert(answer.producer_id), "an id was given out twice");
        }
        let id = *ids.last().unwrap();
        let ts = now();
        let send = |epoch, sequence, values: &[&str]| {
            let records: Vec<_> = values.iter().map(|value| (ts, *value)).collect();
            sequenced(&records, Some((id, epoch, sequence)))
        };
        let steps = [
            (send(0, 0, &["a", "b"]), ErrorCode::NONE, 0),
            (send(0, 2, &["c"]), ErrorCode::NONE, 2),
            // Again: told where it is, and not written.
            (send(0, 0, &["a", "b"]), ErrorCode::NONE, 0),
            (send(0, 2, &["c"]), ErrorCode::NONE, 2),
            (send(0, 4, &["e"]), ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, -1),
            (send(1, 1, &["f"]), ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, -1),
            (send(1, 0, &["g"]), ErrorCode::NONE, 3),
            (send(0, 3, &["h"]), ErrorCode::INVALID_PRODUCER_EPOCH, -1),
            (send(1, 1, &["i"]), ErrorCode::NONE, 4),
        ];
        for (records, code, offset) in steps {
            let answer = client.produce(topic, records).await;
            assert_eq!((answer.error_code, answer.base_offset), (code, offset), "{answer:?}");
        }
        // A producer that is not known may begin anywhere; the numbers go round.
        let other = *ids.first().unwrap();
        let last = sequenced(&[(ts, "x"), (ts, "y")], Some((other, 0, i32::MAX - 1)));
        assert_eq!(produced(&mut client, topic, last).await, 5);
        let first = sequenced(&[(ts, "z")], Some((other, 0, 0)));
        assert_eq!(produced(&mut client, topic, first).await, 7);
    }
}

#[tokio::test]
async fn what_a_topic_does_not_take_is_told() {
    for target in targets("refused").await {
        let settings = [("max.message.bytes", "1000"), ("message.timestamp.after.max.ms", "1000")];
        let (topic, mut client) = (&target.topic, target.with_topic(&settings).await);
        let large = batch(&[&"x".repeat(2000)]);
        let late = timed(&[(now(), "fine"), (now() + 1_000_000, "late")]);
        let half = sequenced(&[(now(), "a")], Some((5, 0, -1)));
        for (records, code) in [
            (large, ErrorCode::MESSAGE_TOO_LARGE),
            (late.clone(), ErrorCode::INVALID_TIMESTAMP),
            (half, ErrorCode::INVALID_RECORD),
        ] {
            let answer = client.produce(topic, records).await;
            assert_eq!((answer.error_code, answer.base_offset), (code, -1));
        }
        let answer = client.produce(topic, late).await;
        assert_eq!(answer.record_errors.len(), 1);
        assert_eq!(answer.record_errors[0].batch_index, 1);
        let acks = produce_request(topic, 0, batch(&["a"]), 2);
        let answer = client.ask(&acks, 7).await;
        let code = answer.responses[0].partition_responses[0].error_code;
        assert_eq!(code, ErrorCode::INVALID_REQUIRED_ACKS);
        let unknown = produce_request("nowhere", 0, batch(&["a"]), -1);
        let answer = client.ask(&unknown, 7).await;
        let code = answer.responses[0].partition_responses[0].error_code;
        assert_eq!(code, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    }
}

#[tokio::test]
async fn compacted_topics_need_keys() {
    for target in targets("compacted").await {
        let mut client = target.with_topic(&[("cleanup.policy", "compact")]).await;
        let answer = client.produce(&target.topic, batch(&["a", "b"])).await;
        assert_eq!(answer.error_code, ErrorCode::INVALID_RECORD);
        assert_eq!(answer.record_errors.len(), 2);
    }
}

#[tokio::test]
async fn the_brokers_time_is_told() {
    for target in targets("appendtime").await {
        let settings = [("message.timestamp.type", "LogAppendTime")];
        let (topic, mut client) = (&target.topic, target.with_topic(&settings).await);
        let before = now();
        let answer = client.produce(topic, timed(&[(5, "a")])).await;
        assert_eq!(answer.error_code, ErrorCode::NONE);
        assert!((before..=now()).contains(&answer.log_append_time_ms), "{answer:?}");
        let data = fetched(&mut client, &fetch(topic, 0, 0)).await;
        let batch = Batch::parse_checked(data.records.into_bytes()).unwrap();
        assert_eq!(batch.header().max_timestamp, answer.log_append_time_ms);
        assert_eq!(batch.header().timestamp_type().to_string(), "LogAppendTime");
    }
}

#[tokio::test]
async fn topics_come_and_go() {
    for target in targets("create").await {
        let mut client = target.client().await;
        let topic = |name: &str, partitions, factor| CreatableTopic {
            name: name.to_owned(),
            num_partitions: partitions,
            replication_factor: factor,
            ..CreatableTopic::default()
        };
        let ask = |topics: Vec<CreatableTopic>, validate_only| CreateTopicsRequest {
            topics,
            validate_only,
            ..CreateTopicsRequest::default()
        };
        let name = &*target.topic;
        let good = ask(vec![topic(name, 3, 1)], true);
        let answer = client.ask_newest(&good).await;
        assert_eq!(answer.topics[0].error_code, ErrorCode::NONE);
        let answer = client.ask_newest(&CreateTopicsRequest { validate_only: false, ..good }).await;
        let made = answer.topics[0].clone();
        assert_eq!((made.error_code, made.num_partitions), (ErrorCode::NONE, 3));
        assert_eq!(made.replication_factor, 1);
        let configs = made.configs.unwrap();
        let retention = configs.iter().find(|it| it.name == "retention.ms").unwrap();
        assert_eq!((retention.value.as_deref(), retention.config_source), (Some("604800000"), 5));
        let (twice, other) = (format!("{name}-twice"), format!("{name}-other"));
        let mut odd = topic(&other, 1, 1);
        odd.configs.push(ottla::wire::create_topics::CreatableTopicConfig {
            name: "retention.ms".to_owned(),
            value: Some("soon".to_owned()),
        });
        for (topics, code) in [
            (vec![topic(name, 3, 1)], ErrorCode::TOPIC_ALREADY_EXISTS),
            (vec![topic("a b", 3, 1)], ErrorCode::INVALID_TOPIC_EXCEPTION),
            (vec![topic(&other, 0, 1)], ErrorCode::INVALID_PARTITIONS),
            (vec![topic(&other, 1, 0)], ErrorCode::INVALID_REPLICATION_FACTOR),
            (vec![topic(&twice, 1, 1), topic(&twice, 2, 1)], ErrorCode::INVALID_REQUEST),
            (vec![odd], ErrorCode::INVALID_CONFIG),
        ] {
            for version in [2, 7] {
                let answer = client.ask(&ask(topics.clone(), false), version).await;
                assert_eq!(answer.topics.len(), 1);
                assert_eq!(answer.topics[0].error_code, code, "{:?}", answer.topics);
                assert!(answer.topics[0].error_message.is_some());
            }
        }
        let by_name = DeleteTopicState { name: Some(name.to_owned()), ..Default::default() };
        let by_id = DeleteTopicState { name: None, topic_id: made.topic_id };
        let delete = |topics| DeleteTopicsRequest {
            topics,
            timeout_ms: 10_000,
            ..DeleteTopicsRequest::default()
        };
        let answer = client.ask(&delete(vec![by_id.clone()]), 6).await;
        assert_eq!(answer.responses[0].error_code, ErrorCode::NONE);
        assert_eq!(answer.responses[0].name.as_deref(), Some(name));
        for (topics, code) in [
            (vec![by_id], ErrorCode::UNKNOWN_TOPIC_ID),
            (vec![by_name], ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
        ] {
            let answer = client.ask(&delete(topics), 6).await;
            assert_eq!(answer.responses[0].error_code, code);
        }
        let old = DeleteTopicsRequest {
            topic_names: vec![name.to_owned()],
            timeout_ms: 10_000,
            ..DeleteTopicsRequest::default()
        };
        let answer = client.ask(&old, 1).await;
        assert_eq!(answer.responses[0].error_code, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    }
}

#[tokio::test]
async fn the_coordinator_is_this_broker() {
    let (_broker, listener) = listening().await;
    let mut client = RawClient::connect(listener.local_addr()).await;
    let port = i32::from(listener.local_addr().port());
    for version in ApiKey::FindCoordinator.versions() {
        let request = FindCoordinatorRequest {
            key: "g".to_owned(),
            key_type: 0,
            coordinator_keys: vec!["g".to_owned(), "h".to_owned()],
        };
        let answer = client.ask(&request, version).await;
        match version {
            0..=3 => assert_eq!((answer.node_id, answer.port), (1, port)),
            _ => {
                let found: Vec<_> = answer.coordinators.iter().map(|it| it.port).collect();
                assert_eq!(found, [port, port]);
            }
        }
    }
}

/// Answers come in order, though appending begins at once and fetching waits.
#[tokio::test]
async fn answers_come_in_the_order_of_requests() {
    for target in targets("order").await {
        let (topic, mut client) = (&target.topic, target.with_topic(&[]).await);
        let soon = FetchRequest { max_wait_ms: 200, min_bytes: 1 << 20, ..fetch(topic, 0, 0) };
        let first = client.send(&soon, BY_NAME).await;
        let second = client.send(&produce_request(topic, 0, batch(&["a"]), -1), 7).await;
        let third = client.send(&metadata(Some(&[topic]), false), 12).await;
        client.receive::<FetchRequest>(first, BY_NAME).await;
        let answer = client.receive::<ottla::wire::produce::ProduceRequest>(second, 7).await;
        assert_eq!(answer.responses[0].partition_responses[0].base_offset, 0);
        client.receive::<MetadataRequest>(third, 12).await;
    }
}
