//! The second half of opening a log: brings the files into the measured state, and makes durable
//! what will be served. Every step may be repeated.

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use crate::storage::{Storage, StorageFile, is_full};

use super::measure::{Cut, Found, Part};
use super::{
    CHUNK, CutTail, Opening, SYNC_FAILED_FILE, ignore_absent, mark_sync_failed, remove_indexes,
    remove_snapshots,
};
use crate::log::checkpoint::{CleanerOffset, RECOVERY_POINT_FILE, RecoveryPoint};
use crate::log::producer_snapshot::snapshot_file_name;
use crate::log::roll::ignore_full;
use crate::log::segment::{Segment, file_name};
use crate::log::shared::remove_files;

/// A tail longer than this is worth writing down that it need not be read again.
const WORTH_A_CHECKPOINT: u64 = 1 << 20;

impl Found {
    pub(super) fn mend(&mut self, opening: &Opening) -> io::Result<()> {
        if !self.survey.exists {
            return Ok(());
        }
        self.remove_leftovers(opening)?;
        self.forget_compaction_beyond_end(opening)?;
        for cut in std::mem::take(&mut self.cuts) {
            self.set_aside(opening, cut)?;
        }
        if self.epoch_rises
            && let Err(error) = self.make_durable(opening)
        {
            // Of a full disk nothing is in doubt, unless it was a sync that said so.
            if !is_full(&error) {
                mark_sync_failed(&*opening.storage, &opening.dir);
            }
            return Err(error);
        }
        self.remove_deleted(opening)
    }

    /// Temporary files, and indexes without a segment. And a recovery point that is not believed:
    /// one day there may be a snapshot of its name.
    fn remove_leftovers(&self, opening: &Opening) -> io::Result<()> {
        let (storage, dir) = (&*opening.storage, &opening.dir);
        if self.survey.point_is_wrong {
            ignore_absent(storage.remove_file(&dir.join(RECOVERY_POINT_FILE)))?;
            storage.sync_dir(dir)?;
        }
        for name in &self.survey.temporary {
            ignore_absent(storage.remove_file(&dir.join(name)))?;
        }
        let indexes = self.survey.indexes.keys().chain(self.survey.timeindexes.keys());
        for base in indexes.filter(|base| !self.survey.logs.contains_key(base)) {
            remove_indexes(storage, dir, *base)?;
        }
        Ok(())
    }

    /// What is appended from the end on has not been compacted.
    fn forget_compaction_beyond_end(&mut self, opening: &Opening) -> io::Result<()> {
        if self.survey.first_dirty.is_some_and(|first_dirty| first_dirty > self.end) {
            self.survey.first_dirty = None;
            ignore_absent(opening.storage.remove_file(&CleanerOffset::path(&opening.dir)))?;
            opening.storage.sync_dir(&opening.dir)?;
        }
        Ok(())
    }

    /// Moves bytes out of a segment file: a copy first, then the cut, each made durable.
    fn set_aside(&mut self, opening: &Opening, cut: Cut) -> io::Result<()> {
        let (storage, dir) = (&*opening.storage, &opening.dir);
        let log = dir.join(file_name(cut.base_offset, "log"));
        let name = format!("{}.cut-{}", file_name(cut.base_offset, "log"), cut.offset);
        let aside = dir.join(&name);
        let bytes = match cut.part {
            Part::Whole { len } => {
                remove_indexes(storage, dir, cut.base_offset)?;
                storage.rename(&log, &aside)?;
                len
            }
            Part::Tail { position, len } => {
                copy(storage, &log, &aside, position..position + len)?;
                storage.sync_dir(dir)?;
                storage.open(&log, false)?.truncate(position)?;
                len
            }
        };
        storage.sync_dir(dir)?;
        self.report.cut.push(CutTail { offset: cut.offset, bytes, file: name });
        Ok(())
    }

