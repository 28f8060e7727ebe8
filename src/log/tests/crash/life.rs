//! One life of a log, and the memory of all that it promised.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use crate::log::tests::parts::{Content, Dice, Rec, batch, opening, small};
use crate::log::{Append, AppendError, Log, LogConfig};
use crate::record::Timestamp;
use crate::storage::SimDisk;
use crate::storage::sim::{Fault, Lie};

/// What kind of lives.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Plan {
    pub(super) faults: bool,
    pub(super) lie: Option<Lie>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Crash {
    Process,
    Power,
}

/// A step that a crash, or an injected fault, has ended.
#[derive(Debug)]
pub(super) struct Ended;

pub(super) type Step = Result<(), Ended>;

pub(super) struct Life {
    pub(super) plan: Plan,
    pub(super) dice: Dice,
    pub(super) disk: SimDisk,
    pub(super) config: LogConfig,
    pub(super) log: Option<Log>,
    pub(super) next_id: u64,
    /// Every record that was ever handed to an append, by offset and epoch it would have got.
    pub(super) written: HashMap<(i64, i32), Vec<Rec>>,
    /// Every record that was ever visible.
    pub(super) seen: HashMap<(i64, i32), Rec>,
    /// What the log held when readers stood in it, and where they stood.
    pub(super) readers: Vec<(Rc<Content>, i64)>,
    /// Acknowledged, and not truncated.
    pub(super) acked: BTreeMap<i64, (i32, Rec)>,
    /// Below it everything is known to be durable, whatever the promise.
    pub(super) durable_end: i64,
    /// Retention may have removed what is below.
    pub(super) removed_below: i64,
    /// Where the start was moved to: whoever opens the log says so.
    pub(super) log_start: i64,
    /// A truncation that was under way: what is behind it may be there or not.
    pub(super) cutting: Option<i64>,
    /// A sync failed, and so did the note of it: until power is lost, what is read may not be on
    /// the disk, and nobody can tell.
    pub(super) doubt: bool,
    pub(super) trace: Vec<String>,
}

impl Life {
    pub(super) fn new(seed: u64, plan: Plan) -> Self {
        let mut dice = Dice::new(seed);
        let config = LogConfig {
            segment_bytes: dice.between(1000, 4000) as u64,
            index_interval_bytes: dice.below(400),
            sync_before_visible: dice.one_in(2),
            ..small()
        };
        let disk = SimDisk::new(seed);
        plan.lie.into_iter().for_each(|lie| disk.set_lie(lie));
        Life {
            plan,
            dice,
            disk,
            config,
            log: None,
            next_id: 0,
            written: HashMap::new(),
            seen: HashMap::new(),
            readers: Vec::new(),
            acked: BTreeMap::new(),
            durable_end: 0,
            removed_below: 0,
            log_start: 0,
            cutting: None,
            doubt: false,
            trace: Vec::new(),
        }
    }

    /// Works and crashes a few times; every two crashes in a row are of any two kinds.
    pub(super) fn live(mut self) {
        self.open(Crash::Process);
        for _ in 0..self.dice.between(2, 4) {
            self.work();
            let crash = self.crash();
            self.open(crash);
            if self.dice.one_in(3) {
                // Nothing was done since: what is served must be there after any crash.
                let crash = self.crash();
                self.open(crash);
            }
        }
    }

    pub(super) fn log(&mut self) -> &mut Log {
        self.log.as_mut().expect("it is open")
    }

    pub(super) fn note(&mut self, text: String) {
        self.trace.push(text);
    }

    pub(super) fn check(&self, good: bool, what: impl FnOnce() -> String) {
        if !good {
            let promise = if self.config.sync_before_visible { "power" } else { "process" };
            panic!("{}\npromise: {promise}\n{}", what(), self.trace.join("\n"));
        }
    }

    /// Random steps, until a crash ends them.
    fn work(&mut self) {
        match self.plan.faults {
            true => {
                for _ in 0..self.dice.between(0, 2) {
                    self.plan_fault(120);
                }
            }
            false if self.dice.one_in(8) => {}
            false => self.disk.crash_after(self.dice.below(120)),
        }
        for _ in 0..self.dice.between(3, 25) {
            if self.step().is_err() {
                return;
            }
        }
    }

