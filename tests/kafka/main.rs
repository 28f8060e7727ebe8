//! Apache Kafka's own eyes on our data directories, and ours on one of Kafka's: the half of
//! `tests/kafka/files` that is not Java. Not run by `cargo test` alone.
//!
//! `make` writes data directories; Kafka then says what it sees in each of their files; `check`
//! holds that, word for word, against what is in the bytes and what our consumer reads. `foreign`
//! does the same with directories that a broker of Kafka's has written.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it is a program that reports")]

mod check;
mod consumed;
mod entries;
mod foreign;
mod killed;
mod make;
mod offsets;
mod power;
mod said;
mod seen;

use std::path::Path;
use std::process::ExitCode;
use std::{fs, io};

const USAGE: &str = "usage: cargo test --test kafka -- \
    make DIRS | check DIRS SAID | foreign DIRS SAID | produce DIR";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.expect("a runtime can be built");
    match words[..] {
        ["make", dirs] => runtime.block_on(make::all(Path::new(dirs))),
        ["produce", dir] => runtime.block_on(killed::produce_for_ever(Path::new(dir))),
        ["check", dirs, said] => {
            if !runtime.block_on(check::all(Path::new(dirs), Path::new(said))) {
                return ExitCode::FAILURE;
            }
        }
        ["foreign", dirs, said] => {
            if !foreign::all(Path::new(dirs), Path::new(said)) {
                return ExitCode::FAILURE;
            }
        }
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

/// Copies a folder with all that is below it.
fn copy_dir(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        match entry.file_type()?.is_dir() {
            true => copy_dir(&entry.path(), &target)?,
            false => drop(fs::copy(entry.path(), target)?),
        }
    }
    Ok(())
}
