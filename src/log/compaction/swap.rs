//! Putting compacted segments in place, in an order that a crash may stop anywhere:
//!
//! 1. (by the run) all new files are durable, as `.cleaned`;
//! 2. all are renamed to `.swap`, durably: that decides;
//! 3. readers are led to them;
//! 4. what they replace goes, durably;
//! 5. they are renamed to their final names, and readers are led there; durably.
//!
//! Whoever opens the log undoes what has not come to the end of step 2, where a `.cleaned` is left
//! and nothing has been replaced; it finishes what has. So it is done whole or not at all, and no
//! tombstone goes without what it hid. Kafka's names; but its cleaner swaps one segment at a time.

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use crate::log::Log;
use crate::log::checkpoint::{CLEANER_OFFSET_FILE, CleanerOffset};
use crate::log::error::CompactionError;
use crate::log::recovery::ignore_absent;
use crate::log::scan::{Step, Walk};
use crate::log::segment::{Indexes, Segment, base_offset_in};
use crate::log::shared::remove_segment_files;
use crate::storage::{EntryKind, Storage};

use super::output::{Fresh, Stage, log_path};
use super::{CompactionPlan, CompactionStats};

/// How much is read at a time.
const CHUNK: usize = 1 << 20;

/// A compaction that waits to be put in place: see [`Log::compacted`].
#[derive(Debug)]
pub struct Compaction {
    pub(super) plan: CompactionPlan,
    pub(super) parts: Vec<Part>,
    pub(super) stats: CompactionStats,
    pub(super) hidden_from: Option<i64>,
}

/// What becomes of one or more segments.
#[derive(Debug)]
pub(super) enum Part {
    /// One stays as it is.
    Kept(Arc<Segment>),
    /// These, by their indexes in the plan, become a new one.
    Fresh { fresh: Fresh, sources: Range<usize> },
}

impl Part {
    pub(super) fn size(&self) -> u64 {
        match self {
            Part::Kept(segment) => segment.size(),
            Part::Fresh { fresh, .. } => fresh.size,
        }
    }

    fn fresh(&mut self) -> Option<&mut Fresh> {
        match self {
            Part::Kept(_) => None,
            Part::Fresh { fresh, .. } => Some(fresh),
        }
    }
}

impl Log {
    /// Puts compacted segments in place. Readers see the records that were there before, or those
    /// that are left of them. `None` if the segments that were compacted have been cut or removed
    /// meanwhile: then nothing has changed.
    pub fn compacted(
        &mut self,
        done: io::Result<Option<Compaction>>,
    ) -> Result<Option<CompactionStats>, CompactionError> {
        let compaction = done.map_err(|error| CompactionError::Failed(Arc::new(error)))?;
        let Some(mut compaction) = compaction else { return Ok(None) };
        let holds = self.cleaner.is_running(&compaction.plan.running)
            && compaction.plan.still_holds()
            && self.failure.is_none();
        let placed = match (holds, self.shared.verify) {
            (false, _) => false,
            (true, true) => self.place(&mut compaction)?,
            (true, false) => {
                compaction.place_in_memory().map_err(|error| self.fail_compaction(error))?
            }
        };
        if !placed {
            // What stays behind is removed by the next run, or the next open.
            let shared = &compaction.plan.shared;
            let _ = remove_stage(&*shared.storage, &shared.dir, Stage::Cleaned);
            return match &self.failure {
                Some(failure) => Err(CompactionError::ReadOnly(failure.clone())),
                None => Ok(None),
            };
        }
        self.cleaner.first_dirty = compaction.stats.first_dirty_offset;
        self.cleaner.hidden_from = compaction.hidden_from;
        Ok(Some(compaction.stats))
    }

    fn place(&mut self, compaction: &mut Compaction) -> Result<bool, CompactionError> {
        if let Err(error) = compaction.decide() {
            return match compaction.take_back() {
                Ok(()) => Err(CompactionError::Failed(Arc::new(error))),
                Err(_) => Err(self.fail_compaction(error)),
            };
        }
        self.place_decided(compaction).map_err(|error| self.fail_compaction(error))
    }

    /// Steps 2, but for the renames, to 5.
    fn place_decided(&mut self, compaction: &mut Compaction) -> io::Result<bool> {
        let shared = self.shared.clone();
        if !swaps_at_once() {
            shared.storage.sync_dir(&shared.dir)?;
        }
        if !compaction.lead_to_swap()? {
            return Err(io::Error::other("the segments to replace are not on the list"));
        }
        compaction.remove_replaced()?;
        shared.storage.sync_dir(&shared.dir)?;
        compaction.lead_to_final()?;
        let path = CleanerOffset::path(&shared.dir);
        shared.storage.rename(&Stage::Swap.of(&path), &path)?;
        shared.storage.sync_dir(&shared.dir)?;
        Ok(true)
    }

