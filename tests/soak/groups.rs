//! Consumer groups on a real disk, whose members come, go and die, while the broker is closed and
//! opened again.
//!
//! Records hold the offset that they get, so that every one that is handed out can be checked where
//! it comes: see [`member`](super::member). Whatever is not as it should be is a panic, of which
//! this is told when it looks after its tasks.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

use ottla::{Broker, Durability, Strategy, TopicConfig, TopicPartition};
use tokio::sync::oneshot;
use tokio::task::{JoinError, JoinHandle};

use super::ledger::Ledger;
use super::member::{Group, Member};
use super::producer::{Numbered, produce};
use super::random::Random;

const TOPICS: [(&str, i32); 2] = [("orders", 5), ("payments", 3)];

const GROUPS: [(&str, &[Strategy]); 3] = [
    ("cooperative", &[Strategy::CooperativeSticky]),
    ("eager", &[Strategy::Range]),
    ("mixed", &[Strategy::Sticky, Strategy::CooperativeSticky]),
];

const MAX_MEMBERS: usize = 6;

/// Retention looks every five minutes; while there is more than this, the broker is left to it.
const MAX_BYTES_AT_RESTART: u64 = 512 << 20;

/// How long the end may take, and a group may be handed out nothing.
const PATIENCE: Duration = Duration::from_secs(120);

/// What was done.
#[derive(Debug, Default)]
pub(crate) struct Reached {
    records: u64,
    joined: u64,
    left: u64,
    died: u64,
    restarts: u64,
}

impl fmt::Display for Reached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Reached { records, joined, left, died, restarts } = self;
        let groups = GROUPS.len();
        write!(f, "{} records delivered to {groups} groups, ", grouped(*records))?;
        write!(
            f,
            "{} joined, {} left, {} died, ",
            grouped(*joined),
            grouped(*left),
            grouped(*died)
        )?;
        write!(f, "{} restarts", grouped(*restarts))
    }
}

/// `48,211,904`
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Runs for this long; what was reached, or what is wrong.
pub(crate) async fn run(length: Duration, seed: u64) -> Result<Reached, String> {
    let dir = tempfile::tempdir().map_err(|error| format!("no temporary folder: {error}"))?;
    let mut soak = Soak::start(dir.path(), Random::new(seed)).await?;
    let began = Instant::now();
    let mut next_line = Duration::from_secs(60);
    let mut next_restart = soak.until_restart();
    while began.elapsed() < length {
        tokio::time::sleep(Duration::from_millis(soak.random.below(60))).await;
        soak.look().await?;
        soak.meddle().await?;
        if began.elapsed() > next_restart {
            soak.restart(dir.path()).await?;
            next_restart = began.elapsed() + soak.until_restart();
        }
        if began.elapsed() > next_line {
            println!("groups: {} min: {}", next_line.as_secs() / 60, soak.reached());
            next_line += Duration::from_secs(60);
        }
    }
    let ended = tokio::time::timeout(PATIENCE, soak.end()).await;
    ended.map_err(|_| "the records are not handed out to their end".to_owned())?
}

struct Running {
    group: usize,
    leave: Option<oneshot::Sender<()>>,
    /// Whether it has left as it should.
    task: JoinHandle<bool>,
}

struct Soak {
    random: Random,
    broker: Broker,
    groups: Vec<Group>,
    partitions: Vec<Arc<Numbered>>,
    members: Vec<Running>,
    producers: Vec<JoinHandle<()>>,
    /// Set when producers are to end.
    stop: Arc<AtomicBool>,
    done: Reached,
    /// Of each group: its records when it was looked at, and when that number was new.
    progress: Vec<(u64, Instant)>,
}

