//! The two brokers: started by the first row that wants them, ended with this program.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, UNIX_EPOCH};

use ottla::{Client, Durability, Error, Record, TopicConfig};
use tokio::runtime::Runtime;

use super::{KAFKA, OURS};
use crate::machine::kibibytes;

/// How long a broker may take from its start to the first record.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long it is left alone when it could not be reached.
const PAUSE: Duration = Duration::from_millis(1);

/// A broker's process.
#[derive(Clone, Debug)]
pub(super) struct Process {
    pub(super) name: &'static str,
    pid: u32,
    address: String,
    /// When it was started, since 1970.
    started: Duration,
}

impl Process {
    pub(super) async fn client(&self) -> ottla::Result<Client> {
        Client::connect(&self.address).await
    }

    /// Seconds of CPU that all its threads have used, in the kernel too, to a hundredth.
    pub(super) fn cpu_seconds(&self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        // The program's name stands in parentheses, and may hold anything.
        let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        let ticks = fields.skip(11).take(2).filter_map(|field| field.parse::<f64>().ok());
        // The kernel counts a hundred a second for whoever asks here.
        ticks.sum::<f64>() / 100.0
    }

    /// Resident memory in bytes.
    pub(super) fn resident(&self) -> f64 {
        kibibytes(&format!("/proc/{}/status", self.pid), "VmRSS:") * 1024.0
    }

    /// The most that was ever resident.
    pub(super) fn peak(&self) -> f64 {
        kibibytes(&format!("/proc/{}/status", self.pid), "VmHWM:") * 1024.0
    }

    /// Seconds from the start of the process to the first record that is acknowledged, in a topic
    /// created for it. It is asked again and again from the beginning.
    pub(super) async fn first_acknowledged(&self) -> Result<f64, String> {
        let age = || UNIX_EPOCH.elapsed().unwrap_or_default().saturating_sub(self.started);
        loop {
            match self.acknowledge_one().await {
                Ok(()) => return Ok(age().as_secs_f64()),
                Err(why) if age() > PATIENCE => return Err(format!("{}: {why}", self.name)),
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    async fn acknowledge_one(&self) -> ottla::Result<()> {
        const TOPIC: &str = "first";
        let client = self.client().await?;
        match create_topic(&client, TOPIC).await {
            Ok(()) | Err(Error::TopicAlreadyExists { .. }) => {}
            Err(error) => return Err(error),
        }
        client.producer().build().send(Record::to(TOPIC).value("first")).await?;
        Ok(())
    }
}

/// What both promise of it is asked for, and looked at.
pub(super) async fn create_topic(client: &Client, name: &str) -> ottla::Result<()> {
    let config = TopicConfig::new().partitions(1).durability(Durability::Process);
    let created = client.admin().create_topic(name, config).await?;
    assert_eq!(created.durability, Durability::Process, "the same is promised by both");
    Ok(())
}

/// Both brokers, once they are wanted.
#[derive(Default)]
pub(crate) struct Brokers {
    script: Option<Script>,
    /// Why there are none.
    failed: Option<String>,
    running: Option<[Process; 2]>,
}

impl Brokers {
    /// Ours and Kafka, running.
    pub(super) fn both(&mut self, runtime: &Runtime) -> Result<[Process; 2], String> {
        if let Some(both) = &self.running {
            return Ok(both.clone());
        }
        let mut start = |name| {
            let process = self.start(name)?;
            runtime.block_on(process.first_acknowledged())?;
            Ok(process)
        };
        let started = start(OURS).and_then(|ours| Ok([ours, start(KAFKA)?]));
        let both = started.inspect_err(|why: &String| self.failed = Some(why.clone()))?;
        self.running = Some(both.clone());
        Ok(both)
    }

    /// Starts one, which nobody waits for.
    pub(super) fn start(&mut self, name: &'static str) -> Result<Process, String> {
        if let Some(why) = &self.failed {
            return Err(why.clone());
        }
        if self.script.is_none() {
            let script = build_ottla().and_then(|ottla| Script::start(&ottla));
            self.script = Some(script.inspect_err(|why| self.failed = Some(why.clone()))?);
        }
        let script = self.script.as_mut().expect("it was started");
        let answer = script.ask("start", name)?;
        let words: Vec<&str> = answer.split_whitespace().collect();
        let [started, pid, address] = words[..] else {
            return Err(format!("benches/peers/brokers has answered {answer:?}"));
        };
        let started = Duration::from_secs_f64(started.parse().expect("it is the time"));
        let pid = pid.parse().expect("it is a process");
        Ok(Process { name, pid, address: address.to_owned(), started })
    }

    pub(super) fn stop(&mut self, name: &'static str) -> Result<(), String> {
        let script = self.script.as_mut().expect("it has started one");
        script.ask("stop", name).map(drop)
    }

    /// Stops those that [`Brokers::both`] has started.
    pub(super) fn stop_both(&mut self) -> Result<(), String> {
        for process in self.running.take().into_iter().flatten() {
            self.stop(process.name)?;
        }
        Ok(())
    }
}

/// `benches/peers/brokers`, which has started them, and stops them when it is asked no more.
struct Script {
    child: Child,
    /// `None` once there is nothing more to ask.
    questions: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Script {
    fn start(ottla: &Path) -> Result<Script, String> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let is_there = |tool: &&str| std::env::split_paths(&path).any(|it| it.join(tool).is_file());
        if let Some(missing) = ["bash", "java", "javac", "mvn"].iter().find(|it| !is_there(it)) {
            return Err(format!("there is no {missing}, which an Apache Kafka needs"));
        }
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("brokers");
        let mut command = Command::new(script);
        command.arg(ottla).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|why| format!("benches/peers/brokers: {why}"))?;
        let questions = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut script = Script { child, questions, answers };
        let version = script.answer()?;
        println!("\nApache Kafka {version}, in a virtual machine with its start script's settings");
        Ok(script)
    }

    fn ask(&mut self, what: &str, name: &str) -> Result<String, String> {
        let which = if name == OURS { "ottla" } else { "kafka" };
        let mut questions = self.questions.as_ref().expect("it is open until the end");
        // Where it has ended, so have its answers.
        let _ = writeln!(questions, "{what} {which}");
        self.answer()
    }

    fn answer(&mut self) -> Result<String, String> {
        let mut line = String::new();
        match self.answers.read_line(&mut line) {
            Ok(bytes) if bytes > 0 => Ok(line.trim().to_owned()),
            _ => Err("benches/peers/brokers has ended".to_owned()),
        }
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        drop(self.questions.take());
        // It stops what it has started, whatever its status.
        let _ = self.child.wait();
    }
}

/// Builds the program as it is released, beside this one. Returns where it is.
fn build_ottla() -> Result<PathBuf, String> {
    let cargo =
        std::env::var_os("CARGO").ok_or("it is not run by cargo, which has to build ottla")?;
    let own = std::env::current_exe().map_err(|why| format!("where it is: {why}"))?;
    let folder = own.parent().expect("a program is in a folder");
    let target = folder.parent().expect("it is in a target folder");
    let mut build = Command::new(cargo);
    build.args(["build", "--quiet", "--locked", "--release", "--features", "full"]);
    build.args(["--bin", "ottla", "--target-dir"]).arg(target);
    build.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."));
    // What `cargo run` says of this package: build scripts would take it for news, and run again.
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    for name in names {
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            build.env_remove(name);
        }
    }
    match build.status() {
        Ok(status) if status.success() => Ok(target.join("release").join("ottla")),
        Ok(status) => Err(format!("building ottla: {status}")),
        Err(why) => Err(format!("building ottla: {why}")),
    }
}
