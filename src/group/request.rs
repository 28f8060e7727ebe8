//! What members ask of a group, and its answers: JoinGroup, SyncGroup and so on without the wire.

use std::time::Duration;

use bytes::Bytes;

/// Tells calls apart that wait for the group. Whoever calls chooses it, and never twice.
pub(crate) type ReplyId = u64;

/// A member joins, or joins again.
#[derive(Debug, Clone)]
pub(crate) struct JoinGroup {
    /// Empty for a member that has none yet.
    pub(crate) member_id: String,
    /// The id for it if it has none yet.
    pub(crate) new_member_id: String,
    /// Of a static member (KIP-345).
    pub(crate) instance_id: Option<String>,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    /// `None` for members in this process, which can't go without being noticed.
    pub(crate) session_timeout: Option<Duration>,
    pub(crate) rebalance_timeout: Duration,
    pub(crate) protocol_type: String,
    /// By preference, each with its metadata.
    pub(crate) protocols: Vec<(String, Bytes)>,
    /// Whether the member understands `MemberIdRequired` (JoinGroup v4 and later).
    pub(crate) accepts_member_id: bool,
    /// Whether it understands `skip_assignment` (JoinGroup v9 and later).
    pub(crate) accepts_skip: bool,
}

impl JoinGroup {
    /// What it would have the group keep.
    pub(super) fn size(&self) -> usize {
        let protocols = self.protocols.iter();
        let said: usize = protocols.map(|(name, metadata)| name.len() + metadata.len()).sum();
        let instance = self.instance_id.as_ref().map_or(0, String::len);
        self.new_member_id.len() + instance + self.client_id.len() + said
    }
}

/// The member is in the group's next generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Joined {
    pub(crate) member_id: String,
    pub(crate) generation: i32,
    pub(crate) protocol_type: String,
    pub(crate) protocol: String,
    pub(crate) leader: String,
    /// Whether the leader is to leave the assignment as it is.
    pub(crate) skip_assignment: bool,
    /// All members; for the leader only.
    pub(crate) members: Vec<JoinedMember>,
}

/// What the leader learns of a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JoinedMember {
    pub(crate) member_id: String,
    pub(crate) instance_id: Option<String>,
    /// Its metadata for the protocol that was chosen.
    pub(crate) metadata: Bytes,
}

/// A member asks for its assignment; the leader brings those of all.
#[derive(Debug, Clone)]
pub(crate) struct SyncGroup {
    pub(crate) member: MemberRef,
    pub(crate) generation: i32,
    /// What the member takes the group's to be, where it says so (SyncGroup v5 and later).
    pub(crate) protocol_type: Option<String>,
    pub(crate) protocol: Option<String>,
    pub(crate) assignments: Vec<(String, Bytes)>,
}

/// What a member is assigned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Synced {
    pub(crate) protocol_type: String,
    pub(crate) protocol: String,
    pub(crate) assignment: Bytes,
}

/// Which member calls.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct MemberRef {
    pub(crate) member_id: String,
    pub(crate) instance_id: Option<String>,
}
