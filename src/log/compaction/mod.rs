//! Compaction: of each key only the latest record stays (`cleanup.policy=compact`).
//!
//! As with a checkpoint there are three steps, so that appends and reads go on meanwhile.
//! [`Log::plan_compaction`] decides, cheaply. [`CompactionPlan::run`] does the work, on any thread:
//! it reads closed segments and writes new files beside them. [`Log::compacted`] puts these in
//! place, cheaply again, if what they replace is still as it was. The rules are those of Apache
//! Kafka's `Cleaner`:
//!
//! * The keys behind the *first dirty offset*, where the last compaction came to, are gathered with
//!   their last offsets (`keys.rs`), as many as fit. Then all records from the log's start to the
//!   last offset gathered are looked at: those stay that are the last of their key, or whose key
//!   has not been gathered. What has no key goes.
//! * A tombstone stays until its batch's delete horizon, which the first compaction that meets it
//!   sets to then plus `delete.retention.ms`.
//! * Offsets, order, timestamps, leader epochs and producers' sequences stay. A producer's last
//!   batch stays, without records if need be.
//! * Never compacted: the active segment, what is not visible, what is younger than
//!   `min.compaction.lag.ms`.
//!
//! What differs from Kafka: offsets stay *dense*. Where Kafka leaves a hole, neighbouring batches
//! that lost all their records become one 0-record batch over all of their offsets (61 bytes,
//! which any Kafka reader passes over). So a hole still means that something was lost, and a batch
//! is still checked against the end of the one before it: neither recovery, readers nor truncation
//! know of compaction.
//!
//! Compressed batches are decompressed to be looked at; what is left of one is compressed again.
//!
//! What can't be looked at is kept as it is, and hides what it holds: batches whose codec is not
//! built in (another build may look at them) or that would decompress to more than 64 MiB,
//! transactional ones (until it is known which were aborted), batches with malformed records; and
//! whole segments with damaged bytes, which keep their gaps. Of keys in there nothing is known.
//! They supersede nothing, and behind them no tombstone is dropped, for it may have to hide a
//! record in them. Control batches are kept too; they hold no keys.
//!
//! Invariants:
//! * No crash, at any time, leaves a log in which a key's last value is not that of the log before:
//!   what is put in place is put in place whole or not at all (`swap.rs`).
//! * A record gives way only to one that is as durable as the compacted segments are.
//! * Everything before the first dirty offset has been compacted against everything before it.
//!   So the offset may be too low at no cost but time; it must never be too high, or a tombstone
//!   could go before what it hides. That is why a truncation lowers it first.

mod clean;
mod keys;
mod output;
mod swap;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use crate::record::Timestamp;
use crate::topic::TopicPartition;

use super::Log;
use super::error::AppendError;
use super::segment::Segment;
use super::shared::Shared;

pub use swap::Compaction;
pub(super) use swap::{is_staged, settle};

/// How much memory the keys may take by default.
const DEFAULT_KEY_BYTES: usize = 128 << 20;

/// Where the compaction of a log stands.
#[derive(Debug, Default)]
pub(super) struct Cleaner {
    /// Everything before it is compacted.
    pub(super) first_dirty: i64,
    /// The first offset of what could not be looked at, in this incarnation of the log. Another
    /// may be able to, and so has to begin here: this is what is written down, if it is lower.
    hidden_from: Option<i64>,
    /// Alive as long as a plan is under way.
    running: Weak<AtomicBool>,
}

impl Cleaner {
    /// As a log is opened; `first_dirty` is what was written down.
    pub(super) fn new(first_dirty: i64) -> Self {
        Cleaner { first_dirty, ..Cleaner::default() }
    }

    /// Whether this is the plan that is under way.
    fn is_running(&self, plan: &Arc<AtomicBool>) -> bool {
        std::ptr::eq(self.running.as_ptr(), Arc::as_ptr(plan))
    }

    /// What is to be written down.
    pub(super) fn checkpoint(&self) -> i64 {
        self.first_dirty.min(self.hidden_from.unwrap_or(i64::MAX))
    }
}

/// What a compaction may take.
#[derive(Debug, Clone, Copy)]
pub struct CompactionOptions {
    /// Bytes of memory for keys and their offsets (`log.cleaner.dedupe.buffer.size`). With more
    /// keys than fit, the compaction ends earlier in the log, and the next one goes on. 128 MiB;
    /// a quarter of a MiB at least.
    pub key_bytes: usize,
    /// Any number that those who choose keys can't guess: it keeps them from choosing keys that
    /// make the compaction slow. Nothing else depends on it.
    pub seed: u64,
}

impl Default for CompactionOptions {
    fn default() -> Self {
        CompactionOptions { key_bytes: DEFAULT_KEY_BYTES, seed: 0 }
    }
}

/// What a compaction did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CompactionStats {
    /// Segments that were read.
    pub segments_before: usize,
    /// Segments that they became.
    pub segments_after: usize,
    /// Their bytes before.
    pub bytes_before: u64,
    /// Their bytes after.
    pub bytes_after: u64,
    /// Records that were dropped.
    pub records_removed: u64,
    /// The first offset that has not been compacted yet.
    pub first_dirty_offset: i64,
    /// Whether that is all there was to compact. If not, there were too many keys, and another
    /// compaction goes on.
    pub complete: bool,
}

