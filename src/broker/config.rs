//! The settings of topics, one by one: names, what each allows, what it means to a log.

use std::borrow::Cow;
use std::time::Duration;

use crate::batch::Compression;
use crate::error::{Error, Result};
use crate::log::{CleanupPolicy, LogConfig};
use crate::record::TimestampType;

use super::settings::TopicConfig;

/// One setting of a topic, as [`describe_configs`](crate::admin::Admin::describe_configs) tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConfigEntry {
    /// Kafka's name for it; those that Kafka does not have begin with `ottla.`.
    pub name: Cow<'static, str>,
    /// What is in effect.
    pub value: String,
    /// Who says so.
    pub source: ConfigSource,
    /// What would be in effect if nobody had said anything; empty where an Apache Kafka broker does
    /// not tell.
    pub default: String,
    /// What it takes.
    pub allowed: &'static str,
}

/// Who has set a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConfigSource {
    /// It was set for the topic: by whoever created or altered it, or by the broker's defaults for
    /// topics at that time, which a topic keeps.
    Topic,
    /// An Apache Kafka broker has it for all topics that say nothing.
    Broker,
    /// Nobody: Kafka's default.
    Default,
}

#[cfg(feature = "tcp")]
impl ConfigEntry {
    /// One as a broker on the network tells it; what it `takes` counts for settings that this
    /// library does not have.
    pub(crate) fn told(
        name: String,
        value: String,
        source: ConfigSource,
        default: Option<String>,
        takes: &'static str,
    ) -> Self {
        let known = SETTINGS.iter().find(|setting| setting.name == name);
        let ours = || known.map(|setting| (setting.show)(&LogConfig::default()));
        ConfigEntry {
            name: known.map_or(Cow::Owned(name), |setting| setting.name.into()),
            value,
            source,
            default: default.or_else(ours).unwrap_or_default(),
            allowed: known.map_or(takes, |setting| setting.allowed),
        }
    }
}

/// All settings of a topic, in the order of their names; `set` is what was set for it.
pub(super) fn describe(set: &TopicConfig, effective: &LogConfig) -> Vec<ConfigEntry> {
    let default = LogConfig::default();
    let entries = SETTINGS.iter().map(|setting| {
        let said = set.get(setting.name);
        let source = match said {
            Some(_) => ConfigSource::Topic,
            None => ConfigSource::Default,
        };
        let value = match said {
            // A list is told in the order that it was given in: tools compare the two.
            Some(list) if setting.name == CLEANUP_POLICY => list.to_owned(),
            _ => (setting.show)(effective),
        };
        ConfigEntry {
            name: setting.name.into(),
            value,
            source,
            default: (setting.show)(&default),
            allowed: setting.allowed,
        }
    });
    entries.collect()
}

/// What settings that are fine one by one must keep to together.
pub(super) fn check(config: &LogConfig) -> Result<()> {
    let batch = config.max_message_bytes as u64;
    match config.max_bytes {
        Some(max) if max < batch => Err(Error::InvalidConfig {
            name: MAX_BYTES.to_owned(),
            reason: format!("{max} is less than one batch may have (max.message.bytes={batch})"),
        }),
        _ => Ok(()),
    }
}

/// How a Kafka client asks for durability.
#[cfg(feature = "tcp")]
pub(crate) const FLUSH_MESSAGES: &str = "flush.messages";

/// Settings of Kafka's that say something of replicas.
#[cfg(feature = "tcp")]
pub(super) const OF_REPLICAS: &[&str] = &[
    "follower.replication.throttled.replicas",
    "leader.replication.throttled.replicas",
    "min.insync.replicas",
    "unclean.leader.election.enable",
];

const CLEANUP_POLICY: &str = "cleanup.policy";

/// The most that a partition takes.
pub(super) const MAX_BYTES: &str = "ottla.partition.max.bytes";

/// One setting: its name, what it allows, and what it means to a log.
pub(super) struct Setting {
    pub(super) name: &'static str,
    allowed: &'static str,
    show: fn(&LogConfig) -> String,
    apply: fn(&mut LogConfig, &str) -> Option<()>,
}

