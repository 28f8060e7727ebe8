//! Metadata: which topics there are, all of them led by this broker. Versions 0 to 12.
//!
//! A topic that is created for the asking is there in the answer: Kafka first answers that it has
//! no leader yet, but every client takes this.

use std::sync::Arc;

use super::answer::{Client, Handle, Outcome};
use super::errors::code_of;
use crate::broker::check_not_internal;
use crate::broker::core::Topic;
use crate::error::{Error, Result};
use crate::topic::{TopicId, TopicName};
use crate::wire::ErrorCode;
use crate::wire::metadata::{
    MetadataRequest, MetadataRequestTopic, MetadataResponse, MetadataResponseBroker,
    MetadataResponsePartition, MetadataResponseTopic,
};

impl Handle for MetadataRequest {
    fn refuse(self, client: &Client, version: i16, error: ErrorCode) -> Outcome<MetadataResponse> {
        let topics = match wanted(self.topics, version) {
            Some(wanted) => {
                let all = wanted.into_iter();
                all.map(|topic| refused(error, topic.name, topic.topic_id)).collect()
            }
            None => {
                let all = client.server.core().all_topics().into_iter();
                all.map(|it| refused(error, Some(it.name.to_string()), it.id())).collect()
            }
        };
        told(client, topics)
    }

    async fn start(self, client: Client, version: i16) -> Outcome<MetadataResponse> {
        answer(self, client, version).await
    }
}

async fn answer(
    request: MetadataRequest,
    client: Client,
    version: i16,
) -> Outcome<MetadataResponse> {
    let node_id = client.server.settings().node_id;
    let mut topics = Vec::new();
    match wanted(request.topics, version) {
        Some(wanted) => {
            for topic in wanted {
                let may_create = request.allow_auto_topic_creation;
                topics.push(wanted_topic(&client, topic, may_create).await);
            }
        }
        None => {
            topics.extend(client.server.core().all_topics().iter().map(|it| describe(it, node_id)))
        }
    }
    told(&client, topics)
}

/// The topics that are asked for; `None` if it is all.
fn wanted(
    topics: Option<Vec<MetadataRequestTopic>>,
    version: i16,
) -> Option<Vec<MetadataRequestTopic>> {
    topics.filter(|wanted| version > 0 || !wanted.is_empty())
}

/// Those topics, and the broker.
fn told(client: &Client, topics: Vec<MetadataResponseTopic>) -> Outcome<MetadataResponse> {
    let node_id = client.server.settings().node_id;
    let (host, port) = client.advertised();
    Outcome::Response(MetadataResponse {
        brokers: vec![MetadataResponseBroker { node_id, host, port, rack: None }],
        cluster_id: Some(client.server.cluster_id().to_string()),
        controller_id: node_id,
        topics,
        ..MetadataResponse::default()
    })
}

async fn wanted_topic(
    client: &Client,
    wanted: MetadataRequestTopic,
    may_create: bool,
) -> MetadataResponseTopic {
    let node_id = client.server.settings().node_id;
    let Some(name) = wanted.name else {
        let found = client.server.core().topic_by_id(wanted.topic_id);
        return match found {
            Some(topic) => describe(&topic, node_id),
            None => refused(ErrorCode::UNKNOWN_TOPIC_ID, None, wanted.topic_id),
        };
    };
    match find_or_create(client, &name, may_create).await {
        Ok(topic) => describe(&topic, node_id),
        Err(error) => refused(code_of(&error), Some(name), wanted.topic_id),
    }
}

async fn find_or_create(client: &Client, name: &str, may_create: bool) -> Result<Arc<Topic>> {
    if let Some(topic) = client.server.core().topic(name) {
        return Ok(topic);
    }
    let parsed = TopicName::parse(name)?;
    match may_create {
        true => client.server.broker().topic_or_create(&parsed).await,
        false => Err(Error::UnknownTopic { topic: name.to_owned() }),
    }
}

fn describe(topic: &Topic, node_id: i32) -> MetadataResponseTopic {
    let partitions = topic.partitions.iter().zip(0..).map(|(partition, partition_index)| {
        MetadataResponsePartition {
            error_code: ErrorCode::NONE,
            partition_index,
            leader_id: node_id,
            leader_epoch: partition.reader().leader_epoch().max(0),
            replica_nodes: vec![node_id],
            isr_nodes: vec![node_id],
            offline_replicas: Vec::new(),
        }
    });
    MetadataResponseTopic {
        error_code: ErrorCode::NONE,
        name: Some(topic.name.to_string()),
        topic_id: topic.id(),
        is_internal: check_not_internal(&topic.name).is_err(),
        partitions: partitions.collect(),
        ..MetadataResponseTopic::default()
    }
}

fn refused(
    error_code: ErrorCode,
    name: Option<String>,
    topic_id: TopicId,
) -> MetadataResponseTopic {
    MetadataResponseTopic { error_code, name, topic_id, ..MetadataResponseTopic::default() }
}
