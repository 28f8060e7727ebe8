//! An embeddable, in-process, Kafka-style partitioned event log with an async channel API.
//!
//! A [`Broker`] owns partitioned topics, in memory or in a data directory. A [`Producer`] appends
//! records to them and is told where they stand; any number of [`Consumer`]s read them in order,
//! live or in replay.
//!
//! ```
//! use ottla::{Broker, Record};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> ottla::Result<()> {
//! let broker = Broker::in_memory().await?; // or Broker::open("./data").await?
//! let producer = broker.producer().build();
//! let at = producer.send(Record::to("orders").key("alice").value("2 coffees")).await?;
//! assert_eq!((at.topic.as_str(), at.partition, at.offset), ("orders", 0, 0));
//!
//! let mut consumer = broker.consumer().subscribe(["orders"]).await?;
//! let record = consumer.recv().await?;
//! assert_eq!(record.value.as_deref(), Some(&b"2 coffees"[..]));
//! broker.shutdown().await?;
//! # Ok(())
//! # }
//! ```
//!
//! Names are Apache Kafka's. What an acknowledged record survives is a promise made per topic:
//! [`Durability`]. Time can be moved by hand: [`Clock::manual`].
//!
//! A function that takes a [`Client`] runs on a broker of this process as on Apache Kafka:
//! [`Client::open`] takes where that is from a line of configuration.
//!
//! Runs on any tokio runtime that has time enabled. The blocking forms of producers and consumers
//! serve plain threads.
//!
//! # Stability
//!
//! What is documented here is the API. Modules that are public without documentation are so for
//! this project's tests, benches and fuzzers, and change without notice.

#![deny(clippy::dbg_macro, clippy::print_stdout, clippy::print_stderr, clippy::todo)]

pub mod admin;
#[doc(hidden)]
pub mod assignor;
#[doc(hidden)]
pub mod batch;
pub mod broker;
pub mod client;
pub mod clock;
#[doc(hidden)]
pub mod codec;
pub mod consumer;
pub mod error;
mod group;
mod handles;
pub mod inspect;
#[doc(hidden)]
pub mod log;
pub mod mirror;
mod partition;
pub mod producer;
pub mod record;
#[cfg(feature = "tls")]
pub mod security;
#[cfg(feature = "tcp")]
pub mod server;
#[doc(hidden)]
pub mod storage;
pub mod topic;
mod transport;
#[cfg(feature = "tcp")]
#[doc(hidden)]
pub mod wire;

pub use admin::Admin;
pub use assignor::Strategy;
/// For those who implement [`RebalanceListener`].
pub use async_trait::async_trait;
pub use batch::{BatchError, Compression, InvalidCompression, RecordFault};
pub use broker::{
    Broker, BrokerBuilder, BrokerStats, CompactionSummary, ConfigEntry, ConfigSource, Durability,
    PartitionDescription, RecoveryReport, TopicConfig, TopicDescription,
};
pub use client::Client;
#[cfg(feature = "tcp")]
pub use client::ClientBuilder;
pub use clock::{Clock, ManualClock};
pub use codec::CodecError;
pub use consumer::{
    Consumer, ConsumerBuilder, GroupMetadata, OutOfRange, Position, RebalanceListener, RecordRef,
    Records, Revoked, Start,
};
pub use error::{Error, GroupError, Result};
pub use group::{CommittedOffset, GroupDescription, GroupState, MemberDescription};
pub use log::{CleanupPolicy, CutTail, LostRange, ProducerError, Recovered};
pub use mirror::{Backlog, Guarantee, Mirror, MirrorBuilder, MirrorStats, MirroredPartition};
pub use producer::{
    Acks, CustomPartitioner, Delivery, Partitioner, PartitionerInput, ProduceError, Producer,
    ProducerBuilder, ProducerStats,
};
pub use record::{
    ConsumerRecord, Header, Headers, Payload, Record, RecordMetadata, Timestamp, TimestampType,
};
#[cfg(feature = "tcp")]
pub use server::{Listener, ListenerBuilder};
pub use storage::MemoryPolicy;
pub use topic::{InvalidTopic, TopicId, TopicName, TopicPartition};
pub use transport::OffsetSpec;
#[cfg(feature = "tcp")]
pub use wire::{ApiKey, ErrorCode};

/// The README's example is run as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// And those of the guide.
#[cfg(all(doctest, feature = "tcp"))]
#[doc = include_str!("../docs/cluster.md")]
struct Guide;
