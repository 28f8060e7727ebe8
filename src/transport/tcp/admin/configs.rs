//! DescribeConfigs, IncrementalAlterConfigs: settings of topics.

use std::collections::BTreeMap;

use tokio::time::Duration;

use super::seen;
use super::topics::{invalid_config, silent};
use crate::broker::{ConfigEntry, ConfigSource, FLUSH_MESSAGES};
use crate::error::{Error, Result};
use crate::topic::TopicName;
use crate::transport::tcp::cluster::Cluster;
use crate::transport::tcp::connection::Connection;
use crate::transport::tcp::errors::of_code;
use crate::wire::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult,
};
use crate::wire::{ApiKey, ErrorCode, alter_configs, incremental_alter_configs as incremental};

/// Kafka's `ConfigResource.Type`.
const TOPIC: i8 = 2;
/// Kafka's `DescribeConfigsResponse.ConfigSource`; what is between is some broker's.
const OF_TOPIC: i8 = 1;
const DEFAULT: i8 = 5;
const UNKNOWN: i8 = 0;
/// Kafka's `AlterConfigOp.OpType`.
const SET: i8 = 0;
const DELETE: i8 = 1;
/// `flush.messages` of a topic that does not sync by itself.
const NEVER: &str = "9223372036854775807";
/// Brokers learn of settings one after the other; so long they are waited for.
const TO_BE_SEEN: Duration = Duration::from_secs(1);

/// A topic's settings, as a broker tells them.
pub(super) type Told = Vec<DescribeConfigsResourceResult>;

/// Whether it was set for the topic.
pub(super) fn is_set(told: &DescribeConfigsResourceResult) -> bool {
    told.config_source == OF_TOPIC
}

/// All settings of a topic, in the order of their names.
pub(super) async fn describe(cluster: &Cluster, name: &TopicName) -> Result<Vec<ConfigEntry>> {
    let told = all(cluster, name).await?;
    let mut entries: Vec<ConfigEntry> =
        told.into_iter().filter(|it| !is_durability(it)).map(entry).collect();
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}

/// The topic's description tells it better.
fn is_durability(told: &DescribeConfigsResourceResult) -> bool {
    told.name == FLUSH_MESSAGES && matches!(told.value.as_deref(), Some("1" | NEVER))
}

/// All settings of a topic; any broker knows them.
pub(super) async fn all(cluster: &Cluster, name: &TopicName) -> Result<Told> {
    let what = format!("describing the settings of topic {name:?}");
    let attempt = || async { told_by(&cluster.any_broker().await?, name, &what).await };
    cluster.until_done(&what, attempt).await
}

async fn told_by(connection: &Connection, name: &TopicName, what: &str) -> Result<Told> {
    let resource = DescribeConfigsResource {
        resource_type: TOPIC,
        resource_name: name.to_string(),
        configuration_keys: None,
    };
    let request = DescribeConfigsRequest {
        resources: vec![resource],
        include_synonyms: true,
        include_documentation: false,
    };
    let response = connection.ask(&request).await?;
    let told = response.results.into_iter().next().ok_or_else(|| silent(what))?;
    match told.error_code {
        ErrorCode::NONE => Ok(told.configs),
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION => Err(seen::unknown(name)),
        code => Err(of_code(code, what, told.error_message.as_deref())),
    }
}

fn entry(told: DescribeConfigsResourceResult) -> ConfigEntry {
    let value = told.value.unwrap_or_default();
    let source = match told.config_source {
        OF_TOPIC => ConfigSource::Topic,
        DEFAULT | UNKNOWN => ConfigSource::Default,
        _ => ConfigSource::Broker,
    };
    let synonyms = told.synonyms.into_iter();
    let mut defaults = synonyms.filter(|it| it.source == DEFAULT).filter_map(|it| it.value);
    let is_default = source == ConfigSource::Default;
    let default = defaults.next().or_else(|| is_default.then(|| value.clone()));
    ConfigEntry::told(told.name, value, source, default, takes(told.config_type))
}

/// By Kafka's `DescribeConfigsResponse.ConfigType`.
fn takes(config_type: i8) -> &'static str {
    match config_type {
        1 => "true or false",
        3..=5 => "a whole number",
        6 => "a number",
        7 => "a list with commas between",
        8 => "the name of a Java class",
        _ => "text",
    }
}

