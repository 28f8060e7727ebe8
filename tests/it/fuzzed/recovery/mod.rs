//! A broker opened on a directory that may hold anything.
//!
//! * It opens, or the directory's own file, or a file in a folder's place, is the reason why not;
//!   or that the catalog has used up all 2^63 offsets, which a file's name may say.
//! * What it serves can be read to the end: records in order, and each gap told once.
//! * Then a record goes into every partition and comes back, groups say what they have committed,
//!   topics are compacted, and nothing else changes.
//! * After a shutdown, or a kill, all of that is served again, without anything to mend.
//!
//! Nothing panics on the way, hangs, or takes memory by a number that a file holds.

mod directory;
mod input;

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use ottla::storage::SimDisk;
use ottla::{
    Admin, Broker, Clock, CommittedOffset, Consumer, ConsumerRecord, Durability, Error, Record,
    RecordMetadata, TopicPartition,
};

pub use directory::Bases;
use directory::Directory;

/// After how many turns what is waited for never comes.
const PATIENCE: usize = 20_000;
/// No more partitions than these are read of a topic, which can have 100,000; nor of all.
const PARTITIONS: usize = 6;
const ALL_PARTITIONS: usize = 24;

/// What reading met.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Item {
    Record {
        offset: i64,
        timestamp: i64,
        key: Option<Vec<u8>>,
        value: Option<Vec<u8>>,
        headers: Vec<(String, Option<Vec<u8>>)>,
    },
    /// Offsets that can't be read.
    Gap { from: i64, to: i64 },
    /// Compressed with what is not built in: the consumer stays before it.
    Compressed,
}

/// All that is served, partition by partition.
type Served = BTreeMap<TopicPartition, Vec<Item>>;
type Committed = BTreeMap<String, BTreeMap<TopicPartition, CommittedOffset>>;

/// What there was at the end of a broker.
struct Left {
    served: Served,
    committed: Committed,
}

/// Plays one input. Panics are findings.
pub fn run(bases: &Bases, data: &[u8]) {
    let directory = Directory::new(bases, data);
    let disk = directory.on_disk();
    let Some(left) = in_a_process(&disk, async |disk| first_life(&directory, disk).await) else {
        return;
    };
    if directory.kill {
        disk.crash_process();
    }
    in_a_process(&disk, async |disk| second_life(&directory, disk, left).await);
}

/// All tasks end with the runtime, which has neither a timer nor threads.
fn in_a_process<T>(disk: &SimDisk, life: impl AsyncFnOnce(SimDisk) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("it needs nothing");
    runtime.block_on(life(disk.process()))
}

async fn first_life(directory: &Directory, disk: SimDisk) -> Option<Left> {
    let broker = match open(&disk, 1).await {
        Ok(broker) => broker,
        Err(error) => {
            assert!(directory.may_be_refused() || is_used_up(&error), "open fails: {error}");
            if let Error::UnsupportedFormat { .. } = error {
                let same = |(path, content)| disk.read_file(path).as_ref() == Some(content);
                assert!(directory.files.iter().all(same), "it was refused, and changed");
            }
            return None;
        }
    };
    let found = read_all(&broker, directory).await;
    let sent = send_to_all(&broker, &found).await;
    let mut expected = found.clone();
    for (at, (offset, record)) in sent {
        let items = expected.entry(at.clone()).or_default();
        check_next(&at, items, offset);
        items.push(record);
    }
    let all = read_all(&broker, directory).await;
    check_same(&all, &expected, "after a record was sent to each partition");
    let committed = commits(&broker.admin()).await;
    compact_all(&broker).await;
    let left = read_all(&broker, directory).await;
    check_compacted(&broker, &left, &all);
    let left = Left { served: durable(&broker, left), committed };
    if !directory.kill {
        patiently(broker.shutdown()).await.expect("nothing keeps it from being shut down");
    }
    Some(left)
}

