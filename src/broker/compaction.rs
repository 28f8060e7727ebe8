//! Compacting topics: in the background, and when asked to.

use crate::error::{Error, Result};
use crate::log::{CompactionOptions, CompactionStats};
use crate::partition::Partition;

use super::Broker;
use super::core::random_id;

/// What a compaction did to a topic, all its partitions together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CompactionSummary {
    /// Records that later ones of their key had replaced, or that had lost their purpose.
    pub records_removed: u64,
    /// Bytes of what was looked at before.
    pub bytes_before: u64,
    /// And after.
    pub bytes_after: u64,
}

impl CompactionSummary {
    fn add(&mut self, stats: &CompactionStats) {
        self.records_removed += stats.records_removed;
        self.bytes_before += stats.bytes_before;
        self.bytes_after += stats.bytes_after;
    }
}

impl Broker {
    /// Compacts a topic now, all but the records that have not been acknowledged yet: of each key
    /// the latest record stays, and those with which keys were deleted stay for
    /// `delete.retention.ms`. Offsets do not change, and readers notice nothing.
    ///
    /// Compacted topics are compacted in the background as well, once half of a log is new
    /// (`min.cleanable.dirty.ratio`).
    ///
    /// Cancel safe: dropped, some partitions may have been compacted.
    ///
    /// # Errors
    /// [`Error::UnknownTopic`]; [`Error::InvalidState`] unless the topic's `cleanup.policy` has
    /// `compact`; what the storage answers: then nothing is lost, and it can be tried again.
    pub async fn compact(&self, topic: &str) -> Result<CompactionSummary> {
        self.0.core.check_open()?;
        self.0.core.check_writable()?;
        let unknown = || Error::UnknownTopic { topic: topic.to_owned() };
        let topic = self.0.core.topic(topic).ok_or_else(unknown)?;
        if !topic.log_config.cleanup_policy.compacts() {
            let text = format!("topic {:?} is not compacted (cleanup.policy)", topic.name.as_str());
            return Err(Error::InvalidState(text));
        }
        let mut summary = CompactionSummary::default();
        for partition in &topic.partitions {
            let roll = partition.run(|log| log.roll_now()).await?;
            roll.map_err(|error| Error::append(partition.at(), error))?;
            summary = compact(partition, true, summary).await?;
        }
        Ok(summary)
    }
}

/// Compacts what of a partition is worth it, or (`force`) can be.
pub(super) async fn compact(
    partition: &Partition,
    force: bool,
    mut summary: CompactionSummary,
) -> Result<CompactionSummary> {
    let at = partition.at();
    let context = partition.context();
    loop {
        let now = context.clock.wall();
        let plan = partition.run(move |log| log.plan_compaction(now, force)).await?;
        let Some(plan) = plan.map_err(|error| Error::append(at, error))? else {
            return Ok(summary);
        };
        let seed = u64::from_le_bytes(random_id().0[..8].try_into().expect("eight of sixteen"));
        let options = CompactionOptions { seed, ..CompactionOptions::default() };
        let lock = partition.compacting().clone().lock_owned().await;
        // Also in memory: it may take long.
        let work = move || {
            let _lock = lock;
            plan.run(options)
        };
        let done = partition.run_beside(work).await?;
        let stats = partition.run(move |log| log.compacted(done)).await?;
        let stats = stats.map_err(|error| Error::compaction(at, error))?;
        let Some(stats) = stats else { return Ok(summary) };
        tracing::info!(partition = %at, ?stats, "compacted");
        summary.add(&stats);
        if stats.complete {
            return Ok(summary);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::TopicConfig;
    use crate::log::CleanupPolicy;
    use crate::record::Record;

    #[tokio::test]
    async fn a_compaction_that_has_the_disk_stops_when_its_log_is_closed() {
        let dir = tempfile::tempdir().unwrap();
        let broker = Broker::builder().io_threads(1).open(dir.path()).await.unwrap();
        let config = TopicConfig::new().cleanup_policy(CleanupPolicy::Compact);
        broker.create_topic("t", config).await.unwrap();
        let producer = broker.producer().build();
        producer.send(Record::to("t").key("k").value("v")).await.unwrap();
        let partition = broker.0.core.topic("t").unwrap().partitions[0].clone();
        let now = broker.clock().wall();
        let plan =
            partition.run(move |log| log.roll_now().and_then(|()| log.plan_compaction(now, true)));
        let plan = plan.await.unwrap().unwrap().unwrap();
        let (begins, begun) = tokio::sync::oneshot::channel();
        let work = move || {
            begins.send(()).unwrap();
            let patience = std::time::Instant::now() + std::time::Duration::from_secs(10);
            while plan.still_holds() && std::time::Instant::now() < patience {
                std::thread::yield_now();
            }
            plan.still_holds()
        };
        let closing = async {
            begun.await.unwrap();
            broker.shutdown().await
        };
        let (went_on, closed) = tokio::join!(partition.run_beside(work), closing);
        assert!(!went_on.unwrap());
        closed.unwrap();
    }

    #[tokio::test]
    async fn a_compaction_does_not_keep_its_own_log_from_the_disk() {
        let dir = tempfile::tempdir().unwrap();
        let broker = Broker::builder().io_threads(1).open(dir.path()).await.unwrap();
        let config = TopicConfig::new().cleanup_policy(CleanupPolicy::Compact);
        broker.create_topic("t", config).await.unwrap();
        let producer = broker.producer().build();
        for n in 0..10 {
            producer.send(Record::to("t").key("k").value(n.to_string())).await.unwrap();
        }
        let patience = std::time::Duration::from_secs(60);
        let done = tokio::time::timeout(patience, broker.compact("t")).await;
        assert_eq!(done.expect("it hangs").unwrap().records_removed, 9);
        broker.shutdown().await.unwrap();
    }
}
