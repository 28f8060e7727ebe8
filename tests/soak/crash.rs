//! A whole broker through crashes and faults of a simulated disk, for as long as one likes: the
//! simulation of `tests/crash`, over one fresh seed after the other, on all processors.

#[path = "../crash/mod.rs"]
mod simulation;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use self::simulation::{Failed, Tally, asked, notes, play, play_all, unnoticed};

/// Runs for this long; what was reached, or what is wrong.
pub(crate) fn run(length: Duration, seed: u64) -> Result<String, String> {
    let tally = Arc::new(Tally::default());
    if let Some(seed) = asked("OTTLA_SEED") {
        let number = play(seed, None, &tally)?;
        return Ok(format!("{}\nthe run's number: {number:x}\n{tally}", notes()));
    }
    // Panics are caught, and told at the end; most of them are wanted.
    std::panic::set_hook(Box::new(|_| {}));
    // Else the numbers that are reached would mean nothing.
    let unnoticed = unnoticed();
    if !unnoticed.is_empty() {
        return Err(format!("the checks do not notice when a disk lies: {unnoticed:?}"));
    }
    let began = Instant::now();
    let next_line = Mutex::new(Duration::from_secs(60));
    let next_seed = AtomicU64::new(seed);
    let next = || {
        let now = began.elapsed();
        let mut line = next_line.lock().expect("no one panics with it in hand");
        if now > *line {
            println!("crash: {} min: {tally}", line.as_secs() / 60);
            *line += Duration::from_secs(60);
        }
        (now < length).then(|| next_seed.fetch_add(1, Ordering::Relaxed))
    };
    // Goes on after a failure: there may be more to find in the time.
    let failures = Mutex::new(Vec::new());
    let failed = |Failed { seed, why }: Failed| {
        println!("crash: seed {seed} FAILED: {why}\nthat was seed {seed}, after {tally}");
        failures.lock().expect("no one panics with them in hand").push(seed);
    };
    play_all(next, failed, &tally);
    match failures.into_inner().expect("no one panics with them in hand") {
        seeds if seeds.is_empty() => Ok(tally.to_string()),
        seeds => Err(format!(
            "{tally}\nthese have failed: {seeds:?}; again, and all it does: OTTLA_SEED=… \
             cargo test --release --test soak -- crash --minutes 1"
        )),
    }
}
