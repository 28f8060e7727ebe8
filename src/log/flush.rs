//! Making a log durable: syncs, and the recovery point with what must be on the disk before it.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::record::Timestamp;
use crate::storage::is_full;
use crate::topic::TopicPartition;

use super::error::AppendError;
use super::producer_snapshot::snapshot_file_name;
use super::producers::ProducerState;
use super::segment::Segment;
use super::shared::Shared;
use super::{Log, recovery};

/// Fewer appended bytes are read again in no time: for them the recovery point is not moved up
/// while more come.
const FEW: u64 = if cfg!(test) { 64 << 10 } else { 64 << 20 };
/// With so many, it is moved up at once.
const MANY: u64 = if cfg!(test) { 1 << 20 } else { 1 << 30 };
/// Otherwise it follows what is appended at this distance, in milliseconds: appends have to wait
/// for a file system that is about to write the same file, some ten milliseconds each time.
const DISTANCE_MS: i64 = 10_000;

/// What was appended since the recovery point was last about to move.
#[derive(Debug, Default)]
pub(super) struct Unsettled {
    bytes: u64,
    /// When the first of it was appended, and the last.
    times: Option<(Timestamp, Timestamp)>,
}

impl Unsettled {
    pub(super) fn add(&mut self, bytes: u64, now: Timestamp) {
        self.bytes += bytes;
        let (since, _) = self.times.unwrap_or((now, now));
        self.times = Some((since, now));
    }

    /// Whether so much is there, for so long, that it should be settled. A clock that was set back
    /// delays that, up to [`MANY`] bytes.
    fn is_due(&self) -> bool {
        let distance = |(since, now): (Timestamp, Timestamp)| {
            now.as_millis().saturating_sub(since.as_millis())
        };
        let is_late = || self.times.is_some_and(|times| distance(times) >= DISTANCE_MS);
        self.bytes >= MANY || self.bytes >= FEW && is_late()
    }
}

impl Log {
    /// Makes durable what was appended. After a failure the log is read-only.
    pub fn sync(&mut self) -> Result<(), AppendError> {
        self.check_writable()?;
        let log_end = self.shared.log_end();
        if self.synced < log_end {
            let segments = self.dirty_segments(self.synced);
            let synced = segments.iter().try_for_each(|segment| segment.sync());
            synced.map_err(|error| self.fail_sync(error))?;
            self.synced = log_end;
        }
        Ok(())
    }

    /// The segments that hold something from `offset` on.
    fn dirty_segments(&self, offset: i64) -> Vec<Arc<Segment>> {
        let segments = self.shared.segments();
        let first = segments.partition_point(|s| s.base_offset <= offset).saturating_sub(1);
        segments[first..].to_vec()
    }

    /// After a failed sync the page cache may call pages clean that the disk does not have. The
    /// mark need not be durable: where the page cache is lost, so is the doubt.
    pub(super) fn fail_sync(&mut self, error: io::Error) -> AppendError {
        self.mark_is_due = !recovery::mark_sync_failed(&*self.shared.storage, &self.shared.dir);
        self.fail(error)
    }

    /// Everything that must be on the disk before the recovery point may move to where the log
    /// ends now. The plan can run on another thread while appends go on; [`Log::checkpointed`]
    /// wants to know how it ended, before there is another. On a full disk there is no plan.
    pub fn checkpoint(&mut self) -> Result<Option<CheckpointPlan>, AppendError> {
        self.unsettled = Unsettled::default();
        let up_to = self.shared.log_end();
        if !self.shared.verify || self.failure.is_some() || self.recovery_point >= up_to {
            return Ok(None);
        }
        let segments = self.dirty_segments(self.recovery_point);
        match self.store_derived(&segments, up_to) {
            Ok(()) => {}
            Err(error) if is_full(&error) => return Ok(None),
            Err(error) => return Err(self.fail(error)),
        }
        self.checkpointing = Some(up_to);
        self.highest_point = up_to;
        Ok(Some(CheckpointPlan {
            shared: self.shared.clone(),
            partition: self.partition.clone(),
            truncations: self.shared.truncations.load(Ordering::Acquire),
            segments,
            up_to,
        }))
    }

    fn store_derived(&mut self, segments: &[Arc<Segment>], up_to: i64) -> io::Result<()> {
        for segment in segments {
            // Or else its greatest timestamp would not be known, were it the last thing written.
            segment.seal_times();
            segment.store_indexes(&*self.shared.storage, &self.shared.dir)?;
        }
        self.write_snapshot(up_to, &self.producers)
    }

    /// Whether the recovery point should move: 10 s behind the last append, unless less than
    /// 64 MiB were appended since, or once 1 GiB was.
    pub fn wants_checkpoint(&self) -> bool {
        self.unsettled.is_due()
    }

