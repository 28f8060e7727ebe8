//! [`ProducerBuilder`]: the settings of a producer, their defaults and their bounds.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::{Partitioner, Producer};
use crate::batch::Compression;
use crate::transport::Transport;

/// The largest batch and the largest record that a producer can be set to. The format ends at
/// 2 GiB; half of it leaves room for every overhead.
const MAX_BATCH_BYTES: usize = 1 << 30;

/// What a record's acknowledgement promises (Kafka: `acks`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Acks {
    /// `acks=0`: nothing. A delivery resolves as soon as the record is buffered, its offset is -1,
    /// and failures show in [`ProducerStats::records_failed`] and in the log only.
    ///
    /// [`ProducerStats::records_failed`]: super::ProducerStats::records_failed
    None,
    /// `acks=1`: the partition's leader keeps the topic's durability promise. In this process
    /// there is only one broker, so this is the same as [`Acks::All`].
    Leader,
    /// `acks=all`: all in-sync replicas keep the topic's durability promise.
    #[default]
    All,
}

/// A producer's settings, within bounds.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) acks: Acks,
    pub(super) linger: Duration,
    pub(super) delivery_timeout: Duration,
    pub(super) batch_size: usize,
    pub(super) buffer_memory: usize,
    pub(super) max_request_size: usize,
    pub(super) partitioner: Partitioner,
    pub(super) compression: Compression,
}

/// Makes a [`Producer`].
///
/// The defaults suit both single awaited sends and a stream of records: nothing lingers, and what
/// is produced while a batch is on its way goes into the next one.
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing before `build`"]
pub struct ProducerBuilder {
    transport: Arc<dyn Transport>,
    settings: Settings,
}

impl ProducerBuilder {
    pub(crate) fn new(transport: Arc<dyn Transport>) -> Self {
        let settings = Settings {
            acks: Acks::default(),
            linger: Duration::ZERO,
            delivery_timeout: Duration::from_secs(120),
            batch_size: transport.batch_size(),
            buffer_memory: 32 << 20,
            max_request_size: 1 << 20,
            partitioner: Partitioner::default(),
            compression: Compression::None,
        };
        ProducerBuilder { transport, settings }
    }

    /// What an acknowledgement promises. Default: [`Acks::All`].
    pub fn acks(mut self, acks: Acks) -> Self {
        self.settings.acks = acks;
        self
    }

    /// How long a batch that is not full waits for more records (`linger.ms`). Default: zero.
    ///
    /// The wait needs a tokio runtime with its timer enabled (unless the clock is a manual one):
    /// a batch whose first record is produced outside of one goes without lingering, and so do
    /// all when the buffer is full, on [`Producer::flush`], and when the last clone of the
    /// producer or the runtime goes.
    pub fn linger(mut self, linger: Duration) -> Self {
        self.settings.linger = linger;
        self
    }

    /// How long may be tried to deliver a batch to a broker on the network, from when it could have
    /// been sent (`delivery.timeout.ms`). Default: two minutes.
    ///
    /// Then its records fail with [`Error::Timeout`](crate::Error::Timeout), and may have been
    /// appended all the same. A broker of this process takes a batch at once, or never.
    pub fn delivery_timeout(mut self, timeout: Duration) -> Self {
        self.settings.delivery_timeout = timeout;
        self
    }

    /// The size in bytes at which a batch is closed (`batch.size`). Default: 64 KiB; to brokers on
    /// the network, where each batch costs more, 1,000,000 bytes.
    ///
    /// A larger record gets a batch of its own. A topic's `max.message.bytes` closes batches too;
    /// what a broker on the network finds too large is sent to it in parts. Values are clamped to 1
    /// byte, which puts each record into its own batch, to 1 GiB.
    pub fn batch_size(mut self, bytes: usize) -> Self {
        self.settings.batch_size = bytes;
        self
    }

    /// How many bytes of records may wait for their acknowledgement (`buffer.memory`). Default:
    /// 32 MiB.
    ///
    /// At this limit [`Producer::enqueue`] and [`Producer::send`] wait, and [`Producer::try_send`]
    /// fails. A value below the batch size is raised to it.
    pub fn buffer_memory(mut self, bytes: usize) -> Self {
        self.settings.buffer_memory = bytes;
        self
    }

    /// The largest record, as a batch of its own, in bytes (`max.request.size`). Default: 1 MiB.
    ///
    /// The topic's `max.message.bytes` applies as well. Values over 1 GiB are clamped to it.
    pub fn max_request_size(mut self, bytes: usize) -> Self {
        self.settings.max_request_size = bytes;
        self
    }

    /// How the partition of a record with a key is chosen. Default: [`Partitioner::Fnv1a`].
    pub fn partitioner(mut self, partitioner: Partitioner) -> Self {
        self.settings.partitioner = partitioner;
        self
    }

    /// How batches are compressed (`compression.type`). Default: [`Compression::None`].
    ///
    /// A topic's own setting ([`TopicConfig::compression`](crate::TopicConfig::compression)) is
    /// followed instead, where it has one. All sizes, of records, batches and the buffer, are those
    /// before compression. A batch that would not become smaller is sent as it is. Whoever appends
    /// the batch compresses it: a broker of this process does so in the partition's own task.
    ///
    /// With a codec that is not built in, each record fails with [`Error::InvalidConfig`], which
    /// names the cargo feature.
    ///
    /// [`Error::InvalidConfig`]: crate::Error::InvalidConfig
    pub fn compression(mut self, compression: Compression) -> Self {
        self.settings.compression = compression;
        self
    }

    /// Makes the producer. Nothing is asked of the broker before the first record.
    pub fn build(self) -> Producer {
        let mut settings = self.settings;
        settings.batch_size = settings.batch_size.clamp(1, MAX_BATCH_BYTES);
        settings.max_request_size = settings.max_request_size.min(MAX_BATCH_BYTES);
        settings.buffer_memory =
            settings.buffer_memory.clamp(settings.batch_size, Semaphore::MAX_PERMITS);
        Producer::new(self.transport, settings)
    }
}
