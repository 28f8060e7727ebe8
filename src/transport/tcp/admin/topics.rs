//! CreateTopics, DeleteTopics, CreatePartitions: topics come, go and grow.

use super::doubt::Doubt;
use super::seen::{self, Seen};
use crate::broker::{Durability, FLUSH_MESSAGES, MAX_PARTITIONS, TopicConfig};
use crate::error::{Error, Result};
use crate::topic::{TopicId, TopicName};
use crate::transport::tcp::cluster::Cluster;
use crate::transport::tcp::errors::of_code;
use crate::transport::tcp::settings::millis;
use crate::wire::create_partitions::{CreatePartitionsRequest, CreatePartitionsTopic};
use crate::wire::create_topics::{CreatableTopic, CreatableTopicConfig, CreateTopicsRequest};
use crate::wire::delete_topics::{DeleteTopicState, DeleteTopicsRequest};
use crate::wire::{ApiKey, ErrorCode};

/// From this version on brokers have defaults for how many partitions and replicas there are.
const WITH_DEFAULTS: i16 = 4;
/// From this version on topics are deleted by their ids, too.
const BY_ID: i16 = 6;
/// A broker has told no id.
const NO_ID: TopicId = TopicId([0; 16]);

/// Creates a topic, and waits until it can be used.
pub(super) async fn create(
    cluster: &Cluster,
    name: &TopicName,
    config: &TopicConfig,
) -> Result<()> {
    if let Some(partitions) = config.partitions
        && !(1..=MAX_PARTITIONS).contains(&partitions)
    {
        return Err(Error::InvalidPartitions { partitions, least: 1, limit: MAX_PARTITIONS });
    }
    let doubt = Doubt::default();
    let what = format!("creating topic {name:?}");
    cluster.until_done(&what, || create_once(cluster, name, config, &doubt, &what)).await?;
    let is_there = |seen: Option<&Seen>| {
        seen.is_some_and(|seen| seen.is_ready(config.partitions.unwrap_or(1)))
    };
    let what = format!("the creation of topic {name:?}, which has begun,");
    seen::until(cluster, &what, name, is_there).await?;
    seen::catch_up(cluster, name, |_| true).await;
    Ok(())
}

async fn create_once(
    cluster: &Cluster,
    name: &TopicName,
    config: &TopicConfig,
    doubt: &Doubt,
    what: &str,
) -> Result<()> {
    let connection = cluster.controller().await?;
    let version = connection.version(ApiKey::CreateTopics, i16::MAX)?;
    let default = if version >= WITH_DEFAULTS { -1 } else { 1 };
    let mut configs: Vec<CreatableTopicConfig> =
        config.settings.iter().map(|(name, value)| setting(name, value)).collect();
    // Less than that is what a topic has of which nothing is said.
    if config.durability == Some(Durability::Power) {
        configs.push(setting(FLUSH_MESSAGES, "1"));
    }
    let patience = cluster.settings.request_timeout;
    let topic = CreatableTopic {
        name: name.to_string(),
        num_partitions: config.partitions.unwrap_or(default),
        replication_factor: default as i16,
        configs,
        ..CreatableTopic::default()
    };
    let request = CreateTopicsRequest {
        topics: vec![topic],
        timeout_ms: millis(patience),
        validate_only: false,
    };
    let response = doubt.ask(&connection, &request, version, patience).await?;
    let told = response.topics.into_iter().find(|topic| *name == topic.name.as_str());
    let told = told.ok_or_else(|| silent(what))?;
    match told.error_code {
        ErrorCode::NONE => Ok(()),
        // Most likely this call's own earlier attempt; not if the topic is another one.
        ErrorCode::TOPIC_ALREADY_EXISTS if doubt.is_there() => {
            let seen = seen::look(cluster, name).await?;
            let is_as_asked = seen.is_none_or(|seen| {
                config.partitions.is_none_or(|partitions| partitions == seen.partitions())
            });
            match is_as_asked {
                true => Ok(()),
                false => Err(Error::TopicAlreadyExists { topic: name.to_string(), existing: None }),
            }
        }
        code => {
            doubt.note(code);
            Err(not_created(name, config, code, told.error_message.as_deref(), what))
        }
    }
}

