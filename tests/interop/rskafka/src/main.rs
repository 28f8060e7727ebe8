//! What rskafka has to see, or fail: called by `../run`, which says what for.
//!
//!     rskafka-check work ADDRESS VECTORS   produces with every codec, and reads that
//!     rskafka-check read ADDRESS TOPIC...  each has the records of the matrix
//!     rskafka-check group ADDRESS PREFIX   what it has beside groups, which it has not
//!
//! It can't produce the records of the matrix: its headers are a map, where a name is there once.
//! Of the two headers that have the same name it shows the last one.

use rskafka::BackoffConfig;
use rskafka::chrono::{DateTime, Duration, Utc};
use rskafka::client::error::{Error, ProtocolError};
use rskafka::client::partition::{Compression, OffsetAt, PartitionClient, UnknownTopicHandling};
use rskafka::client::{Client, ClientBuilder};
use rskafka::record::{Record, RecordAndOffset};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::atomic::{AtomicUsize, Ordering};

const RECORDS: i64 = 200;
/// For anything.
const TIMEOUT: std::time::Duration = std::time::Duration::from_secs(30);
const TIMEOUT_MS: i32 = TIMEOUT.as_millis() as i32;
const CODECS: [(&str, Compression); 5] = [
    ("none", Compression::NoCompression),
    ("gzip", Compression::Gzip),
    ("snappy", Compression::Snappy),
    ("lz4", Compression::Lz4),
    ("zstd", Compression::Zstd),
];
const HEADERS: [(&str, &str); 2] = [("a", "2"), ("empty", "")];

