//! A compacted partition through crashes at any call of the storage: the sibling of `tests/crash`.
//!
//! A seed makes a life: appends of a few keys, rolls, checkpoints, truncations, retention and
//! compactions, whose three steps lie apart; a crash of the process or a loss of power somewhere;
//! an open that may be crashed too; and so on. What is then wanted:
//!
//! * what was acknowledged is there, as it was, unless a later record of its key that is also there
//!   or was rightly deleted took its place, in a part of the log that was to be compacted;
//! * a tombstone goes only when it is due, and nothing of its key is left before it;
//! * what a reader once found compacted away never comes back;
//! * producers' last sequences are known, also to a log that has to be read from its start;
//! * the offsets have no hole; lookups by time find what is there.
//!
//! `OTTLA_SEED=n` runs one life, `OTTLA_LIVES=n` so many of each kind.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use super::parts::{Content, Keyed, batches, builder, compacting, content};
use crate::log::tests::parts::{Dice, opening};
use crate::log::tests::sabotage::{Broken, SWAP_AT_ONCE};
use crate::log::{
    Append, AppendError, CleanupPolicy, CompactionError, CompactionOptions, Log, LogConfig, Opening,
};
use crate::record::Timestamp;
use crate::storage::sim::{Fault, Lie};
use crate::storage::{SimDisk, Storage};

#[derive(Debug, Clone, Copy, Default)]
struct Plan {
    faults: bool,
    lie: Option<Lie>,
}

/// A step that a crash, or an injected fault, has ended.
#[derive(Debug)]
struct Ended;

type Step = Result<(), Ended>;

struct Life {
    plan: Plan,
    dice: Dice,
    disk: SimDisk,
    config: LogConfig,
    log: Option<Log>,
    now: i64,
    next_value: u64,
    /// All that was ever handed to an append, by offset and epoch it would have got.
    written: HashMap<(i64, i32), Vec<Keyed>>,
    /// Acknowledged, not truncated: also what was compacted away since.
    acked: BTreeMap<i64, (i32, Keyed)>,
    /// Of the acknowledged ones, those that a reader has found gone.
    gone: BTreeSet<i64>,
    /// Those that may be gone for other reasons: removed, or what superseded them was truncated.
    pardoned: BTreeSet<i64>,
    /// The batches of producers among the acknowledged: last offset, producer.
    produced: BTreeMap<i64, i64>,
    /// Next sequence of each producer, as it believes.
    sequences: BTreeMap<i64, i32>,
    /// Compactions that were tried: up to which offset, and when.
    attempts: Vec<(i64, i64)>,
    durable_end: i64,
    removed_below: i64,
    log_start: i64,
    /// Records from here on may be gone by a truncation that did not come to its end.
    cutting: Option<i64>,
    /// A sync failed and could not be noted: until power is lost, nobody knows what is durable.
    doubt: bool,
    trace: Vec<String>,
}

impl Life {
    fn new(seed: u64, plan: Plan) -> Self {
        let mut dice = Dice::new(seed);
        let policy = match dice.one_in(3) {
            true => CleanupPolicy::CompactDelete,
            false => CleanupPolicy::Compact,
        };
        let config = LogConfig {
            segment_bytes: dice.between(600, 2500) as u64,
            index_interval_bytes: dice.below(400),
            sync_before_visible: dice.one_in(2),
            cleanup_policy: policy,
            ..compacting()
        };
        let disk = SimDisk::new(seed);
        plan.lie.into_iter().for_each(|lie| disk.set_lie(lie));
        Life {
            plan,
            dice,
            disk,
            config,
            log: None,
            now: 10_000,
            next_value: 0,
            written: HashMap::new(),
            acked: BTreeMap::new(),
            gone: BTreeSet::new(),
            pardoned: BTreeSet::new(),
            produced: BTreeMap::new(),
            sequences: BTreeMap::new(),
            attempts: Vec::new(),
            durable_end: 0,
            removed_below: 0,
            log_start: 0,
            cutting: None,
            doubt: false,
            trace: Vec::new(),
        }
    }

