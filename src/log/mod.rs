//! One partition's log: segments of record batches, and what is needed to find and trust them.
//!
//! [`Log`] is the single writer; [`LogReader`] is what everybody else holds. Synchronous: no
//! task, no clock (`now` is passed in), no randomness. Files and their formats are Apache Kafka's.
//!
//! Invariants:
//! * Batches stand in the files as they were encoded; only base offset and leader epoch, which lie
//!   outside of the CRC, are set here (and, under LogAppendTime, the timestamp with a new CRC).
//! * Offsets below the high watermark never get other bytes within a leader epoch.
//! * Nothing is visible before it has the promised durability.
//! * After a failed write or sync the log is read-only until it is opened again.
//! * Before the recovery point nothing is ever cut off.

mod append;
mod checkpoint;
mod config;
mod epochs;
mod error;
mod index;
mod pressure;
mod producer_snapshot;
mod producers;
mod recovery;
mod segment;
mod shared;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::BytesMut;

use crate::record::Timestamp;
use crate::storage::{MemoryPolicy, Storage};
use crate::topic::{TopicId, TopicPartition};

pub use append::{Append, Appended};
pub use config::LogConfig;
pub use error::{AppendError, ReadError};
pub use pressure::MemoryPressure;
pub use producers::ProducerError;
pub use recovery::{CutTail, LostRange, Opening, Recovered};
pub use shared::{FoundOffset, LogReader, ReadCursor};

use checkpoint::{PARTITION_METADATA_FILE, PartitionMetadata, RECOVERY_POINT_FILE, RecoveryPoint};
use producers::ProducerState;
use segment::{Indexes, Segment, file_name};
use shared::Shared;

/// The writer of one partition's log.
#[derive(Debug)]
pub struct Log {
    partition: TopicPartition,
    topic_id: TopicId,
    config: LogConfig,
    shared: Arc<Shared>,
    active: Option<Active>,
    producers: ProducerState,
    /// The epoch of this incarnation: every batch appended gets it.
    leader_epoch: i32,
    /// Everything below is durable, as far as syncs tell.
    synced: i64,
    /// Everything below is durable and indexed, and that is written down.
    recovery_point: i64,
    pressure: Option<Arc<MemoryPressure>>,
    failure: Option<Arc<io::Error>>,
}

/// What the writer knows of the segment it appends to.
#[derive(Debug)]
struct Active {
    segment: Arc<Segment>,
    bytes_since_index: u64,
    /// The timestamp of its first batch, by which it is rolled.
    first_timestamp: Option<i64>,
}

impl Log {
    /// The shared part, for readers.
    pub fn reader(&self) -> LogReader {
        LogReader(self.shared.clone())
    }

    /// The offset that the next record gets.
    pub fn log_end_offset(&self) -> i64 {
        self.shared.log_end()
    }

    /// Changes the settings, from the next append on.
    pub fn configure(&mut self, config: LogConfig) {
        self.config = config;
    }

    /// The settings.
    pub fn config(&self) -> &LogConfig {
        &self.config
    }

    /// Whether calls may wait for a disk.
    pub fn may_block(&self) -> bool {
        self.shared.storage.may_block()
    }

    /// Whether an append that finds no memory waits, rather than failing.
    pub fn blocks_when_full(&self) -> bool {
        self.pressure.as_ref().is_some_and(|it| it.policy() == MemoryPolicy::Block)
    }

    /// Why the log is read-only, if it is.
    pub fn failure(&self) -> Option<&Arc<io::Error>> {
        self.failure.as_ref()
    }

    /// Whether an append has yet to be synced.
    pub fn is_dirty(&self) -> bool {
        self.synced < self.shared.log_end()
    }

    /// The offset before which everything is durable and need not be looked at after a crash.
    pub fn recovery_point(&self) -> i64 {
        self.recovery_point
    }

