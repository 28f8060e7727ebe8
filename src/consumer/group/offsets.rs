//! What a consumer commits, and where a group's commits let it begin.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::builder::{Begin, locate};
use super::super::{Consumer, Position, Records, Start};
use crate::error::{Error, GroupError, Result};
use crate::topic::{TopicId, TopicPartition};
use crate::transport::{Commit, CommittedOffset, GroupSession, MemberRef, Transport};

/// A partition that a consumer reads, and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Owned {
    pub(super) at: TopicPartition,
    pub(super) topic_id: TopicId,
    pub(super) position: Position,
}

/// Who a consumer is in its group: what a transaction, or somebody who commits for it, must know.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupMetadata {
    /// The group.
    pub group: String,
    /// The member's id; empty until it has joined, and for a consumer that only commits.
    pub member_id: String,
    /// The generation; -1 until it has joined.
    pub generation: i32,
    /// The instance id of a static member.
    pub instance_id: Option<String>,
}

/// These positions as a commit.
pub(super) fn commit_of(owned: &[Owned], member: MemberRef, generation: i32, now: i64) -> Commit {
    let committed = |owned: &Owned| {
        let Position { offset, leader_epoch } = owned.position;
        let committed = CommittedOffset {
            offset,
            leader_epoch: leader_epoch.unwrap_or(-1),
            metadata: String::new(),
            timestamp: now,
            topic_id: Some(owned.topic_id),
        };
        (owned.at.clone(), committed)
    };
    Commit { member, generation, offsets: owned.iter().map(committed).collect() }
}

/// Where a member begins for which nothing is committed.
pub(in super::super) struct GroupStart {
    start: Start,
    /// Where the partitions ended, by their topics' lives, when the consumer subscribed to what
    /// comes from then on. What is younger is read from its beginning.
    ends: Option<BTreeMap<(TopicPartition, TopicId), Position>>,
}

impl GroupStart {
    pub(in super::super) fn new(start: Start) -> Self {
        GroupStart { start, ends: None }
    }

    /// [`Start::Latest`] means the end of now, not that of when partitions are assigned.
    pub(in super::super) async fn decided_now(
        transport: &dyn Transport,
        start: Start,
        partitions: Vec<(TopicPartition, TopicId)>,
        may_go: bool,
    ) -> Result<Self> {
        if start != Start::Latest {
            return Ok(GroupStart::new(start));
        }
        let mut ends = BTreeMap::new();
        for (at, topic_id) in partitions {
            match locate(transport, &at, start).await {
                Err(Error::UnknownTopic { .. }) if may_go => {}
                end => drop(ends.insert((at, topic_id), end?)),
            }
        }
        Ok(GroupStart { start, ends: Some(ends) })
    }

    async fn locate(
        &self,
        transport: &dyn Transport,
        at: &TopicPartition,
        topic_id: TopicId,
    ) -> Result<Position> {
        let Some(ends) = &self.ends else { return locate(transport, at, self.start).await };
        let first = locate(transport, at, Start::Earliest).await?;
        let end = ends.get(&(at.clone(), topic_id)).copied();
        Ok(end.filter(|end| end.offset > first.offset).unwrap_or(first))
    }
}

/// Where reading begins: at what was committed for this life of the topic, or where `start` says.
/// A topic that is deleted meanwhile is an error, or (`may_go`) left out: its metadata tell of it.
pub(in super::super) async fn committed_begins(
    transport: &dyn Transport,
    session: &dyn GroupSession,
    partitions: Vec<(TopicPartition, TopicId)>,
    start: &GroupStart,
    may_go: bool,
) -> Result<Vec<Begin>> {
    let names: Vec<TopicPartition> = partitions.iter().map(|(at, _)| at.clone()).collect();
    let committed = session.committed(&names).await?;
    let committed: BTreeMap<TopicPartition, CommittedOffset> = committed.into_iter().collect();
    let mut begins = Vec::with_capacity(partitions.len());
    for (at, topic_id) in partitions {
        let found = committed.get(&at).and_then(|found| position_of(found, topic_id));
        let position = match found {
            Some(position) => position,
            None => match start.locate(transport, &at, topic_id).await {
                Err(Error::UnknownTopic { .. }) if may_go => continue,
                located => located?,
            },
        };
        begins.push(Begin { at, topic_id, position });
    }
    Ok(begins)
}

/// A topic that was created again does not inherit what was committed for its namesake.
fn position_of(committed: &CommittedOffset, topic_id: TopicId) -> Option<Position> {
    let is_same = committed.topic_id.is_none_or(|id| id == topic_id);
    let leader_epoch = Some(committed.leader_epoch).filter(|epoch| *epoch >= 0);
    is_same.then_some(Position { offset: committed.offset, leader_epoch })
}