    fn live(mut self) {
        self.open(false);
        for _ in 0..self.dice.between(2, 3) {
            self.work();
            let power = self.crash();
            self.open(power);
            if self.dice.one_in(3) {
                let power = self.crash();
                self.open(power);
            }
        }
    }

    fn log(&mut self) -> &mut Log {
        self.log.as_mut().expect("it is open")
    }

    fn note(&mut self, text: String) {
        self.trace.push(text);
    }

    fn check(&self, good: bool, what: impl FnOnce() -> String) {
        if !good {
            let (what, trace) = (what(), self.trace.join("\n"));
            panic!("{what}\npower: {}\n{trace}", self.config.sync_before_visible);
        }
    }

    fn work(&mut self) {
        match self.plan.faults {
            true => (0..self.dice.below(3)).for_each(|_| self.plan_fault(150)),
            false if self.dice.one_in(8) => {}
            false => self.disk.crash_after(self.dice.below(220)),
        }
        for _ in 0..self.dice.between(4, 18) {
            if self.step().is_err() {
                return;
            }
        }
    }

    fn plan_fault(&mut self, within: u64) {
        let faults = [Fault::Eio, Fault::Enospc, Fault::ShortWrite, Fault::SyncFailsOnce];
        let fault = faults[self.dice.below(4) as usize];
        let at = self.disk.calls() + 1 + self.dice.below(within);
        self.note(format!("at call {at}: {fault:?}"));
        self.disk.fail_at(at, fault);
    }

    fn step(&mut self) -> Step {
        self.now += self.dice.between(0, 900);
        match self.dice.below(24) {
            0..12 => self.append(),
            12 | 13 => self.roll(),
            14 => self.checkpoint(),
            15..20 => self.compact(),
            20 if self.dice.one_in(2) => self.retain(),
            21 if self.dice.one_in(3) => self.truncate(),
            22 if self.dice.one_in(2) => self.close_and_open(),
            _ => self.look(),
        }
    }

    fn new_record(&mut self) -> Keyed {
        self.next_value += 1;
        let key = format!("k{}", self.dice.below(6));
        let padding = "v".repeat(self.dice.below(50) as usize);
        let value = (!self.dice.one_in(4)).then(|| format!("{}{padding}", self.next_value));
        Keyed { key, value, timestamp: self.now - self.dice.below(2_000) as i64 }
    }

    fn append(&mut self) -> Step {
        let (first, epoch) = (self.log().log_end_offset(), self.log().leader_epoch);
        // Each producer goes on behind what is in the log.
        self.sequences = self.log().producers.producers.iter().map(next_sequence).collect();
        let (mut group, mut records, mut starts) = (Vec::new(), Vec::new(), vec![first]);
        for _ in 0..self.dice.between(1, 3) {
            let count = self.dice.between(1, 3);
            let of_batch: Vec<Keyed> = (0..count).map(|_| self.new_record()).collect();
            let mut batch = builder(&of_batch);
            let producer = self.dice.below(4) as i64;
            if producer < 2 {
                let next = self.sequences.entry(producer).or_insert(0);
                batch.set_producer(producer, 0, *next);
                *next += count as i32;
            }
            group.push(Append::new(batch.finish()));
            for start in starts.clone() {
                for (at, record) in (start..).zip(&of_batch) {
                    self.written.entry((at, epoch)).or_default().push(record.clone());
                }
                starts.push(start + count);
            }
            records.push((of_batch, producer));
        }
        self.note(format!("append {} batches at {first}, epoch {epoch}", group.len()));
        let now = Timestamp::from_millis(self.now);
        self.log().append(&mut group, now);
        let sync = self.config.sync_before_visible || self.dice.one_in(6);
        let synced = if sync { self.log().sync() } else { Ok(()) };
        let visible = self.log().publish();
        let mut result = self.judge(&synced);
        for ((of_batch, producer), appended) in records.into_iter().zip(group) {
            match appended.result.expect("every batch gets a result") {
                // What a producer that was forgotten begins anew may be taken for a copy.
                Ok(appended) if appended.base_offset < first => {}
                Ok(appended) if appended.last_offset < visible => {
                    let offsets = appended.base_offset..;
                    let records = of_batch.into_iter().map(|record| (epoch, record));
                    self.acked.extend(offsets.zip(records));
                    if producer < 2 {
                        self.produced.insert(appended.last_offset, producer);
                    }
                }
                Ok(_) => {}
                Err(error) => result = result.and(self.judge(&Err(error))),
            }
        }
        if sync && result.is_ok() {
            self.is_durable();
        }
        result
    }