impl Soak {
    async fn start(dir: &Path, random: Random) -> Result<Self, String> {
        let broker = open(dir).await?;
        let mut names = Vec::new();
        for (topic, partitions) in TOPICS {
            let config = TopicConfig::new().partitions(partitions).segment_bytes(1 << 20);
            // Far more than what producers may be ahead.
            let config = config.retention_bytes(Some(16 << 20));
            broker.create_topic(topic, config).await.map_err(|error| error.to_string())?;
            let at = |partition| TopicPartition::new(topic, partition).expect("it is a name");
            names.extend((0..partitions).map(at));
        }
        let group = |(name, strategies)| {
            let ledger = Arc::new(Ledger::new(&names));
            Group { name, strategies, ledger }
        };
        let mut soak = Soak {
            random,
            broker,
            groups: GROUPS.into_iter().map(group).collect(),
            partitions: Vec::new(),
            members: Vec::new(),
            producers: Vec::new(),
            stop: Arc::default(),
            done: Reached::default(),
            progress: GROUPS.map(|_| (0, Instant::now())).to_vec(),
        };
        let numbered = |at| Arc::new(Numbered { at, end: AtomicI64::new(0) });
        soak.partitions = names.into_iter().map(numbered).collect();
        soak.produce();
        Ok(soak)
    }

    fn until_restart(&mut self) -> Duration {
        Duration::from_secs(self.random.between(5, 60))
    }

    fn produce(&mut self) {
        for partition in &self.partitions {
            let groups = self.groups.iter().map(|group| group.ledger.clone()).collect();
            let (broker, stop) = (self.broker.clone(), self.stop.clone());
            let random = self.random.split();
            let task = tokio::spawn(produce(broker, partition.clone(), groups, stop, random));
            self.producers.push(task);
        }
    }

    /// Looks after the tasks that have ended, and whether all groups get on.
    async fn look(&mut self) -> Result<(), String> {
        if self.producers.iter().any(JoinHandle::is_finished) {
            return Err("a producer has ended".to_owned());
        }
        let (ended, here) = std::mem::take(&mut self.members)
            .into_iter()
            .partition::<Vec<_>, _>(|member| member.task.is_finished());
        self.members = here;
        for member in ended {
            self.note_end(member.task.await)?;
        }
        for (group, (records, since)) in self.groups.iter().zip(&mut self.progress) {
            let now = group.ledger.records();
            if now > *records {
                (*records, *since) = (now, Instant::now());
            } else if since.elapsed() > PATIENCE {
                return Err(format!("{} is handed out nothing", group.name));
            }
        }
        Ok(())
    }

    fn note_end(&mut self, ended: Result<bool, JoinError>) -> Result<(), String> {
        match ended {
            Ok(true) => self.done.left += 1,
            Ok(false) => self.done.died += 1,
            Err(error) if error.is_cancelled() => self.done.died += 1,
            Err(error) => return Err(panic_text(error)),
        }
        Ok(())
    }

    /// Somebody joins, leaves or dies, or nothing happens.
    async fn meddle(&mut self) -> Result<(), String> {
        let group = self.random.below(GROUPS.len() as u64) as usize;
        let here = (0..self.members.len()).filter(|n| self.members[*n].group == group);
        let here: Vec<usize> = here.collect();
        let chance = self.random.below(10);
        if here.len() < 2 || chance < 3 && here.len() < MAX_MEMBERS {
            let random = self.random.split();
            let topics = TOPICS.map(|(topic, _)| topic);
            let joined = Member::join(&self.broker, self.groups[group].clone(), &topics, random);
            let member = joined.await.map_err(|error| format!("joining failed: {error}"))?;
            let (leave, left) = oneshot::channel();
            let task = tokio::spawn(member.run(left));
            self.members.push(Running { group, leave: Some(leave), task });
            self.done.joined += 1;
        } else if chance < 5 {
            let member = &mut self.members[here[self.random.below(here.len() as u64) as usize]];
            match chance {
                // One that has been told before is on its way.
                3 => drop(member.leave.take().map(|leave| leave.send(()))),
                _ => member.task.abort(),
            }
        }
        Ok(())
    }

    /// Closes the broker in the midst of everything, and opens it again.
    async fn restart(&mut self, dir: &Path) -> Result<(), String> {
        if self.bytes()? > MAX_BYTES_AT_RESTART {
            return Ok(());
        }
        self.broker.shutdown().await.map_err(|error| format!("shutdown failed: {error}"))?;
        for producer in std::mem::take(&mut self.producers) {
            producer.await.map_err(panic_text)?;
        }
        for member in std::mem::take(&mut self.members) {
            let ended = member.task.await;
            self.note_end(ended)?;
        }
        self.broker = open(dir).await?;
        self.done.restarts += 1;
        self.check_opened().await?;
        self.produce();
        Ok(())
    }

