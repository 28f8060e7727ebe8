//! CreatePartitions (key 37): topics get more partitions. Versions 0 to 3; 2 is flexible.

use super::message::{message, throttled};
use super::{ApiKey, ErrorCode, Request};

impl Request for CreatePartitionsRequest {
    const KEY: ApiKey = ApiKey::CreatePartitions;
    type Response = CreatePartitionsResponse;
    throttled!(1..);
}

message! {
    /// Which topics.
    pub struct CreatePartitionsRequest {
        /// The topics.
        pub topics: Vec<CreatePartitionsTopic>;
        /// How long to wait for them.
        pub timeout_ms: i32;
        /// Whether it is only asked what would happen.
        pub validate_only: bool;
    }

    /// A topic.
    pub struct CreatePartitionsTopic {
        /// Its name.
        pub name: String;
        /// How many partitions it is to have.
        pub count: i32;
        /// Who is to have the new ones, if the caller decides that.
        pub assignments: Option<Vec<CreatePartitionsAssignment>>;
    }

    /// Who has a partition.
    pub struct CreatePartitionsAssignment {
        /// Which brokers.
        pub broker_ids: Vec<i32>;
    }

    /// What became of each.
    pub struct CreatePartitionsResponse {
        /// Milliseconds for which the client is to be silent.
        pub throttle_time_ms: i32;
        /// The topics.
        pub results: Vec<CreatePartitionsTopicResult>;
    }

    /// A topic.
    pub struct CreatePartitionsTopicResult {
        /// Its name.
        pub name: String;
        /// Why it has no more.
        pub error_code: ErrorCode;
        /// The same in words.
        pub error_message: Option<String>;
    }
}
