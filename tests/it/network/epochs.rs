//! Whether what was read is still there when another broker leads (KIP-320).

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use ottla::wire::fetch::{EpochEndOffset, PartitionData};
use ottla::wire::offset_for_leader_epoch::{
    EpochEndOffset as End, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
    OffsetForLeaderTopicResult,
};
use ottla::wire::{ErrorCode, RequestHeader, decode_request};
use ottla::{ApiKey, Broker, Consumer, Error, Record};

use super::fronts::{Fate, Fronts, View, answered};
use super::impatient;
use super::replicas::told;
use crate::support::{assert_error, take_values, within};

const FETCH: i16 = ApiKey::Fetch as i16;
const OFFSET_FOR_LEADER_EPOCH: i16 = ApiKey::OffsetForLeaderEpoch as i16;

/// What a leader was asked: who, its epoch, and the epoch of the position.
type Asked = Arc<Mutex<Vec<(i32, i32, i32)>>>;

/// Both nodes read the same log. Node 1 answers questions for epochs by `end`.
async fn fronts(
    fetch_version: i16,
    end: impl Fn(usize) -> End + Clone + Send + 'static,
) -> (Fronts, Asked) {
    let asked = Asked::default();
    let (seen, broker) = (asked.clone(), Broker::in_memory().await.unwrap());
    let script = move |_: &View, node, header: &RequestHeader, body: &Bytes| {
        if header.api_key != OFFSET_FOR_LEADER_EPOCH {
            return Fate::PassedOn;
        }
        let request = decode_request::<OffsetForLeaderEpochRequest>(body, header.version).unwrap();
        assert_eq!(request.replica_id, -1);
        let it = &request.topics[0].partitions[0];
        let mut seen = seen.lock().unwrap();
        seen.push((node, it.current_leader_epoch, it.leader_epoch));
        let topic = OffsetForLeaderTopicResult {
            topic: "t".to_owned(),
            partitions: vec![end(seen.len() - 1)],
        };
        let response = OffsetForLeaderEpochResponse { topics: vec![topic], throttle_time_ms: 0 };
        match node {
            0 => Fate::PassedOn,
            _ => Fate::Answered(answered::<OffsetForLeaderEpochRequest>(header, &response)),
        }
    };
    let fronts = Fronts::before(broker, script).await;
    fronts.view(|view| view.fetch_version = fetch_version);
    let producer = fronts.broker.producer().build();
    for value in ["0", "1", "2", "3"] {
        producer.send(Record::to("t").value(value)).await.unwrap();
    }
    (fronts, asked)
}

/// Has read the first two; then the other node leads.
async fn reader_of(fronts: &Fronts) -> Consumer {
    let client = impatient().connect(&fronts.address).await.unwrap();
    // A batch at a time.
    let consumer = client.consumer().max_partition_fetch_bytes(1);
    let mut consumer = consumer.subscribe(["t"]).await.unwrap();
    assert_eq!(take_values(&mut consumer, 2).await, ["0", "1"]);
    consumer
}

fn lead_by_the_other(fronts: &Fronts) {
    fronts.view(|view| (view.leader, view.leader_epoch) = (1, 1));
}

#[tokio::test]
async fn a_new_leader_is_asked_before_anything_is_fetched_of_it() {
    within(async {
        // At first it can't say.
        let busy = ErrorCode::UNKNOWN_LEADER_EPOCH;
        let (fronts, asked) = fronts(11, move |nth| match nth {
            1 => End { error_code: busy, ..End::default() },
            _ => End { leader_epoch: 0, end_offset: i64::MAX, ..End::default() },
        })
        .await;
        let mut consumer = reader_of(&fronts).await;
        assert_eq!(*asked.lock().unwrap(), [(0, 0, 0)]);
        lead_by_the_other(&fronts);
        assert_eq!(take_values(&mut consumer, 2).await, ["2", "3"]);
        // What was fetched ahead came from the other one.
        let producer = fronts.broker.producer().build();
        while fronts.view(|view| view.fetches[1]) < 3 {
            producer.send(Record::to("t").value("more")).await.unwrap();
            assert_eq!(take_values(&mut consumer, 1).await, ["more"]);
        }
        assert_eq!(*asked.lock().unwrap(), [(0, 0, 0), (1, 1, 0), (1, 1, 0)], "twice, not thrice");
    })
    .await
}

#[tokio::test]
async fn what_a_new_leader_does_not_have_is_told() {
    within(async {
        let end = |_| End { leader_epoch: 0, end_offset: 1, ..End::default() };
        let (fronts, asked) = fronts(11, end).await;
        let mut consumer = reader_of(&fronts).await;
        lead_by_the_other(&fronts);
        // What was fetched ahead comes first.
        let error = loop {
            match consumer.recv().await {
                Ok(_) => {}
                failed => break failed,
            }
        };
        assert_error!(error, Error::Truncated { to: 1, .. }, "t-0", "truncated to offset 1");
        assert_eq!(asked.lock().unwrap()[1], (1, 1, 0));
        // An offset has no epoch: there is nothing to ask for.
        assert_eq!(take_values(&mut consumer, 1).await, ["1"]);
    })
    .await
}

#[tokio::test]
async fn brokers_that_tell_it_with_the_fetch_are_not_asked() {
    within(async {
        let (fronts, asked) = fronts(12, |_| End::default()).await;
        let mut consumer = reader_of(&fronts).await;
        lead_by_the_other(&fronts);
        while fronts.view(|view| view.fetches[1]) == 0 {
            let producer = fronts.broker.producer().build();
            producer.send(Record::to("t").value("more")).await.unwrap();
            take_values(&mut consumer, 1).await;
        }
        assert!(asked.lock().unwrap().is_empty());
    })
    .await
}

/// An epoch that has ended without a record is unknown to the next leader: nothing is lost.
#[tokio::test]
async fn an_older_epoch_that_reaches_the_position_is_as_good() {
    within(async {
        let broker = Broker::in_memory().await.unwrap();
        let fronts = Fronts::before(broker, |view, _, header, body| {
            let diverging_epoch = EpochEndOffset { epoch: 0, end_offset: 1 };
            match header.api_key == FETCH && view.fetches[0] == 1 {
                true => told(header, body, PartitionData { diverging_epoch, ..Default::default() }),
                false => Fate::PassedOn,
            }
        })
        .await;
        let producer = fronts.broker.producer().build();
        producer.send(Record::to("t").value("0")).await.unwrap();
        let client = impatient().connect(&fronts.address).await.unwrap();
        let mut consumer = client.consumer().subscribe(["t"]).await.unwrap();
        assert_eq!(take_values(&mut consumer, 1).await, ["0"]);
        assert!(fronts.view(|view| view.fetches[0]) > 1);
    })
    .await
}
