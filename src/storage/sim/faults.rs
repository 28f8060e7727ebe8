//! Which calls of the simulated disk fail, and how.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::Path;

use super::random::Random;
use crate::storage::failure;

/// A kind of call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Op {
    /// Opening or creating a file.
    Open,
    /// Asking a file's length.
    Len,
    /// Reading from a file.
    Read,
    /// Appending to a file.
    Append,
    /// Truncating a file.
    Truncate,
    /// Syncing a file.
    Sync,
    /// Listing a folder.
    List,
    /// Creating a folder.
    CreateDir,
    /// Removing a file or folder.
    Remove,
    /// Renaming a file or folder.
    Rename,
    /// Syncing a folder.
    SyncDir,
    /// Whichever comes next.
    Any,
}

/// How a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// An I/O error (kind `Other`) without effect.
    Eio,
    /// No space left (kind `StorageFull`), without effect.
    Enospc,
    /// An append that writes a part, perhaps none, and then fails as [`Fault::Eio`] does. The same
    /// as that for other calls.
    ShortWrite,
    /// A sync that fails as [`Fault::Eio`] does, after which the cache takes the pages that it did
    /// not write for clean: the next sync succeeds without writing them. The same as
    /// [`Fault::Eio`] for other calls.
    SyncFailsOnce,
}

/// A promise that the disk breaks without saying so, to find out whether a test would notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lie {
    /// Syncing a file does nothing.
    SyncDoesNothing,
    /// Syncing a folder does nothing.
    SyncDirDoesNothing,
}

/// Why a call does not go through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    Fault(Fault),
    /// The process dies in the middle of this call.
    Dying,
    /// It is dead already.
    Dead,
}

impl Failure {
    pub(super) fn error(self, op: &str, path: &Path) -> io::Error {
        let (kind, why) = match self {
            Failure::Fault(Fault::Enospc) => (ErrorKind::StorageFull, "simulated ENOSPC"),
            Failure::Fault(Fault::ShortWrite) => (ErrorKind::Other, "simulated short write"),
            Failure::Fault(_) => (ErrorKind::Other, "simulated EIO"),
            Failure::Dying | Failure::Dead => (ErrorKind::Other, "simulated crash"),
        };
        failure(kind, op, path, why)
    }

    /// Whether an append leaves a part of its bytes behind.
    pub(super) fn writes_part(self) -> bool {
        matches!(self, Failure::Fault(Fault::ShortWrite) | Failure::Dying)
    }
}

/// The plan of faults, and the count of calls.
#[derive(Debug, Default)]
pub(super) struct Faults {
    /// Calls so far.
    pub(super) calls: u64,
    /// Faults for the next call of a kind, in the order in which they were asked for.
    pub(super) next: Vec<(Op, Fault)>,
    /// Faults by the number of the call; the first call is number 1.
    pub(super) at: BTreeMap<u64, Fault>,
    /// A call fails if a random number is below this.
    pub(super) rate: u64,
    /// The number of the last call that goes through.
    pub(super) last: Option<u64>,
}

impl Faults {
    /// Counts a call, and says whether and how it fails.
    pub(super) fn on_call(&mut self, op: Op, random: &mut Random) -> Result<(), Failure> {
        self.calls += 1;
        if let Some(last) = self.last.filter(|last| self.calls > *last) {
            return Err(if self.calls == last + 1 { Failure::Dying } else { Failure::Dead });
        }
        if let Some(fault) = self.at.remove(&self.calls) {
            return Err(Failure::Fault(fault));
        }
        let asked = self.next.iter().position(|(it, _)| *it == op || *it == Op::Any);
        if let Some(index) = asked {
            return Err(Failure::Fault(self.next.remove(index).1));
        }
        // No number is drawn without a rate: a plan of faults changes nothing else of a run.
        if self.rate > 0 && random.next() < self.rate {
            return Err(Failure::Fault(random_fault(op, random)));
        }
        Ok(())
    }
}

/// One of the faults that this kind of call can meet.
fn random_fault(op: Op, random: &mut Random) -> Fault {
    let possible: &[Fault] = match op {
        Op::Append => &[Fault::Eio, Fault::Enospc, Fault::ShortWrite],
        Op::Sync => &[Fault::Eio, Fault::SyncFailsOnce],
        Op::Open | Op::CreateDir | Op::Rename => &[Fault::Eio, Fault::Enospc],
        _ => &[Fault::Eio],
    };
    possible[random.below(possible.len() as u64) as usize]
}
