//! The memory budget: what happens when it is used up, and that what is freed is free.

use std::time::Duration;

use ottla::{Broker, Consumer, Durability, Error, MemoryPolicy, Producer, Record, TopicConfig};

use crate::support::{
    Child, assert_error, at, child_dir, runtime, send_all, take_values, texts, within,
};

const LIMIT: usize = 512 << 10;
const SEGMENT: usize = 32 << 10;

async fn broker(policy: MemoryPolicy) -> Broker {
    let defaults = TopicConfig::new().segment_bytes(SEGMENT as u64);
    let builder = Broker::builder().memory_limit(LIMIT).memory_policy(policy);
    builder.topic_defaults(defaults).in_memory().await.unwrap()
}

fn record<'a>(topic: &'a str, n: usize) -> Record<'a> {
    Record::to(topic).partition(0).key(n.to_string()).value(vec![7; 1000])
}

fn key(record: &ottla::ConsumerRecord) -> usize {
    std::str::from_utf8(record.key.as_deref().unwrap()).unwrap().parse().unwrap()
}

async fn send(producer: &Producer, topic: &str, n: usize) {
    producer.send(record(topic, n)).await.unwrap();
}

#[tokio::test]
async fn drop_oldest_stays_within_the_limit_and_tells_who_lags() {
    let broker = broker(MemoryPolicy::DropOldest).await;
    let producer = broker.producer().build();
    let builder = broker.consumer().max_partition_fetch_bytes(2000);
    let mut laggard = builder.subscribe(["t"]).await.unwrap();
    send(&producer, "t", 0).await;
    assert_eq!(key(&laggard.recv().await.unwrap()), 0);
    let mut most = 0;
    for n in 1..3000 {
        send(&producer, "t", n).await;
        most = most.max(broker.memory_used());
    }
    assert!(most <= LIMIT + SEGMENT, "{most} bytes were in use");
    assert!(most > LIMIT / 2, "{most}: the limit was never put to the test");
    let now = broker.describe_topic("t").unwrap().partitions[0];
    assert!(now.log_start_offset > 2000 && now.log_end_offset == 3000, "{now:?}");
    // It may still hold what it fetched before.
    let error = loop {
        match laggard.recv().await {
            Ok(record) => assert!(key(&record) < 10),
            Err(error) => break error,
        }
    };
    let start = now.log_start_offset.to_string();
    assert_error!(Err::<(), _>(error), Error::OffsetOutOfRange { .. }, "t-0", start, "3000");
    assert_eq!(key(&laggard.recv().await.unwrap()), now.log_start_offset as usize);
}

/// However many partitions are written to, and however large their segments would be by default.
#[tokio::test]
async fn the_limit_holds_for_all_partitions_together() {
    for (limit, partitions) in [(100_000, 1), (100_000, 10), (4_000_000, 10), (4_000_000, 50)] {
        for policy in [MemoryPolicy::DropOldest, MemoryPolicy::Block] {
            let builder = Broker::builder().memory_limit(limit).memory_policy(policy);
            let broker = builder.in_memory().await.unwrap();
            let config = TopicConfig::new().partitions(partitions);
            broker.create_topic("t", config).await.unwrap();
            let producer = broker.producer().build();
            let mut most = 0;
            for n in 0..8_000 {
                send_to(&producer, n % partitions).await;
                most = most.max(broker.memory_used());
            }
            // The last batch of each partition can't be dropped.
            let bound = limit + partitions as usize * 1_500;
            assert!(most <= bound, "{policy:?}, {partitions} partitions: {most} of {limit}");
            assert!(most > limit / 2, "{policy:?}, {partitions} partitions: {most} of {limit}");
        }
    }
}

async fn send_to(producer: &Producer, partition: i32) {
    producer.send(Record::to("t").partition(partition).value(vec![7; 1000])).await.unwrap();
}

