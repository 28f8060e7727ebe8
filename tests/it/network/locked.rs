//! A client of ours at an Apache Kafka that speaks TLS and wants to know who it is. These are ignored
//! by default: `tests/kafka/locks` runs them, and says where it is in `OTTLA_TEST_KAFKA_LOCKED`.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ottla::security::{ClientTls, Credentials, Mechanism};
use ottla::{Client, Error, Record, TopicConfig};

use super::impatient;
use crate::support::{assert_error, take, value, within};

/// The broker's locks.
struct Kafka {
    /// Where it wants a login, which holds for two seconds; alice's password is secret.
    sasl_ssl: String,
    /// Where it wants a certificate.
    ssl: String,
    ca: String,
    chain: String,
    key: String,
}

/// Of two addresses, and the folder where the certificates are.
fn kafka() -> Kafka {
    let told = std::env::var("OTTLA_TEST_KAFKA_LOCKED").expect("it is run by tests/kafka/locks");
    let [sasl_ssl, ssl, folder] = told.split(' ').collect::<Vec<_>>()[..] else {
        panic!("two addresses and a folder: {told}")
    };
    let file = |name: &str| format!("{folder}/{name}");
    Kafka {
        sasl_ssl: sasl_ssl.to_owned(),
        ssl: ssl.to_owned(),
        ca: file("ca.pem"),
        chain: file("client.pem"),
        key: file("client.key"),
    }
}

/// Sends a thousand records and reads them, as a member of a group.
async fn use_it(client: &Client, name: &str) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let topic = format!("locked-{name}-{}", now.as_nanos());
    client.admin().create_topic(&topic, TopicConfig::new().partitions(3)).await.unwrap();
    let producer = client.producer().build();
    for n in 0..1000 {
        drop(producer.enqueue(Record::to(&topic).value(n.to_string())).await.unwrap());
    }
    producer.flush().await;
    let mut consumer = client.consumer().group(&topic).subscribe([&topic]).await.unwrap();
    let mut seen = take(&mut consumer, 1000).await.iter().map(value).collect::<Vec<_>>();
    seen.sort_by_key(|text| text.parse::<u32>().unwrap());
    assert_eq!(seen, (0..1000).map(|n| n.to_string()).collect::<Vec<_>>());
    consumer.close().await.unwrap();
}

#[ignore = "tests/kafka/locks starts the Apache Kafka that it needs"]
#[tokio::test]
async fn logins_and_what_they_are_refused_for() {
    within(async {
        let Kafka { sasl_ssl, ca, .. } = kafka();
        let tls = ClientTls::trusting_file(&ca).unwrap();
        let client = |mechanism, password: &str| {
            let credentials = Credentials::new(mechanism, "alice", password);
            impatient().tls(tls.clone()).credentials(credentials)
        };
        for mechanism in Mechanism::ALL {
            let good = client(*mechanism, "secret").connect(&sasl_ssl).await.unwrap();
            use_it(&good, mechanism.name()).await;
            let refused = client(*mechanism, "other").connect(&sasl_ssl).await;
            assert_error!(refused, Error::Authentication { .. }, "alice", mechanism.name());
        }
        // Without TLS, without a login, and where nobody is trusted.
        let credentials = Credentials::scram_sha_256("alice", "secret");
        let refused = impatient().credentials(credentials).connect(&sasl_ssl).await;
        assert_error!(refused, Error::Unreachable { .. }, sasl_ssl);
        let refused = impatient().tls(tls.clone()).connect(&sasl_ssl).await;
        assert_error!(refused, Error::Disconnected { .. }, "log in");
        if let Ok(system) = ClientTls::system() {
            let refused = impatient().tls(system).connect(&sasl_ssl).await;
            assert_error!(refused, Error::Authentication { .. }, "no authority");
        }
    })
    .await
}

#[ignore = "tests/kafka/locks starts the Apache Kafka that it needs"]
#[tokio::test]
async fn a_login_that_expires_is_made_again_and_nothing_is_lost() {
    within(async {
        let Kafka { sasl_ssl, ca, .. } = kafka();
        let tls = ClientTls::trusting_file(&ca).unwrap();
        let credentials = Credentials::scram_sha_512("alice", "secret");
        let client = impatient().tls(tls).credentials(credentials);
        let client = client.connect(&sasl_ssl).await.unwrap();
        let topic = format!("renewed-{}", std::process::id());
        client.admin().create_topic(&topic, TopicConfig::new()).await.unwrap();
        let producer = client.producer().build();
        let mut consumer = client.consumer().group(&topic).subscribe([&topic]).await.unwrap();
        let (begun, mut next) = (Instant::now(), 0);
        // The broker ends a connection that is used for longer.
        while begun.elapsed() < Duration::from_secs(7) {
            let record = Record::to(&topic).value(next.to_string());
            assert_eq!(producer.send(record).await.unwrap().offset, next);
            assert_eq!(value(&consumer.recv().await.unwrap()), next.to_string());
            next += 1;
        }
        consumer.commit().await.unwrap();
        consumer.close().await.unwrap();
    })
    .await
}

#[ignore = "tests/kafka/locks starts the Apache Kafka that it needs"]
#[tokio::test]
async fn certificates_of_clients() {
    within(async {
        let Kafka { ssl, ca, chain, key, .. } = kafka();
        let tls = ClientTls::trusting_file(&ca).unwrap();
        let known = tls.clone().identity_files(&chain, &key).unwrap();
        let client = impatient().tls(known).connect(&ssl).await.unwrap();
        use_it(&client, "certificate").await;
        let refused = impatient().tls(tls).connect(&ssl).await;
        assert_error!(refused, Error::Authentication { .. }, "certificate");
    })
    .await
}
