//! The time for records that have none: a look at the clock costs as much as copying a record.

use crate::clock::Clock;
use crate::record::Timestamp;

/// The most records that get a time without a look at the clock.
const MAX_SKIPPED: u8 = 15;

/// Stamps the records of one batch, in a row. Looks at the clock for every 16th record of a fast
/// stream, and for each record of a slow one: as soon as two looks differ. Never skips a look at
/// a manual clock.
#[derive(Debug)]
pub(super) struct Stamper {
    /// What the clock showed last.
    time: Timestamp,
    /// How many records were to be skipped after that look.
    skip: u8,
    /// How many of them are left.
    left: u8,
}

impl Stamper {
    pub(super) fn new() -> Self {
        Stamper { time: Timestamp::NONE, skip: 0, left: 0 }
    }

    /// The time for the next record. A clock that stands before 1970 counts as just at it, as
    /// records can have no such time.
    #[inline]
    pub(super) fn next<'a>(&mut self, clock: impl FnOnce() -> &'a Clock) -> Timestamp {
        if self.left == 0 {
            self.look(clock());
        } else {
            self.left -= 1;
        }
        self.time
    }

    fn look(&mut self, clock: &Clock) {
        let now = clock.wall().max(Timestamp::from_millis(0));
        let is_fast = now == self.time && !clock.is_manual();
        self.skip = if is_fast { MAX_SKIPPED.min(2 * self.skip + 1) } else { 0 };
        (self.left, self.time) = (self.skip, now);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_stream_within_one_millisecond_skips_up_to_15_looks() {
        let clock = Clock::system();
        let mut stamper = Stamper::new();
        let mut longest = 0;
        // A pause between two calls resets the count; so long that it always does, none is.
        for _ in 0..1_000_000 {
            stamper.next(|| &clock);
            longest = longest.max(stamper.left);
        }
        assert_eq!(longest, MAX_SKIPPED);
    }

    #[test]
    fn a_manual_clock_is_followed_exactly() {
        let manual = Clock::manual();
        let clock = Clock::from(manual.clone());
        let mut stamper = Stamper::new();
        for _ in 0..10 {
            (0..3).for_each(|_| assert_eq!(stamper.next(|| &clock), clock.wall()));
            manual.advance(Duration::from_millis(1));
        }
    }
}