    pub(super) fn plan_fault(&mut self, within: u64) {
        let faults = [Fault::Eio, Fault::Enospc, Fault::ShortWrite, Fault::SyncFailsOnce];
        let fault = faults[self.dice.below(4) as usize];
        let at = self.disk.calls() + 1 + self.dice.below(within);
        self.note(format!("at call {at}: {fault:?}"));
        self.disk.fail_at(at, fault);
    }

    fn step(&mut self) -> Step {
        match self.dice.below(20) {
            0..12 => self.append(),
            12 => self.roll(),
            13 | 14 => self.checkpoint(),
            15 => self.retain(),
            16 => self.advance_start(),
            17 if self.dice.one_in(2) => self.truncate(),
            18 if self.dice.one_in(3) => self.close_and_open(),
            _ => self.look(),
        }
    }

    fn new_record(&mut self) -> Rec {
        self.next_id += 1;
        let len = if self.dice.one_in(10) { 150 } else { self.dice.below(60) as usize };
        let timestamp = 1_000 + self.dice.below(10_000) as i64;
        Rec { id: self.next_id, len, timestamp }
    }

    fn append(&mut self) -> Step {
        let mut group = Vec::new();
        let mut records = Vec::new();
        for _ in 0..self.dice.between(1, 4) {
            let count = self.dice.between(1, 4);
            let of_batch: Vec<Rec> = (0..count).map(|_| self.new_record()).collect();
            group.push(Append::new(batch(&of_batch)));
            records.push(of_batch);
        }
        let (mut offset, epoch) = (self.log().log_end_offset(), self.log().leader_epoch);
        self.note(format!("append {} batches at {offset}, epoch {epoch}", group.len()));
        self.remember_written(&records, offset, epoch);
        self.log().append(&mut group, Timestamp::NONE);
        let sync = self.config.sync_before_visible || self.dice.one_in(6);
        let synced = if sync { self.log().sync() } else { Ok(()) };
        let visible = self.log().publish();
        let mut result = self.judge(&synced);
        for (of_batch, appended) in records.iter().zip(group) {
            match appended.result.expect("every batch gets a result") {
                Ok(appended) => {
                    self.check(appended.base_offset == offset, || "not dense".into());
                    offset += of_batch.len() as i64;
                    if offset <= visible {
                        self.acknowledge(appended.base_offset, epoch, of_batch);
                    }
                }
                Err(error) => result = result.and(self.judge(&Err(error))),
            }
        }
        if sync && result.is_ok() {
            self.is_durable(offset);
        }
        result
    }

    /// A batch that fails leaves its offsets to the next one, or is in the file all the same.
    fn remember_written(&mut self, records: &[Vec<Rec>], offset: i64, epoch: i32) {
        let mut starts = vec![offset];
        for of_batch in records {
            for start in starts.clone() {
                for (at, record) in (start..).zip(of_batch) {
                    self.written.entry((at, epoch)).or_default().push(*record);
                }
                starts.push(start + of_batch.len() as i64);
            }
        }
    }

    fn acknowledge(&mut self, base_offset: i64, epoch: i32, records: &[Rec]) {
        for (i, record) in records.iter().enumerate() {
            let offset = base_offset + i as i64;
            self.acked.insert(offset, (epoch, *record));
            let earlier = self.seen.insert((offset, epoch), *record);
            self.check(earlier.is_none(), || format!("{offset} in epoch {epoch} given twice"));
        }
    }

    /// Whether work goes on: after a full disk it does.
    fn judge(&mut self, result: &Result<(), AppendError>) -> Step {
        let Err(error) = result else { return Ok(()) };
        self.note(format!("error: {error}"));
        let read_only = self.log().failure().is_some();
        self.doubt |= read_only && !self.is_marked();
        match error {
            AppendError::StorageFull { .. } if !read_only => Ok(()),
            _ => {
                self.check(read_only, || "it failed and goes on".into());
                Err(Ended)
            }
        }
    }

    /// Notes that a sync has come so far.
    pub(super) fn is_durable(&mut self, end: i64) {
        if !self.doubt {
            self.durable_end = self.durable_end.max(end);
        }
    }

    /// Whether a sync's failure is written down.
    pub(super) fn is_marked(&self) -> bool {
        self.disk.paths().contains(&PathBuf::from("t-0/sync-failed"))
    }

    fn roll(&mut self) -> Step {
        self.note("roll".into());
        let result = self.log().roll_now();
        self.judge(&result)
    }

