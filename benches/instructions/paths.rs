//! The hot paths, each on one thread. How much is run is told in rounds: what the start takes drops
//! out of the difference of two runs.
//!
//! A path makes its payloads anew and reads every byte that comes out, as cheaply as can be: what
//! is counted should be the log's.

use ottla::{Broker, Consumer, Durability, MemoryPolicy, Producer, Record, TopicConfig};
use tokio::runtime::{Builder, Runtime};

use super::payload;

const TOPIC: &str = "hot";
/// What the broker may keep: so little that within a round memory is freed and used again.
const MEMORY: usize = 4 << 20;
/// How many records a poll asks for.
const POLL: usize = 1024;
/// How many records go to a disk between two flushes: about eight batches.
const FLUSH: u64 = 5_000;
/// The partitions of the topic whose records have keys.
const PARTITIONS: i32 = 4;

/// A hot path.
pub(crate) struct Path {
    pub(crate) name: &'static str,
    /// Runs it for so many rounds.
    pub(crate) run: fn(u64) -> Tally,
}

/// What a run has moved.
#[derive(Clone, Copy, Default)]
pub(crate) struct Tally {
    pub(crate) records: u64,
    pub(crate) batches: u64,
}

/// In the order in which they are shown.
pub(crate) const PATHS: &[Path] = &[
    Path { name: "memory-poll-100", run: |rounds| streamed::<100>(rounds, poll_all) },
    Path { name: "memory-poll-1024", run: |rounds| streamed::<1024>(rounds, poll_all) },
    Path { name: "memory-recv-100", run: |rounds| streamed::<100>(rounds, recv_all) },
    Path { name: "memory-keyed-100", run: keyed::<100> },
    Path { name: "memory-send-100", run: awaited::<100> },
    Path { name: "disk-enqueue-100", run: written::<100> },
    Path { name: "disk-poll-100", run: caught_up::<100> },
    #[cfg(feature = "tcp")]
    Path { name: "produce-request-100", run: super::requests::taken::<100> },
];

/// How many records of such payloads a round has: about 5 MB.
pub(crate) const fn in_a_round(payload: usize) -> u64 {
    (5_000_000 / payload) as u64
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().build().expect("a runtime can be built")
}

/// `enqueue` in one task, and all received in another.
fn streamed<const N: usize>(rounds: u64, receive: impl AsyncFnOnce(Consumer, u64) -> u64) -> Tally {
    let records = rounds * in_a_round(N);
    let expected = payload::sum_of_first::<N>(records);
    runtime().block_on(async {
        let broker = in_memory(1).await;
        let consumer = broker.consumer().subscribe([TOPIC]).await.expect("the topic is there");
        let producer = broker.producer().build();
        let sending = tokio::spawn(enqueue::<N>(producer.clone(), records));
        assert_eq!(receive(consumer, records).await, expected, "lossless");
        sending.await.expect("nothing fails");
        done(&broker, &producer, records).await
    })
}

/// The same with keys, over some partitions, and with a header.
fn keyed<const N: usize>(rounds: u64) -> Tally {
    let records = rounds * in_a_round(N);
    let expected = payload::sum_of_first::<N>(records);
    runtime().block_on(async {
        let broker = in_memory(PARTITIONS).await;
        let consumer = broker.consumer().subscribe([TOPIC]).await.expect("the topic is there");
        let producer = broker.producer().build();
        let sending = tokio::spawn(enqueue_keyed::<N>(producer.clone(), records));
        assert_eq!(poll_all(consumer, records).await, expected, "lossless");
        sending.await.expect("nothing fails");
        done(&broker, &producer, records).await
    })
}

/// `send`, each waited for.
fn awaited<const N: usize>(rounds: u64) -> Tally {
    let records = rounds * in_a_round(N);
    runtime().block_on(async {
        let broker = in_memory(1).await;
        let producer = broker.producer().build();
        for counter in 0..records {
            let payload = payload::array::<N>(counter);
            let sent = producer.send(Record::to(TOPIC).value(&payload)).await;
            assert_eq!(sent.expect("it is appended").offset, counter as i64);
        }
        done(&broker, &producer, records).await
    })
}

