//! Pauses between attempts, which grow, and are not the same for all.

use std::time::Duration;

/// Pauses that grow: the first, twice that, and so on to the longest, each up to a fifth off, so
/// that clients which failed together do not come back together (KIP-580).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Backoff {
    first: Duration,
    longest: Duration,
    tries: u32,
}

impl Backoff {
    pub(crate) fn new((first, longest): (Duration, Duration)) -> Self {
        Backoff { first, longest, tries: 0 }
    }

    /// How long to wait this time.
    pub(crate) fn next(&mut self) -> Duration {
        let grown = self.first.saturating_mul(1 << self.tries.min(16)).min(self.longest);
        self.tries += 1;
        grown.mul_f64(0.8 + 0.4 * luck())
    }

    /// How long to wait after so many tries.
    #[cfg(feature = "tcp")]
    pub(crate) fn after(&mut self, tries: u32) -> Duration {
        self.tries = tries.saturating_sub(1);
        self.next()
    }

    /// It has worked.
    pub(crate) fn reset(&mut self) {
        self.tries = 0;
    }
}

/// A number from 0 to 1.
fn luck() -> f64 {
    use std::hash::{BuildHasher, RandomState};
    let random = RandomState::new().hash_one(0u8);
    (random >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_longest() {
        let (first, longest) = (Duration::from_millis(50), Duration::from_secs(1));
        let mut backoff = Backoff::new((first, longest));
        for expected in [50, 100, 200, 400, 800, 1000, 1000] {
            let pause = backoff.next().as_millis() as i64;
            assert!((expected * 8 / 10 - 1..=expected * 12 / 10).contains(&pause), "{pause}");
        }
        backoff.reset();
        assert!(backoff.next() <= first * 12 / 10);
        for _ in 0..100 {
            assert!(backoff.next() <= longest * 12 / 10);
        }
    }
}
