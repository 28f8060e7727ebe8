//! The first half of opening a log: what is sound, and what has to be done. Changes nothing.

use std::io;

use crate::batch::BatchHeader;
use crate::storage::read_whole;

use super::epochs::told_by_batches;
use super::survey::Survey;
use super::{CHUNK, LostRange, Opening, Recovered, rebuild_indexes};
use crate::log::epochs::LeaderEpochs;
use crate::log::index::{Index, OffsetEntry, TimeEntry};
use crate::log::producer_snapshot::{MAX_SNAPSHOT_BYTES, snapshot_file_name};
use crate::log::producers::{ProducerBatch, ProducerState};
use crate::log::scan::{Step, Walk};
use crate::log::segment::{Indexes, Segment};

/// By how much the leader epoch rises where the file of epochs is damaged: by more than there can
/// have been epochs of which no batch is left.
const EPOCHS_UNKNOWN: i32 = 1 << 16;

/// The log as measured, and what has to be done to the files to make it so.
pub(super) struct Found {
    pub(super) survey: Survey,
    pub(super) segments: Vec<Segment>,
    /// The first of `segments` that was scanned, whole or in part.
    pub(super) first_scanned: usize,
    pub(super) epochs: LeaderEpochs,
    pub(super) leader_epoch: i32,
    /// Whether `leader_epoch` is a new one.
    pub(super) epoch_rises: bool,
    /// Whether the disk knows of it, or needs not.
    pub(super) epoch_is_stored: bool,
    pub(super) producers: ProducerState,
    /// Snapshots that a crash left half written: they are synced by nobody.
    pub(super) bad_snapshots: Vec<i64>,
    /// Batches with a producer id in the scanned part.
    produced: Vec<(ProducerBatch, i64)>,
    scan_start: i64,
    pub(super) end: i64,
    pub(super) recovery_point: i64,
    /// The last segment does not end where the log does: appends need a new one.
    pub(super) sealed: bool,
    pub(super) cuts: Vec<Cut>,
    pub(super) report: Recovered,
}

/// Bytes of a segment file that are to be set aside.
pub(super) struct Cut {
    pub(super) base_offset: i64,
    pub(super) part: Part,
    pub(super) offset: i64,
}

pub(super) enum Part {
    Whole { len: u64 },
    Tail { position: u64, len: u64 },
}

impl Found {
    /// Reads what has to be read.
    pub(super) fn measure(opening: &Opening, survey: Survey) -> io::Result<Found> {
        let recovery_point = survey.recovery_point.unwrap_or(0);
        let bases: Vec<i64> = survey.logs.keys().copied().collect();
        let trusted = bases.partition_point(|base| *base <= recovery_point).saturating_sub(1);
        let mut report = Recovered { foreign: survey.foreign.clone(), ..Recovered::default() };
        let epochs = match &survey.epochs {
            Some(epochs) => epochs.clone(),
            None => told_by_batches(opening, &survey, &mut report.scanned_bytes)?,
        };
        let mut found = Found {
            epochs,
            leader_epoch: 0,
            epoch_rises: false,
            epoch_is_stored: true,
            producers: ProducerState::new(opening.config.max_producers),
            bad_snapshots: Vec::new(),
            produced: Vec::new(),
            segments: Vec::new(),
            first_scanned: trusted,
            scan_start: recovery_point,
            end: bases.first().copied().unwrap_or(recovery_point),
            recovery_point,
            sealed: false,
            cuts: Vec::new(),
            report,
            survey,
        };
        for (i, base) in bases.iter().enumerate() {
            let next = bases.get(i + 1).copied();
            match i < trusted {
                true => found.trust(opening, *base, next.unwrap_or(recovery_point))?,
                false => found.scan(opening, *base, next)?,
            }
        }
        found.settle_end(opening);
        found.settle_epoch(opening);
        found.restore_producers(opening)?;
        Ok(found)
    }

    /// A segment before the recovery point: its indexes are on the disk; it is not read.
    fn trust(&mut self, opening: &Opening, base: i64, end: i64) -> io::Result<()> {
        let segment = self.survey.segment(opening, base)?;
        let loaded = match self.stored_indexes(opening, &segment)? {
            Some((offsets, times)) => {
                let max = times.last()?;
                *segment.write_indexes() = Indexes { offsets, times, max };
                segment.size() == 0 || confirmed(&segment)?
            }
            None => false,
        };
        if !loaded {
            let interval = opening.config.index_interval_bytes;
            rebuild_indexes(&segment, interval, end, |header| self.belongs(header))?;
            self.report.scanned_bytes += segment.size();
        }
        self.segments.push(segment);
        self.end = end;
        Ok(())
    }