    fn make_durable(&mut self, opening: &Opening) -> io::Result<()> {
        let (storage, dir) = (&*opening.storage, &opening.dir);
        let first = self.first_scanned.min(self.segments.len());
        for segment in &mut self.segments[first..] {
            match self.survey.sync_failed {
                true => segment.file = rewrite(storage, dir, segment)?,
                false => segment.sync().inspect_err(|_| {
                    mark_sync_failed(storage, dir);
                })?,
            }
        }
        storage.sync_dir(dir)?;
        self.report.rewritten = self.survey.sync_failed;
        remove_snapshots(storage, dir, |offset| {
            offset > self.end || self.bad_snapshots.contains(&offset)
        })?;
        self.store_epochs(opening)?;
        let moves = self.sealed || !self.report.is_clean();
        if moves || self.report.scanned_bytes > WORTH_A_CHECKPOINT {
            // On a full disk the next open does all this again, and comes to the same.
            ignore_full(self.move_recovery_point(opening))?;
        }
        if self.survey.sync_failed {
            storage.remove_file(&dir.join(SYNC_FAILED_FILE))?;
            storage.sync_dir(dir)?;
        }
        Ok(())
    }

    /// On a full disk the new epoch is written down before its first batch: a log can be opened,
    /// read and trimmed without space.
    fn store_epochs(&mut self, opening: &Opening) -> io::Result<()> {
        match self.epochs.store(&*opening.storage, &opening.dir) {
            Err(error) if is_full(&error) => {
                self.epoch_is_stored = false;
                Ok(())
            }
            stored => stored,
        }
    }

    /// All is durable but the indexes.
    fn move_recovery_point(&mut self, opening: &Opening) -> io::Result<()> {
        let (storage, dir) = (&*opening.storage, &opening.dir);
        for segment in &self.segments {
            segment.seal_times();
            if segment.store_indexes(storage, dir)? {
                let (index, timeindex) = segment.index_paths(dir);
                storage.open(&index, false)?.sync()?;
                storage.open(&timeindex, false)?.sync()?;
            }
        }
        let snapshot = storage.open(&dir.join(snapshot_file_name(self.end)), true)?;
        snapshot.truncate(0)?;
        snapshot.append(0, &[&self.producers.encode()])?;
        storage.sync_dir(dir)?;
        let partition = opening.partition.clone();
        RecoveryPoint { partition, offset: self.end }.store(storage, dir)?;
        self.recovery_point = self.end;
        Ok(())
    }

    /// Segments from before the log's start, which were deleted and are back.
    fn remove_deleted(&mut self, opening: &Opening) -> io::Result<()> {
        let (storage, dir) = (&*opening.storage, &opening.dir);
        let start = opening.log_start_offset;
        while let Some(oldest) = self.segments.first() {
            let next = self.segments.get(1).map(|next| next.base_offset);
            let end = next.unwrap_or(if self.sealed { self.end } else { i64::MAX });
            if end > start {
                return Ok(());
            }
            remove_files(storage, dir, oldest.base_offset)?;
            self.segments.remove(0);
        }
        Ok(())
    }
}

fn copy(storage: &dyn Storage, from: &Path, to: &Path, range: Range<u64>) -> io::Result<()> {
    let copied = try_copy(storage, from, to, range);
    if copied.is_err() {
        // A part of a copy is none, and takes space.
        let _ = storage.remove_file(to);
    }
    copied
}

fn try_copy(storage: &dyn Storage, from: &Path, to: &Path, range: Range<u64>) -> io::Result<()> {
    let (source, target) = (storage.open(from, false)?, storage.open(to, true)?);
    target.truncate(0)?;
    let mut position = range.start;
    while position < range.end {
        let len = usize::try_from(range.end - position).unwrap_or(CHUNK).min(CHUNK);
        let bytes = source.read_at(position, len)?;
        if bytes.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        target.append(position - range.start, &[&bytes])?;
        position += bytes.len() as u64;
    }
    target.sync()
}

/// Writes a segment's sound bytes to a new file and puts it in the old one's place.
fn rewrite(
    storage: &dyn Storage,
    dir: &Path,
    segment: &Segment,
) -> io::Result<Arc<dyn StorageFile>> {
    let log = segment.log_path(dir);
    let fresh = log.with_added_extension("tmp");
    copy(storage, &log, &fresh, 0..segment.size())?;
    storage.rename(&fresh, &log)?;
    storage.open(&log, false)
}
