//! Switches that break the log on purpose, to see whether its tests would notice.

use std::cell::Cell;

thread_local! {
    /// A batch counts as sound without a look at its CRC.
    pub(in crate::log) static SKIP_CRC: Cell<bool> = const { Cell::new(false) };
    /// What follows the last sound batch stays in the file.
    pub(in crate::log) static KEEP_TAIL: Cell<bool> = const { Cell::new(false) };
}
