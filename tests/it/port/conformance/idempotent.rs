//! Idempotent producers: ids, and batches that come again.

use std::collections::BTreeSet;

use ottla::wire::init_producer_id::InitProducerIdRequest;
use ottla::wire::{ApiKey, ErrorCode};

use super::super::client::{now, sequenced};
use super::{produced, producer_id, targets};

#[tokio::test]
async fn idempotent_producers_write_once() {
    for target in targets("idempotent").await {
        let (topic, mut client) = (&target.topic, target.with_topic(&[]).await);
        let mut ids = BTreeSet::new();
        for version in ApiKey::InitProducerId.versions() {
            let id = producer_id(&mut client, version).await;
            assert!(ids.insert(id), "an id was given out twice");
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
async fn the_last_five_batches_are_known_when_they_come_again() {
    for target in targets("again").await {
        let (topic, mut client) = (&target.topic, target.with_topic(&[]).await);
        let (id, ts) = (producer_id(&mut client, 4).await, now());
        let mut send = async |sequence, count: usize| {
            let records = sequenced(&vec![(ts, "x"); count], Some((id, 0, sequence)));
            let answer = client.produce(topic, records).await;
            (answer.error_code, answer.base_offset)
        };
        for sequence in 0..6 {
            assert_eq!(send(sequence, 1).await, (ErrorCode::NONE, sequence.into()));
        }
        for sequence in 1..6 {
            assert_eq!(send(sequence, 1).await, (ErrorCode::NONE, sequence.into()));
        }
        let refused = (ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, -1);
        // Older than those; parts of them, or more than one; and what leaves a gap.
        for (sequence, count) in [(0, 1), (4, 2), (5, 2), (7, 1)] {
            assert_eq!(send(sequence, count).await, refused, "{sequence} {count}");
        }
        assert_eq!(send(6, 1).await, (ErrorCode::NONE, 6));
    }
}

#[tokio::test]
async fn a_batch_that_comes_again_has_the_time_that_it_had() {
    for target in targets("againtime").await {
        let settings = [("message.timestamp.type", "LogAppendTime")];
        let (topic, mut client) = (&target.topic, target.with_topic(&settings).await);
        let id = producer_id(&mut client, 4).await;
        let records = sequenced(&[(5, "x")], Some((id, 0, 0)));
        let first = client.produce(topic, records.clone()).await;
        let again = client.produce(topic, records).await;
        assert_eq!((again.error_code, again.base_offset), (ErrorCode::NONE, 0));
        assert_eq!(again.log_append_time_ms, first.log_append_time_ms);
    }
}

#[tokio::test]
async fn an_id_comes_with_an_epoch() {
    for target in targets("half").await {
        let mut client = target.client().await;
        producer_id(&mut client, 4).await;
        for (transactional_id, producer_id, producer_epoch, code) in [
            (None, 5, -1, ErrorCode::INVALID_REQUEST),
            (None, -1, 5, ErrorCode::INVALID_REQUEST),
            (Some(String::new()), -1, -1, ErrorCode::INVALID_REQUEST),
            // Without a transaction, what the producer had before does not matter.
            (None, 5, 5, ErrorCode::NONE),
        ] {
            let request = InitProducerIdRequest {
                transactional_id,
                transaction_timeout_ms: 1000,
                producer_id,
                producer_epoch,
            };
            let answer = client.ask(&request, 4).await;
            let epoch = if code == ErrorCode::NONE { 0 } else { -1 };
            assert_eq!((answer.error_code, answer.producer_epoch), (code, epoch));
        }
    }
}
