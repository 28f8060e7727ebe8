//! What all runs together have been through, for whoever wants to know how much was tested.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use super::world::Crash;

/// Counts across threads.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(super) seeds: Count,
    process: Count,
    power: Count,
    /// Of all crashes, those in the middle of something.
    amid: Count,
    /// Of all crashes, those while opening.
    pub(super) opening: Count,
    /// Calls of the storage that failed, and opens that did for it.
    pub(super) faults: Count,
    pub(super) failed_opens: Count,
    /// Bits that turned.
    pub(super) flipped: Count,
    /// Records that were sent, and of them those that were acknowledged.
    pub(super) sent: Count,
    pub(super) acknowledged: Count,
    /// How often a reader was told that the log was truncated.
    pub(super) truncated: Count,
}

#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    pub(super) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    fn now(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Tally {
    /// How many crashes there were.
    pub(crate) fn crashes(&self) -> u64 {
        self.process.now() + self.power.now()
    }

    pub(super) fn crashed(&self, how: Crash, amid: bool) {
        let count = if how == Crash::Power { &self.power } else { &self.process };
        count.add(1);
        self.amid.add(u64::from(amid));
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let crashes = self.crashes();
        write!(f, "{} seeds, {crashes} crashes (", self.seeds.now())?;
        write!(f, "{} of the process, {} of power; ", self.process.now(), self.power.now())?;
        write!(f, "{} amid something, {} while opening), ", self.amid.now(), self.opening.now())?;
        write!(
            f,
            "{} calls failed ({} opens by it), ",
            self.faults.now(),
            self.failed_opens.now()
        )?;
        write!(f, "{} bits turned, ", self.flipped.now())?;
        write!(f, "{} of {} records acknowledged, ", self.acknowledged.now(), self.sent.now())?;
        write!(f, "{} readers told of a truncation", self.truncated.now())
    }
}