static CHECKS: AtomicUsize = AtomicUsize::new(0);

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [task, address, rest @ ..] = &arguments[..] else { fail("usage: see main.rs") };
    // Without a deadline it would try for ever.
    let patience = BackoffConfig { deadline: Some(TIMEOUT), ..BackoffConfig::default() };
    let client = ClientBuilder::new(vec![address.clone()]).backoff_config(patience).build().await?;
    match (&task[..], rest) {
        ("work", [_vectors]) => work(&client).await?,
        ("read", topics) => read(&client, topics).await?,
        ("group", [prefix]) => group(&client, prefix).await?,
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

/// That the server refuses it with just this error.
fn refused<T: Debug>(what: &str, seen: std::result::Result<T, Error>, expected: ProtocolError) {
    match seen {
        Err(Error::ServerError { protocol_error, .. }) => same(what, protocol_error, expected),
        other => fail(&format!("{what}\nseen: {other:?}\nexpected: {expected:?}")),
    }
}

async fn partition(client: &Client, topic: &str, number: i32) -> Result<PartitionClient> {
    Ok(client.partition_client(topic, number, UnknownTopicHandling::Error).await?)
}

/// The first record's time; each is a second later than the one before.
fn time(number: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + Duration::seconds(1_700_000_000 + number)
}

fn record(number: i64) -> Record {
    let value = format!("value-{number:05} and on and on and on and on and on and on");
    Record {
        key: Some(format!("key-{number:05}").into_bytes()),
        value: Some(value.into_bytes()),
        headers: HEADERS.map(|(name, value)| (name.to_string(), value.into())).into(),
        timestamp: time(number),
    }
}

/// All from an offset on.
async fn consume(partition: &PartitionClient, from: i64) -> Result<Vec<RecordAndOffset>> {
    let mut seen: Vec<RecordAndOffset> = Vec::new();
    loop {
        let next = seen.last().map_or(from, |it| it.offset + 1);
        let (records, end) = partition.fetch_records(next, 1..1_000_000, TIMEOUT_MS).await?;
        seen.extend(records);
        if seen.last().is_some_and(|it| it.offset + 1 == end) {
            return Ok(seen);
        }
    }
}

/// Its acks are always `all`.
async fn work(client: &Client) -> Result {
    for (codec, compression) in CODECS {
        let topic = format!("rskafka-{codec}-all");
        client.controller_client()?.create_topic(&topic, 1, 1, TIMEOUT_MS).await?;
        let partition = partition(client, &topic, 0).await?;
        for begin in (0..RECORDS).step_by(50) {
            let records = (begin..begin + 50).map(record).collect();
            let offsets = partition.produce(records, compression).await?;
            same(&format!("offsets in {topic}"), offsets, Vec::from_iter(begin..begin + 50));
        }
        let expected =
            (0..RECORDS).map(|offset| RecordAndOffset { record: record(offset), offset });
        same(&topic, consume(&partition, 0).await?, Vec::from_iter(expected));
        println!("codec {codec}");
    }
    nulls(client).await?;
    println!("without others reading its records: a header's name is there once");
    Ok(())
}

async fn nulls(client: &Client) -> Result {
    let topic = "rskafka-nulls";
    client.controller_client()?.create_topic(topic, 1, 1, TIMEOUT_MS).await?;
    let partition = partition(client, topic, 0).await?;
    let given = [(None, Some("no key")), (Some("no value"), None), (Some(""), Some(""))];
    let records = given.map(|(key, value)| Record {
        key: key.map(Into::into),
        value: value.map(Into::into),
        headers: BTreeMap::new(),
        timestamp: time(0),
    });
    partition.produce(records.to_vec(), Compression::NoCompression).await?;
    let seen: Vec<_> = consume(&partition, 0).await?.into_iter().map(|it| it.record).collect();
    same("nulls", seen, records);
    Ok(())
}

async fn read(client: &Client, topics: &[String]) -> Result {
    for topic in topics {
        let seen = consume(&partition(client, topic, 0).await?, 0).await?;
        let offsets: Vec<_> = seen.iter().map(|it| it.offset).collect();
        same(&format!("offsets in {topic}"), offsets, Vec::from_iter(0..RECORDS));
        for (number, RecordAndOffset { record: seen, .. }) in (0..).zip(seen) {
            // Who has produced it has not said its time.
            let expected = Record { timestamp: seen.timestamp, ..record(number) };
            if seen != expected {
                fail(&format!("{topic} differs\nseen: {seen:?}\nexpected: {expected:?}"));
            }
        }
    }
    println!("records {}", RECORDS * topics.len() as i64);
    Ok(())
}

async fn group(client: &Client, prefix: &str) -> Result {
    for feature in ["alone", "rebalance", "commit"] {
        println!("without {feature}: it has no groups");
    }
    seek(client, &format!("{prefix}seek")).await?;
    println!("feature seek");
    admin(client, &format!("{prefix}admin")).await?;
    println!("feature admin");
    println!("without settings: it creates topics with the default ones, and can't alter them");
    println!("without partitions: it can't add them");
    Ok(())
}

async fn seek(client: &Client, topic: &str) -> Result {
    client.controller_client()?.create_topic(topic, 3, 1, TIMEOUT_MS).await?;
    for number in 0..3 {
        let partition = partition(client, topic, number).await?;
        let records = (0..30).map(record).collect();
        partition.produce(records, Compression::NoCompression).await?;
        for (at, offset) in [
            (OffsetAt::Earliest, 0),
            (OffsetAt::Latest, 30),
            (OffsetAt::Timestamp(time(-1)), 0),
            (OffsetAt::Timestamp(time(15)), 15),
            (OffsetAt::Timestamp(time(15) + Duration::milliseconds(1)), 16),
            (OffsetAt::Timestamp(time(30)), -1),
        ] {
            same(&format!("{at:?}"), partition.get_offset(at).await?, offset);
        }
        let seen = consume(&partition, 15).await?;
        let expected = (15..30).map(|offset| RecordAndOffset { record: record(offset), offset });
        same("what comes from there on", seen, Vec::from_iter(expected));
        let beyond = partition.fetch_records(31, 1..1000, TIMEOUT_MS).await;
        refused("an offset that is not there", beyond, ProtocolError::OffsetOutOfRange);
    }
    Ok(())
}

async fn admin(client: &Client, topic: &str) -> Result {
    let controller = client.controller_client()?;
    controller.create_topic(topic, 3, 1, TIMEOUT_MS).await?;
    let again = controller.create_topic(topic, 3, 1, TIMEOUT_MS).await;
    refused("creation again", again, ProtocolError::TopicAlreadyExists);
    let known = client.list_topics().await?.into_iter().find(|it| it.name == topic);
    same("its partitions", known.map(|it| it.partitions), Some([0, 1, 2].into()));

    let last = partition(client, topic, 2).await?;
    last.produce((0..10).map(record).collect(), Compression::NoCompression).await?;
    last.delete_records(4, TIMEOUT_MS).await?;
    same("the beginning", last.get_offset(OffsetAt::Earliest).await?, 4);
    let more = last.delete_records(11, TIMEOUT_MS).await;
    refused("records that are not there", more, ProtocolError::OffsetOutOfRange);
    let gone = last.fetch_records(0, 1..1000, TIMEOUT_MS).await;
    refused("records that are gone", gone, ProtocolError::OffsetOutOfRange);

    controller.delete_topic(topic, TIMEOUT_MS).await?;
    let again = controller.delete_topic(topic, TIMEOUT_MS).await;
    refused("deletion again", again, ProtocolError::UnknownTopicOrPartition);
    let known = client.list_topics().await?;
    same("is it among all topics", known.iter().any(|it| it.name == topic), false);
    Ok(())
}
