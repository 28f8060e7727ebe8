//! CreateTopics (key 19). Versions 2 to 7.
//!
//! 4 knows the server's defaults for partitions and replication (-1); 5 is flexible and tells what
//! was made; 7 tells its id.

use super::message::{message, throttled};
use super::{ApiKey, ErrorCode, Request};
use crate::topic::TopicId;

impl Request for CreateTopicsRequest {
    const KEY: ApiKey = ApiKey::CreateTopics;
    type Response = CreateTopicsResponse;
    throttled!(3..);
}

message! {
    /// Topics to create, each on its own.
    pub struct CreateTopicsRequest {
        /// The topics.
        pub topics: Vec<CreatableTopic>;
        /// How long to wait for them.
        pub timeout_ms: i32 = 60_000, 0..;
        /// Whether it is only asked what would happen.
        pub validate_only: bool;
    }

    /// A topic to create.
    pub struct CreatableTopic {
        /// Its name.
        pub name: String;
        /// How many partitions; -1: the default, or as `assignments` say.
        pub num_partitions: i32;
        /// How many replicas of each; -1 as above.
        pub replication_factor: i16;
        /// Which brokers have which partition, if the caller decides that.
        pub assignments: Vec<CreatableReplicaAssignment>;
        /// Settings that are not the default.
        pub configs: Vec<CreatableTopicConfig>;
    }

    /// Who has a partition.
    pub struct CreatableReplicaAssignment {
        /// Which partition.
        pub partition_index: i32;
        /// Which brokers.
        pub broker_ids: Vec<i32>;
    }

    /// A setting.
    pub struct CreatableTopicConfig {
        /// Its name.
        pub name: String;
        /// Its value.
        pub value: Option<String>;
    }

    /// What became of each topic.
    pub struct CreateTopicsResponse {
        /// Milliseconds for which the client is to be silent.
        pub throttle_time_ms: i32;
        /// The topics.
        pub topics: Vec<CreatableTopicResult>;
    }

    /// What became of a topic.
    pub struct CreatableTopicResult {
        /// Its name.
        pub name: String;
        /// Its id.
        pub topic_id: TopicId = TopicId([0; 16]), 7..;
        /// Why it was not created.
        pub error_code: ErrorCode;
        /// The same in words.
        pub error_message: Option<String>;
        /// How many partitions it has.
        pub num_partitions: i32 = -1, 5..;
        /// How many replicas of each.
        pub replication_factor: i16 = -1, 5..;
        /// Its settings.
        pub configs: Option<Vec<CreatableTopicConfigs>> = Some(Vec::new()), 5..;
        tagged {
            /// Why the settings are not told.
            0: pub topic_config_error_code: ErrorCode = ErrorCode::NONE, 5..;
        }
    }

    /// A setting of a topic.
    pub struct CreatableTopicConfigs {
        /// Its name.
        pub name: String;
        /// Its value.
        pub value: Option<String>;
        /// Whether it can't be changed.
        pub read_only: bool;
        /// Who decided it: Kafka's `DescribeConfigsResponse.ConfigSource`.
        pub config_source: i8 = -1, 0..;
        /// Whether the value is a secret.
        pub is_sensitive: bool;
    }
}
