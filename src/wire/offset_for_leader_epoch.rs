//! OffsetForLeaderEpoch (key 23): where an epoch ended, by which a reader learns that records were
//! lost (KIP-320). Versions 2 to 4.
//!
//! 3 says who asks; 4 is flexible.

use super::message::message;
use super::{ApiKey, ErrorCode, Request};

impl Request for OffsetForLeaderEpochRequest {
    const KEY: ApiKey = ApiKey::OffsetForLeaderEpoch;
    type Response = OffsetForLeaderEpochResponse;
}

message! {
    /// What is asked for.
    pub struct OffsetForLeaderEpochRequest {
        /// -1: a consumer. (-2: a debugger.)
        pub replica_id: i32 = -2, 3..;
        /// Where.
        pub topics: Vec<OffsetForLeaderTopic>;
    }

    /// A topic.
    pub struct OffsetForLeaderTopic {
        /// Its name.
        pub topic: String;
        /// Its partitions.
        pub partitions: Vec<OffsetForLeaderPartition>;
    }

    /// A partition.
    pub struct OffsetForLeaderPartition {
        /// Which one.
        pub partition: i32;
        /// The leader's epoch, as far as the client knows; -1 if it does not.
        pub current_leader_epoch: i32 = -1, 0..;
        /// The epoch whose end is asked for.
        pub leader_epoch: i32;
    }

    /// What is known.
    pub struct OffsetForLeaderEpochResponse {
        /// Milliseconds for which the client is to be silent.
        pub throttle_time_ms: i32;
        /// Where.
        pub topics: Vec<OffsetForLeaderTopicResult>;
    }

    /// A topic.
    pub struct OffsetForLeaderTopicResult {
        /// Its name.
        pub topic: String;
        /// Its partitions.
        pub partitions: Vec<EpochEndOffset>;
    }

    /// A partition.
    pub struct EpochEndOffset {
        /// Why nothing is told.
        pub error_code: ErrorCode;
        /// Which one.
        pub partition: i32;
        /// The epoch that this is the end of: the latest one that there was up to that asked for.
        pub leader_epoch: i32 = -1, 0..;
        /// Its end; -1 if it is not known.
        pub end_offset: i64 = -1, 0..;
    }
}
