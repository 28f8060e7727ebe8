//! The third tier of tests: for as long as one likes, and stating the number it reached.
//!
//! `tests/soak/run groups 30`, or `cargo test --release --test soak -- groups --minutes 30`; so
//! too `killed`. Not run by `cargo test` alone.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it is a program that reports")]

mod groups;
#[allow(dead_code, reason = "the integration tests use all of it")]
#[path = "../it/killed/mod.rs"]
mod killed;
mod ledger;
mod member;
mod producer;
mod random;
#[allow(unused, reason = "the integration tests use all of it")]
#[path = "../it/support/mod.rs"]
mod support;

use std::process::ExitCode;
use std::time::{Duration, Instant};

const USAGE: &str =
    "usage: cargo test --release --test soak -- groups|killed --minutes N [--seed N]";

/// How often a data directory is killed before there is a new one.
const KILLS_EACH: u64 = 100;

fn main() -> ExitCode {
    if killed::be_child() {
        return ExitCode::SUCCESS;
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((kind, minutes, seed)) = parse(&arguments) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let seed = seed.unwrap_or_else(random::fresh);
    println!("{kind}: {minutes} min, seed {seed}");
    let length = Duration::from_secs(60 * minutes);
    let reached = match kind {
        "killed" => kill(length, seed).map(|reached| reached.to_string()),
        _ => in_runtime(groups::run(length, seed)).map(|reached| reached.to_string()),
    };
    match reached {
        Ok(reached) => {
            println!("{kind}: {minutes} min, seed {seed}: {reached}; 0 lost, 0 out of order");
            ExitCode::SUCCESS
        }
        Err(violation) => {
            println!("{kind}: FAILED, seed {seed}: {violation}");
            ExitCode::FAILURE
        }
    }
}

fn in_runtime<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.expect("a runtime can be built").block_on(future)
}

/// Plays one seed after the other.
fn kill(length: Duration, seed: u64) -> Result<killed::Tally, String> {
    let (began, mut reached) = (Instant::now(), killed::Tally::default());
    let mut next_line = Duration::from_secs(60);
    for seed in seed.. {
        reached = reached + killed::play(seed, KILLS_EACH)?;
        if began.elapsed() > length {
            break;
        }
        if began.elapsed() > next_line {
            println!("killed: {} min: {reached}", began.elapsed().as_secs() / 60);
            next_line += Duration::from_secs(60);
        }
    }
    Ok(reached)
}

/// What, minutes, and seed.
fn parse(arguments: &[String]) -> Option<(&str, u64, Option<u64>)> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (kind, minutes, seed) = match words[..] {
        [kind, "--minutes", minutes] => (kind, minutes, None),
        [kind, "--minutes", minutes, "--seed", seed] => (kind, minutes, Some(seed.parse().ok()?)),
        _ => return None,
    };
    let minutes = minutes.parse().ok().filter(|minutes| *minutes > 0)?;
    ["groups", "killed"].contains(&kind).then_some((kind, minutes, seed))
}
