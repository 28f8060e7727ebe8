//! This library's errors as Kafka's codes.

use crate::batch::BatchError;
use crate::error::{Error, GroupError};
use crate::log::ProducerError;
use crate::wire::ErrorCode;

/// The code that says most about an error to a client which does not read messages: whether to try
/// again, and where the fault is.
pub(super) fn code_of(error: &Error) -> ErrorCode {
    match error {
        Error::InvalidTopic(_) => ErrorCode::INVALID_TOPIC_EXCEPTION,
        Error::UnknownTopic { .. } | Error::UnknownPartition { .. } => {
            ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
        }
        Error::TopicAlreadyExists { existing: None, .. } => ErrorCode::TOPIC_ALREADY_EXISTS,
        Error::TopicAlreadyExists { .. } => ErrorCode::INVALID_TOPIC_EXCEPTION,
        Error::InvalidPartitions { .. } => ErrorCode::INVALID_PARTITIONS,
        Error::InvalidConfig { .. } => ErrorCode::INVALID_CONFIG,
        Error::MessageTooLarge { .. } => ErrorCode::MESSAGE_TOO_LARGE,
        Error::InvalidTimestamp { .. } => ErrorCode::INVALID_TIMESTAMP,
        Error::OffsetOutOfRange { .. } | Error::Truncated { .. } => ErrorCode::OFFSET_OUT_OF_RANGE,
        Error::MissingKey { .. } => ErrorCode::INVALID_RECORD,
        Error::InvalidRecord { source: BatchError::CrcMismatch { .. }, .. }
        | Error::Corrupt { .. } => ErrorCode::CORRUPT_MESSAGE,
        Error::InvalidRecord { source: BatchError::UnsupportedCompression(_), .. } => {
            ErrorCode::UNSUPPORTED_COMPRESSION_TYPE
        }
        Error::InvalidRecord { .. } => ErrorCode::INVALID_RECORD,
        Error::Producer { source, .. } => code_of_producer(source),
        Error::Group { source, .. } => code_of_group(source),
        // Trying again can help, after a while.
        Error::MemoryFull { .. }
        | Error::BacklogFull { .. }
        | Error::StorageFull { .. }
        | Error::ReadOnly { .. }
        | Error::Io { .. } => ErrorCode::KAFKA_STORAGE_ERROR,
        Error::OpenForReading => ErrorCode::POLICY_VIOLATION,
        Error::Timeout { .. } => ErrorCode::REQUEST_TIMED_OUT,
        Error::InvalidState(_) => ErrorCode::INVALID_REQUEST,
        // The client looks where the partition is now, and tries again.
        Error::Closed { .. } => ErrorCode::NOT_LEADER_OR_FOLLOWER,
        _ => ErrorCode::UNKNOWN_SERVER_ERROR,
    }
}

fn code_of_producer(error: &ProducerError) -> ErrorCode {
    match error {
        ProducerError::Unsequenced { .. } => ErrorCode::INVALID_RECORD,
        ProducerError::InvalidEpoch { .. } => ErrorCode::INVALID_PRODUCER_EPOCH,
        ProducerError::OutOfOrderSequence { .. } => ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER,
        // Some will expire.
        ProducerError::TooManyProducers { .. } => ErrorCode::KAFKA_STORAGE_ERROR,
    }
}

fn code_of_group(error: &GroupError) -> ErrorCode {
    match error {
        GroupError::InvalidGroupId => ErrorCode::INVALID_GROUP_ID,
        GroupError::InvalidSessionTimeout { .. } => ErrorCode::INVALID_SESSION_TIMEOUT,
        GroupError::UnknownMember { .. } => ErrorCode::UNKNOWN_MEMBER_ID,
        GroupError::MemberIdRequired { .. } => ErrorCode::MEMBER_ID_REQUIRED,
        GroupError::FencedInstanceId { .. } => ErrorCode::FENCED_INSTANCE_ID,
        GroupError::IllegalGeneration { .. } => ErrorCode::ILLEGAL_GENERATION,
        GroupError::InconsistentProtocol { .. } => ErrorCode::INCONSISTENT_GROUP_PROTOCOL,
        GroupError::TooManyGroups { .. } | GroupError::MemoryFull { .. } => {
            ErrorCode::POLICY_VIOLATION
        }
        GroupError::GroupMaxSizeReached { .. } => ErrorCode::GROUP_MAX_SIZE_REACHED,
        GroupError::RebalanceInProgress => ErrorCode::REBALANCE_IN_PROGRESS,
        GroupError::MetadataTooLarge { .. } => ErrorCode::OFFSET_METADATA_TOO_LARGE,
        GroupError::NonEmptyGroup { .. } => ErrorCode::NON_EMPTY_GROUP,
        GroupError::GroupIdNotFound => ErrorCode::GROUP_ID_NOT_FOUND,
        GroupError::GroupSubscribedToTopic { .. } => ErrorCode::GROUP_SUBSCRIBED_TO_TOPIC,
    }
}
