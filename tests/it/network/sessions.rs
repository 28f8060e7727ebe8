//! Fetch sessions (KIP-227): what has not changed is not asked for again.

use std::sync::{Arc, Mutex};

use ottla::wire::fetch::{FetchRequest, FetchResponse};
use ottla::wire::{ErrorCode, decode_request};
use ottla::{Broker, Record, TopicConfig};

use super::fronts::{Fate, Fronts, answered};
use super::impatient;
use crate::support::{take_values, within};

const PARTITIONS: i32 = 50;

/// A request: its number in its session, and how many partitions it names.
type Asked = (i32, usize);

#[tokio::test]
async fn partitions_without_news_are_not_named_again() {
    within(async {
        let broker = Broker::in_memory().await.unwrap();
        let topic = TopicConfig::new().partitions(PARTITIONS);
        broker.admin().create_topic("t", topic).await.unwrap();
        let seen = Arc::new(Mutex::new(Vec::<Asked>::new()));
        let seeing = seen.clone();
        let fronts = Fronts::before(broker, move |_, _, header, body| {
            if header.api_key == 1 {
                let request = decode_request::<FetchRequest>(body, header.version).unwrap();
                let named = request.topics.iter().map(|topic| topic.partitions.len()).sum();
                let mut seen = seeing.lock().unwrap();
                seen.push((request.session_epoch, named));
                // Once, the broker has forgotten it.
                if request.session_epoch > 0 && seen.len() == 10 {
                    let error_code = ErrorCode::FETCH_SESSION_ID_NOT_FOUND;
                    let refused = FetchResponse { error_code, ..FetchResponse::default() };
                    return Fate::Answered(answered::<FetchRequest>(header, &refused));
                }
            }
            Fate::PassedOn
        })
        .await;
        let client = impatient().connect(&fronts.address).await.unwrap();
        let mut consumer = client.consumer().subscribe(["t"]).await.unwrap();
        let producer = fronts.broker.producer().build();
        let mut sent = 0;
        while seen.lock().unwrap().len() < 30 {
            let record = Record::to("t").partition(sent * 7 % PARTITIONS).value(sent.to_string());
            producer.send(record).await.unwrap();
            assert_eq!(take_values(&mut consumer, 1).await, [sent.to_string()]);
            sent += 1;
        }
        let seen = seen.lock().unwrap();
        let all = |it: &&Asked| it.1 == PARTITIONS as usize;
        assert!(seen.iter().filter(all).all(|(epoch, _)| *epoch == 0), "{seen:?}");
        assert!(seen.iter().filter(all).count() <= 2, "{seen:?}");
        assert!(seen.iter().any(|(epoch, _)| *epoch >= 10), "{seen:?}");
    })
    .await
}
