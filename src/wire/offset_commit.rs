//! OffsetCommit (key 8): how far a group has come. Versions 2 to 9.
//!
//! Up to 4 with a time to keep it for, which no broker heeds any more; 6 adds leader epochs, 7
//! static members; 8 is flexible; 9 is for groups of the new protocol (KIP-848) as well.

use super::message::{message, throttled};
use super::{ApiKey, ErrorCode, Request};

impl Request for OffsetCommitRequest {
    const KEY: ApiKey = ApiKey::OffsetCommit;
    type Response = OffsetCommitResponse;
    throttled!(4..);
}

message! {
    /// How far a member has come.
    pub struct OffsetCommitRequest {
        /// The group.
        pub group_id: String;
        /// The generation, -1 for who is no member.
        pub generation_id_or_member_epoch: i32;
        /// The member.
        pub member_id: String;
        /// The member's `group.instance.id`, if it is static.
        pub group_instance_id: Option<String> = None, 7..;
        /// Milliseconds for which to keep it, -1 for the default.
        pub retention_time_ms: i64 = -1, ..=4;
        /// The topics.
        pub topics: Vec<OffsetCommitRequestTopic>;
    }

    /// A topic.
    pub struct OffsetCommitRequestTopic {
        /// Its name.
        pub name: String;
        /// Its partitions.
        pub partitions: Vec<OffsetCommitRequestPartition>;
    }

    /// A partition.
    pub struct OffsetCommitRequestPartition {
        /// Its number.
        pub partition_index: i32;
        /// The offset of the next record to read.
        pub committed_offset: i64;
        /// The leader epoch of the record before, or -1.
        pub committed_leader_epoch: i32 = -1, 6..;
        /// What the client wants to find with it.
        pub committed_metadata: Option<String>;
    }

    /// What became of each.
    pub struct OffsetCommitResponse {
        /// Milliseconds for which the client is to be silent.
        pub throttle_time_ms: i32 = 0, 3..;
        /// The topics.
        pub topics: Vec<OffsetCommitResponseTopic>;
    }

    /// A topic.
    pub struct OffsetCommitResponseTopic {
        /// Its name.
        pub name: String;
        /// Its partitions.
        pub partitions: Vec<OffsetCommitResponsePartition>;
    }

    /// A partition.
    pub struct OffsetCommitResponsePartition {
        /// Its number.
        pub partition_index: i32;
        /// Why it was not committed.
        pub error_code: ErrorCode;
    }
}
