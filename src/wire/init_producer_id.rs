//! InitProducerId (key 22): an id for an idempotent producer. Versions 0 to 5.
//!
//! 2 is flexible; from 3 on a producer names the id that it had (KIP-360); 5 is as 4 (KIP-890).

use super::message::{message, throttled};
use super::{ApiKey, ErrorCode, Request};

impl Request for InitProducerIdRequest {
    const KEY: ApiKey = ApiKey::InitProducerId;
    type Response = InitProducerIdResponse;
    throttled!(1..);
}

message! {
    /// Who wants an id.
    pub struct InitProducerIdRequest {
        /// Null without transactions.
        pub transactional_id: Option<String>;
        /// How long a transaction may take.
        pub transaction_timeout_ms: i32;
        /// The id that it has; -1 if it has none.
        pub producer_id: i64 = -1, 3..;
        /// The epoch that it has; -1 as above.
        pub producer_epoch: i16 = -1, 3..;
    }

    /// The id.
    pub struct InitProducerIdResponse {
        /// Milliseconds for which the client is to be silent.
        pub throttle_time_ms: i32;
        /// Why there is none.
        pub error_code: ErrorCode;
        /// The id.
        pub producer_id: i64 = -1, 0..;
        /// Its epoch.
        pub producer_epoch: i16;
    }
}
