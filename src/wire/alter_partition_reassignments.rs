//! AlterPartitionReassignments (key 45): replicas are to move (KIP-455). Versions 0 and 1, both
//! flexible.

use super::message::message;
use super::{ApiKey, ErrorCode, Request};

impl Request for AlterPartitionReassignmentsRequest {
    const KEY: ApiKey = ApiKey::AlterPartitionReassignments;
    type Response = AlterPartitionReassignmentsResponse;
}

message! {
    /// Where to.
    pub struct AlterPartitionReassignmentsRequest {
        /// How long the answer may take.
        pub timeout_ms: i32 = 60_000, 0..;
        /// Whether there may be more or fewer replicas than before.
        pub allow_replication_factor_change: bool = true, 1..;
        /// By topic.
        pub topics: Vec<ReassignableTopic>;
    }

    /// A topic.
    pub struct ReassignableTopic {
        /// Its name.
        pub name: String;
        /// Its partitions.
        pub partitions: Vec<ReassignablePartition>;
    }

    /// A partition.
    pub struct ReassignablePartition {
        /// Its number.
        pub partition_index: i32;
        /// The brokers; null for no move any more.
        pub replicas: Option<Vec<i32>>;
    }

    /// What became of each.
    pub struct AlterPartitionReassignmentsResponse {
        /// Milliseconds for which the client is to be silent.
        pub throttle_time_ms: i32;
        /// Whether there may be more or fewer replicas than before.
        pub allow_replication_factor_change: bool = true, 1..;
        /// Why nothing was done.
        pub error_code: ErrorCode;
        /// The same in words.
        pub error_message: Option<String>;
        /// By topic.
        pub responses: Vec<ReassignableTopicResponse>;
    }

    /// A topic.
    pub struct ReassignableTopicResponse {
        /// Its name.
        pub name: String;
        /// Its partitions.
        pub partitions: Vec<ReassignablePartitionResponse>;
    }

    /// A partition.
    pub struct ReassignablePartitionResponse {
        /// Its number.
        pub partition_index: i32;
        /// Why it does not move.
        pub error_code: ErrorCode;
        /// The same in words.
        pub error_message: Option<String>;
    }
}
