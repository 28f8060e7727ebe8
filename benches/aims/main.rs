//! The aims of the embedded log, measured: `cargo bench --bench aims [-- --quick] [-- NAME…]`.
//!
//! Every figure that depends on the machine is a ratio against a reference that is measured
//! alternately in the same process. A row shows the medians, and of the ratios also the least and
//! the greatest. `--quick` is for CI: sizes so small that only the running is tested. Names choose
//! groups: `groups`, `commits`, `compaction`, `rebalance`, `life`, `reopen`. `reopen 10` reopens a log of 10 GiB as well, for which
//! there has to be room.
//!
//! What ottla is measured against other libraries by is in `benches/peers`.

#![allow(clippy::print_stdout, reason = "a table on standard output is what this program is for")]

mod compaction;
mod groups;
mod life;
mod payload;
mod proc;
mod rebalance;
mod reopen;
mod report;

use tokio::runtime::{Builder, Runtime};

use report::Report;

/// How much is measured.
#[derive(Clone, Copy)]
struct Scale {
    quick: bool,
    /// The size of one more log to reopen.
    gibibytes: Option<u64>,
}

impl Scale {
    /// `full`, or in a quick run `quick`.
    fn pick<T>(self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }

    fn rounds(self) -> usize {
        self.pick(7, 1)
    }
}

type Group = fn(&Runtime, Scale, &mut Report);

const GROUPS: [(&str, Group); 6] = [
    // First what is to show how memory grows: later, freed memory would hide some of it.
    ("groups", groups::run),
    ("commits", groups::awaited),
    ("compaction", compaction::run),
    ("rebalance", rebalance::run),
    ("life", life::run),
    ("reopen", reopen::run),
];

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [reopen::CRASH, dir, bytes] = &args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        return reopen::append_and_crash(&runtime(), dir, bytes);
    }
    let gibibytes = args.iter().find_map(|arg| arg.parse().ok());
    let scale = Scale { quick: args.iter().any(|arg| arg == "--quick"), gibibytes };
    // Cargo passes `--bench`; what is left are names.
    let is_name = |arg: &&String| !arg.starts_with("--") && arg.parse::<u64>().is_err();
    let names: Vec<&String> = args.iter().filter(is_name).collect();
    println!("{}", proc::machine());
    let mut report = Report::start();
    for (name, run) in GROUPS {
        if names.is_empty() || names.iter().any(|wanted| *wanted == name) {
            run(&runtime(), scale, &mut report);
        }
    }
    report.end();
}

/// Two workers, as the machine that the aims are set for has two cores.
fn runtime() -> Runtime {
    let built = Builder::new_multi_thread().worker_threads(2).enable_all().build();
    built.expect("a runtime can be built")
}

/// Runs a future on a worker; `block_on` alone would run it on a third thread.
fn on_worker<T: Send + 'static>(
    runtime: &Runtime,
    future: impl Future<Output = T> + Send + 'static,
) -> T {
    runtime.block_on(async { tokio::spawn(future).await.expect("the task does not panic") })
}
