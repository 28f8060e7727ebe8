//! Records on their way in.

use std::collections::BTreeMap;
use std::time::Duration;

use ottla::{Acks, Error, ManualClock, Partitioner, Record, Timestamp, TimestampType, TopicConfig};

use crate::support::{Host, assert_error, at, on_all_backends, read_topic, read_values, texts};

on_all_backends! {
    send_says_where_the_record_is,
    a_key_goes_to_one_partition_in_order,
    without_a_key_all_partitions_are_used,
    null_and_empty_differ,
    headers_come_back_as_they_went_in,
    log_append_time_is_the_brokers,
    acks_of_all_kinds,
    enqueued_records_are_acknowledged_in_order,
    try_send_needs_room_and_a_known_topic,
    a_full_buffer_makes_enqueue_wait_and_loses_nothing,
    a_lingering_batch_goes_on_flush_and_when_its_time_has_come,
    records_up_to_the_limit_are_taken,
    a_batch_may_be_longer_than_the_topic_takes,
    blocking_forms_work_from_plain_threads,
    partitioners_choose,
    ; local "settings of topics are the broker's to check":
    batches_are_no_larger_than_a_segment,
    records_over_the_limit_are_refused_and_nothing_is_queued,
    ; local "brokers on the network refuse times far from theirs (KIP-937)":
    timestamps_are_kept,
}

async fn send_says_where_the_record_is(host: Host) {
    host.create_topic("orders", TopicConfig::new().partitions(3)).await.unwrap();
    let producer = host.client.producer().build();
    for (partition, offset) in [(2, 0), (2, 1), (0, 0), (2, 2), (1, 0)] {
        let sent = producer.send(Record::to("orders").partition(partition).value("v")).await;
        let sent = sent.unwrap();
        assert_eq!(sent.topic, "orders");
        assert_eq!((sent.partition, sent.offset), (partition, offset));
        assert_eq!(sent.timestamp, host.clock.wall());
        assert!(sent.has_offset());
    }
    let stats = producer.stats();
    assert_eq!((stats.records_sent, stats.records_failed, stats.buffered_bytes), (5, 0, 0));
}

async fn a_key_goes_to_one_partition_in_order(host: Host) {
    host.create_topic("t", TopicConfig::new().partitions(5)).await.unwrap();
    let producer = host.client.producer().batch_size(300).build();
    for n in 0..400 {
        let key = format!("key {}", n % 20);
        producer.enqueue(Record::to("t").key(key).value(n.to_string())).await.unwrap();
    }
    producer.flush().await;
    let mut of_key = BTreeMap::<Vec<u8>, Vec<(i32, i64, usize)>>::new();
    for record in read_topic(&host.client, "t").await {
        let n = crate::support::value(&record).parse().unwrap();
        let key = record.key.unwrap().to_vec();
        of_key.entry(key).or_default().push((record.partition, record.offset, n));
    }
    assert_eq!(of_key.len(), 20);
    for (key, records) in of_key {
        assert_eq!(records.len(), 20);
        assert!(records.windows(2).all(|w| w[0].0 == w[1].0), "{key:?} is in two partitions");
        assert!(records.windows(2).all(|w| w[0].1 < w[1].1 && w[0].2 < w[1].2), "{records:?}");
    }
}

async fn without_a_key_all_partitions_are_used(host: Host) {
    host.create_topic("t", TopicConfig::new().partitions(4)).await.unwrap();
    let producer = host.client.producer().build();
    let mut partitions = Vec::new();
    for _ in 0..8 {
        partitions.push(producer.send(Record::to("t").value("v")).await.unwrap().partition);
    }
    partitions.sort_unstable();
    assert_eq!(partitions, [0, 0, 1, 1, 2, 2, 3, 3]);
}

async fn null_and_empty_differ(host: Host) {
    let producer = host.client.producer().build();
    let record = || Record::to("t").partition(0);
    producer.enqueue(record()).await.unwrap();
    producer.enqueue(record().key("").value("")).await.unwrap();
    producer.enqueue(record().key("k")).await.unwrap();
    producer.enqueue(record().value(vec![0, 255, 0])).await.unwrap();
    producer.flush().await;
    let records = read_topic(&host.client, "t").await;
    let pairs: Vec<_> = records.iter().map(|r| (r.key.as_deref(), r.value.as_deref())).collect();
    let bytes: &[u8] = &[0, 255, 0];
    let empty: &[u8] = b"";
    let expected =
        [(None, None), (Some(empty), Some(empty)), (Some(b"k"), None), (None, Some(bytes))];
    assert_eq!(pairs, expected);
}

