//! Opening a log: what a crash left is measured first and mended afterwards.
//!
//! The first half only reads: an I/O error there is returned and has changed nothing. Each step
//! of the second half can be repeated, so an error in it leaves a log that the next open mends.
//!
//! * Before the recovery point nothing is cut. What can't be read there is a lost range, which
//!   readers are told of; its offsets are never given out again.
//! * Behind it the log ends at the first batch that is not whole, sound and next in order. What
//!   follows is set aside in `<base>.log.cut-<offset>`, then cut.
//! * What is kept is made durable before it is served. Where a sync had failed, or the recovery
//!   point is gone, the kept files are written anew: their pages may be clean and yet not on disk.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, Mutex, RwLock};

use crate::batch::{Batch, BatchHeader, check_crc};
use crate::storage::{DirEntry, EntryKind, Storage, StorageFile, read_whole};
use crate::topic::{TopicId, TopicPartition};

use super::checkpoint::{
    CheckpointError, PARTITION_METADATA_FILE, RECOVERY_POINT_FILE, RecoveryPoint,
};
use super::config::LogConfig;
use super::epochs::{LEADER_EPOCH_FILE, LeaderEpochs};
use super::index::{Index, OffsetEntry, TimeEntry};
use super::pressure::MemoryPressure;
use super::producer_snapshot::{MAX_SNAPSHOT_BYTES, snapshot_offset};
use super::producers::{ProducerBatch, ProducerState};
use super::segment::{Indexes, Plausible, Segment, Step, base_offset_in, file_name, resync};
use super::shared::Shared;
use super::{Active, Log};

/// Left behind by a failed sync.
const SYNC_FAILED_FILE: &str = "sync-failed";
const CHUNK: usize = 1 << 20;
/// A tail longer than this is worth writing down that it need not be read again.
const WORTH_A_CHECKPOINT: u64 = 1 << 20;

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
        let survey = Survey::of(&opening)?;
        let mut found = Found::measure(&opening, survey)?;
        found.mend(&opening)?;
        Ok(found.into_log(opening))
    }
}

/// What the folder holds, by kind.
#[derive(Default)]
struct Survey {
    exists: bool,
    /// Length of each `.log`, by base offset.
    logs: BTreeMap<i64, u64>,
    /// Lengths of `.index` and `.timeindex`.
    indexes: BTreeMap<i64, u64>,
    timeindexes: BTreeMap<i64, u64>,
    snapshots: Vec<i64>,
    temporary: Vec<String>,
    foreign: Vec<String>,
    sync_failed: bool,
    epochs: Option<LeaderEpochs>,
    recovery_point: Option<i64>,
}

impl Survey {
    fn of(opening: &Opening) -> io::Result<Survey> {
        let entries = match opening.storage.list(&opening.dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Survey::default()),
            Err(error) => return Err(error),
        };
        let mut survey = Survey { exists: true, ..Survey::default() };
        entries.into_iter().for_each(|entry| survey.sort(entry));
        let (storage, dir) = (&*opening.storage, &opening.dir);
        survey.epochs = readable(LeaderEpochs::load(storage, dir))?;
        let point = readable(RecoveryPoint::load(storage, dir))?;
        survey.recovery_point = point.map(|point| point.offset);
        Ok(survey)
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
            let known = [LEADER_EPOCH_FILE, RECOVERY_POINT_FILE, PARTITION_METADATA_FILE];
            if !known.contains(&name) && !name.contains(".log.cut-") {
                self.foreign.push(entry.name);
            }
        }
    }
}

/// A small file that is damaged counts as absent: it can be derived.
pub(super) fn readable<T>(loaded: Result<Option<T>, CheckpointError>) -> io::Result<Option<T>> {
    match loaded {
        Ok(value) => Ok(value),
        Err(CheckpointError::Io { source, .. }) => Err(source),
        Err(error) => {
            tracing::warn!(%error, "a damaged checkpoint is left aside");
            Ok(None)
        }
    }
}

