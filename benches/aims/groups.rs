//! Consumer groups: joining, rebalancing, committing, and what a thousand of them take.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use ottla::{Broker, Consumer, Durability, Record, TopicConfig, TopicPartition};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use crate::payload::{self, nanos_each};
use crate::proc::resident_mebibytes;
use crate::report::{Aim, Report, alternate, mebibytes, millis, nanos};
use crate::{Scale, on_worker};

const TOPIC: &str = "bench";
/// Groups that are set up at the same time, so that their commits share syncs.
const AT_ONCE: usize = 64;
const PARTITIONS: i32 = 3;

pub(crate) fn run(runtime: &Runtime, scale: Scale, report: &mut Report) {
    many_groups(runtime, scale, report);
    first_records(runtime, scale, report);
}

/// A thousand groups, synced, each of which has committed in three partitions.
fn many_groups(runtime: &Runtime, scale: Scale, report: &mut Report) {
    let count = scale.pick(1_000, 20);
    let dir = tempfile::tempdir().expect("a folder can be made");
    let path = || dir.path().to_owned();
    let memory = on_worker(runtime, commit_in_groups(path(), count));
    let name = format!("{count} groups with 3 commits each: memory");
    report.figure(&name, vec![memory], mebibytes, Aim::AtMost(32.0));
    let open = || on_worker(runtime, open_with_groups(path(), count));
    let opened = (0..scale.pick(5, 1)).map(|_| open()).collect();
    let name = "  … opened again, and a group resumed";
    report.figure(name, opened, millis, Aim::AtMost(1_000.0));
}

/// How much resident memory grows from before the broker is opened until all groups are there,
/// their members gone: actors, coordinator, broker and all. The store is compacted meanwhile.
async fn commit_in_groups(dir: PathBuf, count: usize) -> f64 {
    let before = resident_mebibytes();
    let broker = Broker::open(dir).await.expect("an empty folder opens");
    with_one_record_each(&broker, PARTITIONS).await;
    let mut tasks = JoinSet::new();
    for number in 0..count {
        if tasks.len() == AT_ONCE {
            tasks.join_next().await.expect("there is one").expect("it does not panic");
        }
        let broker = broker.clone();
        tasks.spawn(async move { commit_all(&broker, &format!("group-{number}")).await });
    }
    tasks.join_all().await;
    assert_eq!(broker.admin().groups().await.expect("the disk works").len(), count);
    let memory = resident_mebibytes() - before;
    broker.shutdown().await.expect("the disk works");
    memory
}

async fn commit_all(broker: &Broker, group: &str) {
    let mut consumer = member(broker, group).await;
    for _ in 0..PARTITIONS {
        consumer.recv().await.expect("the log is sound");
    }
    consumer.commit().await.expect("it is a member");
    consumer.close().await.expect("it may leave");
}

/// Milliseconds for opening a broker, learning of all its groups and where one of them stands.
async fn open_with_groups(dir: PathBuf, count: usize) -> f64 {
    let started = Instant::now();
    let broker = Broker::open(dir).await.expect("it was closed cleanly");
    let groups = broker.admin().groups().await.expect("the disk works");
    let mut consumer = member(&broker, "group-0").await;
    let at = |partition| TopicPartition::new(TOPIC, partition).expect("a good name");
    let partitions: Vec<TopicPartition> = (0..PARTITIONS).map(at).collect();
    let committed = consumer.committed(&partitions).await.expect("the group is there");
    let took = started.elapsed().as_secs_f64() * 1e3;
    assert_eq!((groups.len(), committed.len()), (count, PARTITIONS as usize));
    broker.shutdown().await.expect("the disk works");
    took
}

