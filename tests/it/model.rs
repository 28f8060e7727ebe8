//! Random histories against a model: for each partition, the records that were acknowledged.
//!
//! Producers and consumers run at the same time, segments are tiny, and the broker is shut down
//! and opened again in between. At every end: offsets are dense and stay, each record reads as it
//! was written, each producer's records to one partition are in order, nothing is lost and nothing
//! is there twice.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use ottla::storage::SimDisk;
use ottla::{
    Broker, Consumer, ConsumerRecord, Durability, Producer, Record, Timestamp, TopicConfig,
};
use proptest::prelude::*;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::support::{read_topic, within};

/// One run between two opens.
#[derive(Debug, Clone)]
struct Round {
    /// Of each producer: its records.
    producers: Vec<Vec<Sent>>,
    consumers: usize,
    batch_size: usize,
    buffer_memory: usize,
    /// Whether the producers share one [`Producer`].
    shared: bool,
    /// How many records a consumer takes at a time; 1 is `recv`.
    poll: usize,
    fetch_bytes: usize,
    /// Ends by a shutdown, or by dropping all handles.
    shutdown: bool,
}

#[derive(Debug, Clone)]
struct Sent {
    key: Option<u8>,
    partition: Option<i32>,
    padding: usize,
    header: bool,
    null_value: bool,
    /// Waits for the acknowledgement before it goes on.
    awaited: bool,
}

#[derive(Debug, Clone)]
struct History {
    partitions: i32,
    segment_bytes: u64,
    rounds: Vec<Round>,
}

fn sent() -> impl Strategy<Value = Sent> {
    let key = prop::option::of(0..4u8);
    let partition = prop::option::weighted(0.3, 0..4i32);
    let padding = prop_oneof![4 => 0..40usize, 1 => 200..600usize];
    let flags = (any::<bool>(), prop::bool::weighted(0.1), prop::bool::weighted(0.3));
    (key, partition, padding, flags).prop_map(|(key, partition, padding, flags)| {
        let (header, null_value, awaited) = flags;
        Sent { key, partition, padding, header, null_value, awaited }
    })
}

fn round() -> impl Strategy<Value = Round> {
    let producers = prop::collection::vec(prop::collection::vec(sent(), 0..40), 1..4);
    let consumers = (0..3usize, prop_oneof![Just(1usize), 2..50usize], 1..3000usize);
    let sizes = (1..1500usize, 1500..6000usize);
    (producers, consumers, sizes, any::<bool>(), any::<bool>()).prop_map(
        |(producers, (consumers, poll, fetch_bytes), sizes, shared, shutdown)| Round {
            producers,
            consumers,
            batch_size: sizes.0,
            buffer_memory: sizes.1,
            shared,
            poll,
            fetch_bytes,
            shutdown,
        },
    )
}

fn history() -> impl Strategy<Value = History> {
    let rounds = prop::collection::vec(round(), 1..4);
    (1..5i32, 1024..4000u64, rounds).prop_map(|(partitions, segment_bytes, rounds)| History {
        partitions,
        segment_bytes,
        rounds,
    })
}

/// What a record is known by: round, producer, and its number with that producer. It is in the
/// record's timestamp, which every record has.
fn stamp(round: usize, producer: usize, number: usize) -> Timestamp {
    Timestamp::from_millis((round * 1_000_000 + producer * 10_000 + number) as i64)
}

fn record(sent: &Sent, stamp: Timestamp, partitions: i32) -> Record<'static> {
    let mut record = Record::to("t").timestamp(stamp);
    record.key = sent.key.map(|key| vec![key].into());
    record.partition = sent.partition.map(|partition| partition % partitions);
    record.value = (!sent.null_value).then(|| vec![stamp.as_millis() as u8; sent.padding].into());
    if sent.header {
        record = record.header("stamp", stamp.to_string()).null_header("null");
    }
    record
}

/// Whether the record that came out is the one that went in.
fn is_same(read: &ConsumerRecord, sent: &Record<'_>) -> bool {
    let headers = sent.headers.iter().map(|(key, value)| (key.to_string(), value.as_deref()));
    read.key.as_deref() == sent.key.as_deref()
        && read.value.as_deref() == sent.value.as_deref()
        && Some(read.timestamp) == sent.timestamp
        && read.headers.iter().map(|h| (h.key.into_owned(), h.value)).eq(headers)
}

/// Acknowledged records: partition and offset to what was sent.
type Model = BTreeMap<(i32, i64), Record<'static>>;

