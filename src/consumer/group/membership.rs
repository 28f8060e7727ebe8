//! A consumer as a member: joining, what it is assigned, what that changes.

use std::collections::BTreeSet;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::watch;

use super::super::Consumer;
use super::super::builder::Begin;
use super::listener::Revoked;
use super::offsets::{GroupMetadata, GroupStart, Owned, commit_of, committed_begins};
use super::presence::{Calls, Presence};
use super::{GroupSettings, RebalanceListener};
use crate::assignor::{Assignment, Assignor, Member, RebalanceProtocol, Subscription};
use crate::clock::Clock;
use crate::error::{Error, GroupError, Result};
use crate::topic::{TopicName, TopicPartition};
use crate::transport::{GroupSession, JoinGroup, Joined, MemberRef, SyncGroup, Synced};

type Fut<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What a consumer is to its group.
pub(in super::super) struct Membership {
    session: Arc<dyn GroupSession>,
    id: Arc<str>,
    settings: GroupSettings,
    start: Arc<GroupStart>,
    member_id: String,
    /// -1 while it is in none.
    generation: i32,
    /// A static member that joined without a generation: the group may take it for what it was.
    may_be_back: bool,
    assignors: Vec<Assignor>,
    phase: Phase,
    /// Whether to join again as soon as that is possible.
    rejoin: bool,
    auto_commit: Option<AutoCommit>,
    clock: Clock,
    calls: Arc<Calls>,
    /// Sees to it that it is polled, while it is a member.
    presence: Option<Presence>,
    /// When the group may have put it out while it rebalanced, by the clock's `instant`.
    overdue: Duration,
}

/// What it waits for.
enum Phase {
    /// Nothing: the partitions were chosen by the user, and the group only keeps offsets.
    Assigned,
    /// The next poll joins.
    Outside,
    /// Partitions are given up before joining.
    Leaving(Fut<()>),
    Joining(Fut<Result<Joined>>),
    Syncing(Fut<Result<Synced>>, String),
    /// Partitions are given up that the new assignment does not have; then these are taken.
    Revoking(Fut<()>, Vec<TopicPartition>),
    Locating(Fut<Result<Vec<Begin>>>),
    Assigning(Fut<()>),
    Stable(Watch),
    /// It can't be a member, for good.
    Failed(Error),
}

/// Sees to it that the generation is still the group's.
struct Watch {
    changes: watch::Receiver<u64>,
    /// Kept from poll to poll, for its place among those who wait.
    waiting: Fut<()>,
    /// The group has changed, and was asked whether that concerns this member.
    asking: Option<Fut<Result<()>>>,
}

impl Watch {
    fn new(mut changes: watch::Receiver<u64>) -> Self {
        // Ask once: something may have changed since the member joined.
        changes.mark_changed();
        let waiting = Watch::wait(&changes);
        Watch { changes, waiting, asking: None }
    }

    fn wait(changes: &watch::Receiver<u64>) -> Fut<()> {
        let mut changes = changes.clone();
        Box::pin(async move {
            // If the sender is gone, whoever asks is told why.
            let _ = changes.changed().await;
        })
    }

    /// Whether nothing has changed that the member does not know.
    fn is_calm(&self) -> bool {
        self.asking.is_none() && !self.changes.has_changed().unwrap_or(true)
    }
}

/// Commits by the clock.
struct AutoCommit {
    interval: Duration,
    next: Duration,
    /// Wakes whoever waits for records at `next`.
    timer: Option<Fut<()>>,
    running: Option<Fut<Result<()>>>,
    /// What it has committed last: no need to do so again.
    committed: Vec<Owned>,
}

impl Membership {
    /// A member to be, or (`assigned`) a consumer that only commits.
    pub(in super::super) fn new(
        session: Arc<dyn GroupSession>,
        id: Arc<str>,
        settings: GroupSettings,
        start: GroupStart,
        assigned: bool,
        clock: Clock,
    ) -> Self {
        let now = clock.instant();
        let auto_commit = settings.auto_commit.map(|interval| AutoCommit {
            interval,
            next: now.saturating_add(interval),
            timer: None,
            running: None,
            committed: Vec::new(),
        });
        Membership {
            session,
            id,
            assignors: settings.strategies.iter().map(|it| Assignor::new(*it)).collect(),
            settings,
            start: Arc::new(start),
            member_id: String::new(),
            generation: -1,
            may_be_back: false,
            phase: if assigned { Phase::Assigned } else { Phase::Outside },
            rejoin: false,
            auto_commit,
            clock,
            calls: Arc::default(),
            presence: None,
            overdue: Duration::MAX,
        }
    }

