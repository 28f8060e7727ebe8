//! What a producer knows of topics, and which partition a record goes to.
//!
//! A [`Topic`] is a snapshot that can tell when it may be out of date; it is then looked up anew.
//! As long as the topic's id stays, so do its [`Partition`]s: two for one partition could reorder
//! its records.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, RwLock};

use tokio::sync::watch;

use super::Partitioner;
use super::accumulator::{Partition, Parts, Sizing};
use super::shared::Shared;
use crate::batch::{BatchBuilder, BatchError, Compression, HEADER_LEN};
use crate::error::{Error, Result};
use crate::topic::{TopicName, TopicPartition};
use crate::transport::TopicMetadata;

/// How many topics are known before those that are gone are first looked for.
const FIRST_SWEEP: usize = 256;

/// The topics that a producer has produced to.
#[derive(Debug)]
pub(super) struct Topics {
    shared: Arc<Shared>,
    known: RwLock<Known>,
}

#[derive(Debug)]
struct Known {
    by_name: HashMap<TopicName, Arc<Topic>>,
    /// The number of topics at which those that are gone are looked for.
    sweep_at: usize,
}

impl Topics {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let known = Known { by_name: HashMap::new(), sweep_at: FIRST_SWEEP };
        Topics { shared, known: RwLock::new(known) }
    }

    /// The topic, if the producer or its transport knows it now.
    pub(super) fn known(&self, name: &str) -> Option<Arc<Topic>> {
        let known = self.known.read().expect("no one panics with the topics");
        if let Some(topic) = known.by_name.get(name).filter(|topic| topic.is_current()) {
            return Some(Arc::clone(topic));
        }
        drop(known);
        self.look_up(name, None)
    }

    /// The topic; the broker may create it. Cancel safe.
    pub(super) async fn find(&self, name: &str) -> Result<Arc<Topic>> {
        let unknown = || Error::UnknownTopic { topic: name.to_owned() };
        if let Some(topic) = self.known(name) {
            return Ok(topic);
        }
        let metadata = self.shared.transport.metadata(&TopicName::parse(name)?).await?;
        if metadata.partitions < 1 {
            return Err(unknown());
        }
        self.look_up(name, Some(metadata)).ok_or_else(unknown)
    }

    /// Asks the transport, whose answer wins over the caller's, which may be older. Under the
    /// lock, so that an older answer cannot replace a newer one.
    #[cold]
    fn look_up(&self, name: &str, answer: Option<Arc<TopicMetadata>>) -> Option<Arc<Topic>> {
        self.shared.transport.check_open().ok()?;
        let mut known = self.known.write().expect("no one panics with the topics");
        let old = known.by_name.get(name).cloned();
        if let Some(topic) = old.as_ref().filter(|topic| topic.is_current()) {
            return Some(Arc::clone(topic));
        }
        // Before the question: a change after the answer must not be taken for seen.
        let mut seen = self.shared.transport.metadata_version();
        seen.mark_unchanged();
        let metadata = self.shared.transport.known_topic(name).or(answer)?;
        if metadata.partitions < 1 {
            return None;
        }
        let topic = Arc::new(Topic::new(&self.shared, metadata, seen, old.as_deref()));
        known.sweep();
        known.by_name.insert(topic.metadata.name.clone(), Arc::clone(&topic));
        Some(topic)
    }
}

impl Known {
    /// Forgets topics that have nothing buffered and have not been used since some change. If
    /// they still exist they can be looked up again.
    fn sweep(&mut self) {
        if self.by_name.len() >= self.sweep_at {
            self.by_name.retain(|_, topic| topic.is_current() || !topic.is_idle());
            self.sweep_at = FIRST_SWEEP.max(2 * self.by_name.len());
        }
    }
}

/// One topic as it was when `seen` was taken.
#[derive(Debug)]
pub(super) struct Topic {
    metadata: Arc<TopicMetadata>,
    seen: watch::Receiver<u64>,
    partitions: Vec<Arc<Partition>>,
    sticky: Arc<Sticky>,
    /// The largest record, as a batch of its own.
    record_limit: usize,
    /// The setting that sets it.
    record_limit_setting: &'static str,
    /// Where a batch is closed.
    batch_limit: usize,
    /// How batches are compressed.
    codec: Compression,
    /// Whether they can be.
    has_codec: bool,
}

