//! ListGroups (key 16): which groups there are. Versions 0 to 5; 3 is flexible; from 4 on by their
//! states (KIP-518), from 5 on by their types (KIP-848).

use super::message::{message, throttled};
use super::{ApiKey, ErrorCode, Request};

impl Request for ListGroupsRequest {
    const KEY: ApiKey = ApiKey::ListGroups;
    type Response = ListGroupsResponse;
    throttled!(2..);
}

message! {
    /// Which groups.
    pub struct ListGroupsRequest {
        /// Only in these states; none: in any.
        pub states_filter: Vec<String> = Vec::new(), 4..;
        /// Only of these types; none: of any.
        pub types_filter: Vec<String> = Vec::new(), 5..;
    }

    /// The groups.
    pub struct ListGroupsResponse {
        /// Milliseconds for which the client is to be silent.
        pub throttle_time_ms: i32 = 0, 1..;
        /// Why none is told.
        pub error_code: ErrorCode;
        /// The groups.
        pub groups: Vec<ListedGroup>;
    }

    /// A group.
    pub struct ListedGroup {
        /// Its id.
        pub group_id: String;
        /// What kind of group: `consumer`, or nothing for one that only commits.
        pub protocol_type: String;
        /// Its state.
        pub group_state: String = String::new(), 4..;
        /// `classic`.
        pub group_type: String = String::new(), 5..;
    }
}
