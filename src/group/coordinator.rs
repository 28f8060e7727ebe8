//! All groups of a broker: which there are, where each is, and where they are stored.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::BytesMut;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::Instrument;

use crate::batch::{Batch, BatchBuilder, DEFAULT_MAX_DECOMPRESSED_BYTES};
use crate::clock::Clock;
use crate::error::{Error, GroupError, Result};
use crate::partition::{Partition, ReaderPosition};
use crate::topic::{TopicId, TopicName, TopicPartition};

use super::actor::{Actor, Answer, Command};
#[cfg(feature = "tcp")]
use super::description::GroupListing;
use super::kept::Kept;
use super::memory::Memory;
use super::offsets::CommittedOffset;
use super::records::GroupRecord;
#[cfg(feature = "tcp")]
use super::state::GroupState;
use super::state::{Group, GroupLimits};

/// Commands that may wait for one group.
const MAILBOX: usize = 1024;

/// The longest name of a group: a string of Kafka's.
const MAX_NAME: usize = i16::MAX as usize;

/// Where a batch of the store ends.
const MAX_BATCH: usize = 512 << 10;

/// A broker's groups. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Coordinator(Arc<Inner>);

impl std::fmt::Debug for Coordinator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Coordinator").field("groups", &self.ids()).finish()
    }
}

pub(super) struct Inner {
    runtime: Handle,
    clock: Clock,
    limits: GroupLimits,
    memory: Arc<Memory>,
    /// `__consumer_offsets`; `None` where groups do not outlive the broker.
    store: Option<Partition>,
    groups: Mutex<Groups>,
    closing: watch::Sender<bool>,
    is_there: IsThere,
    /// Where memory waits for those who have yet to consume: how to make it wait for a group.
    holder: Option<Holder>,
}

/// Keeps what lies behind a committed offset from being dropped, as long as what it returns lives.
pub(crate) type Holder =
    Box<dyn Fn(&TopicPartition, &CommittedOffset) -> Option<ReaderPosition> + Send + Sync>;

/// Whether there is a topic of this name, in this life.
pub(crate) type IsThere = Box<dyn Fn(&TopicName, TopicId) -> bool + Send + Sync>;

#[derive(Default)]
struct Groups {
    by_id: BTreeMap<Arc<str>, Place>,
    /// Why there are none any more.
    closed: Option<Arc<str>>,
}

/// Where a group is.
enum Place {
    /// Here, with no actor.
    Idle(Box<Kept>),
    Running(Running),
    /// Nowhere: its task has panicked, with this.
    Dead(Arc<str>),
}

impl Place {
    /// Whether there is more than somebody who asks.
    fn is_group(&self) -> bool {
        match self {
            Place::Idle(kept) => kept.exists(),
            Place::Running(running) => running.exists.load(Ordering::Acquire),
            Place::Dead(_) => true,
        }
    }
}

/// The way to a group's actor.
#[derive(Clone)]
pub(crate) struct Running {
    pub(crate) commands: mpsc::Sender<Command>,
    /// Rises when the group's state has changed.
    pub(crate) changed: watch::Receiver<u64>,
    /// See [`Kept::exists`].
    exists: Arc<AtomicBool>,
}

impl Coordinator {
    pub(crate) fn new(
        runtime: Handle,
        clock: Clock,
        limits: GroupLimits,
        store: Option<Partition>,
        is_there: IsThere,
        holder: Option<Holder>,
    ) -> Self {
        let (groups, closing) = (Mutex::default(), watch::Sender::new(false));
        let memory = Memory::new(limits.max_bytes);
        Coordinator(Arc::new(Inner {
            runtime,
            clock,
            limits,
            memory,
            store,
            groups,
            closing,
            is_there,
            holder,
        }))
    }

    /// Takes in a batch of what is stored; they come in their order, before any group is used.
    /// Returns how many records could not be read, and are left out.
    pub(crate) fn load(&self, batch: &Batch) -> usize {
        let mut unreadable = 0;
        let (now, wall) = (self.0.clock.instant(), self.0.clock.wall().as_millis());
        let mut groups = self.0.groups();
        // Kafka's may be compressed. What can't be decompressed is one unreadable record.
        let expanded = batch.expanded(DEFAULT_MAX_DECOMPRESSED_BYTES);
        for record in expanded.as_ref().unwrap_or(batch).records() {
            let record = record.ok().and_then(|it| Some((it.key?, it.value)));
            match record.map(|(key, value)| GroupRecord::decode(key, value)) {
                Some(Ok(Some(record))) => groups.apply(&self.0.limits, now, wall, record),
                Some(Ok(None)) => {}
                None | Some(Err(_)) => unreadable += 1,
            }
        }
        unreadable
    }

