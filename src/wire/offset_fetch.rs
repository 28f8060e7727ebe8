//! OffsetFetch (key 9): how far groups have come. Versions 1 to 9.
//!
//! From 2 on null asks for all topics; 5 adds leader epochs; 6 is flexible; 7 asks whether to wait
//! for transactions; from 8 on it is about many groups.

use super::message::{message, throttled};
use super::{ApiKey, ErrorCode, Request};

impl Request for OffsetFetchRequest {
    const KEY: ApiKey = ApiKey::OffsetFetch;
    type Response = OffsetFetchResponse;
    throttled!(4..);
}

message! {
    /// Which offsets.
    pub struct OffsetFetchRequest {
        /// The group.
        pub group_id: String = String::new(), ..=7;
        /// Its topics; null: all.
        pub topics: Option<Vec<OffsetFetchRequestTopic>> = Some(Vec::new()), ..=7;
        /// The groups.
        pub groups: Vec<OffsetFetchRequestGroup> = Vec::new(), 8..;
        /// Whether offsets that a transaction may still change are an error.
        pub require_stable: bool = false, 7..;
    }

    /// A topic.
    pub struct OffsetFetchRequestTopic {
        /// Its name.
        pub name: String;
        /// Its partitions.
        pub partition_indexes: Vec<i32>;
    }

    /// A group.
    pub struct OffsetFetchRequestGroup {
        /// Its id.
        pub group_id: String;
        /// Who asks, in the new protocol.
        pub member_id: Option<String> = None, 9..;
        /// Its epoch, -1 outside of the new protocol.
        pub member_epoch: i32 = -1, 9..;
        /// Its topics; null: all.
        pub topics: Option<Vec<OffsetFetchRequestTopics>>;
    }

    /// A topic of a group.
    pub struct OffsetFetchRequestTopics {
        /// Its name.
        pub name: String;
        /// Its partitions.
        pub partition_indexes: Vec<i32>;
    }

    /// How far they are.
    pub struct OffsetFetchResponse {
        /// Milliseconds for which the client is to be silent.
        pub throttle_time_ms: i32 = 0, 3..;
        /// The topics.
        pub topics: Vec<OffsetFetchResponseTopic> = Vec::new(), ..=7;
        /// Why nothing is told.
        pub error_code: ErrorCode = ErrorCode::NONE, 2..=7;
        /// The groups.
        pub groups: Vec<OffsetFetchResponseGroup> = Vec::new(), 8..;
    }

    /// A topic.
    pub struct OffsetFetchResponseTopic {
        /// Its name.
        pub name: String;
        /// Its partitions.
        pub partitions: Vec<OffsetFetchResponsePartition>;
    }

    /// A partition.
    pub struct OffsetFetchResponsePartition {
        /// Its number.
        pub partition_index: i32;
        /// The offset of the next record to read, -1 if there is none.
        pub committed_offset: i64;
        /// The leader epoch of the record before, or -1.
        pub committed_leader_epoch: i32 = -1, 5..;
        /// What the client has left with it.
        pub metadata: Option<String>;
        /// Why it is not told.
        pub error_code: ErrorCode;
    }

    /// A group.
    pub struct OffsetFetchResponseGroup {
        /// Its id.
        pub group_id: String;
        /// Its topics.
        pub topics: Vec<OffsetFetchResponseTopics>;
        /// Why nothing is told.
        pub error_code: ErrorCode;
    }

    /// A topic of a group.
    pub struct OffsetFetchResponseTopics {
        /// Its name.
        pub name: String;
        /// Its partitions.
        pub partitions: Vec<OffsetFetchResponsePartitions>;
    }

    /// A partition of a group's topic.
    pub struct OffsetFetchResponsePartitions {
        /// Its number.
        pub partition_index: i32;
        /// The offset of the next record to read, -1 if there is none.
        pub committed_offset: i64;
        /// The leader epoch of the record before, or -1.
        pub committed_leader_epoch: i32;
        /// What the client has left with it.
        pub metadata: Option<String>;
        /// Why it is not told.
        pub error_code: ErrorCode;
    }
}
