//! JoinGroup: who is let in, and what that starts.

use std::time::Duration;

use super::request::{JoinGroup, MemberRef, ReplyId};
use super::state::{Effect, Group, GroupState, Member};
use super::{gives_up, subscribed_topics};
use crate::error::GroupError;

/// How long a new member is waited for whose call may have been given up (Kafka's
/// `classicGroupNewMemberJoinTimeoutMs`).
const NEW_MEMBER_TIMEOUT: Duration = Duration::from_secs(5 * 60);

impl Group {
    /// A member joins, or joins again. It is answered once the rebalance that this may start is
    /// over.
    pub(crate) fn join(&mut self, now: Duration, reply: ReplyId, request: JoinGroup) {
        if let Err(error) = self.try_join(now, reply, request) {
            self.effects.push(Effect::Joined(reply, Err(error)));
        }
    }

    fn try_join(
        &mut self,
        now: Duration,
        reply: ReplyId,
        request: JoinGroup,
    ) -> Result<(), GroupError> {
        self.check_session_timeout(&request)?;
        self.check_room(&request.member_id)?;
        self.check_protocols(&request)?;
        match (request.member_id.is_empty(), &request.instance_id) {
            (true, None) if request.accepts_member_id => {
                self.check_pending()?;
                Err(self.give_id(now, request))
            }
            (true, None) => {
                self.add(now, reply, request);
                Ok(())
            }
            (true, Some(instance)) => {
                match self.statics.get(instance).cloned() {
                    Some(old) => self.replace(now, reply, &old, request),
                    None => self.add(now, reply, request),
                }
                Ok(())
            }
            (false, _) => self.join_known(now, reply, request),
        }
    }

    fn check_session_timeout(&self, request: &JoinGroup) -> Result<(), GroupError> {
        let (min, max) = (self.limits.min_session_timeout, self.limits.max_session_timeout);
        match request.session_timeout {
            Some(timeout) if timeout < min || timeout > max => {
                Err(GroupError::InvalidSessionTimeout { timeout, min, max })
            }
            _ => Ok(()),
        }
    }

    fn check_room(&mut self, member_id: &str) -> Result<(), GroupError> {
        let limit = self.limits.max_members;
        let is_waiting = |member: &&Member| member.awaiting_join.is_some();
        let has_room = match self.state {
            GroupState::Empty | GroupState::Dead => true,
            GroupState::PreparingRebalance => {
                let waits = self.members.get(member_id).is_some_and(|it| is_waiting(&it));
                waits || self.members.values().filter(is_waiting).count() < limit
            }
            GroupState::CompletingRebalance | GroupState::Stable => {
                self.members.contains_key(member_id) || self.members.len() < limit
            }
        };
        if has_room {
            return Ok(());
        }
        self.remove(member_id);
        Err(GroupError::GroupMaxSizeReached { limit })
    }

    /// Of those who were given an id and have not come yet there are no more than of members.
    fn check_pending(&self) -> Result<(), GroupError> {
        let limit = self.limits.max_members;
        match self.pending.len() < limit {
            true => Ok(()),
            false => Err(GroupError::GroupMaxSizeReached { limit }),
        }
    }

    fn check_protocols(&self, request: &JoinGroup) -> Result<(), GroupError> {
        let fits = match (&self.protocol_type, self.members.is_empty()) {
            (Some(own), false) => {
                let allowed = self.candidates();
                let is_allowed = |(name, _): &(String, _)| allowed.contains(name);
                request.protocol_type == *own && request.protocols.iter().any(is_allowed)
            }
            _ => !request.protocol_type.is_empty() && !request.protocols.is_empty(),
        };
        if fits {
            return Ok(());
        }
        let offered = request.protocols.iter().map(|(name, _)| name.clone()).collect();
        Err(GroupError::InconsistentProtocol { offered, allowed: self.candidates() })
    }

    /// The new member is to join with an id, so that it can't be let in twice (KIP-394).
    fn give_id(&mut self, now: Duration, request: JoinGroup) -> GroupError {
        let member_id = request.new_member_id;
        let timeout = request.session_timeout.unwrap_or(NEW_MEMBER_TIMEOUT);
        self.pending.insert(member_id.clone(), now.saturating_add(timeout));
        GroupError::MemberIdRequired { member_id }
    }

    /// Lets a member in that was not there.
    fn add(&mut self, now: Duration, reply: ReplyId, request: JoinGroup) {
        let id = match request.member_id.is_empty() {
            true => request.new_member_id.clone(),
            false => request.member_id.clone(),
        };
        self.joins += 1;
        let mut member = Member::new(&request, self.joins);
        member.awaiting_join = Some(reply);
        member.expires = member.session_timeout.map(|_| now.saturating_add(NEW_MEMBER_TIMEOUT));
        if let Some(instance) = &member.instance_id {
            self.statics.insert(instance.clone(), id.clone());
        }
        if self.members.is_empty() {
            self.protocol_type = Some(request.protocol_type);
        }
        self.leader.get_or_insert_with(|| id.clone());
        self.pending.remove(&id);
        self.members.insert(id, member);
        if let Some(window) = &mut self.window {
            window.grew = true;
        }
        self.rebalance(now);
    }

