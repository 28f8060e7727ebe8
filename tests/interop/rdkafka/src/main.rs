//! What rdkafka (librdkafka, from Rust) has to see, or fail: called by `../run`, which says what
//! for.
//!
//!     rdkafka-check work ADDRESS VECTORS        produces the matrix, and finds partitions of keys
//!     rdkafka-check read ADDRESS TOPIC...       each has the records of the matrix
//!     rdkafka-check group ADDRESS PREFIX        groups and administration (groups.rs)
//!     rdkafka-check member ADDRESS GROUP TOPIC  consumes until SIGTERM, and commits

mod groups;
mod member;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer, StreamConsumer};
use rdkafka::message::{BorrowedHeaders, Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::future_producer::Delivery;
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{Offset, TopicPartitionList};
use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::time::timeout;

const RECORDS: usize = 200;
/// For anything.
const TIMEOUT: Duration = Duration::from_secs(30);
const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];
const ACKS: [&str; 4] = ["0", "1", "all", "idempotent"];
const HEADERS: [(&str, &str); 3] = [("a", "1"), ("a", "2"), ("empty", "")];

static CHECKS: AtomicUsize = AtomicUsize::new(0);

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

#[tokio::main]
async fn main() -> Result {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [task, address, rest @ ..] = &arguments[..] else { fail("usage: see main.rs") };
    let server = Server { address: address.clone() };
    match (&task[..], rest) {
        ("work", [vectors]) => work(&server, vectors).await?,
        ("read", topics) => read(&server, topics).await?,
        ("group", [prefix]) => groups::all(&server, prefix).await?,
        ("member", [group, topic]) => return member::run(&server, group, topic).await,
        _ => fail("usage: see main.rs"),
    }
    println!("checks {}", CHECKS.load(Ordering::Relaxed));
    Ok(())
}

fn fail(what: &str) -> ! {
    eprintln!("{what}");
    std::process::exit(1)
}

fn same<T: PartialEq<U> + Debug, U: Debug>(what: &str, seen: T, expected: U) {
    if seen != expected {
        fail(&format!(
            "{what} differs from what is expected\nseen: {seen:?}\nexpected: {expected:?}"
        ));
    }
    CHECKS.fetch_add(1, Ordering::Relaxed);
}

/// Asks until it is done.
async fn until(what: &str, mut is_done: impl AsyncFnMut() -> Result<bool>) -> Result {
    let deadline = Instant::now() + TIMEOUT;
    while !is_done().await? {
        if Instant::now() > deadline {
            fail(&format!("not done in {TIMEOUT:?}: {what}"));
        }
    }
    Ok(())
}

/// What is to be produced; the rest is as by default.
#[derive(Clone, Default)]
struct Produced {
    topic: String,
    partition: Option<i32>,
    key: Option<Vec<u8>>,
    value: String,
    timestamp: Option<i64>,
    headers: Option<OwnedHeaders>,
}

struct Server {
    address: String,
}

impl Server {
    fn config(&self, settings: &[(&str, &str)]) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.address);
        for (name, value) in settings {
            config.set(*name, *value);
        }
        config
    }

    fn admin(&self) -> Result<AdminClient<DefaultClientContext>> {
        Ok(self.config(&[]).create()?)
    }

    async fn create(&self, topic: &str, partitions: i32) -> Result {
        let topic = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
        let told = self.admin()?.create_topics([&topic], &AdminOptions::new()).await?;
        same("a new topic", told, vec![Ok(topic.name.to_string())]);
        Ok(())
    }

    /// Of a consumer that begins at the beginning, if there is nothing else to go by, and commits
    /// when it is told to.
    fn consumer(&self, group: &str) -> ClientConfig {
        self.config(&[
            ("group.id", group),
            ("auto.offset.reset", "earliest"),
            ("enable.auto.commit", "false"),
            ("fetch.wait.max.ms", "20"),
        ])
    }

    async fn produce(
        &self,
        records: &[Produced],
        settings: &[(&str, &str)],
    ) -> Result<Vec<Delivery>> {
        let producer: FutureProducer = self.config(settings).create()?;
        let sent: std::result::Result<Vec<_>, _> = records
            .iter()
            .map(|it| {
                let record = FutureRecord {
                    topic: &it.topic,
                    partition: it.partition,
                    payload: Some(&it.value),
                    key: it.key.as_ref(),
                    timestamp: it.timestamp,
                    headers: it.headers.clone(),
                };
                producer.send_result(record).map_err(|(error, _)| error)
            })
            .collect();
        let mut told = Vec::new();
        for delivery in sent? {
            told.push(timeout(TIMEOUT, delivery).await??.map_err(|(error, _)| error)?);
        }
        Ok(told)
    }
}

