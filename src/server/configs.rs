//! What the APIs about settings share: whose they are, how Kafka calls them, of what type they are.

use std::borrow::Cow;

use super::answer::{Client, Server};
use crate::broker::{ConfigEntry, ConfigSource, Durability, FLUSH_MESSAGES};
use crate::error::{Error, Result};
use crate::topic::TopicName;
use crate::wire::ErrorCode;

/// Kafka's `ConfigResource.Type`.
pub(super) const TOPIC: i8 = 2;
pub(super) const BROKER: i8 = 4;

/// A code, and the same in words.
pub(super) type Refusal = (ErrorCode, String);

/// What that is unless somebody asks.
const NEVER: &str = "9223372036854775807";

/// Kafka's `DescribeConfigsResponse.ConfigType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    Boolean = 1,
    String = 2,
    Int = 3,
    Long = 5,
    Double = 6,
    List = 7,
}

/// A setting, as it is told.
pub(super) struct Told {
    pub(super) name: Cow<'static, str>,
    pub(super) value: String,
    pub(super) source: i8,
    /// What it would be otherwise, if anybody can say.
    pub(super) default: Option<String>,
    pub(super) kind: Type,
    /// What it takes.
    pub(super) takes: String,
}

impl Told {
    /// Whether somebody has decided it.
    pub(super) fn is_set(&self) -> bool {
        self.source != source_of(ConfigSource::Default)
    }
}

/// Settings of topics: Kafka's name for the broker's default of each, and its type.
const OF_TOPICS: &[(&str, &str, Type)] = &[
    ("cleanup.policy", "log.cleanup.policy", Type::List),
    ("compression.type", "compression.type", Type::String),
    ("delete.retention.ms", "log.cleaner.delete.retention.ms", Type::Long),
    (FLUSH_MESSAGES, "log.flush.interval.messages", Type::Long),
    ("index.interval.bytes", "log.index.interval.bytes", Type::Int),
    ("max.message.bytes", "message.max.bytes", Type::Int),
    ("message.timestamp.after.max.ms", "log.message.timestamp.after.max.ms", Type::Long),
    ("message.timestamp.before.max.ms", "log.message.timestamp.before.max.ms", Type::Long),
    ("message.timestamp.type", "log.message.timestamp.type", Type::String),
    ("min.cleanable.dirty.ratio", "log.cleaner.min.cleanable.ratio", Type::Double),
    ("min.compaction.lag.ms", "log.cleaner.min.compaction.lag.ms", Type::Long),
    ("ottla.partition.max.bytes", "ottla.partition.max.bytes", Type::Long),
    ("retention.bytes", "log.retention.bytes", Type::Long),
    ("retention.ms", "log.retention.ms", Type::Long),
    ("segment.bytes", "log.segment.bytes", Type::Int),
    ("segment.ms", "log.roll.ms", Type::Long),
];

/// The broker's name for a topic's setting, and its type.
pub(super) fn known(name: &str) -> Option<(&'static str, Type)> {
    OF_TOPICS.iter().find(|(own, ..)| *own == name).map(|&(_, broker, kind)| (broker, kind))
}

/// Kafka's `DescribeConfigsResponse.ConfigSource`.
pub(super) fn source_of(source: ConfigSource) -> i8 {
    match source {
        ConfigSource::Topic => 1,
        ConfigSource::Broker => 4,
        ConfigSource::Default => 5,
    }
}

/// A setting of a topic, or of a broker for topics.
pub(super) fn told(entry: ConfigEntry) -> Told {
    Told {
        source: source_of(entry.source),
        kind: known(&entry.name).map_or(Type::String, |(_, kind)| kind),
        name: entry.name,
        value: entry.value,
        default: Some(entry.default),
        takes: entry.allowed.to_owned(),
    }
}

/// All settings of a topic.
pub(super) fn of_topic(server: &Server, name: &str) -> Result<Vec<Told>> {
    let name = TopicName::parse(name)?;
    let mut all: Vec<Told> =
        server.broker().describe_configs(&name)?.into_iter().map(told).collect();
    let is_power = server.broker().describe_topic(&name)?.durability == Durability::Power;
    all.push(Told {
        name: FLUSH_MESSAGES.into(),
        value: if is_power { "1" } else { NEVER }.to_owned(),
        source: source_of(if is_power { ConfigSource::Topic } else { ConfigSource::Default }),
        default: Some(NEVER.to_owned()),
        kind: Type::Long,
        takes: "1 to sync each batch before it is acknowledged; set when a topic is created"
            .to_owned(),
    });
    all.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(all)
}

/// What is wrong with the name of a resource that is not a topic.
pub(super) fn check_broker(client: &Client, kind: i8, name: &str) -> Result<(), Refusal> {
    let node_id = client.server.settings().node_id;
    match kind {
        BROKER if name.is_empty() || name.parse() == Ok(node_id) => Ok(()),
        BROKER => {
            let text = format!("this is broker {node_id}, and there is no {name:?}");
            Err((ErrorCode::INVALID_REQUEST, text))
        }
        other => {
            let text = format!("resources are topics (2) and brokers (4), not {other}");
            Err((ErrorCode::INVALID_REQUEST, text))
        }
    }
}

/// An error as it is told.
pub(super) fn refused(error: &Error) -> Refusal {
    (super::errors::code_of(error), error.to_string())
}
