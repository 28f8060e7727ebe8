//! DescribeGroups (key 15): groups with their members. Versions 0 to 5; 3 tells what the client may
//! do, 4 static members, 5 is flexible.

use bytes::Bytes;

use super::message::{message, throttled};
use super::metadata::NO_OPERATIONS;
use super::{ApiKey, ErrorCode, Request};

impl Request for DescribeGroupsRequest {
    const KEY: ApiKey = ApiKey::DescribeGroups;
    type Response = DescribeGroupsResponse;
    throttled!(2..);
}

message! {
    /// Which groups.
    pub struct DescribeGroupsRequest {
        /// Their ids.
        pub groups: Vec<String>;
        /// Whether to tell what the client may do with them.
        pub include_authorized_operations: bool = false, 3..;
    }

    /// The groups.
    pub struct DescribeGroupsResponse {
        /// Milliseconds for which the client is to be silent.
        pub throttle_time_ms: i32 = 0, 1..;
        /// The groups.
        pub groups: Vec<DescribedGroup>;
    }

    /// A group.
    pub struct DescribedGroup {
        /// Why nothing is told.
        pub error_code: ErrorCode;
        /// Its id.
        pub group_id: String;
        /// `Empty`, `PreparingRebalance`, `CompletingRebalance`, `Stable`, or `Dead`: not known.
        pub group_state: String;
        /// What kind of group: `consumer`.
        pub protocol_type: String;
        /// The protocol that was chosen.
        pub protocol_data: String;
        /// Its members.
        pub members: Vec<DescribedGroupMember>;
        /// What the client may do with it.
        pub authorized_operations: i32 = NO_OPERATIONS, 3..;
    }

    /// A member.
    pub struct DescribedGroupMember {
        /// Its id.
        pub member_id: String;
        /// The member's `group.instance.id`, if it is static.
        pub group_instance_id: Option<String> = None, 4..;
        /// `client.id`.
        pub client_id: String;
        /// From where it comes.
        pub client_host: String;
        /// What it says in the protocol.
        pub member_metadata: Bytes;
        /// What it has got.
        pub member_assignment: Bytes;
    }
}
