//! What Linux says of this process and machine. Elsewhere, and where a file is missing: zero.

use std::fs;
use std::process::Command;

/// What `/proc` counts CPU time in, on every architecture there is.
const TICKS_PER_SECOND: f64 = 100.0;

/// Cores, kernel and compiler, in one line.
pub(crate) fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find(|line| line.starts_with("model name"));
    let model = model.and_then(|line| line.split(": ").nth(1)).unwrap_or("unknown processor");
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let rustc = Command::new("rustc").arg("--version").output();
    let rustc = rustc.map(|it| String::from_utf8_lossy(&it.stdout).into_owned());
    let rustc = rustc.unwrap_or_else(|_| "rustc unknown".to_owned());
    format!("{cores} cores ({model}), kernel {}, {}", kernel.trim(), rustc.trim())
}

/// Seconds of CPU, in the kernel too, that all threads of this process have used, the ended ones
/// included. Good to 20 ms.
pub(crate) fn cpu_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The second field may hold anything, so counting starts after its closing bracket.
    let after = stat.rsplit_once(')').map_or("", |(_, after)| after);
    let ticks = after.split_whitespace().skip(11).take(2).map(|it| it.parse().unwrap_or(0.0));
    ticks.sum::<f64>() / TICKS_PER_SECOND
}

/// Resident memory in MiB.
pub(crate) fn resident_mebibytes() -> f64 {
    status_mebibytes("VmRSS:")
}

/// The most that was ever resident, or since [`forget_peak`], in MiB.
pub(crate) fn peak_mebibytes() -> f64 {
    status_mebibytes("VmHWM:")
}

/// Where that is refused, the peak is that of the whole run, which is no less.
pub(crate) fn forget_peak() {
    let _ = fs::write("/proc/self/clear_refs", "5");
}

fn status_mebibytes(name: &str) -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kibibytes.unwrap_or(0.0) / 1024.0
}

/// How many file descriptors are open.
pub(crate) fn open_files() -> usize {
    // One of them is the one that reads the list.
    fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count().saturating_sub(1))
}
