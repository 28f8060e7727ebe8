//! What is kept of a group, whether its actor has it or nobody does: members, offsets, and since
//! when it has been as it is.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::partition::ReaderPosition;
use crate::topic::TopicPartition;

use super::memory::{Memory, Share};
use super::offsets::Offsets;
use super::state::{Group, GroupLimits, GroupState};
use super::subscribed_topics;

/// What is kept of a group.
pub(super) struct Kept {
    pub(super) group: Group,
    pub(super) offsets: Offsets,
    /// What memory waits for.
    pub(super) held: BTreeMap<TopicPartition, ReaderPosition>,
    /// State and generation when `since` was noted.
    pub(super) state: (GroupState, i32),
    /// What it takes of the memory for groups.
    share: Option<Share>,
    /// What members take of that.
    members_bytes: usize,
    /// Since when it has been in its state, in milliseconds; -1 if that is not known.
    pub(super) since: i64,
}

impl Default for Kept {
    fn default() -> Self {
        Kept::new(Group::new(GroupLimits::default()), -1)
    }
}

impl Kept {
    pub(super) fn new(group: Group, since: i64) -> Self {
        let state = (group.state(), group.generation());
        let (offsets, held) = (Offsets::default(), BTreeMap::new());
        Kept { group, offsets, held, state, share: None, members_bytes: 0, since }
    }

    /// Another group in its place, with the same offsets.
    pub(super) fn replace(&mut self, group: Group, since: i64) {
        let offsets = std::mem::take(&mut self.offsets);
        *self = Kept { offsets, ..Kept::new(group, since) };
    }

    /// Whether it is a group, and not just a name that somebody asks for.
    pub(super) fn exists(&self) -> bool {
        !self.is_void() || self.group.generation() > 0
    }

    /// Takes note of how much the group takes by now, whose name is `id`; members are counted if
    /// they may take more or less than before.
    pub(super) fn weigh(&mut self, memory: &Arc<Memory>, id: &str, counts_members: bool) {
        if counts_members {
            self.members_bytes = self.group.size();
        }
        let bytes = size_of::<Kept>() + id.len() + self.members_bytes + self.offsets.size();
        self.share.get_or_insert_with(|| Share::new(memory)).resize(bytes);
    }

    #[cfg(feature = "tcp")]
    pub(super) fn list(&self, id: &Arc<str>) -> super::GroupListing {
        super::GroupListing {
            group: id.clone(),
            state: self.group.state(),
            protocol_type: self.group.protocol_type().map(str::to_owned),
        }
    }

    /// What is left of the group once it is deleted.
    pub(super) fn emptied(&self) -> Self {
        Kept::new(Group::new(self.group.limits.clone()), -1)
    }

    /// Whether there is nothing to remember.
    pub(super) fn is_void(&self) -> bool {
        self.group.members().is_empty() && self.offsets.is_empty()
    }

    /// The offsets that nobody has needed since `before`: of a group that has had no members since
    /// then, those that were not committed since; of one with members, those of topics that they do
    /// not consume. (Kafka forgets all of an empty group's, also those committed a moment ago.)
    pub(super) fn expired(&self, before: i64) -> Vec<TopicPartition> {
        let state = self.group.state();
        match (self.group.protocol_type(), state) {
            (None, _) => self.offsets.older_than(before, |_| false),
            // Also -1. Somebody who is no member may have committed since.
            (Some(_), GroupState::Empty) if self.since <= before => {
                self.offsets.older_than(before, |_| false)
            }
            (Some("consumer"), GroupState::Stable) => {
                self.offsets.older_than(before, |topic| self.is_subscribed_to(topic))
            }
            _ => Vec::new(),
        }
    }

    /// Takes note of when the group came into its state; whether it has just done so.
    pub(super) fn note_state(&mut self, now: i64) -> bool {
        let state = (self.group.state(), self.group.generation());
        let is_new = self.state != state;
        if is_new {
            self.state = state;
            self.since = now;
        }
        is_new
    }

    /// Whether members consume a topic, as far as their metadata can be read.
    pub(super) fn is_subscribed_to(&self, topic: &str) -> bool {
        let protocol = self.group.protocol().unwrap_or_default();
        let is_stable = self.group.state() != GroupState::Empty;
        let reads = |metadata: &bytes::Bytes| {
            subscribed_topics(metadata).is_some_and(|topics| topics.contains(topic))
        };
        let mut members = self.group.members().values().filter_map(|it| it.metadata(protocol));
        is_stable && members.any(reads)
    }
}
