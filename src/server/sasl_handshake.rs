//! SaslHandshake, of one who has logged in already, or need not: see `login` for the others.

use super::answer::{Client, Handle, Outcome};
use crate::wire::ErrorCode;
use crate::wire::sasl_handshake::{SaslHandshakeRequest, SaslHandshakeResponse};

impl Handle for SaslHandshakeRequest {
    fn refuse(self, _: &Client, _: i16, error: ErrorCode) -> Outcome<SaslHandshakeResponse> {
        Outcome::Response(SaslHandshakeResponse { error_code: error, mechanisms: Vec::new() })
    }

    async fn start(self, client: Client, version: i16) -> Outcome<SaslHandshakeResponse> {
        self.refuse(&client, version, ErrorCode::ILLEGAL_SASL_STATE)
    }
}
