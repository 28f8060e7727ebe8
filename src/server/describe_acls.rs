//! DescribeAcls: there is nobody who would heed them, and so it says, as a Kafka without an
//! authorizer does. Versions 1 to 3.

use super::answer::{Client, Handle, Outcome};
use crate::wire::ErrorCode;
use crate::wire::describe_acls::{DescribeAclsRequest, DescribeAclsResponse};

/// Of what is asked about access lists.
pub(super) const NOBODY: &str = "no authorizer is configured";

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
