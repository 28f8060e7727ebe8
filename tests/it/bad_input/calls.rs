//! Arguments that are wrong, and handles that are past their end.

use ottla::{Broker, Durability, Error, OutOfRange, Position, Record, Timestamp, TopicConfig};
use tempfile::TempDir;

use crate::support::{
    Backend, Host, assert_error, at, on_all_backends, send_all, take_values, texts, within,
};

on_all_backends! {
    illegal_topic_names,
    partitions_that_are_not_there,
    negative_timestamps,
    offsets_out_of_range_and_the_three_policies,
    nothing_to_consume,
    ; ottla "Kafka has limits of its own, and says so in its words":
    settings_that_are_not_allowed,
    ; local "a broker that is gone may come back":
    handles_after_a_shutdown,
    topics_that_exist_already,
}

async fn illegal_topic_names(host: Host) {
    let producer = host.client.producer().build();
    let long = "x".repeat(250);
    for (name, why) in [
        ("", "empty"),
        ("..", "folder"),
        ("a/b", "allowed"),
        ("../up", "allowed"),
        ("naïve", "allowed"),
        (&long, "249"),
    ] {
        let shown = &name[..name.len().min(60)];
        let sent = producer.send(Record::to(name)).await;
        assert_error!(sent, Error::InvalidTopic(_), shown, why);
        let tried = producer.try_send(Record::to(name));
        assert_error!(tried, Error::InvalidTopic(_), shown, why);
        let consumer = host.client.consumer().subscribe([name]).await;
        assert_error!(consumer, Error::InvalidTopic(_), shown, why);
        let created = host.create_topic(name, TopicConfig::new()).await;
        assert_error!(created, Error::InvalidTopic(_), shown, why);
        assert_error!(host.delete_topic(name).await, Error::InvalidTopic(_), shown, why);
        assert_error!(host.describe_topic(name).await, Error::InvalidTopic(_), shown, why);
    }
    assert!(host.topics().await.unwrap().is_empty());
}

async fn partitions_that_are_not_there(host: Host) {
    host.create_topic("t", TopicConfig::new().partitions(3)).await.unwrap();
    let producer = host.client.producer().build();
    for partition in [3, -1, i32::MAX, i32::MIN] {
        let number = partition.to_string();
        let sent = producer.send(Record::to("t").partition(partition)).await;
        assert_error!(sent, Error::UnknownPartition { .. }, "\"t\"", number, "0 to 2");
        let assigned = host.client.consumer().assign([at("t", partition)]).await;
        assert_error!(assigned, Error::UnknownPartition { .. }, "\"t\"", number, "0 to 2");
    }
    for partitions in [0, -1, 100_001] {
        let created = host.create_topic("u", TopicConfig::new().partitions(partitions)).await;
        let number = partitions.to_string();
        assert_error!(created, Error::InvalidPartitions { .. }, number, "100000");
    }
}

async fn negative_timestamps(host: Host) {
    let producer = host.client.producer().build();
    for millis in [-1, -2, i64::MIN] {
        let record = Record::to("t").value("v").timestamp(Timestamp::from_millis(millis));
        let sent = producer.send(record.clone()).await.unwrap_err();
        assert_eq!(sent.record().unwrap(), record);
        let error = Err::<(), _>(sent);
        assert_error!(error, Error::InvalidTimestamp { .. }, millis.to_string(), "1970");
    }
    assert_eq!(producer.send(Record::to("t")).await.unwrap().offset, 0);
}

async fn offsets_out_of_range_and_the_three_policies(host: Host) {
    send_all(&host.client, "t", 0..5).await;
    for offset in [-1, 6, i64::MAX, i64::MIN] {
        let mut consumer = host.client.consumer().subscribe(["t"]).await.unwrap();
        consumer.seek(&at("t", 0), offset).unwrap();
        let error = consumer.recv().await;
        let number = offset.to_string();
        assert_error!(error, Error::OffsetOutOfRange { .. }, "t-0", number, "0 to 5");
        assert_eq!(consumer.position(&at("t", 0)), Some(Position::from(0)));
        assert_eq!(take_values(&mut consumer, 5).await, texts(0..5));

        let builder = host.client.consumer().out_of_range(OutOfRange::Earliest);
        let mut consumer = builder.subscribe(["t"]).await.unwrap();
        consumer.seek(&at("t", 0), offset).unwrap();
        assert_eq!(take_values(&mut consumer, 5).await, texts(0..5));
    }
    let builder = host.client.consumer().out_of_range(OutOfRange::Latest);
    let mut consumer = builder.subscribe(["t"]).await.unwrap();
    consumer.seek(&at("t", 0), 1000).unwrap();
    // The position moves when the consumer looks.
    while consumer.position(&at("t", 0)).unwrap().offset != 5 {
        assert_eq!(consumer.try_recv().unwrap(), None);
        tokio::task::yield_now().await;
    }
    send_all(&host.client, "t", 5..6).await;
    assert_eq!(take_values(&mut consumer, 1).await, ["5"]);
}