    /// The user calls, or awaits.
    #[inline]
    pub(in super::super) fn begin_call(&self) {
        self.calls.begin();
    }

    #[inline]
    pub(in super::super) fn end_call(&self) {
        self.calls.end();
    }

    fn is_away(&self) -> bool {
        self.presence.as_ref().is_some_and(Presence::is_over)
    }

    /// Whether it joins again, with what it has.
    pub(super) fn rebalances(&self) -> bool {
        matches!(self.phase, Phase::Joining(_) | Phase::Syncing(..)) && self.generation >= 0
    }

    pub(super) fn session(&self) -> &Arc<dyn GroupSession> {
        &self.session
    }

    /// Who commits.
    pub(super) fn identity(&self) -> (MemberRef, i32) {
        let instance_id = self.settings.instance_id.clone().filter(|_| self.generation >= 0);
        (MemberRef { member_id: self.member_id.clone(), instance_id }, self.generation)
    }

    pub(super) fn metadata(&self) -> GroupMetadata {
        GroupMetadata {
            group: self.id.to_string(),
            member_id: self.member_id.clone(),
            generation: self.generation,
            instance_id: self.settings.instance_id.clone(),
        }
    }

    /// Whether partitions come from the group.
    pub(in super::super) fn shares(&self) -> bool {
        !matches!(self.phase, Phase::Assigned | Phase::Failed(_))
    }

    /// Whether what it has may be handed out: not while somebody else may have it by now.
    pub(in super::super) fn is_calm(&self) -> bool {
        match &self.phase {
            Phase::Stable(watch) => watch.is_calm() && !self.is_away(),
            // Under the cooperative protocol it reads on; but not for longer than the group waits.
            Phase::Joining(_) | Phase::Syncing(..) => self.clock.instant() < self.overdue,
            // The listener may have to look up where to go on, or to put away what it has.
            Phase::Leaving(_) | Phase::Revoking(..) | Phase::Assigning(_) => false,
            _ => true,
        }
    }

    /// Why it is no member any more, and never will be.
    pub(in super::super) fn check(&self) -> Result<()> {
        match &self.phase {
            Phase::Failed(error) => Err(error.clone()),
            _ => Ok(()),
        }
    }

    /// The topics have changed: their partitions are to be shared out anew.
    pub(in super::super) fn rejoin(&mut self) {
        self.rejoin = true;
    }

    /// Whether a partition is given up only when somebody else is to have it.
    fn is_cooperative(&self) -> bool {
        let cooperates = |assignor: &Assignor| {
            assignor.strategy().rebalance_protocols().contains(&RebalanceProtocol::Cooperative)
        };
        self.assignors.iter().all(cooperates)
    }

    /// Goes on as far as it can without waiting.
    pub(in super::super) fn poll(&mut self, consumer: &mut Consumer, cx: &mut Context<'_>) {
        self.poll_auto_commit(consumer, cx);
        // What has failed is told before it is tried again.
        let told = consumer.notices.len();
        while self.step(consumer, cx) && consumer.notices.len() == told {}
    }

    fn step(&mut self, consumer: &mut Consumer, cx: &mut Context<'_>) -> bool {
        macro_rules! ready {
            ($future:expr) => {
                match $future.as_mut().poll(cx) {
                    Poll::Ready(output) => output,
                    Poll::Pending => return false,
                }
            };
        }
        if let (Phase::Stable(_), Some(presence)) = (&self.phase, &mut self.presence) {
            match presence.poll_over(cx) {
                Poll::Ready(()) => {
                    self.member_id.clear();
                    self.lose_all(consumer);
                }
                Poll::Pending if presence.is_over() => return false,
                Poll::Pending => {}
            }
        }
        match &mut self.phase {
            Phase::Assigned | Phase::Failed(_) => return false,
            Phase::Outside => self.begin_join(consumer),
            Phase::Leaving(done) => {
                ready!(done);
                self.join(consumer);
            }
            Phase::Joining(joined) => match ready!(joined) {
                Ok(joined) => self.joined(consumer, joined),
                Err(error) => self.failed(consumer, error),
            },
            Phase::Syncing(synced, _) => match ready!(synced) {
                Ok(synced) => self.synced(consumer, &synced),
                Err(error) => self.failed(consumer, error),
            },
            Phase::Revoking(done, _) => {
                ready!(done);
                let Phase::Revoking(_, added) = mem::replace(&mut self.phase, Phase::Outside)
                else {
                    return true;
                };
                self.locate(consumer, added);
            }
            Phase::Locating(begins) => match ready!(begins) {
                Ok(begins) => self.located(consumer, begins),
                Err(error) => self.failed(consumer, error),
            },
            Phase::Assigning(done) => {
                ready!(done);
                self.settle(consumer);
            }
            Phase::Stable(_) if mem::take(&mut self.rejoin) => self.phase = Phase::Outside,
            Phase::Stable(watch) => match &mut watch.asking {
                Some(asked) => {
                    let answer = ready!(asked);
                    watch.asking = None;
                    if let Err(error) = answer {
                        self.failed(consumer, error);
                    }
                }
                None => {
                    if !watch.changes.has_changed().unwrap_or(true) {
                        ready!(watch.waiting);
                    }
                    self.ask();
                }
            },
        }
        true
    }