    /// Whether work goes on: after a full disk it does.
    fn judge(&mut self, result: &Result<(), AppendError>) -> Step {
        let Err(error) = result else { return Ok(()) };
        self.note(format!("error: {error}"));
        let read_only = self.log().failure().is_some();
        self.doubt |= self.plan.faults && read_only && !self.is_marked();
        match error {
            AppendError::StorageFull { .. } if !read_only => Ok(()),
            // A batch before it failed.
            AppendError::Producer(_) => Ok(()),
            _ => {
                self.check(read_only, || "it failed and goes on".into());
                Err(Ended)
            }
        }
    }

    fn is_marked(&self) -> bool {
        self.disk.read_file("t-0/sync-failed").is_some()
    }

    fn is_durable(&mut self) {
        if !self.doubt {
            self.durable_end = self.durable_end.max(self.log().log_end_offset());
        }
    }

    fn roll(&mut self) -> Step {
        self.note("roll".into());
        let result = self.log().roll_now();
        self.judge(&result)
    }

    fn checkpoint(&mut self) -> Step {
        self.note("checkpoint".into());
        let end = self.log().log_end_offset();
        let plan = match self.log().checkpoint() {
            Ok(Some(plan)) => plan,
            Ok(None) => return Ok(()),
            Err(error) => return self.judge(&Err(error)),
        };
        // A compaction may be put in place while a checkpoint is under way.
        if self.dice.one_in(3) {
            self.compact()?;
        }
        let done = plan.run();
        let good = done.is_ok();
        let result = self.log().checkpointed(done);
        self.judge(&result)?;
        if good && !self.doubt {
            self.durable_end = self.durable_end.max(end.min(self.log().log_end_offset()));
        }
        Ok(())
    }

    fn compact(&mut self) -> Step {
        let (now, force) = (Timestamp::from_millis(self.now), !self.dice.one_in(3));
        let Ok(Some(plan)) = self.log().plan_compaction(now, force) else { return Ok(()) };
        let log = self.log();
        let end = log.log_end_offset();
        let end = log.active.as_ref().map_or(end, |active| active.segment.base_offset);
        self.note(format!("compaction of what is before {end}, at {}", self.now));
        self.attempts.push((end, self.now));
        self.meanwhile()?;
        let seed = self.dice.next();
        let done = plan.run(CompactionOptions { key_bytes: 0, seed });
        self.note(format!("ran: {:?}", done.as_ref().map(|it| it.is_some())));
        self.meanwhile()?;
        match self.log().compacted(done) {
            Ok(stats) => {
                self.note(format!("{stats:?}"));
                self.look()
            }
            Err(CompactionError::Failed(error)) => {
                self.note(format!("{error}"));
                self.look()
            }
            Err(error @ CompactionError::ReadOnly(_)) => {
                self.note(format!("{error}"));
                self.doubt |= self.plan.faults && !self.is_marked();
                Err(Ended)
            }
        }
    }

    fn meanwhile(&mut self) -> Step {
        match self.dice.below(12) {
            0 | 1 => self.append(),
            2 => self.roll(),
            3 => self.truncate(),
            4 => self.retain(),
            5 => self.look(),
            _ => Ok(()),
        }
    }

