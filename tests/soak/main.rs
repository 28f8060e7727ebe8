//! The third tier of tests: for as long as one likes, and stating the number it reached.
//!
//! `tests/soak/run groups 30`, or `cargo test --release --test soak -- groups --minutes 30`. Not
//! run by `cargo test` alone.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it is a program that reports")]

mod groups;
mod ledger;
mod member;
mod producer;
mod random;

use std::process::ExitCode;
use std::time::Duration;

const USAGE: &str = "usage: cargo test --release --test soak -- groups --minutes N [--seed N]";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((minutes, seed)) = parse(&arguments) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let seed = seed.unwrap_or_else(random::fresh);
    println!("groups: {minutes} min, seed {seed}");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.expect("a runtime can be built");
    let length = Duration::from_secs(60 * minutes);
    match runtime.block_on(groups::run(length, seed)) {
        Ok(reached) => {
            println!("groups: {minutes} min, seed {seed}: {reached}; 0 lost, 0 out of order");
            ExitCode::SUCCESS
        }
        Err(violation) => {
            println!("groups: FAILED, seed {seed}: {violation}");
            ExitCode::FAILURE
        }
    }
}

/// Minutes and seed.
fn parse(arguments: &[String]) -> Option<(u64, Option<u64>)> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (minutes, seed) = match words[..] {
        ["groups", "--minutes", minutes] => (minutes, None),
        ["groups", "--minutes", minutes, "--seed", seed] => (minutes, Some(seed.parse().ok()?)),
        _ => return None,
    };
    Some((minutes.parse().ok().filter(|minutes| *minutes > 0)?, seed))
}