    /// Asks whether what has changed in the group concerns this member.
    fn ask(&mut self) {
        let (member, generation) = self.identity();
        let session = self.session.clone();
        let Phase::Stable(watch) = &mut self.phase else { return };
        watch.changes.mark_unchanged();
        watch.waiting = Watch::wait(&watch.changes);
        watch.asking = Some(Box::pin(async move { session.heartbeat(member, generation).await }));
    }

    /// Joins, after giving everything up if the group stops for a rebalance.
    fn begin_join(&mut self, consumer: &mut Consumer) {
        self.rejoin = false;
        let keeps = self.is_cooperative() || consumer.assignment.is_empty();
        if keeps {
            return self.join(consumer);
        }
        let all = consumer.owned().into_iter().map(|owned| owned.at).collect::<Vec<_>>();
        let revoked = self.give_up(consumer, &all);
        self.phase = Phase::Leaving(self.tell_revoked(consumer, revoked));
    }

    fn join(&mut self, consumer: &Consumer) {
        let owned: Vec<TopicPartition> =
            consumer.owned().into_iter().map(|owned| owned.at).collect();
        let rack = Some(&consumer.settings.client_rack).filter(|rack| !rack.is_empty());
        let protocols = self.assignors.iter().map(|assignor| {
            let subscription = Subscription {
                user_data: assignor.user_data(),
                owned_partitions: owned.clone(),
                generation: self.generation,
                rack: rack.map(|rack| rack.to_string()),
                ..Subscription::to(consumer.subscription.names())
            };
            (assignor.strategy().name().to_owned(), subscription.encode())
        });
        let request = JoinGroup {
            member_id: self.member_id.clone(),
            new_member_id: String::new(),
            instance_id: self.settings.instance_id.clone(),
            client_id: self.settings.client_id.clone().unwrap_or_else(|| self.session.client_id()),
            client_host: "in process".to_owned(),
            session_timeout: None,
            rebalance_timeout: self.settings.max_poll_interval,
            protocol_type: "consumer".to_owned(),
            protocols: protocols.collect(),
            accepts_member_id: false,
            accepts_skip: true,
        };
        let session = self.session.clone();
        self.overdue = self.clock.instant().saturating_add(self.settings.max_poll_interval);
        self.phase = Phase::Joining(Box::pin(async move { session.join(request).await }));
    }

    fn joined(&mut self, consumer: &Consumer, joined: Joined) {
        self.member_id.clone_from(&joined.member_id);
        self.may_be_back = self.settings.instance_id.is_some() && self.generation < 0;
        self.generation = joined.generation;
        let leads = joined.leader == joined.member_id && !joined.skip_assignment;
        let assignments = if leads { self.assign(consumer, &joined) } else { Vec::new() };
        let (member, generation) = self.identity();
        self.presence.get_or_insert_with(|| {
            let (interval, calls) = (self.settings.max_poll_interval, self.calls.clone());
            Presence::watch(&self.session, member.clone(), interval, calls, self.clock.clone())
        });
        let request = SyncGroup {
            member,
            generation,
            protocol_type: Some(joined.protocol_type),
            protocol: Some(joined.protocol.clone()),
            assignments,
        };
        let session = self.session.clone();
        let synced = Box::pin(async move { session.sync(request).await });
        self.phase = Phase::Syncing(synced, joined.protocol);
    }

    /// Shares out the partitions, as the leader.
    fn assign(&mut self, consumer: &Consumer, joined: &Joined) -> Vec<(String, bytes::Bytes)> {
        let named = |it: &&mut Assignor| it.strategy().name() == joined.protocol;
        let Some(assignor) = self.assignors.iter_mut().find(named) else { return Vec::new() };
        let members = joined.members.iter().map(|member| Member {
            id: member.member_id.clone(),
            group_instance_id: member.instance_id.clone(),
            // Who can't say what it wants gets nothing.
            subscription: Subscription::decode(&member.metadata)
                .unwrap_or_else(|_| Subscription::to([])),
        });
        let members: Vec<Member> = members.collect();
        let partitions = |topic: &TopicName| {
            consumer.transport.known_topic(topic.as_str()).map_or(0, |topic| topic.partitions)
        };
        let assigned = assignor.assign(&members, partitions);
        let encode = |partitions| Assignment { partitions, user_data: None }.encode();
        members.into_iter().map(|it| it.id).zip(assigned.into_iter().map(encode)).collect()
    }

