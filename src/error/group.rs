//! What a group answers instead: Kafka's errors by Kafka's names.

use std::time::Duration;

/// Why a group refused a call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GroupError {
    /// The group's name is empty, or too long.
    #[error("a group's name is not empty, and has 32767 bytes at most")]
    InvalidGroupId,
    /// The session timeout is outside of what the broker allows.
    #[error("session timeout of {timeout:?}: {min:?} to {max:?} are allowed")]
    InvalidSessionTimeout {
        /// What was asked for.
        timeout: Duration,
        /// The least (`group.min.session.timeout.ms`).
        min: Duration,
        /// The most (`group.max.session.timeout.ms`).
        max: Duration,
    },
    /// The group does not know this member: it was never in it, left, or was put out.
    #[error("the group has no member {member_id:?}: it left, or was put out")]
    UnknownMember {
        /// The member.
        member_id: String,
    },
    /// The member comes with a new id: join again with this one (KIP-394).
    #[error("join again as {member_id:?}")]
    MemberIdRequired {
        /// The id that it was given.
        member_id: String,
    },
    /// Another member has joined with the same instance id.
    #[error("another member has joined as instance {instance_id:?}")]
    FencedInstanceId {
        /// The instance id (`group.instance.id`).
        instance_id: String,
    },
    /// The call belongs to an earlier generation: the group has been rebalanced since.
    #[error("generation {generation} is over: the group is at {current}")]
    IllegalGeneration {
        /// The member's generation.
        generation: i32,
        /// The group's.
        current: i32,
    },
    /// The members share no protocol (assignor), or this one is of another type.
    #[error("no protocol in common: offered {offered:?}, the group's members take {allowed:?}")]
    InconsistentProtocol {
        /// What the member offered.
        offered: Vec<String>,
        /// What it could have offered.
        allowed: Vec<String>,
    },
    /// There are as many groups as there may be.
    #[error("there are {limit} groups, the most there may be (max_groups)")]
    TooManyGroups {
        /// The limit.
        limit: usize,
    },
    /// The group has as many members as it may have.
    #[error("the group has {limit} members, the most that it takes (group.max.size)")]
    GroupMaxSizeReached {
        /// The limit.
        limit: usize,
    },
    /// Groups, their members and offsets take as much memory as they may.
    #[error("the groups take {limit} bytes, the most they may (group_memory_limit)")]
    MemoryFull {
        /// The limit, of all groups together.
        limit: usize,
    },
    /// The group is being rebalanced: join again; to a consumer, poll on.
    #[error("the group is being rebalanced")]
    RebalanceInProgress,
    /// The metadata of a commit is too long.
    #[error("commit metadata of {size} bytes is over offset.metadata.max.bytes={limit}")]
    MetadataTooLarge {
        /// Its size.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// The group has members, so it can't be deleted, nor its offsets be changed from outside.
    #[error("the group is in use: close its members first ({members})")]
    NonEmptyGroup {
        /// How many.
        members: usize,
    },
    /// There is no such group.
    #[error("there is no such group")]
    GroupIdNotFound,
    /// Members of the group consume the topic, so its offsets can't be deleted.
    #[error("members of the group are subscribed to {topic:?}")]
    GroupSubscribedToTopic {
        /// The topic.
        topic: String,
    },
}
