//! ApiVersions: says what is served. No feature is named: `transaction.version` would promise
//! transactions, and old librdkafkas misread tagged fields.

use super::answer::{Client, Handle, Outcome};
use crate::wire::api_versions::{ApiVersion, ApiVersionsRequest, ApiVersionsResponse};
use crate::wire::{ApiKey, ErrorCode};

impl Handle for ApiVersionsRequest {
    fn refuse(self, _: &Client, _: i16, error: ErrorCode) -> Outcome<ApiVersionsResponse> {
        Outcome::Response(refused(error))
    }

    async fn start(self, _client: Client, version: i16) -> Outcome<ApiVersionsResponse> {
        Outcome::Response(answer(&self, version))
    }
}

/// What is served, for a client that says what it is.
pub(super) fn answer(request: &ApiVersionsRequest, version: i16) -> ApiVersionsResponse {
    let named = [&request.client_software_name, &request.client_software_version];
    let is_valid = version < 3 || named.iter().all(|name| is_name(name));
    match is_valid {
        true => response(ErrorCode::NONE),
        false => refused(ErrorCode::INVALID_REQUEST),
    }
}

fn refused(error_code: ErrorCode) -> ApiVersionsResponse {
    ApiVersionsResponse { error_code, ..ApiVersionsResponse::default() }
}

/// All that is served.
pub(super) fn response(error_code: ErrorCode) -> ApiVersionsResponse {
    let versions = ApiKey::ALL.iter().map(|api| ApiVersion {
        api_key: *api as i16,
        min_version: *api.advertised().start(),
        max_version: *api.advertised().end(),
    });
    ApiVersionsResponse { error_code, api_keys: versions.collect(), ..Default::default() }
}

/// `[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?` (KIP-511).
fn is_name(name: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    let outer = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    name.chars().all(inner) && outer(name.chars().next()) && outer(name.chars().next_back())
}

#[cfg(test)]
mod tests {
    use super::is_name;

    #[test]
    fn names_of_clients_are_kafkas() {
        for name in ["a", "librdkafka", "apache-kafka-java", "2.15.0", "1"] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", "-a", "a-", ".", "a b", "a_b", "ä"] {
            assert!(!is_name(name), "{name}");
        }
    }
}
