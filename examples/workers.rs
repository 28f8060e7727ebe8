//! Workers that share a topic: one of them dies, and the others finish its work.
//!
//! ```text
//! cargo run --release --example workers
//! ```
//!
//! A worker commits what it has done. What the dead one had done but not committed is done again:
//! at least once, so the result must not mind.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ottla::{Broker, Record, TopicConfig};

type Outcome = Result<(), Box<dyn std::error::Error + Send + Sync>>;

const JOBS: u64 = 20_000;
const WORKERS: usize = 4;

/// Who has done a job, and how often it was done.
type Done = Arc<Mutex<BTreeMap<u64, u32>>>;

#[tokio::main]
async fn main() -> Outcome {
    let broker = Broker::in_memory().await?;
    broker.create_topic("jobs", TopicConfig::new().partitions(8)).await?;

    let done = Done::default();
    let mut workers = Vec::new();
    for name in 0..WORKERS {
        workers.push(tokio::spawn(work(broker.clone(), name, done.clone())));
    }
    let producer = broker.producer().build();
    for job in 0..JOBS {
        let record = Record::to("jobs").key(job.to_string()).value(job.to_be_bytes().to_vec());
        producer.enqueue(record).await?;
        if job == JOBS / 2 {
            // In the middle of something, and without a word.
            workers[0].abort();
        }
        if job % 100 == 0 {
            tokio::time::sleep(Duration::from_micros(500)).await;
        }
    }
    producer.flush().await;
    while done.lock().expect("no worker panics").len() < JOBS as usize {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    let group = broker.admin().describe_group("workers").await?;
    println!(
        "{} of {WORKERS} workers are left, after {} rebalances",
        group.members.len(),
        group.generation
    );
    assert_eq!(group.members.len(), WORKERS - 1);
    let done = done.lock().expect("no worker panics");
    let twice = done.values().filter(|times| **times > 1).count();
    println!("{} jobs are done, {twice} of them twice", done.len());
    assert!(done.keys().copied().eq(0..JOBS), "none is lost");
    Ok(())
}

async fn work(broker: Broker, name: usize, done: Done) -> Outcome {
    let mut consumer = broker.consumer().group("workers").subscribe(["jobs"]).await?;
    loop {
        let records = consumer.poll(100).await?;
        for record in &records {
            let job = record.value.ok_or("a job without a number")?;
            let job = u64::from_be_bytes(job.try_into()?);
            *done.lock().expect("no worker panics").entry(job).or_default() += 1;
        }
        if name == 0 {
            // Slow to commit: what it has done last will have to be done again.
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        consumer.commit().await?;
    }
}