async fn second_life(directory: &Directory, disk: SimDisk, mut left: Left) {
    let broker = match open(&disk, 2).await {
        Ok(broker) => broker,
        Err(error) if is_used_up(&error) => return,
        Err(error) => panic!("it was open before: {error}"),
    };
    let report = broker.recovery_report().expect("it is on a disk");
    assert_eq!(report.clean_shutdown, !directory.kill);
    let cut = report.partitions.iter().find(|(_, found)| !found.cut.is_empty());
    assert_eq!(cut, None, "something was cut off");
    // What is lost is told as often as it is looked at, but nothing is mended again.
    let rewritten = report.partitions.values().any(|found| found.rewritten);
    assert!(!rewritten && report.stray.is_empty() && report.topics_without_catalog.is_empty());
    let mut served = durable(&broker, read_all(&broker, directory).await);
    if directory.kill {
        // What can't be read may be put otherwise.
        only_records(&mut served);
        only_records(&mut left.served);
    }
    check_same(&served, &left.served, "after opening it again");
    assert_eq!(commits(&broker.admin()).await, left.committed);
    patiently(broker.shutdown()).await.expect("nothing keeps it from being shut down");
}

async fn open(disk: &SimDisk, id_seed: u64) -> Result<Broker, Error> {
    let builder = Broker::builder().clock(Clock::manual()).auto_create_topics(false);
    patiently(builder.id_seed(id_seed).open_on(Arc::new(disk.clone()))).await
}

/// Whether a log has no offset left to give.
fn is_used_up(error: &impl ToString) -> bool {
    error.to_string().contains("no offsets left")
}

/// Partitions that are looked at, and how many bytes they have.
fn partitions(broker: &Broker) -> Vec<(TopicPartition, u64)> {
    let mut all = Vec::new();
    for topic in broker.topics().expect("it is open") {
        let description = broker.describe_topic(topic.as_str()).expect("it is there");
        for partition in description.partitions.iter().take(PARTITIONS) {
            let at = TopicPartition { topic: topic.clone(), partition: partition.partition };
            all.push((at, partition.size_bytes));
        }
    }
    all.truncate(ALL_PARTITIONS);
    all
}

/// Without those that are not promised to outlive a broker.
fn durable(broker: &Broker, mut served: Served) -> Served {
    served.retain(|at, _| {
        let topic = broker.describe_topic(at.topic.as_str()).expect("it is there");
        topic.durability != Durability::Memory
    });
    served
}

async fn read_all(broker: &Broker, directory: &Directory) -> Served {
    let partitions = partitions(broker);
    let mut served: Served = partitions.iter().map(|(at, _)| (at.clone(), Vec::new())).collect();
    if partitions.is_empty() {
        return served;
    }
    let names = partitions.iter().map(|(at, _)| at.clone());
    let mut consumer = patiently(broker.consumer().assign(names)).await.expect("they are there");
    // Each item takes a byte at least; and gaps lie between records, or where files end.
    let most = partitions.iter().map(|(_, size)| *size as usize).sum::<usize>() + 1000;
    let mut idle = 0;
    for _ in 0..most {
        let taken = loop {
            match consumer.try_recv() {
                Ok(None) if is_at_end(&mut consumer, &served).await => return served,
                Ok(None) => {
                    idle += 1;
                    assert!(idle < PATIENCE, "reading makes no progress: {consumer:?}");
                    tokio::task::yield_now().await;
                }
                Ok(Some(record)) => break take_record(record, directory, &served),
                Err(error) => break take_error(error, &mut consumer, &served),
            }
        };
        idle = 0;
        served.get_mut(&taken.0).expect("it was asked for").push(taken.1);
    }
    panic!("reading does not end: {consumer:?}");
}

fn take_record(
    record: ConsumerRecord,
    directory: &Directory,
    served: &Served,
) -> (TopicPartition, Item) {
    let at = TopicPartition { topic: record.topic.clone(), partition: record.partition };
    // A broker numbers the records of a batch in order; whoever crafts one may not.
    if !directory.crafted {
        check_next(&at, &served[&at], record.offset);
    }
    let owned = |bytes: &Option<bytes::Bytes>| bytes.as_ref().map(|it| it.to_vec());
    let headers = record.headers.iter();
    let item = Item::Record {
        offset: record.offset,
        timestamp: record.timestamp.as_millis(),
        key: owned(&record.key),
        value: owned(&record.value),
        headers: headers.map(|it| (it.key.into_owned(), it.value.map(<[u8]>::to_vec))).collect(),
    };
    (at, item)
}

fn take_error(error: Error, consumer: &mut Consumer, served: &Served) -> (TopicPartition, Item) {
    match error {
        Error::Corrupt { at, from, to } => {
            assert!(from < to, "{at}: an empty gap, {from} to {to}");
            let position = consumer.position(&at).map(|it| it.offset);
            assert_eq!(position, Some(to), "{at}: reading does not go on behind the gap");
            check_next(&at, &served[&at], from);
            (at, Item::Gap { from, to })
        }
        Error::InvalidRecord { at, .. } => {
            consumer.pause(std::slice::from_ref(&at)).expect("it is assigned");
            (at, Item::Compressed)
        }
        error => panic!("reading fails: {error}"),
    }
}

