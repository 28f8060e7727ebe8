//! The work: gathers the keys, then writes what stays. Touches no live file but to read it.

use std::collections::BTreeSet;
use std::io;
use std::sync::atomic::Ordering;

use bytes::BytesMut;

use crate::batch::{
    self, Batch, Compression, DEFAULT_MAX_DECOMPRESSED_BYTES, Retained, put_emptied,
};
use crate::log::checkpoint::CleanerOffset;
use crate::log::recovery;
use crate::log::scan::{Step, Walk};

use super::keys::{Ahead, KeyOffsets, MAX_KEY_BYTES};
use super::output::{Output, Stage};
use super::swap::{Compaction, Part, remove_stage};
use super::{CompactionOptions, CompactionPlan, CompactionStats};

/// How much is read at a time.
const CHUNK: usize = 1 << 20;

impl CompactionPlan {
    /// Reads the segments and writes what is left of them to new files, durably. Takes as long as
    /// that takes; appends, reads, retention and truncation may go on. `None` if the segments are
    /// no longer the log's. An error has changed nothing.
    pub fn run(self, options: CompactionOptions) -> io::Result<Option<Compaction>> {
        let shared = self.shared.clone();
        let done = Work::new(&self, options).and_then(Work::finish);
        let valid = self.still_holds();
        match done {
            Ok((parts, stats, hidden_from)) if valid => {
                Ok(Some(Compaction { plan: self, parts, stats, hidden_from }))
            }
            done => {
                // What stays behind is removed by the next run, or the next open.
                let _ = remove_stage(&*shared.storage, &shared.dir, Stage::Cleaned);
                if valid { done.map(|_| None) } else { Ok(None) }
            }
        }
    }

    /// Whether the segments are still the log's, uncut, and nobody wants it to stop.
    pub fn still_holds(&self) -> bool {
        !self.running.load(Ordering::Relaxed)
            && self.shared.truncations.load(Ordering::Acquire) == self.truncations
            && self.sources.iter().all(|segment| segment.is_live())
    }

    /// The offset at which the next segment begins, or behind the last one.
    fn end_of(&self, index: usize) -> i64 {
        self.sources.get(index + 1).map_or(self.end, |next| next.base_offset)
    }

    /// Walks one of the sources, of this index.
    fn walk(&self, index: usize, offset: i64) -> io::Result<Walk<'_>> {
        let walk = Walk::to(&self.sources[index], offset, CHUNK)?;
        Ok(walk.up_to(self.end_of(index)).verifying(self.shared.verify))
    }

    fn next(&self, walk: &mut Walk<'_>) -> io::Result<Step> {
        if self.running.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        walk.next(|header| self.shared.belongs(header))
    }
}

/// The batch with records that can be read. `None` if they can't be, or not whether they count.
fn look_into(batch: &Batch) -> Option<Batch> {
    let header = batch.header();
    if header.record_count > 0 && header.is_transactional() {
        return None;
    }
    batch.expanded(DEFAULT_MAX_DECOMPRESSED_BYTES).ok()
}

/// Adds what is kept of a batch, compressed as the batch was. False if that is too long.
fn put_retained(
    retained: &Retained,
    (batch, expanded): (&Batch, &Batch),
    horizon: Option<i64>,
    to: &mut BytesMut,
) -> bool {
    let header = batch.header();
    let is_whole = retained.kept() == header.record_count && horizon.is_none();
    if is_whole || header.compression() == Compression::None {
        return retained.write(batch, horizon, to);
    }
    let mut plain = BytesMut::new();
    if !retained.write(expanded, horizon, &mut plain) {
        return false;
    }
    let compressed = batch::compress(&plain, header.compression());
    compressed.is_ok_and(|bytes| {
        to.extend_from_slice(&bytes);
        true
    })
}

/// A compaction under way.
struct Work<'a> {
    plan: &'a CompactionPlan,
    keys: KeyOffsets,
    /// Keys were gathered up to here.
    gathered_end: i64,
    /// Sources, by index, that stay as they are.
    untouched: BTreeSet<usize>,
    /// The first offset of what can't be looked at.
    hidden_from: Option<i64>,
    records_removed: u64,
    retained: Retained,
}

/// What a group of sources becomes, and the index of the source behind it.
type Group = (Part, usize);