    fn synced(&mut self, consumer: &mut Consumer, synced: &Synced) {
        let Phase::Syncing(_, protocol) = &self.phase else { return };
        let protocol = protocol.clone();
        // A member that the leader forgot has nothing.
        let assigned = Assignment::decode(&synced.assignment).unwrap_or_default().partitions;
        let named = |it: &&mut Assignor| it.strategy().name() == protocol;
        if let Some(assignor) = self.assignors.iter_mut().find(named) {
            assignor.on_assignment(&assigned, self.generation);
        }
        let topics = consumer.subscription.names();
        let (assigned, unwanted): (BTreeSet<TopicPartition>, BTreeSet<TopicPartition>) =
            assigned.into_iter().partition(|at| topics.contains(&at.topic));
        // Kafka lets a static member that comes back have what it had, whatever it wants by now,
        // until it joins once more.
        self.rejoin |= self.may_be_back && !unwanted.is_empty();
        let owned: BTreeSet<TopicPartition> =
            consumer.owned().into_iter().map(|owned| owned.at).collect();
        let gone: Vec<TopicPartition> = owned.difference(&assigned).cloned().collect();
        let added: Vec<TopicPartition> = assigned.difference(&owned).cloned().collect();
        tracing::debug!(group = %self.id, generation = self.generation,
            added = added.len(), gone = gone.len(), "assigned");
        if gone.is_empty() {
            return self.locate(consumer, added);
        }
        // Others get them once this member has joined again without them.
        self.rejoin |= self.is_cooperative();
        let revoked = self.give_up(consumer, &gone);
        self.phase = Phase::Revoking(self.tell_revoked(consumer, revoked), added);
    }

    /// Stops reading partitions.
    fn give_up(&self, consumer: &mut Consumer, partitions: &[TopicPartition]) -> Vec<Owned> {
        let owned = consumer.owned().into_iter().filter(|owned| partitions.contains(&owned.at));
        let owned: Vec<Owned> = owned.collect();
        owned.iter().for_each(|owned| consumer.drop_partition(&owned.at));
        owned
    }

    fn revoked(&self, consumer: &Consumer, owned: Vec<Owned>) -> Revoked {
        let (member, generation) = self.identity();
        let now = consumer.transport.clock().wall().as_millis();
        Revoked { session: self.session.clone(), member, generation, owned, now }
    }

    fn tell_revoked(&self, consumer: &Consumer, owned: Vec<Owned>) -> Fut<()> {
        let revoked = self.revoked(consumer, owned);
        let commits = self.auto_commit.is_some();
        let listener = self.settings.listener.clone();
        Box::pin(async move {
            if commits && let Err(error) = revoked.commit().await {
                tracing::warn!(%error, "what was consumed of revoked partitions is not committed");
            }
            if let Some(listener) = listener {
                listener.revoked(&revoked).await;
            }
        })
    }

    fn locate(&mut self, consumer: &Consumer, added: Vec<TopicPartition>) {
        let known = |at: TopicPartition| {
            let topic = consumer.transport.known_topic(at.topic.as_str())?;
            let exists = (0..topic.partitions).contains(&at.partition);
            if !exists {
                tracing::warn!(partition = %at, "assigned, but there is no such partition");
            }
            exists.then_some((at, topic.id))
        };
        let added: Vec<_> = added.into_iter().filter_map(known).collect();
        let (transport, session) = (consumer.transport.clone(), self.session.clone());
        let start = self.start.clone();
        self.phase = Phase::Locating(Box::pin(async move {
            committed_begins(&*transport, &*session, added, &start, true).await
        }));
    }

    fn located(&mut self, consumer: &mut Consumer, begins: Vec<Begin>) {
        let added: Vec<TopicPartition> = begins.iter().map(|begin| begin.at.clone()).collect();
        for Begin { at, topic_id, position } in begins {
            consumer.start(at, topic_id, position);
        }
        match self.settings.listener.clone() {
            Some(listener) => {
                self.phase = Phase::Assigning(Box::pin(async move {
                    listener.assigned(&added).await;
                }));
            }
            None => self.settle(consumer),
        }
    }

