//! Topics that are read because of how their names look.

use futures_core::Stream;
use ottla::{Error, TopicConfig};

use crate::support::{Host, assert_error, at, on_all_backends, send_all, take_values, texts};

on_all_backends! {
    topics_are_read_whose_whole_name_matches,
    a_pattern_that_matches_nothing_waits,
    a_topic_that_goes_is_not_missed,
    members_share_what_their_patterns_match,
    ; local "a broker that is gone may come back":
    patterns_that_are_none,
}

async fn topics_are_read_whose_whole_name_matches(host: Host) {
    for topic in ["orders.eu", "orders.us", "all.orders.eu", "orders", "ordersxeu"] {
        send_all(&host.client, topic, [topic]).await;
    }
    let mut consumer = host.client.consumer().subscribe_pattern(r"orders\..*|x").await.unwrap();
    let mut values = take_values(&mut consumer, 2).await;
    values.sort_unstable();
    assert_eq!(values, ["orders.eu", "orders.us"]);
    // Those that come later are read from their beginning.
    send_all(&host.client, "other", [0]).await;
    send_all(&host.client, "orders.as", 0..3).await;
    assert_eq!(take_values(&mut consumer, 3).await, texts(0..3));
    let topics: Vec<_> = consumer.assignment().into_iter().map(|at| at.topic).collect();
    assert_eq!(topics, ["orders.as", "orders.eu", "orders.us"]);
    host.admin().create_partitions("orders.as", 2).await.unwrap();
    while !consumer.assignment().contains(&at("orders.as", 1)) {
        assert!(consumer.try_recv().unwrap().is_none());
        tokio::task::yield_now().await;
    }
}

async fn a_pattern_that_matches_nothing_waits(host: Host) {
    let mut plain = host.client.consumer().subscribe_pattern("new.*").await.unwrap();
    let builder = host.client.consumer().group("g");
    let mut member = builder.subscribe_pattern("new.*").await.unwrap();
    for consumer in [&mut plain, &mut member] {
        assert!(consumer.assignment().is_empty());
        for _ in 0..10 {
            assert!(consumer.try_recv().unwrap().is_none());
            tokio::task::yield_now().await;
        }
    }
    send_all(&host.client, "new-one", 0..3).await;
    assert_eq!(take_values(&mut plain, 3).await, texts(0..3));
    assert_eq!(take_values(&mut member, 3).await, texts(0..3));
    // What groups are stored in is nobody's topic.
    let all = host.client.consumer().subscribe_pattern(".*").await.unwrap();
    assert_eq!(all.assignment(), [at("new-one", 0)]);
    fn is_a_stream(_: &impl Stream) {}
    is_a_stream(&all);
}

async fn a_topic_that_goes_is_not_missed(host: Host) {
    for topic in ["a1", "a2"] {
        send_all(&host.client, topic, [topic]).await;
    }
    let mut consumer = host.client.consumer().subscribe_pattern("a.").await.unwrap();
    take_values(&mut consumer, 2).await;
    host.delete_topic("a1").await.unwrap();
    send_all(&host.client, "a2", ["more"]).await;
    assert_eq!(take_values(&mut consumer, 1).await, ["more"]);
    while consumer.assignment().len() > 1 {
        assert!(consumer.try_recv().unwrap().is_none());
        tokio::task::yield_now().await;
    }
    host.create_topic("a1", TopicConfig::new().partitions(2)).await.unwrap();
    send_all(&host.client, "a1", ["again"]).await;
    assert_eq!(take_values(&mut consumer, 1).await, ["again"]);
    assert_eq!(consumer.assignment().len(), 3);
}

async fn members_share_what_their_patterns_match(host: Host) {
    let topics = ["a1", "a2", "b1"];
    for topic in topics {
        host.create_topic(topic, TopicConfig::new().partitions(2)).await.unwrap();
    }
    let member = |pattern| host.client.consumer().group("g").subscribe_pattern(pattern);
    let mut members = [member("a.").await.unwrap(), member("..").await.unwrap()];
    loop {
        let mut assigned = Vec::new();
        for member in &mut members {
            assert!(member.try_recv().unwrap().is_none());
            assigned.extend(member.assignment());
        }
        assigned.sort();
        if assigned.len() == 6 {
            let all = topics.iter().flat_map(|topic| (0..2).map(move |n| at(topic, n)));
            assert_eq!(assigned, all.collect::<Vec<_>>());
            break;
        }
        tokio::task::yield_now().await;
    }
    assert!(members[0].assignment().iter().all(|at| at.topic.as_str().starts_with('a')));
}

async fn patterns_that_are_none(host: Host) {
    for pattern in ["(", "a)(b", "[z-a]", r"\"] {
        let refused = host.client.consumer().subscribe_pattern(pattern).await;
        let shown = format!("{pattern:?}");
        assert_error!(refused, Error::InvalidState(_), "no regular expression", shown);
    }
    host.broker().shutdown().await.unwrap();
    let closed = host.client.consumer().subscribe_pattern("a").await;
    assert_error!(closed, Error::Closed { .. });
}
