//! SaslHandshake (key 17): in which way a client will say who it is. Versions 0 and 1, never
//! flexible; after 1 the client's words come in SaslAuthenticate, after 0 without a header.

use super::message::message;
use super::{ApiKey, ErrorCode, Request};

impl Request for SaslHandshakeRequest {
    const KEY: ApiKey = ApiKey::SaslHandshake;
    type Response = SaslHandshakeResponse;
}

message! {
    /// How it wants to.
    pub struct SaslHandshakeRequest {
        /// The mechanism's name, such as `SCRAM-SHA-512`.
        pub mechanism: String;
    }

    /// Whether it may.
    pub struct SaslHandshakeResponse {
        /// Why not.
        pub error_code: ErrorCode;
        /// The mechanisms that there are.
        pub mechanisms: Vec<String>;
    }
}
