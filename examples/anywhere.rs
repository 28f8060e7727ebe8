//! One program for a broker in memory, one in a directory, and one on the network: where it works
//! is a line of configuration, and it prints the same everywhere.
//!
//! ```text
//! cargo run --example anywhere --features tcp -- memory:
//! cargo run --example anywhere --features tcp -- file:./data
//! cargo run --example anywhere --features tcp -- kafka://127.0.0.1:9092
//! ```
//!
//! Twelve orders go to three partitions, by their customers. A group bills half of them and stops;
//! it goes on where it was. Then the last orders are read once more, by their time. Topic and group
//! have names that no run before has had, and are deleted in the end.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use ottla::{Client, Consumer, ConsumerRecord, Record, Start, Timestamp, TopicConfig};

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Who ordered what, a minute apart.
const ORDERS: [(&str, &str); 12] = [
    ("alice", "2 coffees"),
    ("bob", "1 tea"),
    ("carol", "1 cake"),
    ("dave", "3 coffees"),
    ("alice", "1 cake"),
    ("erin", "1 cocoa"),
    ("bob", "2 teas"),
    ("carol", "1 coffee"),
    ("alice", "1 tea"),
    ("dave", "1 cake"),
    ("erin", "2 cakes"),
    ("bob", "1 coffee"),
];

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() -> Outcome {
    let Some(place) = std::env::args().nth(1) else {
        eprintln!("usage: anywhere memory: | file:DIR | kafka://HOST:PORT,HOST:PORT");
        std::process::exit(2);
    };
    let client = Client::open(&place).await?;
    let told = tell(&client, &mut std::io::stdout()).await;
    client.close().await?;
    told
}

/// The story; it does not know where it takes place.
pub async fn tell(client: &Client, out: &mut (impl Write + Send)) -> Outcome {
    let now = client.clock().wall();
    let (topic, group) = (format!("orders-{now}"), format!("billing-{now}"));
    let opened = now.saturating_sub(60 * MINUTE);
    client.admin().create_topic(&topic, TopicConfig::new().partitions(3)).await?;

    let producer = client.producer().build();
    for (minute, (customer, what)) in (0..).zip(ORDERS) {
        let time = opened.saturating_add(minute * MINUTE);
        let record = Record::to(&topic).key(customer).value(what).timestamp(time);
        let at = producer.send(record).await?;
        writeln!(
            out,
            "{customer} orders {what}: partition {}, offset {}",
            at.partition, at.offset
        )?;
    }

    // Which half it is depends on who is faster; that each order is billed once does not.
    let mut bills = BTreeMap::new();
    for what in ["stops", "is done"] {
        let mut consumer = client.consumer().group(&group).subscribe([&topic]).await?;
        for order in take(&mut consumer, ORDERS.len() / 2).await? {
            bills.entry(text(order.key)?).or_insert(Vec::new()).push(text(order.value)?);
        }
        consumer.commit().await?;
        consumer.close().await?;
        let lag: i64 = client.admin().group_lag(&group).await?.values().sum();
        let billed: usize = bills.values().map(Vec::len).sum();
        writeln!(out, "billing {what}: {billed} orders are billed, {lag} are not")?;
    }
    for (customer, bill) in &bills {
        writeln!(out, "{customer}'s bill: {}", bill.join(", "))?;
    }

    let late = opened.saturating_add(8 * MINUTE);
    let again = client.consumer().start(Start::Timestamp(late));
    let mut replayed = take(&mut again.subscribe([&topic]).await?, 4).await?;
    replayed.sort_by_key(|order| order.timestamp);
    for order in replayed {
        let minute = minutes(opened, order.timestamp);
        writeln!(
            out,
            "since minute 8, at {minute}: {} for {}",
            text(order.value)?,
            text(order.key)?
        )?;
    }

    client.admin().delete_group(&group).await?;
    client.admin().delete_topic(&topic).await?;
    writeln!(out, "{} topics of that name are left", named(client, &topic).await?)?;
    Ok(())
}

/// The next records of any partition.
async fn take(consumer: &mut Consumer, count: usize) -> Outcome<Vec<ConsumerRecord>> {
    let mut records = Vec::new();
    while records.len() < count {
        records.push(consumer.recv().await?);
    }
    Ok(records)
}

async fn named(client: &Client, topic: &str) -> Outcome<usize> {
    let topics = client.admin().topics().await?;
    Ok(topics.iter().filter(|name| name.as_str() == topic).count())
}

fn minutes(from: Timestamp, to: Timestamp) -> u64 {
    to.duration_since(from).as_secs() / MINUTE.as_secs()
}

fn text(bytes: Option<impl AsRef<[u8]>>) -> Outcome<String> {
    let bytes = bytes.ok_or("orders have a customer and a content")?;
    Ok(String::from_utf8(bytes.as_ref().to_vec())?)
}