/// What comes next lies behind what came before.
fn check_next(at: &TopicPartition, before: &[Item], offset: i64) {
    match before.last() {
        Some(Item::Record { offset: last, .. }) => assert!(offset > *last, "{at}: {offset} again"),
        Some(Item::Gap { to, .. }) => assert!(offset >= *to, "{at}: {offset} in a gap to {to}"),
        Some(Item::Compressed) | None => assert!(offset >= 0, "{at}: {offset}"),
    }
}

async fn is_at_end(consumer: &mut Consumer, served: &Served) -> bool {
    let lag = patiently(consumer.lag()).await.expect("their ends are known");
    lag.iter().all(|(at, lag)| *lag == 0 || served[at].last() == Some(&Item::Compressed))
}

/// The offsets, and the records as they are to be read.
async fn send_to_all(broker: &Broker, found: &Served) -> BTreeMap<TopicPartition, (i64, Item)> {
    let producer = broker.producer().build();
    let mut sent = BTreeMap::new();
    for at in found.keys() {
        let record = Record::to(at.topic.as_str()).partition(at.partition);
        let record = record.key("key").value("value").timestamp(ottla::Timestamp::from_millis(9));
        let RecordMetadata { offset, timestamp, .. } = match patiently(producer.send(record)).await
        {
            Ok(metadata) => metadata,
            Err(error) if is_used_up(&error) => continue,
            Err(error) => panic!("{at}: {error}"),
        };
        let item = Item::Record {
            offset,
            timestamp: timestamp.as_millis(),
            key: Some(b"key".to_vec()),
            value: Some(b"value".to_vec()),
            headers: Vec::new(),
        };
        sent.insert(at.clone(), (offset, item));
    }
    sent
}

async fn commits(admin: &Admin) -> Committed {
    let mut committed = Committed::new();
    let groups = match patiently(admin.groups()).await {
        // The topic that keeps them can't be created.
        Err(error) if is_used_up(&error) => return committed,
        groups => groups.expect("they are loaded"),
    };
    for group in groups {
        let offsets = patiently(admin.group_offsets(&group)).await.expect("it is a group");
        // One that has committed nothing for topics that are there may go.
        if !offsets.is_empty() {
            committed.insert(group, offsets);
        }
    }
    committed
}

async fn compact_all(broker: &Broker) {
    for topic in broker.topics().expect("it is open") {
        match patiently(broker.compact(topic.as_str())).await {
            Ok(_) | Err(Error::InvalidState(_)) => {}
            Err(error) => panic!("compacting {topic}: {error}"),
        }
    }
}

/// Compaction only takes, and only where it is asked for.
fn check_compacted(broker: &Broker, left: &Served, all: &Served) {
    for (at, items) in left {
        let topic = broker.describe_topic(at.topic.as_str()).expect("it is there");
        let compacts = topic.config.get("cleanup.policy").is_some_and(|it| it.contains("compact"));
        if !compacts {
            assert_eq!(items, &all[at], "{at}: compacted against its policy");
        }
        let known = |item: &&Item| matches!(item, Item::Record { .. }) && !all[at].contains(item);
        assert_eq!(items.iter().find(known), None, "{at}: compaction makes records");
    }
}

fn check_same(served: &Served, expected: &Served, when: &str) {
    for (at, expected) in expected {
        let (found, wanted) = (served.get(at).map_or(&[][..], Vec::as_slice), &expected[..]);
        if wanted.contains(&Item::Compressed) {
            // What comes behind it can't be seen.
            continue;
        }
        let differs = found.iter().zip(wanted).position(|(found, wanted)| found != wanted);
        let differs = differs.unwrap_or(found.len().min(wanted.len()));
        let (one, other) = (found.get(differs), wanted.get(differs));
        assert_eq!(one, other, "{at}, {when}: item {differs} (left is served)");
    }
}

fn only_records(served: &mut Served) {
    for items in served.values_mut() {
        items.retain(|item| matches!(item, Item::Record { .. }));
    }
}

/// What a future comes to; a panic if it never does.
async fn patiently<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    for _ in 0..PATIENCE {
        let ready = future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        if let Poll::Ready(output) = ready {
            return output;
        }
        tokio::task::yield_now().await;
    }
    panic!("it hangs");
}
