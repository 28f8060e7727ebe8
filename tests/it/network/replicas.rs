//! Reading from a replica that is nearer than the leader (KIP-392).

use bytes::Bytes;
use ottla::wire::fetch::{
    EpochEndOffset, FetchRequest, FetchResponse, FetchableTopicResponse, PartitionData,
};
use ottla::wire::{ErrorCode, Records, RequestHeader, decode_request};
use ottla::{Broker, Consumer, Error, Record};

use super::fronts::{Fate, Fronts, View, answered};
use super::impatient;
use crate::support::{assert_error, take_values, within};

/// The answer to a fetch of one partition.
pub(super) fn told(header: &RequestHeader, body: &Bytes, data: PartitionData) -> Fate {
    let request = decode_request::<FetchRequest>(body, header.version).unwrap();
    let topic = &request.topics[0];
    let partition_index = topic.partitions[0].partition;
    let response = FetchableTopicResponse {
        topic: topic.topic.clone(),
        topic_id: topic.topic_id,
        partitions: vec![PartitionData { partition_index, ..data }],
    };
    let response = FetchResponse { responses: vec![response], ..FetchResponse::default() };
    Fate::Answered(answered::<FetchRequest>(header, &response))
}

fn rack_of(header: &RequestHeader, body: &Bytes) -> String {
    decode_request::<FetchRequest>(body, header.version).unwrap().rack_id
}

/// Node 0 leads, and sends readers in rack `b` to node 1, which answers by `replica`.
async fn fronts(
    replica: impl Fn(&View, &RequestHeader, &Bytes) -> Fate + Clone + Send + 'static,
) -> Fronts {
    let broker = Broker::in_memory().await.unwrap();
    Fronts::before(broker, move |view, node, header, body| match (header.api_key, node) {
        (1, 1) => replica(view, header, body),
        (1, 0) if rack_of(header, body) == "b" && view.fetches[0] == 1 => {
            told(header, body, PartitionData { preferred_read_replica: 1, ..Default::default() })
        }
        _ => Fate::PassedOn,
    })
    .await
}

async fn send(fronts: &Fronts, value: &str) {
    let producer = fronts.broker.producer().build();
    producer.send(Record::to("t").value(value.to_owned())).await.unwrap();
}

async fn reader(fronts: &Fronts, rack: &str) -> Consumer {
    let client = impatient().metadata_max_age(std::time::Duration::from_secs(60));
    let client = client.connect(&fronts.address).await.unwrap();
    client.consumer().client_rack(rack).subscribe(["t"]).await.unwrap()
}

#[tokio::test]
async fn a_replica_is_read_where_the_leader_says_so() {
    within(async {
        let (fronts, others) =
            (fronts(|_, _, _| Fate::PassedOn).await, fronts(|_, _, _| Fate::PassedOn).await);
        send(&others, "0").await;
        let mut far = reader(&others, "a").await;
        assert_eq!(take_values(&mut far, 1).await, ["0"]);
        assert_eq!(others.view(|view| view.fetches[1]), 0);

        send(&fronts, "0").await;
        let mut near = reader(&fronts, "b").await;
        for value in ["1", "2", "3"] {
            send(&fronts, value).await;
        }
        assert_eq!(take_values(&mut near, 4).await, ["0", "1", "2", "3"]);
        let (leader, replica) = fronts.view(|view| (view.fetches[0], view.fetches[1]));
        assert!(leader == 1 && replica > 0, "{leader} {replica}");
    })
    .await
}

/// What a replica refuses is the leader's to say: it may only be behind, or gone.
#[tokio::test]
async fn a_replica_that_fails_is_left_for_the_leader() {
    within(async {
        let refused = |error_code| PartitionData { error_code, ..PartitionData::default() };
        let diverging_epoch = EpochEndOffset { epoch: 0, end_offset: 0 };
        let diverging = PartitionData { diverging_epoch, ..PartitionData::default() };
        for (name, data) in [
            ("out of range", Some(refused(ErrorCode::OFFSET_OUT_OF_RANGE))),
            ("not a replica", Some(refused(ErrorCode::NOT_LEADER_OR_FOLLOWER))),
            ("unknown", Some(refused(ErrorCode::UNKNOWN_SERVER_ERROR))),
            ("behind", Some(diverging)),
            (
                "damaged",
                Some(PartitionData {
                    records: Records::new(vec![Bytes::from_static(&[7; 61])]),
                    ..PartitionData::default()
                }),
            ),
            ("gone", None),
        ] {
            let fronts = fronts(move |_, header, body| match &data {
                Some(data) => told(header, body, data.clone()),
                None => Fate::CutOff,
            })
            .await;
            send(&fronts, name).await;
            let mut consumer = reader(&fronts, "b").await;
            assert_eq!(take_values(&mut consumer, 1).await, [name]);
            let (leader, replica) = fronts.view(|view| (view.fetches[0], view.fetches[1]));
            assert!(leader >= 2 && replica == 1, "{name}: {leader} {replica}");
        }
    })
    .await
}

#[tokio::test]
async fn a_replica_that_leaves_the_cluster_is_not_asked() {
    within(async {
        let fronts = fronts(|_, _, _| Fate::PassedOn).await;
        send(&fronts, "0").await;
        let client = impatient().connect(&fronts.address).await.unwrap();
        let mut consumer = client.consumer().client_rack("b").subscribe(["t"]).await.unwrap();
        assert_eq!(take_values(&mut consumer, 1).await, ["0"]);
        fronts.view(|view| view.nodes = vec![0]);
        // Fetches that have begun there are answered; then it is the leader's turn.
        while fronts.view(|view| view.fetches[0] < 2) {
            send(&fronts, "1").await;
            assert_eq!(take_values(&mut consumer, 1).await, ["1"]);
        }
    })
    .await
}

#[tokio::test]
async fn the_leader_is_asked_again_now_and_then() {
    within(async {
        let broker = Broker::in_memory().await.unwrap();
        let fronts = Fronts::before(broker, |_, node, header, body| {
            let data = PartitionData { preferred_read_replica: 1, ..PartitionData::default() };
            match (header.api_key, node) {
                (1, 0) => told(header, body, data),
                _ => Fate::PassedOn,
            }
        })
        .await;
        send(&fronts, "0").await;
        // After `metadata_max_age`, which is 100 ms here.
        let client = impatient().connect(&fronts.address).await.unwrap();
        let mut consumer = client.consumer().client_rack("b").subscribe(["t"]).await.unwrap();
        assert_eq!(take_values(&mut consumer, 1).await, ["0"]);
        while fronts.view(|view| view.fetches[0] < 3) {
            send(&fronts, "1").await;
            assert_eq!(take_values(&mut consumer, 1).await, ["1"]);
        }
        assert!(fronts.view(|view| view.fetches[1] >= 3));
    })
    .await
}

#[tokio::test]
async fn brokers_that_know_no_racks_are_asked_without() {
    within(async {
        let fronts = fronts(|_, _, _| Fate::PassedOn).await;
        fronts.view(|view| view.fetch_version = 10);
        send(&fronts, "0").await;
        let mut consumer = reader(&fronts, "b").await;
        assert_eq!(take_values(&mut consumer, 1).await, ["0"]);
        assert_eq!(fronts.view(|view| view.fetches[1]), 0);
        let client = impatient().connect(&fronts.address).await.unwrap();
        let long = client.consumer().client_rack("b".repeat(250)).subscribe(["t"]).await;
        assert_error!(long, Error::InvalidConfig { .. }, "client.rack", "250 bytes", "249");
    })
    .await
}