impl<'a> Work<'a> {
    fn new(plan: &'a CompactionPlan, options: CompactionOptions) -> io::Result<Self> {
        let mut work = Work {
            plan,
            keys: KeyOffsets::new(options.key_bytes, options.seed),
            gathered_end: plan.end,
            untouched: BTreeSet::new(),
            hidden_from: plan.hidden_from,
            records_removed: 0,
            retained: Retained::default(),
        };
        // Were one left lying, a crash would take what is now to be written for incomplete.
        remove_stage(&*plan.shared.storage, &plan.shared.dir, Stage::Cleaned)?;
        work.gather()?;
        Ok(work)
    }

    /// Gathers the keys from the first dirty offset on, as many as fit.
    fn gather(&mut self) -> io::Result<()> {
        for (index, segment) in self.plan.sources.iter().enumerate() {
            let end = self.plan.end_of(index);
            if end <= self.plan.first_dirty {
                continue;
            }
            let mut walk = self.plan.walk(index, self.plan.first_dirty)?;
            loop {
                match self.plan.next(&mut walk)? {
                    Step::Batch(batch) if batch.header().is_control() => {}
                    Step::Batch(batch) => {
                        let batch = look_into(&batch);
                        if let Some(offset) = batch.and_then(|batch| self.gather_from(&batch)) {
                            self.gathered_end = offset;
                            return Ok(());
                        }
                    }
                    Step::Bad => {
                        self.hide(segment.base_offset);
                        walk.pass_bad(end, |header| self.plan.shared.belongs(header))?;
                    }
                    Step::End => break,
                }
            }
        }
        Ok(())
    }

    /// The offset of the first record whose key finds no room. Behind a record that can't be read
    /// there is nothing more in a batch; those before it will stay where they are.
    fn gather_from(&mut self, batch: &Batch) -> Option<i64> {
        let mut ahead = Ahead::new(batch);
        for record in batch.records() {
            let Ok(record) = record else { return None };
            let hash = ahead.next(&self.keys);
            if let Some(key) = record.key
                && record.offset >= self.plan.first_dirty
                && !self.keys.put(key, hash, record.offset)
            {
                return Some(record.offset);
            }
        }
        None
    }

    /// Writes all groups, and what has to be durable beside them.
    fn finish(mut self) -> io::Result<(Vec<Part>, CompactionStats, Option<i64>)> {
        let (plan, mut parts) = (self.plan, Vec::new());
        let mut from = 0;
        // A segment that begins behind what was gathered has nothing to give.
        let behind = plan.sources.partition_point(|it| it.base_offset < self.gathered_end);
        while from < behind {
            let (part, next) = self.write_part(from, behind)?;
            parts.push(part);
            from = next;
        }
        let first_dirty_offset = plan.first_dirty.max(self.gathered_end);
        let shared = &plan.shared;
        if shared.verify {
            self.sync_untouched()?;
            let offset = first_dirty_offset.min(self.hidden_from.unwrap_or(i64::MAX));
            CleanerOffset { partition: plan.partition.clone(), offset }
                .write(&*shared.storage, &Stage::Cleaned.of(&CleanerOffset::path(&shared.dir)))?;
            shared.storage.sync_dir(&shared.dir)?;
        }
        let stats = CompactionStats {
            segments_before: behind,
            segments_after: parts.len(),
            bytes_before: plan.sources[..behind].iter().map(|source| source.size()).sum(),
            bytes_after: parts.iter().map(Part::size).sum(),
            records_removed: self.records_removed,
            first_dirty_offset,
            complete: self.gathered_end >= plan.end,
        };
        Ok((parts, stats, self.hidden_from))
    }

