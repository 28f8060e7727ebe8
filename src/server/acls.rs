//! DescribeAcls, CreateAcls, DeleteAcls: there is nobody who would heed them, and so they say, as a
//! Kafka without an authorizer does. Versions 1 to 3.

use super::answer::{Client, Handle, Outcome};
use crate::wire::ErrorCode;
use crate::wire::create_acls::{AclCreationResult, CreateAclsRequest, CreateAclsResponse};
use crate::wire::delete_acls::{DeleteAclsFilterResult, DeleteAclsRequest, DeleteAclsResponse};
use crate::wire::describe_acls::{DescribeAclsRequest, DescribeAclsResponse};

const NOBODY: &str = "no authorizer is configured";

impl Handle for DescribeAclsRequest {
    fn refuse(self, _: &Client, _: i16, error_code: ErrorCode) -> Outcome<DescribeAclsResponse> {
        described(error_code, error_code.to_string())
    }

    async fn start(self, _: Client, _version: i16) -> Outcome<DescribeAclsResponse> {
        described(ErrorCode::SECURITY_DISABLED, NOBODY.to_owned())
    }
}

fn described(error_code: ErrorCode, why: String) -> Outcome<DescribeAclsResponse> {
    let told = DescribeAclsResponse::default();
    Outcome::Response(DescribeAclsResponse { error_code, error_message: Some(why), ..told })
}

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
