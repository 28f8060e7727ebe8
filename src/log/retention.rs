//! Dropping the oldest segments, and moving the log's start.

use std::io;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::batch::BatchHeader;
use crate::record::Timestamp;
use crate::storage::is_full;

use super::error::AppendError;
use super::producer_snapshot::snapshot_offset;
use super::segment::Segment;
use super::{Log, recovery};

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
            self.forget_dropped()?;
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
            Some(first) if (0..limit).contains(&first) => match self.roll_now() {
                // Nothing needs it now; the next look, or the next append, does it.
                Err(AppendError::StorageFull { .. }) => Ok(()),
                rolled => rolled,
            },
            _ => Ok(()),
        }
    }

    /// Whether so many bytes more are above `max_bytes`.
    pub(super) fn is_above_max(&self, more: u64) -> bool {
        self.config.max_bytes.is_some_and(|max| self.shared.size() + more > max)
    }

    /// Drops oldest segments until so many bytes more are within `max_bytes`. What is not visible
    /// yet stays: it is about to be acknowledged. What is held stays, and nothing comes in.
    pub(super) fn stay_below_max(&mut self, more: u64) -> Result<(), AppendError> {
        let mut dropped = false;
        while self.is_above_max(more) {
            let segments = self.shared.segments().clone();
            let [oldest, rest @ ..] = &segments[..] else { break };
            let end = rest.first().map_or(self.shared.log_end(), |next| next.base_offset);
            if end > self.shared.high_watermark() || oldest.size() == 0 && rest.is_empty() {
                break;
            }
            if end > self.shared.held_from() {
                return Err(self.held());
            }
            if rest.is_empty() {
                self.roll_away().map_err(|error| self.classify(error, "a new segment"))?;
            }
            dropped |= self.shared.drop_oldest(end).map_err(|error| self.fail(error))?;
        }
        if dropped { self.forget_dropped() } else { Ok(()) }
    }

    fn drop_if_expired(&mut self, now: Timestamp) -> Result<bool, AppendError> {
        let segments = self.shared.segments().clone();
        let Some(oldest) = segments.first() else { return Ok(false) };
        if oldest.size() == 0 && segments.len() == 1
            || !self.is_too_old(&segments, now) && !self.is_too_much(oldest)
        {
            return Ok(false);
        }
        let held_from = self.shared.held_from();
        if segments.get(1).map_or(self.shared.log_end(), |next| next.base_offset) > held_from {
            return Ok(false);
        }
        if segments.len() == 1 {
            if self.shared.high_watermark() < self.shared.log_end() {
                return Ok(false);
            }
            self.roll_away().map_err(|error| self.classify(error, "a new segment"))?;
        }
        self.shared.drop_oldest(held_from).map_err(|error| self.fail(error))
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

    /// After segments were dropped: forgets what was kept for them.
    fn forget_dropped(&mut self) -> Result<(), AppendError> {
        if self.shared.verify
            && let Err(error) = self.remove_old_snapshots()
        {
            // They do no harm where they are.
            tracing::debug!(partition = %self.partition, %error, "producer snapshots stay");
        }
        self.trim_epochs()
    }

    /// Nothing before the log's first segment is ever replayed, so the snapshot where that begins
    /// is the oldest of use. Each segment has brought one: a log that is kept small by dropping
    /// segments must not grow by them.
    fn remove_old_snapshots(&self) -> io::Result<()> {
        let Some(first) = self.shared.segments().first().map(|it| it.base_offset) else {
            return Ok(());
        };
        let (storage, dir) = (&*self.shared.storage, &self.shared.dir);
        let entries = storage.list(dir)?;
        match entries.iter().any(|entry| snapshot_offset(&entry.name) == Some(first)) {
            true => recovery::remove_snapshots(storage, dir, |offset| offset < first),
            false => Ok(()),
        }
    }

    /// Forgets epochs of which no batch is left. The first batch may begin before the log does.
    /// On a full disk another time: it does no harm to know of them.
    fn trim_epochs(&mut self) -> Result<(), AppendError> {
        let first = self.shared.segments().first().map(|segment| segment.base_offset);
        let start = first.unwrap_or(self.shared.log_start());
        let mut epochs = self.shared.epochs().clone();
        if epochs.truncate_from_start(start) {
            match self.store_epochs(&epochs) {
                Ok(()) => *self.shared.epochs_mut() = epochs,
                Err(error) if is_full(&error) => {}
                Err(error) => return Err(self.fail(error)),
            }
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
        self.forget_dropped()
    }

    /// Removes the segments all of whose records stand before `offset`, and moves the log's start
    /// behind them: nobody else has to keep that in mind. Returns how many.
    pub fn drop_segments_before(&mut self, offset: i64) -> Result<usize, AppendError> {
        self.check_writable()?;
        let removed = self.drop_up_to(offset.min(self.shared.high_watermark()))?;
        self.forget_dropped()?;
        Ok(removed)
    }

    /// Removes the segments before the log's start: that may have moved while one was active.
    fn drop_deleted(&mut self) -> Result<usize, AppendError> {
        self.drop_up_to(self.shared.log_start())
    }

    fn drop_up_to(&mut self, offset: i64) -> Result<usize, AppendError> {
        let mut removed = 0;
        loop {
            let second = self.shared.segments().get(1).map(|segment| segment.base_offset);
            let is_deleted = second.is_some_and(|base| base <= offset);
            if !is_deleted || !self.shared.drop_oldest(offset).map_err(|error| self.fail(error))? {
                return Ok(removed);
            }
            removed += 1;
        }
    }
}
