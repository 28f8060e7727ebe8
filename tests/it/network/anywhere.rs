//! The same with this library's port and with Apache Kafka: with `OTTLA_TEST_KAFKA=host:port` it is
//! asked of that one instead.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ottla::{
    Broker, Client, Compression, Error, GroupError, Listener, OffsetSpec, Record, TopicConfig,
    TopicPartition,
};

use crate::support::{assert_error, at, take, value, within};

/// A client of Apache Kafka, or of a broker of this process, which is there as long as this.
struct Anywhere {
    client: Client,
    _ours: Option<(Broker, Listener)>,
}

async fn anywhere() -> Anywhere {
    let builder = Client::builder().metadata_max_age(Duration::from_millis(200));
    if let Ok(address) = std::env::var("OTTLA_TEST_KAFKA") {
        return Anywhere { client: builder.connect(&address).await.unwrap(), _ours: None };
    }
    let broker = Broker::in_memory().await.unwrap();
    let listener = broker.listen("127.0.0.1:0").await.unwrap();
    let client = builder.connect(&listener.local_addr().to_string()).await.unwrap();
    Anywhere { client, _ours: Some((broker, listener)) }
}

/// A name that no run before has had.
fn fresh(name: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    format!("{name}-{}", now.as_nanos())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_of_records_arrives_as_it_was_sent() {
    within(async {
        let Anywhere { client, _ours } = anywhere().await;
        let topic = fresh("stream");
        client.admin().create_topic(&topic, TopicConfig::new().partitions(3)).await.unwrap();
        let codecs = [Compression::None, Compression::Lz4, Compression::Gzip, Compression::Zstd];
        let mut sent = BTreeMap::new();
        for (nth, codec) in codecs.into_iter().enumerate() {
            let producer = client.producer().compression(codec).build();
            let mut deliveries = Vec::new();
            for n in 0..5000 {
                let text = format!("{nth} {n} {}", "x".repeat(n % 300));
                let record = Record::to(&topic).key(format!("key {}", n % 50)).value(text.clone());
                let record = record.header("nth", nth.to_string());
                deliveries.push((text, producer.enqueue(record).await.unwrap()));
            }
            for (text, delivery) in deliveries {
                let at = delivery.await.unwrap();
                assert_eq!(sent.insert((at.partition, at.offset), text), None);
            }
        }
        assert_eq!(sent.len(), 20_000);
        let mut consumer = client.consumer().subscribe([&topic]).await.unwrap();
        for record in take(&mut consumer, 20_000).await {
            let text = sent.remove(&(record.partition, record.offset));
            assert_eq!(text.as_deref(), Some(value(&record).as_str()));
            assert_eq!(record.headers.iter().count(), 1);
        }
        assert!(consumer.lag().await.unwrap().values().all(|lag| *lag == 0));
        client.admin().delete_topic(&topic).await.unwrap();
        let gone = client.admin().describe_topic(&topic).await;
        assert_error!(gone, Error::UnknownTopic { .. }, topic);
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_shares_its_work_and_goes_on_where_it_was() {
    within(async {
        let Anywhere { client, _ours } = anywhere().await;
        let (topic, group) = (fresh("work"), fresh("workers"));
        let admin = client.admin();
        admin.create_topic(&topic, TopicConfig::new().partitions(4)).await.unwrap();
        let producer = client.producer().build();
        let send = async |numbers: std::ops::Range<usize>| {
            for n in numbers {
                let record = Record::to(&topic).partition((n % 4) as i32).value(n.to_string());
                producer.send(record).await.unwrap();
            }
        };
        send(0..40).await;
        let member = || client.consumer().group(&group).subscribe([&topic]);
        let (mut one, mut other) = (member().await.unwrap(), member().await.unwrap());
        let mut seen = BTreeSet::new();
        // What was read and not committed before its partition went to the other is read again.
        let is_done = async || {
            let lag = admin.group_lag(&group).await.unwrap();
            lag.len() == 4 && lag.values().all(|lag| *lag == 0)
        };
        while one.assignment().len() != 2 || other.assignment().len() != 2 || !is_done().await {
            for consumer in [&mut one, &mut other] {
                let step = tokio::time::timeout(Duration::from_millis(50), consumer.poll(10)).await;
                if let Ok(records) = step {
                    seen.extend(records.unwrap().iter().map(|it| it.value.unwrap().to_vec()));
                }
                // In the middle of a rebalance it is another time's.
                match consumer.commit().await {
                    Ok(()) | Err(Error::Group { source: GroupError::RebalanceInProgress, .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        }
        let all: BTreeSet<_> = (0..40).map(|n| n.to_string().into_bytes()).collect();
        assert_eq!(seen, all);
        let description = admin.describe_group(&group).await.unwrap();
        assert_eq!(description.members.len(), 2);
        one.close().await.unwrap();
        other.close().await.unwrap();
        assert!(admin.group_lag(&group).await.unwrap().values().all(|lag| *lag == 0));
        send(40..44).await;
        let mut again = member().await.unwrap();
        let mut rest: Vec<_> = take(&mut again, 4).await.iter().map(value).collect();
        rest.sort();
        assert_eq!(rest, ["40", "41", "42", "43"]);
        again.close().await.unwrap();
        admin.delete_group(&group).await.unwrap();
        admin.delete_topic(&topic).await.unwrap();
    })
    .await
}

#[tokio::test]
async fn offsets_are_found_and_what_is_out_of_range_is_told() {
    within(async {
        let Anywhere { client, _ours } = anywhere().await;
        let topic = fresh("offsets");
        let admin = client.admin();
        admin.create_topic(&topic, TopicConfig::new()).await.unwrap();
        let producer = client.producer().build();
        let first = producer.send(Record::to(&topic).value("0")).await.unwrap().timestamp;
        for n in 1..10 {
            producer.send(Record::to(&topic).value(n.to_string())).await.unwrap();
        }
        let at = at(&topic, 0);
        let listed = async |spec| {
            let found = admin.list_offsets(std::slice::from_ref(&at), spec).await.unwrap();
            found[&at]
        };
        assert_eq!(listed(OffsetSpec::Earliest).await, Some(0));
        assert_eq!(listed(OffsetSpec::Latest).await, Some(10));
        assert_eq!(listed(OffsetSpec::Timestamp(first)).await, Some(0));
        let never = ottla::Timestamp::from_millis(first.as_millis() + 3_600_000);
        assert_eq!(listed(OffsetSpec::Timestamp(never)).await, None);
        assert_eq!(admin.delete_records(&at, 4).await.unwrap(), 4);
        let mut consumer = client.consumer().assign([at.clone()]).await.unwrap();
        consumer.seek(&at, 1).unwrap();
        assert_error!(consumer.recv().await, Error::OffsetOutOfRange { .. }, "4 to 10");
        assert_eq!(consumer.recv().await.unwrap().offset, 4, "it goes on there");
        let none = TopicPartition::new(&fresh("none"), 0).unwrap();
        let unknown = admin.list_offsets(&[none], OffsetSpec::Latest).await;
        assert_error!(unknown, Error::UnknownTopic { .. }, "none-");
        admin.delete_topic(&topic).await.unwrap();
    })
    .await
}

/// Whoever has no runtime may use it as well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plain_threads_can_do_everything() {
    within(async {
        let Anywhere { client, _ours } = anywhere().await;
        let (topic, group) = (fresh("thread"), fresh("threads"));
        let work = move || {
            let admin = client.admin();
            block_on(admin.create_topic(&topic, TopicConfig::new())).unwrap();
            let producer = client.producer().build();
            producer.send_blocking(Record::to(&topic).value("v")).unwrap();
            let builder = client.consumer().group(&group);
            let mut consumer = block_on(builder.subscribe([&topic])).unwrap();
            assert_eq!(value(&consumer.recv_blocking().unwrap()), "v");
            block_on(consumer.commit()).unwrap();
            assert_eq!(block_on(admin.group_offsets(&group)).unwrap()[&at(&topic, 0)].offset, 1);
            block_on(consumer.close()).unwrap();
            block_on(admin.delete_topic(&topic)).unwrap();
        };
        tokio::task::spawn_blocking(move || std::thread::spawn(work).join().unwrap())
            .await
            .unwrap();
    })
    .await
}

/// As a thread does that knows nothing of runtimes.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Thread(std::thread::Thread);
    impl std::task::Wake for Thread {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.unpark();
        }
    }
    let mut future = std::pin::pin!(future);
    let waker = std::sync::Arc::new(Thread(std::thread::current())).into();
    let mut context = std::task::Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut context) {
            std::task::Poll::Ready(output) => return output,
            std::task::Poll::Pending => std::thread::park(),
        }
    }
}
