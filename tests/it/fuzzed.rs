//! What the fuzz targets (`fuzz/run`) do with their inputs, as tests: with the inputs that are kept
//! in `fuzz/corpus` and, of past findings, in `fuzz/regressions`; and with mutations of them, which
//! a fuzzer that is told of no coverage would make.
//!
//! A finding is printed in hexadecimal. To repeat it: `OTTLA_INPUT=00ff… cargo test --test it
//! fuzzed::batch_bytes`, or `fuzzed::data_directories`.

mod batch;
mod recovery;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};

use crate::support::{fresh_seed, tell};

/// Longer inputs say nothing that shorter ones could not.
const MAX_LEN: usize = 4096;

#[test]
fn batch_bytes() {
    try_all("batch", 20_000, &batch::run);
}

#[test]
fn data_directories() {
    let bases = recovery::Bases::read(&package().join("tests/golden"));
    try_all("recovery", 400, &|input| recovery::run(&bases, input));
}

/// Runs the kept inputs, then so many mutations of them: half of them the same ones each time.
fn try_all(target: &str, mutations: u64, run: &dyn Fn(&[u8])) {
    if let Some(hex) = std::env::var_os("OTTLA_INPUT") {
        return run(&from_hex(hex.to_str().expect("hexadecimal")));
    }
    let mut inputs = kept(target);
    inputs.iter().for_each(|input| try_one(target, input, run));
    inputs.push(Vec::new());
    let fresh = fresh_seed();
    tell(&format!("fuzzed: {target}, {} inputs, seeds 1 and {fresh}\n", inputs.len()));
    for seed in [1, fresh] {
        let mut dice = Dice(seed);
        (0..mutations / 2).for_each(|_| try_one(target, &dice.mutate(&inputs), run));
    }
}

fn try_one(target: &str, input: &[u8], run: &dyn Fn(&[u8])) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| run(input))) {
        let hex: String = input.iter().map(|byte| format!("{byte:02x}")).collect();
        tell(&format!("fuzzed: {target} fails with OTTLA_INPUT={hex}\n"));
        resume_unwind(panic);
    }
}

fn package() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// The inputs that are kept, in order. None outside of the repository: they are not published.
fn kept(target: &str) -> Vec<Vec<u8>> {
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

fn from_hex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().map(|c| c.to_digit(16).expect("hexadecimal")).collect();
    digits.chunks(2).map(|pair| pair.iter().fold(0, |sum, digit| sum * 16 + *digit as u8)).collect()
}

/// Random numbers: SplitMix64.
struct Dice(u64);

impl Dice {
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
    fn mutate(&mut self, inputs: &[Vec<u8>]) -> Vec<u8> {
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
