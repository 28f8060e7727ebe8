//! JoinGroup: a member comes, and waits for the generation that it will be in. Versions 0 to 9.

use std::time::Duration;

use super::answer::{Client, Handle, Outcome};
use super::groups::kept;
use crate::group::{Command, JoinGroup, Joined};
use crate::wire::ErrorCode;
use crate::wire::join_group::{JoinGroupRequest, JoinGroupResponse, JoinGroupResponseMember};

/// Before it, a rebalance waits for a member as long as its session lasts.
const FIRST_WITH_REBALANCE_TIMEOUT: i16 = 1;

/// From here on a new member is given an id to join with (KIP-394).
const FIRST_WITH_MEMBER_ID: i16 = 4;

/// From here on the protocol may be null.
const FIRST_WITHOUT_PROTOCOL: i16 = 7;

/// From here on a leader understands that it need not assign (KIP-814).
const FIRST_WITH_SKIP: i16 = 9;

impl Handle for JoinGroupRequest {
    fn refuse(self, _: &Client, version: i16, error: ErrorCode) -> Outcome<JoinGroupResponse> {
        Outcome::Response(refused(self.member_id, version, error))
    }

    async fn start(self, client: Client, version: i16) -> Outcome<JoinGroupResponse> {
        Outcome::Response(answer(self, client, version).await)
    }
}

async fn answer(request: JoinGroupRequest, client: Client, version: i16) -> JoinGroupResponse {
    let (group, member_id) = (request.group_id.clone(), request.member_id.clone());
    let wanted = wanted(request, &client, version);
    let new_member_id = wanted.new_member_id.clone();
    let join = |answer| Command::Join { request: wanted, alive: None, answer };
    match client.change(&group, join).await {
        Ok(joined) => told(joined),
        // The one refusal that says more than its code.
        Err(ErrorCode::MEMBER_ID_REQUIRED) => {
            refused(new_member_id, version, ErrorCode::MEMBER_ID_REQUIRED)
        }
        Err(error) => refused(member_id, version, error),
    }
}

fn wanted(request: JoinGroupRequest, client: &Client, version: i16) -> JoinGroup {
    let client_id = client.id.clone().unwrap_or_default();
    let name = request.group_instance_id.as_ref().unwrap_or(&client_id);
    let new_member_id = format!("{name}-{}", client.server.core().new_id());
    let session_timeout = millis(request.session_timeout_ms);
    let rebalance_timeout = match version >= FIRST_WITH_REBALANCE_TIMEOUT {
        true => millis(request.rebalance_timeout_ms),
        false => session_timeout,
    };
    let protocols = request.protocols.into_iter().map(|it| (it.name, kept(&it.metadata)));
    JoinGroup {
        member_id: request.member_id,
        new_member_id,
        instance_id: request.group_instance_id,
        client_id,
        // As Java shows an address.
        client_host: format!("/{}", client.ends.peer.ip()),
        session_timeout: Some(session_timeout),
        rebalance_timeout,
        protocol_type: request.protocol_type,
        protocols: protocols.collect(),
        accepts_member_id: version >= FIRST_WITH_MEMBER_ID,
        accepts_skip: version >= FIRST_WITH_SKIP,
    }
}

/// Less than none is none.
fn millis(millis: i32) -> Duration {
    Duration::from_millis(millis.max(0) as u64)
}

fn told(joined: Joined) -> JoinGroupResponse {
    let members = joined.members.into_iter().map(|member| JoinGroupResponseMember {
        member_id: member.member_id,
        group_instance_id: member.instance_id,
        metadata: member.metadata,
    });
    JoinGroupResponse {
        generation_id: joined.generation,
        protocol_type: Some(joined.protocol_type),
        protocol_name: Some(joined.protocol),
        leader: joined.leader,
        skip_assignment: joined.skip_assignment,
        member_id: joined.member_id,
        members: members.collect(),
        ..JoinGroupResponse::default()
    }
}

fn refused(member_id: String, version: i16, error_code: ErrorCode) -> JoinGroupResponse {
    let protocol_name = (version < FIRST_WITHOUT_PROTOCOL).then(String::new);
    JoinGroupResponse { member_id, error_code, protocol_name, ..JoinGroupResponse::default() }
}
