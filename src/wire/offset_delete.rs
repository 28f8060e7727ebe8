//! OffsetDelete (key 47): offsets of a group go. Version 0 (KIP-496), which is not flexible.

use super::message::{message, throttled};
use super::{ApiKey, ErrorCode, Request};

impl Request for OffsetDeleteRequest {
    const KEY: ApiKey = ApiKey::OffsetDelete;
    type Response = OffsetDeleteResponse;
    throttled!(0..);
}

message! {
    /// Which offsets.
    pub struct OffsetDeleteRequest {
        /// The group.
        pub group_id: String;
        /// The topics.
        pub topics: Vec<OffsetDeleteRequestTopic>;
    }

    /// A topic.
    pub struct OffsetDeleteRequestTopic {
        /// Its name.
        pub name: String;
        /// Its partitions.
        pub partitions: Vec<OffsetDeleteRequestPartition>;
    }

    /// A partition.
    pub struct OffsetDeleteRequestPartition {
        /// Its number.
        pub partition_index: i32;
    }

    /// What became of each.
    pub struct OffsetDeleteResponse {
        /// Why nothing was done.
        pub error_code: ErrorCode;
        /// Milliseconds for which the client is to be silent.
        pub throttle_time_ms: i32;
        /// The topics.
        pub topics: Vec<OffsetDeleteResponseTopic>;
    }

    /// A topic.
    pub struct OffsetDeleteResponseTopic {
        /// Its name.
        pub name: String;
        /// Its partitions.
        pub partitions: Vec<OffsetDeleteResponsePartition>;
    }

    /// A partition.
    pub struct OffsetDeleteResponsePartition {
        /// Its number.
        pub partition_index: i32;
        /// Why it is still there.
        pub error_code: ErrorCode;
    }
}
