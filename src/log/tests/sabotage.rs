//! Switches that break the log on purpose, to see whether its tests would notice.

use std::cell::Cell;
use std::thread::LocalKey;

thread_local! {
    /// A batch counts as sound without a look at its CRC.
    pub(in crate::log) static SKIP_CRC: Cell<bool> = const { Cell::new(false) };
    /// What follows the last sound batch stays in the file.
    pub(in crate::log) static KEEP_TAIL: Cell<bool> = const { Cell::new(false) };
    /// What compaction replaces goes before it is durable that it has been replaced.
    pub(in crate::log) static SWAP_AT_ONCE: Cell<bool> = const { Cell::new(false) };
}

/// Breaks the log on this thread, for as long as it lives.
pub(super) struct Broken(&'static LocalKey<Cell<bool>>);

impl Broken {
    pub(super) fn by(switch: &'static LocalKey<Cell<bool>>) -> Self {
        switch.set(true);
        Broken(switch)
    }
}

impl Drop for Broken {
    fn drop(&mut self) {
        self.0.set(false);
    }
}
