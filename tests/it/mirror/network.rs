//! A mirror whose target is on the network, and not always there.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use ottla::{Broker, Client, Error, Listener, Record, TopicConfig};
use tempfile::TempDir;
use tokio::sync::watch;

use super::{assert_same, content, memory, open, send, two_partitions, until};
use crate::network::cluster::proxy::Proxy;
use crate::support::{assert_error, within};

/// A client that need not wait long to see that nobody is there.
fn later(address: SocketAddr) -> Client {
    let builder = Client::builder().api_timeout(Duration::from_secs(1));
    let builder = builder.metadata_max_age(Duration::from_millis(100));
    builder.connect_later(&address.to_string()).unwrap()
}

/// Where nobody listens.
fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_may_come_later() {
    let (source, _) = memory().await;
    let producer = two_partitions(&source).await;
    let address = free_address();
    let mirror = source.mirror(["t"]).to(&later(address)).await.unwrap();
    send(&producer, 0..100).await;
    until(&mirror, |stats| stats.error().is_some()).await;
    let stats = mirror.stats();
    assert_eq!((stats.records(), stats.lag(), stats.lost()), (0, 100, 0));
    let error = stats.error().unwrap().clone();
    let at = address.to_string();
    assert_error!(Err::<(), _>(error), Error::Unreachable { .. }, at);

    let (target, client) = memory().await;
    let _listener = target.listen(address).await.unwrap();
    within(mirror.caught_up()).await.unwrap();
    assert_same(&content(&source.client(), "t").await, &content(&client, "t").await);
    assert_eq!(target.describe_topic("t").unwrap().partitions.len(), 2);
    assert!(mirror.stats().error().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_for_later_says_who_is_not_there() {
    let address = free_address();
    let client = later(address);
    let at = address.to_string();
    assert_error!(client.admin().topics().await, Error::Unreachable { .. }, at);
    let wrong = Client::builder().connect_later("kafka:x");
    assert_error!(wrong, Error::InvalidConfig { .. }, "1 to 65535");
    let (target, _) = memory().await;
    let _listener = target.listen(address).await.unwrap();
    let sent = client.producer().build().send(Record::to("t").value("v")).await;
    assert_eq!(sent.unwrap().offset, 0);
}

/// Listens where somebody else has just done so.
async fn listen(target: &Broker, address: SocketAddr) -> Listener {
    let bind = async {
        loop {
            match target.listen(address).await {
                Ok(listener) => return listener,
                Err(Error::Io { .. }) => tokio::task::yield_now().await,
                Err(error) => panic!("{error}"),
            }
        }
    };
    within(bind).await
}

/// The listener goes in the middle of whatever is under way, and the answers with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_arrives_twice_if_answers_do_not() {
    let (source_dir, target_dir) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (source, target) = (open(&source_dir).await, open(&target_dir).await);
    source.create_topic("t", TopicConfig::new().partitions(2)).await.unwrap();
    let address = free_address();
    let client = later(address);
    // Many small batches.
    let mirror = source.mirror(["t"]).batch_size(1).to(&client).await.unwrap();
    let producer = source.producer().build();
    for round in 0..30_u64 {
        let listener = listen(&target, address).await;
        let before = mirror.stats().records();
        send(&producer, (0..40).map(|n| 40 * round as usize + n)).await;
        until(&mirror, |stats| stats.records() >= before + round % 7).await;
        drop(listener);
    }
    let _listener = listen(&target, address).await;
    within(mirror.caught_up()).await.unwrap();
    let (sent, found) =
        (content(&source.client(), "t").await, content(&target.client(), "t").await);
    assert_eq!(sent.len(), 1200);
    assert_same(&sent, &found);
}

/// What was sent by a mirror that is gone arrives after its successor has looked what is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_arrives_late_is_not_taken_twice() {
    let (source, _) = memory().await;
    let (target, client) = memory().await;
    let front = free_address();
    let listener = target.listener().advertise("127.0.0.1", front.port());
    let listener = listener.bind("127.0.0.1:0").await.unwrap();
    let proxy = Proxy::start(front, listener.local_addr(), watch::Sender::new(0)).await;
    source.create_topic("t", TopicConfig::new()).await.unwrap();
    let producer = source.producer().build();
    let send = |n: usize| producer.send(Record::to("t").value(n.to_string()));
    send(0).await.unwrap();
    for n in 0..20 {
        let mirror = source.mirror(["t"]).to(&later(front)).await.unwrap();
        within(mirror.caught_up()).await.unwrap();
        // This stays on its way.
        proxy.hold_those_there();
        let mut requests = proxy.requests();
        requests.mark_unchanged();
        send(3 * n + 1).await.unwrap();
        within(requests.changed()).await.unwrap();
        drop(mirror);
        // Its successor has the same in another batch, or in the same one.
        if n % 2 == 0 {
            send(3 * n + 2).await.unwrap();
        }
        let mirror = source.mirror(["t"]).to(&later(front)).await.unwrap();
        if n % 3 == 0 {
            within(mirror.caught_up()).await.unwrap();
        }
        proxy.release();
        send(3 * n + 3).await.unwrap();
        within(mirror.caught_up()).await.unwrap();
    }
    let (sent, found) = (content(&source.client(), "t").await, content(&client, "t").await);
    assert_eq!(sent.len(), 1 + 50);
    assert_same(&sent, &found);
}