/// Changes settings, all or none.
pub(super) async fn alter(
    cluster: &Cluster,
    name: &TopicName,
    changes: Vec<(String, Option<String>)>,
) -> Result<()> {
    // Of two changes of one setting the last counts; a broker would refuse both.
    let changes: BTreeMap<String, Option<String>> = changes.into_iter().collect();
    let what = format!("altering the settings of topic {name:?}");
    // Made twice, they come to the same.
    cluster.until_done(&what, || alter_once(cluster, name, &changes, &what)).await?;
    let is_seen = || async {
        let told = told_by(&cluster.any_broker().await?, name, &what).await?;
        match told.iter().all(|it| is_as_changed(it, &changes)) {
            true => Ok(()),
            false => Err(Error::Timeout { what: what.clone(), after: TO_BE_SEEN }),
        }
    };
    if let Err(error) = cluster.until_done_within(&what, TO_BE_SEEN, is_seen).await {
        tracing::debug!(topic = %name, %error, "settings are altered, and not seen yet");
    }
    Ok(())
}

fn is_as_changed(
    told: &DescribeConfigsResourceResult,
    changes: &BTreeMap<String, Option<String>>,
) -> bool {
    match changes.get(&told.name) {
        Some(Some(value)) => told.value.as_deref() == Some(value.trim()),
        // One that is put back may be set all the same: this library's brokers write down what is
        // the default when a topic is created.
        Some(None) | None => true,
    }
}

async fn alter_once(
    cluster: &Cluster,
    name: &TopicName,
    changes: &BTreeMap<String, Option<String>>,
    what: &str,
) -> Result<()> {
    let connection = cluster.controller().await?;
    let (code, message) = match connection.has(ApiKey::IncrementalAlterConfigs) {
        true => alter_some(&connection, name, changes, what).await?,
        false => alter_all(&connection, name, changes, what).await?,
    };
    match code {
        ErrorCode::NONE => Ok(()),
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION => Err(seen::unknown(name)),
        ErrorCode::INVALID_CONFIG => {
            let message = message.unwrap_or_default();
            Err(invalid_config(&message, changes.keys().map(String::as_str)))
        }
        code => Err(of_code(code, what, message.as_deref())),
    }
}

type Answer = (ErrorCode, Option<String>);

async fn alter_some(
    connection: &Connection,
    name: &TopicName,
    changes: &BTreeMap<String, Option<String>>,
    what: &str,
) -> Result<Answer> {
    let configs = changes.iter().map(|(name, value)| incremental::AlterableConfig {
        name: name.clone(),
        config_operation: if value.is_some() { SET } else { DELETE },
        value: value.clone(),
    });
    let resource = incremental::AlterConfigsResource {
        resource_type: TOPIC,
        resource_name: name.to_string(),
        configs: configs.collect(),
    };
    let request = incremental::IncrementalAlterConfigsRequest {
        resources: vec![resource],
        validate_only: false,
    };
    let response = connection.ask(&request).await?;
    let told = response.responses.into_iter().next().ok_or_else(|| silent(what))?;
    Ok((told.error_code, told.error_message))
}

/// For brokers before Kafka 2.3: sends all that is to be set, with what is set already. A change
/// that somebody else makes between is lost.
async fn alter_all(
    connection: &Connection,
    name: &TopicName,
    changes: &BTreeMap<String, Option<String>>,
    what: &str,
) -> Result<Answer> {
    let present = told_by(connection, name, what).await?.into_iter().filter(is_set);
    let mut set: BTreeMap<String, Option<String>> = present.map(|it| (it.name, it.value)).collect();
    set.extend(changes.clone());
    let configs = set.into_iter().filter(|(_, value)| value.is_some());
    let configs = configs.map(|(name, value)| alter_configs::AlterableConfig { name, value });
    let resource = alter_configs::AlterConfigsResource {
        resource_type: TOPIC,
        resource_name: name.to_string(),
        configs: configs.collect(),
    };
    let request =
        alter_configs::AlterConfigsRequest { resources: vec![resource], validate_only: false };
    let response = connection.ask(&request).await?;
    let told = response.responses.into_iter().next().ok_or_else(|| silent(what))?;
    Ok((told.error_code, told.error_message))
}
