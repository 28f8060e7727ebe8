//! DescribeAcls (key 29): who may do what. Versions 1 to 3, flexible from 2 on.

use super::message::message;
use super::{ApiKey, ErrorCode, Request};

impl Request for DescribeAclsRequest {
    const KEY: ApiKey = ApiKey::DescribeAcls;
    type Response = DescribeAclsResponse;
}

message! {
    /// Which entries.
    pub struct DescribeAclsRequest {
        /// Of what kind of resource.
        pub resource_type_filter: i8;
        /// Of which; null for all.
        pub resource_name_filter: Option<String>;
        /// How the name is meant.
        pub pattern_type_filter: i8;
        /// For whom; null for all.
        pub principal_filter: Option<String>;
        /// From where; null for everywhere.
        pub host_filter: Option<String>;
        /// About what.
        pub operation: i8;
        /// Whether it is allowed, or denied.
        pub permission_type: i8;
    }

    /// The entries.
    pub struct DescribeAclsResponse {
        /// Milliseconds for which the client is to be silent.
        pub throttle_time_ms: i32;
        /// Why none are told.
        pub error_code: ErrorCode;
        /// The same in words.
        pub error_message: Option<String>;
        /// By resource.
        pub resources: Vec<DescribeAclsResource>;
    }

    /// A resource.
    pub struct DescribeAclsResource {
        /// Its kind.
        pub resource_type: i8;
        /// Its name.
        pub resource_name: String;
        /// How the name is meant.
        pub pattern_type: i8;
        /// Its entries.
        pub acls: Vec<AclDescription>;
    }

    /// An entry.
    pub struct AclDescription {
        /// Who may, or may not.
        pub principal: String;
        /// From where.
        pub host: String;
        /// What.
        pub operation: i8;
        /// Whether it is allowed, or denied.
        pub permission_type: i8;
    }
}