/// The log as measured, and what has to be done to the files to make it so.
struct Found {
    survey: Survey,
    segments: Vec<Segment>,
    /// The first of `segments` that was scanned, whole or in part.
    first_scanned: usize,
    epochs: LeaderEpochs,
    producers: ProducerState,
    /// Batches with a producer id in the scanned part.
    produced: Vec<(ProducerBatch, i64)>,
    scan_start: i64,
    end: i64,
    recovery_point: i64,
    /// The latest epoch that was ever written down, also for batches that are cut.
    latest_epoch: Option<i32>,
    /// The last segment has unreadable bytes at its end: appends need a new one.
    sealed: bool,
    cuts: Vec<Cut>,
    report: Recovered,
}

/// Bytes of a segment file from `position` on that are to be set aside.
struct Cut {
    base_offset: i64,
    position: u64,
    len: u64,
    offset: i64,
}

impl Found {
    /// Reads what has to be read. Changes nothing.
    fn measure(opening: &Opening, survey: Survey) -> io::Result<Found> {
        let damaged = survey.epochs.is_none();
        let recovery_point = survey.recovery_point.filter(|_| !damaged).unwrap_or(0);
        let bases: Vec<i64> = survey.logs.keys().copied().collect();
        let holder = bases.partition_point(|base| *base <= recovery_point).saturating_sub(1);
        let mut found = Found {
            epochs: survey.epochs.clone().unwrap_or_default(),
            producers: ProducerState::new(opening.config.max_producers),
            produced: Vec::new(),
            segments: Vec::new(),
            first_scanned: holder,
            scan_start: recovery_point,
            end: bases.first().copied().unwrap_or(recovery_point),
            recovery_point,
            latest_epoch: None,
            sealed: false,
            cuts: Vec::new(),
            report: Recovered { foreign: survey.foreign.clone(), ..Recovered::default() },
            survey,
        };
        for base in &bases[..holder.min(bases.len())] {
            let segment = found.trusted(opening, *base)?;
            found.segments.push(segment);
        }
        for base in bases.iter().skip(holder) {
            found.scan(opening, *base)?;
        }
        found.give_up_what_is_missing();
        found.restore_producers(opening)?;
        Ok(found)
    }

    /// A segment before the recovery point: its indexes are on the disk; it is not read.
    fn trusted(&mut self, opening: &Opening, base: i64) -> io::Result<Segment> {
        let segment = self.bare_segment(opening, base)?;
        let (index, timeindex) = segment.index_paths(&opening.dir);
        let lens = (self.survey.indexes.get(&base), self.survey.timeindexes.get(&base));
        let (Some(&index_len), Some(&time_len)) = lens else {
            rebuild_indexes(&segment, opening.config.index_interval_bytes)?;
            self.report.scanned_bytes += segment.size();
            return Ok(segment);
        };
        let storage = &opening.storage;
        let offsets = Index::stored(base, storage.open(&index, false)?, index_len);
        let times = Index::stored(base, storage.open(&timeindex, false)?, time_len);
        let max = times.last()?;
        if max.is_none() && segment.size() > 0 {
            rebuild_indexes(&segment, opening.config.index_interval_bytes)?;
        } else {
            *segment.write_indexes() = Indexes { offsets, times, max };
        }
        Ok(segment)
    }

    fn bare_segment(&self, opening: &Opening, base: i64) -> io::Result<Segment> {
        let path = opening.dir.join(file_name(base, "log"));
        let file = opening.storage.open(&path, false)?;
        Ok(Segment::new(base, file, self.survey.logs[&base], Indexes::empty(base)))
    }

    /// Takes in a segment from the recovery point on, as far as it is sound.
    fn scan(&mut self, opening: &Opening, base: i64) -> io::Result<()> {
        let len = self.survey.logs[&base];
        let follows = self.segments.is_empty() || base == self.end || base < self.recovery_point;
        if self.sealed
            || !self.cuts.is_empty()
            || !follows && self.segments.len() > self.first_scanned
        {
            self.cuts.push(Cut { base_offset: base, position: 0, len, offset: base });
            return Ok(());
        }
        let segment = self.bare_segment(opening, base)?;
        self.end = base;
        let start = self.load_indexes(opening, &segment)?;
        let sound = self.scan_batches(opening, &segment, start)?;
        if sound < len && !self.sealed {
            let offset = self.end;
            self.cuts.push(Cut { base_offset: base, position: sound, len: len - sound, offset });
            segment.set_size(sound);
        }
        self.segments.push(segment);
        Ok(())
    }

