//! What a log's folder holds, by kind. Only reads.

use std::collections::BTreeMap;
use std::io;

use crate::storage::{DirEntry, EntryKind};

use super::{Opening, SYNC_FAILED_FILE};
use crate::log::checkpoint::{
    CLEANER_OFFSET_FILE, CheckpointError, CleanerOffset, PARTITION_METADATA_FILE,
    RECOVERY_POINT_FILE, RecoveryPoint,
};
use crate::log::epochs::{LEADER_EPOCH_FILE, LeaderEpochs};
use crate::log::producer_snapshot::snapshot_offset;
use crate::log::segment::base_offset_in;

/// What the folder holds, by kind.
#[derive(Default)]
pub(super) struct Survey {
    pub(super) exists: bool,
    /// Length of each `.log`, by base offset.
    pub(super) logs: BTreeMap<i64, u64>,
    /// Lengths of `.index` and `.timeindex`.
    pub(super) indexes: BTreeMap<i64, u64>,
    pub(super) timeindexes: BTreeMap<i64, u64>,
    pub(super) snapshots: Vec<i64>,
    pub(super) temporary: Vec<String>,
    pub(super) foreign: Vec<String>,
    pub(super) sync_failed: bool,
    /// `None` if they are not there, or damaged.
    pub(super) epochs: Option<LeaderEpochs>,
    pub(super) epochs_damaged: bool,
    pub(super) recovery_point: Option<i64>,
    /// Up to where the log is compacted.
    pub(super) first_dirty: Option<i64>,
}

impl Survey {
    pub(super) fn of(opening: &Opening) -> io::Result<Survey> {
        let entries = match opening.storage.list(&opening.dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Survey::default()),
            Err(error) => return Err(error),
        };
        let mut survey = Survey { exists: true, ..Survey::default() };
        entries.into_iter().for_each(|entry| survey.sort(entry));
        let (storage, dir) = (&*opening.storage, &opening.dir);
        let loaded = LeaderEpochs::load(storage, dir);
        survey.epochs_damaged = loaded.is_err();
        // An empty list knows no batch: it is as good as none.
        survey.epochs = readable(loaded)?.filter(|epochs| epochs.latest().is_some());
        let point = readable(RecoveryPoint::load(storage, dir))?;
        survey.recovery_point = point.map(|point| point.offset).filter(|at| survey.vouches(*at));
        let cleaned = readable(CleanerOffset::load(storage, dir))?;
        let cleaned = cleaned.filter(|cleaned| cleaned.partition == opening.partition);
        survey.first_dirty = cleaned.map(|cleaned| cleaned.offset);
        Ok(survey)
    }

    /// A recovery point carries no checksum, but where it is there is a snapshot of its name.
    fn vouches(&self, recovery_point: i64) -> bool {
        recovery_point == 0 || self.snapshots.contains(&recovery_point)
    }

    fn sort(&mut self, entry: DirEntry) {
        let name = entry.name.as_str();
        if entry.kind != EntryKind::File {
            self.foreign.push(entry.name);
        } else if let Some(base) = base_offset_in(name, "log") {
            self.logs.insert(base, entry.len);
        } else if let Some(base) = base_offset_in(name, "index") {
            self.indexes.insert(base, entry.len);
        } else if let Some(base) = base_offset_in(name, "timeindex") {
            self.timeindexes.insert(base, entry.len);
        } else if let Some(offset) = snapshot_offset(name) {
            self.snapshots.push(offset);
        } else if name.ends_with(".tmp") {
            self.temporary.push(entry.name);
        } else if name == SYNC_FAILED_FILE {
            self.sync_failed = true;
        } else {
            let known = [
                LEADER_EPOCH_FILE,
                RECOVERY_POINT_FILE,
                PARTITION_METADATA_FILE,
                CLEANER_OFFSET_FILE,
            ];
            if !known.contains(&name) && !name.contains(".log.cut-") {
                self.foreign.push(entry.name);
            }
        }
    }
}

/// A small file that is damaged counts as absent: it can be derived.
pub(in crate::log) fn readable<T>(
    loaded: Result<Option<T>, CheckpointError>,
) -> io::Result<Option<T>> {
    match loaded {
        Ok(value) => Ok(value),
        Err(CheckpointError::Io { source, .. }) => Err(source),
        Err(error) => {
            tracing::warn!(%error, "a damaged checkpoint is left aside");
            Ok(None)
        }
    }
}
