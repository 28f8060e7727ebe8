//! DescribeGroups: groups with their members. Versions 0 to 5. One that is not there is `Dead`.

use super::answer::{Client, Handle, Outcome};
use crate::group::{Command, GroupDescription, GroupState};
use crate::wire::ErrorCode;
use crate::wire::describe_groups::{
    DescribeGroupsRequest, DescribeGroupsResponse, DescribedGroup, DescribedGroupMember,
};

/// What may be done with a group, by the bits of Kafka's `AclOperation`.
const GROUP_OPERATIONS: i32 = 0b1101_0100_1000;

impl Handle for DescribeGroupsRequest {
    fn refuse(self, _: &Client, _: i16, error: ErrorCode) -> Outcome<DescribeGroupsResponse> {
        told(self.groups.into_iter().map(|group| without(group, "", error)).collect())
    }

    async fn start(self, client: Client, _version: i16) -> Outcome<DescribeGroupsResponse> {
        let mut groups = Vec::new();
        for group in self.groups {
            let mut told = match describe(&client, &group).await {
                Ok(described) => there(described),
                Err(ErrorCode::GROUP_ID_NOT_FOUND) => without(group, "Dead", ErrorCode::NONE),
                Err(error) => without(group, "", error),
            };
            if self.include_authorized_operations && told.error_code == ErrorCode::NONE {
                told.authorized_operations = GROUP_OPERATIONS;
            }
            groups.push(told);
        }
        told(groups)
    }
}

fn told(groups: Vec<DescribedGroup>) -> Outcome<DescribeGroupsResponse> {
    Outcome::Response(DescribeGroupsResponse { groups, throttle_time_ms: 0 })
}

fn without(group_id: String, state: &str, error_code: ErrorCode) -> DescribedGroup {
    let group_state = state.to_owned();
    DescribedGroup { error_code, group_id, group_state, ..DescribedGroup::default() }
}

async fn describe(client: &Client, group: &str) -> Result<GroupDescription, ErrorCode> {
    // Also one without a name.
    if !client.knows(group).await? {
        return Err(ErrorCode::GROUP_ID_NOT_FOUND);
    }
    client.ask(group, |answer| Command::Describe { answer }).await
}

fn there(described: GroupDescription) -> DescribedGroup {
    let members = described.members.into_iter().map(|member| DescribedGroupMember {
        member_id: member.member_id,
        group_instance_id: member.instance_id,
        client_id: member.client_id,
        client_host: member.client_host,
        member_metadata: member.raw.0,
        member_assignment: member.raw.1,
    });
    let is_stable = described.state == GroupState::Stable;
    DescribedGroup {
        group_id: described.group,
        group_state: described.state.to_string(),
        protocol_type: described.protocol_type.unwrap_or_default(),
        protocol_data: described.strategy.filter(|_| is_stable).unwrap_or_default(),
        members: members.collect(),
        ..DescribedGroup::default()
    }
}