    /// Forgets what is gone, also what was committed for topics that are not there: call it once
    /// all is loaded.
    pub(crate) fn loaded(&self) {
        let (mut stale, mut alive) = (BTreeSet::new(), Vec::new());
        self.0.groups().by_id.retain(|id, place| {
            let Place::Idle(kept) = place else { return true };
            alive.extend((!kept.group.members().is_empty()).then(|| id.clone()));
            let committed = kept.offsets.iter();
            let with_ids = committed.filter_map(|(at, it)| Some((&at.topic, it.topic_id?)));
            let gone = with_ids.filter(|(topic, id)| !self.0.is_there(topic, *id));
            stale.extend(gone.map(|(topic, id)| (topic.clone(), id)));
            kept.weigh(&self.0.memory, id, true);
            !kept.is_void()
        });
        stale.into_iter().for_each(|(topic, id)| self.forget_topic(&topic, id));
        for id in alive {
            // Its members' time runs from now on. That it closes at this moment is fine.
            let started = self.group(&id).is_ok();
            tracing::debug!(group = %id, started, "members are expected back");
        }
    }

    /// Lets every group forget what it has committed for a topic that was deleted.
    pub(crate) fn forget_topic(&self, topic: &TopicName, id: TopicId) {
        self.tell_all(
            |kept| kept.offsets.iter().any(|(at, _)| at.topic == *topic),
            || Command::ForgetTopic { topic: topic.clone(), id },
        );
    }

    /// The names of all groups.
    pub(crate) fn ids(&self) -> Vec<Arc<str>> {
        let groups = self.0.groups();
        let known = groups.by_id.iter().filter(|(_, place)| place.is_group());
        known.map(|(id, _)| id.clone()).collect()
    }

    /// All groups, by their names. Those that are gone by the time they are asked are left out.
    #[cfg(feature = "tcp")]
    pub(crate) async fn list(&self) -> Result<Vec<GroupListing>> {
        let mut listed = Vec::new();
        let mut running = Vec::new();
        for (id, place) in &self.0.groups().by_id {
            match place {
                Place::Idle(kept) if kept.exists() => listed.push(kept.list(id)),
                Place::Running(to) if to.exists.load(Ordering::Acquire) => running.push(to.clone()),
                Place::Idle(_) | Place::Running(_) => {}
                Place::Dead(_) => {
                    let (state, protocol_type) = (GroupState::Dead, None);
                    listed.push(GroupListing { group: id.clone(), state, protocol_type });
                }
            }
        }
        // One may be syncing; all are asked before any is waited for.
        let mut answers = Vec::new();
        for to in running {
            let (answer, answered) = oneshot::channel();
            if to.commands.send(Command::List { answer }).await.is_ok() {
                answers.push(answered);
            }
        }
        for answered in answers {
            listed.extend(answered.await.ok().and_then(Result::ok));
        }
        listed.sort_by(|a, b| a.group.cmp(&b.group));
        Ok(listed)
    }

    /// Lets every group forget what nobody has needed since `before` (milliseconds).
    pub(crate) fn expire(&self, before: i64) {
        let concerns = |kept: &Kept| kept.group.has_effects() || !kept.expired(before).is_empty();
        self.tell_all(concerns, || Command::Expire { before });
    }

    /// Sends a command to all groups that have an actor, and to those idle ones that it concerns.
    /// One that is busy or closed does not get it: the next time, or when it is loaded again.
    fn tell_all(&self, concerns: impl Fn(&Kept) -> bool, command: impl Fn() -> Command) {
        let ids: Vec<Arc<str>> = {
            let groups = self.0.groups();
            let concerned = groups.by_id.iter().filter(|(_, place)| match place {
                Place::Idle(kept) => concerns(kept),
                Place::Running(_) => true,
                Place::Dead(_) => false,
            });
            concerned.map(|(id, _)| id.clone()).collect()
        };
        for id in ids {
            let sent = self.group(&id).map(|it| it.commands.try_send(command()).is_ok());
            tracing::trace!(group = %id, sent = sent.unwrap_or(false), "looking for old offsets");
        }
    }

    /// Whether there is such a group: asking one that is not there would create it.
    pub(crate) fn knows(&self, id: &str) -> bool {
        self.0.groups().by_id.get(id).is_some_and(Place::is_group)
    }