    /// Reads what it has until the generation is over.
    fn settle(&mut self, consumer: &mut Consumer) {
        match self.session.changes() {
            Ok(changes) => self.phase = Phase::Stable(Watch::new(changes)),
            Err(error) => self.failed(consumer, error),
        }
    }

    /// The group has refused something.
    fn failed(&mut self, consumer: &mut Consumer, error: Error) {
        let refusal = match &error {
            Error::Group { source, .. } => Some(source),
            _ => None,
        };
        match refusal {
            Some(GroupError::RebalanceInProgress) => self.phase = Phase::Outside,
            Some(GroupError::UnknownMember { .. } | GroupError::IllegalGeneration { .. }) => {
                if matches!(refusal, Some(GroupError::UnknownMember { .. })) {
                    self.member_id.clear();
                }
                self.lose_all(consumer);
            }
            Some(_) => {
                self.lose_all(consumer);
                self.phase = Phase::Failed(error.clone());
                consumer.notices.push_back(error);
            }
            // The broker is gone, or could not store or read: the next poll tries again.
            None => {
                self.phase = Phase::Outside;
                if matches!(error, Error::Closed { .. }) {
                    self.phase = Phase::Failed(error.clone());
                    consumer.closed = Some(error);
                } else {
                    if matches!(error, Error::OpenForReading) {
                        self.phase = Phase::Failed(error.clone());
                    }
                    consumer.notices.push_back(error);
                }
            }
        }
    }

    /// Others may have all partitions already.
    fn lose_all(&mut self, consumer: &mut Consumer) {
        self.generation = -1;
        self.presence = None;
        let all: Vec<TopicPartition> = consumer.owned().into_iter().map(|owned| owned.at).collect();
        self.give_up(consumer, &all);
        self.phase = Phase::Outside;
        if let Some(listener) = self.settings.listener.clone().filter(|_| !all.is_empty()) {
            self.phase = Phase::Leaving(Box::pin(async move { listener.lost(&all).await }));
        }
    }

    /// Gives everything up and leaves, as the user wants it. A static member keeps its place.
    pub(super) async fn leave(&mut self, consumer: &mut Consumer) -> Result<()> {
        if matches!(self.phase, Phase::Assigned) && self.auto_commit.is_some() {
            return self.revoked(consumer, consumer.owned()).commit().await;
        }
        if !self.shares() {
            return Ok(());
        }
        // What partitions are gone of is told already, and not yet to the end.
        match mem::replace(&mut self.phase, Phase::Outside) {
            Phase::Leaving(told) | Phase::Revoking(told, _) | Phase::Assigning(told) => told.await,
            _ => {}
        }
        self.presence = None;
        if self.generation < 0 {
            return Ok(());
        }
        let all: Vec<TopicPartition> = consumer.owned().into_iter().map(|owned| owned.at).collect();
        let revoked = self.give_up(consumer, &all);
        self.tell_revoked(consumer, revoked).await;
        let (member, _) = self.identity();
        match member.instance_id {
            Some(_) => Ok(()),
            None => self.session.leave(member).await,
        }
    }

    /// Commits, by the clock, what was handed out before this poll.
    fn poll_auto_commit(&mut self, consumer: &Consumer, cx: &mut Context<'_>) {
        let (member, generation) = self.identity();
        let may = generation >= 0 || matches!(self.phase, Phase::Assigned);
        let Some(auto) = &mut self.auto_commit else { return };
        loop {
            if let Some(running) = &mut auto.running {
                let Poll::Ready(done) = running.as_mut().poll(cx) else { return };
                auto.running = None;
                if let Err(error) = done {
                    // All of it again, at the next interval.
                    auto.committed.clear();
                    tracing::warn!(group = %self.id, %error, "automatic commit failed");
                }
            }
            // Who waits for records has done with those before.
            let timer = auto.timer.get_or_insert_with(|| self.session.sleep_until(auto.next));
            if auto.next > self.clock.instant() && timer.as_mut().poll(cx).is_pending() {
                return;
            }
            auto.timer = None;
            let owned = consumer.owned();
            if may && owned != auto.committed {
                let wall = self.clock.wall().as_millis();
                let commit = commit_of(&owned, member.clone(), generation, wall);
                let session = self.session.clone();
                auto.committed = owned;
                auto.running = Some(Box::pin(async move { session.commit(commit).await }));
            }
            // From now, and not from when it was due: however late this is, it is not due at once.
            auto.next = self.clock.instant().saturating_add(auto.interval);
        }
    }
}

impl std::fmt::Debug for dyn RebalanceListener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RebalanceListener")
    }
}
