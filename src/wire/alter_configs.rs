//! AlterConfigs (key 33): settings of a topic, all at once. Versions 0 to 2; 2 is flexible.

use super::message::{message, throttled};
use super::{ApiKey, ErrorCode, Request};

impl Request for AlterConfigsRequest {
    const KEY: ApiKey = ApiKey::AlterConfigs;
    type Response = AlterConfigsResponse;
    throttled!(1..);
}

message! {
    /// What is to be set; everything else goes back to its default.
    pub struct AlterConfigsRequest {
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
        /// Its value.
        pub value: Option<String>;
    }

    /// What became of each.
    pub struct AlterConfigsResponse {
        /// Milliseconds for which the client is to be silent.
        pub throttle_time_ms: i32;
        /// Of what.
        pub responses: Vec<AlterConfigsResourceResponse>;
    }

    /// What has settings.
    pub struct AlterConfigsResourceResponse {
        /// Why nothing was set.
        pub error_code: ErrorCode;
        /// The same in words.
        pub error_message: Option<String>;
        /// 2: a topic, 4: a broker.
        pub resource_type: i8;
        /// Its name.
        pub resource_name: String;
    }
}