async fn headers_come_back_as_they_went_in(host: Host) {
    let producer = host.client.producer().build();
    let record = Record::to("t")
        .header("twice", "one")
        .header("", "empty key")
        .null_header("null")
        .header("empty", "")
        .header("twice", "two")
        .header("ключ", vec![0, 159, 146, 150]);
    producer.send(record).await.unwrap();
    producer.send(Record::to("t").value("none")).await.unwrap();
    let records = read_topic(&host.client, "t").await;
    let headers = &records[0].headers;
    let all: Vec<_> = headers.iter().map(|h| (h.key.into_owned(), h.value)).collect();
    let expected: [(&str, Option<&[u8]>); 6] = [
        ("twice", Some(b"one")),
        ("", Some(b"empty key")),
        ("null", None),
        ("empty", Some(b"")),
        ("twice", Some(b"two")),
        ("ключ", Some(&[0, 159, 146, 150])),
    ];
    assert_eq!(all, expected.map(|(key, value)| (key.to_owned(), value)));
    assert_eq!(headers.last("twice"), Some(&b"two"[..]));
    assert_eq!((headers.last("null"), headers.last("absent")), (None, None));
    assert!(records[1].headers.is_empty());
}

async fn timestamps_are_kept(host: Host) {
    let producer = host.client.producer().build();
    let times = [5_000, 1, 0, i64::MAX, 1_700_000_000_000];
    for time in times {
        let time = Timestamp::from_millis(time);
        let delivery = producer.enqueue(Record::to("t").timestamp(time)).await.unwrap();
        assert_eq!(delivery.await.unwrap().timestamp, time);
    }
    host.clock.advance(Duration::from_millis(7));
    producer.send(Record::to("t")).await.unwrap();
    let records = read_topic(&host.client, "t").await;
    let kept: Vec<_> = records.iter().map(|r| r.timestamp.as_millis()).collect();
    let now = ManualClock::START.as_millis() + 7;
    assert_eq!(kept, times.into_iter().chain([now]).collect::<Vec<_>>());
    assert!(records.iter().all(|r| r.timestamp_type == TimestampType::CreateTime));
}

async fn log_append_time_is_the_brokers(host: Host) {
    let config = TopicConfig::new().timestamp_type(TimestampType::LogAppendTime);
    host.create_topic("t", config).await.unwrap();
    let producer = host.client.producer().build();
    let mut sent = Vec::new();
    for n in 0..3 {
        host.clock.advance(Duration::from_secs(1));
        let record = Record::to("t").timestamp(Timestamp::from_millis(n)).value("v");
        sent.push(producer.send(record).await.unwrap().timestamp);
    }
    if host.broker.is_some() {
        let seconds = |n: u64| ManualClock::START.saturating_add(Duration::from_secs(n));
        assert_eq!(sent, [seconds(1), seconds(2), seconds(3)]);
    }
    assert!(sent.iter().all(|time| *time >= ManualClock::START), "{sent:?}");
    for (record, sent) in read_topic(&host.client, "t").await.iter().zip(sent) {
        assert_eq!(record.timestamp, sent);
        assert_eq!(record.timestamp_type, TimestampType::LogAppendTime);
    }
}

async fn acks_of_all_kinds(host: Host) {
    for (topic, acks) in [("none", Acks::None), ("leader", Acks::Leader), ("all", Acks::All)] {
        let producer = host.client.producer().acks(acks).build();
        for n in 0..10 {
            let sent = producer.send(Record::to(topic).value(n.to_string())).await.unwrap();
            let expected = if acks == Acks::None { -1 } else { n };
            assert_eq!((sent.offset, sent.has_offset()), (expected, expected >= 0));
        }
        producer.flush().await;
        assert_eq!(producer.stats().records_sent, 10);
        assert_eq!(read_values(&host.client, topic).await, texts(0..10));
    }
}

async fn enqueued_records_are_acknowledged_in_order(host: Host) {
    let producer = host.client.producer().batch_size(1000).build();
    let mut deliveries = Vec::new();
    for n in 0..2000 {
        let record = Record::to("t").partition(0).value(n.to_string());
        deliveries.push(producer.enqueue(record).await.unwrap());
    }
    for (n, delivery) in deliveries.into_iter().enumerate() {
        assert_eq!(delivery.await.unwrap().offset, n as i64);
    }
    assert_eq!(producer.stats().buffered_bytes, 0);
    assert_eq!(read_values(&host.client, "t").await, texts(0..2000));
}

