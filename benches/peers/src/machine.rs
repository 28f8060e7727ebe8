//! What the system says of this machine and process. What Linux alone has is zero elsewhere.

use std::fs;
use std::process::Command;

use rustix::time::{ClockId, clock_gettime};

/// Cores, memory, kernel, file system and compiler, in one line.
pub(crate) fn describe() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find(|line| line.starts_with("model name"));
    let model = model.and_then(|line| line.split(": ").nth(1)).unwrap_or("unknown processor");
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let rustc = said_by("rustc", &["--version"]).unwrap_or_else(|| "rustc unknown".to_owned());
    let memory = memory_gibibytes();
    let model = model.trim();
    format!("{cores} cores ({model}), {memory:.0} GiB, Linux {}, {rustc}", kernel.trim())
}

/// The day, and the version of ottla that is measured.
pub(crate) fn when_and_what() -> String {
    let date = said_by("date", &["-u", "+%F %H:%M UTC"]).unwrap_or_default();
    let version = said_by("git", &["describe", "--always", "--dirty"]);
    let version = version.unwrap_or_else(|| env!("CARGO_PKG_VERSION").to_owned());
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load: Vec<&str> = load.split(' ').take(3).collect();
    format!("{date}, ottla {version}, load before it {}", load.join(" "))
}

fn said_by(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).output().ok()?;
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    (output.status.success() && !said.is_empty()).then_some(said)
}

fn memory_gibibytes() -> f64 {
    kibibytes("/proc/meminfo", "MemTotal:") / f64::from(1 << 20)
}

/// Seconds of CPU, in the kernel too, that all threads of this process have used.
pub(crate) fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Touches a GiB and frees it, so that whoever takes memory next finds it at hand. The host of a
/// virtual machine takes back what is free, and gives it again page by page: writing a file then
/// takes ten times the CPU, in whichever round has the bad luck.
pub(crate) fn warm_memory() {
    let mut touched = vec![0_u8; 1 << 30];
    touched.iter_mut().step_by(4096).for_each(|byte| *byte = 1);
    drop(std::hint::black_box(touched));
}

/// Resident memory in MiB.
pub(crate) fn resident_mebibytes() -> f64 {
    kibibytes("/proc/self/status", "VmRSS:") / 1024.0
}

pub(crate) fn kibibytes(file: &str, name: &str) -> f64 {
    let text = fs::read_to_string(file).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let figure = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    figure.unwrap_or(0.0)
}

/// Seconds of CPU of this process's living threads of this name.
pub(crate) fn thread_cpu_seconds(name: &str) -> f64 {
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let nanos = tasks.filter_map(|task| {
        let is_one = fs::read_to_string(task.path().join("comm")).ok()?.trim() == name;
        let said = fs::read_to_string(task.path().join("schedstat")).ok()?;
        is_one.then(|| said.split_whitespace().next()?.parse::<f64>().ok()).flatten()
    });
    nanos.sum::<f64>() / 1e9
}
