//! What a log is told about itself: limits and times, under Kafka's names.

use std::time::Duration;

use crate::record::TimestampType;

use super::producers::DEFAULT_MAX_PRODUCERS;

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
    /// `retention.ms`: 7 days; `None` keeps records for ever.
    pub retention: Option<Duration>,
    /// `retention.bytes`: `None` for no limit.
    pub retention_bytes: Option<u64>,
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
            retention: Some(Duration::from_secs(7 * 24 * 3600)),
            retention_bytes: None,
            sync_before_visible: false,
            max_producers: DEFAULT_MAX_PRODUCERS,
        }
    }
}
