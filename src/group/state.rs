//! One group's members and state: what they are, before anything happens to them.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;

use super::member::STATIC_SESSION;
use super::records::{GroupMetadata, StoredMember};
use super::request::{JoinGroup, Joined, JoinedMember, MemberRef, ReplyId, Synced};
use crate::error::GroupError;

/// What a broker allows its groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GroupLimits {
    /// How many groups there may be.
    pub(crate) max_groups: usize,
    /// How much memory they may take, all together.
    pub(crate) max_bytes: usize,
    /// `group.max.size`.
    pub(crate) max_members: usize,
    /// `group.min.session.timeout.ms`, `group.max.session.timeout.ms`.
    pub(crate) min_session_timeout: Duration,
    pub(crate) max_session_timeout: Duration,
    /// `group.initial.rebalance.delay.ms`: how long a new group waits for more members.
    pub(crate) initial_rebalance_delay: Duration,
}

impl Default for GroupLimits {
    /// As Apache Kafka, but a group does not wait, nor is limited to less than memory allows.
    fn default() -> Self {
        GroupLimits {
            max_groups: 100_000,
            max_bytes: 256 << 20,
            max_members: 10_000,
            min_session_timeout: Duration::from_secs(6),
            max_session_timeout: Duration::from_secs(30 * 60),
            initial_rebalance_delay: Duration::ZERO,
        }
    }
}

/// Where a group is, by the names that Kafka's tools show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GroupState {
    /// It has no members; perhaps offsets.
    Empty,
    /// Its members are to join again.
    PreparingRebalance,
    /// They have joined, and wait for the leader's assignment.
    CompletingRebalance,
    /// Each has its partitions.
    Stable,
    /// It is gone.
    Dead,
}

impl fmt::Display for GroupState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            GroupState::Empty => "Empty",
            GroupState::PreparingRebalance => "PreparingRebalance",
            GroupState::CompletingRebalance => "CompletingRebalance",
            GroupState::Stable => "Stable",
            GroupState::Dead => "Dead",
        };
        f.write_str(name)
    }
}

/// What is to be done for a group; in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Effect {
    Joined(ReplyId, Result<Joined, GroupError>),
    Synced(ReplyId, Result<Synced, GroupError>),
    /// The group's metadata is to be stored; in `CompletingRebalance`, [`Group::stored`] be called
    /// with how that went.
    Store,
}

/// A group: a state machine that is told what happens, and when, and says what is to be done.
///
/// It knows no clock (`now` is a time since some beginning) and waits for nothing.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    pub(super) limits: GroupLimits,
    pub(super) state: GroupState,
    pub(super) generation: i32,
    /// `None` until the first member joins.
    pub(super) protocol_type: Option<String>,
    /// Chosen for this generation.
    pub(super) protocol: Option<String>,
    pub(super) leader: Option<String>,
    pub(super) members: BTreeMap<String, Member>,
    /// Member ids of static members, by their instance ids.
    pub(super) statics: BTreeMap<String, String>,
    /// Ids given to members that are to join with them, and until when they may.
    pub(super) pending: BTreeMap<String, Duration>,
    /// When the joining ends, in `PreparingRebalance`; the syncing, in `CompletingRebalance`.
    pub(super) deadline: Option<Duration>,
    /// A new group's first rebalance: it waits for more members.
    pub(super) window: Option<InitialWindow>,
    /// The leader's assignments are being stored.
    pub(super) storing: bool,
    pub(super) effects: Vec<Effect>,
    /// How many members have ever joined: the order among them.
    pub(super) joins: u64,
}

/// How long a new group goes on waiting for more members.
#[derive(Debug, Clone, Copy)]
pub(super) struct InitialWindow {
    pub(super) remaining: Duration,
    /// Whether members have come since the last look.
    pub(super) grew: bool,
}

/// A member of a group.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) instance_id: Option<String>,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    /// `None` for members in this process.
    pub(crate) session_timeout: Option<Duration>,
    pub(crate) rebalance_timeout: Duration,
    /// By preference, each with its metadata.
    pub(crate) protocols: Vec<(String, Bytes)>,
    pub(crate) assignment: Bytes,
    /// Which of all joins was its first.
    pub(super) joined: u64,
    pub(super) awaiting_join: Option<ReplyId>,
    pub(super) awaiting_sync: Option<ReplyId>,
    /// Whether it has been in a generation.
    pub(super) has_joined: bool,
    /// Whether it has asked for this generation's assignment.
    pub(super) has_synced: bool,
    /// When it is put out unless it is heard of.
    pub(super) expires: Option<Duration>,
}

