//! Ours and its peers, side by side, on the same work, in one run:
//! `cargo run --release -p ottla-peers -- [--quick] [--json FILE] [--plots FOLDER] [ROW…]`.
//!
//! In each row all contenders run by turns, round after round; the medians count, and of ratios
//! those of pairs in one round. What depends on the machine is a ratio. Payloads are random bytes
//! that are built anew for each record; every consumer reads each of them to the last byte, and the
//! sum is printed, which is that of all contenders that lose nothing.
//!
//! An aim that is missed is said, and is no failure.

#![allow(clippy::print_stdout, reason = "a table on standard output is what this program is for")]

mod channels;
mod machine;
mod measure;
mod payload;
mod plot;
mod report;
mod rows;
mod show;

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use clap::Parser;
use tokio::runtime::{Builder, Runtime};

use crate::report::Report;
use crate::rows::Brokers;

/// Ours and its peers, side by side.
#[derive(Parser)]
#[command(name = "ottla-peers")]
struct Args {
    /// Only shows that it runs: so little is measured that no figure means anything
    #[arg(long)]
    quick: bool,
    /// Writes all figures to this file, too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Writes the comparisons as a table for a README
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Runs each row for so many rounds, after one that warms up
    #[arg(long, value_name = "ROUNDS")]
    rounds: Option<usize>,
    /// Draws what grows into this folder, a file for each row
    #[arg(long, value_name = "FOLDER")]
    plots: Option<PathBuf>,
    /// Weighs a broker with so many of something, for the rows that grow: they run this program
    #[arg(long, hide = true, value_name = "WHAT:COUNT")]
    weigh: Option<String>,
    /// Runs only contenders with this in their name, and compares nothing: for a profiler
    #[arg(long, value_name = "CONTENDER")]
    only: Option<String>,
    /// The rows that are wanted, or the beginnings of their names; all, if none is named
    #[arg(value_name = "ROW")]
    rows: Vec<String>,
}

/// How much is measured.
#[derive(Clone, Copy)]
struct Scale {
    quick: bool,
    rounds: Option<usize>,
}

impl Scale {
    /// `full`, or in a quick run `quick`.
    fn pick<T>(self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }

    fn rounds(self) -> usize {
        self.rounds.unwrap_or(self.pick(7, 1))
    }
}

/// What a row has to do with: the runtime is its own.
struct Bench<'a> {
    name: &'static str,
    runtime: Runtime,
    scale: Scale,
    report: &'a mut Report,
    brokers: &'a mut Brokers,
}

/// Runs a future on a worker; `block_on` alone would run it on a third thread.
fn on_worker<T: Send + 'static>(
    runtime: &Runtime,
    future: impl Future<Output = T> + Send + 'static,
) -> T {
    runtime.block_on(async { tokio::spawn(future).await.expect("the task does not panic") })
}

fn main() -> ExitCode {
    // `walrus-rust` takes its folder, and whether it is to be silent, from the environment alone.
    if std::env::var_os("WALRUS_DATA_DIR").is_none() {
        return again_with_folder();
    }
    let args = Args::parse();
    if let Some(what) = args.weigh {
        rows::weigh(&runtime(), &what);
    }
    if let Some(unknown) = args.rows.iter().find(|it| !rows::ALL.iter().any(|(n, _)| names(it, n)))
    {
        let known: Vec<&str> = rows::ALL.iter().map(|(name, _)| *name).collect();
        eprintln!("there is no row {unknown:?}; the rows are: {}", known.join(" "));
        return ExitCode::from(2);
    }
    let command: Vec<String> = std::env::args().skip(1).collect();
    let command = format!("cargo run --release -p ottla-peers -- {}", command.join(" "));
    let command = command.trim_end_matches([' ', '-']).to_owned();
    let mut report = Report::start(machine::describe(), machine::when_and_what(), command);
    report.only = args.only;
    let mut brokers = Brokers::default();
    for (name, run) in rows::ALL {
        if args.rows.is_empty() || args.rows.iter().any(|it| names(it, name)) {
            let scale = Scale { quick: args.quick, rounds: args.rounds };
            let (report, brokers) = (&mut report, &mut brokers);
            run(&mut Bench { name, runtime: runtime(), scale, report, brokers });
        }
    }
    report.end();
    drop(brokers);
    match write(&report, args.json, args.markdown, args.plots) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// What was asked for beside the table.
fn write(
    report: &Report,
    json: Option<PathBuf>,
    markdown: Option<PathBuf>,
    plots: Option<PathBuf>,
) -> Result<(), String> {
    let files = [(json, Report::json as fn(&_) -> _), (markdown, Report::markdown)];
    for (file, text) in files.into_iter().filter_map(|(file, text)| Some((file?, text))) {
        let written = std::fs::write(&file, text(report));
        written.map_err(|error| format!("{}: {error}", file.display()))?;
    }
    let Some(folder) = plots else { return Ok(()) };
    let explain = |error: &dyn std::fmt::Display| format!("{}: {error}", folder.display());
    std::fs::create_dir_all(&folder).map_err(|error| explain(&error))?;
    for growth in report.growths() {
        plot::draw(growth, &folder).map_err(|error| explain(&error))?;
    }
    Ok(())
}

/// This program once more, with a folder that goes when it has ended.
fn again_with_folder() -> ExitCode {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let program = std::env::current_exe().expect("a program knows where it is");
    let mut again = Command::new(program);
    again.args(std::env::args_os().skip(1)).env("WALRUS_QUIET", "1");
    let ended = again.env("WALRUS_DATA_DIR", folder.path().join("walrus")).status();
    let code = ended.expect("it can be started").code().unwrap_or(1);
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}

/// Whether this argument means that row.
fn names(argument: &str, row: &str) -> bool {
    row.starts_with(argument)
}

/// Two workers, as the machine that the aims are set for has two cores.
fn runtime() -> Runtime {
    let built = Builder::new_multi_thread().worker_threads(2).enable_all().build();
    built.expect("a runtime can be built")
}
