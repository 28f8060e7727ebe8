//! What a log is told about itself: limits and times, under Kafka's names.

use std::fmt;
use std::time::Duration;

use crate::batch::{Compression, Rules};
use crate::record::{Timestamp, TimestampType};

use super::producers::DEFAULT_MAX_PRODUCERS;

/// What becomes of old records (`cleanup.policy`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CleanupPolicy {
    /// Whole segments go, by age and size.
    #[default]
    Delete,
    /// Records go of whose key there is a later one. Every record needs a key.
    Compact,
    /// Both.
    CompactDelete,
}

impl fmt::Display for CleanupPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CleanupPolicy::Delete => "delete",
            CleanupPolicy::Compact => "compact",
            CleanupPolicy::CompactDelete => "compact,delete",
        })
    }
}

impl CleanupPolicy {
    /// Whether records give way to later ones of their key.
    pub fn compacts(self) -> bool {
        self != CleanupPolicy::Delete
    }

    /// Whether segments go by age and size.
    pub fn deletes(self) -> bool {
        self != CleanupPolicy::Compact
    }
}

/// Settings of one log. Plain data; a change takes effect at the next append.
#[derive(Debug, Clone, PartialEq)]
pub struct LogConfig {
    /// `segment.bytes`: a segment that would grow beyond it is rolled. 1 GiB.
    pub segment_bytes: u64,
    /// `segment.ms`: a segment is rolled when its records span more than this. 7 days.
    pub segment_age: Duration,
    /// `index.interval.bytes`: one index entry for so many bytes. 4096.
    pub index_interval_bytes: u64,
    /// `max.message.bytes`: the largest batch, with its 12-byte prefix. 1,048,588.
    pub max_message_bytes: usize,
    /// `message.timestamp.type`. CreateTime.
    pub timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`: how far back the timestamps of a batch from a peer may
    /// lie. The log does not look at it. Any time.
    pub timestamp_before_max: Duration,
    /// `message.timestamp.after.max.ms`: how far ahead. 1 hour.
    pub timestamp_after_max: Duration,
    /// `compression.type`: how whoever makes or checks a batch is to compress it; `None` leaves
    /// that to the producer. The log takes batches as they come.
    pub compression: Option<Compression>,
    /// `cleanup.policy`: delete.
    pub cleanup_policy: CleanupPolicy,
    /// `min.compaction.lag.ms`: a segment with a record younger than this is not compacted, nor
    /// are those after it. 0.
    pub min_compaction_lag: Duration,
    /// `min.cleanable.dirty.ratio`: a log is compacted when more than this part of its closed
    /// segments' bytes came since the last compaction. 0.5.
    pub min_cleanable_dirty_ratio: f64,
    /// `delete.retention.ms`: how long a tombstone is kept after the compaction that first met it,
    /// for readers that have yet to hear of the deletion. A day.
    pub delete_retention: Duration,
    /// `retention.ms`: 7 days; `None` keeps records for ever.
    pub retention: Option<Duration>,
    /// `retention.bytes`: `None` for no limit.
    pub retention_bytes: Option<u64>,
    /// What the log never takes more than, whatever the policy: an append that would go over it
    /// drops oldest segments first. `None` for no limit.
    pub max_bytes: Option<u64>,
    /// Whether an append is durable only once synced, and visible only then (`Power`).
    pub sync_before_visible: bool,
    /// The most producer ids whose state is kept.
    pub max_producers: usize,
}

impl Default for LogConfig {
    fn default() -> Self {
        LogConfig {
            segment_bytes: 1 << 30,
            segment_age: Duration::from_secs(7 * 24 * 3600),
            index_interval_bytes: 4096,
            max_message_bytes: 1_048_588,
            timestamp_type: TimestampType::CreateTime,
            timestamp_before_max: Duration::from_millis(i64::MAX as u64),
            timestamp_after_max: Duration::from_secs(3600),
            compression: None,
            cleanup_policy: CleanupPolicy::Delete,
            min_compaction_lag: Duration::ZERO,
            min_cleanable_dirty_ratio: 0.5,
            delete_retention: Duration::from_secs(24 * 3600),
            retention: Some(Duration::from_secs(7 * 24 * 3600)),
            retention_bytes: None,
            max_bytes: None,
            sync_before_visible: false,
            max_producers: DEFAULT_MAX_PRODUCERS,
        }
    }
}

impl LogConfig {
    /// What a batch from a network peer must be like, to be appended at this time; it may take
    /// `max_decompressed_bytes` once it is decompressed.
    pub fn rules(&self, now: Timestamp, max_decompressed_bytes: usize) -> Rules {
        Rules {
            max_message_bytes: self.max_message_bytes,
            segment_bytes: self.segment_bytes,
            compacted: self.cleanup_policy.compacts(),
            timestamp_type: self.timestamp_type,
            now,
            timestamp_before_max: self.timestamp_before_max,
            timestamp_after_max: self.timestamp_after_max,
            compression: self.compression,
            max_decompressed_bytes,
        }
    }
}