async fn try_send_needs_room_and_a_known_topic(host: Host) {
    let producer = host.client.producer().batch_size(100).buffer_memory(1000).build();
    let record = || Record::to("t").partition(0).value("x".repeat(100));
    let refused = producer.try_send(record()).unwrap_err();
    assert_eq!(refused.record().unwrap(), record());
    assert_error!(Err::<(), _>(refused), Error::UnknownTopic { .. }, "\"t\"");
    assert_eq!(producer.partitions_for("t").await.unwrap(), 1);
    let mut taken = 0;
    let refused = loop {
        // Never yields, and the clock stands still: the broker's tasks get no chance to make room.
        match producer.try_send(record()) {
            Ok(_) => taken += 1,
            Err(refused) => break refused,
        }
    };
    assert!((5..10).contains(&taken), "{taken} records of some 110 bytes in 1000");
    assert_eq!(refused.record().unwrap(), record());
    let error =
        assert_error!(Err::<(), _>(refused), Error::BufferFull { .. }, "1000", "buffer.memory");
    assert!(error.is_retriable());
    producer.flush().await;
    assert_eq!(read_topic(&host.client, "t").await.len(), taken);
    producer.try_send(record()).unwrap().await.unwrap();
}

async fn a_full_buffer_makes_enqueue_wait_and_loses_nothing(host: Host) {
    let producer = host.client.producer().batch_size(200).buffer_memory(500).build();
    for n in 0..300 {
        producer.enqueue(Record::to("t").partition(0).value(n.to_string())).await.unwrap();
        assert!(producer.stats().buffered_bytes <= 500);
    }
    producer.flush().await;
    assert_eq!(read_values(&host.client, "t").await, texts(0..300));
}

async fn a_lingering_batch_goes_on_flush_and_when_its_time_has_come(host: Host) {
    let producer = host.client.producer().linger(Duration::from_secs(60)).build();
    producer.partitions_for("t").await.unwrap();
    let first = producer.try_send(Record::to("t").value("0")).unwrap();
    let second = producer.try_send(Record::to("t").value("1")).unwrap();
    tokio::task::yield_now().await;
    assert_eq!(host.describe_topic("t").await.unwrap().partitions[0].log_end_offset, 0);
    host.clock.advance(Duration::from_secs(60));
    assert_eq!((first.await.unwrap().offset, second.await.unwrap().offset), (0, 1));
    assert_eq!(producer.stats().batches, 1);
    let third = producer.try_send(Record::to("t").value("2")).unwrap();
    producer.flush().await;
    assert_eq!(third.await.unwrap().offset, 2);
}

/// The value with which a record, as a batch of its own, takes exactly `size` bytes.
fn value_for_batch_of(size: usize) -> Vec<u8> {
    // 61 of header, then for such sizes: length (3), attributes, two deltas, key length, value
    // length (3), number of headers.
    vec![7; size - 61 - 3 - 1 - 2 - 1 - 3 - 1]
}

async fn records_up_to_the_limit_are_taken(host: Host) {
    let producer = host.client.producer().max_request_size(4 << 20).build();
    let value = value_for_batch_of(1_048_588);
    producer.send(Record::to("t").value(&value)).await.unwrap();
    assert_eq!(read_topic(&host.client, "t").await[0].value.as_deref(), Some(&value[..]));
}

async fn records_over_the_limit_are_refused_and_nothing_is_queued(host: Host) {
    host.create_topic("small", TopicConfig::new().max_message_bytes(50_000)).await.unwrap();
    let default = host.client.producer().build();
    let large = host.client.producer().max_request_size(4 << 20).build();
    let tiny = host.client.producer().max_request_size(4 << 20).batch_size(1).buffer_memory(40_000);
    let tiny = tiny.build();
    for (producer, topic, limit, setting) in [
        (&default, "t", 1_048_576, "max.request.size"),
        (&large, "t", 1_048_588, "max.message.bytes"),
        (&large, "small", 50_000, "max.message.bytes"),
        (&tiny, "t", 40_000, "buffer.memory"),
    ] {
        let record = Record::to(topic).value(value_for_batch_of(limit + 1));
        let refused = producer.send(record.clone()).await.unwrap_err();
        assert_eq!(refused.record().unwrap(), record);
        let [size, limit] = [limit + 1, limit].map(|n| n.to_string());
        let error = Err::<(), _>(refused);
        assert_error!(error, Error::MessageTooLarge { .. }, size, limit, setting);
        let stats = producer.stats();
        assert_eq!((stats.buffered_bytes, stats.records_failed), (0, 0));
    }
    let fits = Record::to("small").value(value_for_batch_of(50_000));
    large.send(fits).await.unwrap();
    assert_eq!(read_topic(&host.client, "small").await.len(), 1);
}

