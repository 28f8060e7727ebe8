//! A process of our own that produces and compacts until it is killed.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use ottla::{Broker, CleanupPolicy, Durability, Record, TopicConfig};
use tokio::task::JoinSet;

/// What the process writes to.
pub const TOPICS: [&str; 3] = ["of-process", "of-power", "compacted"];

/// Kills a process (SIGKILL) that writes to `dir` when it has had so many records acknowledged.
pub fn make(dir: &Path, records: usize) {
    let mut process = Command::new(std::env::current_exe().unwrap())
        .arg("produce")
        .arg(dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let read = lines.take(records).filter(|line| line.is_ok()).count();
    process.kill().unwrap();
    assert!(!process.wait().unwrap().success());
    assert_eq!(read, records, "the process has ended by itself");
}

/// Produces to all topics at once, a line for each acknowledged record, until it is killed.
pub async fn produce_for_ever(dir: &Path) {
    let broker = Broker::open(dir).await.unwrap();
    for (topic, durability) in TOPICS.iter().zip([Durability::Process, Durability::Power]) {
        create(&broker, topic, config().durability(durability)).await;
    }
    let compacted = config().durability(Durability::Process);
    create(&broker, TOPICS[2], compacted.cleanup_policy(CleanupPolicy::Compact)).await;
    let mut tasks = JoinSet::new();
    for task in 0..9 {
        tasks.spawn(produce(broker.clone(), TOPICS[task % 3], task));
    }
    tasks.spawn(async move {
        loop {
            broker.compact(TOPICS[2]).await.unwrap();
        }
    });
    tasks.join_next().await.expect("there are tasks").unwrap();
}

fn config() -> TopicConfig {
    let config = TopicConfig::new().retention(None).partitions(2).segment_bytes(20_000);
    config.set("index.interval.bytes", 700).unwrap()
}

async fn create(broker: &Broker, topic: &str, config: TopicConfig) {
    broker.create_topic(topic, config).await.unwrap();
}

async fn produce(broker: Broker, topic: &'static str, task: usize) {
    let producer = broker.producer().batch_size(1_000).build();
    for n in 0.. {
        // A batch of a few records, of which the last is awaited.
        let record = |n: i32| Record::to(topic).partition(n % 2).key(format!("{task} {}", n % 30));
        for m in 0..n % 5 {
            let value = format!("{task}: {n} and {m}, and no more");
            producer.enqueue(record(n).value(value).header("m", m.to_string())).await.unwrap();
        }
        let sent = producer.send(record(n).value(format!("{task}: {n}"))).await.unwrap();
        let line = format!("{topic} {} {}\n", sent.partition, sent.offset);
        if std::io::stdout().lock().write_all(line.as_bytes()).is_err() {
            return;
        }
    }
}
