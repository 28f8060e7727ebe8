//! What both ottla and Apache Kafka do, by theme.

mod admin;
mod commits;
mod configs;
mod coordinator;
mod fetch;
mod group_admin;
mod groups;
mod idempotent;
mod metadata;
mod offsets;
mod produce;
mod security;
mod sessions;
mod topics;
mod versions;

use std::net::{SocketAddr, ToSocketAddrs};

use bytes::Bytes;
use ottla::batch::Batch;
use ottla::wire::ErrorCode;
use ottla::wire::fetch::{FetchPartition, FetchRequest, FetchTopic, PartitionData};
use ottla::wire::find_coordinator::FindCoordinatorRequest;
use ottla::wire::init_producer_id::InitProducerIdRequest;
use ottla::wire::list_offsets::{
    LATEST, ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsRequest,
    ListOffsetsTopic,
};
use ottla::wire::metadata::{MetadataRequest, MetadataRequestTopic};
use ottla::wire::offset_fetch::{OffsetFetchRequest, OffsetFetchRequestGroup};
use ottla::{Broker, Listener};

use super::client::{RawClient, now};
use super::member::Member;
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
        self.with_partitions(&self.topic).await
    }

    /// A client, once a topic that was created can be used: Kafka says a moment before that it is
    /// there.
    async fn with_partitions(&self, topic: &str) -> RawClient {
        let mut client = self.client().await;
        while offset_at(&mut client, topic, LATEST).await.error_code != ErrorCode::NONE {}
        while client.ask(&metadata(Some(&[topic]), false), 12).await.topics[0]
            .partitions
            .iter()
            .any(|it| it.error_code != ErrorCode::NONE)
        {}
        client
    }

    /// A client whose groups can be asked: Kafka makes room for them first, and loads them.
    pub(super) async fn group_client(&self) -> RawClient {
        let mut client = self.client().await;
        let find = FindCoordinatorRequest {
            coordinator_keys: vec!["g".to_owned()],
            ..FindCoordinatorRequest::default()
        };
        while client.ask_newest(&find).await.coordinators[0].error_code != ErrorCode::NONE {}
        let group = OffsetFetchRequestGroup {
            group_id: "g".to_owned(),
            topics: Some(Vec::new()),
            ..OffsetFetchRequestGroup::default()
        };
        let fetch = OffsetFetchRequest { groups: vec![group], ..OffsetFetchRequest::default() };
        while client.ask_newest(&fetch).await.groups[0].error_code != ErrorCode::NONE {}
        client
    }

    /// Somebody who is about to join the group of this test.
    pub(super) async fn member(&self) -> Member {
        Member::new(self.group_client().await, &self.topic)
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

pub(super) fn metadata(topics: Option<&[&str]>, create: bool) -> MetadataRequest {
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
pub(super) const BY_NAME: i16 = 12;

pub(super) async fn fetched(client: &mut RawClient, request: &FetchRequest) -> PartitionData {
    let mut answer = client.ask(request, BY_NAME).await;
    assert_eq!(answer.error_code, ErrorCode::NONE);
    answer.responses.remove(0).partitions.remove(0)
}

/// Offsets and values.
pub(super) fn records(data: &PartitionData) -> Vec<(i64, String)> {
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

pub(super) async fn produced(client: &mut RawClient, topic: &str, records: Bytes) -> i64 {
    let answer = client.produce(topic, records).await;
    assert_eq!(answer.error_code, ErrorCode::NONE, "{answer:?}");
    answer.base_offset
}

pub(super) async fn offset_at(
    client: &mut RawClient,
    topic: &str,
    timestamp: i64,
) -> ListOffsetsPartitionResponse {
    listed(client, topic, timestamp, 7).await
}

async fn listed(
    client: &mut RawClient,
    topic: &str,
    timestamp: i64,
    version: i16,
) -> ListOffsetsPartitionResponse {
    let partition = ListOffsetsPartition { timestamp, ..ListOffsetsPartition::default() };
    let name = topic.to_owned();
    let topics = vec![ListOffsetsTopic { name, partitions: vec![partition] }];
    let request = ListOffsetsRequest { topics, ..ListOffsetsRequest::default() };
    client.ask(&request, version).await.topics.remove(0).partitions.remove(0)
}

/// An id that no producer had before.
pub(super) async fn producer_id(client: &mut RawClient, version: i16) -> i64 {
    let request =
        InitProducerIdRequest { transaction_timeout_ms: 1000, ..InitProducerIdRequest::default() };
    loop {
        let answer = client.ask(&request, version).await;
        // Kafka's have to be loaded first.
        if answer.error_code != ErrorCode::COORDINATOR_LOAD_IN_PROGRESS {
            assert_eq!((answer.error_code, answer.producer_epoch), (ErrorCode::NONE, 0));
            return answer.producer_id;
        }
    }
}
