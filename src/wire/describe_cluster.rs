//! DescribeCluster (key 60): the brokers (KIP-700). Versions 0 and 1, both flexible; 1 knows
//! controllers (KIP-919).

use super::message::message;
use super::metadata::NO_OPERATIONS;
use super::{ApiKey, ErrorCode, Request};

impl Request for DescribeClusterRequest {
    const KEY: ApiKey = ApiKey::DescribeCluster;
    type Response = DescribeClusterResponse;
}

message! {
    /// What is asked for.
    pub struct DescribeClusterRequest {
        /// Whether to tell what the client may do.
        pub include_cluster_authorized_operations: bool;
        /// 1: brokers, 2: controllers.
        pub endpoint_type: i8 = 1, 1..;
    }

    /// The brokers.
    pub struct DescribeClusterResponse {
        /// Milliseconds for which the client is to be silent.
        pub throttle_time_ms: i32;
        /// Why nothing is told.
        pub error_code: ErrorCode;
        /// The same in words.
        pub error_message: Option<String>;
        /// 1: brokers, 2: controllers.
        pub endpoint_type: i8 = 1, 1..;
        /// The cluster's id.
        pub cluster_id: String;
        /// The broker that administers.
        pub controller_id: i32 = -1, 0..;
        /// The brokers.
        pub brokers: Vec<DescribeClusterBroker>;
        /// What the client may do.
        pub cluster_authorized_operations: i32 = NO_OPERATIONS, 0..;
    }

    /// A broker.
    pub struct DescribeClusterBroker {
        /// Its id.
        pub broker_id: i32;
        /// Where clients reach it.
        pub host: String;
        /// On which port.
        pub port: i32;
        /// Where it stands.
        pub rack: Option<String>;
    }
}
