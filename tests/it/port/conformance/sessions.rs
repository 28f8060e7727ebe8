//! Fetch sessions (KIP-227).

use ottla::wire::ErrorCode;
use ottla::wire::fetch::{FetchRequest, ForgottenTopic};

use super::super::client::batch;
use super::{BY_NAME, fetch, produced, records, targets};

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
        // It is of names, and stays so.
        let by_id = client.ask(&with(id, 3, nothing()), 13).await;
        assert_eq!(by_id.error_code, ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR);
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
async fn a_session_grows_and_repeats_what_is_wrong() {
    for target in targets("grows").await {
        let (topic, mut client) = (&target.topic, target.with_topic(&[]).await);
        produced(&mut client, topic, batch(&["a"])).await;
        let mut ask = async |id, epoch, asked: Option<(&str, i64)>| {
            let mut request = FetchRequest {
                session_id: id,
                session_epoch: epoch,
                max_wait_ms: 50,
                ..fetch(asked.map_or("", |it| it.0), 0, asked.map_or(0, |it| it.1))
            };
            if asked.is_none() {
                request.topics.clear();
            }
            let answer = client.ask(&request, BY_NAME).await;
            let told = answer.responses.iter().map(|it| (it.topic.clone(), &it.partitions[0]));
            let told = told.map(|(it, data)| (it, data.error_code, !data.records.is_empty()));
            (answer.error_code, answer.session_id, told.collect::<Vec<_>>())
        };
        let (code, id, told) = ask(0, 0, Some((topic, 1))).await;
        assert_eq!((code, told), (ErrorCode::NONE, vec![(topic.clone(), ErrorCode::NONE, false)]));
        let unknown = ("nowhere".to_owned(), ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, false);
        let wrong = (ErrorCode::NONE, id, vec![unknown.clone()]);
        assert_eq!(ask(id, 1, Some(("nowhere", 0))).await, wrong);
        assert_eq!(ask(id, 2, None).await, wrong, "as long as it is wrong");
        let (_, _, mut told) = ask(id, 3, Some((topic, 0))).await;
        told.sort();
        let mut expected = vec![unknown, (topic.clone(), ErrorCode::NONE, true)];
        expected.sort();
        assert_eq!(told, expected);
        // Beginning anew ends it.
        let (code, other, _) = ask(id, 0, Some((topic, 1))).await;
        assert_eq!(code, ErrorCode::NONE);
        assert!(other != 0 && other != id);
        assert_eq!(ask(id, 4, None).await.0, ErrorCode::FETCH_SESSION_ID_NOT_FOUND);
    }
}