impl Member {
    pub(super) fn new(request: &JoinGroup, joined: u64) -> Self {
        Member {
            instance_id: request.instance_id.clone(),
            client_id: request.client_id.clone(),
            client_host: request.client_host.clone(),
            session_timeout: request.session_timeout,
            rebalance_timeout: request.rebalance_timeout,
            protocols: request.protocols.clone(),
            assignment: Bytes::new(),
            joined,
            awaiting_join: None,
            awaiting_sync: None,
            has_joined: false,
            has_synced: false,
            expires: None,
        }
    }

    fn stored(stored: &StoredMember, protocol: &str, joined: u64) -> Self {
        Member {
            instance_id: stored.instance_id.clone(),
            client_id: stored.client_id.clone(),
            client_host: stored.client_host.clone(),
            session_timeout: stored.session_timeout,
            rebalance_timeout: stored.rebalance_timeout,
            protocols: vec![(protocol.to_owned(), stored.subscription.clone())],
            assignment: stored.assignment.clone(),
            joined,
            awaiting_join: None,
            awaiting_sync: None,
            has_joined: true,
            has_synced: true,
            expires: None,
        }
    }

    /// What it takes.
    fn size(&self, id: &str) -> usize {
        let protocols = self.protocols.iter();
        let said: usize = protocols.map(|(name, metadata)| name.len() + metadata.len()).sum();
        // An instance id and its member's stand in `statics`, too.
        let instance = self.instance_id.as_ref().map_or(0, |it| 2 * it.len() + id.len());
        let client = self.client_id.len() + self.client_host.len();
        size_of::<Member>() + id.len() + instance + client + said + self.assignment.len()
    }

    /// Its metadata for a protocol.
    pub(crate) fn metadata(&self, protocol: &str) -> Option<&Bytes> {
        self.protocols.iter().find(|(name, _)| name == protocol).map(|(_, metadata)| metadata)
    }

    /// Whether it can't be heard of now: it waits for the group. New members have a limit.
    pub(super) fn is_excused(&self) -> bool {
        self.awaiting_sync.is_some() || (self.awaiting_join.is_some() && self.has_joined)
    }

    /// It was heard of.
    pub(super) fn touch(&mut self, now: Duration) {
        self.expires = self.session_timeout.map(|timeout| now.saturating_add(timeout));
    }
}

impl Group {
    pub(crate) fn new(limits: GroupLimits) -> Self {
        Group {
            limits,
            state: GroupState::Empty,
            generation: 0,
            protocol_type: None,
            protocol: None,
            leader: None,
            members: BTreeMap::new(),
            statics: BTreeMap::new(),
            pending: BTreeMap::new(),
            deadline: None,
            window: None,
            storing: false,
            effects: Vec::new(),
            joins: 0,
        }
    }

    /// A group as it was stored. Members of the process that stored it are gone, but for static
    /// ones, who may come back; these and the others have their sessions from now on.
    pub(crate) fn restore(limits: GroupLimits, now: Duration, stored: &GroupMetadata) -> Self {
        let mut group = Group::new(limits);
        group.generation = stored.generation;
        group.protocol_type = Some(stored.protocol_type.clone()).filter(|it| !it.is_empty());
        let protocol = stored.protocol.clone().unwrap_or_default();
        let stays = |it: &&StoredMember| it.session_timeout.is_some() || it.instance_id.is_some();
        for member in stored.members.iter().filter(stays) {
            group.joins += 1;
            let id = member.member_id.clone();
            if let Some(instance) = &member.instance_id {
                group.statics.insert(instance.clone(), id.clone());
            }
            let mut member = Member::stored(member, &protocol, group.joins);
            member.session_timeout.get_or_insert(STATIC_SESSION);
            member.touch(now);
            group.members.insert(id, member);
        }
        if group.members.is_empty() {
            if !stored.members.is_empty() {
                group.effects.push(Effect::Store);
            }
            return group;
        }
        group.state = GroupState::Stable;
        group.protocol = Some(protocol);
        group.leader = stored.leader.clone().filter(|id| group.members.contains_key(id));
        if group.leader.is_none() || group.members.len() < stored.members.len() {
            group
                .leader
                .get_or_insert_with(|| group.members.keys().next().cloned().unwrap_or_default());
            group.rebalance(now);
        }
        group
    }

    /// The group as it is to be stored; `since` is when it came into its state.
    pub(crate) fn metadata(&self, since: i64) -> GroupMetadata {
        let protocol = self.protocol.as_deref();
        let members = self.members.iter();
        GroupMetadata {
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            generation: self.generation,
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            since,
            members: members.map(|(id, it)| StoredMember::new(id, it, protocol)).collect(),
        }
    }

    /// What the member takes that asks to join: nothing if it is new.
    pub(super) fn size_of_member(&self, request: &JoinGroup) -> usize {
        let of_instance = request.instance_id.as_ref().and_then(|it| self.statics.get(it));
        let id = of_instance.unwrap_or(&request.member_id);
        self.members.get(id).map_or(0, |member| member.size(id))
    }

