//! A consumer's way to its group, in this process.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

use crate::broker::BrokerHandle;
use crate::error::Result;
use crate::group::Command;
use crate::topic::TopicPartition;
use crate::transport::{
    Commit, CommittedOffset, GroupSession, JoinGroup, Joined, MemberRef, SyncGroup, Synced,
};

/// One consumer's session with a group's actor.
pub(super) struct LocalGroup {
    handle: Arc<BrokerHandle>,
    id: Arc<str>,
    /// What the group's actor watches: dropped with this, the member is gone.
    guard: Mutex<Option<oneshot::Receiver<Infallible>>>,
}

impl LocalGroup {
    pub(super) fn new(handle: Arc<BrokerHandle>, id: &str) -> Self {
        LocalGroup { handle, id: id.into(), guard: Mutex::default() }
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T>>) -> Command,
    ) -> Result<T> {
        self.handle.coordinator().await?.ask(&self.id, command).await
    }
}

#[async_trait]
impl GroupSession for LocalGroup {
    async fn join(&self, mut request: JoinGroup) -> Result<Joined> {
        self.handle.core.check_writable()?;
        let mut alive = None;
        if request.member_id.is_empty() {
            let name = request.instance_id.as_ref().unwrap_or(&request.client_id);
            request.new_member_id = format!("{name}-{}", self.handle.core.new_id());
            let (sender, guard) = oneshot::channel();
            alive = Some(sender);
            *self.guard.lock().expect("no one panics with the guard in hand") = Some(guard);
        }
        self.ask(|answer| Command::Join { request, alive, answer }).await
    }

    async fn sync(&self, request: SyncGroup) -> Result<Synced> {
        self.ask(|answer| Command::Sync { request, answer }).await
    }

    fn changes(&self) -> Result<watch::Receiver<u64>> {
        self.handle.loaded_coordinator()?.group(&self.id).map(|running| running.changed)
    }

    fn sleep_until(&self, deadline: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let context = &self.handle.core.context;
        let clock = context.clock.clone();
        // Ends with the future: a set aborts its tasks when it is dropped.
        let mut sleeping = JoinSet::new();
        sleeping.spawn_on(async move { clock.sleep_until(deadline).await }, &context.runtime);
        Box::pin(async move {
            let slept = sleeping.join_next().await;
            // Its runtime has ended. That is no time to do anything but to hear of it elsewhere.
            if !matches!(slept, Some(Ok(()))) {
                std::future::pending().await
            }
        })
    }

    fn beside(&self, work: Pin<Box<dyn Future<Output = ()> + Send>>) -> JoinSet<()> {
        let mut running = JoinSet::new();
        running.spawn_on(work, &self.handle.core.context.runtime);
        running
    }

    fn fall_silent(&self) {
        *self.guard.lock().expect("no one panics with the guard in hand") = None;
    }

    async fn heartbeat(&self, member: MemberRef, generation: i32) -> Result<()> {
        self.ask(|answer| Command::Heartbeat { member, generation, answer }).await
    }

    async fn leave(&self, member: MemberRef) -> Result<()> {
        let members = vec![member];
        self.ask(|answer| Command::Leave { members, answer }).await?.into_iter().collect()
    }

    async fn commit(&self, commit: Commit) -> Result<()> {
        if commit.offsets.is_empty() {
            return Ok(());
        }
        self.handle.core.check_writable()?;
        self.ask(|answer| Command::Commit { commit, answer }).await
    }

    async fn committed(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<Vec<(TopicPartition, CommittedOffset)>> {
        if partitions.is_empty() {
            return Ok(Vec::new());
        }
        if !self.handle.coordinator().await?.knows(&self.id) {
            return Ok(Vec::new());
        }
        let partitions = partitions.to_vec();
        self.ask(|answer| Command::Fetch { partitions, answer }).await
    }
}

impl fmt::Debug for LocalGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalGroup").field("id", &self.id).finish_non_exhaustive()
    }
}