    fn stored_indexes(
        &self,
        opening: &Opening,
        segment: &Segment,
    ) -> io::Result<Option<(Index<OffsetEntry>, Index<TimeEntry>)>> {
        let base = segment.base_offset;
        let (index, timeindex) = segment.index_paths(&opening.dir);
        let lens = (self.survey.indexes.get(&base), self.survey.timeindexes.get(&base));
        let (Some(&index_len), Some(&time_len)) = lens else { return Ok(None) };
        let offsets = Index::stored(base, opening.storage.open(&index, false)?, index_len);
        let times = Index::stored(base, opening.storage.open(&timeindex, false)?, time_len);
        Ok(Some((offsets, times)))
    }

    /// Takes in a segment from the recovery point on, as far as it is sound.
    fn scan(&mut self, opening: &Opening, base: i64, next: Option<i64>) -> io::Result<()> {
        let len = self.survey.logs[&base];
        let promised = base <= self.recovery_point;
        let after = opening.sparse && base > self.end;
        let follows = self.segments.is_empty() || base == self.end || promised || after;
        if self.sealed || !self.cuts.is_empty() || !follows {
            self.cuts.push(Cut { base_offset: base, part: Part::Whole { len }, offset: base });
            return Ok(());
        }
        if self.end < base && !opening.sparse {
            self.report.lost.push(LostRange { from: self.end, to: base });
        }
        let segment = self.survey.segment(opening, base)?;
        self.end = base;
        let position = self.load_indexes(opening, &segment)?;
        let boundary = next.filter(|next| *next <= self.recovery_point);
        let sound = self.scan_batches(opening, &segment, position, boundary)?;
        if sound < len {
            let part = Part::Tail { position: sound, len: len - sound };
            self.cuts.push(Cut { base_offset: base, part, offset: self.end });
            segment.set_size(sound);
        }
        self.segments.push(segment);
        Ok(())
    }

    /// Index entries from before the recovery point are on the disk; returns where to scan from.
    fn load_indexes(&mut self, opening: &Opening, segment: &Segment) -> io::Result<(u64, i64)> {
        let (base, point) = (segment.base_offset, self.recovery_point);
        let start = (0, base);
        let stored = self.stored_indexes(opening, segment)?;
        let Some((mut offsets, mut times)) = stored else { return Ok(start) };
        let size = segment.size();
        offsets.load(|entry| entry.last_offset < point && entry.position < size)?;
        times.load(|entry| entry.offset < point)?;
        let max = times.last()?;
        *segment.write_indexes() = Indexes { offsets, times, max };
        let place = segment.seek(point)?;
        if place == start || !confirmed(segment)? {
            // The index led nowhere: start afresh.
            *segment.write_indexes() = Indexes::empty(base);
            return Ok(start);
        }
        Ok(place)
    }

    /// Walks the batches; returns the position up to which the file is kept. `next` is where the
    /// next segment begins, if that was promised too.
    fn scan_batches(
        &mut self,
        opening: &Opening,
        segment: &Segment,
        (position, expected): (u64, i64),
        next: Option<i64>,
    ) -> io::Result<u64> {
        let mut walk = Walk::new(segment, position, expected, CHUNK);
        self.end = expected;
        let mut since_index = 0;
        loop {
            let at = walk.position();
            match walk.next(|header| self.belongs(header))? {
                Step::Batch(batch) => {
                    let header = batch.header();
                    self.report.scanned_bytes += header.size() as u64;
                    let indexed = since_index > opening.config.index_interval_bytes;
                    since_index = if indexed { 0 } else { since_index } + header.size() as u64;
                    segment.write_indexes().note(header, at, indexed);
                    self.take_in(header);
                }
                Step::End => return Ok(at),
                Step::Bad if self.end >= self.recovery_point => return Ok(keep_tail(segment, at)),
                Step::Bad => {
                    let behind_header = walk.behind_header();
                    let boundary = next.unwrap_or(self.recovery_point);
                    match walk.pass_bad(boundary, |header| self.belongs(header))? {
                        Some(to) => {
                            self.report.lost.push(LostRange { from: self.end, to });
                            self.end = to;
                        }
                        // The next segment goes on.
                        None if next.is_some() => return Ok(segment.size()),
                        None => {
                            self.end_at_point();
                            return Ok(behind_header);
                        }
                    }
                }
            }
        }
    }

    /// The log ends at its recovery point, before which there is nothing sound any more: nothing
    /// tells where a batch would begin that comes next, so all the rest is set aside. But for the
    /// header of the first bad batch, if it has one: it may be what confirms the batch before it.
    fn end_at_point(&mut self) {
        let (from, to) = (self.end, self.recovery_point);
        self.report.lost.push(LostRange { from, to });
        (self.end, self.sealed) = (to, true);
    }

    /// Whether the batch's epoch is the one of its offset. An epoch is on the disk before its
    /// first batch, so there is no other.
    fn belongs(&self, header: &BatchHeader) -> bool {
        let epoch = header.partition_leader_epoch;
        self.epochs.wrote(epoch, header.base_offset, header.last_offset())
    }

