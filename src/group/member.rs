//! What members do beside joining: heartbeats, leaving, vanishing; and what time does to them.

use std::time::Duration;

use super::request::MemberRef;
use super::state::{Group, GroupState, Member};
use crate::error::GroupError;

/// The session of a static member in this process begins when its consumer is dropped
/// (`session.timeout.ms`).
pub(super) const STATIC_SESSION: Duration = Duration::from_secs(45);

impl Group {
    /// A member is alive, and asks whether its generation is still the group's.
    pub(crate) fn heartbeat(
        &mut self,
        now: Duration,
        member: &MemberRef,
        generation: i32,
    ) -> Result<(), GroupError> {
        self.check_member(member)?;
        self.check_generation(generation)?;
        self.touch(now, &member.member_id);
        match self.state {
            GroupState::PreparingRebalance => Err(GroupError::RebalanceInProgress),
            _ => Ok(()),
        }
    }

    /// A member leaves; without a member id, the one that has the instance id is put out.
    pub(crate) fn leave(&mut self, now: Duration, member: &MemberRef) -> Result<(), GroupError> {
        let mut id = member.member_id.clone();
        if id.is_empty() {
            let instance = member.instance_id.as_ref().and_then(|it| self.statics.get(it));
            let named = member.instance_id.clone().unwrap_or(id);
            id = instance.ok_or(GroupError::UnknownMember { member_id: named })?.clone();
        } else if self.pending.remove(&id).is_some() {
            self.complete_if_all_joined(now);
            return Ok(());
        } else {
            self.check_member(member)?;
        }
        self.remove(&id);
        self.rebalance(now);
        Ok(())
    }

    /// The consumer of a member in this process is gone. A static one may come back.
    pub(crate) fn vanish(&mut self, now: Duration, id: &str) {
        let Some(member) = self.members.get_mut(id) else { return };
        if member.instance_id.is_some() {
            member.session_timeout = Some(STATIC_SESSION);
            member.touch(now);
            self.stop_waiting(id);
            return;
        }
        self.remove(id);
        self.rebalance(now);
    }

    /// Whether a member may commit, or whoever commits without being one.
    ///
    /// `generation` is -1 for those who are no member: they may commit while there are none.
    ///
    /// A member of this process may do so throughout a rebalance, until it has its new assignment:
    /// it has what it had in the generation before, and nobody is given that before the next one.
    /// It may not know yet that its generation is over. (Kafka refuses: there a commit can be
    /// late.)
    pub(crate) fn check_commit(
        &mut self,
        now: Duration,
        member: &MemberRef,
        generation: i32,
    ) -> Result<(), GroupError> {
        if generation < 0 && self.state == GroupState::Empty {
            return Ok(());
        }
        self.check_member(member)?;
        let known = self.members.get(&member.member_id);
        let local = known.filter(|member| member.session_timeout.is_none());
        let is_next = generation.checked_add(1) == Some(self.generation);
        let is_between = self.state == GroupState::CompletingRebalance;
        let is_current = generation == self.generation;
        if let Some(member) = local
            && (is_between && (is_next || is_current) || is_next && !member.has_synced)
        {
            return Ok(());
        }
        self.check_generation(generation)?;
        self.touch(now, &member.member_id);
        match self.state {
            GroupState::CompletingRebalance => Err(GroupError::RebalanceInProgress),
            _ => Ok(()),
        }
    }

    /// Whether the group may be deleted, or its offsets be changed from outside.
    pub(crate) fn check_unused(&self) -> Result<(), GroupError> {
        match self.state {
            GroupState::Empty => Ok(()),
            GroupState::Dead => Err(GroupError::GroupIdNotFound),
            _ => Err(GroupError::NonEmptyGroup { members: self.members.len() }),
        }
    }

    /// When [`Group::tick`] is to be called next, if ever.
    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        let waits = |member: &&Member| !member.is_excused();
        let members = self.members.values().filter(waits).filter_map(|member| member.expires);
        members.chain(self.pending.values().copied()).chain(self.deadline).min()
    }

    /// Time has passed.
    pub(crate) fn tick(&mut self, now: Duration) {
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            match self.state {
                GroupState::PreparingRebalance => self.joining_ended(now),
                _ => self.syncing_ended(now),
            }
        }
        let pending = self.pending.len();
        self.pending.retain(|_, until| *until > now);
        let expired = |member: &Member| {
            !member.is_excused() && member.expires.is_some_and(|expires| expires <= now)
        };
        let expired: Vec<String> =
            self.members.iter().filter(|(_, it)| expired(it)).map(|(id, _)| id.clone()).collect();
        for id in &expired {
            tracing::info!(member = id, "put out of its group: nothing was heard of it");
            self.remove(id);
        }
        if !expired.is_empty() {
            self.rebalance(now);
        } else if self.pending.len() < pending {
            self.complete_if_all_joined(now);
        }
    }
}
