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
mod compaction;
mod config;
mod counters;
mod epochs;
mod error;
mod files;
mod flush;
mod hold;
mod index;
mod pressure;
mod producer_snapshot;
mod producers;
mod reader;
mod recovery;
mod retention;
mod roll;
mod scan;
mod segment;
mod shared;
#[cfg(test)]
mod tests;
mod truncation;
mod verify;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::BytesMut;

use crate::record::Timestamp;
use crate::storage::{DirEntry, Storage, is_full};
use crate::topic::{TopicId, TopicPartition};

pub use append::{Append, Appended};
pub use checkpoint::{PARTITION_METADATA_FILE, checkpointed_offsets};
pub use compaction::{Compaction, CompactionOptions, CompactionPlan, CompactionStats};
pub use config::{CleanupPolicy, LogConfig};
pub use counters::LogStats;
pub use error::{AppendError, CompactionError, ReadError};
pub use files::{FileItem, FileItems};
pub use flush::CheckpointPlan;
pub use hold::Hold;
pub use pressure::MemoryPressure;
pub use producers::ProducerError;
#[cfg(feature = "tcp")]
pub use reader::FileRange;
pub use reader::{FoundOffset, LogReader, ReadCursor};
pub use recovery::{CutTail, LostRange, Opening, Recovered};
pub use verify::{Finding, Findings, LogFolder, LogVerification, Severity, verify_log};

use checkpoint::PartitionMetadata;
use compaction::Cleaner;
use producers::ProducerState;
use segment::Segment;
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
    /// Whether the disk knows of that epoch; without space it waits for the first batch.
    epoch_is_stored: bool,
    /// Everything below is durable, as far as syncs tell.
    synced: i64,
    /// Everything below is durable and indexed, and that is written down.
    recovery_point: i64,
    /// The recovery point that a plan is working towards, if nothing was truncated since.
    checkpointing: Option<i64>,
    unsettled: flush::Unsettled,
    /// The highest recovery point that the disk may hold: a plan that failed may have come so far.
    highest_point: i64,
    cleaner: Cleaner,
    pressure: Option<Arc<MemoryPressure>>,
    /// Records with a timestamp before this one are too old to stay, when last looked.
    expired_before: i64,
    /// Whether somebody was warned of such records; shared by a topic's partitions.
    warned: Arc<AtomicBool>,
    failure: Option<Arc<io::Error>>,
    /// Whether a sync failed, and not even that could be written down.
    mark_is_due: bool,
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

    /// Shares with other partitions of the topic whether old records were warned of.
    pub fn warn_once_with(&mut self, warned: &Arc<AtomicBool>) {
        self.warned = warned.clone();
    }

    /// The settings.
    pub fn config(&self) -> &LogConfig {
        &self.config
    }

    /// Whether calls may wait for a disk.
    pub fn may_block(&self) -> bool {
        self.shared.storage.may_block()
    }

    /// Whether nothing has to be made durable later, since it can't be.
    pub fn is_volatile(&self) -> bool {
        self.shared.storage.is_volatile()
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

    /// Makes visible what has the promised durability; returns the new high watermark.
    pub fn publish(&mut self) -> i64 {
        let visible =
            if self.config.sync_before_visible { self.synced } else { self.shared.log_end() };
        self.shared.high_watermark.fetch_max(visible, Ordering::AcqRel).max(visible)
    }

    fn check_writable(&self) -> Result<(), AppendError> {
        match &self.failure {
            Some(failure) => Err(AppendError::ReadOnly(failure.clone())),
            None => Ok(()),
        }
    }

    /// A full disk is an error that passes; any other makes the log read-only.
    fn classify(&mut self, error: io::Error, what: &str) -> AppendError {
        if is_full(&error) {
            let what = format!("{what} of {}", self.partition);
            return AppendError::StorageFull { what };
        }
        self.fail(error)
    }

    /// From now on nothing is appended. What is visible stays readable. The first failure is the
    /// one that is told.
    fn fail(&mut self, error: io::Error) -> AppendError {
        if let Some(failure) = &self.failure {
            tracing::debug!(partition = %self.partition, %error, "failed again");
            return AppendError::ReadOnly(failure.clone());
        }
        tracing::error!(partition = %self.partition, %error, "the partition is now read-only");
        self.shared.counters.failed();
        let failure = Arc::new(error);
        self.failure = Some(failure.clone());
        AppendError::ReadOnly(failure)
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

    /// Where the files are.
    pub fn dir(&self) -> &PathBuf {
        &self.shared.dir
    }
}

/// Removes the files of a log that nobody has open: all that takes space. What says whose it is and
/// how far its offsets and epochs have come stays, should the log have to be opened again. Then it
/// may have been only begun: so the oldest segments go first, and what is left has no gap.
pub fn remove_contents(storage: &dyn Storage, dir: &Path) -> io::Result<()> {
    let entries = match storage.list(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    let is_of = |name: &str, ending| segment::base_offset_in(name, ending).is_some();
    let mut logs: Vec<&DirEntry> = entries.iter().filter(|it| is_of(&it.name, "log")).collect();
    logs.sort_by(|one, other| one.name.cmp(&other.name));
    for log in logs {
        recovery::ignore_absent(storage.remove_file(&dir.join(&log.name)))?;
        storage.sync_dir(dir)?;
    }
    let is_beside =
        |name: &str| ["index", "timeindex", "snapshot"].iter().any(|it| is_of(name, it));
    for entry in entries.iter().filter(|entry| is_beside(&entry.name)) {
        recovery::ignore_absent(storage.remove_file(&dir.join(&entry.name)))?;
    }
    storage.sync_dir(dir)
}

/// The id of the topic that a partition's folder belongs to, if it says so legibly.
pub fn partition_topic_id(storage: &dyn Storage, dir: &Path) -> io::Result<Option<TopicId>> {
    let metadata = checkpoint::readable(PartitionMetadata::load(storage, dir))?;
    Ok(metadata.map(|metadata| metadata.topic_id))
}

/// Writes down which topic a partition's folder belongs to, in place of what it says.
pub fn set_partition_topic_id(storage: &dyn Storage, dir: &Path, id: TopicId) -> io::Result<()> {
    PartitionMetadata { topic_id: id }.store(storage, dir)
}

/// Whether an id in a folder is another one but for one character. No two topics draw ids so much
/// alike: a bit of the file has turned, and the folder is the topic's.
pub fn is_misread(found: TopicId, known: TopicId) -> bool {
    let (found, known) = (found.to_string(), known.to_string());
    found.bytes().zip(known.bytes()).filter(|(found, known)| found != known).count() == 1
}
