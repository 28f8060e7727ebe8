//! Being told of partitions that come and go.

use std::sync::Arc;

use async_trait::async_trait;

use super::super::Position;
use super::offsets::{Owned, commit_of};
use crate::error::Result;
use crate::topic::TopicPartition;
use crate::transport::{GroupSession, MemberRef};

/// Is told when a consumer's group gives it partitions or takes some away.
///
/// ```
/// use ottla::{RebalanceListener, Revoked, async_trait};
///
/// struct CommitFirst;
///
/// #[async_trait]
/// impl RebalanceListener for CommitFirst {
///     async fn revoked(&self, revoked: &Revoked) {
///         if let Err(error) = revoked.commit().await {
///             eprintln!("what was done will be done again: {error}");
///         }
///     }
/// }
/// ```
///
/// Called while the consumer is polled, one call at a time; the consumer hands out nothing until it
/// returns, and the group waits. A call may be given up where the future that polls the consumer is
/// dropped, and is then gone on with at the next poll.
#[async_trait]
pub trait RebalanceListener: Send + Sync + 'static {
    /// These partitions are read from now on.
    async fn assigned(&self, partitions: &[TopicPartition]) {
        let _ = partitions;
    }

    /// These partitions are not read any more, and go to others after this call: the last moment to
    /// commit what was done.
    async fn revoked(&self, revoked: &Revoked) {
        let _ = revoked;
    }

    /// These partitions belong to others already, because this consumer was away for too long: it
    /// can't commit for them any more.
    async fn lost(&self, partitions: &[TopicPartition]) {
        let _ = partitions;
    }
}

/// Partitions that leave a consumer, and where it stood in them.
#[derive(Debug)]
pub struct Revoked {
    pub(super) session: Arc<dyn GroupSession>,
    pub(super) member: MemberRef,
    pub(super) generation: i32,
    pub(super) owned: Vec<Owned>,
    /// When it is, for the commit.
    pub(super) now: i64,
}

impl Revoked {
    /// The partitions, and the next offset that would have been handed out in each.
    pub fn positions(&self) -> impl Iterator<Item = (&TopicPartition, Position)> {
        self.owned.iter().map(|owned| (&owned.at, owned.position))
    }

    /// Commits these positions.
    ///
    /// # Errors
    /// Those of [`Consumer::commit`](super::super::Consumer::commit).
    pub async fn commit(&self) -> Result<()> {
        let commit = commit_of(&self.owned, self.member.clone(), self.generation, self.now);
        self.session.commit(commit).await
    }
}
