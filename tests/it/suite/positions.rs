//! Where a consumer stands, and moving it.

use std::collections::BTreeMap;

use ottla::{Error, Record, Timestamp, TopicConfig};

use crate::support::{
    Host, assert_error, at, on_all_backends, send_all, take, take_values, texts, value,
};

on_all_backends! {
    the_position_is_the_next_record,
    seek_goes_anywhere,
    seek_forgets_what_was_fetched,
    seek_to_time_finds_the_first_that_is_not_older,
    seek_to_beginning_and_end,
    paused_partitions_stand_still,
    lag_counts_what_is_not_read,
    what_is_not_assigned_is_an_error,
}

async fn the_position_is_the_next_record(host: Host) {
    send_all(&host.client, "t", 0..10).await;
    let mut consumer = host.client.consumer().assign([at("t", 0)]).await.unwrap();
    assert_eq!(consumer.position(&at("t", 0)).unwrap().offset, 0);
    for n in 0..10 {
        assert_eq!(consumer.recv().await.unwrap().offset, n);
        let position = consumer.position(&at("t", 0)).unwrap();
        assert_eq!((position.offset, position.leader_epoch), (n + 1, Some(0)));
    }
    // Another consumer takes it over.
    send_all(&host.client, "t", 10..11).await;
    let mut other = host.client.consumer().assign([at("t", 0)]).await.unwrap();
    other.seek(&at("t", 0), consumer.position(&at("t", 0)).unwrap()).unwrap();
    assert_eq!(take_values(&mut other, 1).await, ["10"]);
}

async fn seek_goes_anywhere(host: Host) {
    send_all(&host.client, "t", 0..20).await;
    let mut consumer = host.client.consumer().subscribe(["t"]).await.unwrap();
    for to in [0, 19, 7, 7, 13, 1] {
        consumer.seek(&at("t", 0), to).unwrap();
        assert_eq!(consumer.recv().await.unwrap().offset, to);
    }
    consumer.seek(&at("t", 0), 20).unwrap();
    send_all(&host.client, "t", 20..21).await;
    assert_eq!(take_values(&mut consumer, 1).await, ["20"]);
}

async fn seek_forgets_what_was_fetched(host: Host) {
    let producer = host.client.producer().build();
    for n in 0..100 {
        producer.enqueue(Record::to("t").value(n.to_string())).await.unwrap();
    }
    producer.flush().await;
    let mut consumer = host.client.consumer().subscribe(["t"]).await.unwrap();
    take(&mut consumer, 3).await;
    // In the middle of a batch, of which more is buffered.
    consumer.seek(&at("t", 0), 50).unwrap();
    assert_eq!(take_values(&mut consumer, 50).await, texts(50..100));
}

async fn seek_to_time_finds_the_first_that_is_not_older(host: Host) {
    host.create_topic("t", TopicConfig::new().partitions(2)).await.unwrap();
    let producer = host.client.producer().build();
    // Out of order, one batch each, then again in one batch.
    let times = [50, 10, 40, 20, 60, 30];
    for time in times {
        let record = Record::to("t").partition(0).timestamp(Timestamp::from_millis(time));
        producer.send(record.value(time.to_string())).await.unwrap();
    }
    for time in times {
        let record = Record::to("t").partition(1).timestamp(Timestamp::from_millis(time));
        producer.enqueue(record.value(time.to_string())).await.unwrap();
    }
    producer.flush().await;
    let mut consumer = host.client.consumer().subscribe(["t"]).await.unwrap();
    for (time, offset) in [(0, 0), (10, 0), (50, 0), (51, 4), (60, 4), (61, 6)] {
        consumer.seek_to_time(Timestamp::from_millis(time)).await.unwrap();
        let positions = consumer.positions();
        let offsets: Vec<_> = positions.values().map(|position| position.offset).collect();
        assert_eq!(offsets, [offset, offset], "from {time}");
    }
}

