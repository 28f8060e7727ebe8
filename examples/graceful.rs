//! Stopping on a signal: ctrl-c ends the consumer between two records, and says how many it
//! processed.
//!
//! ```text
//! cargo run --example graceful
//! ```

use std::time::Duration;

use ottla::{Broker, Record};

#[tokio::main]
async fn main() -> ottla::Result<()> {
    let broker = Broker::in_memory().await?;

    let producer = broker.producer().build();
    let ticking = tokio::spawn(async move {
        for tick in 0u64.. {
            // Fails once the broker is shut down: that is how this task ends.
            if producer.send(Record::to("ticks").value(tick.to_string())).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });

    println!("consuming; press ctrl-c to stop");
    let mut consumer = broker.consumer().subscribe(["ticks"]).await?;
    let mut processed = 0;
    let interrupted = tokio::signal::ctrl_c();
    tokio::pin!(interrupted);
    loop {
        tokio::select! {
            // `recv` can be dropped at any time: a record it did not hand out is not lost.
            record = consumer.recv() => {
                record?;
                processed += 1;
            }
            _ = &mut interrupted => break,
        }
    }
    println!("processed {processed} records");
    broker.shutdown().await?;
    // It ended by itself; a panic in it would show here.
    ticking.await.expect("the producing task does not panic");
    Ok(())
}
