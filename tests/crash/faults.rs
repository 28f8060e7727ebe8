//! Calls of the storage that fail while the broker runs or opens, and which errors they explain.

use std::path::{Path, PathBuf};

use ottla::Error;
use ottla::storage::sim::{Fault, Op};

use super::world::{World, patiently};

/// What goes wrong in a run besides crashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing.
    Crashes,
    /// Calls fail, and the disk is full at times.
    Faults,
    /// Bits turn between two lives.
    Damage,
}

/// A call that failed.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) call: &'static str,
    pub(super) path: PathBuf,
    pub(super) full: bool,
}

impl Failure {
    /// Whether it may concern what is in one of these folders. Of none: whether anything may.
    fn concerns(&self, folders: &[&str]) -> bool {
        let folder = self.path.iter().next().map(Path::new).unwrap_or(Path::new(""));
        let folder = folder.to_string_lossy();
        let is_root = folder.is_empty();
        is_root || folders.is_empty() || folders.iter().any(|it| folder.starts_with(it))
    }

    /// A full disk is an error that passes: what it hits can go on once there is room.
    fn passes(&self) -> bool {
        self.full && self.call != "sync"
    }

    /// Whether it was on behalf of a reader, which makes no partition read-only.
    fn only_reads(&self) -> bool {
        self.call == "read" && self.path.extension().is_some_and(|it| it == "log")
    }
}

impl World {
    /// Before anything is opened: no call fails from now on, unless planned anew.
    pub(super) fn calm(&mut self) {
        self.death = u64::MAX;
        self.disk.clear_faults();
        self.disk.crash_after(u64::MAX);
    }

    /// Something fails soon, or there is room again.
    pub(super) fn trouble(&mut self) {
        if std::mem::take(&mut self.is_full) {
            self.note(|| "there is room again".to_owned());
            return self.disk.set_capacity(None);
        }
        let any = [Fault::Eio, Fault::Eio, Fault::ShortWrite, Fault::SyncFailsOnce];
        let (op, fault) = match self.dice.below(8) {
            0..2 => return self.fill_disk(),
            2 => (Op::Append, Fault::Enospc),
            3 => (Op::Append, Fault::ShortWrite),
            4 => (Op::Sync, self.dice.pick(&[Fault::Eio, Fault::SyncFailsOnce, Fault::Enospc])),
            5 => (self.dice.pick(&[Op::Rename, Op::Remove, Op::Truncate]), Fault::Eio),
            _ => return self.fail_within(40, &any),
        };
        self.note(|| format!("the next {op:?} meets {fault:?}"));
        self.disk.fail_next(op, fault);
    }

    pub(super) fn fail_within(&mut self, calls: u64, faults: &[Fault]) {
        let fault = self.dice.pick(faults);
        let call = self.disk.calls() + 1 + self.dice.below(calls);
        self.note(|| format!("call {call} meets {fault:?}"));
        self.disk.fail_at(call, fault);
    }

    fn fill_disk(&mut self) {
        let len = |path: &PathBuf| self.disk.read_file(path).map_or(0, |it| it.len() as u64);
        let used: u64 = self.disk.paths().iter().map(len).sum();
        let room = self.dice.below(600);
        self.note(|| format!("{room} bytes of room are left"));
        self.disk.set_capacity(Some(used + room));
        self.is_full = true;
    }

    /// How many calls have failed so far.
    pub(super) fn failures(&self) -> usize {
        self.trace.failures().len()
    }

    /// Whether a call has failed, since the broker was opened, that concerns these folders.
    pub(super) fn is_troubled(&self, folders: &[&str]) -> bool {
        let failures = self.trace.failures();
        failures[self.opened_at..].iter().any(|it| it.concerns(folders))
    }

    /// Whether a sync has failed, and the process died before it could write that down. What it
    /// then leaves in the cache, seemingly clean, nobody can tell from what the disk has: so the
    /// simulation does not let the cache outlive it. README.md says that this is not survived.
    pub(super) fn hides_a_failed_sync(&self) -> bool {
        let failures = self.trace.failures();
        let mut syncs = failures[self.crashed_at..].iter().filter(|it| it.call == "sync");
        syncs.any(|it| {
            let folder = it.path.parent().unwrap_or(Path::new(""));
            self.disk.read_file(folder.join("sync-failed")).is_none()
        })
    }

    /// Whether what is in these folders may take no more, until it is opened again.
    fn may_be_read_only(&self, folders: &[&str]) -> bool {
        let failures = self.trace.failures();
        let lasts = |it: &Failure| !it.passes() && !it.only_reads() && it.concerns(folders);
        failures[self.opened_at..].iter().any(lasts)
    }

    /// An error that the disk's death explains, or a call that failed; or a failure of the test.
    /// `since` that many failures it was not yet met.
    pub(super) fn excuse(&self, what: &str, error: &Error, folders: &[&str], since: usize) {
        let text = error.to_string();
        assert!(!text.contains("panic"), "{what}: {text}");
        let shut = self.shut && text == "closed: the broker was shut down";
        let excused = match error {
            Error::StorageFull { .. } => {
                let failures = self.trace.failures();
                let since = since.max(self.opened_at);
                failures[since..].iter().any(|it| it.full && it.concerns(folders))
            }
            Error::ReadOnly { at, .. } => self.may_be_read_only(&[&at.to_string()]),
            Error::Corrupt { .. } => self.is_damaged,
            Error::Io { .. } => self.is_troubled(folders),
            _ => false,
        };
        assert!(shut || excused || self.is_dead(), "{what} fails without a reason: {text}");
    }

    /// The disk is well again: each partition takes records, unless a failure has made it
    /// read-only, and all serve what they have.
    pub(super) async fn check_recovers(&mut self) {
        self.note(|| "all is well again".to_owned());
        self.disk.clear_faults();
        self.is_full = false;
        self.settle(5).await;
        let is_whole = |name: &&String| {
            self.slots[*name].topic.is_some() && self.slots[*name].pending.is_none()
        };
        let names: Vec<String> = self.slots.keys().filter(is_whole).cloned().collect();
        for name in names {
            let partitions =
                self.slots[&name].topic.as_ref().expect("it is there").partitions.len();
            for partition in 0..partitions as i32 {
                self.produce_one(&name, partition).await;
            }
            if self.ops.is_empty() && !self.is_dead() {
                self.check_running(&name).await;
            }
        }
    }

    async fn produce_one(&mut self, name: &str, partition: i32) {
        let producer = self.producers.len() - 1;
        if patiently(self.producers[producer].partitions_for(name)).await.is_err() {
            assert!(self.is_dead(), "{name} can't be looked up");
            return;
        }
        self.send(producer, name, Some(partition));
        let id = self.next_id - 1;
        for _ in 0..1000 {
            if self.awaited.iter().all(|it| it.id != id) {
                return;
            }
            self.settle(1).await;
        }
        panic!("{name}-{partition} does not answer");
    }
}
