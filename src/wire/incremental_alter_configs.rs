//! IncrementalAlterConfigs (key 44): single settings of a topic (KIP-339). Versions 0 and 1, which
//! is flexible.

use super::message::{message, throttled};
use super::{ApiKey, ErrorCode, Request};

impl Request for IncrementalAlterConfigsRequest {
    const KEY: ApiKey = ApiKey::IncrementalAlterConfigs;
    type Response = IncrementalAlterConfigsResponse;
    throttled!(0..);
}

message! {
    /// What is to be changed.
    pub struct IncrementalAlterConfigsRequest {
        /// Of what.
        pub resources: Vec<AlterConfigsResource>;
        /// Whether it is only asked what would happen.
        pub validate_only: bool;
    }

    /// What has settings.
    pub struct AlterConfigsResource {
        /// 2: a topic, 4: a broker.
        pub resource_type: i8;
        /// Its name.
        pub resource_name: String;
        /// Its settings.
        pub configs: Vec<AlterableConfig>;
    }

    /// A setting.
    pub struct AlterableConfig {
        /// Its name.
        pub name: String;
        /// 0: set, 1: back to the default, 2: append to a list, 3: take out of it.
        pub config_operation: i8;
        /// The value.
        pub value: Option<String>;
    }

    /// What became of each.
    pub struct IncrementalAlterConfigsResponse {
        /// Milliseconds for which the client is to be silent.
        pub throttle_time_ms: i32;
        /// Of what.
        pub responses: Vec<AlterConfigsResourceResponse>;
    }

    /// What has settings.
    pub struct AlterConfigsResourceResponse {
        /// Why nothing was changed.
        pub error_code: ErrorCode;
        /// The same in words.
        pub error_message: Option<String>;
        /// 2: a topic, 4: a broker.
        pub resource_type: i8;
        /// Its name.
        pub resource_name: String;
    }
}