    /// What members, and those who are about to be, take.
    pub(super) fn size(&self) -> usize {
        let members: usize = self.members.iter().map(|(id, member)| member.size(id)).sum();
        let pending: usize = self.pending.keys().map(|id| size_of::<Member>() + id.len()).sum();
        members + pending
    }

    pub(crate) fn state(&self) -> GroupState {
        self.state
    }

    pub(crate) fn generation(&self) -> i32 {
        self.generation
    }

    pub(crate) fn protocol_type(&self) -> Option<&str> {
        self.protocol_type.as_deref()
    }

    pub(crate) fn protocol(&self) -> Option<&str> {
        self.protocol.as_deref()
    }

    #[cfg(test)]
    pub(crate) fn leader(&self) -> Option<&str> {
        self.leader.as_deref()
    }

    /// The members by their ids.
    pub(crate) fn members(&self) -> &BTreeMap<String, Member> {
        &self.members
    }

    /// Whether there is something to be done.
    pub(crate) fn has_effects(&self) -> bool {
        !self.effects.is_empty()
    }

    /// What is to be done since the last call.
    pub(crate) fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// Checks that `member` is in the group, and nobody else has come as its instance.
    pub(super) fn check_member(&self, member: &MemberRef) -> Result<(), GroupError> {
        let unknown = || GroupError::UnknownMember { member_id: member.member_id.clone() };
        if let Some(instance) = &member.instance_id {
            let current = self.statics.get(instance).ok_or_else(unknown)?;
            if *current != member.member_id {
                return Err(GroupError::FencedInstanceId { instance_id: instance.clone() });
            }
        }
        match self.members.contains_key(&member.member_id) {
            true => Ok(()),
            false => Err(unknown()),
        }
    }

    pub(super) fn check_generation(&self, generation: i32) -> Result<(), GroupError> {
        let current = self.generation;
        match generation == current {
            true => Ok(()),
            false => Err(GroupError::IllegalGeneration { generation, current }),
        }
    }

    /// How long members have for joining again: as long as the slowest wants.
    pub(super) fn rebalance_timeout(&self) -> Duration {
        self.members.values().map(|member| member.rebalance_timeout).max().unwrap_or_default()
    }

    /// The protocols that all members offer.
    pub(super) fn candidates(&self) -> Vec<String> {
        let Some(first) = self.members.values().next() else { return Vec::new() };
        let offered_by_all =
            |name: &&String| self.members.values().all(|m| m.metadata(name).is_some());
        first.protocols.iter().map(|(name, _)| name).filter(offered_by_all).cloned().collect()
    }

    /// The protocol for which most members vote: each for the first of its own that all offer.
    pub(super) fn select_protocol(&self) -> Option<String> {
        let candidates = self.candidates();
        let mut votes: Vec<(&String, usize)> = Vec::new();
        for member in self.members.values() {
            let mut own = member.protocols.iter().map(|(name, _)| name);
            let Some(choice) = own.find(|name| candidates.contains(name)) else { continue };
            match votes.iter_mut().find(|(name, _)| *name == choice) {
                Some((_, count)) => *count += 1,
                None => votes.push((choice, 1)),
            }
        }
        votes.sort_by_key(|(name, count)| (std::cmp::Reverse(*count), java_bucket(name)));
        votes.first().map(|(name, _)| (*name).clone())
    }

    /// A member's answer to joining the generation that there is.
    pub(super) fn joined(&self, member_id: &str, skip_assignment: bool) -> Joined {
        let leader = self.leader.clone().unwrap_or_default();
        let protocol = self.protocol.clone().unwrap_or_default();
        let is_leader = leader == member_id;
        let members = if is_leader { self.joined_members(&protocol) } else { Vec::new() };
        Joined {
            member_id: member_id.to_owned(),
            generation: self.generation,
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            protocol,
            leader,
            skip_assignment: skip_assignment && is_leader,
            members,
        }
    }

    fn joined_members(&self, protocol: &str) -> Vec<JoinedMember> {
        let one = |(id, member): (&String, &Member)| JoinedMember {
            member_id: id.clone(),
            instance_id: member.instance_id.clone(),
            metadata: member.metadata(protocol).cloned().unwrap_or_default(),
        };
        self.members.iter().map(one).collect()
    }

    /// A member's assignment, as it is told.
    pub(super) fn synced(&self, member: &Member) -> Synced {
        Synced {
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            protocol: self.protocol.clone().unwrap_or_default(),
            assignment: member.assignment.clone(),
        }
    }
}

/// Where Java's `HashMap` keeps a name: of protocols with as many votes, Kafka takes the one that
/// it meets first there.
fn java_bucket(name: &str) -> u32 {
    let mut hash = 0u32;
    for unit in name.encode_utf16() {
        hash = hash.wrapping_mul(31).wrapping_add(unit.into());
    }
    (hash ^ (hash >> 16)) & 15
}
