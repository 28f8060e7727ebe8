//! An embeddable, in-process, Kafka-style partitioned event log with an async channel API.

pub mod batch;
pub mod broker;
pub mod client;
pub mod clock;
pub mod codec;
pub mod consumer;
pub mod error;
mod handles;
pub mod log;
mod partition;
pub mod producer;
pub mod record;
pub mod storage;
pub mod topic;
mod transport;

pub use broker::{
    Broker, BrokerBuilder, Durability, PartitionDescription, RecoveryReport, TopicConfig,
    TopicDescription,
};
pub use client::Client;
pub use clock::{Clock, ManualClock};
pub use consumer::{Consumer, ConsumerBuilder, OutOfRange, Position, RecordRef, Records, Start};
pub use error::{Error, Result};
pub use producer::{
    Acks, Delivery, Partitioner, ProduceError, Producer, ProducerBuilder, ProducerStats,
};
pub use record::{
    ConsumerRecord, Header, Headers, Payload, Record, RecordMetadata, Timestamp, TimestampType,
};
pub use storage::MemoryPolicy;
pub use topic::{InvalidTopic, TopicId, TopicName, TopicPartition};
