//! DescribeLogDirs (key 35): what partitions take of the disk. Versions 1 to 4; 2 is flexible, 4
//! tells how large the disk is (KIP-827).

use super::message::{message, throttled};
use super::{ApiKey, ErrorCode, Request};

impl Request for DescribeLogDirsRequest {
    const KEY: ApiKey = ApiKey::DescribeLogDirs;
    type Response = DescribeLogDirsResponse;
    throttled!(1..);
}

message! {
    /// Of which partitions.
    pub struct DescribeLogDirsRequest {
        /// The topics; null: all.
        pub topics: Option<Vec<DescribableLogDirTopic>>;
    }

    /// A topic.
    pub struct DescribableLogDirTopic {
        /// Its name.
        pub topic: String;
        /// Its partitions.
        pub partitions: Vec<i32>;
    }

    /// The directories.
    pub struct DescribeLogDirsResponse {
        /// Milliseconds for which the client is to be silent.
        pub throttle_time_ms: i32;
        /// Why nothing is told.
        pub error_code: ErrorCode = ErrorCode::NONE, 3..;
        /// The directories.
        pub results: Vec<DescribeLogDirsResult>;
    }

    /// A directory.
    pub struct DescribeLogDirsResult {
        /// Why it can't be used.
        pub error_code: ErrorCode;
        /// Its path.
        pub log_dir: String;
        /// Its topics.
        pub topics: Vec<DescribeLogDirsTopic>;
        /// Bytes of its disk, or -1.
        pub total_bytes: i64 = -1, 4..;
        /// Bytes that are free there, or -1.
        pub usable_bytes: i64 = -1, 4..;
    }

    /// A topic.
    pub struct DescribeLogDirsTopic {
        /// Its name.
        pub name: String;
        /// Its partitions.
        pub partitions: Vec<DescribeLogDirsPartition>;
    }

    /// A partition.
    pub struct DescribeLogDirsPartition {
        /// Its number.
        pub partition_index: i32;
        /// Bytes of its `.log` files.
        pub partition_size: i64;
        /// How far it is behind.
        pub offset_lag: i64;
        /// Whether it is about to move here.
        pub is_future_key: bool;
    }
}
