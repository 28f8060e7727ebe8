//! An embeddable, in-process, Kafka-style partitioned event log with an async channel API.

pub mod batch;
pub mod clock;
pub mod codec;
pub mod consumer;
pub mod error;
pub mod log;
pub mod record;
pub mod storage;
pub mod topic;
mod transport;
pub use clock::*;
pub use record::*;
