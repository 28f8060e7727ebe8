//! An embeddable, in-process, Kafka-style partitioned event log with an async channel API.

pub mod record;
pub mod storage;
pub mod topic;
pub use record::*;
