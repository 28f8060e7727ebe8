//! Many brokers in one process, many partitions in one broker.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use ottla::{Broker, Clock, Consumer, Durability, Record, TopicConfig};
use tempfile::TempDir;

use crate::support::{Child, at, child_dir, read_values, runtime, send_all, texts, within};

#[tokio::test]
async fn two_hundred_brokers_are_two_hundred_worlds() {
    within(async {
        let mut brokers = Vec::new();
        for n in 0..200 {
            let clock = Clock::manual();
            let broker = Broker::builder().clock(clock.clone()).in_memory().await.unwrap();
            clock.advance(Duration::from_secs(n));
            send_all(&broker.client(), "t", [format!("of {n}")]).await;
            brokers.push((n, clock, broker));
        }
        for (n, clock, broker) in &brokers {
            assert_eq!(broker.clock().wall(), clock.wall());
            let mut consumer = broker.consumer().subscribe(["t"]).await.unwrap();
            let record = consumer.recv().await.unwrap();
            assert_eq!(crate::support::value(&record), format!("of {n}"));
            let since = record.timestamp.duration_since(ottla::ManualClock::START);
            assert_eq!(since, Duration::from_secs(*n));
        }
        for (n, _, broker) in &brokers {
            if n % 2 == 0 {
                broker.shutdown().await.unwrap();
            }
        }
        for (n, _, broker) in &brokers {
            assert_eq!(broker.topics().is_err(), n % 2 == 0);
        }
    })
    .await;
}

#[tokio::test]
async fn twenty_brokers_on_disk_side_by_side() {
    within(async {
        let dir = TempDir::new().unwrap();
        for round in 1..3 {
            let mut brokers = Vec::new();
            for n in 0..20 {
                brokers.push(Broker::open(dir.path().join(n.to_string())).await.unwrap());
            }
            for (n, broker) in brokers.iter().enumerate() {
                send_all(&broker.client(), "t", [n]).await;
            }
            for (n, broker) in brokers.iter().enumerate() {
                let expected = texts(std::iter::repeat_n(n, round));
                assert_eq!(read_values(&broker.client(), "t").await, expected);
            }
        }
    })
    .await;
}

/// How many partitions, with one record in each.
const PARTITIONS: i32 = 1000;

#[test]
#[cfg(target_os = "linux")]
fn a_thousand_partitions_need_few_open_files() {
    let dir = TempDir::new().unwrap();
    let mut child = Child::start("many::child_has_many_partitions", dir.path());
    let open: usize = child.line().expect("it says how many").parse().unwrap();
    assert!(child.ended_well());
    assert!(open < 300, "{open} files were open at once");
    assert!(open > 100, "{open}: the limit was never put to the test");
}

#[test]
#[ignore = "run by another test, in a process of its own"]
fn child_has_many_partitions() {
    let Some(dir) = child_dir() else { return };
    let most = runtime().block_on(within(write_and_read_many(&dir)));
    writeln!(std::io::stdout(), ">{most}").unwrap();
}

/// Returns how many files were open at most.
async fn write_and_read_many(dir: &Path) -> usize {
    let mut most = 0;
    let config = TopicConfig::new().partitions(PARTITIONS).durability(Durability::Process);
    let broker = Broker::open(dir).await.unwrap();
    broker.create_topic("t", config).await.unwrap();
    let producer = broker.producer().build();
    for partition in 0..PARTITIONS {
        let record = Record::to("t").partition(partition).value(partition.to_string());
        producer.enqueue(record).await.unwrap();
        // Some at once: each new partition waits for syncs of its own.
        if partition % 50 == 49 {
            producer.flush().await;
            most = most.max(open_files());
        }
    }
    producer.flush().await;
    assert_eq!(producer.stats().records_failed, 0);
    most = most.max(read_many(&broker).await);
    broker.shutdown().await.unwrap();
    // Handles keep files open, even past the end.
    drop((broker, producer));
    let broker = Broker::open(dir).await.unwrap();
    assert!(broker.recovery_report().unwrap().clean_shutdown);
    most = most.max(read_many(&broker).await);
    broker.shutdown().await.unwrap();
    most
}

async fn read_many(broker: &Broker) -> usize {
    let mut most = 0;
    let mut consumer: Consumer = broker.consumer().subscribe(["t"]).await.unwrap();
    let mut seen = vec![false; PARTITIONS as usize];
    for _ in 0..PARTITIONS {
        let record = consumer.recv().await.unwrap();
        assert_eq!(crate::support::value(&record), record.partition.to_string());
        assert!(!std::mem::replace(&mut seen[record.partition as usize], true));
        assert_eq!(consumer.position(&at("t", record.partition)).unwrap().offset, 1);
        most = most.max(open_files());
    }
    most
}

fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}
