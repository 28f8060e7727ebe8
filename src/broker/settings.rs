//! Settings of topics, under Kafka's names, and of brokers.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::batch::Compression;
use crate::error::{Error, Result};
use crate::group::GroupLimits;
use crate::log::{CleanupPolicy, LogConfig};
use crate::record::TimestampType;
use crate::storage::MemoryPolicy;

use super::config::{self, Setting};

/// What an acknowledged record survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Durability {
    /// Nothing: it lives in this process's memory. The only one of an in-memory broker.
    Memory,
    /// The end of the process (`kill -9`): it is in the operating system's page cache.
    Process,
    /// The loss of power: it is synced to the disk before it is acknowledged or visible.
    Power,
}

impl Durability {
    /// A byte for the catalog.
    pub(super) fn to_byte(self) -> u8 {
        match self {
            Durability::Memory => 0,
            Durability::Process => 1,
            Durability::Power => 2,
        }
    }

    pub(super) fn from_byte(byte: u8) -> Option<Self> {
        [Durability::Memory, Durability::Process, Durability::Power].get(usize::from(byte)).copied()
    }
}

/// The largest number of partitions a topic can have here.
pub const MAX_PARTITIONS: i32 = 100_000;

/// How a topic is to be: partitions, durability, and settings under Kafka's names.
///
/// What is not set has the broker's default.
///
/// ```
/// use std::time::Duration;
/// use ottla::TopicConfig;
///
/// let config = TopicConfig::new().partitions(6).retention(Some(Duration::from_secs(3600)));
/// assert_eq!(config.get("retention.ms"), Some("3600000"));
/// assert!(TopicConfig::new().set("retention.ms", "soon").is_err());
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TopicConfig {
    pub(crate) partitions: Option<i32>,
    pub(crate) durability: Option<Durability>,
    pub(crate) settings: BTreeMap<&'static str, String>,
}

impl TopicConfig {
    /// Everything at the broker's default.
    pub fn new() -> Self {
        TopicConfig::default()
    }

    /// How many partitions: 1 to 100,000. Default 1.
    pub fn partitions(mut self, partitions: i32) -> Self {
        self.partitions = Some(partitions);
        self
    }