    fn checkpoint(&mut self) -> Step {
        self.note("checkpoint".into());
        let plan = match self.log().checkpoint() {
            Ok(Some(plan)) => plan,
            Ok(None) => return Ok(()),
            Err(error) => return self.judge(&Err(error)),
        };
        let end = self.log().log_end_offset();
        let late = self.dice.one_in(3);
        if late {
            self.append()?;
        }
        let done = plan.run();
        if late && self.dice.one_in(2) {
            self.append()?;
        }
        let good = done.is_ok();
        let result = self.log().checkpointed(done);
        self.judge(&result)?;
        if good {
            self.is_durable(end);
        }
        Ok(())
    }

    fn retain(&mut self) -> Step {
        let limit = self.dice.below(6000);
        let now = self.dice.between(0, 30_000);
        let mut config = self.config.clone();
        match self.dice.one_in(2) {
            true => config.retention_bytes = Some(limit),
            false => config.retention = Some(std::time::Duration::from_millis(5_000)),
        }
        let segments = self.log().shared.segments().clone();
        let mut size: u64 = segments.iter().map(|segment| segment.size()).sum();
        let mut kept = segments.iter().skip_while(|segment| {
            let by_size =
                config.retention_bytes.is_some_and(|limit| size - segment.size() >= limit);
            size -= segment.size();
            let by_time = config.retention.is_some()
                && segment.max_timestamp().is_some_and(|max| max.timestamp < now - 5_000);
            by_size || by_time
        });
        let end = self.log().log_end_offset();
        let bound = kept.next().map_or(end, |segment| segment.base_offset);
        self.note(format!("retain: below {bound} may go"));
        self.removed_below = self.removed_below.max(bound);
        self.log().configure(config);
        let result = self.log().enforce_retention(Timestamp::from_millis(now)).map(|_| ());
        let usual = self.config.clone();
        self.log().configure(usual);
        self.judge(&result)
    }

    fn advance_start(&mut self) -> Step {
        let (start, end) = (self.log().reader().log_start_offset(), self.log().publish());
        let to = self.dice.between(start, end);
        self.note(format!("advance start to {to}"));
        self.removed_below = self.removed_below.max(to);
        // Whoever asks for it writes it down first.
        self.log_start = self.log_start.max(to);
        let result = self.log().advance_log_start(to);
        self.judge(&result)
    }

    fn truncate(&mut self) -> Step {
        let (start, end) = (self.log().reader().log_start_offset(), self.log().log_end_offset());
        let to = self.dice.between(start, end);
        self.look()?;
        self.note(format!("truncate to {to}"));
        // The batch that holds it goes too.
        let lowest = to - 4;
        self.acked.split_off(&lowest.max(0));
        self.durable_end = self.durable_end.min(lowest.max(0));
        self.cutting = Some(lowest);
        let result = self.log().truncate(to);
        self.judge(&result)?;
        self.cutting = None;
        let new_end = self.log().log_end_offset();
        self.check(new_end <= to && new_end >= lowest.min(to), || format!("cut to {new_end}"));
        self.look()
    }

    fn close_and_open(&mut self) -> Step {
        self.note("close".into());
        let end = self.log().log_end_offset();
        let result = self.log().close();
        self.judge(&result)?;
        self.is_durable(end);
        let before = Content::of(&self.log().reader(), 1000).map_err(|_| Ended)?;
        let storage = Arc::new(self.disk.process());
        let log_start_offset = self.log_start;
        let opening = opening(storage, self.config.clone());
        let clean = crate::log::Opening { clean: true, log_start_offset, ..opening };
        match Log::open(clean) {
            Ok((log, report)) => {
                self.check(report.is_clean(), || format!("{report:?}"));
                self.log = Some(log);
                let after = Content::of(&self.log().reader(), 1000).map_err(|_| Ended)?;
                // What nobody had published is visible now.
                self.check(after.start == before.start && after.end == end, || {
                    format!("{}..{} is now {}..{}", before.start, end, after.start, after.end)
                });
                self.look()
            }
            Err(_) => Err(Ended),
        }
    }

    pub(super) fn crash(&mut self) -> Crash {
        let crash = if self.dice.one_in(2) { Crash::Process } else { Crash::Power };
        self.note(format!("crash: {crash:?}"));
        match crash {
            Crash::Process => self.disk.crash_process(),
            Crash::Power => self.disk.crash_power(),
        }
        crash
    }
}