/// `enqueue` to a disk.
fn written<const N: usize>(rounds: u64) -> Tally {
    let records = rounds * in_a_round(N);
    let dir = tempfile::tempdir().expect("a folder can be made");
    runtime().block_on(async {
        let broker = on_disk(dir.path()).await;
        let producer = broker.producer().build();
        write::<N>(&producer, records).await;
        let topic = broker.describe_topic(TOPIC).expect("it is there");
        assert_eq!(topic.partitions[0].high_watermark, records as i64, "all are visible");
        done(&broker, &producer, records).await
    })
}

/// A round's records are written once, and read from the disk in each round.
fn caught_up<const N: usize>(rounds: u64) -> Tally {
    let records = in_a_round(N);
    let expected = payload::sum_of_first::<N>(records);
    let dir = tempfile::tempdir().expect("a folder can be made");
    runtime().block_on(async {
        let broker = on_disk(dir.path()).await;
        let producer = broker.producer().build();
        write::<N>(&producer, records).await;
        for _ in 0..rounds {
            let consumer = broker.consumer().subscribe([TOPIC]).await.expect("it is there");
            assert_eq!(poll_all(consumer, records).await, expected, "lossless");
        }
        let once = done(&broker, &producer, records).await;
        Tally { records: rounds * once.records, batches: rounds * once.batches }
    })
}

/// Where what a reader has yet to read stays, as users have it who want to lose nothing.
async fn in_memory(partitions: i32) -> Broker {
    let builder = Broker::builder().memory_limit(MEMORY).memory_policy(MemoryPolicy::Block);
    let broker = builder.in_memory().await.expect("a broker in memory opens");
    let config = TopicConfig::new().partitions(partitions);
    broker.create_topic(TOPIC, config).await.expect("it is not there yet");
    broker
}

async fn on_disk(dir: &std::path::Path) -> Broker {
    let broker = Broker::open(dir).await.expect("an empty folder opens");
    let config = TopicConfig::new().durability(Durability::Process);
    broker.create_topic(TOPIC, config).await.expect("it is not there yet");
    broker
}

async fn done(broker: &Broker, producer: &Producer, records: u64) -> Tally {
    let stats = producer.stats();
    assert_eq!(stats.records_sent, records, "all are acknowledged");
    broker.shutdown().await.expect("nothing is left to do");
    Tally { records, batches: stats.batches }
}

async fn enqueue<const N: usize>(producer: Producer, records: u64) {
    for counter in 0..records {
        let payload = payload::array::<N>(counter);
        producer.enqueue(Record::to(TOPIC).value(&payload)).await.expect("it is buffered");
    }
    producer.flush().await;
}

/// Other threads write to the disk. How far they stay behind, and so how many buffers the producer
/// has to make, is no two runs' same, unless it waits for them.
async fn write<const N: usize>(producer: &Producer, records: u64) {
    for counter in 0..records {
        let payload = payload::array::<N>(counter);
        producer.enqueue(Record::to(TOPIC).value(&payload)).await.expect("it is buffered");
        if counter % FLUSH == FLUSH - 1 {
            producer.flush().await;
        }
    }
    producer.flush().await;
}

async fn enqueue_keyed<const N: usize>(producer: Producer, records: u64) {
    for counter in 0..records {
        let (key, payload) = (counter.to_le_bytes(), payload::array::<N>(counter));
        let record = Record::to(TOPIC).key(&key).value(&payload).header("kind", "hot");
        producer.enqueue(record).await.expect("it is buffered");
    }
    producer.flush().await;
}

async fn poll_all(mut consumer: Consumer, records: u64) -> u64 {
    let (mut received, mut sum) = (0, 0);
    while received < records {
        let polled = consumer.poll(POLL).await.expect("nothing is lost");
        received += polled.len() as u64;
        let sums = polled.iter().map(|it| payload::sum(it.value.unwrap_or_default()));
        sum = sums.fold(sum, u64::wrapping_add);
    }
    sum
}

async fn recv_all(mut consumer: Consumer, records: u64) -> u64 {
    let mut sum = 0_u64;
    for _ in 0..records {
        let record = consumer.recv().await.expect("nothing is lost");
        sum = sum.wrapping_add(payload::sum(record.value.as_deref().unwrap_or_default()));
    }
    sum
}
