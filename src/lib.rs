//! An embeddable, in-process, Kafka-style partitioned event log with an async channel API.

pub mod batch;
pub mod broker;
pub mod client;
pub mod clock;
pub mod codec;
pub mod error;
pub mod log;
mod partition;
pub mod record;
pub mod storage;
pub mod topic;
mod transport;

pub use broker::{Broker, TopicConfig};
pub use clock::*;
pub use record::*;
