//! What there is to tell about a group.

#[cfg(feature = "tcp")]
use std::sync::Arc;

#[cfg(feature = "tcp")]
use bytes::Bytes;

use crate::assignor::Assignment;
use crate::topic::TopicPartition;

use super::state::{Group, GroupState, Member};

/// A consumer group, as [`Admin::describe_group`](crate::admin::Admin::describe_group) tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupDescription {
    /// Its name.
    pub group: String,
    /// Where it is.
    pub state: GroupState,
    /// How many rebalances it has been through; -1 over the network, where nobody tells.
    pub generation: i32,
    /// What its members are: `consumer`; `None` if nobody has ever joined, and offsets were
    /// committed from outside.
    pub protocol_type: Option<String>,
    /// How partitions are shared out; `None` without members.
    pub strategy: Option<String>,
    /// Its members, by their ids.
    pub members: Vec<MemberDescription>,
}

/// A member of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemberDescription {
    /// The id that the group gave it.
    pub member_id: String,
    /// The instance id of a static member.
    pub instance_id: Option<String>,
    /// What its client calls itself.
    pub client_id: String,
    /// From where it comes, as Kafka shows it; `in process` for a consumer of the broker's own.
    pub client_host: String,
    /// The partitions that it was assigned, if they are a consumer's; none during a rebalance.
    pub assignment: Vec<TopicPartition>,
    /// What it says of itself in the group's protocol, and what it was assigned, for who can read
    /// that; empty during a rebalance.
    #[cfg(feature = "tcp")]
    pub(crate) raw: (Bytes, Bytes),
}

/// What a list of groups tells of one.
#[cfg(feature = "tcp")]
#[derive(Debug, Clone)]
pub(crate) struct GroupListing {
    pub(crate) group: Arc<str>,
    pub(crate) state: GroupState,
    pub(crate) protocol_type: Option<String>,
}

impl Group {
    pub(super) fn describe(&self, id: &str) -> GroupDescription {
        let members = self.members().iter().map(|(member_id, member)| MemberDescription {
            member_id: member_id.clone(),
            instance_id: member.instance_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            assignment: self.assigned(member),
            #[cfg(feature = "tcp")]
            raw: self.raw(member),
        });
        GroupDescription {
            group: id.to_owned(),
            state: self.state(),
            generation: self.generation(),
            protocol_type: self.protocol_type().map(str::to_owned),
            strategy: self.protocol().map(str::to_owned),
            members: members.collect(),
        }
    }

    #[cfg(feature = "tcp")]
    fn raw(&self, member: &Member) -> (Bytes, Bytes) {
        if self.state() != GroupState::Stable {
            return (Bytes::new(), Bytes::new());
        }
        let metadata = self.protocol().and_then(|protocol| member.metadata(protocol));
        (metadata.cloned().unwrap_or_default(), member.assignment.clone())
    }

    /// What can't be read is no consumer's.
    fn assigned(&self, member: &Member) -> Vec<TopicPartition> {
        if self.state() != GroupState::Stable {
            return Vec::new();
        }
        let assignment = Assignment::decode(&member.assignment).ok();
        assignment.map(|assignment| assignment.partitions).unwrap_or_default()
    }
}