    /// Makes durable what was appended. After a failure the log is read-only.
    pub fn sync(&mut self) -> Result<(), AppendError> {
        if let Some(failure) = &self.failure {
            return Err(AppendError::ReadOnly(failure.clone()));
        }
        let log_end = self.shared.log_end();
        if self.synced < log_end {
            if let Err(error) = self.sync_from(self.synced) {
                return Err(self.fail_sync(error));
            }
            self.synced = log_end;
        }
        Ok(())
    }

    fn sync_from(&self, offset: i64) -> io::Result<()> {
        self.dirty_segments(offset).iter().try_for_each(|segment| segment.file.sync())
    }

    fn dirty_segments(&self, offset: i64) -> Vec<Arc<Segment>> {
        let segments = self.shared.segments();
        let first = segments.partition_point(|s| s.base_offset <= offset).saturating_sub(1);
        segments[first..].to_vec()
    }

    /// Makes visible what has the promised durability; returns the new high watermark.
    pub fn publish(&mut self) -> i64 {
        let visible =
            if self.config.sync_before_visible { self.synced } else { self.shared.log_end() };
        self.shared.high_watermark.fetch_max(visible, Ordering::AcqRel).max(visible)
    }

    /// From now on nothing is appended. What is visible stays readable.
    fn fail(&mut self, error: io::Error) -> AppendError {
        tracing::error!(partition = %self.partition, %error, "the partition is now read-only");
        let failure = Arc::new(error);
        self.failure = Some(failure.clone());
        AppendError::ReadOnly(failure)
    }

    /// After a failed sync the page cache may call pages clean that the disk does not have. The
    /// mark need not be durable: where the page cache is lost, so is the doubt.
    fn fail_sync(&mut self, error: io::Error) -> AppendError {
        recovery::mark_sync_failed(&*self.shared.storage, &self.shared.dir);
        self.fail(error)
    }

    /// Everything that must be on the disk before the recovery point may move to where the log
    /// ends now. The plan can run on another thread while appends go on.
    pub fn checkpoint(&mut self) -> Result<Option<CheckpointPlan>, AppendError> {
        let up_to = self.shared.log_end();
        if !self.shared.verify || self.failure.is_some() || self.recovery_point >= up_to {
            return Ok(None);
        }
        let segments = self.dirty_segments(self.recovery_point);
        for segment in &segments {
            let stored = segment.store_indexes(&*self.shared.storage, &self.shared.dir);
            stored.map_err(|error| self.fail(error))?;
        }
        self.write_snapshot(up_to).map_err(|error| self.fail(error))?;
        Ok(Some(CheckpointPlan {
            shared: self.shared.clone(),
            partition: self.partition.clone(),
            segments,
            up_to,
        }))
    }

    /// Takes note of how a plan ended.
    pub fn checkpointed(&mut self, done: Result<i64, io::Error>) -> Result<(), AppendError> {
        match done {
            Ok(up_to) => {
                self.recovery_point = self.recovery_point.max(up_to);
                self.synced = self.synced.max(up_to);
                Ok(())
            }
            Err(error) => Err(self.fail_sync(error)),
        }
    }

    /// Makes everything durable and writes that down, so that the next open has nothing to do.
    pub fn close(&mut self) -> Result<(), AppendError> {
        if let Some(active) = &self.active {
            active.segment.seal_times();
        }
        self.sync()?;
        match self.checkpoint()? {
            Some(plan) => self.checkpointed(plan.run()),
            None => Ok(()),
        }
    }

    /// Producer state as of `offset`. It can be derived from the log and carries a checksum, so it
    /// is not synced.
    fn write_snapshot(&mut self, offset: i64) -> io::Result<()> {
        let path = self.shared.dir.join(file_name(offset, "snapshot"));
        let file = self.shared.storage.open(&path, true)?;
        file.truncate(0)?;
        file.append(0, &[&self.producers.encode()])?;
        recovery::remove_snapshots(&*self.shared.storage, &self.shared.dir, |o| {
            o < self.recovery_point
        })
    }

