//! What there is to tell about a group.

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
    /// How many rebalances it has been through.
    pub generation: i32,
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
    /// The partitions that it was assigned, if they are a consumer's; none during a rebalance.
    pub assignment: Vec<TopicPartition>,
}

impl Group {
    pub(super) fn describe(&self, id: &str) -> GroupDescription {
        let members = self.members().iter().map(|(member_id, member)| MemberDescription {
            member_id: member_id.clone(),
            instance_id: member.instance_id.clone(),
            client_id: member.client_id.clone(),
            assignment: self.assigned(member),
        });
        GroupDescription {
            group: id.to_owned(),
            state: self.state(),
            generation: self.generation(),
            strategy: self.protocol().map(str::to_owned),
            members: members.collect(),
        }
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