const SETTINGS: &[Setting] = &[
    Setting {
        name: CLEANUP_POLICY,
        allowed: "delete, compact, or both with a comma between",
        show: |config| config.cleanup_policy.to_string(),
        apply: |config, value| {
            config.cleanup_policy = match value {
                "delete" => CleanupPolicy::Delete,
                "compact" => CleanupPolicy::Compact,
                "compact,delete" | "delete,compact" => CleanupPolicy::CompactDelete,
                _ => return None,
            };
            Some(())
        },
    },
    Setting {
        name: "compression.type",
        allowed: "producer, uncompressed, gzip, snappy, lz4 or zstd",
        show: |config| match config.compression {
            None => "producer".to_owned(),
            Some(Compression::None) => "uncompressed".to_owned(),
            Some(codec) => codec.to_string(),
        },
        apply: |config, value| {
            config.compression = match value {
                "producer" => None,
                "uncompressed" => Some(Compression::None),
                "none" => return None,
                codec => Some(codec.parse().ok()?),
            };
            Some(())
        },
    },
    Setting {
        name: "delete.retention.ms",
        allowed: "0 or more milliseconds",
        show: |config| millis(config.delete_retention),
        apply: |config, value| {
            number(value, 0, i64::MAX).map(|n| config.delete_retention = Duration::from_millis(n))
        },
    },
    Setting {
        name: "index.interval.bytes",
        allowed: "0 or more bytes",
        show: |config| config.index_interval_bytes.to_string(),
        apply: |config, value| number(value, 0, i64::MAX).map(|n| config.index_interval_bytes = n),
    },
    Setting {
        name: "max.message.bytes",
        allowed: "61 to 2147483647 bytes",
        show: |config| config.max_message_bytes.to_string(),
        apply: |config, value| {
            number(value, 61, i32::MAX.into()).map(|n| config.max_message_bytes = n as usize)
        },
    },
    Setting {
        name: "message.timestamp.after.max.ms",
        allowed: "0 or more milliseconds",
        show: |config| millis(config.timestamp_after_max),
        apply: |config, value| {
            let millis = number(value, 0, i64::MAX);
            millis.map(|n| config.timestamp_after_max = Duration::from_millis(n))
        },
    },
    Setting {
        name: "message.timestamp.before.max.ms",
        allowed: "0 or more milliseconds",
        show: |config| millis(config.timestamp_before_max),
        apply: |config, value| {
            let millis = number(value, 0, i64::MAX);
            millis.map(|n| config.timestamp_before_max = Duration::from_millis(n))
        },
    },
    Setting {
        name: "message.timestamp.type",
        allowed: "CreateTime or LogAppendTime",
        show: |config| config.timestamp_type.to_string(),
        apply: |config, value| {
            config.timestamp_type = match value {
                "CreateTime" => TimestampType::CreateTime,
                "LogAppendTime" => TimestampType::LogAppendTime,
                _ => return None,
            };
            Some(())
        },
    },
    Setting {
        name: "min.cleanable.dirty.ratio",
        allowed: "0 to 1",
        show: |config| config.min_cleanable_dirty_ratio.to_string(),
        apply: |config, value| {
            let ratio = value.parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio));
            ratio.map(|ratio| config.min_cleanable_dirty_ratio = ratio)
        },
    },
    Setting {
        name: "min.compaction.lag.ms",
        allowed: "0 or more milliseconds",
        show: |config| millis(config.min_compaction_lag),
        apply: |config, value| {
            number(value, 0, i64::MAX).map(|n| config.min_compaction_lag = Duration::from_millis(n))
        },
    },
    Setting {
        name: MAX_BYTES,
        allowed: "max.message.bytes or more, or -1 for no limit",
        show: |config| or_unlimited(config.max_bytes),
        apply: |config, value| unlimited(value).map(|n| config.max_bytes = n),
    },
    Setting {
        name: "retention.bytes",
        allowed: "0 or more bytes, or -1 for no limit",
        show: |config| or_unlimited(config.retention_bytes),
        apply: |config, value| unlimited(value).map(|n| config.retention_bytes = n),
    },
    Setting {
        name: "retention.ms",
        allowed: "0 or more milliseconds, or -1 for ever",
        show: |config| config.retention.map_or_else(unlimited_text, millis),
        apply: |config, value| {
            unlimited(value).map(|n| config.retention = n.map(Duration::from_millis))
        },
    },
    Setting {
        name: "segment.bytes",
        allowed: "1024 to 2147483647 bytes",
        show: |config| config.segment_bytes.to_string(),
        apply: |config, value| {
            number(value, 1024, i32::MAX.into()).map(|n| config.segment_bytes = n)
        },
    },
    Setting {
        name: "segment.ms",
        allowed: "1 or more milliseconds",
        show: |config| millis(config.segment_age),
        apply: |config, value| {
            number(value, 1, i64::MAX).map(|n| config.segment_age = Duration::from_millis(n))
        },
    },
];

fn number(value: &str, min: i64, max: i64) -> Option<u64> {
    let number: i64 = value.parse().ok()?;
    (min..=max).contains(&number).then_some(number as u64)
}

/// A number, or `None` for -1.
fn unlimited(value: &str) -> Option<Option<u64>> {
    if value == "-1" { Some(None) } else { number(value, 0, i64::MAX).map(Some) }
}

fn millis(duration: Duration) -> String {
    duration.as_millis().to_string()
}

fn or_unlimited(number: Option<u64>) -> String {
    number.map_or_else(unlimited_text, |number| number.to_string())
}

fn unlimited_text() -> String {
    "-1".to_owned()
}

impl Setting {
    pub(super) fn named(name: &str) -> Result<&'static Setting> {
        let found = SETTINGS.iter().find(|setting| setting.name == name);
        found.ok_or_else(|| {
            let names: Vec<&str> = SETTINGS.iter().map(|setting| setting.name).collect();
            let reason = format!("there is no such setting; there are {}", names.join(", "));
            Error::InvalidConfig { name: name.chars().take(60).collect(), reason }
        })
    }

    pub(super) fn apply(&self, config: &mut LogConfig, value: &str) -> Result<()> {
        (self.apply)(config, value).ok_or_else(|| {
            let value: String = value.chars().take(60).collect();
            let reason = format!("{value:?} is not allowed; it takes {}", self.allowed);
            Error::InvalidConfig { name: self.name.to_owned(), reason }
        })
    }

    /// The name as this table has it, for names read from the catalog.
    pub(super) fn interned(name: &str) -> Option<&'static str> {
        Setting::named(name).ok().map(|setting| setting.name)
    }
}
