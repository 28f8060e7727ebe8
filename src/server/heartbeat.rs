//! Heartbeat: a member is there, and asks whether its generation still is. Versions 0 to 4.

use super::answer::{Client, Handle, Outcome};
use super::groups::member;
use crate::group::Command;
use crate::wire::ErrorCode;
use crate::wire::heartbeat::{HeartbeatRequest, HeartbeatResponse};

impl Handle for HeartbeatRequest {
    fn refuse(self, _: &Client, _: i16, error_code: ErrorCode) -> Outcome<HeartbeatResponse> {
        Outcome::Response(HeartbeatResponse { error_code, throttle_time_ms: 0 })
    }

    async fn start(self, client: Client, _version: i16) -> Outcome<HeartbeatResponse> {
        let member = member(self.member_id, self.group_instance_id);
        let generation = self.generation_id;
        let heartbeat = |answer| Command::Heartbeat { member, generation, answer };
        let heard = client.ask(&self.group_id, heartbeat).await;
        let error_code = heard.err().unwrap_or(ErrorCode::NONE);
        Outcome::Response(HeartbeatResponse { error_code, throttle_time_ms: 0 })
    }
}
