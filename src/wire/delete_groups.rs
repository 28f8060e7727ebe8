//! DeleteGroups (key 42): groups go, with what they have committed. Versions 0 to 2; 2 is flexible.

use super::message::{message, throttled};
use super::{ApiKey, ErrorCode, Request};

impl Request for DeleteGroupsRequest {
    const KEY: ApiKey = ApiKey::DeleteGroups;
    type Response = DeleteGroupsResponse;
    throttled!(1..);
}

message! {
    /// Which groups.
    pub struct DeleteGroupsRequest {
        /// Their ids.
        pub groups_names: Vec<String>;
    }

    /// What became of each.
    pub struct DeleteGroupsResponse {
        /// Milliseconds for which the client is to be silent.
        pub throttle_time_ms: i32;
        /// The groups.
        pub results: Vec<DeletableGroupResult>;
    }

    /// A group.
    pub struct DeletableGroupResult {
        /// Its id.
        pub group_id: String;
        /// Why it is still there.
        pub error_code: ErrorCode;
    }
}
