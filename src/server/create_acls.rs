//! CreateAcls: none are taken, as nobody would heed them. Versions 1 to 3.

use super::answer::{Client, Handle, Outcome};
use super::describe_acls::NOBODY;
use crate::wire::ErrorCode;
use crate::wire::create_acls::{AclCreationResult, CreateAclsRequest, CreateAclsResponse};

impl Handle for CreateAclsRequest {
    fn refuse(self, _: &Client, _: i16, error_code: ErrorCode) -> Outcome<CreateAclsResponse> {
        created(self, error_code, &error_code.to_string())
    }

    async fn start(self, _: Client, _version: i16) -> Outcome<CreateAclsResponse> {
        created(self, ErrorCode::SECURITY_DISABLED, NOBODY)
    }
}

fn created(
    request: CreateAclsRequest,
    error_code: ErrorCode,
    why: &str,
) -> Outcome<CreateAclsResponse> {
    let result = |_| AclCreationResult { error_code, error_message: Some(why.to_owned()) };
    let results = request.creations.into_iter().map(result).collect();
    Outcome::Response(CreateAclsResponse { throttle_time_ms: 0, results })
}
