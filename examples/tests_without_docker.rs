//! Kafka tests without Docker and without a JVM: 200 brokers in one process, each with a clock of
//! its own that is moved by hand.
//!
//! ```text
//! cargo run --release --example tests_without_docker
//! ```

use std::time::{Duration, Instant};

use ottla::{Broker, Clock, Record};

const BROKERS: usize = 200;

/// What a test of yours would look like: a week passes in no time.
async fn a_week_later_the_order_is_gone() -> ottla::Result<()> {
    let clock = Clock::manual();
    let broker = Broker::builder().clock(clock.clone()).in_memory().await?;
    let producer = broker.producer().build();
    producer.send(Record::to("orders").key("alice").value("2 coffees")).await?;

    let mut consumer = broker.consumer().subscribe(["orders"]).await?;
    let record = consumer.recv().await?;
    assert_eq!(record.value.as_deref(), Some(&b"2 coffees"[..]));

    clock.advance(Duration::from_secs(8 * 24 * 3600));
    while broker.describe_topic("orders")?.partitions[0].log_start_offset == 0 {
        // Retention runs in the background, at once by the broker's clock.
        tokio::task::yield_now().await;
    }
    let at = producer.send(Record::to("orders").key("alice").value("1 tea")).await?;
    assert_eq!(at.offset, 1, "offsets go on");
    assert_eq!(consumer.recv().await?.offset, 1);
    broker.shutdown().await
}

#[tokio::main]
async fn main() -> ottla::Result<()> {
    let started = Instant::now();
    let tests: Vec<_> =
        (0..BROKERS).map(|_| tokio::spawn(a_week_later_the_order_is_gone())).collect();
    for test in tests {
        test.await.expect("no test panics")?;
    }
    println!("{BROKERS} brokers, {} days of retention, {:.0?}", BROKERS * 8, started.elapsed());
    Ok(())
}