fn record(topic: &str, number: usize) -> Produced {
    let headers = HEADERS.iter().fold(OwnedHeaders::new(), |all, &(key, value)| {
        all.insert(Header { key, value: Some(value) })
    });
    Produced {
        topic: topic.to_string(),
        key: Some(format!("key-{number:05}").into_bytes()),
        value: format!("value-{number:05} and on and on and on and on and on and on"),
        headers: Some(headers),
        ..Produced::default()
    }
}

async fn work(server: &Server, vectors: &str) -> Result {
    for codec in CODECS {
        for acks in ACKS {
            matrix(server, codec, acks).await?;
        }
    }
    hashing(server, vectors).await
}

async fn matrix(server: &Server, codec: &str, acks: &str) -> Result {
    let topic = format!("rdkafka-{codec}-{acks}");
    let records: Vec<_> = (0..RECORDS).map(|at| record(&topic, at)).collect();
    let how = if acks == "idempotent" { ("enable.idempotence", "true") } else { ("acks", acks) };
    let settings =
        [("compression.codec", codec), how, ("batch.num.messages", "50"), ("linger.ms", "20")];
    let told = server.produce(&records, &settings).await?;
    let offsets: Vec<_> = told.iter().map(|it| it.offset).collect();
    if acks != "0" {
        same(&format!("offsets in {topic}"), offsets, Vec::from_iter(0..RECORDS as i64));
    }
    // What was produced with acks of 0 may still be on its way.
    let consumer: BaseConsumer = server.consumer("none").create()?;
    until("all is there", async || {
        Ok(consumer.fetch_watermarks(&topic, 0, TIMEOUT)? == (0, RECORDS as i64))
    })
    .await?;
    println!("topic {topic}");
    Ok(())
}

/// The default partitioner: the vectors hold ottla's to it, too.
async fn hashing(server: &Server, vectors: &str) -> Result {
    let topic = "rdkafka-hashing";
    server.create(topic, 12).await?;
    let (mut records, mut expected) = (Vec::new(), Vec::new());
    for line in std::fs::read_to_string(vectors)?.lines() {
        let row: Vec<_> = line.split('\t').collect();
        // An empty key is none to librdkafka.
        if row[1] == "12" && !row[0].is_empty() {
            let digits = (0..row[0].len()).step_by(2).map(|at| &row[0][at..at + 2]);
            let key: std::result::Result<Vec<u8>, _> =
                digits.map(|it| u8::from_str_radix(it, 16)).collect();
            records.push(Produced { topic: topic.into(), key: Some(key?), ..Produced::default() });
            expected.push(row[4].parse::<i32>()?);
        }
    }
    same("are there vectors", records.len() > 50, true);
    let told = server.produce(&records, &[]).await?;
    let partitions: Vec<i32> = told.iter().map(|it| it.partition).collect();
    same("partitions of keys", partitions, expected);
    Ok(())
}

async fn read(server: &Server, topics: &[String]) -> Result {
    let consumer: StreamConsumer = server.consumer("none").create()?;
    let mut all = TopicPartitionList::new();
    for topic in topics {
        all.add_partition_offset(topic, 0, Offset::Beginning)?;
        let end = consumer.fetch_watermarks(topic, 0, TIMEOUT)?;
        same(&format!("begin and end of {topic}"), end, (0, RECORDS as i64));
    }
    consumer.assign(&all)?;
    let mut seen: HashMap<String, usize> = HashMap::new();
    for _ in 0..RECORDS * topics.len() {
        let message = timeout(TIMEOUT, consumer.recv()).await??;
        let number = seen.entry(message.topic().to_string()).or_default();
        let expected = record(message.topic(), *number);
        let headers = message.headers().map(BorrowedHeaders::detach);
        let is_same = message.offset() == *number as i64
            && message.key() == expected.key.as_deref()
            && message.payload() == Some(expected.value.as_bytes())
            && listed(headers.as_ref()) == listed(expected.headers.as_ref());
        if !is_same {
            fail(&format!("record {number} differs: {message:?} with headers {headers:?}"));
        }
        *number += 1;
    }
    for topic in topics {
        same(&format!("records of {topic}"), seen.get(topic), Some(&RECORDS));
    }
    println!("records {}", RECORDS * topics.len());
    Ok(())
}

fn listed(headers: Option<&OwnedHeaders>) -> Vec<Header<'_, &[u8]>> {
    headers.map(|it| it.iter().collect()).unwrap_or_default()
}