    /// The way to a group's actor, which is started if need be; the group is created if it is not
    /// there.
    pub(crate) fn group(&self, id: &str) -> Result<Running> {
        if id.is_empty() || id.len() > MAX_NAME {
            let group = id.chars().take(60).collect();
            return Err(Error::Group { group, source: GroupError::InvalidGroupId });
        }
        let mut groups = self.0.groups();
        if let Some(reason) = &groups.closed {
            return Err(Error::closed(reason.clone()));
        }
        match groups.by_id.get(id) {
            Some(Place::Running(running)) => return Ok(running.clone()),
            Some(Place::Dead(reason)) => return Err(Error::closed(reason.clone())),
            Some(Place::Idle(_)) | None => {}
        }
        let limit = self.0.limits.max_groups;
        if !groups.by_id.contains_key(id) && groups.by_id.len() >= limit {
            let source = GroupError::TooManyGroups { limit };
            return Err(Error::Group { group: id.to_owned(), source });
        }
        if !groups.by_id.contains_key(id) && !self.0.memory.has_room(id.len()) {
            let source = GroupError::MemoryFull { limit: self.0.memory.limit() };
            return Err(Error::Group { group: id.to_owned(), source });
        }
        let (id, mut kept) = match groups.by_id.remove_entry(id) {
            Some((id, Place::Idle(kept))) => (id, *kept),
            _ => (id.into(), Kept::new(Group::new(self.0.limits.clone()), -1)),
        };
        kept.weigh(&self.0.memory, &id, false);
        let (commands, mailbox) = mpsc::channel(MAILBOX);
        let (changes, changed) = watch::channel(0);
        let exists = Arc::new(AtomicBool::new(kept.exists()));
        let running = Running { commands, changed, exists: exists.clone() };
        groups.by_id.insert(id.clone(), Place::Running(running.clone()));
        drop(groups);
        let span = tracing::info_span!("group", id = &*id);
        let actor = Actor::new(id, &self.0, kept, changes, exists);
        self.0.runtime.spawn(actor.run(mailbox).instrument(span));
        Ok(running)
    }

    /// Asks a group, and waits for its answer.
    pub(crate) async fn ask<T>(
        &self,
        id: &str,
        command: impl FnOnce(Answer<T>) -> Command,
    ) -> Result<T> {
        let (answer, answered) = oneshot::channel();
        let mut running = self.group(id)?;
        let sent = running.commands.send(command(answer)).await;
        if let (Ok(()), Ok(result)) = (sent, answered.await) {
            return result;
        }
        // The actor is on its way out; then it is known why.
        while running.changed.changed().await.is_ok() {}
        Err(self.why_closed(id))
    }

    /// Why a group's actor is gone that did not leave the group here.
    pub(crate) fn why_closed(&self, id: &str) -> Error {
        let groups = self.0.groups();
        let dead = match groups.by_id.get(id) {
            Some(Place::Dead(reason)) => Some(reason),
            _ => None,
        };
        let reason = dead.or(groups.closed.as_ref()).cloned();
        Error::closed(reason.unwrap_or_else(|| crate::partition::ENDED.into()))
    }

    /// Ends all groups' actors, and waits for that; what they were asked before is answered.
    pub(crate) async fn close(&self, reason: Arc<str>) {
        {
            let mut groups = self.0.groups();
            groups.closed.get_or_insert(reason);
            groups.by_id.clear();
        }
        self.0.closing.send_replace(true);
        self.0.closing.closed().await;
    }
}

impl Groups {
    fn apply(&mut self, limits: &GroupLimits, now: Duration, wall: i64, record: GroupRecord) {
        match record {
            GroupRecord::Offset { group, at, value } => {
                let kept = self.idle(limits, &group);
                match value {
                    Some(offset) => kept.offsets.insert(at, offset),
                    None => kept.offsets.remove(&at),
                }
            }
            GroupRecord::Group { group, value: Some(value) } => {
                let kept = self.idle(limits, &group);
                let restored = Group::restore(limits.clone(), now, &value);
                // Its last members went with the process, whenever that was.
                let lost_all = restored.members().is_empty() && !value.members.is_empty();
                let since = if lost_all { wall } else { value.since };
                kept.replace(restored, since);
            }
            GroupRecord::Group { group, value: None } => {
                self.idle(limits, &group).replace(Group::new(limits.clone()), -1);
            }
        }
    }

    /// The group, which has no actor yet.
    fn idle(&mut self, limits: &GroupLimits, id: &str) -> &mut Kept {
        let empty = || Place::Idle(Box::new(Kept::new(Group::new(limits.clone()), -1)));
        match self.by_id.entry(id.into()).or_insert_with(empty) {
            Place::Idle(kept) => kept,
            Place::Running(_) | Place::Dead(_) => {
                unreachable!("groups are loaded before they are used")
            }
        }
    }
}

