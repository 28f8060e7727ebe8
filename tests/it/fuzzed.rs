//! What the fuzz targets (`fuzz/run`) do with their inputs, as tests: with the inputs that are kept
//! in `fuzz/corpus` and, of past findings, in `fuzz/regressions`; and with mutations of them, which
//! a fuzzer that is told of no coverage would make.
//!
//! A finding is printed in hexadecimal. To repeat it: `OTTLA_INPUT=00ff… cargo test --test it
//! fuzzed::batch_bytes`, or `fuzzed::data_directories`, or with `--all-features`
//! `fuzzed::requests`.

mod batch;
mod inputs;
mod recovery;
#[cfg(feature = "tcp")]
mod request;
#[cfg(feature = "tcp")]
mod samples;
#[cfg(feature = "tcp")]
mod seeds;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use self::inputs::{Dice, kept, package};
use crate::support::{fresh_seed, tell};

#[test]
fn batch_bytes() {
    try_all("batch", 20_000, &batch::run);
}

#[test]
fn data_directories() {
    let bases = recovery::Bases::read(&package().join("tests/golden"));
    try_all("recovery", 400, &|input| recovery::run(&bases, input));
}

#[cfg(feature = "tcp")]
#[test]
fn requests() {
    try_all("request", 3000, &request::run);
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
        let mut dice = Dice::of(seed);
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

fn from_hex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().map(|c| c.to_digit(16).expect("hexadecimal")).collect();
    digits.chunks(2).map(|pair| pair.iter().fold(0, |sum, digit| sum * 16 + *digit as u8)).collect()
}
