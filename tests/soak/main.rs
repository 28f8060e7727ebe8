//! The third tier of tests: for as long as one likes, and stating the number it reached.
//!
//! `tests/soak/run groups 30`, or `cargo test --release --test soak -- groups --minutes 30`; so
//! too `crash` and `killed`. Not run by `cargo test` alone.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it is a program that reports")]

mod crash;
mod groups;
mod kill;
#[allow(unused, reason = "the integration tests use all of it")]
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
use std::time::Duration;

const USAGE: &str =
    "usage: cargo test --release --test soak -- groups|crash|killed --minutes N [--seed N]";

/// What runs.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Groups,
    Crash,
    Killed,
}

fn main() -> ExitCode {
    if killed::be_child() {
        return ExitCode::SUCCESS;
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((kind, minutes, seed)) = parse(&arguments) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let name = &arguments[0];
    let seed = seed.unwrap_or_else(random::fresh);
    println!("{name}: {minutes} min, seed {seed}");
    match kind.run(Duration::from_secs(60 * minutes), seed) {
        Ok(reached) => {
            println!("{name}: {minutes} min, seed {seed}: {reached}");
            ExitCode::SUCCESS
        }
        Err(violation) => {
            println!("{name}: FAILED, seed {seed}: {violation}");
            ExitCode::FAILURE
        }
    }
}

impl Kind {
    /// What it reached, or what is wrong.
    fn run(self, length: Duration, seed: u64) -> Result<String, String> {
        match self {
            Kind::Groups => {
                let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
                let runtime = runtime.expect("a runtime can be built");
                let reached = runtime.block_on(groups::run(length, seed))?;
                Ok(format!("{reached}; 0 lost, 0 out of order"))
            }
            Kind::Crash => {
                let reached = crash::run(length, seed)?;
                Ok(format!("{reached}; 0 lost, 0 corrupt, 0 failed opens"))
            }
            Kind::Killed => {
                let reached = kill::run(length, seed)?;
                Ok(format!("{reached}; 0 lost, 0 out of order"))
            }
        }
    }
}

/// What to run, minutes and seed.
fn parse(arguments: &[String]) -> Option<(Kind, u64, Option<u64>)> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (kind, minutes, seed) = match words[..] {
        [kind, "--minutes", minutes] => (kind, minutes, None),
        [kind, "--minutes", minutes, "--seed", seed] => (kind, minutes, Some(seed.parse().ok()?)),
        _ => return None,
    };
    let kind = match kind {
        "groups" => Kind::Groups,
        "crash" => Kind::Crash,
        "killed" => Kind::Killed,
        _ => return None,
    };
    Some((kind, minutes.parse().ok().filter(|minutes| *minutes > 0)?, seed))
}
