//! Connections and brokers that go, and come back.

use std::time::Duration;

use ottla::{ApiKey, Broker, Clock, Error, ErrorCode, Record};
use tokio::net::TcpListener;

use super::impatient;
use super::proxy::Proxy;
use crate::support::{assert_error, read_values, take_values, texts, within};

/// Cut in the midst of answers, again and again: what was appended without being acknowledged is
/// sent again, and known to be there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cut_connections_lose_nothing_and_repeat_nothing() {
    within(async {
        let way = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = way.local_addr().unwrap().port();
        let broker = Broker::in_memory().await.unwrap();
        let listener = broker.listener().advertise("127.0.0.1", port);
        let listener = listener.bind("127.0.0.1:0").await.unwrap();
        let proxy = Proxy::start(way, listener.local_addr(), Some(1300));

        let client = impatient().api_timeout(Duration::from_secs(30));
        let client = client.connect(&format!("127.0.0.1:{port}")).await.unwrap();
        // Several are under way at a time.
        let producer = client.producer().batch_size(300).build();
        let mut deliveries = Vec::new();
        for n in 0..2000 {
            let record = Record::to("t").partition(0).value(n.to_string());
            deliveries.push(producer.enqueue(record).await.unwrap());
        }
        for (n, delivery) in deliveries.into_iter().enumerate() {
            let sent = delivery.await.unwrap();
            assert!(sent.offset == n as i64 || sent.offset == -1, "{n}: {sent:?}");
        }
        assert!(proxy.cuts() > 3, "{} cuts", proxy.cuts());
        assert_eq!(read_values(&broker.client(), "t").await, texts(0..2000));

        let before = proxy.cuts();
        let mut consumer = client.consumer().max_partition_fetch_bytes(700);
        consumer = consumer.start(ottla::Start::Earliest);
        let mut consumer = consumer.subscribe(["t"]).await.unwrap();
        assert_eq!(take_values(&mut consumer, 2000).await, texts(0..2000));
        assert!(proxy.cuts() > before + 3, "{} cuts", proxy.cuts());
    })
    .await
}

