//! SyncGroup: the leader says who gets what, and each member waits for that. Versions 0 to 5.

use super::answer::{Client, Handle, Outcome};
use super::groups::{kept, member};
use crate::group::{Command, SyncGroup};
use crate::wire::ErrorCode;
use crate::wire::sync_group::{SyncGroupRequest, SyncGroupResponse};

/// From here on a member says which protocol it takes the group's to be (KIP-559).
const FIRST_WITH_PROTOCOL: i16 = 5;

impl Handle for SyncGroupRequest {
    fn refuse(self, _: &Client, _: i16, error: ErrorCode) -> Outcome<SyncGroupResponse> {
        refused(error)
    }

    async fn start(self, client: Client, version: i16) -> Outcome<SyncGroupResponse> {
        let says = self.protocol_type.is_some() && self.protocol_name.is_some();
        if version >= FIRST_WITH_PROTOCOL && !says {
            return refused(ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
        }
        let assignments = self.assignments.iter();
        let request = SyncGroup {
            member: member(self.member_id, self.group_instance_id),
            generation: self.generation_id,
            protocol_type: self.protocol_type,
            protocol: self.protocol_name,
            assignments: assignments
                .map(|it| (it.member_id.clone(), kept(&it.assignment)))
                .collect(),
        };
        let sync = |answer| Command::Sync { request, answer };
        match client.change(&self.group_id, sync).await {
            Ok(synced) => Outcome::Response(SyncGroupResponse {
                protocol_type: Some(synced.protocol_type),
                protocol_name: Some(synced.protocol),
                assignment: synced.assignment,
                ..SyncGroupResponse::default()
            }),
            Err(error) => refused(error),
        }
    }
}

fn refused(error_code: ErrorCode) -> Outcome<SyncGroupResponse> {
    Outcome::Response(SyncGroupResponse { error_code, ..SyncGroupResponse::default() })
}
