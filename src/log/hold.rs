//! What must stay in a log until somebody has done something with it: a hold.
//!
//! Retention, the cap on a partition's bytes and a memory budget that is used up drop no segment
//! with records at or behind a hold. Where that leaves no room for an append, the append waits, or
//! is refused. A deletion that somebody asks for is done all the same.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use super::shared::Shared;
use super::{AppendError, Log, LogReader};
use crate::storage::MemoryPolicy;

/// Keeps what stands from an offset on. Released when it is dropped.
#[derive(Debug)]
pub struct Hold {
    shared: Arc<Shared>,
    offset: Arc<AtomicI64>,
    waits: bool,
}

impl Hold {
    /// What stands before `offset` is not needed any more.
    pub fn advance(&self, offset: i64) {
        self.offset.fetch_max(offset, Ordering::AcqRel);
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if self.waits {
            self.shared.waiting_holds.fetch_sub(1, Ordering::AcqRel);
        }
        let mut holds = self.shared.holds.lock().expect("no one panics with the holds");
        holds.retain(|offset| !Arc::ptr_eq(offset, &self.offset));
    }
}

impl LogReader {
    /// Keeps what stands from `offset` on. Appends that find no room because of it wait
    /// (`waits`), or are refused.
    pub fn hold(&self, offset: i64, waits: bool) -> Hold {
        let shared = self.0.clone();
        let offset = Arc::new(AtomicI64::new(offset));
        shared.holds.lock().expect("no one panics with the holds").push(offset.clone());
        if waits {
            shared.waiting_holds.fetch_add(1, Ordering::AcqRel);
        }
        Hold { shared, offset, waits }
    }
}

impl Shared {
    /// The first offset that is held; `i64::MAX` if none is.
    pub(super) fn held_from(&self) -> i64 {
        let holds = self.holds.lock().expect("no one panics with the holds");
        holds.iter().map(|offset| offset.load(Ordering::Acquire)).min().unwrap_or(i64::MAX)
    }
}

impl Log {
    /// Whether an append that finds no room may have to wait for others.
    pub fn blocks_when_full(&self) -> bool {
        self.blocks_for_readers() || self.blocks_for_holds()
    }

    /// Whether appends wait for readers when memory is used up.
    pub fn blocks_for_readers(&self) -> bool {
        self.pressure.as_ref().is_some_and(|it| it.policy() == MemoryPolicy::Block)
    }

    fn blocks_for_holds(&self) -> bool {
        self.shared.waiting_holds.load(Ordering::Acquire) > 0
    }

    /// The log is at its cap, and may drop nothing.
    pub(super) fn held(&self) -> AppendError {
        let limit = self.config.max_bytes.unwrap_or(u64::MAX);
        AppendError::Held { limit, waits: self.blocks_for_holds() }
    }
}