    fn retain(&mut self) -> Step {
        if self.dice.one_in(2) {
            let (start, end) = (self.log().reader().log_start_offset(), self.log().publish());
            let to = self.dice.between(start, start + (end - start) / 3);
            self.note(format!("advance start to {to}"));
            self.removed_below = self.removed_below.max(to);
            self.log_start = self.log_start.max(to);
            let result = self.log().advance_log_start(to);
            return self.judge(&result);
        }
        let retention_bytes = Some(1500 + self.dice.below(3000));
        if self.config.cleanup_policy.deletes() {
            // Any but the active segment may go.
            let end = self.log().publish();
            self.removed_below = self.removed_below.max(end);
        }
        self.note("retain".into());
        let usual = self.config.clone();
        self.log().configure(LogConfig { retention_bytes, ..usual.clone() });
        let now = Timestamp::from_millis(0);
        let result = self.log().enforce_retention(now).map(|_| ());
        self.log().configure(usual);
        if result.is_ok() {
            self.removed_below = self.log().reader().log_start_offset();
        }
        self.judge(&result)
    }

    fn truncate(&mut self) -> Step {
        let (start, end) = (self.log().reader().log_start_offset(), self.log().log_end_offset());
        let to = self.dice.between(start + (end - start) / 2, end);
        // The batch that holds it goes too, however many offsets that has.
        self.look()?;
        let bases = batches(&self.log().reader(), 500).map_err(|_| Ended)?;
        let holder = bases.iter().rfind(|it| it.header().base_offset <= to);
        let lowest = match to < end {
            true => holder.map_or(to, |it| it.header().base_offset).max(start),
            false => end,
        };
        self.note(format!("truncate to {to}, or {lowest}"));
        self.forget_from(lowest);
        self.pardoned.extend(&self.gone);
        // A producer's last batch may now be one that was emptied.
        self.produced.clear();
        self.durable_end = self.durable_end.min(lowest);
        self.cutting = Some(lowest);
        let result = self.log().truncate(to);
        self.judge(&result)?;
        self.cutting = None;
        let new_end = self.log().log_end_offset();
        self.check((lowest..=to).contains(&new_end), || format!("cut to {new_end}"));
        // What it had not reached is still there, and visible or not as it was.
        self.look()
    }

    fn forget_from(&mut self, offset: i64) {
        self.acked.split_off(&offset);
        self.gone.split_off(&offset);
        self.pardoned.split_off(&offset);
        self.produced.split_off(&offset);
    }

    fn close_and_open(&mut self) -> Step {
        self.note("close".into());
        let result = self.log().close();
        self.judge(&result)?;
        self.is_durable();
        self.try_open(true).map_err(|_| Ended)?;
        self.look()
    }

    fn crash(&mut self) -> bool {
        let power = self.dice.one_in(2);
        self.note(format!("crash: {}", if power { "power" } else { "process" }));
        match power {
            true => self.disk.crash_power(),
            false => self.disk.crash_process(),
        }
        power
    }

    /// Opens the log, perhaps after crashes on the way, and checks everything.
    fn open(&mut self, power: bool) {
        let mut worst = power;
        self.disk.crash_after(u64::MAX);
        for _ in 0..self.dice.below(3) {
            match self.plan.faults {
                true => self.plan_fault(30),
                false => self.disk.crash_after(self.dice.below(60)),
            }
            if self.try_open(false).is_ok() && self.dice.one_in(2) {
                break;
            }
            if !self.plan.faults || self.dice.one_in(2) {
                worst |= self.crash();
            }
        }
        self.disk.clear_faults();
        self.plan.lie.into_iter().for_each(|lie| self.disk.set_lie(lie));
        self.disk.crash_after(u64::MAX);
        if self.dice.one_in(6) {
            self.remove_snapshots();
        }
        if self.try_open(false).is_err() {
            self.check(false, || "open fails after a crash".into());
        }
        self.check_promises(worst);
    }

    /// The log has to tell all that they did.
    fn remove_snapshots(&mut self) {
        let (storage, dir) = (self.disk.process(), Path::new("t-0"));
        for entry in storage.list(dir).unwrap_or_default() {
            // A recovery point counts only beside its snapshot; another may come to stand there.
            if entry.name.ends_with(".snapshot") || entry.name.starts_with("recovery-point") {
                storage.remove_file(&dir.join(entry.name)).expect("no fault is planned");
            }
        }
        self.note("snapshots removed".into());
    }

