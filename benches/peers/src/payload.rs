//! Payloads: random bytes, built anew for each record from its number, and read to the last one.

/// Fills a payload with what the record of this number has.
#[inline]
pub(crate) fn fill(payload: &mut [u8], number: u64) {
    // One multiplication gives 16 bytes, each step apart from the others, so that building them
    // takes little beside what is measured.
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state = state.wrapping_add(0xa076_1d64_78bd_642f);
        let product = u128::from(state) * u128::from(state ^ 0xe703_7ed1_a0b4_28db);
        product ^ (product >> 67)
    };
    let mut sixteens = payload.chunks_exact_mut(16);
    for sixteen in &mut sixteens {
        sixteen.copy_from_slice(&next().to_le_bytes());
    }
    let rest = sixteens.into_remainder();
    rest.copy_from_slice(&next().to_le_bytes()[..rest.len()]);
}

/// A payload on the stack.
#[inline]
pub(crate) fn array<const N: usize>(number: u64) -> [u8; N] {
    let mut payload = [0; N];
    fill(&mut payload, number);
    payload
}

/// The same content in memory of its own, as what goes through a channel must be.
#[inline]
pub(crate) fn vec(len: usize, number: u64) -> Vec<u8> {
    let mut payload = vec![0; len];
    fill(&mut payload, number);
    payload
}

/// The sum of all bytes, taken eight at a time.
#[inline]
pub(crate) fn sum(payload: &[u8]) -> u64 {
    let mut eights = payload.chunks_exact(8);
    let eight = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("they are eight"));
    let whole = eights.by_ref().fold(0, |sum: u64, it| sum.wrapping_add(eight(it)));
    let rest = eights.remainder().iter().map(|byte| u64::from(*byte));
    rest.fold(whole, u64::wrapping_add)
}

/// The sum of the first `count` payloads.
pub(crate) fn expected_sum(len: usize, count: u64) -> u64 {
    let mut payload = vec![0; len];
    (0..count).fold(0, |total: u64, number| {
        fill(&mut payload, number);
        total.wrapping_add(sum(&payload))
    })
}
