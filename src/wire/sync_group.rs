//! SyncGroup (key 14): the leader says who gets what, and each member is told. Versions 0 to 5; 3
//! adds static members, 4 is flexible, 5 names the protocol (KIP-559).

use bytes::Bytes;

use super::message::{message, throttled};
use super::{ApiKey, ErrorCode, Request};

impl Request for SyncGroupRequest {
    const KEY: ApiKey = ApiKey::SyncGroup;
    type Response = SyncGroupResponse;
    throttled!(2..);
}

message! {
    /// What the leader has decided; nothing from others.
    pub struct SyncGroupRequest {
        /// The group.
        pub group_id: String;
        /// The generation.
        pub generation_id: i32;
        /// The member.
        pub member_id: String;
        /// The member's `group.instance.id`, if it is static.
        pub group_instance_id: Option<String> = None, 3..;
        /// What kind of group.
        pub protocol_type: Option<String> = None, 5..;
        /// The protocol.
        pub protocol_name: Option<String> = None, 5..;
        /// What each member gets.
        pub assignments: Vec<SyncGroupRequestAssignment>;
    }

    /// What a member gets.
    pub struct SyncGroupRequestAssignment {
        /// The member.
        pub member_id: String;
        /// What, in the protocol's format.
        pub assignment: Bytes;
    }

    /// What the member gets.
    pub struct SyncGroupResponse {
        /// Milliseconds for which the client is to be silent.
        pub throttle_time_ms: i32 = 0, 1..;
        /// Why nothing.
        pub error_code: ErrorCode;
        /// What kind of group.
        pub protocol_type: Option<String> = None, 5..;
        /// The protocol.
        pub protocol_name: Option<String> = None, 5..;
        /// What, in the protocol's format.
        pub assignment: Bytes;
    }
}
