//! FindCoordinator.

use ottla::wire::find_coordinator::{FindCoordinatorRequest, FoundCoordinator};
use ottla::wire::{ApiKey, ErrorCode};

use super::super::client::RawClient;
use super::targets;

/// What is told of each key, in whichever form.
async fn found(
    client: &mut RawClient,
    kind: i8,
    keys: &[&str],
    version: i16,
) -> Vec<FoundCoordinator> {
    let request = FindCoordinatorRequest {
        key: keys[0].to_owned(),
        key_type: kind,
        coordinator_keys: keys.iter().map(|key| (*key).to_owned()).collect(),
    };
    loop {
        let answer = client.ask(&request, version).await;
        let all = match version {
            0..=3 => vec![FoundCoordinator {
                key: keys[0].to_owned(),
                node_id: answer.node_id,
                host: answer.host,
                port: answer.port,
                error_code: answer.error_code,
                error_message: None,
            }],
            _ => answer.coordinators,
        };
        // Kafka makes room for groups first.
        if all.iter().all(|it| it.error_code != ErrorCode::COORDINATOR_NOT_AVAILABLE) {
            return all;
        }
    }
}

/// The group without a name has one, too: what it can't do is told when it is tried.
#[tokio::test]
async fn the_coordinator_is_this_broker() {
    for target in targets("coordinator").await {
        let mut client = target.client().await;
        let port = i32::from(target.address.port());
        for version in ApiKey::FindCoordinator.versions() {
            let all = found(&mut client, 0, &["g", "h", ""], version).await;
            assert_eq!(all.len(), if version < 4 { 1 } else { 3 });
            for found in all {
                assert_eq!(found.error_code, ErrorCode::NONE, "version {version}");
                assert_eq!((found.node_id, found.port), (1, port), "version {version}");
            }
            let [nameless] = &found(&mut client, 0, &[""], version).await[..] else {
                panic!("one is asked for");
            };
            assert_eq!((nameless.error_code, nameless.port), (ErrorCode::NONE, port));
        }
        for version in 1..=5 {
            for kind in [2, 9, -1] {
                let all = found(&mut client, kind, &["g"], version).await;
                assert_eq!(all[0].error_code, ErrorCode::INVALID_REQUEST);
                assert_eq!((all[0].node_id, all[0].port), (-1, -1));
            }
        }
    }
}