    /// What replaces the others may rest on what is in these.
    fn sync_untouched(&self) -> io::Result<()> {
        for index in &self.untouched {
            let segment = &self.plan.sources[*index];
            if let Err(error) = segment.sync()
                && segment.is_live()
            {
                recovery::mark_sync_failed(&*self.plan.shared.storage, &self.plan.shared.dir);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Writes one new segment, from as many sources as go into it.
    fn write_part(&mut self, from: usize, behind: usize) -> io::Result<Group> {
        loop {
            let before = (self.hidden_from, self.records_removed);
            match self.try_part(from, behind)? {
                Ok(group) => return Ok(group),
                // Begin again, without the one that can't be rewritten.
                Err(index) => {
                    (self.hidden_from, self.records_removed) = before;
                    self.untouched.insert(index);
                }
            }
        }
    }

    /// As [`write_part`](Self::write_part); `Err` says which source must stay as it is.
    fn try_part(&mut self, from: usize, behind: usize) -> io::Result<Result<Group, usize>> {
        let sources = &self.plan.sources;
        let first = &sources[from];
        if self.untouched.contains(&from) || first.size() == 0 {
            if self.untouched.contains(&from) {
                self.hide(first.base_offset);
            }
            self.untouched.insert(from);
            return Ok(Ok((Part::Kept(first.clone()), from + 1)));
        }
        let mut output = Output::create(self.plan, first.base_offset)?;
        let mut index = from;
        loop {
            if !self.pour(index, &mut output)? {
                output.discard()?;
                return Ok(Err(index));
            }
            index += 1;
            let joins = index < behind
                && !self.untouched.contains(&index)
                && output.has_room_for(&sources[index], self.plan.end_of(index));
            if !joins {
                let part = Part::Fresh { fresh: output.finish()?, sources: from..index };
                return Ok(Ok((part, index)));
            }
        }
    }

    /// Adds what is left of a segment. False if it must stay as it is: it is damaged, or would
    /// become too large.
    fn pour(&mut self, index: usize, output: &mut Output<'_>) -> io::Result<bool> {
        let mut walk = self.plan.walk(index, self.plan.sources[index].base_offset)?;
        loop {
            let poured = match self.plan.next(&mut walk)? {
                Step::Batch(batch) => self.pour_batch(&batch, output)?,
                Step::Bad => false,
                Step::End => return Ok(true),
            };
            if !poured {
                return Ok(false);
            }
        }
    }

    fn pour_batch(&mut self, batch: &Batch, output: &mut Output<'_>) -> io::Result<bool> {
        let header = batch.header();
        let as_it_is = |to: &mut BytesMut| {
            to.extend_from_slice(batch.bytes());
            true
        };
        if header.is_control() {
            return output.add(as_it_is);
        }
        let mut retained = std::mem::take(&mut self.retained);
        let readable = look_into(batch);
        let selected = readable.as_ref().and_then(|it| self.select(it, &mut retained));
        let expanded = readable.as_ref().unwrap_or(batch);
        let added = match selected {
            None => {
                self.hide(header.base_offset);
                output.add(as_it_is)
            }
            Some(_) if retained.kept() == 0 => {
                self.records_removed += header.record_count as u64;
                let producer = (header.producer_id, header.last_offset());
                match header.has_producer_id() && self.plan.producers.contains(&producer) {
                    true => output.add(|to| {
                        put_emptied(header, to);
                        true
                    }),
                    false => {
                        output.pass(header);
                        Ok(true)
                    }
                }
            }
            Some(horizon) => {
                self.records_removed += (header.record_count - retained.kept()) as u64;
                output.add(|to| put_retained(&retained, (batch, expanded), horizon, to))
            }
        };
        self.retained = retained;
        added
    }

    /// Finds out which records stay, and the delete horizon that is to be set, if any. `None` if
    /// not all records can be read.
    fn select(&self, batch: &Batch, retained: &mut Retained) -> Option<Option<i64>> {
        let horizon = batch.header().delete_horizon();
        let due = horizon.is_some_and(|horizon| horizon <= self.plan.now_ms)
            && self.hidden_from.is_none_or(|from| from >= batch.header().next_offset());
        let mut has_tombstone = false;
        let mut ahead = Ahead::new(batch);
        let selected = retained.select(batch, |record| {
            let hash = ahead.next(&self.keys);
            if record.offset >= self.gathered_end {
                return true;
            }
            let Some(key) = record.key else { return false };
            if key.len() > MAX_KEY_BYTES {
                return true;
            }
            if self.keys.last_offset(key, hash).is_some_and(|last| record.offset < last) {
                return false;
            }
            let tombstone = record.value.is_none();
            has_tombstone |= tombstone;
            !(tombstone && due)
        });
        selected.ok()?;
        let sets = has_tombstone && horizon.is_none();
        Some(sets.then(|| self.plan.now_ms.saturating_add(self.plan.delete_retention_ms)))
    }

    fn hide(&mut self, offset: i64) {
        self.hidden_from = Some(self.hidden_from.map_or(offset, |from| from.min(offset)));
    }
}
