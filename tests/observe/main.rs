//! What a subscriber of `tracing` sees: topics, partitions and offsets; at info nothing a record.
//!
//! A binary of its own, in which every test has a subscriber: `tracing` remembers for the whole
//! process whether a place in the code interests anybody, and while there is one subscriber it asks
//! only the thread that comes by there first. A test without one would decide for these.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ottla::{Broker, CleanupPolicy, Producer, Record, Timestamp, TimestampType, TopicConfig};
use tracing::field::{Field, Visit};
use tracing::span;
use tracing::{Event, Level, Metadata, Subscriber};

/// Longer than any of this takes on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(60);

async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future).await.expect("the test hangs")
}

/// One event, or one span as it was made.
#[derive(Debug, Clone)]
struct Seen {
    level: Level,
    name: String,
    fields: BTreeMap<String, String>,
}

/// Keeps everything that it is told by this crate.
#[derive(Clone, Default)]
struct Keeper {
    seen: Arc<Mutex<Vec<Seen>>>,
    spans: Arc<AtomicU64>,
}

#[derive(Default)]
struct Fields(BTreeMap<String, String>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}"));
    }
}

impl Keeper {
    fn keep(&self, metadata: &Metadata<'_>, fields: Fields) {
        let name = fields.0.get("message").cloned().unwrap_or_else(|| metadata.name().to_owned());
        let seen = Seen { level: *metadata.level(), name, fields: fields.0 };
        self.seen.lock().unwrap().push(seen);
    }

    fn all(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

impl Subscriber for Keeper {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("ottla")
    }

    fn new_span(&self, attributes: &span::Attributes<'_>) -> span::Id {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        self.keep(attributes.metadata(), fields);
        span::Id::from_u64(self.spans.fetch_add(1, Ordering::Relaxed) + 1)
    }

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        self.keep(event.metadata(), fields);
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

#[test]
fn events_name_topic_partition_and_offset_and_records_are_silent_at_info() {
    let keeper = Keeper::default();
    let _guard = tracing::subscriber::set_default(keeper.clone());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let broker = Broker::in_memory().await.unwrap();
        broker.create_topic("orders", TopicConfig::new()).await.unwrap();
        let producer = broker.producer().build();
        let mut consumer = broker.consumer().subscribe(["orders"]).await.unwrap();
        for _ in 0..100 {
            producer.send(Record::to("orders").value("2 coffees")).await.unwrap();
            consumer.recv().await.unwrap();
        }
        broker.shutdown().await.unwrap();
    });

    let seen = keeper.all();
    let has = |fields: &BTreeMap<String, String>, part: &str| {
        fields.iter().any(|(name, value)| name.contains(part) || value.contains(part))
    };
    let loud = seen.iter().filter(|it| it.level <= Level::INFO).count();
    assert!(loud <= 5, "{loud} events at info or above for 100 records");
    let created = seen.iter().find(|it| it.name.contains("topic created")).expect("an event");
    assert!(created.level == Level::INFO && has(&created.fields, "orders"), "{created:?}");
    let span = seen.iter().find(|it| it.name == "partition").expect("a span for the partition");
    assert!(has(&span.fields, "orders-0"), "{span:?}");
    let detailed = |it: &&Seen| {
        it.level == Level::DEBUG
            && has(&it.fields, "orders")
            && has(&it.fields, "partition")
            && has(&it.fields, "offset")
    };
    // One for each batch that was produced, and one for each that was fetched.
    assert!(seen.iter().filter(detailed).count() >= 200, "{seen:#?}");
}

