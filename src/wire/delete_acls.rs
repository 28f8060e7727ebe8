//! DeleteAcls (key 31): entries that are to go. Versions 1 to 3, flexible from 2 on.

use super::message::message;
use super::{ApiKey, ErrorCode, Request};

impl Request for DeleteAclsRequest {
    const KEY: ApiKey = ApiKey::DeleteAcls;
    type Response = DeleteAclsResponse;
}

message! {
    /// Which entries.
    pub struct DeleteAclsRequest {
        /// Each on its own.
        pub filters: Vec<DeleteAclsFilter>;
    }

    /// Some entries.
    pub struct DeleteAclsFilter {
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

    /// What became of each.
    pub struct DeleteAclsResponse {
        /// Milliseconds for which the client is to be silent.
        pub throttle_time_ms: i32;
        /// In the request's order.
        pub filter_results: Vec<DeleteAclsFilterResult>;
    }

    /// What became of one.
    pub struct DeleteAclsFilterResult {
        /// Why nothing was done.
        pub error_code: ErrorCode;
        /// The same in words.
        pub error_message: Option<String>;
        /// What it meant.
        pub matching_acls: Vec<DeleteAclsMatchingAcl>;
    }

    /// An entry.
    pub struct DeleteAclsMatchingAcl {
        /// Why it is still there.
        pub error_code: ErrorCode;
        /// The same in words.
        pub error_message: Option<String>;
        /// The resource's kind.
        pub resource_type: i8;
        /// Its name.
        pub resource_name: String;
        /// How the name is meant.
        pub pattern_type: i8;
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