    /// Index entries from before the recovery point are sound; returns where to scan from.
    fn load_indexes(&mut self, opening: &Opening, segment: &Segment) -> io::Result<u64> {
        let (base, point) = (segment.base_offset, self.recovery_point);
        let (index, timeindex) = segment.index_paths(&opening.dir);
        let lens = (self.survey.indexes.get(&base), self.survey.timeindexes.get(&base));
        let (Some(&index_len), Some(&time_len)) = lens else { return Ok(0) };
        let mut offsets: Index<OffsetEntry> =
            Index::stored(base, opening.storage.open(&index, false)?, index_len);
        let mut times: Index<TimeEntry> =
            Index::stored(base, opening.storage.open(&timeindex, false)?, time_len);
        let size = segment.size();
        offsets.load(|entry| entry.last_offset < point && entry.position < size)?;
        times.load(|entry| entry.offset < point)?;
        let max = times.last()?;
        *segment.write_indexes() = Indexes { offsets, times, max };
        let (position, expected) = segment.seek(point)?;
        if expected.is_some() {
            // The index led nowhere: start afresh.
            *segment.write_indexes() = Indexes::empty(base);
        }
        Ok(position)
    }

    /// Walks the batches; returns the position up to which the file is kept.
    fn scan_batches(
        &mut self,
        opening: &Opening,
        segment: &Segment,
        start: u64,
    ) -> io::Result<u64> {
        let mut scanner = segment.scan(start, CHUNK);
        let mut expected = (start == 0).then_some(segment.base_offset);
        let mut since_index = 0;
        loop {
            let at = scanner.position();
            match scanner.next()? {
                Step::Batch(batch) if self.is_sound(&batch, expected) => {
                    let header = batch.header();
                    self.report.scanned_bytes += header.size() as u64;
                    let indexed = since_index > opening.config.index_interval_bytes;
                    since_index = if indexed { 0 } else { since_index } + header.size() as u64;
                    segment.write_indexes().note(header, at, indexed);
                    self.take_in(header);
                    expected = Some(self.end);
                }
                Step::End => return Ok(at),
                _ if self.end >= self.recovery_point => return Ok(at),
                _ => match self.pass_bad(segment, at)? {
                    Some((position, header)) => {
                        scanner.skip_to(position);
                        expected = Some(header.base_offset);
                    }
                    None => {
                        self.sealed = true;
                        return Ok(segment.size());
                    }
                },
            }
        }
    }

    fn is_sound(&self, batch: &Batch, expected: Option<i64>) -> bool {
        let header = batch.header();
        let epoch = header.partition_leader_epoch;
        let in_order = match self.epochs.latest() {
            Some(latest) if header.base_offset >= latest.start_offset => epoch >= latest.epoch,
            _ => self.epochs.epoch_at(header.base_offset).is_none_or(|known| known == epoch),
        };
        in_order
            && expected.is_none_or(|offset| header.base_offset == offset)
            && check_crc(batch.bytes()).is_ok()
    }

    fn take_in(&mut self, header: &BatchHeader) {
        let epoch = header.partition_leader_epoch;
        if self.epochs.latest().is_none_or(|latest| epoch > latest.epoch) {
            self.epochs.assign(epoch, header.base_offset);
        }
        if header.has_producer_id() {
            self.produced.push((ProducerBatch::of(header), header.base_offset));
        }
        self.scan_start = self.scan_start.min(header.base_offset);
        self.end = header.next_offset();
    }

    /// Below the recovery point: the next good batch, if it begins there too.
    fn pass_bad(&mut self, segment: &Segment, at: u64) -> io::Result<Option<(u64, BatchHeader)>> {
        let plausible = Plausible { min_offset: self.end, max_offset: self.recovery_point + 1 };
        let good = resync(&*segment.file, at, segment.size(), plausible)?;
        if let Some((_, header)) = good {
            self.report.lost.push(LostRange { from: self.end, to: header.base_offset });
            self.end = header.base_offset;
        }
        Ok(good)
    }

