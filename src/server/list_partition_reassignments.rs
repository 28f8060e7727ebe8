//! ListPartitionReassignments: with one broker none is on its way. Version 0.

use super::answer::{Client, Handle, Outcome};
use crate::wire::ErrorCode;
use crate::wire::list_partition_reassignments::{
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse,
};

impl Handle for ListPartitionReassignmentsRequest {
    fn refuse(
        self,
        _: &Client,
        _: i16,
        error_code: ErrorCode,
    ) -> Outcome<ListPartitionReassignmentsResponse> {
        Outcome::Response(ListPartitionReassignmentsResponse {
            error_code,
            error_message: Some(error_code.to_string()),
            ..ListPartitionReassignmentsResponse::default()
        })
    }

    async fn start(self, _: Client, _version: i16) -> Outcome<ListPartitionReassignmentsResponse> {
        Outcome::Response(ListPartitionReassignmentsResponse::default())
    }
}
