//! The small files beside the segments.

use std::io;

use crate::log::checkpoint::{
    CLEANER_OFFSET_FILE, CheckpointError, CleanerOffset, PARTITION_METADATA_FILE,
    PartitionMetadata, RECOVERY_POINT_FILE, RecoveryPoint,
};
use crate::log::epochs::{LEADER_EPOCH_FILE, LeaderEpochs};
use crate::log::is_misread;
use crate::log::producer_snapshot::{MAX_SNAPSHOT_BYTES, snapshot_file_name};
use crate::log::producers::ProducerState;
use crate::log::recovery::SYNC_FAILED_FILE;
use crate::storage::read_whole;

use super::{Examination, Severity};

impl Examination<'_> {
    pub(super) fn small_files(&mut self) -> io::Result<()> {
        let (storage, dir) = (self.folder.storage, self.folder.dir);
        let epochs = LeaderEpochs::load(storage, dir);
        self.epochs = self.whole(LEADER_EPOCH_FILE, epochs)?;
        self.epochs.take_if(|epochs| epochs.latest().is_none());
        let sparse = self.folder.sparse;
        self.epochs.iter_mut().for_each(|epochs| epochs.trimmed = sparse);
        let cleaned = CleanerOffset::load(storage, dir);
        self.whole(CLEANER_OFFSET_FILE, cleaned)?;
        self.snapshots();
        self.recovery_point()?;
        self.metadata()?;
        if self.survey.sync_failed {
            let text = "a sync failed: the next open writes what follows the recovery point anew";
            self.find(Severity::Unfinished, SYNC_FAILED_FILE, None, text);
        }
        Ok(())
    }

    /// The file's content; damage is a finding.
    fn whole<T>(
        &mut self,
        file: &str,
        loaded: Result<Option<T>, CheckpointError>,
    ) -> io::Result<Option<T>> {
        match loaded {
            Ok(value) => Ok(value),
            Err(CheckpointError::Io { source, .. }) => Err(source),
            Err(error) => {
                let text = format!("{error}; the next open goes by the batches");
                self.find(Severity::Derived, file, None, text);
                Ok(None)
            }
        }
    }

    /// The newest that is sound counts. Nobody syncs them, so a crash may leave some that are not.
    fn snapshots(&mut self) {
        let (storage, dir) = (self.folder.storage, self.folder.dir);
        self.survey.snapshots.sort_unstable();
        let mut is_needed = true;
        for offset in self.survey.snapshots.clone().into_iter().rev() {
            let name = snapshot_file_name(offset);
            let bytes = read_whole(storage, &dir.join(&name), MAX_SNAPSHOT_BYTES);
            let decoded = bytes.map_err(|error| error.to_string()).and_then(|bytes| {
                ProducerState::decode(&bytes, usize::MAX).map_err(|error| error.to_string())
            });
            match (decoded, is_needed) {
                (Ok(_), _) => is_needed = false,
                (Err(error), true) => {
                    let text = format!("{error}; the next open goes by the batches");
                    self.find(Severity::Unfinished, &name, None, text);
                }
                (Err(error), false) => {
                    self.find(Severity::Note, &name, None, format!("{error}; a later one counts"));
                }
            }
        }
    }

    fn recovery_point(&mut self) -> io::Result<()> {
        let loaded = RecoveryPoint::load(self.folder.storage, self.folder.dir);
        let found = self.whole(RECOVERY_POINT_FILE, loaded)?.map(|point| point.offset);
        let point = found.or(self.folder.recovery_point).unwrap_or(0);
        if point == 0 || self.survey.snapshots.contains(&point) {
            self.report.recovery_point = point;
        } else if !self.folder.sparse {
            let text = format!(
                "there is no snapshot at {point}, so the next open does not believe it, and reads \
                 the whole log"
            );
            self.find(Severity::Derived, RECOVERY_POINT_FILE, None, text);
        }
        Ok(())
    }

    fn metadata(&mut self) -> io::Result<()> {
        let loaded = PartitionMetadata::load(self.folder.storage, self.folder.dir);
        let found = self.whole(PARTITION_METADATA_FILE, loaded)?.map(|found| found.topic_id);
        match (found, self.folder.topic_id) {
            (Some(found), Some(known)) if is_misread(found, known) => {
                let text = format!("the id {found} is {known}, misread: the next open mends it");
                self.find(Severity::Derived, PARTITION_METADATA_FILE, None, text);
            }
            (Some(found), Some(known)) if found != known => {
                let text = format!(
                    "it is of a topic with the id {found}, but that of this name has {known}: the \
                     next open moves the folder aside"
                );
                self.find(Severity::Lost, PARTITION_METADATA_FILE, None, text);
            }
            _ => {}
        }
        Ok(())
    }
}