    /// Offsets below the recovery point were promised: what is missing there is lost, not free.
    fn give_up_what_is_missing(&mut self) {
        if self.end < self.recovery_point {
            let (from, to) = (self.end, self.recovery_point);
            self.report.lost.push(LostRange { from, to });
            self.end = to;
            self.sealed = true;
        }
        self.latest_epoch = self.epochs.latest().map(|latest| latest.epoch);
        self.epochs.truncate_from_end(self.end);
    }

    /// The newest snapshot that is sound, and the batches since.
    fn restore_producers(&mut self, opening: &Opening) -> io::Result<()> {
        self.survey.snapshots.sort_unstable();
        let mut since = self.segments.first().map_or(self.end, |segment| segment.base_offset);
        for &offset in self.survey.snapshots.iter().rev().filter(|offset| **offset <= self.end) {
            let path = opening.dir.join(file_name(offset, "snapshot"));
            let bytes = read_whole(&*opening.storage, &path, MAX_SNAPSHOT_BYTES)?;
            if let Ok(state) = ProducerState::decode(&bytes, opening.config.max_producers) {
                (self.producers, since) = (state, offset);
                break;
            }
        }
        if since < self.scan_start {
            self.replay(since)?;
        }
        for (batch, base_offset) in std::mem::take(&mut self.produced) {
            if base_offset >= since {
                self.producers.applied(&batch, base_offset);
            }
        }
        Ok(())
    }

    /// Reads the headers between a snapshot and the part that was scanned anyway.
    fn replay(&mut self, since: i64) -> io::Result<()> {
        for segment in &self.segments {
            let mut scanner = segment.scan(segment.seek(since)?.0, CHUNK);
            while let Step::Batch(batch) = scanner.next()? {
                let header = batch.header();
                let wanted = since..self.scan_start;
                if header.has_producer_id() && wanted.contains(&header.base_offset) {
                    self.producers.applied(&ProducerBatch::of(header), header.base_offset);
                }
            }
        }
        Ok(())
    }

    /// Brings the files into the measured state. Every step may be repeated.
    fn mend(&mut self, opening: &Opening) -> io::Result<()> {
        if !self.survey.exists {
            return Ok(());
        }
        for name in &self.survey.temporary {
            ignore_absent(opening.storage.remove_file(&opening.dir.join(name)))?;
        }
        for cut in std::mem::take(&mut self.cuts) {
            self.set_aside(opening, cut)?;
        }
        let has_tail = self.end > self.recovery_point || !self.report.is_clean();
        let point_lost = self.survey.recovery_point.is_none() && self.end > self.recovery_point;
        if opening.clean && !has_tail && !self.survey.sync_failed {
            return Ok(());
        }
        match self.make_durable(opening, self.survey.sync_failed || point_lost) {
            Ok(()) => Ok(()),
            Err(error) => {
                mark_sync_failed(&*opening.storage, &opening.dir);
                Err(error)
            }
        }
    }

    /// Moves bytes out of a segment file: a copy first, then the cut, each made durable.
    fn set_aside(&mut self, opening: &Opening, cut: Cut) -> io::Result<()> {
        let (storage, dir) = (&*opening.storage, &opening.dir);
        let log = dir.join(file_name(cut.base_offset, "log"));
        let name = format!("{}.cut-{}", file_name(cut.base_offset, "log"), cut.offset);
        let aside = dir.join(&name);
        if cut.position == 0 && cut.base_offset >= self.end && !self.is_kept(cut.base_offset) {
            remove_indexes(storage, dir, cut.base_offset)?;
            storage.rename(&log, &aside)?;
        } else {
            copy(storage, &log, &aside, cut.position..cut.position + cut.len)?;
            storage.sync_dir(dir)?;
            let file = storage.open(&log, false)?;
            file.truncate(cut.position)?;
        }
        storage.sync_dir(dir)?;
        self.report.cut.push(CutTail { offset: cut.offset, bytes: cut.len, file: name });
        Ok(())
    }

