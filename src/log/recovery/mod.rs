//! Opening a log: what a crash left is measured first and mended afterwards.
//!
//! The first half only reads: an I/O error there is returned and has changed nothing. Each step
//! of the second half can be repeated, so an error in it leaves a log that the next open mends.
//!
//! * Before all else, a compaction that was being put in place is finished or undone: that changes
//!   files, but not what they say (`compaction/swap.rs`).
//! * Before the recovery point nothing is cut. What can't be read there is a lost range, which
//!   readers are told of; its offsets are never given out again.
//! * Behind it the log ends at the first batch that is not whole, sound and next in order. What
//!   follows is set aside in `<base>.log.cut-<offset>`, then cut.
//! * What is kept is made durable before it is served. Where a sync had failed the kept files are
//!   written anew: their pages may be clean and yet not on disk.
//! * An unclean open begins a new leader epoch, durably, so that offsets which were lost can be
//!   given out again.

mod epochs;
mod measure;
mod mend;
mod survey;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex, RwLock};

use crate::batch::BatchHeader;
use crate::storage::Storage;
use crate::topic::{TopicId, TopicPartition};

use super::checkpoint::RecoveryPoint;
use super::compaction::{self, Cleaner};
use super::config::LogConfig;
use super::counters::Counters;
use super::pressure::MemoryPressure;
use super::producer_snapshot::snapshot_offset;
use super::scan::{Step, Walk};
use super::segment::{Indexes, Segment, file_name};
use super::shared::Shared;
use super::{Active, Log};

use measure::Found;

pub(super) use survey::Survey;

/// Left behind by a failed sync.
pub(super) const SYNC_FAILED_FILE: &str = "sync-failed";
/// How much is read at a time.
const CHUNK: usize = 1 << 20;

/// What is needed to open a log.
#[derive(Debug, Clone)]
pub struct Opening {
    /// Where its bytes are.
    pub storage: Arc<dyn Storage>,
    /// Its folder, which need not exist yet.
    pub dir: PathBuf,
    /// Its name.
    pub partition: TopicPartition,
    /// Its topic's id.
    pub topic_id: TopicId,
    /// Its settings.
    pub config: LogConfig,
    /// Whether whoever wrote it last closed it; otherwise the leader epoch rises.
    pub clean: bool,
    /// The least leader epoch.
    pub min_epoch: i32,
    /// The log start offset that was last decided (0 if none was).
    pub log_start_offset: i64,
    /// Whether it is Apache Kafka's: compaction has left holes between batches.
    pub sparse: bool,
    /// The recovery point, if it is not told by the folder itself (Kafka has them all in a file
    /// of the data directory).
    pub recovery_point: Option<i64>,
    /// The memory budget's keeper, for logs in memory.
    pub pressure: Option<Arc<MemoryPressure>>,
}

/// What opening a log found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovered {
    /// The end that was cut off, and where it was set aside.
    pub cut: Vec<CutTail>,
    /// Offsets before the recovery point that can't be read any more.
    pub lost: Vec<LostRange>,
    /// Whether files were written anew after a failed sync.
    pub rewritten: bool,
    /// Bytes that were read and checked.
    pub scanned_bytes: u64,
    /// Files in the folder that are not the log's; they were left alone.
    pub foreign: Vec<String>,
}

impl Recovered {
    /// Whether nothing had to be mended.
    pub fn is_clean(&self) -> bool {
        self.cut.is_empty() && self.lost.is_empty() && !self.rewritten
    }
}

/// Bytes cut off the end of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CutTail {
    /// The offset at which the log was cut.
    pub offset: i64,
    /// How many bytes.
    pub bytes: u64,
    /// The file, in the partition's folder, that they were moved to.
    pub file: String,
}

/// Offsets that can't be read any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LostRange {
    /// The first.
    pub from: i64,
    /// The first after them.
    pub to: i64,
}

impl Log {
    /// Opens a log, mending what a crash left. Never fails because of a crash: an error is the
    /// storage's.
    pub fn open(opening: Opening) -> io::Result<(Log, Recovered)> {
        compaction::settle(&*opening.storage, &opening.dir, opening.sparse)?;
        let survey = Survey::of(&opening)?;
        let mut found = Found::measure(&opening, survey)?;
        found.mend(&opening)?;
        Ok(found.into_log(opening))
    }
}

