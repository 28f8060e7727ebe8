//! Dropping the oldest segments, and moving the log's start.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::batch::BatchHeader;
use crate::record::Timestamp;

use super::Log;
use super::error::AppendError;
use super::segment::Segment;

/// `producer.id.expiration.ms`: how long an idempotent producer is remembered that sends nothing.
const PRODUCER_EXPIRATION: Duration = Duration::from_secs(24 * 3600);

impl Log {
    /// Removes segments that retention no longer wants, the oldest first, the active one too
    /// (after a roll), and forgets producers that were silent for a day. Returns how many segments.
    /// Where the policy is to compact, and not to delete, none but those before the log's start.
    ///
    /// By time: every record of the segment is older than `retention` at `now`. By size: the
    /// segments behind it alone hold `retention_bytes`.
    ///
    /// Also ends the segment that is written to once its first record is older than `segment.ms`:
    /// a log that nobody writes to is to be compacted, too.
    pub fn enforce_retention(&mut self, now: Timestamp) -> Result<usize, AppendError> {
        self.check_writable()?;
        self.note_time(now);
        let expiration = PRODUCER_EXPIRATION.as_millis() as i64;
        self.producers.expire(now.as_millis(), expiration);
        let mut removed = self.drop_deleted()?;
        while self.config.cleanup_policy.deletes() && self.drop_if_expired(now)? {
            removed += 1;
        }
        if removed > 0 {
            self.trim_epochs()?;
        }
        self.roll_if_old(now)?;
        Ok(removed)
    }

    /// Tells the log the time, by which it judges whether what is appended is too old to stay.
    pub fn note_time(&mut self, now: Timestamp) {
        let kept = self.config.retention.filter(|_| self.config.cleanup_policy.deletes());
        self.expired_before = kept.map_or(i64::MIN, |it| now.saturating_sub(it).as_millis());
    }

    /// A batch that is older than its retention when it comes goes at the next look: hardly what
    /// whoever appends it expects.
    pub(super) fn warn_if_expired(&self, header: &BatchHeader) {
        let is_expired = (0..self.expired_before).contains(&header.max_timestamp);
        if is_expired && !self.warned.swap(true, Ordering::Relaxed) {
            let (offset, timestamp) = (header.base_offset, header.max_timestamp);
            tracing::warn!(
                partition = %self.partition, offset, timestamp,
                "records older than retention.ms are appended, and will soon be deleted; keep \
                 them with a longer retention.ms, or -1, or message.timestamp.type=LogAppendTime"
            );
        }
    }

    fn roll_if_old(&mut self, now: Timestamp) -> Result<(), AppendError> {
        let Some(active) = &self.active else { return Ok(()) };
        let limit = now.saturating_sub(self.config.segment_age).as_millis();
        match active.first_timestamp {
            Some(first) if (0..limit).contains(&first) => self.roll_now(),
            _ => Ok(()),
        }
    }

    /// Whether so many bytes more are above `max_bytes`.
    pub(super) fn is_above_max(&self, more: u64) -> bool {
        self.config.max_bytes.is_some_and(|max| self.shared.size() + more > max)
    }

    /// Drops oldest segments until so many bytes more are within `max_bytes`. What is not visible
    /// yet stays: it is about to be acknowledged.
    pub(super) fn stay_below_max(&mut self, more: u64) -> Result<(), AppendError> {
        let mut dropped = false;
        while self.is_above_max(more) {
            let segments = self.shared.segments().clone();
            let [oldest, rest @ ..] = &segments[..] else { break };
            let end = rest.first().map_or(self.shared.log_end(), |next| next.base_offset);
            if end > self.shared.high_watermark() || oldest.size() == 0 && rest.is_empty() {
                break;
            }
            if rest.is_empty() {
                self.roll().map_err(|error| self.classify(error, "a new segment"))?;
            }
            dropped |= self.shared.drop_oldest(false).map_err(|error| self.fail(error))?;
        }
        if dropped { self.trim_epochs() } else { Ok(()) }
    }

    fn drop_if_expired(&mut self, now: Timestamp) -> Result<bool, AppendError> {
        let segments = self.shared.segments().clone();
        let Some(oldest) = segments.first() else { return Ok(false) };
        if oldest.size() == 0 && segments.len() == 1
            || !self.is_too_old(&segments, now) && !self.is_too_much(oldest)
        {
            return Ok(false);
        }
        if segments.len() == 1 {
            if self.shared.high_watermark() < self.shared.log_end() {
                return Ok(false);
            }
            self.roll().map_err(|error| self.classify(error, "a new segment"))?;
        }
        self.shared.drop_oldest(false).map_err(|error| self.fail(error))
    }

    /// A segment whose records have no timestamps is as old as the one that follows.
    fn is_too_old(&self, segments: &[std::sync::Arc<Segment>], now: Timestamp) -> bool {
        let Some(retention) = self.config.retention else { return false };
        let limit = now.saturating_sub(retention).as_millis();
        let mut known = segments.iter().filter_map(|segment| segment.max_timestamp());
        known.find(|max| max.timestamp >= 0).is_some_and(|max| max.timestamp < limit)
    }

    fn is_too_much(&self, oldest: &Segment) -> bool {
        let rest = self.shared.size().saturating_sub(oldest.size());
        self.config.retention_bytes.is_some_and(|limit| rest >= limit)
    }

    /// Forgets epochs of which no batch is left. The first batch may begin before the log does.
    fn trim_epochs(&mut self) -> Result<(), AppendError> {
        let first = self.shared.segments().first().map(|segment| segment.base_offset);
        let start = first.unwrap_or(self.shared.log_start());
        let mut epochs = self.shared.epochs().clone();
        if epochs.truncate_from_start(start) {
            self.store_epochs(&epochs).map_err(|error| self.classify(error, "the epochs"))?;
            *self.shared.epochs_mut() = epochs;
        }
        Ok(())
    }

    /// Moves the first offset up to `offset`, which may stand inside of a batch, and removes the
    /// segments before it. The caller keeps the offset: [`super::Opening::log_start_offset`].
    pub fn advance_log_start(&mut self, offset: i64) -> Result<(), AppendError> {
        self.check_writable()?;
        let offset = offset.min(self.shared.high_watermark());
        self.shared.log_start.fetch_max(offset, Ordering::AcqRel);
        self.drop_deleted()?;
        self.trim_epochs()
    }

    /// Removes the segments before the log's start: that may have moved while one was active.
    fn drop_deleted(&mut self) -> Result<usize, AppendError> {
        let mut removed = 0;
        loop {
            let second = self.shared.segments().get(1).map(|segment| segment.base_offset);
            let is_deleted = second.is_some_and(|base| base <= self.shared.log_start());
            if !is_deleted || !self.shared.drop_oldest(false).map_err(|error| self.fail(error))? {
                return Ok(removed);
            }
            removed += 1;
        }
    }
}