    fn take_in(&mut self, header: &BatchHeader) {
        if header.has_producer_id() {
            self.produced.push((ProducerBatch::of(header), header.base_offset));
        }
        self.scan_start = self.scan_start.min(header.base_offset);
        self.end = header.next_offset();
    }

    /// Offsets below the recovery point were promised: what is missing there is lost, not free.
    /// The same is true of those below the log's start, which were deleted.
    fn settle_end(&mut self, opening: &Opening) {
        if self.end < self.recovery_point {
            let (from, to) = (self.end, self.recovery_point);
            self.report.lost.push(LostRange { from, to });
            self.end = to;
            self.sealed = true;
        }
        let start = opening.log_start_offset;
        if self.end < start {
            self.end = start;
            self.sealed = true;
        }
        // What was deleted is not lost, also if not all of its files went at once.
        self.report.lost.retain_mut(|lost| {
            lost.from = lost.from.max(start);
            lost.from < lost.to
        });
        if !self.survey.exists {
            // Nothing is there that might not be durable, nor a folder to write that down in.
            self.recovery_point = self.end;
        }
        let ended = self.segments.len().saturating_sub(usize::from(!self.sealed));
        self.segments[..ended].iter().for_each(Segment::seal_times);
    }

    /// The epoch stays only where nothing can be missing.
    fn settle_epoch(&mut self, opening: &Opening) {
        let latest = self.epochs.latest().map(|latest| latest.epoch);
        let complete = self.cuts.is_empty()
            && self.report.is_clean()
            && !self.sealed
            && !self.survey.sync_failed;
        self.epoch_rises = !(opening.clean && complete) && self.survey.exists;
        let named = self.survey.epochs_damaged;
        let next = match (latest, named) {
            (Some(epoch), _) if !self.epoch_rises => epoch,
            (Some(epoch), None) => epoch.saturating_add(1),
            (None, None) => 0,
            // Above all that may have been given out, also where no batch is left of it.
            (latest, Some(named)) => latest.unwrap_or(0).max(named).saturating_add(EPOCHS_UNKNOWN),
        };
        self.leader_epoch = next.max(opening.min_epoch);
        if self.epoch_rises {
            self.epochs.truncate_from_end(self.end);
            self.epochs.assign(self.leader_epoch, self.end);
        }
    }

    /// The newest snapshot that is sound, and the batches since.
    fn restore_producers(&mut self, opening: &Opening) -> io::Result<()> {
        self.survey.snapshots.sort_unstable();
        let mut since = self.segments.first().map_or(self.end, |segment| segment.base_offset);
        for &offset in self.survey.snapshots.iter().rev().filter(|offset| **offset <= self.end) {
            let path = opening.dir.join(snapshot_file_name(offset));
            let bytes = read_whole(&*opening.storage, &path, MAX_SNAPSHOT_BYTES)?;
            match ProducerState::decode(&bytes, opening.config.max_producers) {
                Ok(state) => {
                    (self.producers, since) = (state, offset);
                    break;
                }
                // Its name is what the recovery point is believed for.
                Err(_) if offset == self.recovery_point => {}
                Err(_) => self.bad_snapshots.push(offset),
            }
        }
        self.replay(since)?;
        for (batch, base_offset) in std::mem::take(&mut self.produced) {
            if base_offset >= since {
                self.producers.applied(&batch, base_offset);
            }
        }
        Ok(())
    }

    /// Reads the batches between a snapshot and the part that was scanned anyway.
    fn replay(&mut self, since: i64) -> io::Result<()> {
        for (i, segment) in self.segments.iter().enumerate() {
            let end = self.segments.get(i + 1).map_or(self.scan_start, |next| next.base_offset);
            if end <= since || segment.base_offset >= self.scan_start {
                continue;
            }
            let mut walk = Walk::to(segment, since, CHUNK)?;
            while walk.expected() < self.scan_start {
                match walk.next(|header| self.belongs(header))? {
                    Step::Batch(batch) => {
                        let header = batch.header();
                        let wanted = (since..self.scan_start).contains(&header.base_offset);
                        if wanted && header.has_producer_id() {
                            self.producers.applied(&ProducerBatch::of(header), header.base_offset);
                        }
                    }
                    Step::Bad => drop(walk.pass_bad(end, |header| self.belongs(header))?),
                    Step::End => break,
                }
            }
        }
        Ok(())
    }
}

/// Whether the last time entry, by which the segment is searched and retained, is a batch's.
fn confirmed(segment: &Segment) -> io::Result<bool> {
    let max = segment.max_timestamp();
    max.map_or(Ok(false), |max| segment.confirms(max))
}

/// Where the log is cut: at the first bad batch.
fn keep_tail(segment: &Segment, at: u64) -> u64 {
    #[cfg(test)]
    if crate::log::tests::sabotage::KEEP_TAIL.get() {
        return segment.size();
    }
    let _ = segment;
    at
}