/// A compaction that was found worth its while: see [`Log::plan_compaction`].
#[derive(Debug)]
pub struct CompactionPlan {
    shared: Arc<Shared>,
    partition: TopicPartition,
    /// The closed segments from the log's start on, all of which are visible.
    sources: Vec<Arc<Segment>>,
    /// The offset behind them.
    end: i64,
    first_dirty: i64,
    hidden_from: Option<i64>,
    /// How many truncations there had been.
    truncations: u64,
    /// Producers, and where the batches end that must not be forgotten: the last of each, and the
    /// last that is durable.
    producers: BTreeSet<(i64, i64)>,
    /// No 0-record batch may reach over these: a batch is to begin at a recovery point, by which
    /// recovery finds its way behind damage.
    recovery_points: [i64; 2],
    now_ms: i64,
    delete_retention_ms: i64,
    /// How large a segment may become in which several are put together.
    segment_bytes: u64,
    index_interval_bytes: u64,
    /// Whether it is to stop, for the log's sake.
    running: Arc<AtomicBool>,
}

impl Log {
    /// Whether the log is worth a compaction, and what is to be done. At most one is under way:
    /// until [`Log::compacted`] has been told how it ended, or it was dropped, there is no other.
    ///
    /// A log is worth it if its policy says `compact` and its dirty part is large enough; with
    /// `force` as soon as anything can be compacted, or a tombstone might be due.
    pub fn plan_compaction(
        &mut self,
        now: Timestamp,
        force: bool,
    ) -> Result<Option<CompactionPlan>, AppendError> {
        self.check_writable()?;
        if !self.config.cleanup_policy.compacts() || self.cleaner.running.strong_count() > 0 {
            return Ok(None);
        }
        let (sources, end) = self.cleanable(now.as_millis());
        if sources.is_empty() || !(force || self.is_dirty_enough(&sources, end)) {
            return Ok(None);
        }
        let start = sources[0].base_offset;
        let running = Arc::new(AtomicBool::new(false));
        self.cleaner.running = Arc::downgrade(&running);
        let delete_retention = self.config.delete_retention.as_millis();
        Ok(Some(CompactionPlan {
            partition: self.partition.clone(),
            sources,
            end,
            first_dirty: self.cleaner.first_dirty,
            hidden_from: self.cleaner.hidden_from.filter(|from| *from >= start),
            truncations: self.shared.truncations.load(Ordering::Acquire),
            producers: self.producers.last_offsets(self.synced),
            recovery_points: [
                self.recovery_point,
                self.checkpointing.unwrap_or(self.recovery_point),
            ],
            now_ms: now.as_millis(),
            delete_retention_ms: i64::try_from(delete_retention).unwrap_or(i64::MAX),
            segment_bytes: self.segment_limit(),
            index_interval_bytes: self.config.index_interval_bytes,
            shared: self.shared.clone(),
            running,
        }))
    }

    /// Lets a compaction that is under way come to its end soon, without an effect.
    pub fn stop_compaction(&self) {
        if let Some(stop) = self.cleaner.running.upgrade() {
            stop.store(true, Ordering::Relaxed);
        }
    }

    /// The segments that may be compacted, and the offset behind them.
    fn cleanable(&self, now_ms: i64) -> (Vec<Arc<Segment>>, i64) {
        let mut segments = self.shared.segments().clone();
        let mut end = self.shared.log_end();
        if let Some(active) = &self.active {
            end = active.segment.base_offset;
            segments.retain(|segment| segment.base_offset < end);
        }
        let lag_ms = self.config.min_compaction_lag.as_millis().min(i64::MAX as u128) as i64;
        let youngest = now_ms.saturating_sub(lag_ms);
        let high_watermark = self.shared.high_watermark();
        let ends: Vec<i64> = segments[1.min(segments.len())..]
            .iter()
            .map(|segment| segment.base_offset)
            .chain([end])
            .collect();
        let is_cleanable = |(segment, end): (&Arc<Segment>, &i64)| {
            let young = segment.max_timestamp().is_some_and(|max| max.timestamp > youngest);
            *end <= high_watermark && (lag_ms == 0 || *end <= self.cleaner.first_dirty || !young)
        };
        let count = segments.iter().zip(&ends).take_while(|it| is_cleanable(*it)).count();
        segments.truncate(count);
        (segments, count.checked_sub(1).map_or(0, |last| ends[last]))
    }

    fn is_dirty_enough(&self, sources: &[Arc<Segment>], end: i64) -> bool {
        let bases = sources[1..].iter().map(|segment| segment.base_offset).chain([end]);
        let (mut all, mut dirty) = (0, 0);
        for (segment, end) in sources.iter().zip(bases) {
            all += segment.size();
            dirty += if end > self.cleaner.first_dirty { segment.size() } else { 0 };
        }
        dirty as f64 > all as f64 * self.config.min_cleanable_dirty_ratio
    }
}
