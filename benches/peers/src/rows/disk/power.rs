//! Appending with a sync before each acknowledgement: how many records of awaited senders share
//! one, over one partition and over many.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla::{Broker, Producer, Record, TopicConfig};
use rusqlite::Connection;
use tokio::task::JoinSet;

use super::watched::{Syncs, WatchedStorage};
use super::{TOPIC, folder};
use crate::measure::{Aim, Metric, Row, Sample, Setup, Timer};
use crate::show::Show;
use crate::{Bench, on_worker, payload};

const OURS: &str = "ottla";
const SYNC: &str = "write and fdatasync, one at a time";
const SQLITE: &str = "SQLite, WAL, synchronous=FULL";
const PER_SYNC: Metric = Metric::Figure("records per sync", Show::Plain);
const AT_ONCE: Metric = Metric::Figure("syncs at once", Show::Plain);

/// Senders that each wait for their acknowledgement, over partitions.
pub(crate) fn senders<const N: usize, const PARTITIONS: usize>(bench: &mut Bench<'_>) {
    for senders in [1, 8, 64, 512] {
        of::<N>(bench, senders, PARTITIONS);
    }
}

fn of<const N: usize>(bench: &mut Bench<'_>, senders: usize, partitions: usize) {
    let runtime = &bench.runtime;
    let each = bench.scale.pick(if senders < 64 { 100 } else { 40 }, 3);
    let durability = "on disk, synced before it is acknowledged (Power)";
    let batch = "one record a call";
    let setup = Setup { durability, record: N, batch, producers: senders, consumers: 0 };
    let name = format!("{}, {senders} senders, {partitions} partitions", bench.name);
    let mut row = Row::new(name, setup)
        .contender(OURS, || {
            let dir = folder();
            let sent = send_all::<N>(dir.path().to_owned(), senders, partitions, each);
            on_worker(runtime, sent)
        })
        .figure(PER_SYNC)
        .figure(AT_ONCE);
    row = match partitions {
        1 => row.aim(PER_SYNC, OURS, Aim::AtLeast(0.9 * senders as f64)),
        // More than one at a time, as soon as there is more than one that could be.
        _ if senders >= partitions => row.aim(AT_ONCE, OURS, Aim::AtLeast(1.5)),
        _ => row.aim(AT_ONCE, OURS, Aim::None),
    };
    row.contender(SYNC, || {
        let dir = folder();
        written_and_synced::<N>(&dir.path().join("file"), each)
    })
    .contender(SQLITE, || {
        let dir = folder();
        inserted::<N>(&dir.path().join("database"), each)
    })
    .compare(Metric::Rate, OURS, SYNC, Aim::None)
    .compare(Metric::Rate, OURS, SQLITE, Aim::None)
    .run(bench.scale.rounds(), bench.report);
}

async fn send_all<const N: usize>(
    dir: PathBuf,
    senders: usize,
    partitions: usize,
    each: u64,
) -> Sample {
    let syncs = Arc::new(Syncs::default());
    let storage = Arc::new(WatchedStorage::new(&dir, syncs.clone()));
    let broker = Broker::builder().open_on(storage).await.expect("an empty folder opens");
    let config = TopicConfig::new().partitions(partitions as i32);
    broker.create_topic(TOPIC, config).await.expect("it is not there yet");
    let producer = broker.producer().build();
    for partition in 0..partitions as i32 {
        let first = Record::to(TOPIC).partition(partition);
        producer.send(first).await.expect("it is synced");
    }
    let before = syncs.so_far();
    let timer = Timer::start();
    let mut tasks = JoinSet::new();
    for sender in 0..senders {
        let partition = (sender % partitions) as i32;
        tasks.spawn(send_some::<N>(producer.clone(), partition, each));
    }
    tasks.join_all().await;
    let sample = timer.stop(senders as u64 * each, 0);
    let (count, seconds) = syncs.since(before);
    broker.shutdown().await.expect("the disk works");
    let (records, took) = (sample.records as f64, sample.seconds);
    sample.with("records per sync", records / count).with("syncs at once", seconds / took)
}

async fn send_some<const N: usize>(producer: Producer, partition: i32, count: u64) {
    for number in 0..count {
        let payload = payload::array::<N>(number);
        let record = Record::to(TOPIC).partition(partition).value(&payload);
        producer.send(record).await.expect("it is synced");
    }
}

fn written_and_synced<const N: usize>(path: &Path, count: u64) -> Sample {
    let mut file = File::create(path).expect("a file can be made");
    let timer = Timer::start();
    for number in 0..count {
        file.write_all(&payload::array::<N>(number)).expect("the disk works");
        file.sync_data().expect("the disk works");
    }
    timer.stop(count, 0)
}

/// Each in a transaction of its own.
fn inserted<const N: usize>(path: &Path, count: u64) -> Sample {
    let database = Connection::open(path).expect("a file can be made");
    let settings = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
        CREATE TABLE records (position INTEGER PRIMARY KEY, value BLOB)";
    database.execute_batch(settings).expect("the disk works");
    let insert = "INSERT INTO records (value) VALUES (?1)";
    let mut insert = database.prepare(insert).expect("it is SQL");
    let timer = Timer::start();
    for number in 0..count {
        insert.execute([payload::array::<N>(number)]).expect("the disk works");
    }
    timer.stop(count, 0)
}