async fn produce(
    producer: Producer,
    records: Vec<(Record<'static>, bool)>,
) -> Vec<(i32, i64, Record<'static>)> {
    let mut deliveries = Vec::new();
    let mut acknowledged = Vec::new();
    for (record, awaited) in records {
        let delivery = producer.enqueue(record.clone()).await.unwrap();
        match awaited {
            true => {
                let sent = delivery.await.unwrap();
                acknowledged.push((sent.partition, sent.offset, record));
            }
            false => deliveries.push((delivery, record)),
        }
    }
    for (delivery, record) in deliveries {
        let sent = delivery.await.unwrap();
        acknowledged.push((sent.partition, sent.offset, record));
    }
    acknowledged
}

/// Reads `n` records.
async fn consume(mut consumer: Consumer, poll: usize, n: usize) -> Vec<ConsumerRecord> {
    let mut records = Vec::new();
    while records.len() < n {
        match poll {
            1 => records.push(consumer.recv().await.unwrap()),
            max => records.extend(consumer.poll(max).await.unwrap()),
        }
    }
    records
}

/// Runs the round's producers and consumers at once, and adds to the model what they did.
async fn play(broker: &Broker, history: &History, index: usize, model: &mut Model) {
    let round = &history.rounds[index];
    let build = || {
        let builder = broker.producer().batch_size(round.batch_size);
        builder.buffer_memory(round.buffer_memory).build()
    };
    let new: usize = round.producers.iter().map(Vec::len).sum();
    let total = model.len() + new;
    let mut consuming = Vec::new();
    for _ in 0..round.consumers {
        let builder = broker.consumer().max_partition_fetch_bytes(round.fetch_bytes);
        let consumer = builder.subscribe(["t"]).await.unwrap();
        consuming.push(tokio::spawn(consume(consumer, round.poll, total)));
    }
    let first = build();
    let mut producing = Vec::new();
    for (number, records) in round.producers.iter().enumerate() {
        let records = records.iter().enumerate().map(|(n, sent)| {
            (record(sent, stamp(index, number, n), history.partitions), sent.awaited)
        });
        let producer = if round.shared { first.clone() } else { build() };
        producing.push(tokio::spawn(produce(producer, records.collect())));
    }
    for producing in producing {
        for (partition, offset, record) in producing.await.unwrap() {
            let doubled = model.insert((partition, offset), record);
            assert!(doubled.is_none(), "{partition} @ {offset} was given out twice");
        }
    }
    assert_eq!(model.len(), total);
    for consuming in consuming {
        check(&consuming.await.unwrap(), model, history.partitions);
    }
    check(&read_topic(&broker.client(), "t").await, model, history.partitions);
}

/// Asserts that `read` is what the model says, in order.
fn check(read: &[ConsumerRecord], model: &Model, partitions: i32) {
    assert_eq!(read.len(), model.len());
    for partition in 0..partitions {
        let of_it = read.iter().filter(|record| record.partition == partition);
        let mut last = BTreeMap::new();
        for (record, offset) in of_it.zip(0..) {
            assert_eq!(record.offset, offset, "partition {partition} has a gap, or is unordered");
            let sent = model.get(&(partition, offset)).expect("nobody was told of this offset");
            assert!(is_same(record, sent), "{record:?} is not {sent:?}");
            // A producer's task sends in order, and so they stand in each partition.
            let (source, number) =
                (record.timestamp.as_millis() / 10_000, record.timestamp.as_millis());
            assert!(last.insert(source, number).is_none_or(|last| last < number));
        }
    }
}

/// Where the broker of a history is.
#[derive(Debug)]
enum Place {
    Memory,
    Disk(PathBuf, Durability),
    Sim(SimDisk),
}

impl Place {
    async fn open(&self) -> Broker {
        match self {
            Place::Memory => Broker::in_memory().await.unwrap(),
            Place::Disk(path, _) => Broker::open(path).await.unwrap(),
            Place::Sim(disk) => Broker::builder().open_on(Arc::new(disk.process())).await.unwrap(),
        }
    }

    fn config(&self, history: &History) -> TopicConfig {
        let config = TopicConfig::new().partitions(history.partitions);
        let config = config.segment_bytes(history.segment_bytes);
        match self {
            Place::Memory => config,
            Place::Disk(_, durability) => config.durability(*durability),
            Place::Sim(_) => config.durability(Durability::Power),
        }
    }
}

async fn run(history: &History, place: &Place) {
    let mut model = Model::new();
    let mut broker = place.open().await;
    broker.create_topic("t", place.config(history)).await.unwrap();
    for (index, round) in history.rounds.iter().enumerate() {
        play(&broker, history, index, &mut model).await;
        // A simulated disk has no lock for the next open to wait for.
        let ends = match place {
            Place::Memory => false,
            Place::Disk(..) => true,
            Place::Sim(_) => round.shutdown,
        };
        if !ends {
            continue;
        }
        if round.shutdown {
            broker.shutdown().await.unwrap();
        }
        drop(broker);
        broker = place.open().await;
        assert!(broker.recovery_report().unwrap().clean_shutdown);
        for partition in broker.describe_topic("t").unwrap().partitions {
            let end = model.keys().filter(|(it, _)| *it == partition.partition).count() as i64;
            assert_eq!((partition.log_start_offset, partition.log_end_offset), (0, end));
        }
        check(&read_topic(&broker.client(), "t").await, &model, history.partitions);
    }
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

fn threads() -> Runtime {
    crate::support::runtime()
}

fn one_thread() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

proptest! {
    #![proptest_config(config(24))]

    #[test]
    fn in_memory(history in history()) {
        threads().block_on(within(run(&history, &Place::Memory)));
    }

    #[test]
    fn on_one_thread(history in history()) {
        one_thread().block_on(within(run(&history, &Place::Memory)));
    }

    #[test]
    fn on_a_simulated_disk(history in history(), seed: u64) {
        let place = Place::Sim(SimDisk::new(seed));
        one_thread().block_on(within(run(&history, &place)));
    }
}

proptest! {
    #![proptest_config(config(10))]

    #[test]
    fn on_disk(history in history(), power: bool) {
        let dir = TempDir::new().unwrap();
        let durability = if power { Durability::Power } else { Durability::Process };
        let place = Place::Disk(dir.path().to_owned(), durability);
        threads().block_on(within(run(&history, &place)));
    }
}
