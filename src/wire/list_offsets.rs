//! ListOffsets (key 2): the offset of a time. Versions 1 to 10.
//!
//! 2 has isolation levels; 4 leader epochs; 6 is flexible. Special times came one by one: -3 with
//! 7 (KIP-734), -4 with 8 (KIP-405), -5 with 9 (KIP-1005). 10 has a timeout (KIP-1075).

use super::message::{message, throttled};
use super::{ApiKey, ErrorCode, Request};

impl Request for ListOffsetsRequest {
    const KEY: ApiKey = ApiKey::ListOffsets;
    type Response = ListOffsetsResponse;
    throttled!(3..);
}

/// The offset of the next record.
pub const LATEST: i64 = -1;
/// The offset of the first record.
pub const EARLIEST: i64 = -2;
/// The first record that has the latest timestamp.
pub const MAX_TIMESTAMP: i64 = -3;
/// The first record that is on the broker's own disk.
pub const EARLIEST_LOCAL: i64 = -4;
/// The last record that is in a tiered storage.
pub const LATEST_TIERED: i64 = -5;

message! {
    /// What is looked for.
    pub struct ListOffsetsRequest {
        /// -1: a consumer.
        pub replica_id: i32 = -1, 0..;
        /// 0: all records; 1: those of committed transactions.
        pub isolation_level: i8 = 0, 2..;
        /// Where.
        pub topics: Vec<ListOffsetsTopic>;
        /// How long to wait for a tiered storage.
        pub timeout_ms: i32 = 0, 10..;
    }

    /// A topic.
    pub struct ListOffsetsTopic {
        /// Its name.
        pub name: String;
        /// Its partitions.
        pub partitions: Vec<ListOffsetsPartition>;
    }

    /// A partition.
    pub struct ListOffsetsPartition {
        /// Which one.
        pub partition_index: i32;
        /// The leader's epoch, as far as the client knows; -1 if it does not.
        pub current_leader_epoch: i32 = -1, 4..;
        /// The time, in milliseconds, or one of this module's constants.
        pub timestamp: i64;
    }

    /// What was found.
    pub struct ListOffsetsResponse {
        /// Milliseconds for which the client is to be silent.
        pub throttle_time_ms: i32 = 0, 2..;
        /// Where.
        pub topics: Vec<ListOffsetsTopicResponse>;
    }

    /// A topic.
    pub struct ListOffsetsTopicResponse {
        /// Its name.
        pub name: String;
        /// Its partitions.
        pub partitions: Vec<ListOffsetsPartitionResponse>;
    }

    /// A partition.
    pub struct ListOffsetsPartitionResponse {
        /// Which one.
        pub partition_index: i32;
        /// Why nothing was found.
        pub error_code: ErrorCode;
        /// The record's timestamp; -1 without one.
        pub timestamp: i64 = -1, 0..;
        /// Its offset; -1 if there is none.
        pub offset: i64 = -1, 0..;
        /// The leader epoch of that offset; -1 if there is none.
        pub leader_epoch: i32 = -1, 4..;
    }
}
