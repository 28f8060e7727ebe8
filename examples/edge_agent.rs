//! Collects readings into a directory, and forwards them to a cluster whenever that is there.
//!
//! ```text
//! cargo run --example edge_agent --features tcp -- DIR HOST:PORT
//! ```
//!
//! A reading has been collected when it is on the disk, synced. Then the process may be killed, the
//! power lost, and the cable pulled: each reading arrives once, in its order. Readings are numbered,
//! so that whoever looks can see it. Ctrl-c stops it.

use std::time::Duration;

use ottla::{Backlog, Broker, Client, MirrorStats, Record, TopicConfig};
use tokio::time::interval;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(dir), Some(cluster), None) = (arguments.next(), arguments.next(), arguments.next())
    else {
        return Err("usage: edge_agent DIR HOST:PORT".into());
    };
    let broker = Broker::open(dir).await?;
    if broker.topics()?.is_empty() {
        // Two weeks without the cluster at this pace. After that, collecting waits.
        let config = TopicConfig::new().max_partition_bytes(Some(64 << 20));
        broker.create_topic("readings", config).await?;
    }
    // The cluster may be away.
    let client = Client::builder().connect_later(&cluster)?;
    let mirror = broker.mirror(["readings"]).backlog(Backlog::Block).to(&client).await?;

    let mut number = broker.describe_topic("readings")?.partitions[0].high_watermark;
    println!("{number} readings were collected before");
    let producer = broker.producer().build();
    let mut sensor = interval(Duration::from_millis(10));
    let mut report = interval(Duration::from_secs(1));
    let interrupted = tokio::signal::ctrl_c();
    tokio::pin!(interrupted);
    loop {
        tokio::select! {
            _ = sensor.tick() => {
                let reading = format!("{number} {:.1}", 20.0 + (number as f64 / 50.0).sin());
                producer.send(Record::to("readings").value(reading)).await?;
                number += 1;
            }
            _ = report.tick() => println!("{}", told(number, &mirror.stats())),
            _ = &mut interrupted => break,
        }
    }
    mirror.stop().await?;
    broker.shutdown().await?;
    println!("{number} readings are collected");
    Ok(())
}

fn told(collected: i64, stats: &MirrorStats) -> String {
    let waiting = stats.lag();
    match stats.error() {
        Some(error) => format!("{collected} collected, {waiting} wait: {error}"),
        None => format!("{collected} collected, {waiting} wait"),
    }
}
