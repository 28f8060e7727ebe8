//! A look at all of a broker at once.

use std::time::Duration;

use crate::error::Result;
use crate::log::LogStats;

use super::Broker;
use super::groups::check_not_internal;

/// What a broker has and has done, all topics of its users together: see [`Broker::stats`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct BrokerStats {
    /// For how long it has been open, by its clock.
    pub uptime: Duration,
    /// How many topics there are.
    pub topics: usize,
    /// With so many partitions.
    pub partitions: usize,
    /// With so many segments.
    pub segments: usize,
    /// Of so many bytes, in memory and on disk.
    pub size_bytes: u64,
    /// How many consumer groups there are; `None` while nobody has asked for one: on disk they
    /// have not been read yet.
    pub groups: Option<usize>,
    /// Bytes that topics in memory take, with what consumers still hold of dropped segments.
    pub memory_used: usize,
    /// How many they may take.
    pub memory_limit: usize,
    /// Records appended since it was opened, in topics deleted since as well; so with what
    /// follows.
    pub records_appended: u64,
    /// In so many batches.
    pub batches_appended: u64,
    /// Of so many bytes.
    pub bytes_appended: u64,
    /// Batches that were refused or could not be written.
    pub batches_refused: u64,
    /// Bytes of batches that consumers were given.
    pub bytes_read: u64,
    /// Partitions that take nothing any more since a failure of the storage; the broker's own
    /// among them: the catalog's, which topics are changed by, and that of the consumer groups.
    pub read_only_partitions: usize,
}

impl Broker {
    /// What the broker has and has done. It asks no task and no disk: a few loads a partition, so
    /// it may well be called every second. The figures are not of one moment.
    ///
    /// # Errors
    /// [`Error::Closed`](crate::error::Error::Closed).
    pub fn stats(&self) -> Result<BrokerStats> {
        let core = &self.0.core;
        core.check_open()?;
        let (mut topics, mut done) = core.topics_and_past();
        done.read_only = core.catalog.get().map_or(0, |catalog| catalog.stats().read_only);
        topics.retain(|topic| {
            let is_users = check_not_internal(&topic.name).is_ok();
            let own = topic.partitions.iter().filter(|_| !is_users);
            done.read_only += own.map(|it| it.reader().stats().read_only).sum::<u64>();
            is_users
        });
        let (mut partitions, mut segments, mut size_bytes) = (0, 0, 0);
        for reader in topics.iter().flat_map(|topic| &topic.partitions).map(|it| it.reader()) {
            partitions += 1;
            segments += reader.segment_count();
            size_bytes += reader.size();
            done.add(&reader.stats());
        }
        let LogStats { records_appended, batches_appended, bytes_appended, .. } = done;
        Ok(BrokerStats {
            uptime: core.clock().instant().saturating_sub(core.opened),
            topics: topics.len(),
            partitions,
            segments,
            size_bytes,
            groups: core.coordinator.get().map(|groups| groups.ids().len()),
            memory_used: core.memory.used(),
            memory_limit: core.settings.memory_limit_bytes,
            records_appended,
            batches_appended,
            bytes_appended,
            batches_refused: done.batches_refused,
            bytes_read: done.bytes_read,
            read_only_partitions: done.read_only as usize,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::TopicConfig;
    use crate::record::Record;

    /// Whoever watches takes a counter that falls for one that began anew.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn counters_never_fall() {
        let broker = Broker::in_memory().await.unwrap();
        let watched = broker.clone();
        let watching = tokio::task::spawn_blocking(move || {
            let mut before = 0;
            while let Ok(now) = watched.stats() {
                assert!(now.records_appended >= before, "{before}, then {now:?}");
                before = now.records_appended;
            }
            before
        });
        let producer = broker.producer().build();
        for _ in 0..500 {
            broker.create_topic("t", TopicConfig::new()).await.unwrap();
            producer.send(Record::to("t").value("v")).await.unwrap();
            broker.delete_topic("t").await.unwrap();
        }
        broker.shutdown().await.unwrap();
        assert!(watching.await.unwrap() > 0);
    }
}
