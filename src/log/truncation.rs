//! Cutting off a log's end, in an order that a crash may stop anywhere:
//!
//! 1. the recovery point goes down to the cut, and so does the first dirty offset;
//! 2. the segments concerned get new identities, so that no reader believes what it reads there;
//! 3. a new epoch begins at the cut, durably: from here on what is behind it is not the log's;
//! 4. what is behind it goes, the newest first.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::checkpoint::CleanerOffset;
use super::error::AppendError;
use super::scan::{Step, Walk};
use super::segment::{Indexes, Segment, base_offset_in};
use super::shared::remove_files;
use super::{Active, Log, recovery};

const CHUNK: usize = 64 * 1024;

/// Where a log is cut.
struct Cut {
    /// What is left of the segment that holds the cut: a new identity of its file. `None` if all
    /// segments go.
    kept: Option<Arc<Segment>>,
    end: i64,
}

impl Log {
    /// Cuts off everything from `offset` on, or from the start of the batch that holds it. Readers
    /// beyond it learn that from their epoch.
    pub fn truncate(&mut self, offset: i64) -> Result<(), AppendError> {
        self.check_writable()?;
        let offset = offset.max(self.shared.log_start());
        if offset >= self.shared.log_end() {
            return Ok(());
        }
        self.truncate_to(offset).map_err(|error| self.fail_sync(error))
    }

    fn truncate_to(&mut self, offset: i64) -> io::Result<()> {
        let cut = self.find_cut(offset)?;
        let shared = self.shared.clone();
        let point = shared.point.lock().expect("no one panics with the point in hand");
        self.lower_recovery_point(cut.end)?;
        self.lower_first_dirty(cut.end)?;
        self.take_off(&cut);
        let mut epochs = shared.epochs().clone();
        self.leader_epoch += 1;
        epochs.truncate_from_end(cut.end);
        epochs.assign(self.leader_epoch, cut.end);
        *shared.epochs_mut() = epochs.clone();
        shared.truncations.fetch_add(1, Ordering::AcqRel);
        drop(point);
        self.producers.truncate_from(cut.end);
        self.synced = self.synced.min(cut.end);
        // They must not be back after a loss of power, when the log has grown past them: so they go
        // before the epochs are stored, which makes names durable.
        recovery::remove_snapshots(&*shared.storage, &shared.dir, |offset| offset > cut.end)?;
        self.store_epochs(&epochs)?;
        self.remove_unlisted()?;
        cut.kept.map_or(Ok(()), |kept| self.cut_file(&kept))
    }

    /// The last batch boundary at or before `offset`.
    fn find_cut(&self, offset: i64) -> io::Result<Cut> {
        let Some(holder) = self.shared.segment_of(offset) else {
            return Ok(Cut { kept: None, end: offset });
        };
        let after = self.shared.segment_after(&holder);
        let boundary = after.map_or(self.shared.log_end(), |next| next.base_offset);
        let verify = self.shared.verify;
        let mut walk = Walk::to(&holder, offset, CHUNK)?.verifying(verify);
        let (mut position, mut end) = (walk.position(), walk.expected());
        loop {
            match walk.next(|header| self.shared.belongs(header))? {
                Step::Batch(batch) if batch.header().last_offset() < offset => {}
                Step::Bad => match walk.pass_bad(boundary, |header| self.shared.belongs(header))? {
                    Some(to) if to <= offset => {}
                    _ => break,
                },
                _ => break,
            }
            (position, end) = (walk.position(), walk.expected());
        }
        if end < self.shared.log_start() {
            return Ok(Cut { kept: None, end: self.shared.log_start() });
        }
        let base = holder.base_offset;
        let kept = Segment::new(base, holder.file.clone(), position, Indexes::empty(base));
        let interval = self.config.index_interval_bytes;
        recovery::rebuild_indexes(&kept, interval, end, |header| self.shared.belongs(header))?;
        Ok(Cut { kept: Some(Arc::new(kept)), end })
    }

    fn lower_recovery_point(&mut self, end: i64) -> io::Result<()> {
        self.checkpointing = None;
        if self.highest_point > end {
            self.recovery_point = self.recovery_point.min(end);
            let mut producers = self.producers.clone();
            producers.truncate_from(self.recovery_point);
            self.write_snapshot(self.recovery_point, &producers)?;
            recovery::store_recovery_point(&self.shared, &self.partition, self.recovery_point)?;
            self.highest_point = self.recovery_point;
        }
        Ok(())
    }

    /// What is appended from the cut on has not been compacted.
    fn lower_first_dirty(&mut self, end: i64) -> io::Result<()> {
        if self.cleaner.first_dirty <= end {
            return Ok(());
        }
        self.cleaner.first_dirty = end;
        if !self.shared.verify {
            return Ok(());
        }
        let (partition, offset) = (self.partition.clone(), self.cleaner.checkpoint());
        CleanerOffset { partition, offset }.store(&*self.shared.storage, &self.shared.dir)
    }

    /// Puts the new identity in place of all from it on.
    fn take_off(&mut self, cut: &Cut) {
        let mut segments = self.shared.segments_mut();
        self.shared.high_watermark.fetch_min(cut.end, Ordering::AcqRel);
        self.shared.log_end.store(cut.end, Ordering::Release);
        let first = cut.kept.as_ref().map_or(0, |kept| {
            segments.partition_point(|segment| segment.base_offset < kept.base_offset)
        });
        let retired = segments.split_off(first);
        retired.iter().for_each(|segment| segment.retire());
        segments.extend(cut.kept.clone());
        drop(segments);
        self.active = cut.kept.clone().map(|segment| Active {
            bytes_since_index: 0,
            first_timestamp: segment.first_timestamp(),
            segment,
        });
    }

    /// The newest first. There may be one more than there were segments: what a roll left behind
    /// that did not come to its end would stand in the way of later ones.
    fn remove_unlisted(&self) -> io::Result<()> {
        let (storage, dir) = (&*self.shared.storage, &self.shared.dir);
        let listed = self.shared.segments().clone();
        let is_listed = |base| listed.iter().any(|segment| segment.base_offset == base);
        for entry in storage.list(dir)?.iter().rev() {
            if let Some(base) = base_offset_in(&entry.name, "log")
                && !is_listed(base)
            {
                remove_files(storage, dir, base)?;
            }
        }
        Ok(())
    }

    fn cut_file(&self, kept: &Segment) -> io::Result<()> {
        kept.file.truncate(kept.size())?;
        if self.shared.verify {
            kept.sync()?;
            recovery::remove_indexes(&*self.shared.storage, &self.shared.dir, kept.base_offset)?;
        }
        Ok(())
    }
}