async fn topics_that_exist_already(host: Host) {
    host.create_topic("a.b", TopicConfig::new()).await.unwrap();
    let again = host.create_topic("a.b", TopicConfig::new()).await;
    assert_error!(again, Error::TopicAlreadyExists { existing: None, .. }, "\"a.b\"");
    let close = host.create_topic("a_b", TopicConfig::new()).await;
    assert_error!(close, Error::TopicAlreadyExists { .. }, "\"a_b\"", "\"a.b\"", "differs only");
    let sent = host.client.producer().build().send(Record::to("a_b")).await;
    assert_error!(sent, Error::TopicAlreadyExists { .. }, "\"a.b\"");
    assert_eq!(host.topics().await.unwrap(), ["a.b"]);
    // The catalog's name is taken, where there is one and where there might be.
    let catalog = host.create_topic("__ottla_catalog", TopicConfig::new()).await;
    assert_error!(catalog, Error::TopicAlreadyExists { .. }, "__ottla_catalog");
}

async fn settings_that_are_not_allowed(host: Host) {
    let unknown = TopicConfig::new().set("retention.hours", 1);
    let names = ["retention.hours", "retention.ms", "segment.bytes", "max.message.bytes"];
    let error = assert_error!(unknown, Error::InvalidConfig { .. });
    crate::support::says(&error, &names);
    for (name, value, allowed) in [
        ("retention.ms", "-2", "-1 for ever"),
        ("retention.bytes", "1.5", "-1 for no limit"),
        ("segment.bytes", "1023", "1024 to 2147483647"),
        ("max.message.bytes", "60", "61 to 2147483647"),
        ("message.timestamp.type", "createtime", "CreateTime or LogAppendTime"),
        ("segment.ms", "0", "1 or more"),
        ("index.interval.bytes", "", "0 or more"),
    ] {
        let config = TopicConfig::new().set(name, value);
        assert_error!(config, Error::InvalidConfig { .. }, name, value, allowed);
    }
    let created = host.create_topic("t", TopicConfig::new().segment_bytes(1)).await;
    assert_error!(created, Error::InvalidConfig { .. }, "segment.bytes", "\"1\"", "1024");
    let builder = Broker::builder().topic_defaults(TopicConfig::new().max_message_bytes(1));
    let opened = builder.in_memory().await;
    assert_error!(opened, Error::InvalidConfig { .. }, "max.message.bytes", "\"1\"", "61");
    assert!(host.topics().await.unwrap().is_empty());
}

async fn nothing_to_consume(host: Host) {
    let none: [&str; 0] = [];
    let consumer = host.client.consumer().subscribe(none).await;
    assert_error!(consumer, Error::InvalidState(_), "something to consume");
    let consumer = host.client.consumer().assign([]).await;
    assert_error!(consumer, Error::InvalidState(_), "something to consume");
    // All it had is gone, and nothing can come.
    send_all(&host.client, "t", 0..1).await;
    let mut consumer = host.client.consumer().assign([at("t", 0)]).await.unwrap();
    host.delete_topic("t").await.unwrap();
    assert_error!(consumer.recv().await, Error::UnknownTopic { .. }, "\"t\"");
    assert_error!(consumer.recv().await, Error::InvalidState(_), "no partition is assigned");
}