async fn batches_are_no_larger_than_a_segment(host: Host) {
    host.create_topic("t", TopicConfig::new().segment_bytes(1024)).await.unwrap();
    let producer = host.client.producer().build();
    for n in 0..500 {
        producer.enqueue(Record::to("t").value(n.to_string())).await.unwrap();
    }
    producer.flush().await;
    assert_eq!(read_values(&host.client, "t").await, texts(0..500));
    let refused = producer.send(Record::to("t").value(value_for_batch_of(20_000))).await;
    assert_error!(refused, Error::MessageTooLarge { .. }, "20000", "segment.bytes=1024");
}

async fn a_batch_may_be_longer_than_the_topic_takes(host: Host) {
    host.create_topic("t", TopicConfig::new().max_message_bytes(2_000)).await.unwrap();
    let producer = host.client.producer().batch_size(100_000).build();
    let (mut sent, mut refused) = (Vec::new(), 0);
    for n in 0..1_000 {
        let value = format!("{n} {}", "x".repeat(if n == 400 { 3_000 } else { n % 300 }));
        match producer.enqueue(Record::to("t").key("k").value(value.clone())).await {
            Ok(delivery) => sent.push((value, delivery)),
            Err(error) => {
                assert_error!(Err::<(), _>(error), Error::MessageTooLarge { .. }, "2000");
                refused += 1;
            }
        }
    }
    let mut acknowledged = Vec::new();
    for (value, delivery) in sent {
        match delivery.await {
            Ok(metadata) => acknowledged.push((metadata.offset, value)),
            Err(error) => {
                let record = error.record().unwrap();
                assert!(value.starts_with("400 ") && record.value == Some(value.into()));
                let refusal = Err::<(), _>(error);
                assert_error!(refusal, Error::Refused { code: 10, .. }, "max.message.bytes");
                refused += 1;
            }
        }
    }
    assert_eq!((refused, acknowledged.len()), (1, 999));
    let there = read_topic(&host.client, "t").await;
    let there = there.iter().map(|it| (it.offset, crate::support::value(it).to_owned()));
    assert_eq!(there.collect::<Vec<_>>(), acknowledged);
}

async fn blocking_forms_work_from_plain_threads(host: Host) {
    let (client, (done, finished)) = (host.client.clone(), tokio::sync::oneshot::channel());
    let mut consumer = host.client.consumer().subscribe(["t"]).await.unwrap();
    let thread = std::thread::spawn(move || {
        let producer = client.producer().buffer_memory(1 << 10).batch_size(100).build();
        assert_eq!(producer.send_blocking(Record::to("t").value("0")).unwrap().offset, 0);
        for n in 1..100 {
            producer.enqueue_blocking(Record::to("t").value(n.to_string())).unwrap();
        }
        producer.flush_blocking();
        assert_eq!(producer.stats().records_sent, 100);
        let first = consumer.recv_blocking().unwrap();
        let mut values = vec![crate::support::value(&first)];
        while values.len() < 100 {
            let records = consumer.poll_blocking(33).unwrap();
            assert!((1..=33).contains(&records.len()));
            values.extend(records.into_iter().map(|record| crate::support::value(&record)));
        }
        assert_eq!(values, texts(0..100));
        done.send(()).unwrap();
    });
    finished.await.expect("the thread has panicked");
    thread.join().unwrap();
}

async fn partitioners_choose(host: Host) {
    host.create_topic("t", TopicConfig::new().partitions(10)).await.unwrap();
    let last = Partitioner::custom(|input| input.partitions - 1);
    let wrong = Partitioner::custom(|input| input.partitions);
    // By Sarama, the Java client, librdkafka: see tests/vectors/partitioners.
    let record = || Record::to("t").key("2304669687");
    for (partitioner, partition) in [(Partitioner::Fnv1a, 8), (last, 9)] {
        let producer = host.client.producer().partitioner(partitioner).build();
        assert_eq!(producer.send(record()).await.unwrap().partition, partition);
    }
    let producer = host.client.producer().partitioner(wrong).build();
    let refused = producer.send(record()).await;
    assert_error!(refused, Error::UnknownPartition { .. }, "no partition 10", "0 to 9");
    assert_eq!(at("t", 9).to_string(), "t-9");
}