    fn fail_compaction(&mut self, error: io::Error) -> CompactionError {
        self.fail_sync(error);
        let failure = self.failure.clone().expect("it has just failed");
        CompactionError::ReadOnly(failure)
    }
}

impl Compaction {
    fn fresh(&mut self) -> impl Iterator<Item = &mut Fresh> {
        self.parts.iter_mut().filter_map(Part::fresh)
    }

    /// Step 2: from the moment this is durable, the new files count.
    fn decide(&mut self) -> io::Result<()> {
        let shared = self.plan.shared.clone();
        for fresh in self.fresh() {
            fresh.advance(&shared, Stage::Cleaned, Stage::Swap)?;
        }
        let path = CleanerOffset::path(&shared.dir);
        shared.storage.rename(&Stage::Cleaned.of(&path), &Stage::Swap.of(&path))
    }

    /// Undoes a step 2 that did not come to its end.
    fn take_back(&self) -> io::Result<()> {
        undo(&*self.plan.shared.storage, &self.plan.shared.dir)
    }

    /// Where on the list the segments stand that were compacted, if they still do.
    fn place_on(&self, list: &[Arc<Segment>]) -> Option<Range<usize>> {
        let sources = &self.plan.sources[..self.stats.segments_before];
        let first = list.partition_point(|it| it.base_offset < sources[0].base_offset);
        let listed = list.get(first..first + sources.len())?;
        let same = listed.iter().zip(sources).all(|(a, b)| Arc::ptr_eq(a, b));
        same.then_some(first..first + sources.len())
    }

    /// Ends the identities of what is replaced.
    fn retire_replaced(&self) {
        self.replaced().for_each(|segment| segment.retire());
    }

    fn replaced(&self) -> impl Iterator<Item = &Arc<Segment>> {
        let ranges = self.parts.iter().filter_map(|part| match part {
            Part::Kept(_) => None,
            Part::Fresh { sources, .. } => Some(sources.clone()),
        });
        ranges.flat_map(|range| &self.plan.sources[range])
    }

    fn remove_replaced(&self) -> io::Result<()> {
        let shared = &self.plan.shared;
        self.replaced().try_for_each(|segment| {
            remove_segment_files(&*shared.storage, &shared.dir, segment.base_offset)
        })
    }

    fn open_all(&mut self, stage: Stage) -> io::Result<Vec<Arc<Segment>>> {
        let shared = self.plan.shared.clone();
        let open = |part: &mut Part| match part {
            Part::Kept(segment) => Ok(segment.clone()),
            Part::Fresh { fresh, .. } => fresh.open(&shared, stage).map(Arc::new),
        };
        self.parts.iter_mut().map(open).collect()
    }

    /// Step 3. False if the list has changed.
    fn lead_to_swap(&mut self) -> io::Result<bool> {
        let segments = self.open_all(Stage::Swap)?;
        let mut list = self.plan.shared.segments_mut();
        let Some(place) = self.place_on(&list) else { return Ok(false) };
        self.retire_replaced();
        list.splice(place, segments);
        Ok(true)
    }