#[tokio::test]
async fn drop_oldest_takes_from_the_largest_topic() {
    let broker = broker(MemoryPolicy::DropOldest).await;
    send_all(&broker.client(), "small", 0..10).await;
    let producer = broker.producer().build();
    for n in 0..2000 {
        send(&producer, "large", n).await;
    }
    assert_eq!(crate::support::read_values(&broker.client(), "small").await, texts(0..10));
    assert!(broker.describe_topic("large").unwrap().partitions[0].log_start_offset > 1000);
}

/// Sends until the broker says that it is full; returns how many it took.
async fn send_until_full(producer: &Producer, topic: &str) -> usize {
    for n in 0.. {
        if let Err(refused) = producer.send(record(topic, n)).await {
            assert_eq!(refused.record().unwrap().key.unwrap(), record(topic, n).key.unwrap());
            let limit = LIMIT.to_string();
            let name = format!("{topic}-0");
            let error = Err::<(), _>(refused);
            let error =
                assert_error!(error, Error::MemoryFull { .. }, limit, "memory budget", name);
            assert!(error.is_retriable());
            return n;
        }
    }
    unreachable!("the broker is never full")
}

#[tokio::test]
async fn reject_keeps_what_is_there_until_it_is_deleted() {
    let broker = broker(MemoryPolicy::Reject).await;
    let producer = broker.producer().build();
    let taken = send_until_full(&producer, "t").await;
    assert!(taken > 150, "{taken}");
    assert!(broker.memory_used() <= LIMIT);
    // Reading frees nothing: it is a log.
    let mut consumer = broker.consumer().subscribe(["t"]).await.unwrap();
    for n in 0..taken {
        assert_eq!(key(&consumer.recv().await.unwrap()), n);
    }
    assert_eq!(send_until_full(&producer, "t").await, 0);
    assert!(send_until_full(&producer, "other").await < 10);
    drop(consumer);
    broker.delete_topic("t").await.unwrap();
    assert!(broker.memory_used() < SEGMENT, "{} are left", broker.memory_used());
    assert!(send_until_full(&producer, "other").await > 150);
}

#[tokio::test]
async fn reject_takes_records_again_after_retention() {
    let clock = ottla::Clock::manual();
    let defaults = TopicConfig::new().segment_bytes(SEGMENT as u64);
    let defaults = defaults.retention(Some(Duration::from_secs(60)));
    let builder = Broker::builder().memory_limit(LIMIT).memory_policy(MemoryPolicy::Reject);
    let broker = builder.topic_defaults(defaults).clock(clock.clone()).in_memory().await.unwrap();
    let producer = broker.producer().build();
    let taken = send_until_full(&producer, "t").await;
    clock.advance(Duration::from_secs(600));
    while broker.describe_topic("t").unwrap().partitions[0].log_start_offset < taken as i64 {
        tokio::task::yield_now().await;
    }
    assert!(send_until_full(&producer, "t").await > 150);
}

/// Produces `n` records in a task; under `Block` that takes as long as the slowest consumer.
fn produce(broker: &Broker, n: usize) -> tokio::task::JoinHandle<()> {
    let producer = broker.producer().batch_size(3000).buffer_memory(20_000).build();
    tokio::spawn(async move {
        for n in 0..n {
            producer.enqueue(record("t", n)).await.unwrap();
        }
        producer.flush().await;
        assert_eq!(producer.stats().records_failed, 0);
    })
}

async fn receive(consumer: &mut Consumer, range: std::ops::Range<usize>) {
    for n in range {
        assert_eq!(key(&consumer.recv().await.unwrap()), n);
    }
}

/// Lets the other tasks do what they can.
async fn settle(broker: &Broker) -> i64 {
    let mut last = -1;
    loop {
        for _ in 0..200 {
            tokio::task::yield_now().await;
        }
        let end = broker.describe_topic("t").unwrap().partitions[0].log_end_offset;
        if end == last {
            return end;
        }
        last = end;
    }
}

