//! ListPartitionReassignments (key 46): replicas that are moving (KIP-455). Version 0, flexible.

use super::message::message;
use super::{ApiKey, ErrorCode, Request};

impl Request for ListPartitionReassignmentsRequest {
    const KEY: ApiKey = ApiKey::ListPartitionReassignments;
    type Response = ListPartitionReassignmentsResponse;
}

message! {
    /// Of what.
    pub struct ListPartitionReassignmentsRequest {
        /// How long the answer may take.
        pub timeout_ms: i32 = 60_000, 0..;
        /// Which partitions; null for all.
        pub topics: Option<Vec<ListPartitionReassignmentsTopics>> = Some(Vec::new()), 0..;
    }

    /// A topic.
    pub struct ListPartitionReassignmentsTopics {
        /// Its name.
        pub name: String;
        /// Its partitions.
        pub partition_indexes: Vec<i32>;
    }

    /// What is moving.
    pub struct ListPartitionReassignmentsResponse {
        /// Milliseconds for which the client is to be silent.
        pub throttle_time_ms: i32;
        /// Why nothing is told.
        pub error_code: ErrorCode;
        /// The same in words.
        pub error_message: Option<String>;
        /// By topic.
        pub topics: Vec<OngoingTopicReassignment>;
    }

    /// A topic.
    pub struct OngoingTopicReassignment {
        /// Its name.
        pub name: String;
        /// Its partitions.
        pub partitions: Vec<OngoingPartitionReassignment>;
    }

    /// A partition.
    pub struct OngoingPartitionReassignment {
        /// Its number.
        pub partition_index: i32;
        /// Where it is.
        pub replicas: Vec<i32>;
        /// Where it comes to.
        pub adding_replicas: Vec<i32>;
        /// Where it goes from.
        pub removing_replicas: Vec<i32>;
    }
}
