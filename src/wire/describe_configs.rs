//! DescribeConfigs (key 32): settings of topics and brokers. Versions 1 to 4; 3 tells types and
//! documentation, 4 is flexible.

use super::message::{message, throttled};
use super::{ApiKey, ErrorCode, Request};

impl Request for DescribeConfigsRequest {
    const KEY: ApiKey = ApiKey::DescribeConfigs;
    type Response = DescribeConfigsResponse;
    throttled!(2..);
}

message! {
    /// Which settings.
    pub struct DescribeConfigsRequest {
        /// Of what.
        pub resources: Vec<DescribeConfigsResource>;
        /// Whether to tell what else might have decided them.
        pub include_synonyms: bool;
        /// Whether to tell what they are for.
        pub include_documentation: bool = false, 3..;
    }

    /// What has settings.
    pub struct DescribeConfigsResource {
        /// 2: a topic, 4: a broker.
        pub resource_type: i8;
        /// Its name.
        pub resource_name: String;
        /// Which of them; null: all.
        pub configuration_keys: Option<Vec<String>>;
    }

    /// The settings.
    pub struct DescribeConfigsResponse {
        /// Milliseconds for which the client is to be silent.
        pub throttle_time_ms: i32;
        /// Of what.
        pub results: Vec<DescribeConfigsResult>;
    }

    /// What has settings.
    pub struct DescribeConfigsResult {
        /// Why nothing is told.
        pub error_code: ErrorCode;
        /// The same in words.
        pub error_message: Option<String>;
        /// 2: a topic, 4: a broker.
        pub resource_type: i8;
        /// Its name.
        pub resource_name: String;
        /// Its settings.
        pub configs: Vec<DescribeConfigsResourceResult>;
    }

    /// A setting.
    pub struct DescribeConfigsResourceResult {
        /// Its name.
        pub name: String;
        /// Its value.
        pub value: Option<String>;
        /// Whether it can't be changed.
        pub read_only: bool;
        /// Who decided it: Kafka's `DescribeConfigsResponse.ConfigSource`.
        pub config_source: i8 = -1, 1..;
        /// Whether the value is a secret.
        pub is_sensitive: bool;
        /// What else might have decided it, the strongest first.
        pub synonyms: Vec<DescribeConfigsSynonym>;
        /// Kafka's `DescribeConfigsResponse.ConfigType`.
        pub config_type: i8 = 0, 3..;
        /// What it is for.
        pub documentation: Option<String> = Some(String::new()), 3..;
    }

    /// What might have decided a setting.
    pub struct DescribeConfigsSynonym {
        /// Its name.
        pub name: String;
        /// Its value.
        pub value: Option<String>;
        /// Who decided it.
        pub source: i8;
    }
}