async fn seek_to_beginning_and_end(host: Host) {
    host.create_topic("t", TopicConfig::new().partitions(2)).await.unwrap();
    send_all(&host.client, "t", 0..5).await;
    let mut consumer = host.client.consumer().subscribe(["t"]).await.unwrap();
    consumer.seek_to_end(&[]).await.unwrap();
    send_all(&host.client, "t", 5..6).await;
    assert_eq!(take_values(&mut consumer, 1).await, ["5"]);
    consumer.seek_to_beginning(&[at("t", 0)]).await.unwrap();
    assert_eq!(take_values(&mut consumer, 6).await, texts(0..6));
    assert_eq!(consumer.end_offset(&at("t", 0)).await.unwrap(), 6);
    assert_eq!(consumer.end_offset(&at("t", 1)).await.unwrap(), 0);
}

async fn paused_partitions_stand_still(host: Host) {
    host.create_topic("t", TopicConfig::new().partitions(2)).await.unwrap();
    let producer = host.client.producer().build();
    for n in 0..20 {
        producer.send(Record::to("t").partition(n % 2).value(n.to_string())).await.unwrap();
    }
    let mut consumer = host.client.consumer().subscribe(["t"]).await.unwrap();
    // Something of both is buffered, or on its way.
    take(&mut consumer, 1).await;
    consumer.pause(&[at("t", 0)]).unwrap();
    assert_eq!(consumer.paused(), [at("t", 0)]);
    let stood_at = consumer.position(&at("t", 0)).unwrap();
    let of_one = 10 - consumer.position(&at("t", 1)).unwrap().offset as usize;
    assert!(take(&mut consumer, of_one).await.iter().all(|record| record.partition == 1));
    assert_eq!(consumer.position(&at("t", 0)).unwrap(), stood_at);
    consumer.resume(&[at("t", 0)]).unwrap();
    assert!(consumer.paused().is_empty());
    let rest = take(&mut consumer, 10 - stood_at.offset as usize).await;
    assert_eq!(value(rest.last().unwrap()), "18");
    // Pausing again, seeking, resuming.
    consumer.pause(&[at("t", 0), at("t", 1)]).unwrap();
    consumer.seek(&at("t", 0), 4).unwrap();
    consumer.resume(&[at("t", 0)]).unwrap();
    assert_eq!(take_values(&mut consumer, 1).await, ["8"]);
}

async fn lag_counts_what_is_not_read(host: Host) {
    host.create_topic("t", TopicConfig::new().partitions(2)).await.unwrap();
    let mut consumer = host.client.consumer().subscribe(["t"]).await.unwrap();
    let lag = |of_0, of_1| BTreeMap::from([(at("t", 0), of_0), (at("t", 1), of_1)]);
    assert_eq!(consumer.lag().await.unwrap(), lag(0, 0));
    send_all(&host.client, "t", 0..7).await;
    assert_eq!(consumer.lag().await.unwrap(), lag(7, 0));
    take(&mut consumer, 3).await;
    assert_eq!(consumer.lag().await.unwrap(), lag(4, 0));
    consumer.seek(&at("t", 0), 6).unwrap();
    assert_eq!(consumer.lag().await.unwrap(), lag(1, 0));
    take(&mut consumer, 1).await;
    assert_eq!(consumer.lag().await.unwrap(), lag(0, 0));
}

async fn what_is_not_assigned_is_an_error(host: Host) {
    host.create_topic("t", TopicConfig::new().partitions(2)).await.unwrap();
    let mut consumer = host.client.consumer().assign([at("t", 0)]).await.unwrap();
    assert_eq!(consumer.assignment(), [at("t", 0)]);
    let other = at("t", 1);
    assert_eq!(consumer.position(&other), None);
    assert_error!(consumer.seek(&other, 0), Error::InvalidState(_), "t-1");
    assert_error!(consumer.end_offset(&other).await, Error::InvalidState(_), "t-1");
    let others = [other];
    assert_error!(consumer.pause(&others), Error::InvalidState(_), "t-1");
    assert_error!(consumer.resume(&others), Error::InvalidState(_), "t-1");
    assert_error!(consumer.seek_to_end(&others).await, Error::InvalidState(_), "t-1");
    assert!(consumer.paused().is_empty());
}
