//! Does what librdkafka's `rdkafka_performance` does, with this library; `tests/kafka/clients` runs
//! them side by side.
//!
//! `produce` and `consume` say how many records there were, and in how many seconds. As the other
//! one has it, producing begins with nothing connected and ends with the last acknowledgement;
//! consuming begins with the first record.

use std::error::Error;
use std::mem;
use std::time::{Duration, Instant};

use ottla::{Client, Delivery, ProduceError, Producer, Record, TopicConfig};
use tokio::task::JoinSet;

const USAGE: &str = "usage: client create ADDRESS TOPIC SIZE PARTITIONS | delete ADDRESS TOPIC
    | produce ADDRESS TOPIC SIZE COUNT [LINGER_MS BATCH_BYTES BUFFER_BYTES]
    | consume ADDRESS TOPIC SIZE COUNT";

/// So many deliveries are looked at by one task.
const TOGETHER: usize = 10_000;
/// So many records are taken at a time at most.
const POLLED: usize = 10_000;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Outcome<()> {
    let began = Instant::now();
    let arguments = std::env::args().skip(1).collect::<Vec<_>>();
    let words = arguments.iter().map(String::as_str).collect::<Vec<_>>();
    match words[..] {
        ["create", address, topic, size, partitions] => {
            create(Load { address, topic, size: size.parse()?, count: 0 }, partitions.parse()?)
                .await
        }
        ["delete", address, topic] => {
            Ok(Client::connect(address).await?.admin().delete_topic(topic).await?)
        }
        ["produce", address, topic, size, count, ref settings @ ..] => {
            let load = Load { address, topic, size: size.parse()?, count: count.parse()? };
            let client = Client::connect(address).await?;
            let producer = match settings {
                [] => client.producer(),
                [linger, batch, buffer] => client
                    .producer()
                    .linger(Duration::from_millis(linger.parse()?))
                    .batch_size(batch.parse()?)
                    .buffer_memory(buffer.parse()?),
                _ => return Err(USAGE.into()),
            };
            produce(load, began, producer.build()).await
        }
        ["consume", address, topic, size, count] => {
            consume(Load { address, topic, size: size.parse()?, count: count.parse()? }).await
        }
        _ => Err(USAGE.into()),
    }
}

struct Load<'a> {
    address: &'a str,
    topic: &'a str,
    size: usize,
    count: usize,
}

impl Load<'_> {
    fn value(&self) -> Vec<u8> {
        vec![b'x'; self.size]
    }
}

/// With a record in each partition: then all have a leader, and whoever comes next need not wait.
async fn create(load: Load<'_>, partitions: i32) -> Outcome<()> {
    let client = Client::connect(load.address).await?;
    let config = TopicConfig::new().partitions(partitions);
    client.admin().create_topic(load.topic, config).await?;
    let producer = client.producer().build();
    let value = load.value();
    for partition in 0..partitions {
        producer.send(Record::to(load.topic).partition(partition).value(&value[..])).await?;
    }
    Ok(())
}

async fn produce(load: Load<'_>, began: Instant, producer: Producer) -> Outcome<()> {
    let value = load.value();
    let mut deliveries = Vec::with_capacity(TOGETHER);
    let mut confirmations = JoinSet::new();
    for _ in 0..load.count {
        deliveries.push(producer.enqueue(Record::to(load.topic).value(&value[..])).await?);
        if deliveries.len() == TOGETHER {
            let full = mem::replace(&mut deliveries, Vec::with_capacity(TOGETHER));
            confirmations.spawn(confirm(full));
        }
    }
    producer.flush().await;
    let mut confirmed = confirm(deliveries).await?;
    while let Some(some) = confirmations.join_next().await {
        confirmed += some??;
    }
    say(confirmed, began.elapsed());
    Ok(())
}

/// How many there are, once each has said that it has arrived.
async fn confirm(deliveries: Vec<Delivery>) -> Result<usize, ProduceError> {
    let count = deliveries.len();
    for delivery in deliveries {
        delivery.await?;
    }
    Ok(count)
}

/// From all partitions, without a group.
async fn consume(load: Load<'_>) -> Outcome<()> {
    let client = Client::connect(load.address).await?;
    let mut consumer = client.consumer().subscribe([load.topic]).await?;
    let (mut count, mut began) = (0, None);
    while count < load.count {
        let records = consumer.poll(POLLED).await?;
        began.get_or_insert_with(Instant::now);
        for record in &records {
            if record.value.map(<[u8]>::len) != Some(load.size) {
                return Err(format!("{record:?} is not what was produced").into());
            }
        }
        count += records.len();
    }
    say(count, began.map_or(Duration::ZERO, |began| began.elapsed()));
    Ok(())
}

fn say(records: usize, took: Duration) {
    println!("{records} {}", took.as_secs_f64());
}