    /// Takes note of how a plan ended.
    pub fn checkpointed(&mut self, done: io::Result<Option<i64>>) -> Result<(), AppendError> {
        let wanted = self.checkpointing.take();
        let done = done.map_err(|error| self.fail_sync(error))?;
        if let Some(up_to) = done.filter(|_| done == wanted) {
            self.recovery_point = self.recovery_point.max(up_to);
            self.synced = self.synced.max(up_to);
        }
        Ok(())
    }

    /// Makes everything durable and writes that down, so that the next open has nothing to do.
    pub fn close(&mut self) -> Result<(), AppendError> {
        self.stop_compaction();
        if self.mark_is_due {
            let done = recovery::mark_sync_failed(&*self.shared.storage, &self.shared.dir);
            self.mark_is_due = !done;
        }
        self.sync()?;
        match self.checkpoint()? {
            Some(plan) => self.checkpointed(plan.run()),
            None => Ok(()),
        }
    }

    /// Producer state as of `offset`. It can be derived from the log and carries a checksum, so it
    /// is not synced. The last one below the recovery point stays until that has moved.
    pub(super) fn write_snapshot(&self, offset: i64, producers: &ProducerState) -> io::Result<()> {
        let (storage, dir) = (&*self.shared.storage, &self.shared.dir);
        let path = dir.join(snapshot_file_name(offset));
        let file = storage.open(&path, true)?;
        file.truncate(0)?;
        if let Err(error) = file.append(0, &[&producers.encode()]) {
            // A part of one is none, and takes space.
            let _ = storage.remove_file(&path);
            return Err(error);
        }
        recovery::remove_snapshots(storage, dir, |other| other < self.recovery_point)
    }
}

/// What must be synced before a recovery point may move: see [`Log::checkpoint`].
#[derive(Debug)]
pub struct CheckpointPlan {
    shared: Arc<Shared>,
    partition: TopicPartition,
    /// How many truncations there had been.
    truncations: u64,
    segments: Vec<Arc<Segment>>,
    up_to: i64,
}

impl CheckpointPlan {
    /// Syncs, then writes the recovery point down, and returns it. Segments that retention removed
    /// meanwhile need no sync. Where the log was truncated meanwhile, or there is no room for the
    /// recovery point, that stays as it was. But a sync that fails for want of room (delayed
    /// allocation, a quota) is a failed sync like any other.
    pub fn run(self) -> io::Result<Option<i64>> {
        let (storage, dir) = (&*self.shared.storage, &self.shared.dir);
        for segment in &self.segments {
            match segment.sync() {
                Err(error) if segment.is_live() => {
                    recovery::mark_sync_failed(storage, dir);
                    return Err(error);
                }
                _ => {}
            }
            match self.sync_indexes(segment) {
                Err(error) if segment.is_live() => return Err(error),
                _ => {}
            }
        }
        storage.sync_dir(dir)?;
        storage.sync_dir(dir.parent().unwrap_or(Path::new("")))?;
        let _point = self.shared.point.lock().expect("no one panics with the point in hand");
        if self.shared.truncations.load(Ordering::Acquire) != self.truncations {
            return Ok(None);
        }
        match recovery::store_recovery_point(&self.shared, &self.partition, self.up_to) {
            Ok(()) => Ok(Some(self.up_to)),
            Err(error) if is_full(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn sync_indexes(&self, segment: &Segment) -> io::Result<()> {
        let (index, timeindex) = segment.index_paths(&self.shared.dir);
        self.shared.storage.open(&index, false)?.sync()?;
        self.shared.storage.open(&timeindex, false)?.sync()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_settled_is_much_or_late() {
        let after = |appends: &[(u64, i64)]| {
            let mut unsettled = Unsettled::default();
            for (bytes, now) in appends {
                unsettled.add(*bytes, Timestamp::from_millis(*now));
            }
            unsettled.is_due()
        };
        assert!(!after(&[]));
        assert!(!after(&[(FEW - 1, 0), (0, 1 << 40)]), "little, however late");
        assert!(!after(&[(FEW, 1 << 40), (FEW, (1 << 40) + DISTANCE_MS - 1)]));
        assert!(after(&[(FEW, 1 << 40), (0, (1 << 40) + DISTANCE_MS)]));
        assert!(!after(&[(MANY - 1, 7)]));
        assert!(after(&[(MANY - 1, 7), (1, 7)]));
        assert!(!after(&[(MANY - 1, DISTANCE_MS), (0, 0)]), "the clock was set back");
        assert!(!after(&[(MANY - 1, i64::MAX), (0, -1)]));
    }
}