    /// Appends one batch, makes it durable and visible: for logs without an actor.
    pub fn append_now(&mut self, batch: BytesMut) -> Result<Appended, AppendError> {
        let mut group = [Append::new(batch)];
        self.append(&mut group, Timestamp::NONE);
        let [Append { result, .. }] = group;
        let appended = result.expect("every batch of a group gets a result")?;
        self.sync()?;
        self.publish();
        Ok(appended)
    }

    /// Begins a new segment, unless the active one is empty.
    pub fn roll_now(&mut self) -> Result<(), AppendError> {
        match &self.active {
            Some(active) if active.segment.size() == 0 => Ok(()),
            _ => self.roll().map_err(|error| self.fail(error)),
        }
    }

    /// Ends the active segment and begins a new one at the log's end.
    fn roll(&mut self) -> io::Result<()> {
        let log_end = self.shared.log_end();
        if let Some(active) = self.active.take() {
            active.segment.seal_times();
            if self.shared.verify {
                self.store_and_release(&active.segment)?;
            }
        }
        self.add_segment(log_end)
    }

    fn store_and_release(&mut self, segment: &Segment) -> io::Result<()> {
        let (storage, dir) = (&self.shared.storage, &self.shared.dir);
        segment.store_indexes(&**storage, dir)?;
        let (index, timeindex) = segment.index_paths(dir);
        let (index, timeindex) = (storage.open(&index, false)?, storage.open(&timeindex, false)?);
        let mut indexes = segment.write_indexes();
        indexes.offsets.release(index);
        indexes.times.release(timeindex);
        drop(indexes);
        self.write_snapshot(self.shared.log_end())
    }

    /// A new, empty segment. Its name is durable before anything in it can be promised.
    fn add_segment(&mut self, base_offset: i64) -> io::Result<()> {
        let storage = self.shared.storage.clone();
        if self.shared.segments().is_empty() {
            self.create_dir()?;
        }
        let path = self.shared.dir.join(file_name(base_offset, "log"));
        let file = storage.open(&path, true)?;
        file.truncate(0)?;
        if self.config.sync_before_visible {
            storage.sync_dir(&self.shared.dir)?;
        }
        let segment = Arc::new(Segment::new(base_offset, file, 0, Indexes::empty(base_offset)));
        self.shared.segments_mut().push(segment.clone());
        self.active = Some(Active { segment, bytes_since_index: 0, first_timestamp: None });
        Ok(())
    }

    /// The folder and the small files that belong into it from the start. Nothing in it is
    /// promised yet, so one sync of the folder is enough, after the first segment is there too.
    fn create_dir(&self) -> io::Result<()> {
        let (storage, dir) = (&*self.shared.storage, &self.shared.dir);
        storage.create_dir(dir)?;
        if !self.shared.verify {
            return Ok(());
        }
        let metadata = PartitionMetadata { topic_id: self.topic_id }.encode();
        let point = RecoveryPoint { partition: self.partition.clone(), offset: 0 }.encode();
        let small = [(PARTITION_METADATA_FILE, metadata), (RECOVERY_POINT_FILE, point)];
        let is_new = self.shared.log_end() == 0;
        for (name, content) in small.iter().filter(|_| is_new) {
            let file = storage.open(&dir.join(name), true)?;
            file.truncate(0)?;
            file.append(0, &[content])?;
            if self.config.sync_before_visible {
                file.sync()?;
            }
        }
        match self.config.sync_before_visible {
            true => storage.sync_dir(dir.parent().unwrap_or(Path::new(""))),
            false => Ok(()),
        }
    }

    /// Begins this incarnation's epoch at the log's end, durably, before its first batch.
    fn begin_epoch(&mut self) -> io::Result<()> {
        let log_end = self.shared.log_end();
        if self.shared.epochs().latest().map(|latest| latest.epoch) == Some(self.leader_epoch) {
            return Ok(());
        }
        self.shared.epochs_mut().assign(self.leader_epoch, log_end);
        self.store_epochs()
    }

