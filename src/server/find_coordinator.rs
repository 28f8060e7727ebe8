//! FindCoordinator: it is always this broker, also for the group without a name: what can't be done
//! with that is told when it is tried. Versions 0 to 5.
//!
//! There are no transactions, so nobody coordinates them; a client that wants them is told so at
//! once, with an error that it does not retry.

use super::answer::{Client, Handle, Outcome};
use crate::wire::ErrorCode;
use crate::wire::find_coordinator::{
    FindCoordinatorRequest, FindCoordinatorResponse, FoundCoordinator,
};

/// Whose coordinator is asked for.
const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;

/// From here on many are asked for at once.
const FIRST_BATCHED: i16 = 4;

impl Handle for FindCoordinatorRequest {
    fn refuse(
        self,
        _: &Client,
        version: i16,
        error: ErrorCode,
    ) -> Outcome<FindCoordinatorResponse> {
        let why = error.to_string();
        Outcome::Response(answer(self, version, |_, key| refused(key, error, &why)))
    }

    async fn start(self, client: Client, version: i16) -> Outcome<FindCoordinatorResponse> {
        Outcome::Response(answer(self, version, |kind, key| find(&client, kind, key)))
    }
}

fn answer(
    request: FindCoordinatorRequest,
    version: i16,
    find: impl Fn(i8, String) -> FoundCoordinator,
) -> FindCoordinatorResponse {
    let kind = request.key_type;
    if version >= FIRST_BATCHED {
        let coordinators = request.coordinator_keys.into_iter().map(|key| find(kind, key));
        return FindCoordinatorResponse {
            coordinators: coordinators.collect(),
            ..Default::default()
        };
    }
    let found = find(kind, request.key);
    FindCoordinatorResponse {
        error_code: found.error_code,
        error_message: found.error_message,
        node_id: found.node_id,
        host: found.host,
        port: found.port,
        ..Default::default()
    }
}

fn find(client: &Client, kind: i8, key: String) -> FoundCoordinator {
    match kind {
        GROUP => {
            let node_id = client.server.settings().node_id;
            let (host, port) = client.advertised();
            FoundCoordinator { key, node_id, host, port, ..FoundCoordinator::default() }
        }
        TRANSACTION => refused(
            key,
            ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
            "this broker has no transactions",
        ),
        _ => refused(key, ErrorCode::INVALID_REQUEST, "no such kind of coordinator"),
    }
}

fn refused(key: String, error_code: ErrorCode, why: &str) -> FoundCoordinator {
    FoundCoordinator {
        key,
        node_id: -1,
        port: -1,
        error_code,
        error_message: Some(why.to_owned()),
        ..FoundCoordinator::default()
    }
}
