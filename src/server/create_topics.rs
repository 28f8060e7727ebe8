//! CreateTopics: each on its own. Versions 2 to 7.
//!
//! There is one broker, so one replica is all there can be. A factor of more is taken as well:
//! applications have 3 written down, and mean "as safe as you can".
//!
//! A request creates only so many partitions: it takes a few bytes to ask for a hundred thousand.

use std::collections::BTreeMap;

use super::answer::{Client, Handle, Outcome, Server};
use super::configs::source_of;
use super::errors::code_of;
use crate::error::{Error, Result};
use crate::topic::{TopicId, TopicName};
use crate::wire::ErrorCode;
use crate::wire::create_topics::{
    CreatableTopic, CreatableTopicConfigs, CreatableTopicResult, CreateTopicsRequest,
    CreateTopicsResponse,
};

/// Partitions that a request may create, as in Kafka (`ReplicationControlManager`).
const MAX_PARTITIONS: i64 = 10_000;

impl Handle for CreateTopicsRequest {
    fn refuse(self, _: &Client, _: i16, error: ErrorCode) -> Outcome<CreateTopicsResponse> {
        let topics = self.topics.iter().map(|topic| refused(topic, error, error.to_string()));
        let topics = topics.collect();
        Outcome::Response(CreateTopicsResponse { topics, throttle_time_ms: 0 })
    }

    async fn start(self, client: Client, _version: i16) -> Outcome<CreateTopicsResponse> {
        answer(self, client).await
    }
}

async fn answer(request: CreateTopicsRequest, client: Client) -> Outcome<CreateTopicsResponse> {
    let mut count: BTreeMap<&str, usize> = BTreeMap::new();
    request.topics.iter().for_each(|topic| *count.entry(&topic.name).or_default() += 1);
    let once = request.topics.iter().filter(|topic| count[topic.name.as_str()] == 1);
    let partitions: i64 = once.map(|topic| partitions_of(&client, topic)).sum();
    let are_too_many = (partitions > MAX_PARTITIONS)
        .then(|| format!("{partitions} partitions: one request creates {MAX_PARTITIONS} at most"));
    let mut topics = Vec::new();
    for topic in &request.topics {
        match (count.remove(topic.name.as_str()), &are_too_many) {
            // Told already.
            (None, _) => {}
            (Some(1), None) => topics.push(create(&client, topic, request.validate_only).await),
            (Some(1), Some(text)) => {
                topics.push(refused(topic, ErrorCode::POLICY_VIOLATION, text.clone()));
            }
            (Some(_), _) => {
                let text = "the request names this topic more than once".to_owned();
                topics.push(refused(topic, ErrorCode::INVALID_REQUEST, text));
            }
        }
    }
    Outcome::Response(CreateTopicsResponse { topics, throttle_time_ms: 0 })
}

/// How many partitions a topic is to have. Numbers that make no sense are refused later.
fn partitions_of(client: &Client, topic: &CreatableTopic) -> i64 {
    match (topic.assignments.len(), topic.num_partitions) {
        (0, -1) => client.server.broker().default_partitions().into(),
        (0, partitions) => partitions.max(0).into(),
        (assigned, _) => assigned as i64,
    }
}

fn refused(topic: &CreatableTopic, error_code: ErrorCode, why: String) -> CreatableTopicResult {
    CreatableTopicResult {
        name: topic.name.clone(),
        error_code,
        error_message: Some(why),
        ..CreatableTopicResult::default()
    }
}

async fn create(client: &Client, topic: &CreatableTopic, only_ask: bool) -> CreatableTopicResult {
    if let Some((code, why)) = wrong_replicas(client, topic) {
        return refused(topic, code, why);
    }
    match try_create(&client.server, topic, only_ask).await {
        Ok(result) => result,
        Err(error) => refused(topic, code_of(&error), error.to_string()),
    }
}

/// What is asked for that one broker can't do.
fn wrong_replicas(client: &Client, topic: &CreatableTopic) -> Option<(ErrorCode, String)> {
    let (node_id, assigned) = (client.server.settings().node_id, &topic.assignments);
    if assigned.is_empty() {
        let factor = topic.replication_factor;
        let text = format!("replication factor {factor}: it is 1 or more, or -1 for the default");
        return (factor == 0 || factor < -1)
            .then_some((ErrorCode::INVALID_REPLICATION_FACTOR, text));
    }
    if topic.num_partitions != -1 || topic.replication_factor != -1 {
        let text = "with an assignment, partitions and replication factor are -1".to_owned();
        return Some((ErrorCode::INVALID_REQUEST, text));
    }
    let mut numbers: Vec<i32> = assigned.iter().map(|it| it.partition_index).collect();
    numbers.sort_unstable();
    let are_all = numbers.iter().copied().eq(0..numbers.len() as i32);
    let are_here = assigned.iter().all(|it| it.broker_ids == [node_id]);
    let text = format!("partitions count from 0, and each is assigned to broker {node_id}");
    (!are_all || !are_here).then_some((ErrorCode::INVALID_REPLICA_ASSIGNMENT, text))
}

async fn try_create(
    server: &Server,
    topic: &CreatableTopic,
    only_ask: bool,
) -> Result<CreatableTopicResult> {
    let name = TopicName::parse(&topic.name)?;
    let mut config = server.broker().network_defaults();
    match (topic.assignments.len(), topic.num_partitions) {
        (0, -1) => {}
        (0, partitions) => config = config.partitions(partitions),
        (assigned, _) => config = config.partitions(assigned as i32),
    }
    for setting in &topic.configs {
        let value = setting.value.as_deref().ok_or_else(|| Error::InvalidConfig {
            name: setting.name.clone(),
            reason: "null is no value".to_owned(),
        })?;
        config = config.set_from_network(&setting.name, value)?;
    }
    let (topic_id, num_partitions, configs) = match only_ask {
        // There is no topic, so it has no id.
        true => {
            let (partitions, configs) = server.broker().check_create(name, config).await?;
            (TopicId([0; 16]), partitions, configs)
        }
        false => {
            let created = server.broker().create_topic(name.clone(), config).await?;
            let configs = server.broker().describe_configs(&name)?;
            (created.id, created.partitions.len() as i32, configs)
        }
    };
    let configs = configs.into_iter().map(|entry| CreatableTopicConfigs {
        config_source: source_of(entry.source),
        name: entry.name.into_owned(),
        value: Some(entry.value),
        read_only: false,
        is_sensitive: false,
    });
    Ok(CreatableTopicResult {
        name: topic.name.clone(),
        topic_id,
        num_partitions,
        replication_factor: 1,
        configs: Some(configs.collect()),
        ..CreatableTopicResult::default()
    })
}
