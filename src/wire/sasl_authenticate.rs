//! SaslAuthenticate (key 36): what a client says of who it is, and the broker's reply. Versions 0
//! to 2; 1 adds how long that holds (KIP-368), 2 is flexible.

use bytes::Bytes;

use super::message::message;
use super::{ApiKey, ErrorCode, Request};

impl Request for SaslAuthenticateRequest {
    const KEY: ApiKey = ApiKey::SaslAuthenticate;
    type Response = SaslAuthenticateResponse;
}

message! {
    /// What it says.
    pub struct SaslAuthenticateRequest {
        /// In the mechanism's own terms.
        pub auth_bytes: Bytes;
    }

    /// The reply.
    pub struct SaslAuthenticateResponse {
        /// Why it is not believed.
        pub error_code: ErrorCode;
        /// The same in words.
        pub error_message: Option<String>;
        /// In the mechanism's own terms.
        pub auth_bytes: Bytes;
        /// Milliseconds for which it holds; 0 for as long as the connection does.
        pub session_lifetime_ms: i64 = 0, 1..;
    }
}
