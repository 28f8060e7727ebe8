//! FindCoordinator (key 10): which broker leads a group. Versions 0 to 5.
//!
//! 1 knows kinds of keys; 3 is flexible; from 4 on many keys are asked for at once (KIP-699).

use super::message::{message, throttled};
use super::{ApiKey, ErrorCode, Request};

impl Request for FindCoordinatorRequest {
    const KEY: ApiKey = ApiKey::FindCoordinator;
    type Response = FindCoordinatorResponse;
    throttled!(2..);
}

message! {
    /// What is looked for.
    pub struct FindCoordinatorRequest {
        /// A group or a transactional id.
        pub key: String = String::new(), ..=3;
        /// 0: groups, 1: transactions.
        pub key_type: i8 = 0, 1..;
        /// As `key`.
        pub coordinator_keys: Vec<String> = Vec::new(), 4..;
    }

    /// Where it is.
    pub struct FindCoordinatorResponse {
        /// Milliseconds for which the client is to be silent.
        pub throttle_time_ms: i32 = 0, 1..;
        /// Why it was not found.
        pub error_code: ErrorCode = ErrorCode::NONE, ..=3;
        /// The same in words.
        pub error_message: Option<String> = Some(String::new()), 1..=3;
        /// The broker's id.
        pub node_id: i32 = 0, ..=3;
        /// Where it listens.
        pub host: String = String::new(), ..=3;
        /// On which port.
        pub port: i32 = 0, ..=3;
        /// The same for each key.
        pub coordinators: Vec<FoundCoordinator> = Vec::new(), 4..;
    }

    /// Where a key's coordinator is.
    pub struct FoundCoordinator {
        /// The key.
        pub key: String;
        /// The broker's id.
        pub node_id: i32;
        /// Where it listens.
        pub host: String;
        /// On which port.
        pub port: i32;
        /// Why it was not found.
        pub error_code: ErrorCode;
        /// The same in words.
        pub error_message: Option<String>;
    }
}
