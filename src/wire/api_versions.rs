//! ApiVersions (key 18): what a server can do. Versions 0 to 4.
//!
//! 3 is flexible, but for the response's header. A request of a version that the server does not
//! know is answered in version 0 (KIP-511). 4 may name features that begin at version 0.

use super::message::message;
use super::{ApiKey, ErrorCode, Request};

impl Request for ApiVersionsRequest {
    const KEY: ApiKey = ApiKey::ApiVersions;
    type Response = ApiVersionsResponse;
}

message! {
    /// Who asks.
    pub struct ApiVersionsRequest {
        /// The client library's name.
        pub client_software_name: String = String::new(), 3..;
        /// Its version.
        pub client_software_version: String = String::new(), 3..;
    }

    /// What there is.
    pub struct ApiVersionsResponse {
        /// `UNSUPPORTED_VERSION` if the request's own version is not there.
        pub error_code: ErrorCode;
        /// The requests that are answered.
        pub api_keys: Vec<ApiVersion>;
        /// Milliseconds for which the client is to be silent.
        pub throttle_time_ms: i32 = 0, 1..;
        tagged {
            /// Features that the server could have.
            0: pub supported_features: Vec<SupportedFeature> = Vec::new(), 3..;
            /// When the features that it has were set; -1 if that is not known.
            1: pub finalized_features_epoch: i64 = -1, 3..;
            /// Features that it has.
            2: pub finalized_features: Vec<FinalizedFeature> = Vec::new(), 3..;
            /// Long obsolete.
            3: pub zk_migration_ready: bool = false, 3..;
        }
    }

    /// The versions of a request.
    pub struct ApiVersion {
        /// Which request.
        pub api_key: i16;
        /// The first version.
        pub min_version: i16;
        /// The last version.
        pub max_version: i16;
    }

    /// A feature that a server could have.
    pub struct SupportedFeature {
        /// Its name.
        pub name: String;
        /// Its lowest level.
        pub min_version: i16;
        /// Its highest level.
        pub max_version: i16;
    }

    /// A feature that a cluster has.
    pub struct FinalizedFeature {
        /// Its name.
        pub name: String;
        /// The highest level in use.
        pub max_version_level: i16;
        /// The lowest level in use.
        pub min_version_level: i16;
    }
}