impl Found {
    fn into_log(mut self, opening: Opening) -> (Log, Recovered) {
        let segments: Vec<Arc<Segment>> = self.segments.drain(..).map(Arc::new).collect();
        let log_start = segments.first().map_or(self.end, |segment| segment.base_offset);
        let active = segments.last().filter(|_| !self.sealed).map(|segment| Active {
            segment: segment.clone(),
            bytes_since_index: 0,
            first_timestamp: segment.first_timestamp(),
        });
        let shared = Arc::new(Shared {
            verify: !opening.storage.is_volatile(),
            storage: opening.storage,
            dir: opening.dir,
            segments: RwLock::new(segments),
            log_start: AtomicI64::new(log_start.max(opening.log_start_offset)),
            log_end: AtomicI64::new(self.end),
            high_watermark: AtomicI64::new(self.end),
            epochs: RwLock::new(self.epochs),
            positions: Mutex::new(Vec::new()),
            holds: Mutex::default(),
            waiting_holds: AtomicUsize::new(0),
            truncations: AtomicU64::new(0),
            counters: Counters::default(),
            point: Mutex::new(()),
        });
        if let Some(pressure) = &opening.pressure {
            pressure.add(&shared);
        }
        let log = Log {
            partition: opening.partition,
            topic_id: opening.topic_id,
            config: opening.config,
            shared,
            active,
            producers: self.producers,
            leader_epoch: self.leader_epoch,
            epoch_is_stored: self.epoch_is_stored,
            synced: self.end,
            recovery_point: self.recovery_point,
            checkpointing: None,
            unsettled: Default::default(),
            highest_point: self.recovery_point,
            cleaner: Cleaner::new(self.survey.first_dirty.unwrap_or(0)),
            pressure: opening.pressure,
            expired_before: i64::MIN,
            warned: Arc::default(),
            failure: None,
            mark_is_due: false,
        };
        (log, self.report)
    }
}

/// Says for the next open that a sync failed. It may fail too: the log is read-only either way,
/// and there is nobody left to tell but the journal. Whether it was written down.
pub(super) fn mark_sync_failed(storage: &dyn Storage, dir: &Path) -> bool {
    let marked = storage.open(&dir.join(SYNC_FAILED_FILE), true);
    if let Err(error) = &marked {
        tracing::error!(dir = %dir.display(), %error, "can't record that a sync failed");
    }
    marked.is_ok()
}

pub(super) fn store_recovery_point(
    shared: &Shared,
    partition: &TopicPartition,
    offset: i64,
) -> io::Result<()> {
    RecoveryPoint { partition: partition.clone(), offset }.store(&*shared.storage, &shared.dir)
}

pub(super) fn ignore_absent(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

pub(super) fn remove_snapshots(
    storage: &dyn Storage,
    dir: &Path,
    unwanted: impl Fn(i64) -> bool,
) -> io::Result<()> {
    for entry in storage.list(dir)? {
        if snapshot_offset(&entry.name).is_some_and(&unwanted) {
            ignore_absent(storage.remove_file(&dir.join(entry.name)))?;
        }
    }
    Ok(())
}

pub(super) fn remove_indexes(storage: &dyn Storage, dir: &Path, base: i64) -> io::Result<()> {
    ignore_absent(storage.remove_file(&dir.join(file_name(base, "index"))))?;
    ignore_absent(storage.remove_file(&dir.join(file_name(base, "timeindex"))))
}

/// Builds a segment's indexes from its batches, which end with `end`.
pub(super) fn rebuild_indexes(
    segment: &Segment,
    interval: u64,
    end: i64,
    belongs: impl Fn(&BatchHeader) -> bool,
) -> io::Result<()> {
    let mut indexes = Indexes::empty(segment.base_offset);
    let mut walk = Walk::whole(segment, CHUNK);
    let mut since_index = 0;
    loop {
        let at = walk.position();
        match walk.next(&belongs)? {
            Step::Batch(batch) => {
                let indexed = since_index > interval;
                indexes.note(batch.header(), at, indexed);
                since_index = if indexed { 0 } else { since_index } + batch.header().size() as u64;
            }
            Step::Bad => drop(walk.pass_bad(end, &belongs)?),
            Step::End => break,
        }
    }
    *segment.write_indexes() = indexes;
    Ok(())
}