/// From `subscribe` of a new group's only member to its first record, which has been there.
///
/// The first group of a data directory's life has a row of its own: for it `__consumer_offsets` is
/// created, which takes seven syncs of files and folders, one after the other.
fn first_records(runtime: &Runtime, scale: Scale, report: &mut Report) {
    let count = scale.pick(50, 3) + 1;
    let aim = Aim::AtMost(5.0);
    let kinds = [
        ("in memory", None, aim),
        ("on disk", Some(Durability::Process), aim),
        ("on disk, synced", Some(Durability::Power), Aim::None),
    ];
    for (name, durability, aim) in kinds {
        let mut took = on_worker(runtime, join_groups(durability, count));
        let first = took.remove(0);
        let worst = took.iter().copied().fold(0.0, f64::max);
        let of = took.len();
        report.figure(&format!("join to first record, {name}"), took, millis, aim);
        report.figure(&format!("  … the worst of {of} groups"), vec![worst], millis, aim);
        report.figure("  … the broker's very first", vec![first], millis, Aim::None);
    }
}

/// Milliseconds of each group.
async fn join_groups(durability: Option<Durability>, count: usize) -> Vec<f64> {
    let dir = tempfile::tempdir().expect("a folder can be made");
    let broker = match durability {
        None => Broker::in_memory().await.expect("a broker in memory opens"),
        Some(durability) => {
            let defaults = TopicConfig::new().durability(durability);
            let builder = Broker::builder().topic_defaults(defaults);
            builder.open(dir.path()).await.expect("an empty folder opens")
        }
    };
    with_one_record_each(&broker, 1).await;
    let mut took = Vec::new();
    for number in 0..count {
        let started = Instant::now();
        let mut consumer = member(&broker, &format!("group-{number}")).await;
        consumer.recv().await.expect("the log is sound");
        took.push(started.elapsed().as_secs_f64() * 1e3);
        consumer.close().await.expect("it may leave");
    }
    broker.shutdown().await.expect("the disk works");
    took
}

async fn with_one_record_each(broker: &Broker, partitions: i32) {
    let config = TopicConfig::new().partitions(partitions);
    broker.create_topic(TOPIC, config).await.expect("it is not there yet");
    let producer = broker.producer().build();
    for partition in 0..partitions {
        let record = Record::to(TOPIC).partition(partition).value("one");
        producer.send(record).await.expect("it is appended");
    }
}

async fn member(broker: &Broker, group: &str) -> Consumer {
    broker.consumer().group(group).subscribe([TOPIC]).await.expect("the topic is there")
}

/// An awaited commit of the position in one partition, against an awaited `send` of 100 bytes.
pub(crate) fn awaited(runtime: &Runtime, scale: Scale, report: &mut Report) {
    let count = scale.pick(200_000, 1_000);
    let ours = || on_worker(runtime, commits(count));
    let reference = || on_worker(runtime, sends(count));
    let pairs = alternate(scale.rounds(), ours, reference);
    report.ratios("memory, awaited commit | awaited send", &pairs, nanos, Aim::AtMost(3.0));
}

/// Nanoseconds of each commit. The member has received a record since the commit before; how long
/// that takes is measured apart, and not counted.
async fn commits(count: u64) -> f64 {
    let broker = Broker::in_memory().await.expect("a broker in memory opens");
    let producer = broker.producer().build();
    for counter in 0..count {
        let payload = payload::array::<100>(counter);
        producer.enqueue(Record::to(TOPIC).value(&payload)).await.expect("it is buffered");
    }
    producer.flush().await;
    let mut consumer = member(&broker, "group").await;
    let mut took = Duration::ZERO;
    for _ in 0..count {
        consumer.recv().await.expect("the log is sound");
        let started = Instant::now();
        consumer.commit().await.expect("it is a member");
        took += started.elapsed();
    }
    broker.shutdown().await.expect("nothing is left to do");
    took.as_nanos() as f64 / count as f64
}

async fn sends(count: u64) -> f64 {
    let broker = Broker::in_memory().await.expect("a broker in memory opens");
    let producer = broker.producer().build();
    producer.send(Record::to(TOPIC)).await.expect("it is appended");
    let started = Instant::now();
    for counter in 0..count {
        let payload = payload::array::<100>(counter);
        producer.send(Record::to(TOPIC).value(&payload)).await.expect("it is appended");
    }
    let each = nanos_each(count, started);
    broker.shutdown().await.expect("nothing is left to do");
    each
}