async fn handles_after_a_shutdown(host: Host) {
    send_all(&host.client, "t", 0..3).await;
    let producer = host.client.producer().build();
    producer.send(Record::to("t").value("3")).await.unwrap();
    let mut consumer = host.client.consumer().subscribe(["t"]).await.unwrap();
    take_values(&mut consumer, 4).await;
    host.broker().shutdown().await.unwrap();
    let why = "the broker was shut down";
    macro_rules! closed {
        ($($result:expr),* $(,)?) => {$(
            let error = assert_error!($result, Error::Closed { .. }, why);
            assert!(!error.is_retriable());
        )*};
    }
    let record = || Record::to("t").value("v");
    closed! {
        producer.send(record()).await,
        producer.send(Record::to("new")).await,
        producer.partitions_for("new").await,
        host.client.producer().build().send(record()).await,
        consumer.recv().await,
        consumer.recv().await,
        consumer.poll(5).await,
        consumer.try_recv(),
        consumer.lag().await,
        consumer.end_offset(&at("t", 0)).await,
        consumer.seek_to_beginning(&[]).await,
        host.client.consumer().subscribe(["t"]).await,
        host.client.consumer().subscribe(["new"]).await,
        host.create_topic("new", TopicConfig::new()).await,
        host.delete_topic("t").await,
        host.describe_topic("t").await,
        host.topics().await,
        host.broker().describe_topic("t"),
        host.broker().topics(),
    }
    // Buffered first, or refused at once: closed either way.
    match producer.try_send(record()) {
        Ok(delivery) => {
            closed! { delivery.await }
        }
        Err(error) => {
            closed! { Err::<(), _>(error) }
        }
    }
    producer.flush().await;
    assert_eq!(producer.stats().buffered_bytes, 0);
    host.broker().shutdown().await.unwrap();
}

#[tokio::test]
async fn unknown_topics_where_none_are_created() {
    within(async {
        let broker = Broker::builder().auto_create_topics(false).in_memory().await.unwrap();
        let producer = broker.producer().build();
        let sent = producer.send(Record::to("t").value("v")).await.unwrap_err();
        assert_eq!(sent.record().unwrap(), Record::to("t").value("v"));
        assert_error!(Err::<(), _>(sent), Error::UnknownTopic { .. }, "\"t\"");
        assert_error!(producer.partitions_for("t").await, Error::UnknownTopic { .. }, "\"t\"");
        let consumer = broker.consumer().subscribe(["t"]).await;
        assert_error!(consumer, Error::UnknownTopic { .. }, "\"t\"");
        let consumer = broker.consumer().assign([at("t", 0)]).await;
        assert_error!(consumer, Error::UnknownTopic { .. }, "\"t\"");
        assert!(broker.topics().unwrap().is_empty());
        broker.create_topic("t", TopicConfig::new()).await.unwrap();
        assert_eq!(producer.send(Record::to("t")).await.unwrap().offset, 0);
    })
    .await;
}

#[tokio::test]
async fn promises_that_cannot_be_kept() {
    let broker = Broker::in_memory().await.unwrap();
    for durability in [Durability::Process, Durability::Power] {
        let config = TopicConfig::new().durability(durability);
        let created = broker.create_topic("t", config).await;
        assert_error!(
            created,
            Error::InvalidConfig { .. },
            "durability",
            format!("{durability:?}")
        );
    }
    assert!(broker.recovery_report().is_none());
}

#[tokio::test]
async fn a_batch_larger_than_a_segment_is_refused() {
    for backend in Backend::ON_DISK {
        let dir = TempDir::new().unwrap();
        let broker = Broker::open(dir.path()).await.unwrap();
        let config = TopicConfig::new().durability(backend.durability()).segment_bytes(1024);
        broker.create_topic("t", config).await.unwrap();
        let producer = broker.producer().build();
        let sent = producer.send(Record::to("t").value(vec![1; 2000])).await;
        assert_error!(sent, Error::MessageTooLarge { .. }, "segment.bytes", "1024");
        assert_eq!(producer.send(Record::to("t").value("fits")).await.unwrap().offset, 0);
    }
}

#[test]
fn a_broker_needs_a_runtime() {
    let opening = Broker::in_memory();
    let waker = std::task::Waker::noop();
    let mut cx = std::task::Context::from_waker(waker);
    match std::pin::pin!(opening).poll(&mut cx) {
        std::task::Poll::Ready(opened) => {
            assert_error!(opened, Error::InvalidState(_), "tokio runtime", "runtime(handle)");
        }
        std::task::Poll::Pending => panic!("it waits for what is not there"),
    }
}
