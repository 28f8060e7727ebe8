//! JoinGroup (key 11): a member comes, or comes back for a rebalance. Versions 0 to 9.
//!
//! 1 tells how long a rebalance may take; 4 makes a new member ask twice (KIP-394); 5 adds static
//! members; 6 is flexible; 7 tells the protocol's type; 8 asks for a reason (KIP-800), 9 may spare
//! the leader its work (KIP-814).

use bytes::Bytes;

use super::message::{message, throttled};
use super::{ApiKey, ErrorCode, Request};

impl Request for JoinGroupRequest {
    const KEY: ApiKey = ApiKey::JoinGroup;
    type Response = JoinGroupResponse;
    throttled!(3..);
}

message! {
    /// Who comes.
    pub struct JoinGroupRequest {
        /// The group.
        pub group_id: String;
        /// After how many milliseconds of silence the member is gone.
        pub session_timeout_ms: i32;
        /// How long others wait for it in a rebalance.
        pub rebalance_timeout_ms: i32 = -1, 1..;
        /// The member, empty if it is new.
        pub member_id: String;
        /// The member's `group.instance.id`, if it is static.
        pub group_instance_id: Option<String> = None, 5..;
        /// What kind of group: `consumer`.
        pub protocol_type: String;
        /// The protocols that it knows, the best first.
        pub protocols: Vec<JoinGroupRequestProtocol>;
        /// Why it comes.
        pub reason: Option<String> = None, 8..;
    }

    /// A protocol: an assignor.
    pub struct JoinGroupRequestProtocol {
        /// Its name.
        pub name: String;
        /// What the member says in it.
        pub metadata: Bytes;
    }

    /// The generation that it belongs to now.
    pub struct JoinGroupResponse {
        /// Milliseconds for which the client is to be silent.
        pub throttle_time_ms: i32 = 0, 2..;
        /// Why it does not.
        pub error_code: ErrorCode;
        /// The generation.
        pub generation_id: i32 = -1, 0..;
        /// What kind of group.
        pub protocol_type: Option<String> = None, 7..;
        /// The protocol that was chosen.
        pub protocol_name: Option<String>;
        /// Who assigns.
        pub leader: String;
        /// Whether the leader need not.
        pub skip_assignment: bool = false, 9..;
        /// The member.
        pub member_id: String;
        /// All members, for the leader.
        pub members: Vec<JoinGroupResponseMember>;
    }

    /// A member.
    pub struct JoinGroupResponseMember {
        /// Its id.
        pub member_id: String;
        /// The member's `group.instance.id`, if it is static.
        pub group_instance_id: Option<String> = None, 5..;
        /// What it says in the protocol.
        pub metadata: Bytes;
    }
}