fn setting(name: &str, value: &str) -> CreatableTopicConfig {
    CreatableTopicConfig { name: name.to_owned(), value: Some(value.to_owned()) }
}

fn not_created(
    name: &TopicName,
    config: &TopicConfig,
    code: ErrorCode,
    message: Option<&str>,
    what: &str,
) -> Error {
    let said = message.unwrap_or_default();
    let topic = name.to_string();
    match (code, namesake(name, said)) {
        (ErrorCode::TOPIC_ALREADY_EXISTS, _) => Error::TopicAlreadyExists { topic, existing: None },
        (ErrorCode::INVALID_TOPIC_EXCEPTION, existing @ Some(_)) => {
            Error::TopicAlreadyExists { topic, existing }
        }
        (ErrorCode::INVALID_PARTITIONS, _) => Error::InvalidPartitions {
            partitions: config.partitions.unwrap_or(1),
            least: 1,
            limit: MAX_PARTITIONS,
        },
        (ErrorCode::INVALID_CONFIG, _) => {
            invalid_config(said, config.settings.keys().copied().chain([FLUSH_MESSAGES]))
        }
        _ => of_code(code, what, message),
    }
}

/// The topic in the way of one that differs only in `.` against `_`: the message names it.
fn namesake(name: &TopicName, message: &str) -> Option<String> {
    let is_of_names = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let mut words = message.split(|c| !is_of_names(c));
    let is_it = |word: &&str| {
        TopicName::parse(word)
            .is_ok_and(|other| other != *name && other.collision_key() == name.collision_key())
    };
    words.find(is_it).map(str::to_owned)
}

/// What is wrong with a setting, of those that were sent. This library's brokers say which one it
/// is, Kafka's mention it.
pub(super) fn invalid_config<'a>(message: &str, sent: impl Iterator<Item = &'a str>) -> Error {
    let told = message.strip_prefix("invalid setting ").and_then(|it| it.split_once(": "));
    if let Some((name, reason)) = told {
        return Error::InvalidConfig { name: name.to_owned(), reason: reason.to_owned() };
    }
    let is_of_names = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let mentioned = |name: &&str| {
        let words = message.split(|c| !is_of_names(c));
        words.map(|word| word.trim_end_matches('.')).any(|word| word == *name)
    };
    let name = sent.into_iter().find(mentioned).unwrap_or("of the topic");
    let reason = if message.is_empty() { "the broker does not take it" } else { message };
    Error::InvalidConfig { name: name.to_owned(), reason: reason.to_owned() }
}

/// An answer that leaves out what it was asked.
pub(super) fn silent(what: &str) -> Error {
    of_code(ErrorCode::UNKNOWN_SERVER_ERROR, what, Some("the answer says nothing of it"))
}

/// Deletes a topic, and waits until it is not seen any more.
pub(super) async fn delete(cluster: &Cluster, name: &TopicName) -> Result<()> {
    let what = format!("deleting topic {name:?}");
    // By its id: a namesake that comes meanwhile is safe from a second attempt.
    let seen = cluster.until_done(&what, || seen::look(cluster, name)).await?;
    let id = seen.map_or(NO_ID, |seen| seen.id);
    let doubt = Doubt::default();
    cluster.until_done(&what, || delete_once(cluster, name, id, &doubt, &what)).await?;
    let what = format!("the deletion of topic {name:?}, which has begun,");
    let is_gone = |seen: Option<&Seen>| seen.is_none_or(|seen| id != NO_ID && seen.id != id);
    seen::until(cluster, &what, name, is_gone).await?;
    cluster.forget(name, id);
    Ok(())
}

