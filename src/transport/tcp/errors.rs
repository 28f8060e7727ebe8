//! Kafka's codes as this library's errors.

use crate::error::Error;
use crate::wire::ErrorCode;

/// What an error means to whoever has sent a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The same may succeed later.
    Retry,
    /// Somebody else is to be asked: look at the metadata.
    Elsewhere,
    /// It will not.
    Final,
}

/// Whether to try again, and where.
pub(super) fn verdict(code: ErrorCode) -> Verdict {
    match code {
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
        | ErrorCode::LEADER_NOT_AVAILABLE
        | ErrorCode::NOT_LEADER_OR_FOLLOWER
        | ErrorCode::REPLICA_NOT_AVAILABLE
        | ErrorCode::KAFKA_STORAGE_ERROR
        | ErrorCode::LISTENER_NOT_FOUND
        | ErrorCode::FENCED_LEADER_EPOCH
        | ErrorCode::UNKNOWN_LEADER_EPOCH
        | ErrorCode::UNKNOWN_TOPIC_ID
        | ErrorCode::INCONSISTENT_TOPIC_ID
        | ErrorCode::NOT_CONTROLLER
        | ErrorCode::NOT_COORDINATOR
        | ErrorCode::COORDINATOR_NOT_AVAILABLE => Verdict::Elsewhere,
        ErrorCode::REQUEST_TIMED_OUT
        | ErrorCode::BROKER_NOT_AVAILABLE
        | ErrorCode::NETWORK_EXCEPTION
        | ErrorCode::COORDINATOR_LOAD_IN_PROGRESS
        | ErrorCode::NOT_ENOUGH_REPLICAS
        | ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND
        | ErrorCode::CORRUPT_MESSAGE
        | ErrorCode::OFFSET_NOT_AVAILABLE
        | ErrorCode::PREFERRED_LEADER_NOT_AVAILABLE
        | ErrorCode::ELIGIBLE_LEADERS_NOT_AVAILABLE
        | ErrorCode::CONCURRENT_TRANSACTIONS
        | ErrorCode::FETCH_SESSION_ID_NOT_FOUND
        | ErrorCode::INVALID_FETCH_SESSION_EPOCH
        | ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR
        | ErrorCode::UNSTABLE_OFFSET_COMMIT
        | ErrorCode::THROTTLING_QUOTA_EXCEEDED => Verdict::Retry,
        _ => Verdict::Final,
    }
}

/// Whether what could not be asked may be asked again: of the same broker, or, where that has left
/// the cluster (`Closed`), of another.
pub(super) fn may_pass(error: &Error) -> bool {
    error.is_retriable() || matches!(error, Error::Closed { .. })
}

/// The error that a code stands for; `what` was asked for.
pub(super) fn of_code(code: ErrorCode, what: impl Into<String>, message: Option<&str>) -> Error {
    let what = what.into();
    let name = code.name().unwrap_or("an error that is not known here");
    match code {
        ErrorCode::TOPIC_AUTHORIZATION_FAILED
        | ErrorCode::GROUP_AUTHORIZATION_FAILED
        | ErrorCode::CLUSTER_AUTHORIZATION_FAILED
        | ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED => Error::Unauthorized { what, name },
        _ => Error::Refused {
            what,
            name,
            code: code.0,
            message: message.unwrap_or_default().to_owned(),
            is_retriable: verdict(code) != Verdict::Final,
        },
    }
}