impl Topic {
    fn new(
        shared: &Arc<Shared>,
        metadata: Arc<TopicMetadata>,
        seen: watch::Receiver<u64>,
        old: Option<&Topic>,
    ) -> Self {
        let old = old.filter(|old| old.metadata.id == metadata.id);
        let mut partitions = old.map(|old| old.partitions.clone()).unwrap_or_default();
        let sticky = old.map(|old| Arc::clone(&old.sticky)).unwrap_or_default();
        let known = partitions.len();
        // A topic's partitions get more, never fewer.
        for partition in known as i32..metadata.partitions {
            let at = TopicPartition { topic: metadata.name.clone(), partition };
            let (shared, sticky) = (Arc::clone(shared), Arc::clone(&sticky));
            partitions.push(Arc::new(Partition::new(at, metadata.id, shared, sticky)));
        }
        sticky.partitions.store(partitions.len() as i32, Ordering::Relaxed);
        let settings = &shared.settings;
        let (record_limit, record_limit_setting) = [
            (settings.max_request_size, "max.request.size"),
            (metadata.max_batch_bytes, metadata.max_batch_setting),
            (settings.buffer_memory, "buffer.memory"),
        ]
        .into_iter()
        .min_by_key(|(limit, _)| *limit)
        .expect("there are three");
        let batch_limit = settings.batch_size.min(metadata.max_batch_bytes);
        let codec = metadata.compression.unwrap_or(settings.compression);
        Topic {
            metadata,
            seen,
            partitions,
            sticky,
            record_limit,
            record_limit_setting,
            batch_limit,
            codec,
            has_codec: codec.is_built_in(),
        }
    }

    pub(super) fn name(&self) -> &str {
        self.metadata.name.as_str()
    }

    /// How many partitions it has; at least one.
    pub(super) fn partition_count(&self) -> i32 {
        // Counted up to an i32 when it was made.
        self.partitions.len() as i32
    }

    /// Whether no topic has changed since. A transport that is gone changes nothing any more.
    #[inline]
    pub(super) fn is_current(&self) -> bool {
        !self.seen.has_changed().unwrap_or(false)
    }

    fn is_idle(&self) -> bool {
        self.partitions.iter().all(|partition| partition.is_idle())
    }

    /// Where the record goes, unless it names a partition that is not there, or the custom
    /// partitioner does.
    #[inline(always)]
    pub(super) fn place(
        &self,
        record: Parts<'_>,
        partitioner: &Partitioner,
    ) -> Result<&Arc<Partition>> {
        let partitions = self.partition_count();
        let partition = match (record.partition, record.key) {
            (Some(partition), _) => partition,
            (None, Some(key)) => partitioner.partition_for_key(self.name(), key, partitions),
            // An older snapshot may have fewer partitions than the sticky one's number.
            (None, None) => self.sticky.current() % partitions,
        };
        let found = usize::try_from(partition).ok().and_then(|at| self.partitions.get(at));
        found.ok_or_else(|| {
            let topic = self.name().to_owned();
            Error::UnknownPartition { topic, partition, partitions }
        })
    }

    /// Whether every record must have a key.
    #[inline(always)]
    pub(super) fn needs_keys(&self) -> bool {
        self.metadata.needs_keys
    }

    /// How large the record is, unless it is too large, or its batch can't be compressed. Never
    /// more than the buffer can hold: the bound is looser than the exact size by less than a
    /// batch's header, which it does not count.
    #[inline(always)]
    pub(super) fn size(&self, record: Parts<'_>) -> Result<Sizing> {
        let Parts { key, value, headers, .. } = record;
        let size = BatchBuilder::record_size_upper_bound(key, value, headers);
        if HEADER_LEN + size > self.record_limit {
            self.check_exact_size(record)?;
        }
        if !self.has_codec {
            return Err(self.missing_codec());
        }
        Ok(Sizing { record: size, batch_limit: self.batch_limit, codec: self.codec })
    }

    #[cold]
    fn missing_codec(&self) -> Error {
        let reason = BatchError::UnsupportedCompression(self.codec).to_string();
        Error::InvalidConfig { name: "compression.type".to_owned(), reason }
    }

    #[cold]
    fn check_exact_size(&self, record: Parts<'_>) -> Result<()> {
        let Parts { key, value, headers, .. } = record;
        let size = BatchBuilder::single_record_size(key, value, headers);
        let (limit, setting) = (self.record_limit, self.record_limit_setting);
        match size <= limit {
            true => Ok(()),
            false => Err(Error::MessageTooLarge { size, limit, setting }),
        }
    }
}

/// The partition for records without a key: the next one, each time a batch of it goes or is full.
#[derive(Debug, Default)]
pub(super) struct Sticky {
    current: AtomicI32,
    partitions: AtomicI32,
}

impl Sticky {
    #[inline(always)]
    fn current(&self) -> i32 {
        self.current.load(Ordering::Relaxed)
    }

    /// Moves on from `partition`, if that is the current one.
    pub(super) fn leave(&self, partition: i32) {
        let next = match partition + 1 < self.partitions.load(Ordering::Relaxed) {
            true => partition + 1,
            false => 0,
        };
        // Fails if another batch has moved it on already.
        let _ =
            self.current.compare_exchange(partition, next, Ordering::Relaxed, Ordering::Relaxed);
    }
}