#[test]
fn records_too_old_to_stay_are_warned_of_once_a_topic() {
    let keeper = Keeper::default();
    let _guard = tracing::subscriber::set_default(keeper.clone());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(within(async {
        let clock = ottla::ManualClock::starting_at(Timestamp::from_millis(1_000_000));
        let broker = Broker::builder().clock(clock).in_memory().await.unwrap();
        let short = || TopicConfig::new().partitions(2).retention(Some(Duration::from_secs(100)));
        broker.create_topic("short", short()).await.unwrap();
        broker
            .create_topic("stamped", short().timestamp_type(TimestampType::LogAppendTime))
            .await
            .unwrap();
        broker.create_topic("kept", short().cleanup_policy(CleanupPolicy::Compact)).await.unwrap();
        let producer = broker.producer().build();
        let at = |topic, millis| {
            let record = Record::to(topic).key("k").value("v");
            producer.send(record.timestamp(Timestamp::from_millis(millis)))
        };
        for topic in ["short", "stamped", "kept"] {
            at(topic, 900_000).await.unwrap();
        }
        let warnings = || keeper.all().iter().filter(|it| it.level == Level::WARN).count();
        assert_eq!(warnings(), 0, "{:?}", keeper.all());
        for topic in ["short", "stamped", "kept"] {
            at(topic, 899_999).await.unwrap();
        }
        for partition in [0, 1, 0] {
            let record = Record::to("short").partition(partition).value("v");
            producer.send(record.timestamp(Timestamp::from_millis(0))).await.unwrap();
        }
        assert_eq!(warnings(), 1);
        let told = keeper.all().into_iter().find(|it| it.level == Level::WARN).unwrap();
        assert!(told.name.contains("retention.ms"), "{told:?}");
        assert!(told.fields["partition"].contains("short-"), "{told:?}");
        assert_eq!(told.fields["timestamp"], "899999");
    }));
}

/// Produces where a span begins, and panics where a batch is acknowledged.
#[derive(Clone, Default)]
struct Meddler {
    producer: Arc<Mutex<Option<Producer>>>,
    panics: Arc<AtomicU64>,
}

impl Subscriber for Meddler {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("ottla")
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        if let Some(producer) = self.producer.lock().unwrap().take() {
            producer.try_send(Record::to("t").value("from the span")).unwrap();
        }
        span::Id::from_u64(1)
    }

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let acknowledged = fields.0.get("message").is_some_and(|it| it == "batch acknowledged");
        if acknowledged && self.panics.load(Ordering::Relaxed) > 0 {
            self.panics.fetch_sub(1, Ordering::Relaxed);
            panic!("a subscriber's own fault");
        }
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

#[test]
fn a_subscriber_may_produce_itself() {
    let meddler = Meddler::default();
    let _guard = tracing::subscriber::set_default(meddler.clone());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(within(async {
        let broker = Broker::in_memory().await.unwrap();
        let (ours, theirs) = (broker.producer().build(), broker.producer().build());
        assert_eq!(theirs.partitions_for("t").await.unwrap(), 1);
        *meddler.producer.lock().unwrap() = Some(theirs.clone());
        ours.enqueue(Record::to("t").value("ours")).await.unwrap().await.unwrap();
        theirs.flush().await;
        let mut consumer = broker.consumer().subscribe(["t"]).await.unwrap();
        let mut values = [consumer.recv().await.unwrap(), consumer.recv().await.unwrap()]
            .map(|it| it.value.unwrap());
        values.sort();
        assert_eq!(values, ["from the span", "ours"]);
    }));
}

#[test]
fn a_subscriber_that_panics_keeps_nobody_waiting() {
    let meddler = Meddler::default();
    let _guard = tracing::subscriber::set_default(meddler.clone());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(within(async {
        let broker = Broker::in_memory().await.unwrap();
        let producer = broker.producer().build();
        producer.send(Record::to("t").value("0")).await.unwrap();
        // On the sender's own stack first, then in the partition's actor.
        meddler.panics.store(1, Ordering::Relaxed);
        let sender = producer.clone();
        let sent = tokio::spawn(async move { sender.send(Record::to("t").value("1")).await });
        assert!(sent.await.unwrap_err().is_panic());
        producer.flush().await;
        assert_eq!(producer.send(Record::to("t").value("2")).await.unwrap().offset, 2);
        meddler.panics.store(1, Ordering::Relaxed);
        let delivery = producer.enqueue(Record::to("t").value("3")).await.unwrap();
        assert_eq!(delivery.await.unwrap().offset, 3);
        producer.flush().await;
        assert_eq!(producer.stats().buffered_bytes, 0);
    }));
}