    /// What acknowledged records survive. Default: `Power` on disk; in memory always `Memory`.
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = Some(durability);
        self
    }

    /// How long records are kept (`retention.ms`); `None` for ever. Default 7 days.
    pub fn retention(self, retention: Option<Duration>) -> Self {
        let millis = retention.map_or(-1, |it| i64::try_from(it.as_millis()).unwrap_or(i64::MAX));
        self.put("retention.ms", millis)
    }

    /// How many bytes a partition keeps (`retention.bytes`), counted in whole segments; `None`
    /// for no limit, the default.
    pub fn retention_bytes(self, bytes: Option<u64>) -> Self {
        let bytes = bytes.map_or(-1, |it| i64::try_from(it).unwrap_or(i64::MAX));
        self.put("retention.bytes", bytes)
    }

    /// How many bytes a partition never takes more than (`ottla.partition.max.bytes`, which Kafka
    /// does not have); `None` for no limit, the default. An append that would go over it drops the
    /// oldest segment first, whether it was consumed or not and whatever the cleanup policy, so
    /// segments take an eighth of it at most. Only what is appended at one time can go over it.
    pub fn max_partition_bytes(self, bytes: Option<u64>) -> Self {
        let bytes = bytes.map_or(-1, |it| i64::try_from(it).unwrap_or(i64::MAX));
        self.put(config::MAX_BYTES, bytes)
    }

    /// When a segment is ended (`segment.bytes`): 1 KiB to 2 GiB less one. Default 1 GiB. In memory
    /// never more than 1 MiB, and less where the broker's memory is to do for many partitions.
    pub fn segment_bytes(self, bytes: u64) -> Self {
        self.put("segment.bytes", bytes)
    }

    /// What becomes of old records (`cleanup.policy`). Default [`CleanupPolicy::Delete`].
    pub fn cleanup_policy(self, policy: CleanupPolicy) -> Self {
        self.put("cleanup.policy", policy)
    }

    /// How long a compacted topic keeps the record with which a key was deleted, a null value
    /// (`delete.retention.ms`). Default a day.
    pub fn delete_retention(self, retention: Duration) -> Self {
        let millis = i64::try_from(retention.as_millis()).unwrap_or(i64::MAX);
        self.put("delete.retention.ms", millis)
    }

    /// The largest record batch (`max.message.bytes`). Default 1,048,588.
    pub fn max_message_bytes(self, bytes: usize) -> Self {
        self.put("max.message.bytes", bytes)
    }

    /// Whose timestamps records carry (`message.timestamp.type`). Default `CreateTime`.
    pub fn timestamp_type(self, timestamp_type: TimestampType) -> Self {
        self.put("message.timestamp.type", timestamp_type)
    }

    /// How batches are compressed (`compression.type`), whatever their producers are set to; `None`
    /// leaves it to them, the default (Kafka's name for that is `producer`).
    ///
    /// Producers of this library compress so by themselves. Batches that they made before the
    /// setting changed stay as they are. With a codec that is not built in nothing can be produced.
    pub fn compression(self, compression: Option<Compression>) -> Self {
        let name = match compression {
            None => "producer".to_owned(),
            Some(Compression::None) => "uncompressed".to_owned(),
            Some(codec) => codec.to_string(),
        };
        self.put("compression.type", name)
    }

    /// How far back timestamps may lie (`message.timestamp.before.max.ms`). Default: no limit.
    ///
    /// It concerns batches that come over a network; what producers of this process say is
    /// trusted. Under `LogAppendTime` it means nothing.
    pub fn timestamp_before_max(self, max: Duration) -> Self {
        let millis = i64::try_from(max.as_millis()).unwrap_or(i64::MAX);
        self.put("message.timestamp.before.max.ms", millis)
    }

    /// How far ahead timestamps may lie (`message.timestamp.after.max.ms`). Default 1 hour.
    ///
    /// It concerns the same batches as [`timestamp_before_max`](Self::timestamp_before_max).
    pub fn timestamp_after_max(self, max: Duration) -> Self {
        let millis = i64::try_from(max.as_millis()).unwrap_or(i64::MAX);
        self.put("message.timestamp.after.max.ms", millis)
    }

    /// Sets what Kafka calls `name`. The error lists the names, or the values allowed.
    ///
    /// Beside those that have a method there are `segment.ms`, after which a segment is ended when
    /// the next record comes (default 7 days), `index.interval.bytes` (default 4096), and of
    /// compacted topics `min.compaction.lag.ms`, for which records stay as they are (default 0),
    /// and `min.cleanable.dirty.ratio`, the part of a log that is new when it is compacted by
    /// itself (default 0.5).
    pub fn set(mut self, name: &str, value: impl fmt::Display) -> Result<Self> {
        let setting = Setting::named(name)?;
        let value = value.to_string();
        setting.apply(&mut LogConfig::default(), &value)?;
        self.settings.insert(setting.name, value);
        Ok(self)
    }

    /// As [`TopicConfig::set`], for what a Kafka client may send: `flush.messages` of 1 is
    /// [`Durability::Power`], and settings that speak of replicas mean nothing on one node.
    #[cfg(feature = "tcp")]
    pub(crate) fn set_from_network(self, name: &str, value: &str) -> Result<Self> {
        // Around it Kafka takes space.
        let value = value.trim();
        match (name, value) {
            (config::FLUSH_MESSAGES, "1") => Ok(self.durability(Durability::Power)),
            (config::FLUSH_MESSAGES, _) => Err(Error::InvalidConfig {
                name: name.to_owned(),
                reason: "it is 1, to sync each batch before it is acknowledged, or not set"
                    .to_owned(),
            }),
            _ if config::OF_REPLICAS.contains(&name) => Ok(self),
            _ => self.set(name, value),
        }
    }

    /// Forgets what was set for `name`: it is what `defaults` have, if they do.
    pub(super) fn unset(mut self, name: &str, defaults: &TopicConfig) -> Result<Self> {
        let name = Setting::named(name)?.name;
        match defaults.settings.get(name) {
            Some(value) => self.settings.insert(name, value.clone()),
            None => self.settings.remove(name),
        };
        Ok(self)
    }

    /// What was set for `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.settings.get(name).map(String::as_str)
    }

    /// Checked when the topic is created: builders do not fail half-way.
    fn put(mut self, name: &'static str, value: impl fmt::Display) -> Self {
        self.settings.insert(name, value.to_string());
        self
    }

    /// What is not set here, as `defaults` have it.
    pub(super) fn or(mut self, defaults: &TopicConfig) -> Self {
        self.partitions = self.partitions.or(defaults.partitions);
        self.durability = self.durability.or(defaults.durability);
        for (name, value) in &defaults.settings {
            self.settings.entry(name).or_insert_with(|| value.clone());
        }
        self
    }

    pub(super) fn checked_partitions(&self) -> Result<i32> {
        let partitions = self.partitions.unwrap_or(1);
        match partitions {
            1..=MAX_PARTITIONS => Ok(partitions),
            _ => Err(Error::InvalidPartitions { partitions, least: 1, limit: MAX_PARTITIONS }),
        }
    }

    /// The settings as a log wants them.
    pub(super) fn log_config(&self, durability: Durability) -> Result<LogConfig> {
        let mut config = LogConfig {
            sync_before_visible: durability == Durability::Power,
            ..LogConfig::default()
        };
        for (name, value) in &self.settings {
            Setting::named(name)?.apply(&mut config, value)?;
        }
        config::check(&config)?;
        Ok(config)
    }
}