    /// Step 5, but for the sync. A segment's identity ends before its files are renamed, so that no
    /// reader takes for a failure what it then meets.
    fn lead_to_final(&mut self) -> io::Result<()> {
        let shared = self.plan.shared.clone();
        let mut list = shared.segments_mut();
        for fresh in self.fresh() {
            let place = list.partition_point(|it| it.base_offset < fresh.base_offset);
            let file = list[place].file.clone();
            list[place].retire();
            let moved = fresh.advance(&shared, Stage::Swap, Stage::Final);
            match moved.and_then(|()| fresh.open(&shared, Stage::Final)) {
                Ok(segment) => list[place] = Arc::new(segment),
                Err(error) => {
                    // The log may have been renamed, and its old handle be of no use; or not, and
                    // there is none of the final name. At least it must be live.
                    let path = log_path(&shared.dir, fresh.base_offset);
                    let file = shared.storage.open(&path, false).unwrap_or(file);
                    list[place] = Arc::new(fresh.without_indexes(file));
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// All steps at once, for a log in memory: nothing of it is to outlive a crash, and nothing
    /// waits for a device. But others may drop its oldest segments at any time. False if they did.
    fn place_in_memory(&mut self) -> io::Result<bool> {
        let shared = self.plan.shared.clone();
        let mut list = shared.segments_mut();
        let Some(place) = self.place_on(&list) else { return Ok(false) };
        self.retire_replaced();
        let before = list.splice(place.clone(), []).count();
        debug_assert_eq!(before, self.stats.segments_before);
        self.remove_replaced()?;
        for fresh in self.fresh() {
            fresh.advance(&shared, Stage::Cleaned, Stage::Final)?;
        }
        let segments = self.open_all(Stage::Final)?;
        list.splice(place.start..place.start, segments);
        Ok(true)
    }
}

fn swaps_at_once() -> bool {
    #[cfg(test)]
    if crate::log::tests::sabotage::SWAP_AT_ONCE.get() {
        return true;
    }
    false
}

/// What a file is called that is not in place: its final name and its stage.
fn staged(name: &str) -> Option<(&str, Stage)> {
    let (stem, stage) = match name.rsplit_once('.')? {
        (stem, "cleaned") => (stem, Stage::Cleaned),
        (stem, "swap") => (stem, Stage::Swap),
        _ => return None,
    };
    let of_segment =
        ["log", "index", "timeindex"].iter().any(|ending| base_offset_in(stem, ending).is_some());
    (of_segment || stem == CLEANER_OFFSET_FILE).then_some((stem, stage))
}

/// Whether it is the name of a compaction's file that is not in place.
pub(in crate::log) fn is_staged(name: &str) -> bool {
    staged(name).is_some()
}

/// The final names of all files at a stage.
fn at_stage(storage: &dyn Storage, dir: &Path, stage: Stage) -> io::Result<Vec<String>> {
    let entries = storage.list(dir)?;
    let files = entries.iter().filter(|entry| entry.kind == EntryKind::File);
    let found = files.filter_map(|entry| staged(&entry.name)).filter(|it| it.1 == stage);
    Ok(found.map(|(name, _)| name.to_owned()).collect())
}

/// Removes all files at a stage.
pub(super) fn remove_stage(storage: &dyn Storage, dir: &Path, stage: Stage) -> io::Result<()> {
    for name in at_stage(storage, dir, stage)? {
        ignore_absent(storage.remove_file(&stage.of(&dir.join(name))))?;
    }
    Ok(())
}

/// While a `.cleaned` is left, no `.swap` counts; so it goes last.
fn undo(storage: &dyn Storage, dir: &Path) -> io::Result<()> {
    remove_stage(storage, dir, Stage::Swap)?;
    storage.sync_dir(dir)?;
    remove_stage(storage, dir, Stage::Cleaned)
}

/// Before a log is opened: undoes or finishes a compaction that a crash stopped. May be repeated.
pub(in crate::log) fn settle(storage: &dyn Storage, dir: &Path, sparse: bool) -> io::Result<()> {
    let swaps = match at_stage(storage, dir, Stage::Swap) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        swaps => swaps?,
    };
    if !at_stage(storage, dir, Stage::Cleaned)?.is_empty() {
        return undo(storage, dir);
    }
    if swaps.is_empty() {
        return Ok(());
    }
    // What was decided on may not be durable; and nothing may go before it is.
    storage.sync_dir(dir)?;
    for base in swaps.iter().filter_map(|name| base_offset_in(name, "log")) {
        let end = end_of_swap(storage, dir, base, sparse)?;
        for entry in storage.list(dir)? {
            let covered = base_offset_in(&entry.name, "log");
            if let Some(other) = covered.filter(|other| base < *other && *other < end) {
                remove_segment_files(storage, dir, other)?;
            }
        }
    }
    storage.sync_dir(dir)?;
    for name in swaps {
        let path = dir.join(name);
        storage.rename(&Stage::Swap.of(&path), &path)?;
    }
    storage.sync_dir(dir)
}

/// The offset behind the last batch of a segment that waits to be put in place.
fn end_of_swap(storage: &dyn Storage, dir: &Path, base: i64, sparse: bool) -> io::Result<i64> {
    let file = storage.open(&Stage::Swap.of(&log_path(dir, base)), false)?;
    let len = file.len()?;
    let mut segment = Segment::new(base, file, len, Indexes::empty(base));
    segment.sparse = sparse;
    let mut walk = Walk::whole(&segment, CHUNK);
    loop {
        match walk.next(|_| true)? {
            Step::Batch(_) => {}
            // It has rotted since it was synced: as far as can be told.
            Step::Bad => drop(walk.pass_bad(i64::MAX, |_| true)?),
            Step::End => return Ok(walk.expected()),
        }
    }
}