    fn store_epochs(&self) -> io::Result<()> {
        if !self.shared.verify || self.shared.segments().is_empty() {
            return Ok(());
        }
        let epochs = self.shared.epochs().clone();
        epochs.store(&*self.shared.storage, &self.shared.dir)
    }

    /// Removes segments that retention no longer wants, the oldest first, the active one too
    /// (after a roll). Returns how many.
    ///
    /// By time: every record of the segment is older than `retention` at `now`. By size: the
    /// segments behind it alone hold `retention_bytes`.
    pub fn enforce_retention(&mut self, now: Timestamp) -> Result<usize, AppendError> {
        let mut removed = 0;
        loop {
            let Some(oldest) = self.shared.segments().first().cloned() else { return Ok(removed) };
            if !self.is_expired(&oldest, now) {
                return Ok(removed);
            }
            let only = self.shared.segments().len() == 1;
            if only && (oldest.size() == 0 || self.shared.high_watermark() < self.log_end_offset())
            {
                return Ok(removed);
            }
            if only {
                self.roll().map_err(|error| self.fail(error))?;
            }
            match self.shared.drop_oldest(false) {
                Ok(true) => removed += 1,
                Ok(false) => return Ok(removed),
                Err(error) => return Err(self.fail(error)),
            }
            self.trim_epochs()?;
        }
    }

    fn is_expired(&self, segment: &Segment, now: Timestamp) -> bool {
        let too_old = |retention| {
            let limit = now.saturating_sub(retention).as_millis();
            segment.max_timestamp().is_some_and(|max| max.timestamp < limit)
        };
        let too_large = |limit| self.shared.size().saturating_sub(segment.size()) >= limit;
        self.config.retention.is_some_and(too_old)
            || self.config.retention_bytes.is_some_and(too_large) && segment.size() > 0
    }

    fn trim_epochs(&mut self) -> Result<(), AppendError> {
        let log_start = self.shared.log_start();
        self.shared.epochs_mut().truncate_from_start(log_start);
        self.store_epochs().map_err(|error| self.fail(error))
    }

    /// Moves the first offset up to `offset`, which may stand inside of a batch, and removes the
    /// segments before it. The caller keeps the offset: [`Opening::log_start_offset`].
    pub fn advance_log_start(&mut self, offset: i64) -> Result<(), AppendError> {
        let offset = offset.min(self.shared.high_watermark());
        self.shared.log_start.fetch_max(offset, Ordering::AcqRel);
        loop {
            let second = self.shared.segments().get(1).map(|segment| segment.base_offset);
            if second.is_none_or(|base| base > self.shared.log_start()) {
                return self.trim_epochs();
            }
            self.shared.drop_oldest(false).map_err(|error| self.fail(error))?;
        }
    }

    /// Cuts off everything from `offset` on. Readers beyond it learn that from their epoch.
    pub fn truncate(&mut self, offset: i64) -> Result<(), AppendError> {
        let offset = offset.max(self.shared.log_start());
        if offset < self.shared.log_end() {
            self.truncate_segments(offset).map_err(|error| self.fail(error))?;
        }
        Ok(())
    }

    fn truncate_segments(&mut self, offset: i64) -> io::Result<()> {
        let kept = self.retire_from(offset)?;
        let Some(holder) = kept else { return self.truncated_to(offset) };
        let mut scanner = holder.scan(holder.seek(offset)?.0, 64 * 1024);
        let (mut position, mut end) = (scanner.position(), holder.base_offset);
        while let segment::Step::Batch(batch) = scanner.next()? {
            if batch.header().last_offset() >= offset {
                break;
            }
            (position, end) = (scanner.position(), batch.header().next_offset());
        }
        self.shared.log_end.store(end.max(holder.base_offset), Ordering::Release);
        holder.file.truncate(position)?;
        holder.file.sync()?;
        self.reopen_active(&holder, position)?;
        self.truncated_to(end)
    }

