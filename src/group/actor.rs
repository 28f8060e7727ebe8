//! The actor around one group: its timers, its store, and those who wait.
//!
//! Commits that have queued up are stored with one append. Whatever the state machine wants stored
//! is stored before what it answers next.
//!
//! Members of this process are watched: when a consumer is dropped, so is the guard that it holds,
//! and it has left. An actor ends when its group has had no members and nothing to do for a while,
//! leaving the group with the coordinator.

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use fnv::FnvHashMap;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use crate::clock::Clock;
use crate::error::{Error, GroupError, Result};
use crate::partition::panics::caught_in;
use crate::topic::{TopicId, TopicName, TopicPartition};

use super::coordinator::Inner;
use super::description::GroupDescription;
#[cfg(feature = "tcp")]
use super::description::GroupListing;
use super::kept::Kept;
use super::memory::Memory;
use super::offsets::{CommittedOffset, MAX_METADATA, size_of_offset};
use super::records::GroupRecord;
use super::request::{JoinGroup, Joined, MemberRef, ReplyId, SyncGroup, Synced};
use super::state::{Effect, GroupState};

/// How many commands are taken at once.
const MAX_TAKEN: usize = 256;

/// How long an actor without members waits for work before it ends.
const IDLE: Duration = Duration::from_secs(5);

pub(crate) type Answer<T> = oneshot::Sender<Result<T>>;

/// What a group is asked.
pub(crate) enum Command {
    Join {
        request: JoinGroup,
        alive: Option<Alive>,
        answer: Answer<Joined>,
    },
    Sync {
        request: SyncGroup,
        answer: Answer<Synced>,
    },
    Heartbeat {
        member: MemberRef,
        generation: i32,
        answer: Answer<()>,
    },
    /// How it went for each.
    Leave {
        members: Vec<MemberRef>,
        answer: Answer<Vec<Result<()>>>,
    },
    Commit {
        commit: Commit,
        answer: Answer<()>,
    },
    /// The offsets of these partitions; of all, if none is named.
    Fetch {
        partitions: Vec<TopicPartition>,
        answer: Answer<Vec<(TopicPartition, CommittedOffset)>>,
    },
    /// Sets the offsets of a group without members.
    Alter {
        offsets: Vec<(TopicPartition, CommittedOffset)>,
        answer: Answer<()>,
    },
    /// Forgets what was committed for a topic that was deleted.
    ForgetTopic {
        topic: TopicName,
        id: TopicId,
    },
    /// Forgets the offsets of these partitions, unless members are subscribed to them.
    Forget {
        partitions: Vec<TopicPartition>,
        answer: Answer<()>,
    },
    Delete {
        answer: Answer<()>,
    },
    /// Forgets offsets that were committed, or a group that became empty, up to this time.
    Expire {
        before: i64,
    },
    Describe {
        answer: Answer<GroupDescription>,
    },
    /// The little that a list tells.
    #[cfg(feature = "tcp")]
    List {
        answer: Answer<GroupListing>,
    },
}

/// Closed when the consumer that holds the other end is dropped.
pub(crate) type Alive = oneshot::Sender<Infallible>;

/// Offsets that a member commits, or somebody who is none.
#[derive(Debug, Clone)]
pub(crate) struct Commit {
    pub(crate) member: MemberRef,
    /// -1 for somebody who is no member.
    pub(crate) generation: i32,
    pub(crate) offsets: Vec<(TopicPartition, CommittedOffset)>,
}

pub(super) struct Actor {
    id: Arc<str>,
    home: Weak<Inner>,
    kept: Kept,
    clock: Clock,
    memory: Arc<Memory>,
    /// Whether members may take more or less than was noted.
    counts_members: bool,
    joins: FnvHashMap<ReplyId, Answer<Joined>>,
    syncs: FnvHashMap<ReplyId, Answer<Synced>>,
    next_reply: ReplyId,
    /// The members whose consumers are gone.
    vanished: JoinSet<String>,
    /// Rises with every change of state: members look whether it concerns them.
    changed: watch::Sender<u64>,
    /// For those who list groups; up to date before anybody is answered.
    exists: Arc<AtomicBool>,
    /// Changes when the broker closes, which waits until this is dropped.
    closing: watch::Receiver<bool>,
    is_closing: bool,
}

