//! DeleteGroups: groups without members go, with what they have committed. Versions 0 to 2.

use super::answer::{Client, Handle, Outcome};
use super::groups::refusal;
use crate::wire::ErrorCode;
use crate::wire::delete_groups::{DeletableGroupResult, DeleteGroupsRequest, DeleteGroupsResponse};

impl Handle for DeleteGroupsRequest {
    fn refuse(self, _: &Client, _: i16, error: ErrorCode) -> Outcome<DeleteGroupsResponse> {
        told(self.groups_names.into_iter().map(|group| result(group, error)).collect())
    }

    async fn start(self, client: Client, _version: i16) -> Outcome<DeleteGroupsResponse> {
        let mut results: Vec<DeletableGroupResult> = Vec::new();
        for group in self.groups_names {
            let deleted = client.server.broker().delete_group(&group).await;
            let error = deleted.err().map_or(ErrorCode::NONE, |error| refusal(&group, &error));
            results.push(result(group, error));
        }
        told(results)
    }
}

fn result(group_id: String, error_code: ErrorCode) -> DeletableGroupResult {
    DeletableGroupResult { group_id, error_code }
}

fn told(results: Vec<DeletableGroupResult>) -> Outcome<DeleteGroupsResponse> {
    Outcome::Response(DeleteGroupsResponse { results, throttle_time_ms: 0 })
}