    fn is_kept(&self, base_offset: i64) -> bool {
        self.segments.iter().any(|segment| segment.base_offset == base_offset)
    }

    fn make_durable(&mut self, opening: &Opening, suspected: bool) -> io::Result<()> {
        let (storage, dir) = (&*opening.storage, &opening.dir);
        let first = self.first_scanned.min(self.segments.len());
        let tail = &mut self.segments[first..];
        for segment in tail.iter_mut() {
            match suspected {
                true => segment.file = rewrite(storage, dir, segment)?,
                false => segment.file.sync()?,
            }
        }
        storage.sync_dir(dir)?;
        self.report.rewritten = suspected && !tail.is_empty();
        remove_snapshots(storage, dir, |offset| offset > self.end)?;
        self.epochs.store(storage, dir)?;
        if suspected || self.report.scanned_bytes > WORTH_A_CHECKPOINT || !self.report.is_clean() {
            for segment in tail {
                segment.store_indexes(storage, dir)?;
                let (index, timeindex) = segment.index_paths(dir);
                storage.open(&index, false)?.sync()?;
                storage.open(&timeindex, false)?.sync()?;
            }
            storage.sync_dir(dir)?;
            let partition = opening.partition.clone();
            RecoveryPoint { partition, offset: self.end }.store(storage, dir)?;
            self.recovery_point = self.end;
        }
        if self.survey.sync_failed {
            storage.remove_file(&dir.join(SYNC_FAILED_FILE))?;
            storage.sync_dir(dir)?;
        }
        Ok(())
    }

    fn into_log(mut self, opening: Opening) -> (Log, Recovered) {
        let leader_epoch = match self.latest_epoch {
            Some(epoch) if opening.clean => epoch,
            Some(epoch) => epoch + 1,
            None => 0,
        };
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
            log_start: AtomicI64::new(log_start.max(opening.log_start_offset).min(self.end)),
            log_end: AtomicI64::new(self.end),
            high_watermark: AtomicI64::new(self.end),
            epochs: RwLock::new(self.epochs),
            positions: Mutex::new(Vec::new()),
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
            leader_epoch: leader_epoch.max(opening.min_epoch),
            synced: self.end,
            recovery_point: self.recovery_point,
            pressure: opening.pressure,
            failure: None,
        };
        (log, self.report)
    }
}

/// Says for the next open that a sync failed. It may fail too: the log is read-only either way,
/// and there is nobody left to tell but the journal.
pub(super) fn mark_sync_failed(storage: &dyn Storage, dir: &Path) {
    if let Err(error) = storage.open(&dir.join(SYNC_FAILED_FILE), true) {
        tracing::error!(dir = %dir.display(), %error, "can't record that a sync failed");
    }
}

pub(super) fn store_recovery_point(
    shared: &Shared,
    partition: &TopicPartition,
    offset: i64,
) -> io::Result<()> {
    RecoveryPoint { partition: partition.clone(), offset }.store(&*shared.storage, &shared.dir)
}

fn ignore_absent(result: io::Result<()>) -> io::Result<()> {
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

/// Builds a segment's indexes from its batches, stopping at the first that is not one.
pub(super) fn rebuild_indexes(segment: &Segment, interval: u64) -> io::Result<()> {
    let mut indexes = Indexes::empty(segment.base_offset);
    let mut scanner = segment.scan(0, CHUNK);
    let mut since_index = 0;
    let mut at = 0;
    while let Step::Batch(batch) = scanner.next()? {
        let indexed = since_index > interval;
        indexes.note(batch.header(), at, indexed);
        since_index = if indexed { 0 } else { since_index } + batch.header().size() as u64;
        at = scanner.position();
    }
    *segment.write_indexes() = indexes;
    Ok(())
}

fn copy(
    storage: &dyn Storage,
    from: &Path,
    to: &Path,
    range: std::ops::Range<u64>,
) -> io::Result<()> {
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
