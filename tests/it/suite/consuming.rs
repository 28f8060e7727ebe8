//! Records on their way out.

use std::pin::Pin;
use std::task::{Context, Waker};

use futures_core::Stream;
use ottla::{ConsumerRecord, Error, Record, Start, Timestamp, TopicConfig};

use crate::support::{
    Host, at, is_at_end, on_all_backends, read_topic, send_all, take, take_values, texts, value,
};

on_all_backends! {
    a_later_consumer_replays_all,
    the_tail_is_live,
    each_consumer_gets_everything,
    latest_is_what_comes_after_the_subscription,
    a_start_by_timestamp,
    poll_returns_what_is_there_up_to_max,
    poll_takes_from_all_partitions,
    borrowed_and_owned_records_agree,
    many_small_fetches_lose_nothing,
    try_recv_never_waits,
    a_slow_partition_does_not_stop_the_others,
    ; local "a broker that is gone may come back":
    a_stream_yields_the_records_and_ends_when_closed,
}

async fn a_later_consumer_replays_all(host: Host) {
    send_all(&host.client, "t", 0..50).await;
    let first = read_topic(&host.client, "t").await;
    let second = read_topic(&host.client, "t").await;
    assert_eq!(first, second);
    assert_eq!(first.iter().map(value).collect::<Vec<_>>(), texts(0..50));
    assert!(first.iter().zip(0..).all(|(record, offset)| record.offset == offset));
}

async fn the_tail_is_live(host: Host) {
    let mut consumer = host.client.consumer().subscribe(["t"]).await.unwrap();
    let producer = host.client.producer().build();
    for n in 0..20 {
        let mut receive = Box::pin(consumer.recv());
        let polled = receive.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(polled.is_pending(), "record {n} is not there yet");
        producer.send(Record::to("t").value(n.to_string())).await.unwrap();
        assert_eq!(value(&receive.await.unwrap()), n.to_string());
    }
}

async fn each_consumer_gets_everything(host: Host) {
    host.create_topic("t", TopicConfig::new().partitions(2)).await.unwrap();
    let mut consumers = Vec::new();
    for _ in 0..4 {
        let mut consumer = host.client.consumer().subscribe(["t"]).await.unwrap();
        consumers.push(tokio::spawn(async move { take(&mut consumer, 1000).await }));
    }
    let producer = host.client.producer().batch_size(500).build();
    for n in 0..1000 {
        let record = Record::to("t").partition(n % 2).value(n.to_string());
        producer.enqueue(record).await.unwrap();
    }
    producer.flush().await;
    let expected = read_topic(&host.client, "t").await;
    assert_eq!(expected.len(), 1000);
    for consumer in consumers {
        let records = consumer.await.unwrap();
        for partition in 0..2 {
            let of_it = |r: &&ConsumerRecord| r.partition == partition;
            assert!(records.iter().filter(of_it).eq(expected.iter().filter(of_it)));
        }
    }
}

async fn latest_is_what_comes_after_the_subscription(host: Host) {
    send_all(&host.client, "t", 0..5).await;
    let builder = host.client.consumer().start(Start::Latest);
    let mut consumer = builder.subscribe(["t"]).await.unwrap();
    send_all(&host.client, "t", 5..8).await;
    assert_eq!(take_values(&mut consumer, 3).await, texts(5..8));
}

async fn a_start_by_timestamp(host: Host) {
    let producer = host.client.producer().build();
    for time in [10, 20, 30, 40] {
        let record = Record::to("t").timestamp(Timestamp::from_millis(time));
        producer.send(record.value(time.to_string())).await.unwrap();
    }
    for (from, first) in [(0, "10"), (10, "10"), (11, "20"), (40, "40"), (41, "new")] {
        let start = Start::Timestamp(Timestamp::from_millis(from));
        let mut consumer = host.client.consumer().start(start).subscribe(["t"]).await.unwrap();
        if first == "new" {
            producer.send(Record::to("t").value("new")).await.unwrap();
        }
        assert_eq!(take_values(&mut consumer, 1).await, [first], "from {from}");
    }
}

async fn poll_returns_what_is_there_up_to_max(host: Host) {
    send_all(&host.client, "t", 0..10).await;
    let mut consumer = host.client.consumer().subscribe(["t"]).await.unwrap();
    let mut values = Vec::new();
    while values.len() < 10 {
        let records = consumer.poll(4).await.unwrap();
        assert!((1..=4).contains(&records.len()), "{}", records.len());
        assert_eq!(records.iter().len(), records.len());
        values.extend(records.into_iter().map(|record| value(&record)));
    }
    assert_eq!(values, texts(0..10));
    assert!(is_at_end(&mut consumer).await);
}