impl Inner {
    pub(super) fn memory(&self) -> &Arc<Memory> {
        &self.memory
    }

    pub(super) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// See [`IsThere`].
    pub(super) fn is_there(&self, topic: &TopicName, id: TopicId) -> bool {
        (self.is_there)(topic, id)
    }

    /// See [`Holder`].
    pub(super) fn hold(
        &self,
        at: &TopicPartition,
        offset: &CommittedOffset,
    ) -> Option<ReaderPosition> {
        self.holder.as_ref()?(at, offset)
    }

    /// Changes when the groups are to end; has changed if they are to already.
    pub(super) fn closing(&self) -> watch::Receiver<bool> {
        let mut closing = self.closing.subscribe();
        if *closing.borrow() {
            closing.mark_changed();
        }
        closing
    }

    /// Writes records, durably as the store's topic promises.
    pub(super) async fn store(&self, records: &[GroupRecord]) -> Result<()> {
        let Some(store) = &self.store else { return Ok(()) };
        let now = self.clock.wall().as_millis();
        let mut batch = BatchBuilder::new(BytesMut::new());
        for record in records {
            batch.push(now, Some(&record.key()), record.value().as_deref(), &[]);
            if batch.len() >= MAX_BATCH {
                let full = std::mem::replace(&mut batch, BatchBuilder::new(BytesMut::new()));
                store.append_one(full.finish()).await?;
            }
        }
        if !batch.is_empty() {
            store.append_one(batch.finish()).await?;
        }
        Ok(())
    }

    /// Takes a group back from its actor, unless it is about to be asked something.
    pub(super) fn take_back(
        &self,
        id: &Arc<str>,
        commands: &mpsc::Receiver<Command>,
        kept: impl FnOnce() -> Kept,
    ) -> bool {
        let mut groups = self.groups();
        // One sender is that of the list: others may be about to send.
        if groups.closed.is_some() || !commands.is_empty() || commands.sender_strong_count() > 1 {
            return false;
        }
        let kept = kept();
        match kept.is_void() {
            true => groups.by_id.remove(id),
            false => groups.by_id.insert(id.clone(), Place::Idle(Box::new(kept))),
        };
        true
    }

    /// A group whose task has panicked is in an unknown state, and refuses everything until it is
    /// loaded again, with the broker.
    pub(super) fn bury(&self, id: &Arc<str>, panic: &str) {
        tracing::error!(group = %id, panic, "the group's task has panicked");
        let mut groups = self.groups();
        if groups.closed.is_none() {
            let reason =
                format!("group {id:?} has ended by {panic}; opening the broker again restores it");
            groups.by_id.insert(id.clone(), Place::Dead(reason.into()));
        }
    }

    fn groups(&self) -> MutexGuard<'_, Groups> {
        self.groups.lock().expect("no one panics with the groups in hand")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::group::{Commit, MemberRef};

    fn commit(topic: &str) -> Commit {
        let at = TopicPartition::new(topic, 0).expect("a legal name");
        let offset = CommittedOffset::new(1, 0, TopicId([7; 16]));
        let offsets = vec![(at, offset)];
        Commit { member: MemberRef::default(), generation: -1, offsets }
    }

    async fn ask(coordinator: &Coordinator, group: &str, topic: &str) -> Result<()> {
        let commit = commit(topic);
        coordinator.ask(group, |answer| Command::Commit { commit, answer }).await
    }

    #[tokio::test]
    async fn a_group_whose_task_panics_tells_so_and_others_go_on() {
        let (runtime, clock) = (Handle::current(), Clock::manual().into());
        let is_there: IsThere = Box::new(|topic, _| match topic.as_str() {
            "bad" => panic!("thrown by {topic}"),
            _ => true,
        });
        let limits = GroupLimits::default();
        let coordinator = Coordinator::new(runtime, clock, limits, None, is_there, None);
        ask(&coordinator, "g", "good").await.unwrap();
        let mut changed = coordinator.group("g").unwrap().changed;
        // The one that met it, and those that come later.
        for topic in ["bad", "good", "bad"] {
            let told = ask(&coordinator, "g", topic).await.unwrap_err().to_string();
            assert!(told.contains("\"g\"") && told.contains("thrown by bad"), "{told}");
        }
        while changed.changed().await.is_ok() {}
        ask(&coordinator, "other", "good").await.unwrap();
        let ids: Vec<String> = coordinator.ids().iter().map(ToString::to_string).collect();
        assert_eq!(ids, ["g", "other"]);
        coordinator.close("the end".into()).await;
        let told = ask(&coordinator, "other", "good").await.unwrap_err().to_string();
        assert!(told.contains("the end"), "{told}");
    }
}
