//! A table that is rebuilt from a compacted topic when the program starts: the log is the database.
//!
//! ```text
//! cargo run --release --example compacted_state
//! ```

use std::collections::BTreeMap;
use std::time::Instant;

use ottla::{Broker, CleanupPolicy, Durability, Record, TopicConfig};

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;
type Balances = BTreeMap<String, i64>;

const ACCOUNTS: u64 = 1_000;
const UPDATES: u64 = 200_000;

#[tokio::main]
async fn main() -> Outcome {
    let dir = tempfile::tempdir()?;

    let broker = Broker::open(dir.path()).await?;
    let config = TopicConfig::new()
        .cleanup_policy(CleanupPolicy::Compact)
        .durability(Durability::Process)
        .segment_bytes(1 << 20);
    broker.create_topic("balances", config).await?;
    let balances = update(&broker).await?;
    let summary = broker.compact("balances").await?;
    println!(
        "{UPDATES} updates in {} KiB; compacted to {} KiB",
        summary.bytes_before >> 10,
        summary.bytes_after >> 10
    );
    broker.shutdown().await?;

    // Another day, another process.
    let broker = Broker::open(dir.path()).await?;
    let started = Instant::now();
    let (rebuilt, records) = rebuild(&broker).await?;
    println!("{} balances from {records} records in {:.1?}", rebuilt.len(), started.elapsed());
    assert_eq!(rebuilt, balances);
    assert!(records < 2 * ACCOUNTS);
    broker.shutdown().await?;
    Ok(())
}

/// Changes the balances many times; each change is a record with the account as its key.
async fn update(broker: &Broker) -> Outcome<Balances> {
    let producer = broker.producer().build();
    let mut balances = Balances::new();
    for n in 0..UPDATES {
        let account = format!("account {}", n * 7_919 % ACCOUNTS);
        if n % 1_000 == 999 {
            // A null value deletes its key.
            balances.remove(&account);
            producer.enqueue(Record::to("balances").key(account)).await?;
            continue;
        }
        let balance = balances.entry(account.clone()).or_default();
        *balance += n as i64 % 201 - 100;
        let record = Record::to("balances").key(account).value(balance.to_string());
        producer.enqueue(record).await?;
    }
    producer.flush().await;
    assert_eq!(producer.stats().records_failed, 0);
    Ok(balances)
}

/// Reads the topic to its end.
async fn rebuild(broker: &Broker) -> Outcome<(Balances, u64)> {
    let mut consumer = broker.consumer().subscribe(["balances"]).await?;
    let (mut balances, mut records) = (Balances::new(), 0);
    while consumer.lag().await?.values().any(|lag| *lag > 0) {
        let batch = consumer.poll(1000).await?;
        records += batch.len() as u64;
        for record in &batch {
            let account = str::from_utf8(record.key.ok_or("an account without a name")?)?;
            match record.value {
                Some(balance) => {
                    balances.insert(account.to_owned(), str::from_utf8(balance)?.parse()?)
                }
                None => balances.remove(account),
            };
        }
    }
    Ok((balances, records))
}