/// How a broker is to be; made by [`crate::broker::BrokerBuilder`].
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) topic_defaults: TopicConfig,
    pub(super) auto_create_topics: bool,
    pub(super) memory_limit_bytes: usize,
    pub(super) memory_policy: MemoryPolicy,
    pub(super) max_open_files: usize,
    pub(super) io_threads: usize,
    pub(super) retention_check_interval: Duration,
    pub(super) max_topics: usize,
    pub(super) group_limits: GroupLimits,
    pub(super) offsets_retention: Duration,
    /// What ids are made of, for crash tests that have to repeat a run; else they are random.
    pub(super) id_seed: Option<u64>,
    /// Whether nothing may be changed.
    pub(super) read_only: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            topic_defaults: TopicConfig::default(),
            auto_create_topics: true,
            memory_limit_bytes: 256 << 20,
            memory_policy: MemoryPolicy::DropOldest,
            max_open_files: crate::storage::DEFAULT_MAX_OPEN_FILES,
            io_threads: 8,
            retention_check_interval: Duration::from_secs(300),
            max_topics: 100_000,
            group_limits: GroupLimits::default(),
            offsets_retention: Duration::from_secs(7 * 24 * 3600),
            id_seed: None,
            read_only: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_kafkas_and_errors_say_what_is_allowed() {
        let config = TopicConfig::new().retention(None).segment_bytes(2048).max_message_bytes(100);
        let log = config.log_config(Durability::Power).unwrap();
        assert_eq!((log.retention, log.segment_bytes, log.max_message_bytes), (None, 2048, 100));
        assert!(log.sync_before_visible);

        let error = TopicConfig::new().set("retention", 1).unwrap_err().to_string();
        assert!(error.contains("retention.ms") && error.contains("segment.bytes"), "{error}");
        let error = TopicConfig::new().set("segment.bytes", 10).unwrap_err().to_string();
        assert!(error.contains("1024 to 2147483647"), "{error}");
        let error = TopicConfig::new().segment_bytes(1).log_config(Durability::Memory);
        assert!(error.unwrap_err().to_string().contains("segment.bytes"));
    }

    #[test]
    fn codecs_and_times_have_kafkas_names() {
        let codec = |config: TopicConfig| {
            let log = config.log_config(Durability::Memory).unwrap();
            (config.get("compression.type").map(str::to_owned), log.compression)
        };
        assert_eq!(codec(TopicConfig::new()), (None, None));
        for wanted in Compression::ALL.into_iter().map(Some).chain([None]) {
            let (name, found) = codec(TopicConfig::new().compression(wanted));
            assert_eq!(found, wanted);
            let set = TopicConfig::new().set("compression.type", name.as_ref().unwrap()).unwrap();
            assert_eq!(codec(set), (name, wanted));
        }
        assert!(TopicConfig::new().set("compression.type", "none").is_err());
        let hour = Duration::from_secs(3600);
        let config = TopicConfig::new().timestamp_before_max(hour).timestamp_after_max(2 * hour);
        let log = config.log_config(Durability::Memory).unwrap();
        assert_eq!((log.timestamp_before_max, log.timestamp_after_max), (hour, 2 * hour));
        let longest = TopicConfig::new().timestamp_before_max(Duration::MAX);
        let default = LogConfig::default().timestamp_before_max;
        assert_eq!(longest.log_config(Durability::Memory).unwrap().timestamp_before_max, default);
    }

    #[test]
    fn defaults_fill_in_what_is_not_set() {
        let defaults = TopicConfig::new().partitions(3).retention(None);
        let config = TopicConfig::new().retention_bytes(Some(5)).or(&defaults);
        assert_eq!(config.partitions, Some(3));
        assert_eq!(config.get("retention.ms"), Some("-1"));
        assert_eq!(config.get("retention.bytes"), Some("5"));
        assert!(TopicConfig::new().partitions(0).checked_partitions().is_err());
    }
}
