//! DeleteTopics: by name or by id, each on its own. Versions 1 to 6.

use super::answer::{Client, Handle, Outcome, Server};
use super::errors::code_of;
use crate::topic::TopicName;
use crate::wire::ErrorCode;
use crate::wire::delete_topics::{
    DeletableTopicResult, DeleteTopicState, DeleteTopicsRequest, DeleteTopicsResponse,
};

impl Handle for DeleteTopicsRequest {
    fn refuse(self, _: &Client, _: i16, error: ErrorCode) -> Outcome<DeleteTopicsResponse> {
        let responses = named(self).map(|topic| DeletableTopicResult {
            name: topic.name,
            topic_id: topic.topic_id,
            error_code: error,
            error_message: Some(error.to_string()),
        });
        let responses = responses.collect();
        Outcome::Response(DeleteTopicsResponse { responses, throttle_time_ms: 0 })
    }

    async fn start(self, client: Client, _version: i16) -> Outcome<DeleteTopicsResponse> {
        answer(self, client).await
    }
}

async fn answer(request: DeleteTopicsRequest, client: Client) -> Outcome<DeleteTopicsResponse> {
    let mut responses = Vec::new();
    for topic in named(request) {
        responses.push(delete(&client.server, topic).await);
    }
    Outcome::Response(DeleteTopicsResponse { responses, throttle_time_ms: 0 })
}

/// The topics, however they are named.
fn named(request: DeleteTopicsRequest) -> impl Iterator<Item = DeleteTopicState> {
    let names = request.topic_names.into_iter();
    let by_name = names.map(|name| DeleteTopicState { name: Some(name), ..Default::default() });
    by_name.chain(request.topics)
}

async fn delete(server: &Server, asked: DeleteTopicState) -> DeletableTopicResult {
    let mut result = DeletableTopicResult {
        name: asked.name,
        topic_id: asked.topic_id,
        ..DeletableTopicResult::default()
    };
    let name = match &result.name {
        Some(name) => name.clone(),
        None => match server.core().topic_by_id(asked.topic_id) {
            Some(topic) => topic.name.to_string(),
            None => {
                result.error_code = ErrorCode::UNKNOWN_TOPIC_ID;
                return result;
            }
        },
    };
    if let Some(topic) = server.core().topic(&name) {
        result.topic_id = topic.id();
    }
    // A name that no topic can have is that of none: Kafka says so, too.
    let deleted = match TopicName::parse(&name) {
        Ok(parsed) => server.broker().delete_topic(parsed).await,
        Err(_) => Err(crate::error::Error::UnknownTopic { topic: name.clone() }),
    };
    result.name = Some(name);
    if let Err(error) = deleted {
        result.error_code = code_of(&error);
        result.error_message = Some(error.to_string());
    }
    result
}
