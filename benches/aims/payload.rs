//! Payloads: built anew for each record from a counter, and read to the last byte.

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

/// The same content in memory of its own, as what goes through a channel must be.
#[inline]
pub(crate) fn vec<const N: usize>(counter: u64) -> Vec<u8> {
    array::<N>(counter).to_vec()
}

/// The sum of all bytes.
#[inline]
pub(crate) fn sum(payload: &[u8]) -> u64 {
    payload.iter().map(|byte| u64::from(*byte)).sum()
}

/// The sum of the first `count` payloads.
pub(crate) fn expected_sum<const N: usize>(count: u64) -> u64 {
    (0..count).map(|counter| sum(&array::<N>(counter))).sum()
}

/// Things per second since `started`.
pub(crate) fn rate(count: u64, started: Instant) -> f64 {
    count as f64 / started.elapsed().as_secs_f64()
}

/// Nanoseconds for each of `count` things since `started`.
pub(crate) fn nanos_each(count: u64, started: Instant) -> f64 {
    started.elapsed().as_nanos() as f64 / count as f64
}
