//! Compressed batches from a producer to a consumer, with each codec that is built in; and what is
//! said of the others.

use ottla::inspect::{Dumped, Severity, dump, verify};
use ottla::{
    BatchError, Broker, CleanupPolicy, Client, Compression, Error, Record, Start, Timestamp,
    TopicConfig,
};
use tempfile::TempDir;

use crate::support::{Backend, at, copy_dir, read_topic, says, value};

const RECORDS: i64 = 500;

/// Those that are built in, and none.
fn codecs() -> impl Iterator<Item = Compression> {
    Compression::ALL.into_iter().filter(|codec| codec.is_built_in())
}

fn record(n: i64) -> Record<'static> {
    Record::to("t")
        .key(format!("key {}", n % 7))
        .value(format!("value {n} of many that look alike"))
        .header("n", n.to_string())
        .timestamp(Timestamp::from_millis(1_000 + 10 * n))
}

async fn produce(client: &Client, codec: Compression) {
    let producer = client.producer().compression(codec).build();
    let mut deliveries = Vec::new();
    for n in 0..RECORDS {
        deliveries.push(producer.enqueue(record(n)).await.unwrap());
    }
    for (n, delivery) in (0..).zip(deliveries) {
        assert_eq!(delivery.await.unwrap().offset, n);
    }
}

async fn check(client: &Client) {
    let read = read_topic(client, "t").await;
    assert_eq!(read.len() as i64, RECORDS);
    for (n, record) in (0..).zip(&read) {
        assert_eq!((record.offset, record.timestamp.as_millis()), (n, 1_000 + 10 * n));
        assert_eq!(record.key.as_deref(), Some(format!("key {}", n % 7).as_bytes()));
        assert_eq!(value(record), format!("value {n} of many that look alike"));
        assert_eq!(record.headers.len(), 1);
    }
    let from = Timestamp::from_millis(1_000 + 10 * 321 - 5);
    let builder = client.consumer().start(Start::Timestamp(from));
    let mut consumer = builder.subscribe(["t"]).await.unwrap();
    assert_eq!(consumer.recv().await.unwrap().offset, 321, "found within its batch");
}

#[tokio::test]
async fn records_arrive_with_every_codec() {
    for codec in codecs() {
        for backend in [Backend::Memory, Backend::Process, Backend::Power] {
            let host = backend.host().await;
            produce(&host.client, codec).await;
            check(&host.client).await;
            host.broker().shutdown().await.unwrap();
        }
    }
}

#[tokio::test]
async fn what_is_on_disk_is_compressed_and_outlives_the_broker() {
    let mut sizes = Vec::new();
    for codec in codecs() {
        let dir = TempDir::new().unwrap();
        let broker = Broker::open(dir.path()).await.unwrap();
        produce(&broker.client(), codec).await;
        let copy = TempDir::new().unwrap();
        copy_dir(dir.path(), copy.path());
        broker.shutdown().await.unwrap();

        let (mut offset, mut bytes, mut compressed) = (0, 0, 0);
        for item in dump(dir.path().join("t-0")).unwrap() {
            let Dumped::Batch(batch) = item.unwrap() else { continue };
            bytes += batch.size();
            compressed += u64::from(batch.compression() == codec.to_string());
            for record in batch.records().map(Result::unwrap) {
                assert_eq!(record.offset, offset);
                offset += 1;
            }
        }
        assert_eq!(offset, RECORDS);
        assert!(compressed > 0, "{codec}");
        sizes.push(bytes);
        let found = verify(dir.path()).unwrap();
        let log = &found.partitions[&at("t", 0)];
        assert_eq!((log.records as i64, found.worst()), (RECORDS, None), "{codec}");
        assert!(verify(copy.path()).unwrap().worst() < Some(Severity::Lost));

        for path in [dir.path(), copy.path()] {
            let broker = Broker::open(path).await.unwrap();
            check(&broker.client()).await;
            broker.shutdown().await.unwrap();
        }
    }
    assert!(sizes[1..].iter().all(|size| size * 2 < sizes[0]), "{sizes:?}");
}

#[tokio::test]
async fn compaction_keeps_the_last_of_each_key_compressed() {
    for codec in codecs() {
        let dir = TempDir::new().unwrap();
        let broker = Broker::open(dir.path()).await.unwrap();
        let config = TopicConfig::new().cleanup_policy(CleanupPolicy::Compact);
        broker.create_topic("t", config.segment_bytes(4096)).await.unwrap();
        for _ in 0..3 {
            produce_keyed(&broker.client(), codec).await;
        }
        broker.compact("t").await.unwrap();
        let left = read_topic(&broker.client(), "t").await;
        assert!((left.len() as i64) < 2 * RECORDS, "{codec}: {} are left", left.len());
        broker.shutdown().await.unwrap();
        let found = verify(dir.path()).unwrap();
        assert_eq!(found.worst(), None, "{codec}");
    }
}

