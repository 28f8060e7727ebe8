//! SaslAuthenticate, of one who has logged in already, or need not: see `login` for the others.

use super::answer::{Client, Handle, Outcome};
use crate::wire::ErrorCode;
use crate::wire::sasl_authenticate::{SaslAuthenticateRequest, SaslAuthenticateResponse};

impl Handle for SaslAuthenticateRequest {
    fn refuse(self, _: &Client, _: i16, error: ErrorCode) -> Outcome<SaslAuthenticateResponse> {
        Outcome::Response(SaslAuthenticateResponse {
            error_code: error,
            ..SaslAuthenticateResponse::default()
        })
    }

    async fn start(self, client: Client, version: i16) -> Outcome<SaslAuthenticateResponse> {
        self.refuse(&client, version, ErrorCode::ILLEGAL_SASL_STATE)
    }
}