async fn delete_once(
    cluster: &Cluster,
    name: &TopicName,
    id: TopicId,
    doubt: &Doubt,
    what: &str,
) -> Result<()> {
    let connection = cluster.controller().await?;
    let version = connection.version(ApiKey::DeleteTopics, i16::MAX)?;
    let patience = cluster.settings.request_timeout;
    let mut request =
        DeleteTopicsRequest { timeout_ms: millis(patience), ..DeleteTopicsRequest::default() };
    match version >= BY_ID {
        true => request.topics.push(match id == NO_ID {
            true => DeleteTopicState { name: Some(name.to_string()), topic_id: NO_ID },
            false => DeleteTopicState { name: None, topic_id: id },
        }),
        false => request.topic_names.push(name.to_string()),
    }
    let response = doubt.ask(&connection, &request, version, patience).await?;
    let told = response.responses.into_iter().next().ok_or_else(|| silent(what))?;
    match told.error_code {
        ErrorCode::NONE => Ok(()),
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION | ErrorCode::UNKNOWN_TOPIC_ID => {
            if doubt.is_there() {
                Ok(())
            } else {
                Err(seen::unknown(name))
            }
        }
        code => {
            doubt.note(code);
            Err(of_code(code, what, told.error_message.as_deref()))
        }
    }
}

/// Adds partitions, and waits until they can be used.
pub(super) async fn grow(cluster: &Cluster, name: &TopicName, total: i32) -> Result<()> {
    let what = format!("adding partitions to topic {name:?}");
    let doubt = Doubt::default();
    cluster.until_done(&what, || grow_once(cluster, name, total, &doubt, &what)).await?;
    let what = format!("the growth of topic {name:?}, which has begun,");
    let is_grown = |seen: Option<&Seen>| seen.is_some_and(|seen| seen.is_ready(total));
    seen::until(cluster, &what, name, is_grown).await?;
    seen::catch_up(cluster, name, |known| known.is_none_or(|it| it.partitions >= total)).await;
    Ok(())
}

async fn grow_once(
    cluster: &Cluster,
    name: &TopicName,
    total: i32,
    doubt: &Doubt,
    what: &str,
) -> Result<()> {
    let connection = cluster.controller().await?;
    let version = connection.version(ApiKey::CreatePartitions, i16::MAX)?;
    let patience = cluster.settings.request_timeout;
    let topic = CreatePartitionsTopic { name: name.to_string(), count: total, assignments: None };
    let request = CreatePartitionsRequest {
        topics: vec![topic],
        timeout_ms: millis(patience),
        validate_only: false,
    };
    let response = doubt.ask(&connection, &request, version, patience).await?;
    let told = response.results.into_iter().next().ok_or_else(|| silent(what))?;
    match told.error_code {
        ErrorCode::NONE => Ok(()),
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION => Err(seen::unknown(name)),
        ErrorCode::INVALID_PARTITIONS => {
            let present = seen::existing(cluster, name).await?.partitions();
            if doubt.is_there() && present == total {
                return Ok(());
            }
            let least = present.saturating_add(1);
            Err(Error::InvalidPartitions { partitions: total, least, limit: MAX_PARTITIONS })
        }
        code => {
            doubt.note(code);
            Err(of_code(code, what, told.error_message.as_deref()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_the_topic_in_the_way() {
        let name = TopicName::parse("a.b").unwrap();
        let kafka = "Topic 'a.b' collides with existing topic: a_b";
        assert_eq!(namesake(&name, kafka).as_deref(), Some("a_b"));
        let ours =
            Error::TopicAlreadyExists { topic: "a.b".to_owned(), existing: Some("a_b".to_owned()) };
        assert_eq!(namesake(&name, &ours.to_string()).as_deref(), Some("a_b"));
        assert_eq!(namesake(&name, "Topic name is invalid: a.b"), None);
    }

    #[test]
    fn messages_name_the_setting() {
        let named = |message: &str| {
            let sent = ["retention", "retention.ms", "segment.bytes"];
            match invalid_config(message, sent.into_iter()) {
                Error::InvalidConfig { name, reason } => (name, reason),
                other => panic!("{other:?}"),
            }
        };
        let kafka = "Invalid value x for configuration retention.ms: Not a number of type LONG";
        assert_eq!(named(kafka), ("retention.ms".to_owned(), kafka.to_owned()));
        let kafka = "Unknown topic config name: retention";
        assert_eq!(named(kafka).0, "retention");
        let ours = Error::InvalidConfig { name: "n".to_owned(), reason: "a: b".to_owned() };
        assert_eq!(named(&ours.to_string()), ("n".to_owned(), "a: b".to_owned()));
        assert!(!named("").1.is_empty());
    }
}
