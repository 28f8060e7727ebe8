//! From one generation to the next: who is waited for, and for how long.

use std::time::Duration;

use bytes::Bytes;

use super::state::{Effect, Group, GroupState, InitialWindow, Member};
use crate::error::GroupError;

impl Group {
    /// Begins a rebalance if none is under way; else looks whether it is complete.
    pub(super) fn rebalance(&mut self, now: Duration) {
        match self.state {
            GroupState::Empty | GroupState::CompletingRebalance | GroupState::Stable => {
                self.prepare_rebalance(now);
            }
            GroupState::PreparingRebalance => self.complete_if_all_joined(now),
            GroupState::Dead => {}
        }
    }

    fn prepare_rebalance(&mut self, now: Duration) {
        let was_empty = self.state == GroupState::Empty;
        if self.state == GroupState::CompletingRebalance {
            self.fail_syncs(now, &GroupError::RebalanceInProgress);
            self.members.values_mut().for_each(|member| member.assignment = Bytes::new());
        }
        self.storing = false;
        self.state = GroupState::PreparingRebalance;
        let (delay, timeout) = (self.limits.initial_rebalance_delay, self.rebalance_timeout());
        if was_empty && !delay.is_zero() {
            let remaining = timeout.saturating_sub(delay);
            self.window = Some(InitialWindow { remaining, grew: false });
            self.deadline = Some(now.saturating_add(delay));
            return;
        }
        self.window = None;
        self.deadline = Some(now.saturating_add(timeout));
        self.complete_if_all_joined(now);
    }

    pub(super) fn complete_if_all_joined(&mut self, now: Duration) {
        let all_joined = self.members.values().all(|member| member.awaiting_join.is_some());
        if self.state == GroupState::PreparingRebalance
            && self.window.is_none()
            && self.pending.is_empty()
            && all_joined
        {
            self.complete_join(now);
        }
    }

    /// The time for joining is over.
    pub(super) fn joining_ended(&mut self, now: Duration) {
        if let Some(window) = &mut self.window
            && window.grew
            && !window.remaining.is_zero()
        {
            let delay = self.limits.initial_rebalance_delay.min(window.remaining);
            *window = InitialWindow { remaining: window.remaining - delay, grew: false };
            self.deadline = Some(now.saturating_add(delay));
            return;
        }
        self.complete_join(now);
    }

    /// Puts out who did not join again, and begins the next generation with those who did.
    fn complete_join(&mut self, now: Duration) {
        self.window = None;
        self.deadline = None;
        let late = |member: &Member| member.instance_id.is_none() && member.awaiting_join.is_none();
        let late: Vec<String> =
            self.members.iter().filter(|(_, it)| late(it)).map(|(id, _)| id.clone()).collect();
        for id in late {
            tracing::info!(member = id, "put out of its group: it did not join in time");
            self.remove(&id);
        }
        if !self.elect_leader() && !self.members.is_empty() {
            // Only static members are left, and none has come back. They may, until they expire.
            self.deadline = Some(now.saturating_add(self.rebalance_timeout()));
            return;
        }
        // Beyond the last it begins again: what was stored may say anything.
        self.generation = self.generation.checked_add(1).unwrap_or(1);
        match self.members.is_empty() {
            true => self.become_empty(),
            false => self.begin_generation(now),
        }
    }

    fn become_empty(&mut self) {
        self.state = GroupState::Empty;
        self.protocol = None;
        self.leader = None;
        self.effects.push(Effect::Store);
    }

    fn begin_generation(&mut self, now: Duration) {
        self.state = GroupState::CompletingRebalance;
        self.protocol = self.select_protocol();
        self.deadline = Some(now.saturating_add(self.rebalance_timeout()));
        let ids: Vec<String> = self.members.keys().cloned().collect();
        for id in ids {
            let answer = self.joined(&id, false);
            let Some(member) = self.members.get_mut(&id) else { continue };
            member.has_synced = false;
            if let Some(reply) = member.awaiting_join.take() {
                member.has_joined = true;
                member.touch(now);
                self.effects.push(Effect::Joined(reply, Ok(answer)));
            }
        }
    }

    /// Keeps the leader if it has joined again, or elects the first who has. False if none has.
    fn elect_leader(&mut self) -> bool {
        let has_joined =
            |id: &String| self.members.get(id).is_some_and(|member| member.awaiting_join.is_some());
        if self.leader.as_ref().is_some_and(has_joined) {
            return true;
        }
        let joined = self.members.iter().filter(|(_, member)| member.awaiting_join.is_some());
        let first = joined.min_by_key(|(_, member)| member.joined).map(|(id, _)| id.clone());
        let Some(first) = first else { return false };
        self.leader = Some(first);
        true
    }

    /// Takes a member out of the group, whatever it waits for.
    pub(super) fn remove(&mut self, id: &str) {
        self.pending.remove(id);
        self.stop_waiting(id);
        let Some(member) = self.members.remove(id) else { return };
        if let Some(instance) = &member.instance_id {
            self.statics.remove(instance);
        }
        if self.leader.as_deref() == Some(id) {
            let next = self.members.iter().min_by_key(|(_, member)| member.joined);
            self.leader = next.map(|(id, _)| id.clone());
        }
    }

    /// Answers what a member waits for: it is none any more.
    pub(super) fn stop_waiting(&mut self, id: &str) {
        let Some(member) = self.members.get_mut(id) else { return };
        let unknown = GroupError::UnknownMember { member_id: id.to_owned() };
        if let Some(reply) = member.awaiting_join.take() {
            self.effects.push(Effect::Joined(reply, Err(unknown.clone())));
        }
        if let Some(reply) = member.awaiting_sync.take() {
            self.effects.push(Effect::Synced(reply, Err(unknown)));
        }
    }

    pub(super) fn fail_syncs(&mut self, now: Duration, error: &GroupError) {
        for member in self.members.values_mut() {
            member.has_synced = false;
            if let Some(reply) = member.awaiting_sync.take() {
                member.touch(now);
                self.effects.push(Effect::Synced(reply, Err(error.clone())));
            }
        }
    }
}
