//! What a log has done since it was opened, for whoever watches.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Counted where it happens, read by anybody.
#[derive(Debug, Default)]
pub(super) struct Counters {
    records_appended: AtomicU64,
    batches_appended: AtomicU64,
    bytes_appended: AtomicU64,
    batches_refused: AtomicU64,
    bytes_read: AtomicU64,
    read_only: AtomicBool,
}

/// What logs have done since they were opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogStats {
    /// Records appended.
    pub records_appended: u64,
    /// In so many batches.
    pub batches_appended: u64,
    /// Of so many bytes.
    pub bytes_appended: u64,
    /// Batches that were refused, or could not be written.
    pub batches_refused: u64,
    /// Bytes of batches that readers were given.
    pub bytes_read: u64,
    /// Logs that take nothing any more since a failure.
    pub read_only: u64,
}

impl LogStats {
    /// Both together.
    pub fn add(&mut self, other: &LogStats) {
        self.records_appended += other.records_appended;
        self.batches_appended += other.batches_appended;
        self.bytes_appended += other.bytes_appended;
        self.batches_refused += other.batches_refused;
        self.bytes_read += other.bytes_read;
        self.read_only += other.read_only;
    }
}

impl Counters {
    /// Only the log's one writer calls this.
    pub(super) fn appended(&self, records: u64, batches: u64, bytes: u64) {
        add(&self.records_appended, records);
        add(&self.batches_appended, batches);
        add(&self.bytes_appended, bytes);
    }

    /// Only the log's one writer calls this.
    pub(super) fn refused(&self) {
        add(&self.batches_refused, 1);
    }

    pub(super) fn read(&self, bytes: usize) {
        self.bytes_read.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn failed(&self) {
        self.read_only.store(true, Ordering::Relaxed);
    }

    /// Whether a write or a sync has failed: what the page cache holds need not be on the disk.
    #[cfg(feature = "tcp")]
    pub(super) fn has_failed(&self) -> bool {
        self.read_only.load(Ordering::Relaxed)
    }

    pub(super) fn snapshot(&self) -> LogStats {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        LogStats {
            records_appended: load(&self.records_appended),
            batches_appended: load(&self.batches_appended),
            bytes_appended: load(&self.bytes_appended),
            batches_refused: load(&self.batches_refused),
            bytes_read: load(&self.bytes_read),
            read_only: u64::from(self.read_only.load(Ordering::Relaxed)),
        }
    }
}

/// With one writer there is nothing to lose between the two.
fn add(counter: &AtomicU64, more: u64) {
    counter.store(counter.load(Ordering::Relaxed) + more, Ordering::Relaxed);
}
