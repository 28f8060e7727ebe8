//! The Kafka port, byte by byte.
//!
//! `conformance` is what Kafka does as well: with `OTTLA_TEST_KAFKA=host:port` it runs against a
//! real one, too, which must be on its own, with automatic creation of topics. `quirks` is about
//! particular clients, and where both differ: why, stands in `docs/differences.md`. `hostile` is
//! what no client should send, `faults` what users have asked for, `crowd` many members of groups,
//! and those that come and go as they should not.

mod client;
mod conformance;
mod crowd;
mod faults;
mod files;
mod hostile;
mod member;
mod quirks;

use std::net::SocketAddr;
use std::time::Duration;

use ottla::wire::create_topics::{CreatableTopic, CreatableTopicConfig, CreateTopicsRequest};
use ottla::{Broker, Listener};

use self::client::RawClient;
pub(crate) use self::hostile::malformed;

/// A broker in memory that listens, whose members may be silent for as short as they like.
async fn listening() -> (Broker, Listener) {
    let session = Duration::from_millis(100);
    let broker = Broker::builder().group_min_session_timeout(session).in_memory().await.unwrap();
    let listener = broker.listen("127.0.0.1:0").await.unwrap();
    (broker, listener)
}

/// Creates a topic with these settings over the network.
async fn create(address: SocketAddr, name: &str, partitions: i32, configs: &[(&str, &str)]) {
    let setting = |(name, value): &(&str, &str)| CreatableTopicConfig {
        name: (*name).to_owned(),
        value: Some((*value).to_owned()),
    };
    let topic = CreatableTopic {
        name: name.to_owned(),
        num_partitions: partitions,
        replication_factor: 1,
        configs: configs.iter().map(setting).collect(),
        ..CreatableTopic::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic], ..CreateTopicsRequest::default() };
    let answer = RawClient::connect(address).await.ask_newest(&request).await;
    let result = &answer.topics[0];
    assert_eq!(result.error_code.0, 0, "{result:?}");
}
