//! Heartbeat (key 12): a member is still there. Versions 0 to 4; 3 adds static members, 4 is
//! flexible.

use super::message::{message, throttled};
use super::{ApiKey, ErrorCode, Request};

impl Request for HeartbeatRequest {
    const KEY: ApiKey = ApiKey::Heartbeat;
    type Response = HeartbeatResponse;
    throttled!(2..);
}

message! {
    /// Who is there.
    pub struct HeartbeatRequest {
        /// The group.
        pub group_id: String;
        /// The generation that it knows of.
        pub generation_id: i32;
        /// The member.
        pub member_id: String;
        /// The member's `group.instance.id`, if it is static.
        pub group_instance_id: Option<String> = None, 3..;
    }

    /// Whether all is well.
    pub struct HeartbeatResponse {
        /// Milliseconds for which the client is to be silent.
        pub throttle_time_ms: i32 = 0, 1..;
        /// Why it is not.
        pub error_code: ErrorCode;
    }
}
