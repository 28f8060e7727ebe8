//! Payloads that differ by a counter, and sums that take an instruction or two for eight bytes.

const FILL: u8 = 0xa5;

/// A payload on the stack, of eight bytes at least.
#[inline]
pub(crate) fn array<const N: usize>(counter: u64) -> [u8; N] {
    let mut payload = [FILL; N];
    payload[..8].copy_from_slice(&counter.to_le_bytes());
    payload
}

/// The sum of all words of eight bytes; those that are left count one by one.
#[inline]
pub(crate) fn sum(payload: &[u8]) -> u64 {
    let (words, rest) = payload.as_chunks::<8>();
    let words = words.iter().map(|word| u64::from_le_bytes(*word));
    words.chain(rest.iter().map(|byte| u64::from(*byte))).fold(0, u64::wrapping_add)
}

/// The sum of the first `count` payloads, without making them.
pub(crate) fn sum_of_first<const N: usize>(count: u64) -> u64 {
    let counters = count * count.saturating_sub(1) / 2;
    sum(&array::<N>(0)).wrapping_mul(count).wrapping_add(counters)
}
