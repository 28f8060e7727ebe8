//! A mirror between processes that are killed with SIGKILL, on both sides, again and again.
//!
//! The agent is this very binary: it opens a data directory, mirrors it, and produces to it all the
//! time. It says what was acknowledged to it, and how much is mirrored. In the end both sides have the
//! same records, each once, in the same order, and what was acknowledged is among them.

use std::collections::BTreeSet;
use std::env;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use ottla::{Backlog, Broker, Client, Durability, Record, TopicConfig};
use tempfile::TempDir;

use super::{assert_same, content};
use crate::support::{Child, child_dir, runtime, tell};

pub(crate) const TOPIC: &str = "records";
pub(crate) const PARTITIONS: i32 = 4;
const PRODUCERS: usize = 3;
/// How many records each sends before it waits for their acknowledgements.
const BURST: usize = 16;
/// What the agent is told by its environment.
const TARGET: &str = "OTTLA_MIRROR_TARGET";
const LIFE: &str = "OTTLA_MIRROR_LIFE";
const ENDS: &str = "OTTLA_MIRROR_ENDS";
/// How often each side is killed.
const KILLS: usize = 8;

fn say(line: String) {
    // One write: a kill cuts between lines, or in the last one.
    let _ = std::io::stdout().lock().write_all(format!(">{line}\n").as_bytes());
}

fn asked(name: &str) -> Option<String> {
    env::var(name).ok()
}

/// An agent, seen by its parent.
pub(crate) struct Agent {
    child: Child,
    life: usize,
}

/// All that agents have said.
#[derive(Default)]
pub(crate) struct Heard {
    /// The values that were acknowledged.
    pub(crate) acknowledged: BTreeSet<String>,
    /// How many records were mirrored, of all lives.
    pub(crate) mirrored: u64,
}

impl Agent {
    /// The next life. If it is the last, it ends once all is mirrored.
    pub(crate) fn start(dir: &Path, target: &str, life: usize, is_last: bool) -> Agent {
        let mut told = vec![(TARGET, target.to_owned()), (LIFE, life.to_string())];
        if is_last {
            told.push((ENDS, String::new()));
        }
        let child = Child::start_with("mirror::killed::an_agent", dir, &told);
        Agent { child, life }
    }

    /// Listens until so many records more are mirrored, or acknowledged; or until it ends, which must
    /// be well.
    pub(crate) fn listen(&mut self, heard: &mut Heard, mirrored: u64, acknowledged: usize) {
        let (before, mut own) = (heard.acknowledged.len(), 0);
        while own < mirrored && heard.acknowledged.len() < before.saturating_add(acknowledged) {
            let Some(line) = self.child.line() else {
                assert!(self.child.ended_well(), "life {} has failed", self.life);
                return;
            };
            match line.split_once(' ') {
                Some(("acked", value)) => drop(heard.acknowledged.insert(value.to_owned())),
                Some(("mirrored", count)) => {
                    let now: u64 = count.parse().unwrap();
                    heard.mirrored += now - own;
                    own = now;
                }
                _ => panic!("{line:?}"),
            }
        }
    }

    /// SIGKILL; then what it has still said.
    pub(crate) fn kill(mut self, heard: &mut Heard) {
        self.child.kill();
        while let Some(line) = self.child.line() {
            if let Some(("acked", value)) = line.split_once(' ') {
                heard.acknowledged.insert(value.to_owned());
            }
        }
    }
}

/// A data directory that needs no syncs to outlive a process.
pub(crate) async fn open(dir: &Path) -> Broker {
    let defaults = TopicConfig::new().durability(Durability::Process);
    Broker::builder().topic_defaults(defaults).open(dir).await.unwrap()
}