/// Committing: what a group remembers of how far it has come.
///
/// All of these return [`Error::InvalidState`] for a consumer without a group.
impl Consumer {
    /// Commits the position in each assigned partition: all that was handed out counts as done.
    /// Before it has partitions there is nothing to commit, and that is no error. Of a topic that
    /// is gone nothing is kept.
    ///
    /// Cancel safe: dropped, the offsets may have been committed.
    ///
    /// # Errors
    /// [`Error::Group`] with [`RebalanceInProgress`](crate::GroupError::RebalanceInProgress) while
    /// the group is being rebalanced: poll on, and commit later, or with what comes next. What this
    /// member keeps is not handed out to others meanwhile.
    ///
    /// [`Error::Group`] with anything else if the consumer is no longer a member of the group's
    /// generation: then others may read these partitions already. The next poll joins again, and
    /// goes on. What the storage answers, where the commit could not be stored.
    pub async fn commit(&mut self) -> Result<()> {
        let owned = self.owned();
        self.commit_owned(owned).await
    }

    /// Commits what comes after these records, in each of their partitions: all up to them counts
    /// as done, and what was handed out since does not. Partitions that have left meanwhile, if
    /// only for a moment, are left out: their next owner reads these records again. So are those
    /// of a topic that was deleted, also where there is another of its name.
    ///
    /// Otherwise as [`Consumer::commit`].
    pub async fn commit_records(&mut self, records: &Records) -> Result<()> {
        let mut owned = Vec::new();
        for (at, (tenure, position)) in records.ends() {
            let slot = self.assignment.slot_of(&at).map(|slot| &self.assignment[slot]);
            if let Some(partition) = slot.filter(|it| it.tenure == tenure) {
                owned.push(Owned { at, topic_id: partition.topic_id, position });
            }
        }
        self.commit_owned(owned).await
    }

    /// Commits these positions, of assigned partitions: [`Error::InvalidState`] for others, and
    /// for an offset below 0.
    ///
    /// Otherwise as [`Consumer::commit`].
    pub async fn commit_offsets(
        &mut self,
        offsets: impl IntoIterator<Item = (TopicPartition, impl Into<Position>)>,
    ) -> Result<()> {
        let mut owned = Vec::new();
        for (at, position) in offsets {
            let slot = self.assignment.named(&at)?;
            let (topic_id, position) = (self.assignment[slot].topic_id, position.into());
            if position.offset < 0 {
                let text = format!("offset {} for {at}: offsets begin at 0", position.offset);
                return Err(Error::InvalidState(text));
            }
            owned.push(Owned { at, topic_id, position });
        }
        self.commit_owned(owned).await
    }

    /// What the group has committed for these partitions, where it has: where a member would begin.
    ///
    /// Cancel safe.
    pub async fn committed(
        &mut self,
        partitions: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, Position>> {
        let session = self.session()?.clone();
        let mut positions = BTreeMap::new();
        for (at, committed) in session.committed(partitions).await? {
            let known = self.transport.known_topic(at.topic.as_str());
            let position = known.and_then(|topic| position_of(&committed, topic.id));
            positions.extend(position.map(|position| (at, position)));
        }
        Ok(positions)
    }

    /// Ends the consumer: what was handed out is committed, if that is done automatically, the
    /// listener told that all partitions are revoked, and the group that this member leaves; but a
    /// static member keeps its place for 45 s, as when it is dropped. A consumer that is only
    /// dropped leaves its group as well, but commits nothing.
    ///
    /// Cancel safe: dropped, the consumer is gone all the same.
    pub async fn close(mut self) -> Result<()> {
        match self.membership.take() {
            Some(mut membership) => membership.leave(&mut self).await,
            None => Ok(()),
        }
    }

    /// Who this consumer is in its group; `None` without one.
    pub fn group_metadata(&self) -> Option<GroupMetadata> {
        let membership = self.membership.as_ref()?;
        Some(membership.metadata())
    }

    fn session(&self) -> Result<&Arc<dyn GroupSession>> {
        let none =
            || Error::InvalidState("this consumer has no group (ConsumerBuilder::group)".into());
        self.membership.as_ref().map(|membership| membership.session()).ok_or_else(none)
    }

    pub(super) fn owned(&self) -> Vec<Owned> {
        let owned = self.assignment.iter().map(|partition| Owned {
            at: partition.at.clone(),
            topic_id: partition.topic_id,
            position: partition.position,
        });
        owned.collect()
    }

    fn commit_owned(&mut self, owned: Vec<Owned>) -> impl Future<Output = Result<()>> + Send {
        let prepared = self.commit_for(&owned);
        let membership = self.membership.as_ref();
        let rebalances = membership.is_some_and(|membership| membership.rebalances());
        async move {
            let (session, commit) = prepared?;
            match session.commit(commit).await {
                // The next generation has begun, with this member, which was not polled since.
                Err(Error::Group { group, source: GroupError::IllegalGeneration { .. } })
                    if rebalances =>
                {
                    Err(Error::Group { group, source: GroupError::RebalanceInProgress })
                }
                told => told,
            }
        }
    }

    /// Not async: a future that holds on to `&self` could not be sent to another thread.
    fn commit_for(&self, owned: &[Owned]) -> Result<(Arc<dyn GroupSession>, Commit)> {
        let session = self.session()?.clone();
        let membership = self.membership.as_ref().expect("it has a session");
        membership.check()?;
        let (member, generation) = membership.identity();
        let now = self.transport.clock().wall().as_millis();
        Ok((session, commit_of(owned, member, generation, now)))
    }
}
