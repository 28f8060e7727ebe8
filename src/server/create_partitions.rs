//! CreatePartitions: topics get more partitions, each topic on its own. Versions 0 to 3.

use std::collections::BTreeMap;

use super::answer::{Client, Handle, Outcome, Server};
use super::errors::code_of;
use crate::error::{Error, Result};
use crate::topic::TopicName;
use crate::wire::ErrorCode;
use crate::wire::create_partitions::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreatePartitionsTopic,
    CreatePartitionsTopicResult,
};

impl Handle for CreatePartitionsRequest {
    fn refuse(self, _: &Client, _: i16, error: ErrorCode) -> Outcome<CreatePartitionsResponse> {
        let results = self.topics.into_iter().map(|topic| {
            let why = error.to_string();
            result(topic.name, Err((error, why)))
        });
        told(results.collect())
    }

    async fn start(self, client: Client, _version: i16) -> Outcome<CreatePartitionsResponse> {
        let mut count: BTreeMap<&str, usize> = BTreeMap::new();
        self.topics.iter().for_each(|topic| *count.entry(&topic.name).or_default() += 1);
        let mut results: Vec<CreatePartitionsTopicResult> = Vec::new();
        for topic in &self.topics {
            let created = match count.remove(topic.name.as_str()) {
                // Told already.
                None => continue,
                Some(1) => create(&client.server, topic, self.validate_only).await,
                Some(_) => {
                    let text = "the request names this topic more than once".to_owned();
                    Err((ErrorCode::INVALID_REQUEST, text))
                }
            };
            results.push(result(topic.name.clone(), created));
        }
        told(results)
    }
}

/// A code, and the same in words.
type Refusal = (ErrorCode, String);

fn told(results: Vec<CreatePartitionsTopicResult>) -> Outcome<CreatePartitionsResponse> {
    Outcome::Response(CreatePartitionsResponse { results, throttle_time_ms: 0 })
}

fn result(name: String, created: Result<(), Refusal>) -> CreatePartitionsTopicResult {
    let (error_code, error_message) = match created {
        Ok(()) => (ErrorCode::NONE, None),
        Err((code, why)) => (code, Some(why)),
    };
    CreatePartitionsTopicResult { name, error_code, error_message }
}

async fn create(
    server: &Server,
    topic: &CreatePartitionsTopic,
    only_ask: bool,
) -> Result<(), Refusal> {
    let refused = |error: Error| (code_of(&error), error.to_string());
    let unknown = || Error::UnknownTopic { topic: topic.name.clone() };
    // A name that no topic can have is that of none.
    let name = TopicName::parse(&topic.name).map_err(|_| refused(unknown()))?;
    let present = server.core().topic(&topic.name).ok_or_else(|| refused(unknown()))?;
    let added = i64::from(topic.count) - present.partitions.len() as i64;
    if let Some(assigned) = topic.assignments.as_ref().filter(|_| added > 0) {
        let node_id = server.settings().node_id;
        let are_here = assigned.iter().all(|it| it.broker_ids == [node_id]);
        if assigned.len() as i64 != added || !are_here {
            let text = format!("{added} partitions are added, each assigned to broker {node_id}");
            return Err((ErrorCode::INVALID_REPLICA_ASSIGNMENT, text));
        }
    }
    let created = match only_ask {
        true => server.broker().check_grow(&name, topic.count),
        false => server.broker().create_partitions(name, topic.count).await,
    };
    created.map_err(refused)
}