async fn produce(broker: Broker, life: usize, producer: usize) {
    let handle = broker.producer().build();
    for n in (0..).step_by(BURST) {
        let mut deliveries = Vec::new();
        for n in n..n + BURST {
            let value = format!("{life}.{producer}.{n}");
            let record = Record::to(TOPIC).partition((n % PARTITIONS as usize) as i32);
            let record = record.key(producer.to_string()).header("n", n.to_string());
            let Ok(delivery) = handle.try_send(record.value(&value[..])) else { return };
            deliveries.push((value, delivery));
        }
        for (value, delivery) in deliveries {
            if delivery.await.is_err() {
                return;
            }
            say(format!("acked {value}"));
        }
        // No faster than it can be read.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[ignore = "a child of the tests of mirrors"]
#[test]
fn an_agent() {
    let Some(dir) = child_dir() else { return };
    runtime().block_on(async {
        let broker = open(&dir).await;
        if broker.describe_topic(TOPIC).is_err() {
            let config = TopicConfig::new().partitions(PARTITIONS).segment_bytes(64 << 10);
            broker.create_topic(TOPIC, config).await.unwrap();
        }
        let client = Client::builder().api_timeout(Duration::from_secs(2));
        let client = client.request_timeout(Duration::from_secs(5));
        let client = client.connect_later(&asked(TARGET).unwrap()).unwrap();
        let mirror = broker.mirror([TOPIC]).backlog(Backlog::Block).to(&client).await.unwrap();
        let life = asked(LIFE).unwrap().parse().unwrap();
        if asked(ENDS).is_none() {
            for producer in 0..PRODUCERS {
                tokio::spawn(produce(broker.clone(), life, producer));
            }
        }
        let mut told = 0;
        loop {
            let stats = mirror.stats();
            if stats.records() > told {
                told = stats.records();
                say(format!("mirrored {told}"));
            }
            if asked(ENDS).is_some() && stats.lag() == 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        mirror.stop().await.unwrap();
        broker.shutdown().await.unwrap();
    });
}

#[ignore = "a child of the tests of mirrors"]
#[test]
fn a_target() {
    let Some(dir) = child_dir() else { return };
    runtime().block_on(async {
        let broker = open(&dir).await;
        let at: SocketAddr = asked(TARGET).unwrap().parse().unwrap();
        let _listener = broker.listen(at).await.unwrap();
        say("listens".to_owned());
        std::future::pending::<()>().await;
    });
}

fn start_target(dir: &Path, at: &str) -> Child {
    let mut child = Child::start_with("mirror::killed::a_target", dir, &[(TARGET, at.to_owned())]);
    assert_eq!(child.line().as_deref(), Some("listens"));
    child
}

#[test]
fn a_mirror_whose_sides_are_killed_loses_and_doubles_nothing() {
    let kills = asked("OTTLA_KILLS").map_or(KILLS, |text| text.parse().unwrap());
    let (source_dir, target_dir) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = free.local_addr().unwrap().to_string();
    drop(free);
    let mut heard = Heard::default();
    let mut target = start_target(target_dir.path(), &at);
    for life in 0..kills {
        let mut agent = Agent::start(source_dir.path(), &at, life, false);
        // Sometimes before it has come to anything, sometimes in the middle.
        agent.listen(&mut heard, 1 + (life as u64 * 37) % 300, usize::MAX);
        target.kill();
        drop(target);
        agent.listen(&mut heard, u64::MAX, 1 + life * 53 % 400);
        target = start_target(target_dir.path(), &at);
        agent.listen(&mut heard, 1 + (life as u64 * 11) % 100, 5_000);
        agent.kill(&mut heard);
    }
    Agent::start(source_dir.path(), &at, kills, true).listen(&mut heard, u64::MAX, usize::MAX);
    target.kill();
    drop(target);
    let records = runtime().block_on(async {
        let source = open(source_dir.path()).await;
        let target = open(target_dir.path()).await;
        let sent = content(&source.client(), TOPIC).await;
        assert_same(&sent, &content(&target.client(), TOPIC).await);
        let there: BTreeSet<_> =
            sent.iter().map(|it| String::from_utf8(it.3.clone().unwrap()).unwrap()).collect();
        assert_eq!(there.len(), sent.len(), "each was sent once");
        let lost = heard.acknowledged.difference(&there).next();
        assert_eq!(lost, None, "it was acknowledged");
        sent.len()
    });
    tell(&format!(
        "mirror: each side killed {kills} times; {records} records mirrored, {} acknowledged\n",
        heard.acknowledged.len()
    ));
}