#[tokio::test]
async fn block_waits_for_the_slowest_consumer_which_gets_everything() {
    within(async {
        let broker = broker(MemoryPolicy::Block).await;
        let small = || broker.consumer().max_partition_fetch_bytes(4000);
        let mut slow = small().subscribe(["t"]).await.unwrap();
        let mut fast = small().subscribe(["t"]).await.unwrap();
        let producing = produce(&broker, 3000);
        let racing = tokio::spawn(async move { receive(&mut fast, 0..3000).await });
        let stuck_at = settle(&broker).await;
        assert!(stuck_at > 100 && stuck_at < 600, "{stuck_at}: the slow one was not waited for");
        assert!(broker.memory_used() <= LIMIT);
        receive(&mut slow, 0..3000).await;
        producing.await.unwrap();
        racing.await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn block_goes_on_when_the_slow_consumer_is_dropped() {
    within(async {
        let broker = broker(MemoryPolicy::Block).await;
        let slow = broker.consumer().subscribe(["t"]).await.unwrap();
        let producing = produce(&broker, 2000);
        assert!(settle(&broker).await < 600);
        assert!(!producing.is_finished());
        drop(slow);
        producing.await.unwrap();
        assert!(broker.describe_topic("t").unwrap().partitions[0].log_start_offset > 1000);
    })
    .await;
}

#[tokio::test]
async fn block_waits_for_a_paused_consumer_too() {
    within(async {
        let broker = broker(MemoryPolicy::Block).await;
        let builder = broker.consumer().max_partition_fetch_bytes(4000);
        let mut paused = builder.subscribe(["t"]).await.unwrap();
        send(&broker.producer().build(), "t", 0).await;
        receive(&mut paused, 0..1).await;
        paused.pause(&[at("t", 0)]).unwrap();
        let producer = broker.producer().batch_size(1).build();
        let producing = tokio::spawn(async move {
            for n in 1..2000 {
                producer.send(record("t", n)).await.unwrap();
            }
        });
        assert!(settle(&broker).await < 600);
        paused.resume(&[at("t", 0)]).unwrap();
        receive(&mut paused, 1..2000).await;
        producing.await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn block_waits_for_a_group_that_has_committed() {
    within(async {
        let broker = broker(MemoryPolicy::Block).await;
        let member = || broker.consumer().group("g").max_partition_fetch_bytes(4000);
        let mut consumer = member().subscribe(["t"]).await.unwrap();
        send(&broker.producer().build(), "t", 0).await;
        receive(&mut consumer, 0..1).await;
        consumer.commit().await.unwrap();
        consumer.close().await.unwrap();
        let producer = broker.producer().batch_size(1).build();
        let producing = tokio::spawn(async move {
            for n in 1..3000 {
                producer.send(record("t", n)).await.unwrap();
            }
        });
        // Nobody consumes now.
        assert!(settle(&broker).await < 600);
        let mut consumer = member().subscribe(["t"]).await.unwrap();
        receive(&mut consumer, 1..300).await;
        consumer.commit().await.unwrap();
        consumer.close().await.unwrap();
        let stuck_at = settle(&broker).await;
        assert!((600..1000).contains(&stuck_at), "{stuck_at}");
        assert!(!producing.is_finished());
        broker.admin().delete_group("g").await.unwrap();
        producing.await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn block_with_a_clock_that_stands_still() {
    within(async {
        let defaults = TopicConfig::new().segment_bytes(SEGMENT as u64);
        let builder = Broker::builder().memory_limit(LIMIT).memory_policy(MemoryPolicy::Block);
        let builder = builder.topic_defaults(defaults).clock(ottla::Clock::manual());
        let broker = builder.in_memory().await.unwrap();
        let builder = broker.consumer().max_partition_fetch_bytes(4000);
        let mut consumer = builder.subscribe(["t"]).await.unwrap();
        let producing = produce(&broker, 3000);
        receive(&mut consumer, 0..3000).await;
        producing.await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn block_lets_other_topics_of_a_full_broker_wait_and_then_go_on() {
    within(async {
        let broker = broker(MemoryPolicy::Block).await;
        let builder = broker.consumer().max_partition_fetch_bytes(4000);
        let mut slow = builder.subscribe(["t"]).await.unwrap();
        let producing = produce(&broker, 1000);
        assert!(settle(&broker).await < 600);
        let client = broker.client();
        let other = tokio::spawn(async move { send_all(&client, "other", 0..100).await });
        receive(&mut slow, 0..1000).await;
        producing.await.unwrap();
        other.await.unwrap();
        assert_eq!(crate::support::read_values(&broker.client(), "other").await, texts(0..100));
    })
    .await;
}

#[tokio::test]
async fn what_readers_hold_counts_until_they_let_go() {
    let broker = broker(MemoryPolicy::DropOldest).await;
    let producer = broker.producer().build();
    for n in 0..100 {
        send(&producer, "t", n).await;
    }
    let mut consumer = broker.consumer().subscribe(["t"]).await.unwrap();
    let records = consumer.poll(50).await.unwrap();
    let one = consumer.recv().await.unwrap();
    drop(consumer);
    broker.delete_topic("t").await.unwrap();
    assert!(broker.memory_used() > 0);
    assert_eq!(records.iter().next().unwrap().value.unwrap(), vec![7; 1000]);
    drop(records);
    assert!(broker.memory_used() > 0);
    drop(one);
    assert_eq!(broker.memory_used(), 0);
}

#[tokio::test]
async fn topics_in_memory_of_a_disk_broker_have_the_budget_too() {
    let dir = tempfile::TempDir::new().unwrap();
    let broker = Broker::builder().memory_limit(LIMIT).open(dir.path()).await.unwrap();
    let config = TopicConfig::new().durability(Durability::Memory).segment_bytes(SEGMENT as u64);
    broker.create_topic("m", config).await.unwrap();
    send_all(&broker.client(), "disk", 0..10).await;
    let producer = broker.producer().build();
    for n in 0..1500 {
        send(&producer, "m", n).await;
        assert!(broker.memory_used() <= LIMIT + SEGMENT);
    }
    assert!(broker.describe_topic("m").unwrap().partitions[0].log_start_offset > 500);
    let mut consumer = broker.consumer().subscribe(["disk"]).await.unwrap();
    assert_eq!(take_values(&mut consumer, 10).await, texts(0..10));
}

#[test]
#[cfg(target_os = "linux")]
fn a_broker_that_is_gone_leaves_no_memory_behind() {
    let dir = tempfile::TempDir::new().unwrap();
    let mut child = Child::start("memory::child_makes_many_brokers", dir.path());
    let used = child.line().expect("it says how much memory it uses");
    let [early, late] = [0, 1].map(|at| used.split(' ').nth(at).unwrap().parse::<usize>().unwrap());
    assert!(child.ended_well());
    // 12 brokers of 8 MiB each lie between.
    assert!(late < early + (24 << 10), "from {early} to {late} KiB");
}

#[test]
#[ignore = "run by another test, in a process of its own"]
fn child_makes_many_brokers() {
    use std::io::Write;
    if child_dir().is_none() {
        return;
    }
    let mut early = 0;
    for round in 0..15 {
        let runtime = runtime();
        runtime.block_on(async {
            let broker = Broker::in_memory().await.unwrap();
            let producer = broker.producer().build();
            for _ in 0..800 {
                producer.enqueue(Record::to("t").value(vec![1; 10_000])).await.unwrap();
            }
            producer.flush().await;
            let mut consumer = broker.consumer().subscribe(["t"]).await.unwrap();
            assert_eq!(consumer.recv().await.unwrap().value.unwrap().len(), 10_000);
        });
        if round == 2 {
            early = resident_kib();
        }
    }
    writeln!(std::io::stdout(), ">{early} {}", resident_kib()).unwrap();
}

fn resident_kib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