    /// All that was acknowledged is there, and what was committed too.
    async fn check_opened(&self) -> Result<(), String> {
        for (at, end) in self.described()? {
            let partition = self.partitions.iter().find(|partition| partition.at == at);
            let acknowledged = partition.map_or(0, |it| it.end.load(Ordering::Relaxed));
            if end != acknowledged {
                return Err(format!("{at} ends at {end}, but {acknowledged} were acknowledged"));
            }
        }
        let all: Vec<_> = self.partitions.iter().map(|partition| partition.at.clone()).collect();
        for group in &self.groups {
            let consumer = self.broker.consumer().group(group.name).assign(all.clone()).await;
            let mut consumer = consumer.map_err(|error| error.to_string())?;
            let committed = consumer.committed(&all).await.map_err(|error| error.to_string())?;
            for at in &all {
                let offset = committed.get(at).map_or(0, |position| position.offset);
                group.ledger.starts(at, offset);
            }
        }
        Ok(())
    }

    /// The end of each partition.
    fn described(&self) -> Result<BTreeMap<TopicPartition, i64>, String> {
        let mut ends = BTreeMap::new();
        for (topic, _) in TOPICS {
            let told = self.broker.describe_topic(topic).map_err(|error| error.to_string())?;
            ends.extend(told.partitions.iter().map(|it| {
                let (topic, partition) = (told.name.clone(), it.partition);
                (TopicPartition { topic, partition }, it.log_end_offset)
            }));
        }
        Ok(ends)
    }

    fn bytes(&self) -> Result<u64, String> {
        let mut bytes = 0;
        for (topic, _) in TOPICS {
            let told = self.broker.describe_topic(topic).map_err(|error| error.to_string())?;
            bytes += told.partitions.iter().map(|it| it.size_bytes).sum::<u64>();
        }
        Ok(bytes)
    }

    fn reached(&mut self) -> &Reached {
        self.done.records = self.groups.iter().map(|group| group.ledger.records()).sum();
        &self.done
    }

    /// Producers end, members leave, and one more in each group takes what is left.
    async fn end(mut self) -> Result<Reached, String> {
        self.look().await?;
        self.stop.store(true, Ordering::Relaxed);
        for producer in std::mem::take(&mut self.producers) {
            producer.await.map_err(panic_text)?;
        }
        for member in std::mem::take(&mut self.members) {
            // Who is on its way already has nobody who listens.
            let _ = member.leave.map(|leave| leave.send(()));
            let ended = member.task.await;
            self.note_end(ended)?;
        }
        let ends = self.described()?;
        for group in self.groups.clone() {
            let random = self.random.split();
            let topics = TOPICS.map(|(topic, _)| topic);
            let member = Member::join(&self.broker, group.clone(), &topics, random).await;
            let member = member.map_err(|error| error.to_string())?;
            let ends = ends.clone();
            let drained = tokio::spawn(async move { member.drain(&ends).await });
            let drained = drained.await.map_err(panic_text)?;
            drained.map_err(|error| format!("{}: {error}", group.name))?;
            self.done.joined += 1;
            self.done.left += 1;
        }
        for (at, end) in &ends {
            let lost = self.groups.iter().find(|group| group.ledger.frontier(at) != *end);
            if let Some(group) = lost {
                return Err(format!("{} was not handed out {at} to its end", group.name));
            }
        }
        self.broker.shutdown().await.map_err(|error| error.to_string())?;
        self.reached();
        Ok(self.done)
    }
}

async fn open(dir: &Path) -> Result<Broker, String> {
    let defaults = TopicConfig::new().durability(Durability::Process);
    let opened = Broker::builder().topic_defaults(defaults).open(dir).await;
    opened.map_err(|error| format!("the broker does not open: {error}"))
}

fn panic_text(error: JoinError) -> String {
    let Ok(panic) = error.try_into_panic() else { return "a task was cancelled".to_owned() };
    match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => panic.downcast::<&str>().map_or("a panic".to_owned(), |it| (*it).to_owned()),
    }
}
