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
    async fn start(self, client: Client, version: i16) -> Outcome<FindCoordinatorResponse> {
        Outcome::Response(answer(self, &client, version))
    }
}

fn answer(
    request: FindCoordinatorRequest,
    client: &Client,
    version: i16,
) -> FindCoordinatorResponse {
    let kind = request.key_type;
    if version >= FIRST_BATCHED {
        let keys = request.coordinator_keys.into_iter();
        let coordinators = keys.map(|key| find(client, kind, key)).collect();
        return FindCoordinatorResponse { coordinators, ..Default::default() };
    }
    let found = find(client, kind, request.key);
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
    let refused = |error_code, why: &str| FoundCoordinator {
        key: key.clone(),
        node_id: -1,
        port: -1,
        error_code,
        error_message: Some(why.to_owned()),
        ..FoundCoordinator::default()
    };
    match kind {
        GROUP => {
            let node_id = client.server.settings().node_id;
            let (host, port) = client.advertised();
            FoundCoordinator { key, node_id, host, port, ..FoundCoordinator::default() }
        }
        TRANSACTION => refused(
            ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
            "this broker has no transactions",
        ),
        _ => refused(ErrorCode::INVALID_REQUEST, "no such kind of coordinator"),
    }
}
