//! CreateAcls (key 30): who may do what, from now on. Versions 1 to 3, flexible from 2 on.

use super::message::message;
use super::{ApiKey, ErrorCode, Request};

impl Request for CreateAclsRequest {
    const KEY: ApiKey = ApiKey::CreateAcls;
    type Response = CreateAclsResponse;
}

message! {
    /// The entries.
    pub struct CreateAclsRequest {
        /// Each on its own.
        pub creations: Vec<AclCreation>;
    }

    /// An entry.
    pub struct AclCreation {
        /// The resource's kind.
        pub resource_type: i8;
        /// Its name.
        pub resource_name: String;
        /// How the name is meant.
        pub resource_pattern_type: i8;
        /// Who may, or may not.
        pub principal: String;
        /// From where.
        pub host: String;
        /// What.
        pub operation: i8;
        /// Whether it is allowed, or denied.
        pub permission_type: i8;
    }

    /// What became of each.
    pub struct CreateAclsResponse {
        /// Milliseconds for which the client is to be silent.
        pub throttle_time_ms: i32;
        /// In the request's order.
        pub results: Vec<AclCreationResult>;
    }

    /// What became of one.
    pub struct AclCreationResult {
        /// Why it is not there.
        pub error_code: ErrorCode;
        /// The same in words.
        pub error_message: Option<String>;
    }
}