    fn try_open(&mut self, clean: bool) -> std::io::Result<()> {
        let opening = opening(Arc::new(self.disk.process()), self.config.clone());
        let opened = Log::open(Opening { clean, log_start_offset: self.log_start, ..opening });
        match opened {
            Ok((log, report)) => {
                let (end, epoch) = (log.log_end_offset(), log.leader_epoch);
                let dirty = log.cleaner.first_dirty;
                self.note(format!("opened: end {end}, epoch {epoch}, dirty {dirty}, {report:?}"));
                let lost = report.lost.iter().any(|it| it.to > self.log_start);
                let known = !lost && report.foreign.is_empty();
                self.check(known || self.doubt, || "something is lost, or not known".into());
                self.log = Some(log);
                Ok(())
            }
            Err(error) => {
                self.note(format!("open: {error}"));
                self.doubt |=
                    self.plan.faults && error.to_string().starts_with("sync ") && !self.is_marked();
                Err(error)
            }
        }
    }

    fn check_promises(&mut self, power: bool) {
        let end = self.log().log_end_offset();
        let kept = self.config.sync_before_visible || !power;
        let promised = self.acked.last_key_value().map_or(0, |(last, _)| last + 1);
        let needed = if kept && !self.doubt { promised } else { self.durable_end };
        self.check(end >= needed.min(promised), || format!("ends at {end}, not {needed}"));
        if end < promised {
            // Who lost what was acknowledged has no place in its order any more.
            self.produced.clear();
        }
        self.forget_from(end);
        if self.cutting.take().is_some() {
            // Whether it was cut or not shows in what is there.
            self.durable_end = self.durable_end.min(end);
        }
        self.look().expect("no fault is planned");
        let producers = self.log().producers.last_offsets(0);
        for (last, producer) in &self.produced {
            let known = producers.iter().any(|(id, known)| id == producer && known >= last);
            self.check(known || *last < self.removed_below, || {
                format!("producer {producer} wrote {last}, known is {producers:?}")
            });
        }
        // What is served is durable, and so as good as acknowledged.
        let content = content(&self.log().reader(), 1000).expect("no fault is planned");
        for (offset, found) in content {
            self.acked.entry(offset).or_insert(found);
        }
        self.doubt &= !power;
        if !self.doubt {
            self.durable_end = end;
        }
    }

    /// Holds what the log shows against what was acknowledged.
    fn look(&mut self) -> Step {
        let max_bytes = 200 + self.dice.below(1500) as usize;
        let reader = self.log().reader();
        let found = content(&reader, max_bytes);
        if self.doubt {
            // Nobody knows what will be left: only what is not there now may be missing later.
            let content = found.map_err(|_| Ended)?;
            let missing = self.acked.keys().filter(|offset| !content.contains_key(offset));
            self.pardoned.extend(missing);
            return Ok(());
        }
        if let Err(error) = &found {
            let injected = error.to_string().contains("simulated");
            self.check(injected, || format!("reading: {error}"));
            return Err(Ended);
        }
        let content = found.map_err(|_| Ended)?;
        for (offset, (epoch, record)) in &content {
            let known =
                self.written.get(&(*offset, *epoch)).is_some_and(|all| all.contains(record));
            self.check(known, || format!("{offset} in epoch {epoch} was not written so"));
            self.check(!self.gone.contains(offset), || format!("{offset} is back"));
        }
        self.check_acked(&content);
        self.check_times(&content)
    }

