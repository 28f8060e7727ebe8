//! What the hot paths cost in instructions: `benches/instructions/run` counts them with valgrind
//! and holds them against `limits.tsv`.
//!
//! `PATH ROUNDS` runs one and prints how many records that were; `--list` prints the names. Without
//! either, as `cargo bench` calls it, each path is run for a round, and nothing is counted.

#![allow(clippy::print_stdout, reason = "the script reads standard output")]

mod paths;
mod payload;
#[cfg(feature = "tcp")]
mod requests;

use paths::PATHS;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match &args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--list"] => PATHS.iter().for_each(|path| println!("{}", path.name)),
        [name, rounds] => {
            let path = PATHS.iter().find(|path| path.name == *name).expect("it is in the list");
            println!("{}", (path.run)(rounds.parse().expect("a number")).records);
        }
        _ => PATHS.iter().for_each(|path| {
            let tally = (path.run)(1);
            println!("{}: {} records, {} batches", path.name, tally.records, tally.batches);
        }),
    }
}