    /// A member comes with an id.
    fn join_known(
        &mut self,
        now: Duration,
        reply: ReplyId,
        request: JoinGroup,
    ) -> Result<(), GroupError> {
        if request.instance_id.is_none() && self.pending.contains_key(&request.member_id) {
            self.add(now, reply, request);
            return Ok(());
        }
        let (member_id, instance_id) = (request.member_id.clone(), request.instance_id.clone());
        self.check_member(&MemberRef { member_id, instance_id })?;
        let id = request.member_id.clone();
        let is_leader = self.leader.as_deref() == Some(&id);
        let is_unchanged = self.members[&id].protocols == request.protocols;
        let keeps_generation = match self.state {
            GroupState::CompletingRebalance => is_unchanged,
            GroupState::Stable => is_unchanged && !is_leader,
            _ => false,
        };
        if keeps_generation {
            let answer = self.joined(&id, false);
            self.touch(now, &id);
            self.effects.push(Effect::Joined(reply, Ok(answer)));
        } else {
            self.update(now, reply, &id, &request);
            self.rebalance(now);
        }
        Ok(())
    }

    /// Takes over what a member says of itself; it waits to join.
    fn update(&mut self, now: Duration, reply: ReplyId, id: &str, request: &JoinGroup) {
        let Some(member) = self.members.get_mut(id) else { return };
        member.protocols.clone_from(&request.protocols);
        member.rebalance_timeout = request.rebalance_timeout;
        member.session_timeout = request.session_timeout;
        member.touch(now);
        if let Some(former) = member.awaiting_join.replace(reply) {
            // It asks twice, so it does not wait for the former answer any more.
            self.effects.push(Effect::Joined(former, Err(GroupError::RebalanceInProgress)));
        }
    }

    /// A static member has come back without its id: it gets a new one, and whoever has the old
    /// one is fenced. If it wants the topics that it did before, a stable group stays as it is.
    /// (Kafka's does so in any case, and what is wanted now is not read before the next rebalance.)
    ///
    /// It does not if the old one was to give partitions up, and to join again once it had: nobody
    /// else knows that they are free. (In Kafka they stay with nobody until something else happens
    /// to the group.)
    fn replace(&mut self, now: Duration, reply: ReplyId, old: &str, request: JoinGroup) {
        let id = request.new_member_id.clone();
        let Some(mut member) = self.members.remove(old) else { return };
        let fenced = GroupError::FencedInstanceId {
            instance_id: member.instance_id.clone().unwrap_or_default(),
        };
        if let Some(waiting) = member.awaiting_join.take() {
            self.effects.push(Effect::Joined(waiting, Err(fenced.clone())));
        }
        if let Some(waiting) = member.awaiting_sync.take() {
            self.effects.push(Effect::Synced(waiting, Err(fenced)));
        }
        let protocol = self.protocol.clone().unwrap_or_default();
        let wanted = member.metadata(&protocol).and_then(subscribed_topics);
        let was_to_return =
            member.metadata(&protocol).is_some_and(|it| gives_up(it, &member.assignment));
        let former_leader = self.leader.clone().unwrap_or_default();
        if former_leader == old {
            self.leader = Some(id.clone());
        }
        if let Some(instance) = &member.instance_id {
            self.statics.insert(instance.clone(), id.clone());
        }
        self.members.insert(id.clone(), member);
        self.update(now, reply, &id, &request);
        let member = self.members.get(&id);
        let wants = member.and_then(|it| subscribed_topics(it.metadata(&protocol)?));
        let stays = self.select_protocol() == self.protocol && wants == wanted;
        if self.state != GroupState::Stable || !stays || was_to_return {
            self.rebalance(now);
            return;
        }
        self.members.get_mut(&id).map(|member| member.awaiting_join.take());
        let mut answer = self.joined(&id, request.accepts_skip);
        if !request.accepts_skip {
            // Taking itself for the leader it would assign anew, while nobody else rebalances.
            answer.leader = former_leader;
            answer.members = if answer.leader == id { answer.members } else { Vec::new() };
        }
        self.effects.push(Effect::Store);
        self.effects.push(Effect::Joined(reply, Ok(answer)));
    }

    pub(super) fn touch(&mut self, now: Duration, id: &str) {
        if let Some(member) = self.members.get_mut(id) {
            member.touch(now);
        }
    }
}
