//! The life of a process that will be killed: it opens the directory, says what it finds, and works
//! for as long as it is let. Of all that was acknowledged it says so, once it was.
//!
//! | line | |
//! |---|---|
//! | `opening` | then those of `view`, then `works LIFE` |
//! | `acked TOPIC N OFFSET RECORD` | |
//! | `creating TOPIC BORN`, `created TOPIC BORN ID` | before the call, and after it |
//! | `deleting TOPIC`, `deleted TOPIC` | |
//! | `committing GROUP TOPIC N OFFSET`, `committed …` | |
//! | `trimming TOPIC N OFFSET`, `trimmed …` | records before the offset are deleted |
//! | `closing`, `closed` | |

use std::collections::VecDeque;
use std::fmt::Debug;
use std::future::pending;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use ottla::{Broker, Clock, Delivery, ManualClock, Producer, TopicPartition};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::Lie;
use super::script::{End, FIRST_RECORDS, Id, PASSING, PRODUCERS, Script, TOPICS, config, window};
use super::view::view;

/// Longer than retention waits between two looks.
const A_WHILE: Duration = Duration::from_secs(301);

fn say(line: String) {
    // One write: a kill cuts between lines, or in the last one. Nobody hears it once the parent
    // is gone.
    let _ = std::io::stdout().lock().write_all(format!(">{line}\n").as_bytes());
}

/// What the tasks of a life share.
struct Life {
    broker: Broker,
    script: Script,
    number: u64,
    lie: Option<Lie>,
    /// How many records were acknowledged.
    acks: watch::Sender<u64>,
    closing: AtomicBool,
    clock: Option<ManualClock>,
}

/// Ends only if it is to shut down; a panic if anything fails.
pub(super) async fn live(dir: PathBuf, script: Script, number: u64, lie: Option<Lie>) {
    say("opening".to_owned());
    let manual = script.moves_clock(number);
    let clock = manual.then(|| ManualClock::starting_at(SystemTime::now().into()));
    let clocks = clock.clone().map_or_else(Clock::system, Clock::from);
    let broker = Broker::builder().auto_create_topics(false).clock(clocks).open(dir).await;
    let broker = broker.expect("it opens, whatever a kill has left");
    view(&broker, script, &mut say).await;
    say(format!("works {number}"));
    let (acks, closing) = (watch::Sender::new(0), AtomicBool::new(false));
    let life = Arc::new(Life { broker, script, number, lie, acks, closing, clock });
    life.create_missing().await;
    let mut tasks = JoinSet::new();
    for producer in 0..PRODUCERS {
        tasks.spawn(life.clone().produce(producer));
    }
    tasks.spawn(life.clone().consume());
    tasks.spawn(life.clone().alter());
    tasks.spawn(life.clone().compact());
    tasks.spawn(life.clone().trim());
    tasks.spawn(life.clone().come_and_go());
    tokio::select! {
        ended = tasks.join_next() => panic!("a task has ended: {ended:?}"),
        () = life.close() => {}
    }
}

impl Life {
    /// What was answered; errors are none once the broker is closing.
    async fn good<T, E: Debug>(&self, answer: Result<T, E>) -> T {
        match answer {
            Ok(answer) => answer,
            Err(_) if self.closing.load(Ordering::Acquire) => pending().await,
            Err(error) => panic!("refused: {error:?}"),
        }
    }

    fn acked(&self, id: Id, offset: i64) {
        let sent = self.script.sent(id);
        say(format!("acked {} {} {offset} {id}", sent.topic, sent.partition));
        self.acks.send_modify(|acks| *acks += 1);
    }

    /// Until so many records more were acknowledged.
    async fn later(&self, acks: u64) {
        let mut seen = self.acks.subscribe();
        let then = *seen.borrow() + acks;
        seen.wait_for(|acks| *acks >= then).await.expect("the sender is not dropped");
    }

    async fn create_missing(&self) {
        for topic in TOPICS {
            if self.broker.describe_topic(topic).is_err() {
                self.create(topic, "0.0").await;
            }
        }
    }

    async fn create(&self, topic: &str, born: &str) {
        say(format!("creating {topic} {born}"));
        if self.lie == Some(Lie::Created) && PASSING.contains(&topic) {
            return say(format!("created {topic} {born} AAAAAAAAAAAAAAAAAAAAAA"));
        }
        let created = self.broker.create_topic(topic, config(topic)).await;
        let id = self.good(created).await.id;
        say(format!("created {topic} {born} {id}"));
    }

    async fn produce(self: Arc<Self>, number: u64) {
        let producer = self.broker.producer().batch_size(1000).build();
        let mut waiting = VecDeque::new();
        for n in 0.. {
            let id = Id { life: self.number, producer: number, n };
            if waiting.len() as u64 == window(number) {
                self.first_acked(&mut waiting).await;
            }
            if let Some(delivery) = self.enqueue(&producer, id).await {
                waiting.push_back((id, delivery));
            }
        }
    }

