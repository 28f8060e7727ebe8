//! DeleteAcls: there are none that could go. Versions 1 to 3.

use super::answer::{Client, Handle, Outcome};
use super::describe_acls::NOBODY;
use crate::wire::ErrorCode;
use crate::wire::delete_acls::{DeleteAclsFilterResult, DeleteAclsRequest, DeleteAclsResponse};

impl Handle for DeleteAclsRequest {
    fn refuse(self, _: &Client, _: i16, error_code: ErrorCode) -> Outcome<DeleteAclsResponse> {
        deleted(self, error_code, &error_code.to_string())
    }

    async fn start(self, _: Client, _version: i16) -> Outcome<DeleteAclsResponse> {
        deleted(self, ErrorCode::SECURITY_DISABLED, NOBODY)
    }
}

fn deleted(
    request: DeleteAclsRequest,
    error_code: ErrorCode,
    why: &str,
) -> Outcome<DeleteAclsResponse> {
    let result = |_| DeleteAclsFilterResult {
        error_code,
        error_message: Some(why.to_owned()),
        matching_acls: Vec::new(),
    };
    let filter_results = request.filters.into_iter().map(result).collect();
    Outcome::Response(DeleteAclsResponse { throttle_time_ms: 0, filter_results })
}
