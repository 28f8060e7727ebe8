//! Beginning things: a folder, a segment, a leader epoch.

use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::storage::is_full;

use super::append::MEMORY_SEGMENT_BYTES;
use super::checkpoint::{self, PartitionMetadata};
use super::error::AppendError;
use super::segment::{Indexes, Segment, file_name};
use super::{Active, Log, recovery};

impl Log {
    /// Begins a new segment, unless the active one is empty.
    pub fn roll_now(&mut self) -> Result<(), AppendError> {
        self.check_writable()?;
        match &self.active {
            Some(active) if active.segment.size() == 0 => Ok(()),
            _ => self.roll().map_err(|error| self.classify(error, "a new segment")),
        }
    }

    /// Ends the active segment and begins a new one at the log's end. After an error it may be
    /// tried again; until then there may be no active segment.
    pub(super) fn roll(&mut self) -> io::Result<()> {
        let log_end = self.shared.log_end();
        if let Some(segment) = self.active.as_ref().map(|active| active.segment.clone()) {
            segment.seal_times();
            if self.shared.verify {
                self.store_and_release(&segment)?;
            }
        }
        // Before there is a file that begins here: nothing may be appended to another.
        self.active = None;
        self.add_segment(log_end)
    }

    /// Ends the only segment there is, to drop it. What could be derived from it is not written,
    /// and gives way to the new one: this must work on a full disk, as far as that takes a name.
    pub(super) fn roll_away(&mut self) -> io::Result<()> {
        let log_end = self.shared.log_end();
        let ended = self.active.take().map(|active| active.segment);
        if !self.shared.verify {
            return self.add_segment(log_end);
        }
        let snapshot = self.write_snapshot(log_end, &self.producers);
        ignore_full(snapshot)?;
        let added = self.add_segment(log_end);
        match (added, ended) {
            // Its entries are still held, and so nobody reads them from their files.
            (Err(error), Some(ended)) if is_full(&error) => {
                let (storage, dir) = (&*self.shared.storage, &self.shared.dir);
                recovery::remove_indexes(storage, dir, ended.base_offset)?;
                self.add_segment(log_end)
            }
            (added, _) => added,
        }
    }

    fn store_and_release(&mut self, segment: &Segment) -> io::Result<()> {
        let (storage, dir) = (&self.shared.storage, &self.shared.dir);
        segment.store_indexes(&**storage, dir)?;
        let (index, timeindex) = segment.index_paths(dir);
        let (index, timeindex) = (storage.open(&index, false)?, storage.open(&timeindex, false)?);
        if self.recovery_point >= self.shared.log_end() {
            // From its successor's first day on, the segment lies before the recovery point, and
            // its indexes are trusted, though they may have been written anew since that moved.
            timeindex.sync()?;
            index.sync()?;
        }
        self.write_snapshot(self.shared.log_end(), &self.producers)?;
        // Last: should any of this fail, the segment goes on, and its indexes with it.
        let mut indexes = segment.write_indexes();
        indexes.offsets.release(index);
        indexes.times.release(timeindex);
        Ok(())
    }

    /// A new, empty segment. Its name is durable before anything is in it, whatever the promise:
    /// a later segment without an earlier one would be worth nothing.
    fn add_segment(&mut self, base_offset: i64) -> io::Result<()> {
        let storage = self.shared.storage.clone();
        if self.shared.segments().is_empty() {
            self.create_dir()?;
        }
        let path = self.shared.dir.join(file_name(base_offset, "log"));
        let file = storage.open(&path, true)?;
        // A file that is there already is what an attempt left that did not come so far as to be
        // on the list: opening a log takes in or sets aside all that hold something.
        file.truncate(0)?;
        storage.sync_dir(&self.shared.dir)?;
        let limit = self.segment_limit();
        if limit < MEMORY_SEGMENT_BYTES {
            file.expect(limit);
        }
        let segment = Arc::new(Segment::new(base_offset, file, 0, Indexes::empty(base_offset)));
        self.shared.segments_mut().push(segment.clone());
        self.active = Some(Active { segment, bytes_since_index: 0, first_timestamp: None });
        Ok(())
    }

    /// The folder, and what belongs into it from the start. Its name must last as the epochs in
    /// it do, or else an epoch could be given out twice.
    fn create_dir(&self) -> io::Result<()> {
        let (storage, dir) = (&*self.shared.storage, &self.shared.dir);
        storage.create_dir(dir)?;
        if !self.shared.verify {
            return Ok(());
        }
        if checkpoint::readable(PartitionMetadata::load(storage, dir))?.is_none() {
            PartitionMetadata { topic_id: self.topic_id }.store(storage, dir)?;
        }
        storage.sync_dir(dir.parent().unwrap_or(Path::new("")))
    }

    /// Begins this incarnation's epoch at the log's end, durably, before its first batch.
    pub(super) fn begin_epoch(&mut self) -> io::Result<()> {
        if self.has_begun_epoch() {
            return Ok(());
        }
        let mut epochs = self.shared.epochs().clone();
        if epochs.assign(self.leader_epoch, self.shared.log_end()) || !self.epoch_is_stored {
            self.store_epochs(&epochs)?;
            self.epoch_is_stored = true;
            *self.shared.epochs_mut() = epochs;
        }
        Ok(())
    }

    /// Whether it has nothing to do any more.
    pub(super) fn has_begun_epoch(&self) -> bool {
        let (epoch, end) = (self.leader_epoch, self.shared.log_end());
        let latest = self.shared.epochs().latest();
        self.epoch_is_stored
            && latest.is_some_and(|latest| latest.epoch == epoch && latest.start_offset <= end)
    }

    /// Writes the epochs down.
    pub(super) fn store_epochs(&self, epochs: &super::epochs::LeaderEpochs) -> io::Result<()> {
        match self.shared.verify {
            true => epochs.store(&*self.shared.storage, &self.shared.dir),
            false => Ok(()),
        }
    }
}

/// For what can be done without, or at another time.
pub(super) fn ignore_full(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if is_full(&error) => {
            tracing::debug!(%error, "left out, on a full disk");
            Ok(())
        }
        other => other,
    }
}