    /// Nothing of a record that is only claimed to have been acknowledged.
    async fn enqueue(&self, producer: &Producer, id: Id) -> Option<Delivery> {
        let mut record = self.script.record(id);
        // Where a lie can have no excuse.
        let lies = id.producer == 1 && id.n > 5 && self.script.sent(id).topic == "process";
        match self.lie.filter(|_| lies) {
            Some(Lie::Acked) => {
                let sent = self.script.sent(id);
                let told = self.good(self.broker.describe_topic(sent.topic)).await;
                self.acked(id, told.partitions[sent.partition as usize].log_end_offset);
                return None;
            }
            Some(Lie::Twice) => {
                let first = producer.enqueue(self.script.record(id)).await;
                drop(self.good(first).await);
            }
            Some(Lie::Garbled) => record = record.value("something else"),
            Some(Lie::NeverSent) => {
                let other = (id.n + 1000..).map(|n| Id { n, ..id });
                let sent = self.script.sent(id);
                let mut other =
                    other.filter(|other| self.script.sent(*other).partition == sent.partition);
                let other = other.find(|other| self.script.sent(*other).topic == sent.topic);
                record = self.script.record(other.expect("there is always another"));
            }
            _ => {}
        }
        Some(self.good(producer.enqueue(record).await).await)
    }

    async fn first_acked(&self, waiting: &mut VecDeque<(Id, Delivery)>) {
        let (id, delivery) = waiting.pop_front().expect("there are some");
        let metadata = self.good(delivery.await).await;
        self.acked(id, metadata.offset);
    }

    /// A member of a group, that commits what it was handed out.
    async fn consume(self: Arc<Self>) {
        let builder = self.broker.consumer().group("members");
        let joined = builder.subscribe(["power", "tiny"]).await;
        let mut member = self.good(joined).await;
        loop {
            for _ in 0..20 {
                match member.recv().await {
                    // Retention was faster.
                    Err(ottla::Error::OffsetOutOfRange { .. }) => {}
                    received => drop(self.good(received).await),
                }
            }
            let positions = member.positions();
            let commit: Vec<_> = positions.into_iter().map(|(at, to)| (at, to.offset)).collect();
            self.commit("members", commit, member.commit()).await;
        }
    }

    async fn commit(
        &self,
        group: &str,
        offsets: Vec<(TopicPartition, i64)>,
        commit: impl Future<Output = ottla::Result<()>>,
    ) {
        let lines: Vec<String> = offsets
            .iter()
            .map(|(at, offset)| format!("{group} {} {} {offset}", at.topic, at.partition))
            .collect();
        lines.iter().for_each(|line| say(format!("committing {line}")));
        if self.lie != Some(Lie::Committed) {
            self.good(commit.await).await;
        }
        lines.iter().for_each(|line| say(format!("committed {line}")));
    }

    /// Sets the offsets of a group without members.
    async fn alter(self: Arc<Self>) {
        let at = |n| TopicPartition::new("process", n).expect("it is a name");
        for n in 0.. {
            let offsets = vec![(at(0), n), (at(1), n % 7)];
            let admin = self.broker.admin();
            let altered = admin.alter_group_offsets("altered", offsets.clone());
            self.commit("altered", offsets, altered).await;
            self.later(5).await;
        }
    }

    async fn compact(self: Arc<Self>) {
        loop {
            for topic in ["table.power", "table.process"] {
                self.good(self.broker.compact(topic).await).await;
            }
            if let Some(clock) = &self.clock {
                clock.advance(A_WHILE);
            }
            self.later(15).await;
        }
    }

    /// Deletes the first half of a partition's records.
    async fn trim(self: Arc<Self>) {
        let at = TopicPartition::new("process", 0).expect("it is a name");
        loop {
            self.later(100).await;
            let told = self.good(self.broker.describe_topic("process")).await;
            let there = told.partitions[0];
            let to = (there.log_start_offset + there.log_end_offset) / 2;
            say(format!("trimming process 0 {to}"));
            let trimmed = self.broker.admin().delete_records(&at, to).await;
            self.good(trimmed).await;
            say(format!("trimmed process 0 {to}"));
        }
    }

    async fn come_and_go(self: Arc<Self>) {
        for step in 0.. {
            let topic = self.script.passing(self.number, step);
            match self.broker.describe_topic(topic) {
                Ok(_) => self.go(topic).await,
                Err(_) => self.come(topic, step).await,
            }
            self.later(20).await;
        }
    }

    async fn go(&self, topic: &str) {
        say(format!("deleting {topic}"));
        if self.lie != Some(Lie::Deleted) {
            self.good(self.broker.delete_topic(topic).await).await;
        }
        say(format!("deleted {topic}"));
    }

    async fn come(&self, topic: &str, step: u64) {
        let (life, number) = (self.number, PRODUCERS + step);
        self.create(topic, &format!("{life}.{number}")).await;
        if self.lie == Some(Lie::Created) {
            return;
        }
        let producer = self.broker.producer().build();
        let mut waiting = VecDeque::new();
        for n in 0..FIRST_RECORDS {
            let id = Id { life, producer: number, n };
            let delivery = self.enqueue(&producer, id).await.expect("here is no lie");
            waiting.push_back((id, delivery));
        }
        while !waiting.is_empty() {
            self.first_acked(&mut waiting).await;
        }
        let offsets = vec![(TopicPartition::new(topic, 0).expect("it is a name"), 3)];
        let admin = self.broker.admin();
        let altered = admin.alter_group_offsets("passing", offsets.clone());
        self.commit("passing", offsets, altered).await;
    }

    /// Shuts down when it is time; never, if it is to be killed before.
    async fn close(&self) {
        let (End::Closing { acks, .. } | End::Closed { acks }) = self.script.end(self.number)
        else {
            return pending().await;
        };
        self.later(acks).await;
        self.closing.store(true, Ordering::Release);
        say("closing".to_owned());
        self.broker.shutdown().await.expect("the disk works");
        say("closed".to_owned());
    }
}