    fn check_acked(&mut self, content: &Content) {
        let first = self.removed_below.max(self.log_start);
        let high_watermark = self.log().reader().high_watermark();
        // From the newest to the oldest: the last of each key, and whether it was deleted.
        let mut later: BTreeMap<&str, i64> = BTreeMap::new();
        let mut buried: BTreeSet<&str> = BTreeSet::new();
        let (mut gone, mut pardoned) = (Vec::new(), Vec::new());
        for (offset, (epoch, record)) in self.acked.range(..high_watermark).rev() {
            let there = content.get(offset);
            let text = || format!("{offset}: there is {there:?}, acknowledged was {record:?}");
            let key = record.key.as_str();
            match there {
                Some(found) => {
                    self.check(*found == (*epoch, record.clone()), text);
                    self.check(!buried.contains(key), || format!("deleted: {}", text()));
                }
                None if *offset < first => pardoned.push(*offset),
                None => {
                    let superseded = later.contains_key(key) && self.is_tried(*offset, 0);
                    let expired = record.value.is_none() && self.is_tried(*offset, 2_000);
                    let known = self.pardoned.contains(offset);
                    self.check(superseded || expired || known, text);
                    if record.value.is_none() && !later.contains_key(key) {
                        buried.insert(key);
                    }
                    gone.push(*offset);
                }
            }
            later.entry(key).or_insert(*offset);
        }
        self.gone.extend(gone);
        self.pardoned.extend(pardoned);
    }

    /// Whether a compaction was to look at this offset, and another so much later.
    fn is_tried(&self, offset: i64, later: i64) -> bool {
        let mut times = self.attempts.iter().filter(|(end, _)| *end > offset).map(|(_, at)| *at);
        let first = times.next();
        first.is_some_and(|first| later == 0 || times.any(|at| at >= first + later))
    }

    fn check_times(&mut self, content: &Content) -> Step {
        let reader = self.log().reader();
        for _ in 0..2 {
            let timestamp = self.dice.between(8_000, self.now);
            let found = reader.offset_for_timestamp(timestamp).map_err(|_| Ended)?;
            let wanted = content.iter().find(|(_, (_, record))| record.timestamp >= timestamp);
            let (found, wanted) = (found.map(|it| it.offset), wanted.map(|it| *it.0));
            self.check(found == wanted, || format!("by {timestamp}: {found:?}, not {wanted:?}"));
        }
        Ok(())
    }
}

fn next_sequence((id, producer): (&i64, &crate::log::producers::Producer)) -> (i64, i32) {
    (*id, producer.batches().last().map_or(0, |it| it.last_sequence + 1))
}

/// Runs lives; returns the seeds that failed, and why.
fn run(seeds: impl IntoIterator<Item = u64>, plan: Plan) -> Vec<(u64, String)> {
    let live = |seed| {
        let life = AssertUnwindSafe(|| Life::new(seed, plan).live());
        let error = catch_unwind(life).err()?;
        let text = error.downcast_ref::<String>().cloned();
        Some((seed, text.unwrap_or_else(|| "it panicked".into())))
    };
    seeds.into_iter().filter_map(live).collect()
}

fn check(count: u64, plan: Plan) {
    let asked = |name| std::env::var(name).ok().and_then(|number| number.parse::<u64>().ok());
    if let Some(seed) = asked("OTTLA_SEED") {
        Life::new(seed, plan).live();
        return;
    }
    let failed = run(0..asked("OTTLA_LIVES").unwrap_or(count), plan);
    let seeds: Vec<u64> = failed.iter().map(|(seed, _)| *seed).take(50).collect();
    assert!(failed.is_empty(), "{} seeds {seeds:?}, the first: {}", failed.len(), failed[0].1);
}

#[test]
fn compaction_survives_crashes() {
    check(2_000, Plan::default());
}

#[test]
fn compaction_survives_failing_disks() {
    check(700, Plan { faults: true, ..Plan::default() });
}

fn is_noticed(within: u64, plan: Plan) -> bool {
    (0..within).any(|seed| !run([seed], plan).is_empty())
}

#[test]
fn a_disk_that_lies_is_noticed() {
    for lie in [Lie::SyncDoesNothing, Lie::SyncDirDoesNothing] {
        assert!(is_noticed(100, Plan { lie: Some(lie), ..Plan::default() }), "{lie:?}");
    }
}

#[test]
fn a_swap_that_is_not_decided_on_first_is_noticed() {
    let _broken = Broken::by(&SWAP_AT_ONCE);
    assert!(is_noticed(2_000, Plan::default()));
}
