//! A whole broker through crashes at any call of the storage: some thousands of them in each run of
//! the tests, of the same seeds and of a few fresh ones.
//!
//! `OTTLA_SEED=n` runs one seed and tells what it does, `OTTLA_LIVES=n` so many seeds. The last
//! test makes the disk lie, and wants the checks to notice.

#[path = "../crash/mod.rs"]
mod simulation;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use self::simulation::{Failed, Tally, asked, notes, play, play_all, unnoticed};
use crate::support::{fresh_seed, tell};

/// Seeds that every run plays, the same ones each time.
const FIXED: u64 = 620;

/// Seeds in which the soak has found something, after hundreds of thousands of crashes. Those found
/// before a file of the format changed its length play other histories since; what they found has
/// tests of its own.
const FOUND: [u64; 19] = [
    3_373_556_334,
    2_939_554_273,
    847_328_581,
    1_827_855_660,
    3_105_437_541,
    3_821_403_134,
    803_731_558,
    2_974_509_624,
    1_888_898_297,
    4_075_100_350,
    2_413_756_871,
    2_413_809_512,
    2_413_844_874,
    2_413_860_465,
    2_413_935_210,
    2_413_946_094,
    3_160_950_596,
    3_160_988_824,
    3_160_988_222,
];

/// How many crashes are in them, at least.
const CRASHES: u64 = 10_000;

#[test]
fn a_broker_survives_crashes() {
    let tally = Arc::new(Tally::default());
    if let Some(seed) = asked("OTTLA_SEED") {
        let played = play(seed, None, &tally);
        let number = played.unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        return tell(&format!("{}\nthe run's number: {number:x}\n", notes()));
    }
    let lives = asked("OTTLA_LIVES");
    let fixed = lives.unwrap_or(FIXED);
    let (fresh, more) = (fresh_seed(), fixed / 30);
    tell(&format!("crash: seeds 0..{fixed} and {fresh}.. +{more}\n"));
    let seeds: Vec<u64> = FOUND.into_iter().chain(0..fixed).chain(fresh..fresh + more).collect();
    let (next, first) = (AtomicUsize::new(0), OnceLock::new());
    let next = || match first.get() {
        None => seeds.get(next.fetch_add(1, Ordering::Relaxed)).copied(),
        Some(_) => None,
    };
    play_all(next, |failed| drop(first.set(failed)), &tally);
    if let Some(Failed { seed, why }) = first.get() {
        panic!(
            "seed {seed}: {why}\nseed {seed} failed; again, and all it does: OTTLA_SEED={seed} \
             cargo test --test it crash::a_broker_survives_crashes"
        );
    }
    tell(&format!("crash: {tally}\n"));
    assert!(lives.is_some() || tally.crashes() >= CRASHES, "too few crashes: {tally}");
}

#[test]
fn the_same_seed_is_the_same_run() {
    let tally = Arc::new(Tally::default());
    let run = |seed| play(seed, None, &tally).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
    for seed in 0..8 {
        assert_eq!(run(seed), run(seed), "seed {seed} was two different runs");
    }
    assert_ne!(run(0), run(1));
}

#[test]
fn a_disk_that_lies_is_noticed() {
    let unnoticed = unnoticed();
    assert!(unnoticed.is_empty(), "{unnoticed:?}");
}
