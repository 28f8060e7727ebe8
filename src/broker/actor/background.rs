//! What is done from time to time beside all else: retention, compaction, forgetting offsets.

use std::sync::Arc;

use tokio::task::JoinHandle;

use crate::error::Error;
use crate::log::AppendError;
use crate::partition::Partition;
use crate::partition::panics::caught_in;
use crate::record::Timestamp;

use super::super::compaction::{CompactionSummary, compact};
use super::super::core::Core;
use super::Actor;

/// The tasks of the latest look. Each goes through the partitions one after the other; retention
/// does not wait for compaction, which may take long.
#[derive(Default)]
pub(super) struct Background {
    retention: Option<JoinHandle<()>>,
    compaction: Option<JoinHandle<()>>,
}

impl Background {
    /// Begins whatever is not still under way.
    pub(super) fn look(&mut self, core: &Arc<Core>) {
        let runtime = &core.context.runtime;
        if is_over(&self.retention) {
            self.retention = Some(runtime.spawn(watched("retention", enforce_retention(core))));
        }
        if is_over(&self.compaction) {
            self.compaction = Some(runtime.spawn(watched("compaction", compact_all(core))));
        }
    }

    pub(super) fn stop(&mut self) {
        let tasks = [self.retention.take(), self.compaction.take()];
        tasks.iter().flatten().for_each(JoinHandle::abort);
    }
}

fn is_over(task: &Option<JoinHandle<()>>) -> bool {
    let over = task.as_ref().is_none_or(JoinHandle::is_finished);
    if !over {
        tracing::debug!("the look before is still at work");
    }
    over
}

/// A panic ends one look, and not the next.
async fn watched(what: &str, look: impl Future<Output = ()>) {
    if let Err(panic) = caught_in(look).await {
        tracing::error!(%panic, "{what} in the background is put off to the next look");
    }
}

/// Lets every partition drop what is too old or too much.
fn enforce_retention(core: &Arc<Core>) -> impl Future<Output = ()> + use<> {
    let (partitions, now) = (used_partitions(core), core.context.clock.wall());
    let core = Arc::downgrade(core);
    async move {
        for partition in partitions {
            drop_expired(&partition, now).await;
        }
        if let Some(core) = core.upgrade() {
            core.context.memory.ring();
        }
    }
}

async fn drop_expired(partition: &Partition, now: Timestamp) {
    let at = partition.at();
    match partition.run(move |log| log.enforce_retention(now)).await {
        // Or it was deleted meanwhile, or its task is gone; or it has failed, which was told then.
        Ok(Ok(0) | Err(AppendError::ReadOnly(_))) | Err(_) => {}
        Ok(Ok(segments)) => {
            let log_start_offset = partition.reader().log_start_offset();
            tracing::info!(partition = %at, segments, log_start_offset, "retention");
        }
        Ok(Err(error)) => tracing::warn!(partition = %at, %error, "retention failed"),
    }
}

/// Compacts the partitions that are worth it.
fn compact_all(core: &Arc<Core>) -> impl Future<Output = ()> + use<> {
    let mut partitions = used_partitions(core);
    partitions.retain(|partition| partition.reader().segment_count() > 1);
    async move {
        for partition in partitions {
            match compact(&partition, false, CompactionSummary::default()).await {
                // Deleted meanwhile, or its task is gone; or it has failed, which was told then.
                Ok(_) | Err(Error::Closed { .. } | Error::ReadOnly { .. }) => {}
                Err(error) => {
                    tracing::warn!(partition = %partition.at(), %error, "compaction failed");
                }
            }
        }
    }
}

fn used_partitions(core: &Core) -> Vec<Partition> {
    let topics = core.all_topics();
    let all = topics.iter().flat_map(|topic| &topic.partitions);
    all.filter(|partition| partition.reader().size() > 0).cloned().collect()
}

impl Actor {
    /// Offsets that no group has needed for long are forgotten, as in Kafka.
    pub(super) fn expire_offsets(&self) {
        if let Some(coordinator) = self.core.coordinator.get() {
            let (now, kept) = (self.core.clock().wall(), self.core.settings.offsets_retention);
            coordinator.expire(now.saturating_sub(kept).as_millis());
        }
    }
}
