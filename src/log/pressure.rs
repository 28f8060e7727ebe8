//! What in-memory logs do when their broker's memory budget is used up.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};

use crate::storage::MemoryPolicy;

use super::reader::LogReader;
use super::shared::Shared;

/// The logs that share one memory budget, and the policy when it is used up.
///
/// Frees memory by dropping oldest segments; never touches a log's active one, which is therefore
/// kept small (`segment_bytes`).
#[derive(Debug)]
pub struct MemoryPressure {
    policy: MemoryPolicy,
    /// The budget in bytes, for messages.
    limit: usize,
    logs: Mutex<Vec<Weak<Shared>>>,
    /// How many there were when the last was added.
    count: AtomicUsize,
}

impl MemoryPressure {
    /// No logs yet.
    pub fn new(policy: MemoryPolicy, limit: usize) -> Arc<Self> {
        let (logs, count) = (Mutex::default(), AtomicUsize::new(0));
        Arc::new(MemoryPressure { policy, limit, logs, count })
    }

    /// The policy.
    pub fn policy(&self) -> MemoryPolicy {
        self.policy
    }

    /// The budget.
    pub fn limit(&self) -> usize {
        self.limit
    }

    pub(super) fn add(&self, log: &Arc<Shared>) {
        let mut logs = self.logs.lock().expect("no one panics with the list of logs");
        logs.retain(|log| log.strong_count() > 0);
        logs.push(Arc::downgrade(log));
        self.count.store(logs.len(), Ordering::Relaxed);
    }

    /// How much a log should write into one segment, so that all active ones together, which can't
    /// be dropped, take an eighth of the budget; and so that dropping one drops little.
    pub(super) fn segment_bytes(&self) -> u64 {
        let logs = self.count.load(Ordering::Relaxed).max(1);
        (self.limit / 8 / logs) as u64
    }

    /// Whether any log has more than the segment it writes: only then can waiting help.
    pub(super) fn has_closed_segments(&self) -> bool {
        let logs = self.logs.lock().expect("no one panics with the list of logs");
        logs.iter().filter_map(Weak::upgrade).any(|log| log.segments().len() > 1)
    }

    /// Whether a hold keeps any log from being freed.
    pub(super) fn is_held(&self) -> bool {
        self.readers().iter().any(LogReader::is_held)
    }

    /// Drops one oldest segment: of the largest log under `DropOldest`; under `Block` of the
    /// largest one whose readers have all passed it. False if there is none, or under `Reject`.
    pub(super) fn relieve(&self) -> bool {
        let passed_by_all = match self.policy {
            MemoryPolicy::DropOldest => false,
            MemoryPolicy::Block => true,
            MemoryPolicy::Reject => return false,
        };
        let mut logs = self.readers();
        logs.sort_by_key(|log| std::cmp::Reverse(log.size()));
        logs.iter().any(|log| log.drop_oldest(passed_by_all))
    }

    fn readers(&self) -> Vec<LogReader> {
        let logs = self.logs.lock().expect("no one panics with the list of logs");
        logs.iter().filter_map(Weak::upgrade).map(LogReader).collect()
    }
}
