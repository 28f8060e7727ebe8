//! SyncGroup: the leader's assignments reach the members.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use super::request::{ReplyId, SyncGroup};
use super::state::{Effect, Group, GroupState};
use crate::error::GroupError;

impl Group {
    /// A member asks for its assignment, and the leader brings those of all. It is answered once
    /// they are stored.
    pub(crate) fn sync(&mut self, now: Duration, reply: ReplyId, request: SyncGroup) {
        if let Err(error) = self.try_sync(now, reply, request) {
            self.effects.push(Effect::Synced(reply, Err(error)));
        }
    }

    fn try_sync(
        &mut self,
        now: Duration,
        reply: ReplyId,
        request: SyncGroup,
    ) -> Result<(), GroupError> {
        self.check_member(&request.member)?;
        self.check_generation(request.generation)?;
        self.check_same_protocol(&request)?;
        let id = &request.member.member_id;
        self.touch(now, id);
        match self.state {
            GroupState::Empty | GroupState::Dead => {
                Err(GroupError::UnknownMember { member_id: id.clone() })
            }
            GroupState::PreparingRebalance => Err(GroupError::RebalanceInProgress),
            GroupState::CompletingRebalance => {
                self.wait_for_assignment(reply, id);
                if self.leader.as_ref() == Some(id) && !self.storing {
                    self.take_assignments(request.assignments);
                }
                Ok(())
            }
            GroupState::Stable => {
                let Some(member) = self.members.get_mut(id) else { return Ok(()) };
                member.has_synced = true;
                self.update_sync_deadline();
                let answer = self.synced(&self.members[id]);
                self.effects.push(Effect::Synced(reply, Ok(answer)));
                Ok(())
            }
        }
    }

    fn check_same_protocol(&self, request: &SyncGroup) -> Result<(), GroupError> {
        let differs = |said: &Option<String>, own: &Option<String>| said.is_some() && said != own;
        let type_differs = differs(&request.protocol_type, &self.protocol_type);
        if !type_differs && !differs(&request.protocol, &self.protocol) {
            return Ok(());
        }
        let said = if type_differs { &request.protocol_type } else { &request.protocol };
        let own = if type_differs { &self.protocol_type } else { &self.protocol };
        Err(GroupError::InconsistentProtocol {
            offered: said.iter().cloned().collect(),
            allowed: own.iter().cloned().collect(),
        })
    }

    fn wait_for_assignment(&mut self, reply: ReplyId, id: &str) {
        let Some(member) = self.members.get_mut(id) else { return };
        member.has_synced = true;
        if let Some(former) = member.awaiting_sync.replace(reply) {
            self.effects.push(Effect::Synced(former, Err(GroupError::RebalanceInProgress)));
        }
    }

    /// Who is not mentioned is assigned nothing.
    fn take_assignments(&mut self, assignments: Vec<(String, Bytes)>) {
        let mut assignments: BTreeMap<String, Bytes> = assignments.into_iter().collect();
        for (id, member) in &mut self.members {
            member.assignment = assignments.remove(id).unwrap_or_default();
        }
        self.storing = true;
        self.effects.push(Effect::Store);
    }

    /// The metadata of `generation` has been stored, or could not be.
    pub(crate) fn stored(&mut self, now: Duration, generation: i32, ok: bool) {
        if self.state != GroupState::CompletingRebalance
            || self.generation != generation
            || !std::mem::take(&mut self.storing)
        {
            return;
        }
        if !ok {
            self.rebalance(now);
            return;
        }
        self.state = GroupState::Stable;
        self.update_sync_deadline();
        let ids: Vec<String> = self.members.keys().cloned().collect();
        for id in ids {
            let answer = self.synced(&self.members[&id]);
            let Some(member) = self.members.get_mut(&id) else { continue };
            if let Some(reply) = member.awaiting_sync.take() {
                member.touch(now);
                self.effects.push(Effect::Synced(reply, Ok(answer)));
            }
        }
    }

    /// Once all have asked for their assignments, nobody is waited for.
    fn update_sync_deadline(&mut self) {
        if self.members.values().all(|member| member.has_synced) {
            self.deadline = None;
        }
    }

    /// The time for syncing is over: who has not is put out.
    pub(super) fn syncing_ended(&mut self, now: Duration) {
        self.deadline = None;
        let late = self.members.iter().filter(|(_, member)| !member.has_synced);
        let late: Vec<String> = late.map(|(id, _)| id.clone()).collect();
        if late.is_empty() {
            return;
        }
        for id in late {
            tracing::info!(member = id, "put out of its group: it did not sync in time");
            self.remove(&id);
        }
        self.rebalance(now);
    }
}
