//! LeaveGroup: members go, or are put out by an administrator. Versions 0 to 5.

use super::answer::{Client, Handle, Outcome};
use super::groups::{member, refusal};
use crate::group::Command;
use crate::wire::ErrorCode;
use crate::wire::leave_group::{
    LeaveGroupRequest, LeaveGroupResponse, MemberIdentity, MemberResponse,
};

/// Before it, one member leaves, and the answer is about that.
const FIRST_BATCHED: i16 = 3;

impl Handle for LeaveGroupRequest {
    fn refuse(self, _: &Client, _: i16, error_code: ErrorCode) -> Outcome<LeaveGroupResponse> {
        Outcome::Response(LeaveGroupResponse { error_code, ..LeaveGroupResponse::default() })
    }

    async fn start(self, client: Client, version: i16) -> Outcome<LeaveGroupResponse> {
        let LeaveGroupRequest { group_id, member_id, mut members } = self;
        if version < FIRST_BATCHED {
            members = vec![MemberIdentity { member_id, ..MemberIdentity::default() }];
        }
        let told = match leave(&client, &group_id, members).await {
            Err(error_code) => LeaveGroupResponse { error_code, ..LeaveGroupResponse::default() },
            Ok(members) if version < FIRST_BATCHED => LeaveGroupResponse {
                error_code: members.first().map_or(ErrorCode::NONE, |it| it.error_code),
                ..LeaveGroupResponse::default()
            },
            Ok(members) => LeaveGroupResponse { members, ..LeaveGroupResponse::default() },
        };
        Outcome::Response(told)
    }
}

async fn leave(
    client: &Client,
    group: &str,
    members: Vec<MemberIdentity>,
) -> Result<Vec<MemberResponse>, ErrorCode> {
    let named = members.iter();
    let leaving = named.map(|it| member(it.member_id.clone(), it.group_instance_id.clone()));
    let leaving = leaving.collect();
    let left = client.change(group, |answer| Command::Leave { members: leaving, answer }).await?;
    let told = members.into_iter().zip(left).map(|(member, left)| MemberResponse {
        member_id: member.member_id,
        group_instance_id: member.group_instance_id,
        error_code: left.err().map_or(ErrorCode::NONE, |error| refusal(group, &error)),
    });
    Ok(told.collect())
}