#[tokio::test]
async fn a_broker_that_comes_back_is_found_again() {
    within(async {
        let broker = Broker::in_memory().await.unwrap();
        let listener = broker.listen("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr();
        let client = impatient().api_timeout(Duration::from_secs(30));
        let client = client.connect(&address.to_string()).await.unwrap();
        let producer = client.producer().build();
        producer.send(Record::to("t").value("0")).await.unwrap();
        let mut consumer = client.consumer().group("g").subscribe(["t"]).await.unwrap();
        assert_eq!(take_values(&mut consumer, 1).await, ["0"]);
        listener.close().await;
        let sent = producer.enqueue(Record::to("t").value("1")).await.unwrap();
        let listener = broker.listen(address).await.unwrap();
        assert_eq!(sent.await.unwrap().offset, 1);
        assert_eq!(take_values(&mut consumer, 1).await, ["1"]);
        consumer.commit().await.unwrap();
        drop(listener);
    })
    .await
}

/// Heartbeats are another task's: without this they would keep its partitions for ever.
#[tokio::test]
async fn a_member_that_is_not_polled_gives_way() {
    within(async {
        let broker = Broker::in_memory().await.unwrap();
        let listener = broker.listen("127.0.0.1:0").await.unwrap();
        let client = impatient().connect(&listener.local_addr().to_string()).await.unwrap();
        let producer = client.producer().build();
        producer.send(Record::to("t").value("0")).await.unwrap();
        let stuck = client.consumer().group("g").max_poll_interval(Duration::from_millis(200));
        let mut stuck = stuck.subscribe(["t"]).await.unwrap();
        assert_eq!(take_values(&mut stuck, 1).await, ["0"]);
        // Nobody else joins: no rebalance asks for it.
        while !client.admin().describe_group("g").await.unwrap().members.is_empty() {}
        let late = stuck.commit().await;
        assert_error!(late, Error::Group { .. }, "no member");
        // What was not committed is read again.
        assert_eq!(take_values(&mut stuck, 1).await, ["0"]);
        stuck.commit().await.unwrap();
    })
    .await
}

#[tokio::test]
async fn what_is_not_delivered_in_time_fails_and_comes_back() {
    within(async {
        let broker = Broker::in_memory().await.unwrap();
        let listener = broker.listen("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr();
        let client = impatient().connect(&address.to_string()).await.unwrap();
        let producer = client.producer().delivery_timeout(Duration::from_millis(300)).build();
        producer.send(Record::to("t").value("0")).await.unwrap();
        listener.close().await;
        let late = producer.send(Record::to("t").value("1")).await;
        let record = late.as_ref().unwrap_err().record().unwrap();
        assert_eq!(record.value.as_deref(), Some(&b"1"[..]));
        let late = late.map_err(Error::from);
        assert_error!(late, Error::Timeout { .. }, "delivering to t-0", "delivery.timeout.ms");
        let listener = broker.listen(address).await.unwrap();
        let producer = client.producer().build();
        producer.send(Record::to("t").value("2")).await.unwrap();
        assert_eq!(read_values(&broker.client(), "t").await, ["0", "2"]);
        drop(listener);
    })
    .await
}

/// Each is tried again, and in order.
#[tokio::test]
async fn errors_that_pass_are_waited_out() {
    within(async {
        let broker = Broker::in_memory().await.unwrap();
        let listener = broker.listen("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().to_string();
        let client = impatient().api_timeout(Duration::from_secs(30));
        let client = client.connect(&address).await.unwrap();
        let producer = client.producer().batch_size(100).build();
        producer.send(Record::to("t").value("0")).await.unwrap();
        let passing = [
            ErrorCode::NOT_LEADER_OR_FOLLOWER,
            ErrorCode::NOT_ENOUGH_REPLICAS,
            ErrorCode::REQUEST_TIMED_OUT,
            ErrorCode::UNKNOWN_PRODUCER_ID,
            ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER,
        ];
        for (nth, error) in passing.into_iter().enumerate() {
            broker.fail_next(ApiKey::Produce, error);
            let mut deliveries = Vec::new();
            for n in 0..20 {
                let value = (1 + nth * 20 + n).to_string();
                deliveries.push(producer.enqueue(Record::to("t").value(value)).await.unwrap());
            }
            for delivery in deliveries {
                delivery.await.unwrap();
            }
        }
        assert_eq!(read_values(&broker.client(), "t").await, texts(0..101));

        broker.fail_next(ApiKey::Fetch, ErrorCode::NOT_LEADER_OR_FOLLOWER);
        broker.fail_next(ApiKey::ListOffsets, ErrorCode::LEADER_NOT_AVAILABLE);
        broker.fail_next(ApiKey::FindCoordinator, ErrorCode::COORDINATOR_NOT_AVAILABLE);
        broker.fail_next(ApiKey::JoinGroup, ErrorCode::COORDINATOR_LOAD_IN_PROGRESS);
        broker.fail_next(ApiKey::SyncGroup, ErrorCode::NOT_COORDINATOR);
        broker.fail_next(ApiKey::OffsetFetch, ErrorCode::COORDINATOR_LOAD_IN_PROGRESS);
        broker.fail_next(ApiKey::OffsetCommit, ErrorCode::NOT_COORDINATOR);
        let mut consumer = client.consumer().group("g").subscribe(["t"]).await.unwrap();
        assert_eq!(take_values(&mut consumer, 101).await, texts(0..101));
        consumer.commit().await.unwrap();
        consumer.close().await.unwrap();
    })
    .await
}

/// Nobody polls but one who waits for records: heartbeats go on by themselves, and what they are
/// answered wakes it.
#[tokio::test]
async fn a_heartbeat_tells_who_waits_that_the_group_rebalances() {
    within(async {
        // No session ends while this clock stands.
        let clock = Clock::manual();
        let broker = Broker::builder().clock(clock.clone()).in_memory().await.unwrap();
        let listener = broker.listen("127.0.0.1:0").await.unwrap();
        let client = impatient().clock(clock);
        let client = client.connect(&listener.local_addr().to_string()).await.unwrap();
        client.producer().build().send(Record::to("t").value("0")).await.unwrap();
        let mut consumer = client.consumer().group("g").subscribe(["t"]).await.unwrap();
        assert_eq!(take_values(&mut consumer, 1).await, ["0"]);
        let admin = broker.admin();
        let generation = async || admin.describe_group("g").await.unwrap().generation;
        let before = generation().await;
        // Of the task, and of the consumer that it wakes.
        broker.fail_next(ApiKey::Heartbeat, ErrorCode::REBALANCE_IN_PROGRESS);
        broker.fail_next(ApiKey::Heartbeat, ErrorCode::REBALANCE_IN_PROGRESS);
        let rebalanced = async {
            while generation().await == before {
                tokio::task::yield_now().await;
            }
            broker.producer().build().send(Record::to("t").value("1")).await.unwrap();
        };
        let (received, ()) = tokio::join!(consumer.recv(), rebalanced);
        assert_eq!(received.unwrap().offset, 1);
    })
    .await
}
