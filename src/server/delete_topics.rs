//! DeleteTopics: by name or by id, each on its own. Versions 1 to 6.
//!
//! A topic that is named twice, or both by name and by id, is not deleted, as in Kafka: that is a
//! mistake, and can't be undone.

use std::collections::BTreeMap;

use super::answer::{Client, Handle, Outcome, Server};
use super::errors::code_of;
use crate::error::Error;
use crate::topic::{TopicId, TopicName};
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
    let all = named(request).map(|asked| resolve(&client.server, asked));
    let all: Vec<Asked> = all.collect();
    let mut count: BTreeMap<Asked, usize> = BTreeMap::new();
    all.iter().for_each(|asked| *count.entry(asked.clone()).or_default() += 1);
    let mut responses = Vec::new();
    for asked in all {
        let told = match count.remove(&asked) {
            // Told already.
            None => continue,
            Some(1) => delete(&client.server, asked).await,
            Some(_) => refused(asked, "the request names this topic more than once"),
        };
        responses.push(told);
    }
    Outcome::Response(DeleteTopicsResponse { responses, throttle_time_ms: 0 })
}

/// The topics, however they are named.
fn named(request: DeleteTopicsRequest) -> impl Iterator<Item = DeleteTopicState> {
    let names = request.topic_names.into_iter();
    let by_name = names.map(|name| DeleteTopicState { name: Some(name), ..Default::default() });
    by_name.chain(request.topics)
}

/// What is to be deleted: the same for one topic, however it is named.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Asked {
    name: Option<String>,
    topic_id: TopicId,
    /// Why it is not clear which topic that is.
    fault: Option<&'static str>,
}

fn resolve(server: &Server, asked: DeleteTopicState) -> Asked {
    let DeleteTopicState { name, topic_id } = asked;
    let by_id = topic_id != TopicId([0; 16]);
    match name {
        Some(name) if by_id => {
            let fault = Some("a topic has either its name or its id here, not both");
            Asked { name: Some(name), topic_id, fault }
        }
        Some(name) => {
            let topic_id = server.core().topic(&name).map_or(topic_id, |topic| topic.id());
            Asked { name: Some(name), topic_id, fault: None }
        }
        None => {
            let found = server.core().topic_by_id(topic_id);
            let fault = (!by_id).then_some("a topic has neither a name nor an id here");
            Asked { name: found.map(|topic| topic.name.to_string()), topic_id, fault }
        }
    }
}

fn refused(asked: Asked, why: &str) -> DeletableTopicResult {
    DeletableTopicResult {
        name: asked.name,
        topic_id: asked.topic_id,
        error_code: ErrorCode::INVALID_REQUEST,
        error_message: Some(why.to_owned()),
    }
}

async fn delete(server: &Server, asked: Asked) -> DeletableTopicResult {
    if let Some(fault) = asked.fault {
        return refused(asked, fault);
    }
    let mut result = DeletableTopicResult {
        name: asked.name,
        topic_id: asked.topic_id,
        ..DeletableTopicResult::default()
    };
    let Some(name) = &result.name else {
        result.error_code = ErrorCode::UNKNOWN_TOPIC_ID;
        result.error_message = Some("no topic has this id".to_owned());
        return result;
    };
    // A name that no topic can have is that of none: Kafka says so, too.
    let deleted = match TopicName::parse(name) {
        Ok(parsed) => server.broker().delete_topic(parsed).await,
        Err(_) => Err(Error::UnknownTopic { topic: name.clone() }),
    };
    if let Err(error) = deleted {
        result.error_code = code_of(&error);
        result.error_message = Some(error.to_string());
    }
    result
}
