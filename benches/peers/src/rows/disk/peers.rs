//! Other logs for Rust, each used as its documentation says, without syncs.

use std::path::PathBuf;

use bytes::Bytes;
use commitlog::message::MessageBuf;
use commitlog::{CommitLog, LogOptions};
use fjall::{Database, KeyspaceCreateOptions};
use kafko::Kafko;
use walrus_rust::{FsyncSchedule, ReadConsistency, Walrus};

use super::TOPIC;
use crate::measure::{Sample, Timer};
use crate::payload;

pub(super) const KAFKO_BATCH: &str = "kafko, send_batch of 1,000";
pub(super) const KAFKO_SEND: &str = "kafko, send";
pub(super) const COMMITLOG_BATCH: &str = "commitlog, append of 1,000";
pub(super) const COMMITLOG: &str = "commitlog, append_msg";
pub(super) const WALRUS_BATCH: &str = "walrus-rust, batch of 1,000";
pub(super) const WALRUS: &str = "walrus-rust, append";
pub(super) const FJALL_BATCH: &str = "fjall, batch of 1,000";

const BATCH: u64 = 1_000;

/// The numbers of each batch.
fn batches(count: u64) -> impl Iterator<Item = std::ops::Range<u64>> {
    (0..count).step_by(BATCH as usize).map(move |first| first..count.min(first + BATCH))
}

async fn kafko(dir: PathBuf) -> (Kafko, kafko::Producer) {
    let broker = Kafko::open(dir).await.expect("an empty folder opens");
    broker.create_topic(TOPIC).await.expect("it is not there yet");
    let producer = broker.producer_for(TOPIC).await.expect("it is there");
    (broker, producer)
}

pub(super) async fn kafko_batches<const N: usize>(dir: PathBuf, count: u64) -> Sample {
    let (broker, producer) = kafko(dir).await;
    let timer = Timer::start();
    for numbers in batches(count) {
        let items = numbers.map(|number| (None, Bytes::from(payload::vec(N, number))));
        producer.send_batch(items.collect()).await.expect("the disk works");
    }
    let sample = timer.stop(count, 0);
    drop(producer);
    broker.shutdown().await.expect("the disk works");
    sample
}

pub(super) async fn kafko_sends<const N: usize>(dir: PathBuf, count: u64) -> Sample {
    let (broker, producer) = kafko(dir).await;
    let timer = Timer::start();
    for number in 0..count {
        let payload = Bytes::from(payload::vec(N, number));
        producer.send(None, payload).await.expect("the disk works");
    }
    let sample = timer.stop(count, 0);
    drop(producer);
    broker.shutdown().await.expect("the disk works");
    sample
}

pub(super) fn commitlog_batches<const N: usize>(dir: PathBuf, count: u64) -> Sample {
    let mut options = LogOptions::new(dir);
    options.message_max_bytes(2 << 20); // for all of a call together
    let mut log = CommitLog::new(options).expect("an empty folder opens");
    let timer = Timer::start();
    let mut batch = MessageBuf::default();
    for numbers in batches(count) {
        batch.clear();
        for number in numbers {
            batch.push(payload::array::<N>(number)).expect("it is short");
        }
        log.append(&mut batch).expect("the disk works");
    }
    timer.stop(count, 0)
}

pub(super) fn commitlog<const N: usize>(dir: PathBuf, count: u64) -> Sample {
    let mut log = CommitLog::new(LogOptions::new(dir)).expect("an empty folder opens");
    let timer = Timer::start();
    for number in 0..count {
        log.append_msg(payload::array::<N>(number)).expect("the disk works");
    }
    timer.stop(count, 0)
}

/// Its folder is named by the environment, and everything in it is this process's.
fn walrus_log() -> Walrus {
    if let Some(dir) = std::env::var_os("WALRUS_DATA_DIR") {
        // The first time there is nothing.
        let _ = std::fs::remove_dir_all(dir);
    }
    let reads = ReadConsistency::AtLeastOnce { persist_every: 1_000 };
    let opened = Walrus::with_consistency_and_schedule(reads, FsyncSchedule::NoFsync);
    opened.expect("an empty folder opens")
}

pub(super) fn walrus_batches<const N: usize>(count: u64) -> Sample {
    let log = walrus_log();
    let timer = Timer::start();
    for numbers in batches(count) {
        let payloads: Vec<Vec<u8>> = numbers.map(|number| payload::vec(N, number)).collect();
        let batch: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
        log.batch_append_for_topic(TOPIC, &batch).expect("the disk works");
    }
    timer.stop(count, 0)
}

pub(super) fn walrus<const N: usize>(count: u64) -> Sample {
    let log = walrus_log();
    let timer = Timer::start();
    for number in 0..count {
        log.append_for_topic(TOPIC, &payload::array::<N>(number)).expect("the disk works");
    }
    timer.stop(count, 0)
}

/// A database: its key is the record's number.
pub(super) fn fjall_batches<const N: usize>(dir: PathBuf, count: u64) -> Sample {
    let database = Database::builder(dir).open().expect("an empty folder opens");
    let items = database.keyspace(TOPIC, KeyspaceCreateOptions::default);
    let items = items.expect("it is not there yet");
    let timer = Timer::start();
    for numbers in batches(count) {
        let mut batch = database.batch();
        for number in numbers {
            batch.insert(&items, number.to_be_bytes(), payload::array::<N>(number));
        }
        batch.commit().expect("the disk works");
    }
    timer.stop(count, 0)
}