/// Whether the actor goes on.
enum Next {
    Continue,
    End,
}

impl Actor {
    pub(super) fn new(
        id: Arc<str>,
        home: &Arc<Inner>,
        kept: Kept,
        changed: watch::Sender<u64>,
        exists: Arc<AtomicBool>,
    ) -> Self {
        Actor {
            id,
            home: Arc::downgrade(home),
            kept,
            clock: home.clock().clone(),
            memory: home.memory().clone(),
            counts_members: false,
            joins: FnvHashMap::default(),
            syncs: FnvHashMap::default(),
            next_reply: 0,
            vanished: JoinSet::new(),
            changed,
            exists,
            closing: home.closing(),
            is_closing: false,
        }
    }

    pub(super) async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        if let Err(panic) = caught_in(self.serve(&mut commands)).await
            && let Some(home) = self.home.upgrade()
        {
            home.bury(&self.id, &panic);
        }
    }

    async fn serve(&mut self, commands: &mut mpsc::Receiver<Command>) {
        let mut taken = Vec::new();
        while let Next::Continue = self.wait(commands, &mut taken).await {
            let mut commits = Vec::new();
            for command in taken.drain(..) {
                match command {
                    Command::Commit { commit, answer } => commits.push((commit, answer)),
                    other => {
                        self.commit(std::mem::take(&mut commits)).await;
                        self.handle(other).await;
                    }
                }
            }
            self.commit(commits).await;
            self.settle().await;
        }
    }

    async fn wait(
        &mut self,
        commands: &mut mpsc::Receiver<Command>,
        taken: &mut Vec<Command>,
    ) -> Next {
        let deadline = self.kept.group.next_deadline();
        // Who was given an id is waited for.
        let idle = self.kept.group.members().is_empty() && deadline.is_none();
        tokio::select! {
            biased;
            n = commands.recv_many(taken, MAX_TAKEN) => match n {
                0 => return Next::End,
                _ => return Next::Continue,
            },
            // If there is no sender any more, nor is there a broker.
            _ = self.closing.changed(), if !self.is_closing => {
                // What was asked before is answered; the end of the mailbox is the end.
                self.is_closing = true;
                commands.close();
            }
            Some(gone) = self.vanished.join_next() => {
                if let Ok(member) = gone {
                    self.counts_members = true;
                    self.kept.group.vanish(self.clock.instant(), &member);
                }
            }
            () = sleep_until(&self.clock, deadline) => {
                self.counts_members = true;
                self.kept.group.tick(self.clock.instant());
            }
            () = self.clock.sleep(IDLE), if idle => {
                if self.retire(commands).await {
                    return Next::End;
                }
            }
        }
        Next::Continue
    }

    /// Leaves the group with the coordinator, if nobody is about to ask for it.
    async fn retire(&mut self, commands: &mpsc::Receiver<Command>) -> bool {
        let is_stored = self.kept.group.generation() > 0;
        if self.kept.is_void() && is_stored && self.kept.group.state() == GroupState::Empty {
            // Nothing else would ever take back what is stored of it.
            if let Err(error) = self.delete().await {
                tracing::warn!(group = %self.id, %error, "the group could not be forgotten");
                return false;
            }
        }
        let Some(home) = self.home.upgrade() else { return false };
        home.take_back(&self.id, commands, || std::mem::take(&mut self.kept))
    }

    async fn handle(&mut self, command: Command) {
        let now = self.clock.instant();
        match command {
            Command::Join { request, alive, answer } => self.join(now, request, alive, answer),
            Command::Sync { request, answer } => self.sync(now, request, answer),
            Command::Heartbeat { member, generation, answer } => {
                let alive = self.kept.group.heartbeat(now, &member, generation);
                self.answer(answer, alive);
            }
            Command::Leave { members, answer } => {
                let leave = |member: &MemberRef| {
                    let left = self.kept.group.leave(now, member);
                    left.map_err(|source| Error::Group { group: self.id.to_string(), source })
                };
                let left = members.iter().map(leave).collect();
                self.counts_members = true;
                self.answer(answer, Ok(left));
            }
            Command::Commit { commit, answer } => self.commit(vec![(commit, answer)]).await,
            Command::Fetch { partitions, answer } => {
                // Whoever asked may have gone, here and below.
                let _ = answer.send(Ok(self.fetch(&partitions)));
            }
            Command::Alter { offsets, answer } => {
                let _ = answer.send(self.alter(offsets).await);
            }
            Command::ForgetTopic { topic, id } => {
                if let Err(error) = self.forget_topic(&topic, id).await {
                    tracing::warn!(group = %self.id, %error, "offsets could not be removed");
                }
            }
            Command::Forget { partitions, answer } => {
                let _ = answer.send(match self.check_there() {
                    Ok(()) => self.forget(partitions).await,
                    Err(error) => Err(error),
                });
            }
            Command::Delete { answer } => {
                let _ = answer.send(match self.check_there() {
                    Ok(()) => self.delete().await,
                    Err(error) => Err(error),
                });
            }
            Command::Expire { before } => {
                if let Err(error) = self.expire(before).await {
                    tracing::warn!(group = %self.id, %error, "offsets could not be expired");
                }
            }
            Command::Describe { answer } => {
                let told = self.check_there().map(|()| self.kept.group.describe(&self.id));
                let _ = answer.send(told);
            }
            #[cfg(feature = "tcp")]
            Command::List { answer } => {
                let _ = answer.send(self.check_there().map(|()| self.kept.list(&self.id)));
            }
        }
        self.settle().await;
    }

    fn join(
        &mut self,
        now: Duration,
        request: JoinGroup,
        alive: Option<Alive>,
        answer: Answer<Joined>,
    ) {
        let present = self.kept.group.size_of_member(&request);
        if let Err(refused) = self.check_memory(request.size().saturating_sub(present)) {
            self.answer(answer, Err(refused));
            return;
        }
        self.counts_members = true;
        let reply = self.reply();
        self.joins.insert(reply, answer);
        if let Some(mut alive) = alive {
            let known = &request.member_id;
            let member = if known.is_empty() { &request.new_member_id } else { known }.clone();
            self.vanished.spawn(async move {
                alive.closed().await;
                member
            });
        }
        self.kept.group.join(now, reply, request);
    }

    fn sync(&mut self, now: Duration, request: SyncGroup, answer: Answer<Synced>) {
        let assigned: usize = request.assignments.iter().map(|(_, it)| it.len()).sum();
        let present: usize = self.kept.group.members().values().map(|it| it.assignment.len()).sum();
        if let Err(refused) = self.check_memory(assigned.saturating_sub(present)) {
            self.answer(answer, Err(refused));
            return;
        }
        self.counts_members = true;
        let reply = self.reply();
        self.syncs.insert(reply, answer);
        self.kept.group.sync(now, reply, request);
    }

    /// Whether there is room for so much more: what takes the place of as much always has some.
    fn check_memory(&self, bytes: usize) -> Result<(), GroupError> {
        match bytes == 0 || self.memory.has_room(bytes) {
            true => Ok(()),
            false => Err(GroupError::MemoryFull { limit: self.memory.limit() }),
        }
    }

    /// How much more these offsets take than what they take the place of.
    fn growth(&self, offsets: &[(TopicPartition, CommittedOffset)]) -> usize {
        let known = offsets.iter().filter_map(|(at, _)| self.kept.offsets.get(at));
        let present: usize = known.map(size_of_offset).sum();
        let wanted: usize = offsets.iter().map(|(_, offset)| size_of_offset(offset)).sum();
        wanted.saturating_sub(present)
    }

    fn reply(&mut self) -> ReplyId {
        self.next_reply += 1;
        self.next_reply
    }

    fn answer<T>(&self, answer: Answer<T>, result: Result<T, GroupError>) {
        self.note_existence();
        let _ = answer.send(result.map_err(|source| self.error(source)));
    }

    fn error(&self, source: GroupError) -> Error {
        Error::Group { group: self.id.to_string(), source }
    }

    /// Does what the state machine wants done.
    async fn settle(&mut self) {
        self.note_existence();
        self.kept.weigh(&self.memory, &self.id, std::mem::take(&mut self.counts_members));
        let mut changed = false;
        loop {
            let effects = self.kept.group.take_effects();
            if effects.is_empty() {
                break;
            }
            changed = true;
            for effect in effects {
                match effect {
                    Effect::Joined(reply, result) => {
                        if let Some(answer) = self.joins.remove(&reply) {
                            self.answer(answer, result);
                        }
                    }
                    Effect::Synced(reply, result) => {
                        if let Some(answer) = self.syncs.remove(&reply) {
                            self.answer(answer, result);
                        }
                    }
                    Effect::Store => self.store_group().await,
                }
            }
        }
        changed |= self.kept.note_state(self.clock.wall().as_millis());
        if changed {
            self.changed.send_modify(|changes| *changes += 1);
        }
    }

    async fn store_group(&mut self) {
        self.kept.note_state(self.clock.wall().as_millis());
        let generation = self.kept.group.generation();
        let value = Some(self.kept.group.metadata(self.kept.since));
        let record = GroupRecord::Group { group: self.id.to_string(), value };
        let stored = self.store(&[record]).await;
        if let Err(error) = &stored {
            tracing::warn!(group = %self.id, generation, %error, "the group was not stored");
            // Told to join again, members would come back at once, for ever, and nobody be told.
            for (_, answer) in self.syncs.drain() {
                let _ = answer.send(Err(error.clone()));
            }
        }
        self.kept.group.stored(self.clock.instant(), generation, stored.is_ok());
    }

    /// Commits that were made at once are stored at once.
    async fn commit(&mut self, commits: Vec<(Commit, Answer<()>)>) {
        let mut records = Vec::new();
        let mut waiting = Vec::new();
        for (commit, answer) in commits {
            match self.check_commit(&commit) {
                Err(refused) => self.answer(answer, Err(refused)),
                Ok(()) => {
                    let offsets = self.of_living(commit.offsets);
                    records.extend(self.records(&offsets));
                    waiting.push((offsets, answer));
                }
            }
        }
        if waiting.is_empty() {
            return;
        }
        let stored = self.store(&records).await;
        for (offsets, answer) in waiting {
            if stored.is_ok() {
                self.keep(offsets);
            }
            let _ = answer.send(stored.clone());
        }
    }

    /// Leaves out topics that are gone: nobody would ever say so again. Those who commit may not
    /// have heard of it yet, and where there is another of that name it is not theirs.
    fn of_living(
        &self,
        mut offsets: Vec<(TopicPartition, CommittedOffset)>,
    ) -> Vec<(TopicPartition, CommittedOffset)> {
        if let Some(home) = self.home.upgrade() {
            offsets.retain(|(at, it)| it.topic_id.is_none_or(|id| home.is_there(&at.topic, id)));
        }
        offsets
    }

    fn records(&self, offsets: &[(TopicPartition, CommittedOffset)]) -> Vec<GroupRecord> {
        let record = |(at, value): &(TopicPartition, CommittedOffset)| GroupRecord::Offset {
            group: self.id.to_string(),
            at: at.clone(),
            value: Some(value.clone()),
        };
        offsets.iter().map(record).collect()
    }

    /// From now on these are the group's offsets. Memory that waits for readers waits for them.
    fn keep(&mut self, offsets: Vec<(TopicPartition, CommittedOffset)>) {
        let home = self.home.upgrade();
        for (at, offset) in offsets {
            // In this order: what was held is let go of once what is needed is held.
            let held = home.as_ref().and_then(|home| home.hold(&at, &offset));
            self.kept.held.extend(held.map(|held| (at.clone(), held)));
            self.kept.offsets.insert(at, offset);
        }
        self.note_existence();
    }

    fn note_existence(&self) {
        self.exists.store(self.kept.exists(), Ordering::Release);
    }

    async fn alter(&mut self, offsets: Vec<(TopicPartition, CommittedOffset)>) -> Result<()> {
        self.kept.group.check_unused().map_err(|refused| self.error(refused))?;
        let offsets = self.of_living(offsets);
        self.check_memory(self.growth(&offsets)).map_err(|refused| self.error(refused))?;
        self.store(&self.records(&offsets)).await?;
        self.keep(offsets);
        Ok(())
    }

    async fn forget_topic(&mut self, topic: &TopicName, id: TopicId) -> Result<()> {
        let concerns = |(at, offset): &(&TopicPartition, &CommittedOffset)| {
            at.topic == *topic && offset.topic_id.is_none_or(|committed| committed == id)
        };
        let gone = self.kept.offsets.iter().filter(concerns).map(|(at, _)| at.clone());
        self.remove_offsets(gone.collect()).await
    }

    fn check_commit(&mut self, commit: &Commit) -> Result<(), GroupError> {
        let sizes = commit.offsets.iter().map(|(_, offset)| offset.metadata.len());
        if let Some(size) = sizes.max().filter(|size| *size > MAX_METADATA) {
            return Err(GroupError::MetadataTooLarge { size, limit: MAX_METADATA });
        }
        self.check_memory(self.growth(&commit.offsets))?;
        let now = self.clock.instant();
        self.kept.group.check_commit(now, &commit.member, commit.generation)
    }

    fn fetch(&self, partitions: &[TopicPartition]) -> Vec<(TopicPartition, CommittedOffset)> {
        let offsets = &self.kept.offsets;
        let own = |(at, offset): (&TopicPartition, &CommittedOffset)| (at.clone(), offset.clone());
        match partitions {
            [] => offsets.iter().map(own).collect(),
            named => named.iter().filter_map(|at| Some(own((at, offsets.get(at)?)))).collect(),
        }
    }

    async fn forget(&mut self, partitions: Vec<TopicPartition>) -> Result<()> {
        if self.kept.group.protocol_type() != Some("consumer") {
            // Which topics they use, only they know.
            self.kept.group.check_unused().map_err(|refused| self.error(refused))?;
        }
        let subscribed = |at: &&TopicPartition| self.kept.is_subscribed_to(at.topic.as_str());
        if let Some(at) = partitions.iter().find(subscribed) {
            let topic = at.topic.to_string();
            return Err(self.error(GroupError::GroupSubscribedToTopic { topic }));
        }
        self.remove_offsets(partitions).await
    }

    async fn remove_offsets(&mut self, partitions: Vec<TopicPartition>) -> Result<()> {
        let group = self.id.to_string();
        let known = partitions.into_iter().filter(|at| self.kept.offsets.get(at).is_some());
        let known: Vec<TopicPartition> = known.collect();
        let gone = |at: &TopicPartition| GroupRecord::Offset {
            group: group.clone(),
            at: at.clone(),
            value: None,
        };
        let records: Vec<GroupRecord> = known.iter().map(gone).collect();
        self.store(&records).await?;
        for at in &known {
            self.kept.offsets.remove(at);
            self.kept.held.remove(at);
        }
        self.note_existence();
        Ok(())
    }

    /// Fails for a group that was deleted, or has only been asked about.
    fn check_there(&self) -> Result<()> {
        match self.kept.exists() {
            true => Ok(()),
            false => Err(self.error(GroupError::GroupIdNotFound)),
        }
    }

    async fn delete(&mut self) -> Result<()> {
        self.kept.group.check_unused().map_err(|refused| self.error(refused))?;
        let all: Vec<TopicPartition> = self.kept.offsets.iter().map(|(at, _)| at.clone()).collect();
        self.remove_offsets(all).await?;
        let group = self.id.to_string();
        self.store(&[GroupRecord::Group { group, value: None }]).await?;
        self.kept = self.kept.emptied();
        self.note_existence();
        Ok(())
    }

    async fn expire(&mut self, before: i64) -> Result<()> {
        let expired = self.kept.expired(before);
        if expired.is_empty() {
            return Ok(());
        }
        tracing::info!(group = %self.id, offsets = expired.len(), "offsets expired");
        self.remove_offsets(expired).await?;
        match self.kept.is_void() {
            true => self.delete().await,
            false => Ok(()),
        }
    }

    async fn store(&self, records: &[GroupRecord]) -> Result<()> {
        let Some(home) = self.home.upgrade() else {
            return Err(Error::closed("the broker is gone"));
        };
        home.store(records).await
    }
}

/// At `deadline`; never, without one.
async fn sleep_until(clock: &Clock, deadline: Option<Duration>) {
    match deadline {
        Some(deadline) => clock.sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
