//! CreateTopics and DeleteTopics.

use ottla::topic::TopicId;
use ottla::wire::ErrorCode;
use ottla::wire::create_topics::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use ottla::wire::delete_topics::{DeleteTopicState, DeleteTopicsRequest};

use super::super::client::{RawClient, batch};
use super::super::create;
use super::{fetch, metadata, produced, targets};

fn delete(topics: Vec<DeleteTopicState>) -> DeleteTopicsRequest {
    DeleteTopicsRequest { topics, timeout_ms: 10_000, ..DeleteTopicsRequest::default() }
}

fn by_name(name: &str) -> DeleteTopicState {
    DeleteTopicState { name: Some(name.to_owned()), ..DeleteTopicState::default() }
}

fn by_id(topic_id: TopicId) -> DeleteTopicState {
    DeleteTopicState { name: None, topic_id }
}

async fn id_of(client: &mut RawClient, topic: &str) -> TopicId {
    client.ask(&metadata(Some(&[topic]), false), 12).await.topics[0].topic_id
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
        let would = client.ask_newest(&good).await.topics.remove(0);
        assert_eq!((would.error_code, would.num_partitions), (ErrorCode::NONE, 3));
        let answer = client.ask_newest(&CreateTopicsRequest { validate_only: false, ..good }).await;
        let made = answer.topics[0].clone();
        assert_eq!((made.error_code, made.num_partitions), (ErrorCode::NONE, 3));
        assert_eq!(made.replication_factor, 1);
        assert_eq!(would.configs, made.configs, "only asked, it is the same");
        let configs = made.configs.unwrap();
        let retention = configs.iter().find(|it| it.name == "retention.ms").unwrap();
        assert_eq!((retention.value.as_deref(), retention.config_source), (Some("604800000"), 5));
        let (twice, other) = (format!("{name}-twice"), format!("{name}-other"));
        let mut odd = topic(&other, 1, 1);
        odd.configs.push(CreatableTopicConfig {
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
        let answer = client.ask(&delete(vec![by_id(made.topic_id)]), 6).await;
        assert_eq!(answer.responses[0].error_code, ErrorCode::NONE);
        assert_eq!(answer.responses[0].name.as_deref(), Some(name));
        for (topics, code) in [
            (vec![by_id(made.topic_id)], ErrorCode::UNKNOWN_TOPIC_ID),
            (vec![by_name(name)], ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
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

/// It takes few bytes to ask for very many.
#[tokio::test]
async fn a_request_creates_only_so_many_partitions() {
    for target in targets("many").await {
        let mut client = target.client().await;
        let topic = |name: &str, num_partitions| CreatableTopic {
            name: format!("{}-{name}", target.topic),
            num_partitions,
            replication_factor: 1,
            ..CreatableTopic::default()
        };
        for (topics, code) in [
            (vec![topic("a", 10_001)], ErrorCode::POLICY_VIOLATION),
            (vec![topic("a", 1_000_000), topic("b", 1)], ErrorCode::POLICY_VIOLATION),
            (vec![topic("a", 9_000), topic("b", 1_001)], ErrorCode::POLICY_VIOLATION),
            // What is named twice does not count.
            (vec![topic("a", 6_000), topic("a", 6_000)], ErrorCode::INVALID_REQUEST),
            (vec![topic("a", 9_999), topic("b", 2)], ErrorCode::POLICY_VIOLATION),
            (vec![topic("a", 5_000), topic("b", -1)], ErrorCode::NONE),
        ] {
            let request = CreateTopicsRequest {
                topics,
                validate_only: true,
                ..CreateTopicsRequest::default()
            };
            let answer = client.ask_newest(&request).await;
            for told in &answer.topics {
                assert_eq!(told.error_code, code, "{told:?}");
            }
        }
    }
}

#[tokio::test]
async fn partitions_can_be_assigned_to_the_one_broker() {
    for target in targets("assigned").await {
        let mut client = target.client().await;
        let mut ask = async |partitions, factor, assigned: &[(i32, &[i32])]| {
            let assigned = assigned.iter().map(|(partition, brokers)| CreatableReplicaAssignment {
                partition_index: *partition,
                broker_ids: brokers.to_vec(),
            });
            let topic = CreatableTopic {
                name: target.topic.clone(),
                num_partitions: partitions,
                replication_factor: factor,
                assignments: assigned.collect(),
                configs: Vec::new(),
            };
            let topics = vec![topic];
            let request = CreateTopicsRequest { topics, timeout_ms: 10_000, validate_only: true };
            let told = client.ask(&request, 5).await.topics.remove(0);
            (told.error_code, told.num_partitions)
        };
        assert_eq!(ask(-1, -1, &[(1, &[1]), (0, &[1])]).await, (ErrorCode::NONE, 2));
        assert_eq!(ask(2, -1, &[(0, &[1])]).await, (ErrorCode::INVALID_REQUEST, -1));
        assert_eq!(ask(-1, 1, &[(0, &[1])]).await, (ErrorCode::INVALID_REQUEST, -1));
        let bad = (ErrorCode::INVALID_REPLICA_ASSIGNMENT, -1);
        let odd: [&[(i32, &[i32])]; 6] = [
            &[(0, &[9])],
            &[(0, &[1, 2])],
            &[(0, &[1, 1])],
            &[(0, &[])],
            &[(0, &[1]), (2, &[1])],
            &[(0, &[1]), (0, &[1])],
        ];
        for assigned in odd {
            assert_eq!(ask(-1, -1, assigned).await, bad, "{assigned:?}");
        }
        assert_eq!(ask(-1, -1, &[]).await, (ErrorCode::NONE, 1), "the defaults");
    }
}

#[tokio::test]
async fn settings_are_checked() {
    for target in targets("settings").await {
        let mut client = target.client().await;
        for (name, value, code) in [
            ("retention.ms", Some(" 5000 "), ErrorCode::NONE),
            ("cleanup.policy", Some("compact,delete"), ErrorCode::NONE),
            ("compression.type", Some("uncompressed"), ErrorCode::NONE),
            ("min.insync.replicas", Some("2"), ErrorCode::NONE),
            ("retention.ms", None, ErrorCode::INVALID_CONFIG),
            ("retention.ms", Some("-2"), ErrorCode::INVALID_CONFIG),
            ("segment.bytes", Some("14"), ErrorCode::INVALID_CONFIG),
            ("compression.type", Some("brotli"), ErrorCode::INVALID_CONFIG),
            ("remote.storage.enable", Some("true"), ErrorCode::INVALID_CONFIG),
            ("message.format.version", Some("2.8"), ErrorCode::INVALID_CONFIG),
            ("no.such", Some("1"), ErrorCode::INVALID_CONFIG),
        ] {
            let value = value.map(str::to_owned);
            let topic = CreatableTopic {
                name: target.topic.clone(),
                num_partitions: 1,
                replication_factor: 1,
                configs: vec![CreatableTopicConfig { name: name.to_owned(), value }],
                ..CreatableTopic::default()
            };
            let topics = vec![topic];
            let request = CreateTopicsRequest { topics, timeout_ms: 10_000, validate_only: true };
            let told = client.ask(&request, 7).await.topics.remove(0);
            assert_eq!(told.error_code, code, "{name} {:?}", told.error_message);
        }
    }
}

/// One answer for what is named twice, and it stays.
#[tokio::test]
async fn what_is_deleted_is_named_once() {
    for target in targets("delete").await {
        let (topic, mut client) = (&target.topic, target.with_topic(&[]).await);
        let id = id_of(&mut client, topic).await;
        for asked in [
            vec![DeleteTopicState { name: Some(topic.clone()), topic_id: id }],
            vec![by_id(TopicId([0; 16]))],
            vec![by_name(topic), by_name(topic)],
            vec![by_id(id), by_id(id)],
            vec![by_name(topic), by_id(id)],
        ] {
            let answer = client.ask(&delete(asked.clone()), 6).await;
            let codes: Vec<_> = answer.responses.iter().map(|it| it.error_code).collect();
            assert_eq!(codes, [ErrorCode::INVALID_REQUEST], "{asked:?}");
        }
        let twice = DeleteTopicsRequest {
            topic_names: vec![topic.clone(), topic.clone()],
            ..delete(Vec::new())
        };
        let answer = client.ask(&twice, 5).await;
        assert_eq!(answer.responses.len(), 1);
        assert_eq!(answer.responses[0].error_code, ErrorCode::INVALID_REQUEST);
        assert_eq!(id_of(&mut client, topic).await, id);
        // A name that no topic can have is that of none.
        for unknown in ["nowhere", "a b", ""] {
            let answer = client.ask(&delete(vec![by_name(unknown)]), 6).await;
            let code = answer.responses[0].error_code;
            assert_eq!(code, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, "{unknown:?}");
        }
    }
}

#[tokio::test]
async fn a_topic_that_is_created_again_is_another() {
    for target in targets("another").await {
        let (topic, mut client) = (&target.topic, target.with_topic(&[]).await);
        produced(&mut client, topic, batch(&["a"])).await;
        let id = id_of(&mut client, topic).await;
        let answer = client.ask(&delete(vec![by_name(topic)]), 6).await;
        assert_eq!(answer.responses[0].error_code, ErrorCode::NONE);
        // Kafka says that it is gone a moment before it is.
        while id_of(&mut client, topic).await != TopicId([0; 16]) {}
        create(target.address, topic, 1, &[]).await;
        while id_of(&mut client, topic).await == TopicId([0; 16]) {}
        assert_ne!(id_of(&mut client, topic).await, id);
        let mut request = fetch(topic, 0, 0);
        request.topics[0].topic_id = id;
        let answer = client.ask(&request, 13).await;
        let code = answer.responses[0].partitions[0].error_code;
        assert_eq!(code, ErrorCode::UNKNOWN_TOPIC_ID);
    }
}
