//! Opening a log after a crash, and all that is then held against it.

use std::io;
use std::rc::Rc;
use std::sync::Arc;

use super::life::{Crash, Ended, Life, Step};
use crate::log::tests::parts::{Content, Rec, opening};
use crate::log::{Log, Opening, ReadCursor, ReadError, Recovered};

impl Life {
    /// Opens the log, perhaps after crashes on the way, and checks everything.
    pub(super) fn open(&mut self, crash: Crash) {
        let mut worst = crash;
        self.disk.crash_after(u64::MAX);
        for _ in 0..self.dice.below(3) {
            match self.plan.faults {
                true => self.plan_fault(20),
                false => self.disk.crash_after(self.dice.below(50)),
            }
            if self.try_open().is_ok() && self.dice.one_in(2) {
                break;
            }
            if !self.plan.faults || self.dice.one_in(2) {
                let crash = self.crash();
                worst = if crash == Crash::Power { crash } else { worst };
            }
        }
        self.quiet();
        if self.try_open().is_err() {
            self.check(false, || "open fails after a crash".into());
        }
        self.check_promises(worst);
    }

    /// No more faults, but the lies go on.
    fn quiet(&mut self) {
        self.disk.clear_faults();
        self.plan.lie.into_iter().for_each(|lie| self.disk.set_lie(lie));
        self.disk.crash_after(u64::MAX);
    }

    fn try_open(&mut self) -> io::Result<Recovered> {
        let storage = Arc::new(self.disk.process());
        let log_start_offset = self.log_start;
        let opening = opening(storage, self.config.clone());
        let opened = Log::open(Opening { log_start_offset, ..opening });
        match opened {
            Ok((log, report)) => {
                let (end, epoch) = (log.log_end_offset(), log.leader_epoch);
                self.note(format!("opened: end {end}, epoch {epoch}, {report:?}"));
                self.log = Some(log);
                Ok(report)
            }
            Err(error) => {
                self.note(format!("open: {error}"));
                self.doubt |= error.to_string().starts_with("sync ") && !self.is_marked();
                Err(error)
            }
        }
    }

    pub(super) fn check_promises(&mut self, crash: Crash) {
        let kept = self.config.sync_before_visible || crash == Crash::Process;
        let needed = if kept && !self.doubt { i64::MAX } else { self.durable_end };
        let content = Content::of(&self.log().reader(), 1000).expect("no fault is planned");
        self.check(content.gaps.is_empty() || self.doubt, || format!("holes: {:?}", content.gaps));
        let first = self.removed_below.max(self.log_start);
        self.check(content.start <= first, || format!("starts at {}", content.start));
        for (offset, record) in self.acked.range(first..) {
            if *offset < needed {
                let found = content.records.get(offset);
                let text = || format!("{offset} is {found:?}, acknowledged was {record:?}");
                self.check(found == Some(record), text);
            }
        }
        self.acked.retain(|offset, _| *offset < content.end);
        for (offset, (epoch, record)) in &content.records {
            let written = self.written.get(&(*offset, *epoch));
            let known = written.is_some_and(|all| all.contains(record));
            self.check(known, || format!("{offset} in epoch {epoch} was not written so"));
        }
        if self.cutting.take().is_some() {
            self.acked.retain(|offset, record| content.records.get(offset) == Some(record));
        }
        self.look().expect("no fault is planned");
        // What is served is durable, and so as good as acknowledged.
        self.acked = content.records;
        self.doubt &= crash == Crash::Process;
        if !self.doubt {
            self.durable_end = content.end;
        }
    }

    /// Reads everything, notes what it saw, and lets all earlier readers read on.
    pub(super) fn look(&mut self) -> Step {
        let max_bytes = self.dice.below(3000) as usize;
        let reader = self.log().reader();
        let content = Rc::new(Content::of(&reader, max_bytes).map_err(|_| Ended)?);
        for (offset, (epoch, record)) in &content.records {
            let earlier = *self.seen.entry((*offset, *epoch)).or_insert(*record);
            self.check(earlier == *record, || format!("{offset} in epoch {epoch} has changed"));
        }
        for (before, offset) in &self.readers {
            self.check_reader(before, *offset, &content)?;
        }
        for _ in 0..2 {
            let offset = self.dice.between(content.start, content.end);
            self.readers.push((content.clone(), offset));
        }
        self.readers.push((content.clone(), content.end));
        Ok(())
    }

    fn check_reader(&self, before: &Content, offset: i64, now: &Content) -> Step {
        let Some((epoch, _)) = before.records.get(&(offset - 1)) else { return Ok(()) };
        let differs = |(at, record): (&i64, &(i32, Rec))| {
            (*at >= now.start && now.records.get(at) != Some(record)).then_some(*at)
        };
        let agreed = before.records.range(..offset).find_map(differs).unwrap_or(offset);
        let mut cursor = ReadCursor::new(offset, *epoch);
        let reader = self.log.as_ref().expect("it is open").reader();
        let result = reader.read(&mut cursor, 100);
        let text = || format!("a reader at {offset} in epoch {epoch} got {result:?}, not {agreed}");
        match &result {
            Ok(_) => self.check(agreed == offset, text),
            Err(ReadError::Truncated { to }) => {
                self.check(agreed < offset && *to <= agreed.max(now.start), text);
            }
            Err(ReadError::OffsetOutOfRange { .. }) => {
                self.check(offset < now.start || agreed < offset && offset > now.end, text);
            }
            Err(ReadError::Io(_)) => return Err(Ended),
            Err(_) => self.check(false, text),
        }
        Ok(())
    }
}