async fn poll_takes_from_all_partitions(host: Host) {
    host.create_topic("t", TopicConfig::new().partitions(3)).await.unwrap();
    let producer = host.client.producer().build();
    for n in 0..30 {
        producer.send(Record::to("t").partition(n % 3).value("v")).await.unwrap();
    }
    let mut consumer = host.client.consumer().subscribe(["t"]).await.unwrap();
    let mut of_partition = [0; 3];
    while of_partition.iter().sum::<i32>() < 30 {
        for record in &consumer.poll(1000).await.unwrap() {
            of_partition[record.partition as usize] += 1;
        }
    }
    assert_eq!(of_partition, [10, 10, 10]);
}

async fn borrowed_and_owned_records_agree(host: Host) {
    let producer = host.client.producer().build();
    for n in 0..20 {
        let record = Record::to("t").key(n.to_string()).value("v").header("n", n.to_string());
        producer.enqueue(record.null_header("null")).await.unwrap();
    }
    producer.flush().await;
    let mut consumer = host.client.consumer().subscribe(["t"]).await.unwrap();
    let mut seen = 0;
    while seen < 20 {
        let records = consumer.poll(7).await.unwrap();
        let again = records.clone();
        for (borrowed, owned) in records.iter().zip(again) {
            assert_eq!(borrowed.to_owned(), owned);
            assert_eq!((borrowed.offset, borrowed.key), (seen, owned.key.as_deref()));
            assert!(borrowed.headers().eq(owned.headers.iter()));
            seen += 1;
        }
    }
}

async fn next(consumer: &mut ottla::Consumer) -> Option<ottla::Result<ConsumerRecord>> {
    std::future::poll_fn(|cx| Pin::new(&mut *consumer).poll_next(cx)).await
}

async fn a_stream_yields_the_records_and_ends_when_closed(host: Host) {
    send_all(&host.client, "t", 0..5).await;
    let mut consumer = host.client.consumer().subscribe(["t"]).await.unwrap();
    for n in 0..5 {
        assert_eq!(value(&next(&mut consumer).await.unwrap().unwrap()), n.to_string());
    }
    host.broker().shutdown().await.unwrap();
    assert!(matches!(next(&mut consumer).await, Some(Err(Error::Closed { .. }))));
    assert!(next(&mut consumer).await.is_none());
}

async fn many_small_fetches_lose_nothing(host: Host) {
    let producer = host.client.producer().batch_size(200).build();
    for n in 0..500 {
        producer.enqueue(Record::to("t").value(n.to_string())).await.unwrap();
    }
    producer.flush().await;
    let builder = host.client.consumer().max_partition_fetch_bytes(1);
    let mut consumer = builder.subscribe(["t"]).await.unwrap();
    assert_eq!(take_values(&mut consumer, 500).await, texts(0..500));
}

async fn try_recv_never_waits(host: Host) {
    let mut consumer = host.client.consumer().subscribe(["t"]).await.unwrap();
    assert_eq!(consumer.try_recv().unwrap(), None);
    send_all(&host.client, "t", 0..3).await;
    let mut values = Vec::new();
    while values.len() < 3 {
        match consumer.try_recv().unwrap() {
            Some(record) => values.push(value(&record)),
            // Being read from disk.
            None => tokio::task::yield_now().await,
        }
    }
    assert_eq!(values, texts(0..3));
    assert_eq!(consumer.try_recv().unwrap(), None);
}

async fn a_slow_partition_does_not_stop_the_others(host: Host) {
    host.create_topic("t", TopicConfig::new().partitions(2)).await.unwrap();
    send_all(&host.client, "t", 0..200).await;
    let builder = host.client.consumer().max_partition_fetch_bytes(500);
    let mut consumer = builder.subscribe(["t"]).await.unwrap();
    take(&mut consumer, 10).await;
    let producer = host.client.producer().build();
    producer.send(Record::to("t").partition(1).value("other")).await.unwrap();
    let mut waited = 0;
    while consumer.recv().await.unwrap().partition == 0 {
        waited += 1;
    }
    assert!(waited < 100, "partition 1 had to wait for {waited} records of partition 0");
    assert_eq!(consumer.position(&at("t", 1)).unwrap().offset, 1);
}
