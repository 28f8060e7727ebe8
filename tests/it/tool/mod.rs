//! The program `ottla` as its users have it: arguments in, text and exit codes out.

mod directories;
mod groups;
mod network;
mod records;
mod serve;
mod topics;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use serde_json::Value;

/// How long it may take before it counts as hanging.
const PATIENCE: Duration = Duration::from_secs(60);

/// How a run of the program ended.
#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Ran {
    /// What it printed, if it could do what it was told.
    #[track_caller]
    fn done(self) -> String {
        assert_eq!(self.code, Some(0), "{self:#?}");
        self.out
    }

    #[track_caller]
    fn json(self) -> Value {
        let out = self.done();
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}"))
    }

    /// Asserts that it could not be done, and why.
    #[track_caller]
    fn fails(self, parts: &[&str]) {
        assert_eq!(self.code, Some(1), "{self:#?}");
        let says = self.err.starts_with("ottla: ") || self.err.contains("\nottla: ");
        assert!(says && parts.iter().all(|it| self.err.contains(it)), "{parts:?}: {self:#?}");
    }
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ottla"));
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Waits for its end, which must come.
fn ended(child: Child) -> Ran {
    let (ended, wait) = mpsc::channel();
    let id = child.id();
    thread::spawn(move || ended.send(child.wait_with_output()));
    let Ok(output) = wait.recv_timeout(PATIENCE) else {
        let _ = Command::new("kill").args(["-KILL", &id.to_string()]).status();
        panic!("it hangs");
    };
    let output = output.unwrap();
    let text = |bytes| String::from_utf8(bytes).expect("it prints text");
    Ran { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

fn with_input(input: &[u8], args: &[&str]) -> Ran {
    let mut child = command(args).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    // It need not read all of it.
    let feeding = thread::spawn(move || drop(stdin.write_all(&input)));
    let ran = ended(child);
    feeding.join().unwrap();
    ran
}

fn ottla(args: &[&str]) -> Ran {
    with_input(b"", args)
}

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary directories have names of text")
}

/// A directory that is not there yet, in one that goes with the test.
fn place() -> (tempfile::TempDir, String) {
    let dir = tempfile::TempDir::new().unwrap();
    let place = text(&dir.path().join("data")).to_owned();
    (dir, place)
}

/// `ottla serve`, for as long as this lives.
struct Served {
    child: Option<Child>,
    address: String,
    /// Whoever closes it ends the program.
    _out: BufReader<ChildStdout>,
    dir: Option<tempfile::TempDir>,
}

impl Served {
    /// On a directory of its own.
    fn start() -> Served {
        let (dir, data) = place();
        let mut served = Served::start_with(&["-d", &data]);
        served.dir = Some(dir);
        served
    }

    fn start_with(args: &[&str]) -> Served {
        let args = [&["serve", "--listen", "127.0.0.1:0"], args].concat();
        let mut child = command(&args).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on ").expect("it says where").to_owned();
        Served { child: Some(child), address, _out: out, dir: None }
    }

    fn place(&self) -> [&str; 2] {
        ["--bootstrap", &self.address]
    }

    /// Ends it as a service manager does.
    #[cfg(unix)]
    fn stop(mut self) -> Ran {
        let child = self.child.take().expect("it is taken once");
        signal(&child, "-TERM");
        ended(child)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[cfg(unix)]
fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args([name, &child.id().to_string()]).status();
    assert!(sent.unwrap().success());
}

#[test]
fn help_names_every_command_and_every_exit_code() {
    let help = ottla(&["--help"]).done();
    for word in
        ["serve", "topics", "produce", "consume", "groups", "users", "dump", "verify", "repair"]
    {
        assert!(help.contains(&format!("\n  {word} ")), "{word}: {help}");
    }
    for code in ["  0  ", "  1  ", "  2  ", "  3  "] {
        assert!(help.contains(code), "{code}: {help}");
    }
    for args in [&["topics", "create"][..], &["groups", "reset"], &["consume"], &["verify"]] {
        let args = [args, &["--help"]].concat();
        assert!(ottla(&args).done().contains("Usage: ottla"), "{args:?}");
    }
}

#[test]
fn arguments_that_are_wrong_have_a_code_of_their_own() {
    let wrong: [&[&str]; 11] = [
        &[],
        &["remove"],
        &["topics", "list"],
        &["topics", "list", "-d", "data", "-b", "127.0.0.1:9092"],
        &["verify", "-b", "127.0.0.1:9092"],
        &["topics", "create", "-d", "data", "orders", "--durability", "memory"],
        &["consume", "-d", "data", "orders", "--format", "%q"],
        &["consume", "-d", "data", "orders", "--offset", "soon"],
        &["consume", "-d", "data", "orders", "--group", "billing", "--offset", "3"],
        &["produce", "-d", "data"],
        &["groups", "reset", "-d", "data", "billing", "--topic", "orders", "--to", "@soon"],
    ];
    for args in wrong {
        let ran = ottla(args);
        assert_eq!(ran.code, Some(2), "{args:?}: {ran:#?}");
        assert!(ran.err.contains("--help") || ran.err.contains("Usage:"), "{args:?}: {ran:#?}");
    }
}
