//! Payloads: built anew for each record from a counter.

use std::time::Instant;

/// Content that differs from record to record.
#[inline]
pub(crate) fn fill(payload: &mut [u8], counter: u64) {
    let mut word = counter;
    for eight in payload.chunks_mut(8) {
        eight.copy_from_slice(&word.to_le_bytes()[..eight.len()]);
        word = word.wrapping_add(0x9e37_79b9);
    }
}

/// A payload on the stack.
#[inline]
pub(crate) fn array<const N: usize>(counter: u64) -> [u8; N] {
    let mut payload = [0; N];
    fill(&mut payload, counter);
    payload
}

/// Things per second since `started`.
pub(crate) fn rate(count: u64, started: Instant) -> f64 {
    count as f64 / started.elapsed().as_secs_f64()
}

/// Nanoseconds for each of `count` things since `started`.
pub(crate) fn nanos_each(count: u64, started: Instant) -> f64 {
    started.elapsed().as_nanos() as f64 / count as f64
}
