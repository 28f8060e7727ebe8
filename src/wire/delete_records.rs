//! DeleteRecords (key 21): records before an offset go. Versions 0 to 2; 2 is flexible.

use super::message::{message, throttled};
use super::{ApiKey, ErrorCode, Request};

impl Request for DeleteRecordsRequest {
    const KEY: ApiKey = ApiKey::DeleteRecords;
    type Response = DeleteRecordsResponse;
    throttled!(1..);
}

message! {
    /// Which records.
    pub struct DeleteRecordsRequest {
        /// The topics.
        pub topics: Vec<DeleteRecordsTopic>;
        /// How long to wait for it.
        pub timeout_ms: i32;
    }

    /// A topic.
    pub struct DeleteRecordsTopic {
        /// Its name.
        pub name: String;
        /// Its partitions.
        pub partitions: Vec<DeleteRecordsPartition>;
    }

    /// A partition.
    pub struct DeleteRecordsPartition {
        /// Its number.
        pub partition_index: i32;
        /// Where it is to begin; -1: at the high watermark.
        pub offset: i64;
    }

    /// What became of each.
    pub struct DeleteRecordsResponse {
        /// Milliseconds for which the client is to be silent.
        pub throttle_time_ms: i32;
        /// The topics.
        pub topics: Vec<DeleteRecordsTopicResult>;
    }

    /// A topic.
    pub struct DeleteRecordsTopicResult {
        /// Its name.
        pub name: String;
        /// Its partitions.
        pub partitions: Vec<DeleteRecordsPartitionResult>;
    }

    /// A partition.
    pub struct DeleteRecordsPartitionResult {
        /// Its number.
        pub partition_index: i32;
        /// Where it begins now.
        pub low_watermark: i64;
        /// Why nothing was done.
        pub error_code: ErrorCode;
    }
}
