//! The inputs that are kept, and mutations of them.

use std::fs;
use std::path::{Path, PathBuf};

/// Longer inputs say nothing that shorter ones could not.
const MAX_LEN: usize = 4096;

pub fn package() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// The inputs that are kept, in order. None outside of the repository: they are not published.
pub fn kept(target: &str) -> Vec<Vec<u8>> {
    let fuzz = package().join("fuzz");
    let mut paths = Vec::new();
    for folder in ["corpus", "regressions"] {
        let Ok(entries) = fs::read_dir(fuzz.join(folder).join(target)) else { continue };
        paths.extend(entries.map(|entry| entry.expect("it can be listed").path()));
    }
    assert!(!fuzz.exists() || paths.len() > 10, "{target}: the corpus is gone");
    paths.sort();
    paths.iter().map(|path| fs::read(path).expect("it can be read")).collect()
}

/// Random numbers: SplitMix64.
pub struct Dice(u64);

impl Dice {
    pub fn of(seed: u64) -> Self {
        Dice(seed)
    }

    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % limit.max(1) as u64) as usize
    }

    fn byte(&mut self) -> u8 {
        let any = self.below(256) as u8;
        [any, any, 0, 1, 0x7f, 0x80, 0xff, any & 7][self.below(8)]
    }

    /// One of the inputs, changed a few times.
    pub fn mutate(&mut self, inputs: &[Vec<u8>]) -> Vec<u8> {
        let mut input = inputs[self.below(inputs.len())].clone();
        for _ in 0..=self.below(6) {
            let (at, len) = (self.below(input.len() + 1), self.below(12));
            let end = (at + len).min(input.len());
            match self.below(6) {
                0 => drop(input.drain(at..end)),
                1 => drop(input.splice(at..at, (0..len).map(|_| self.byte()))),
                2 => input[at..end].iter_mut().for_each(|byte| *byte ^= 1 << self.below(8)),
                3 => input[at..end].fill_with(|| self.byte()),
                4 => {
                    let other = &inputs[self.below(inputs.len())];
                    let from = self.below(other.len() + 1);
                    let until = from + self.below(other.len() - from + 1);
                    input.splice(at..end, other[from..until].iter().copied());
                }
                _ => input.truncate(at.max(1)),
            }
        }
        input.truncate(MAX_LEN);
        input
    }
}
