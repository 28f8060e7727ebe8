//! A program that has a broker in it and serves it to Kafka clients; its own consumers are members
//! of the group `mixed` beside theirs.
//!
//!     embedded LISTEN DATA_DIR PARTITIONS
//!
//! It says where it listens, and does what its standard input says, until that ends:
//! `join NAME FILE` (a member that writes `record PARTITION OFFSET` to the file for each record
//! that it is given) and `leave NAME`, to which it says `left NAME`.

use std::collections::HashMap;
use std::error::Error;
use std::fs::File;
use std::io::Write;

use ottla::{Broker, Client, Strategy, TopicConfig};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::sync::oneshot;

type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Outcome {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [listen, data, partitions] = &arguments[..] else {
        return Err("usage: embedded LISTEN DATA_DIR PARTITIONS".into());
    };
    let defaults = TopicConfig::new().partitions(partitions.parse()?);
    let broker = Broker::builder().topic_defaults(defaults).open(data).await?;
    let listener = broker.listen(listen.as_str()).await?;
    println!("listening on {}", listener.local_addr());

    let mut members = HashMap::new();
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        match line.split_whitespace().collect::<Vec<_>>()[..] {
            ["join", name, file] => {
                let (stop, stopped) = oneshot::channel();
                let task = tokio::spawn(member(broker.client(), File::create(file)?, stopped));
                members.insert(name.to_owned(), (stop, task));
            }
            ["leave", name] => {
                let (stop, task) = members.remove(name).ok_or("there is no such member")?;
                drop(stop);
                task.await??;
                println!("left {name}");
            }
            _ => return Err(format!("{line:?} means nothing").into()),
        }
    }
    listener.close().await;
    broker.shutdown().await?;
    Ok(())
}

async fn member(client: Client, mut out: File, mut stopped: oneshot::Receiver<()>) -> Outcome {
    let group = client.consumer().group("mixed").strategies([Strategy::Range]);
    let mut consumer = group.subscribe(["mixed"]).await?;
    loop {
        let records = tokio::select! {
            biased;
            _ = &mut stopped => return Ok(()),
            records = consumer.poll(100) => records?,
        };
        for record in &records {
            writeln!(out, "record {} {}", record.partition, record.offset)?;
        }
        // Partitions are given up inside of `poll`, so what was written is committed before.
        consumer.commit().await?;
    }
}