async fn produce_keyed(client: &Client, codec: Compression) {
    let producer = client.producer().compression(codec).build();
    for n in 0..RECORDS {
        producer.enqueue(record(n)).await.unwrap();
    }
    producer.flush().await;
    assert_eq!(producer.stats().records_failed, 0);
}

#[tokio::test]
async fn the_topics_codec_is_the_producers() {
    let Some(codec) = codecs().nth(1) else { return };
    let dir = TempDir::new().unwrap();
    let broker = Broker::open(dir.path()).await.unwrap();
    broker.create_topic("t", TopicConfig::new().compression(Some(codec))).await.unwrap();
    let plain = broker.client().producer().build();
    let compressing = broker.client().producer().compression(codec).build();
    let same = || Record::to("t").value(vec![0; 300]);
    plain.send(same()).await.unwrap();
    let name = "compression.type";
    broker.admin().alter_configs("t", [(name, Some("uncompressed"))]).await.unwrap();
    compressing.send(same()).await.unwrap();
    broker.admin().alter_configs("t", [(name, Some("producer"))]).await.unwrap();
    plain.send(same()).await.unwrap();
    compressing.send(same()).await.unwrap();
    broker.shutdown().await.unwrap();
    let codecs = dump(dir.path().join("t-0")).unwrap().filter_map(|item| match item.unwrap() {
        Dumped::Batch(batch) => Some(batch.compression()),
        _ => None,
    });
    let codec = codec.to_string();
    assert_eq!(codecs.collect::<Vec<_>>(), [&codec, "none", "none", &codec]);
}

#[tokio::test]
async fn a_topic_whose_codec_is_not_built_in_can_be_opened_and_read() {
    let missing = |codec: &Compression| !codec.is_built_in();
    let Some(codec) = Compression::ALL.into_iter().find(missing) else { return };
    let dir = TempDir::new().unwrap();
    let broker = Broker::open(dir.path()).await.unwrap();
    broker.create_topic("t", TopicConfig::new()).await.unwrap();
    let producer = broker.client().producer().build();
    producer.send(record(0)).await.unwrap();
    let setting = ("compression.type", Some(codec.to_string()));
    broker.admin().alter_configs("t", [setting]).await.unwrap();
    let error: Error = producer.send(record(1)).await.unwrap_err().into();
    says(&error, &["compression.type", &format!("cargo feature `{codec}`")]);
    broker.shutdown().await.unwrap();
    let broker = Broker::open(dir.path()).await.unwrap();
    assert_eq!(read_topic(&broker.client(), "t").await.len(), 1);
}

#[tokio::test]
async fn a_codec_that_is_not_built_in_is_named() {
    for codec in Compression::ALL.into_iter().filter(|codec| !codec.is_built_in()) {
        let host = Backend::Memory.host().await;
        let producer = host.client.producer().compression(codec).build();
        let error: Error = producer.send(record(0)).await.unwrap_err().into();
        says(&error, &["compression.type", &format!("cargo feature `{codec}`")]);
    }
}

#[tokio::test]
async fn a_batch_over_the_limit_is_told_of_once() {
    let Some(codec) = codecs().nth(1) else { return };
    let host = Backend::Memory.host().await;
    let producer = host.client.producer().compression(codec).build();
    producer.send(Record::to("t").value(vec![0; 500_000])).await.unwrap();
    producer.send(Record::to("t").value("small")).await.unwrap();
    let builder = host.client.consumer().max_decompressed_bytes(100_000);
    let mut consumer = builder.subscribe(["t"]).await.unwrap();
    let error = consumer.recv().await.unwrap_err();
    says(&error, &["t-0", "100000", "max_decompressed_bytes"]);
    let limit = 100_000;
    let too_large = BatchError::DecompressedTooLarge { limit };
    assert!(matches!(error, Error::InvalidRecord { source, .. } if source == too_large));
    assert_eq!(consumer.recv().await.unwrap().offset, 1);
    // `poll` takes batches whole, but not this one.
    let builder = host.client.consumer().max_decompressed_bytes(100_000);
    let mut consumer = builder.subscribe(["t"]).await.unwrap();
    let polled = consumer.poll(10).await.unwrap_err();
    assert!(matches!(polled, Error::InvalidRecord { source, .. } if source == too_large));
    assert_eq!(consumer.poll(10).await.unwrap().len(), 1);
    assert_eq!(read_topic(&host.client, "t").await.len(), 2, "others read it");
}
