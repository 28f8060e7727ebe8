//! DeleteTopics (key 20). Versions 1 to 6.
//!
//! 4 is flexible; 5 has messages; 6 takes ids beside names.

use super::message::{message, throttled};
use super::{ApiKey, ErrorCode, Request};
use crate::topic::TopicId;

impl Request for DeleteTopicsRequest {
    const KEY: ApiKey = ApiKey::DeleteTopics;
    type Response = DeleteTopicsResponse;
    throttled!(2..);
}

message! {
    /// Topics to delete, each on its own.
    pub struct DeleteTopicsRequest {
        /// By name or by id.
        pub topics: Vec<DeleteTopicState> = Vec::new(), 6..;
        /// By name.
        pub topic_names: Vec<String> = Vec::new(), ..=5;
        /// How long to wait for that.
        pub timeout_ms: i32;
    }

    /// A topic to delete.
    pub struct DeleteTopicState {
        /// Its name, or null.
        pub name: Option<String>;
        /// Its id, or zeros.
        pub topic_id: TopicId = TopicId([0; 16]), 0..;
    }

    /// What became of each topic.
    pub struct DeleteTopicsResponse {
        /// Milliseconds for which the client is to be silent.
        pub throttle_time_ms: i32;
        /// The topics.
        pub responses: Vec<DeletableTopicResult>;
    }

    /// What became of a topic.
    pub struct DeletableTopicResult {
        /// Its name; null if it is not known.
        pub name: Option<String>;
        /// Its id.
        pub topic_id: TopicId = TopicId([0; 16]), 6..;
        /// Why it was not deleted.
        pub error_code: ErrorCode;
        /// The same in words.
        pub error_message: Option<String> = None, 5..;
    }
}
