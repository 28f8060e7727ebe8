//! `Client::open`: where the broker is, is a line of configuration. And the end of such a client.

use std::time::Duration;

use ottla::{Broker, Client, Error, Record, TopicConfig};
use tempfile::TempDir;

use crate::support::{assert_error, read_values, send_all, texts, within};

#[path = "../../examples/anywhere.rs"]
#[expect(dead_code, reason = "its `main` is the example's")]
mod anywhere;

fn file(dir: &TempDir) -> String {
    format!("file:{}", dir.path().join("data").to_str().unwrap())
}

#[tokio::test]
async fn each_memory_is_a_broker_of_its_own() {
    within(async {
        let (one, other) =
            (Client::open("memory:").await.unwrap(), Client::open("memory:").await.unwrap());
        send_all(&one, "t", 0..3).await;
        assert_eq!(read_values(&one.clone(), "t").await, texts(0..3));
        assert!(other.admin().topics().await.unwrap().is_empty());
    })
    .await
}

#[tokio::test]
async fn a_broker_lives_as_long_as_what_was_made_from_its_client() {
    within(async {
        let client = Client::open("memory:").await.unwrap();
        let producer = client.producer().build();
        let mut consumer = client.consumer().subscribe(["t"]).await.unwrap();
        drop(client);
        producer.send(Record::to("t").value("v")).await.unwrap();
        drop(producer);
        assert_eq!(consumer.recv().await.unwrap().value.as_deref(), Some(&b"v"[..]));
    })
    .await
}

#[tokio::test]
async fn a_directory_is_created_and_closed_properly_however_its_client_ends() {
    within(async {
        let hour = Duration::from_secs(3600);
        let dir = TempDir::new().unwrap();
        let place = file(&dir);
        for (round, closes) in [true, false].into_iter().enumerate() {
            let client = Client::open(&place).await.unwrap();
            send_all(&client, "t", round * 3..round * 3 + 3).await;
            let producer = client.producer().linger(hour).build();
            let delivery = producer.enqueue(Record::to("u").value("late")).await.unwrap();
            let refused = Client::open(&place).await;
            assert_error!(refused, Error::Locked { .. }, "data");
            match closes {
                true => client.close().await.unwrap(),
                false => drop((client, producer)),
            }
            delivery.await.unwrap();
            // Waits for the one that closes itself.
            let broker = Broker::open(dir.path().join("data")).await.unwrap();
            assert!(broker.recovery_report().unwrap().clean_shutdown);
            assert_eq!(read_values(&broker.client(), "t").await, texts(0..round * 3 + 3));
            broker.shutdown().await.unwrap();
        }
    })
    .await
}

#[tokio::test]
async fn a_closed_broker_is_closed_for_all_its_handles() {
    within(async {
        let client = Client::open("memory:").await.unwrap();
        let producer = client.producer().build();
        producer.send(Record::to("t").value("v")).await.unwrap();
        let other = client.clone();
        client.close().await.unwrap();
        let late = producer.send(Record::to("t").value("late")).await;
        assert_error!(late, Error::Closed { .. }, "shut down");
        assert_error!(other.admin().topics().await, Error::Closed { .. }, "shut down");
        other.close().await.unwrap();
    })
    .await
}

#[tokio::test]
async fn the_client_of_a_broker_does_not_close_it() {
    within(async {
        let broker = Broker::in_memory().await.unwrap();
        broker.client().close().await.unwrap();
        broker.create_topic("t", TopicConfig::new()).await.unwrap();
    })
    .await
}

#[tokio::test]
async fn what_is_no_place_is_refused() {
    for (place, part) in [("localhost:9092", "kafka://localhost:9092"), ("./data", "file:./data")] {
        let refused = Client::open(place).await;
        assert_error!(refused, Error::InvalidConfig { .. }, "memory:, file:DIR", part);
    }
    let dir = TempDir::new().unwrap();
    std::fs::write(dir.path().join("data"), "a file").unwrap();
    assert_error!(Client::open(&file(&dir)).await, Error::Io { .. }, "data");
}

#[cfg(not(feature = "tcp"))]
#[tokio::test]
async fn the_network_needs_its_feature() {
    let refused = Client::open("kafka://127.0.0.1:9092").await;
    assert_error!(refused, Error::InvalidConfig { .. }, "the feature `tcp`");
}

#[cfg(feature = "tcp")]
#[tokio::test]
async fn on_the_network_closing_sends_what_was_taken() {
    within(async {
        let broker = Broker::in_memory().await.unwrap();
        let listener = broker.listen("127.0.0.1:0").await.unwrap();
        let place = format!("kafka://{}", listener.local_addr());
        let client = Client::builder().client_id("shop").open(&place).await.unwrap();
        let hour = Duration::from_secs(3600);
        let (kept, other) = (client.producer().linger(hour).build(), client.clone());
        let dropped = client.producer().linger(hour).build();
        for (producer, topic) in [(&kept, "kept"), (&dropped, "dropped")] {
            for n in 0..3 {
                let record = Record::to(topic).value(n.to_string());
                drop(producer.enqueue(record).await.unwrap());
            }
        }
        drop(dropped);
        client.close().await.unwrap();
        for topic in ["kept", "dropped"] {
            assert_eq!(read_values(&broker.client(), topic).await, texts(0..3), "{topic}");
        }
        // Other handles go on.
        other.producer().build().send(Record::to("kept").value("3")).await.unwrap();
    })
    .await
}

#[cfg(feature = "tcp")]
#[tokio::test]
async fn addresses_that_are_none_are_refused_as_those_of_connect() {
    let refused = Client::open("kafka://a:b").await;
    assert_error!(refused, Error::InvalidConfig { .. }, "bootstrap.servers", "1 to 65535");
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = nobody.local_addr().unwrap().to_string();
    drop(nobody);
    let refused = Client::open(&format!("kafka://{address}/")).await;
    assert_error!(refused, Error::Unreachable { .. }, address);
}

/// What the example prints; asked twice, as nothing of the first time may be in the way.
async fn told_twice(place: &str) -> [String; 2] {
    let mut told = [const { Vec::new() }; 2];
    for out in &mut told {
        let client = Client::open(place).await.unwrap();
        anywhere::tell(&client, out).await.unwrap();
        client.close().await.unwrap();
    }
    told.map(|out| String::from_utf8(out).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_example_prints_the_same_everywhere() {
    within(async {
        let dir = TempDir::new().unwrap();
        let [in_memory, again] = told_twice("memory:").await;
        assert_eq!(in_memory, again);
        assert_eq!(in_memory.lines().count(), 12 + 2 + 5 + 4 + 1, "{in_memory}");
        assert!(in_memory.contains("billing stops: 6 orders are billed, 6 are not"), "{in_memory}");
        assert!(in_memory.contains("alice's bill: 2 coffees, 1 cake, 1 tea\n"), "{in_memory}");
        assert_eq!(told_twice(&file(&dir)).await, [&*in_memory, &in_memory]);
        #[cfg(feature = "tcp")]
        {
            let broker = Broker::in_memory().await.unwrap();
            let listener = broker.listen("127.0.0.1:0").await.unwrap();
            let place = format!("kafka://{}", listener.local_addr());
            assert_eq!(told_twice(&place).await, [&*in_memory, &in_memory]);
        }
    })
    .await
}
