//! What `tokio::sync::broadcast` is used for, without its losses: three consumers, one of them
//! slow, nothing lost, and memory bounded.
//!
//! ```text
//! cargo run --release --example broadcast
//! ```
//!
//! With `MemoryPolicy::Block` the producer waits when the memory budget is used up, until the
//! slowest consumer has moved on.

use std::time::Duration;

use ottla::{Broker, MemoryPolicy, Record, Start};

const RECORDS: u64 = 200_000;
const MEMORY: usize = 4 << 20;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let broker = Broker::builder()
        .memory_limit(MEMORY)
        .memory_policy(MemoryPolicy::Block)
        .in_memory()
        .await?;

    let mut consumers = Vec::new();
    for (name, pause) in [("fast", 0), ("also fast", 0), ("slow", 2)] {
        // From here on: like a receiver of a broadcast channel.
        let mut consumer = broker.consumer().start(Start::Latest).subscribe(["ticks"]).await?;
        consumers.push(tokio::spawn(async move {
            let (mut count, mut sum) = (0, 0);
            while count < RECORDS {
                for record in &consumer.poll(1000).await? {
                    let value = record.value.ok_or("a tick without a value")?;
                    sum += u64::from_be_bytes(value[..8].try_into()?);
                    count += 1;
                }
                if pause > 0 {
                    tokio::time::sleep(Duration::from_millis(pause)).await;
                }
            }
            println!("{name}: {count} records, sum {sum}");
            Ok::<u64, Box<dyn std::error::Error + Send + Sync>>(sum)
        }));
    }

    let producer = broker.producer().build();
    let mut most = 0;
    for tick in 0..RECORDS {
        let mut payload = [0; 100];
        payload[..8].copy_from_slice(&tick.to_be_bytes());
        producer.enqueue(Record::to("ticks").value(&payload)).await?;
        if tick % 1000 == 0 {
            most = most.max(broker.memory_used());
        }
    }
    producer.flush().await;

    for consumer in consumers {
        assert_eq!(consumer.await??, RECORDS * (RECORDS - 1) / 2);
    }
    println!("{} MB went through at most {} KiB of memory", RECORDS * 100 / 1_000_000, most / 1024);
    Ok(())
}
