//! A member of a consumer group, request by request.

use bytes::Bytes;
use ottla::wire::describe_groups::{DescribeGroupsRequest, DescribedGroup};
use ottla::wire::heartbeat::HeartbeatRequest;
use ottla::wire::join_group::{JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse};
use ottla::wire::leave_group::{LeaveGroupRequest, MemberIdentity};
use ottla::wire::sync_group::{SyncGroupRequest, SyncGroupRequestAssignment, SyncGroupResponse};
use ottla::wire::{ApiKey, ErrorCode};

use super::client::RawClient;

/// The newest version of a request's.
pub(super) fn newest(api: ApiKey) -> i16 {
    *api.versions().end()
}

pub(super) struct Member {
    pub(super) client: RawClient,
    pub(super) request: JoinGroupRequest,
    /// Of the latest generation.
    pub(super) joined: JoinGroupResponse,
}

impl Member {
    pub(super) fn new(client: RawClient, group: &str) -> Self {
        let request = JoinGroupRequest {
            group_id: group.to_owned(),
            session_timeout_ms: 10_000,
            rebalance_timeout_ms: 10_000,
            protocol_type: "consumer".to_owned(),
            protocols: vec![protocol("range", "r"), protocol("sticky", "s")],
            ..JoinGroupRequest::default()
        };
        Member { client, request, joined: JoinGroupResponse::default() }
    }

    pub(super) fn id(&self) -> &str {
        &self.request.member_id
    }

    pub(super) fn is_leader(&self) -> bool {
        self.joined.leader == self.request.member_id
    }

    /// Sends the request to join; one that is new asks for an id first, if its version has it so.
    pub(super) async fn begin(&mut self, version: i16) -> i32 {
        let is_static = version >= 5 && self.request.group_instance_id.is_some();
        if version >= 4 && self.request.member_id.is_empty() && !is_static {
            let answer = self.client.ask(&self.request, version).await;
            assert_eq!(answer.error_code, ErrorCode::MEMBER_ID_REQUIRED, "{answer:?}");
            assert!(!answer.member_id.is_empty());
            self.request.member_id = answer.member_id;
        }
        self.client.send(&self.request, version).await
    }

    /// Waits to have joined.
    pub(super) async fn end(&mut self, id: i32, version: i16) -> JoinGroupResponse {
        let answer = self.client.receive::<JoinGroupRequest>(id, version).await;
        assert_eq!(answer.error_code, ErrorCode::NONE, "{answer:?}");
        self.request.member_id.clone_from(&answer.member_id);
        self.joined = answer.clone();
        answer
    }

    pub(super) async fn join_in(&mut self, version: i16) -> JoinGroupResponse {
        let id = self.begin(version).await;
        self.end(id, version).await
    }

    pub(super) async fn join(&mut self) -> JoinGroupResponse {
        self.join_in(newest(ApiKey::JoinGroup)).await
    }

    /// How joining is refused.
    pub(super) async fn refused(&mut self, version: i16) -> ErrorCode {
        let answer = self.client.ask(&self.request, version).await;
        assert_eq!(answer.generation_id, -1, "{answer:?}");
        assert!(answer.members.is_empty());
        answer.error_code
    }

    pub(super) fn sync_request(&self, assignments: &[(&str, &str)]) -> SyncGroupRequest {
        let assigned = |(member, what): &(&str, &str)| SyncGroupRequestAssignment {
            member_id: (*member).to_owned(),
            assignment: Bytes::copy_from_slice(what.as_bytes()),
        };
        SyncGroupRequest {
            group_id: self.request.group_id.clone(),
            generation_id: self.joined.generation_id,
            member_id: self.request.member_id.clone(),
            group_instance_id: self.request.group_instance_id.clone(),
            protocol_type: Some(self.request.protocol_type.clone()),
            protocol_name: self.joined.protocol_name.clone(),
            assignments: assignments.iter().map(assigned).collect(),
        }
    }

    pub(super) async fn sync(&mut self, assignments: &[(&str, &str)]) -> SyncGroupResponse {
        let request = self.sync_request(assignments);
        self.client.ask_newest(&request).await
    }

    /// Joins, and is alone there: the group is stable after it.
    pub(super) async fn settle(&mut self) {
        self.join().await;
        let id = self.request.member_id.clone();
        let synced = self.sync(&[(&id, "all")]).await;
        assert_eq!((synced.error_code, &synced.assignment[..]), (ErrorCode::NONE, &b"all"[..]));
    }

    pub(super) async fn heartbeat(&mut self) -> ErrorCode {
        let request = HeartbeatRequest {
            group_id: self.request.group_id.clone(),
            generation_id: self.joined.generation_id,
            member_id: self.request.member_id.clone(),
            group_instance_id: self.request.group_instance_id.clone(),
        };
        self.client.ask_newest(&request).await.error_code
    }

    pub(super) async fn leave(&mut self) -> ErrorCode {
        let member = MemberIdentity {
            member_id: self.request.member_id.clone(),
            ..MemberIdentity::default()
        };
        let request = LeaveGroupRequest {
            group_id: self.request.group_id.clone(),
            members: vec![member],
            ..LeaveGroupRequest::default()
        };
        let answer = self.client.ask_newest(&request).await;
        assert_eq!(answer.error_code, ErrorCode::NONE);
        answer.members[0].error_code
    }
}

pub(super) fn protocol(name: &str, metadata: &str) -> JoinGroupRequestProtocol {
    let metadata = Bytes::copy_from_slice(metadata.as_bytes());
    JoinGroupRequestProtocol { name: name.to_owned(), metadata }
}

pub(super) async fn described(client: &mut RawClient, group: &str) -> DescribedGroup {
    let groups = vec![group.to_owned()];
    let request = DescribeGroupsRequest { groups, ..DescribeGroupsRequest::default() };
    client.ask_newest(&request).await.groups.remove(0)
}
