//! The dice of the simulated disk: splitmix64, so that a seed means the same run for ever.

/// A generator of 64-bit numbers.
#[derive(Debug, Clone)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Random(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`; 0 if that is 0. The bias of the remainder does not matter here.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    pub(super) fn flip(&mut self) -> bool {
        self.next() >> 63 == 1
    }
}

/// How much of what was not synced a crash keeps. Drawn once for each file and folder list, for
/// otherwise "all of it" and "none of it", which break the most code, would hardly ever come up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Survival {
    None,
    All,
    Some,
}

impl Survival {
    pub(super) fn draw(random: &mut Random) -> Self {
        match random.below(4) {
            0 => Survival::None,
            1 => Survival::All,
            _ => Survival::Some,
        }
    }

    /// Whether one thing survives.
    pub(super) fn keeps(self, random: &mut Random) -> bool {
        match self {
            Survival::None => false,
            Survival::All => true,
            Survival::Some => random.flip(),
        }
    }
}
