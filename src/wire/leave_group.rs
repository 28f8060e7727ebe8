//! LeaveGroup (key 13): members go. Versions 0 to 5; from 3 on many at once, static ones too
//! (KIP-345); 4 is flexible, 5 tells a reason (KIP-800).

use super::message::{message, throttled};
use super::{ApiKey, ErrorCode, Request};

impl Request for LeaveGroupRequest {
    const KEY: ApiKey = ApiKey::LeaveGroup;
    type Response = LeaveGroupResponse;
    throttled!(2..);
}

message! {
    /// Who goes.
    pub struct LeaveGroupRequest {
        /// The group.
        pub group_id: String;
        /// The member.
        pub member_id: String = String::new(), ..=2;
        /// The members.
        pub members: Vec<MemberIdentity> = Vec::new(), 3..;
    }

    /// A member.
    pub struct MemberIdentity {
        /// Its id; empty for a static member that is named by its other one.
        pub member_id: String;
        /// The member's `group.instance.id`, if it is static.
        pub group_instance_id: Option<String>;
        /// Why it goes.
        pub reason: Option<String> = None, 5..;
    }

    /// What became of each.
    pub struct LeaveGroupResponse {
        /// Milliseconds for which the client is to be silent.
        pub throttle_time_ms: i32 = 0, 1..;
        /// Why nothing was done.
        pub error_code: ErrorCode;
        /// The members.
        pub members: Vec<MemberResponse> = Vec::new(), 3..;
    }

    /// A member.
    pub struct MemberResponse {
        /// Its id.
        pub member_id: String;
        /// The member's `group.instance.id`, if it is static.
        pub group_instance_id: Option<String>;
        /// Why it is still there.
        pub error_code: ErrorCode;
    }
}
