//! ListGroups: which groups there are, by their states and types. Versions 0 to 5.

use super::answer::{Client, Handle, Outcome};
use super::groups::refusal;
use crate::group::GroupListing;
use crate::wire::ErrorCode;
use crate::wire::list_groups::{ListGroupsRequest, ListGroupsResponse, ListedGroup};

/// All groups are of the protocol in which members assign (before KIP-848).
const CLASSIC: &str = "classic";

impl Handle for ListGroupsRequest {
    fn refuse(self, _: &Client, _: i16, error_code: ErrorCode) -> Outcome<ListGroupsResponse> {
        Outcome::Response(ListGroupsResponse { error_code, ..ListGroupsResponse::default() })
    }

    async fn start(self, client: Client, version: i16) -> Outcome<ListGroupsResponse> {
        let listed = match client.server.broker().list_groups().await {
            Ok(listed) => listed,
            Err(error) => {
                let code = refusal("", &error);
                return self.refuse(&client, version, code);
            }
        };
        let is_wanted = |wanted: &[String], one: &str| {
            wanted.is_empty() || wanted.iter().any(|it| it.eq_ignore_ascii_case(one))
        };
        let is_meant = |it: &GroupListing| {
            is_wanted(&self.states_filter, &it.state.to_string())
                && is_wanted(&self.types_filter, CLASSIC)
        };
        let groups = listed.into_iter().filter(is_meant).map(|group| ListedGroup {
            group_id: group.group.to_string(),
            protocol_type: group.protocol_type.unwrap_or_default(),
            group_state: group.state.to_string(),
            group_type: CLASSIC.to_owned(),
        });
        let groups = groups.collect();
        Outcome::Response(ListGroupsResponse { groups, ..ListGroupsResponse::default() })
    }
}
