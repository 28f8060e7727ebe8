//! This very binary once more, as a process of its own that runs one ignored test.
//!
//! For what concerns a whole process: being killed, its memory, its open files.

use std::env;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{self, ChildStdin, ChildStdout, Command, Stdio};

const DIR: &str = "OTTLA_TEST_CHILD_DIR";

/// What the test harness exits with after a failed test.
const FAILED: i32 = 101;

/// The directory that the parent handed over. `None` if there is no parent: then a test that is
/// meant for children has nothing to do.
pub(crate) fn child_dir() -> Option<PathBuf> {
    env::var_os(DIR).map(PathBuf::from)
}

/// A child process; killed when dropped.
pub(crate) struct Child {
    process: process::Child,
    lines: BufReader<ChildStdout>,
    _stdin: Option<ChildStdin>,
}

impl Child {
    /// Runs the ignored test of this name on `dir`.
    pub(crate) fn start(test: &str, dir: &Path) -> Child {
        Child::start_with(test, dir, &[])
    }

    /// As [`Child::start`], with more variables in its environment.
    pub(crate) fn start_with(test: &str, dir: &Path, variables: &[(&str, String)]) -> Child {
        let mut process = Command::new(env::current_exe().unwrap())
            .args([test, "--exact", "--ignored", "--nocapture", "--test-threads=1"])
            .env(DIR, dir)
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap());
        let stdin = process.stdin.take();
        Child { process, lines, _stdin: stdin }
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// The next line that begins with `>`, without it: others are the test harness's. `None` at
    /// the end; a last line that is not whole does not count.
    pub(crate) fn line(&mut self) -> Option<String> {
        loop {
            let mut line = String::new();
            self.lines.read_line(&mut line).unwrap();
            let whole = line.strip_suffix('\n')?;
            // The harness begins a line of its own before the test prints anything.
            if let Some((_, said)) = whole.split_once('>') {
                return Some(said.to_owned());
            }
        }
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
    }

    /// Waits for the end, and says whether it was a good one.
    pub(crate) fn ended_well(&mut self) -> bool {
        self.process.wait().unwrap().success()
    }

    /// Waits for the end, and says whether it was a failed test; not a kill, nor a good one.
    pub(crate) fn has_failed(&mut self) -> bool {
        self.process.wait().unwrap().code() == Some(FAILED)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
