//! What a log's folder holds, by kind. Only reads.

use std::collections::BTreeMap;
use std::io;

use crate::storage::{DirEntry, EntryKind};

use super::{Opening, SYNC_FAILED_FILE};
use crate::log::checkpoint::{
    CLEANER_OFFSET_FILE, CleanerOffset, PARTITION_METADATA_FILE, RECOVERY_POINT_FILE,
    RecoveryPoint, readable,
};
use crate::log::epochs::{LEADER_EPOCH_FILE, LeaderEpochs};
use crate::log::producer_snapshot::snapshot_offset;
use crate::log::segment::{Indexes, Segment, base_offset_in, file_name};

/// What the folder holds, by kind.
#[derive(Default)]
pub(in crate::log) struct Survey {
    pub(in crate::log) exists: bool,
    /// Length of each `.log`, by base offset.
    pub(in crate::log) logs: BTreeMap<i64, u64>,
    /// Lengths of `.index` and `.timeindex`.
    pub(in crate::log) indexes: BTreeMap<i64, u64>,
    pub(in crate::log) timeindexes: BTreeMap<i64, u64>,
    pub(in crate::log) snapshots: Vec<i64>,
    pub(in crate::log) temporary: Vec<String>,
    pub(in crate::log) foreign: Vec<String>,
    pub(in crate::log) sync_failed: bool,
    /// `None` if they are not there, or damaged.
    pub(in crate::log) epochs: Option<LeaderEpochs>,
    /// If they are damaged: the highest that the file still speaks of.
    pub(in crate::log) epochs_damaged: Option<i32>,
    pub(in crate::log) recovery_point: Option<i64>,
    /// Whether one is written down that is not believed.
    pub(in crate::log) point_is_wrong: bool,
    /// Up to where the log is compacted.
    pub(in crate::log) first_dirty: Option<i64>,
}

impl Survey {
    pub(in crate::log) fn of(opening: &Opening) -> io::Result<Survey> {
        let entries = match opening.storage.list(&opening.dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Survey::default()),
            Err(error) => return Err(error),
        };
        let mut survey = Survey { exists: true, ..Survey::default() };
        entries.into_iter().for_each(|entry| survey.sort(entry));
        let (storage, dir) = (&*opening.storage, &opening.dir);
        let loaded = LeaderEpochs::load(storage, dir);
        let is_damaged = loaded.is_err();
        // An empty list knows no batch: it is as good as none.
        survey.epochs = readable(loaded)?.filter(|epochs| epochs.latest().is_some());
        if is_damaged {
            survey.epochs_damaged = Some(LeaderEpochs::highest_named(storage, dir)?);
        }
        survey.epochs.iter_mut().for_each(|epochs| epochs.trimmed = opening.sparse);
        let point = readable(RecoveryPoint::load(storage, dir))?;
        let point = point.map(|point| point.offset).or(opening.recovery_point);
        survey.recovery_point = point.filter(|at| survey.vouches(*at));
        survey.point_is_wrong = survey.recovery_point != point;
        let cleaned = readable(CleanerOffset::load(storage, dir))?;
        let cleaned = cleaned.filter(|cleaned| cleaned.partition == opening.partition);
        survey.first_dirty = cleaned.map(|cleaned| cleaned.offset);
        Ok(survey)
    }

    /// A recovery point carries no checksum, but where it is there is a snapshot of its name.
    fn vouches(&self, recovery_point: i64) -> bool {
        recovery_point == 0 || self.snapshots.contains(&recovery_point)
    }

    /// A segment that is there, without its indexes.
    pub(super) fn segment(&self, opening: &Opening, base: i64) -> io::Result<Segment> {
        let path = opening.dir.join(file_name(base, "log"));
        let file = opening.storage.open(&path, false)?;
        let mut segment = Segment::new(base, file, self.logs[&base], Indexes::empty(base));
        segment.sparse = opening.sparse;
        Ok(segment)
    }

    /// Takes in one more.
    pub(in crate::log) fn sort(&mut self, entry: DirEntry) {
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