    /// Takes the segments from `offset` on off the list, and removes all but the one that holds
    /// it. A retired segment's bytes are touched only when no reader will believe them.
    fn retire_from(&mut self, offset: i64) -> io::Result<Option<Arc<Segment>>> {
        self.active = None;
        let retired = {
            let mut segments = self.shared.segments_mut();
            self.shared.high_watermark.fetch_min(offset, Ordering::AcqRel);
            self.shared.log_end.fetch_min(offset, Ordering::AcqRel);
            let first = segments.partition_point(|s| s.base_offset <= offset).saturating_sub(1);
            segments.split_off(first)
        };
        retired.iter().for_each(|segment| segment.retire());
        for segment in retired.iter().skip(1).rev() {
            self.shared.remove_files(segment)?;
        }
        Ok(retired.first().cloned())
    }

    fn reopen_active(&mut self, holder: &Segment, size: u64) -> io::Result<()> {
        let (storage, dir) = (self.shared.storage.clone(), self.shared.dir.clone());
        let base = holder.base_offset;
        let file = storage.open(&holder.log_path(&dir), false)?;
        let segment = Segment::new(base, file, size, Indexes::empty(base));
        recovery::rebuild_indexes(&segment, self.config.index_interval_bytes)?;
        let first_timestamp = segment.first_timestamp();
        if self.shared.verify {
            recovery::remove_indexes(&*storage, &dir, base)?;
        }
        let segment = Arc::new(segment);
        self.shared.segments_mut().push(segment.clone());
        self.active = Some(Active { segment, bytes_since_index: 0, first_timestamp });
        Ok(())
    }

    fn truncated_to(&mut self, end: i64) -> io::Result<()> {
        self.shared.log_end.store(end, Ordering::Release);
        self.shared.high_watermark.fetch_min(end, Ordering::AcqRel);
        self.synced = self.synced.min(end);
        self.producers.truncate_from(end);
        self.shared.epochs_mut().truncate_from_end(end);
        self.leader_epoch += 1;
        if self.recovery_point > end {
            self.recovery_point = end;
            recovery::store_recovery_point(&self.shared, &self.partition, end)?;
        }
        let (storage, dir) = (&*self.shared.storage, &self.shared.dir);
        recovery::remove_snapshots(storage, dir, |offset| offset > end)?;
        self.store_epochs()
    }

    /// Where the files are.
    pub fn dir(&self) -> &PathBuf {
        &self.shared.dir
    }
}

/// The id of the topic that a partition's folder belongs to, if it says so legibly.
pub fn partition_topic_id(storage: &dyn Storage, dir: &Path) -> io::Result<Option<TopicId>> {
    let metadata = recovery::readable(PartitionMetadata::load(storage, dir))?;
    Ok(metadata.map(|metadata| metadata.topic_id))
}

/// What must be synced before a recovery point may move: see [`Log::checkpoint`].
#[derive(Debug)]
pub struct CheckpointPlan {
    shared: Arc<Shared>,
    partition: TopicPartition,
    segments: Vec<Arc<Segment>>,
    up_to: i64,
}

impl CheckpointPlan {
    /// Syncs, then writes the recovery point down. Segments that retention removed meanwhile need
    /// no sync.
    pub fn run(self) -> io::Result<i64> {
        for segment in &self.segments {
            match self.sync_segment(segment) {
                Err(error) if segment.is_live() => return Err(error),
                _ => {}
            }
        }
        let dir = &self.shared.dir;
        self.shared.storage.sync_dir(dir)?;
        self.shared.storage.sync_dir(dir.parent().unwrap_or(Path::new("")))?;
        recovery::store_recovery_point(&self.shared, &self.partition, self.up_to)?;
        Ok(self.up_to)
    }

    fn sync_segment(&self, segment: &Segment) -> io::Result<()> {
        segment.file.sync()?;
        let (index, timeindex) = segment.index_paths(&self.shared.dir);
        self.shared.storage.open(&index, false)?.sync()?;
        self.shared.storage.open(&timeindex, false)?.sync()
    }
}
