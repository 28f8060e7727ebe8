//! How a broker is made.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::partition::{MemoryBell, PartitionContext};
use crate::storage::{FileStorage, MemoryPolicy, Overlay, Storage};

use super::Broker;
use super::actor;
use super::core::{Core, with_disk};
use super::folders::is_looked_into;
use super::lock::{DirLock, Holding};
use super::open::{open_all, prepare_dir};
use super::settings::{Settings, TopicConfig};

/// Settings of a broker, then [`BrokerBuilder::open`] or [`BrokerBuilder::in_memory`].
#[derive(Debug, Clone, Default)]
#[must_use = "a builder does nothing before `open` or `in_memory`"]
pub struct BrokerBuilder {
    settings: Settings,
    clock: Option<Clock>,
    runtime: Option<Handle>,
}

impl BrokerBuilder {
    /// What topics get whose own [`TopicConfig`] does not say otherwise, also those created
    /// automatically. They keep it: a topic is not changed by opening it with other defaults.
    pub fn topic_defaults(mut self, defaults: TopicConfig) -> Self {
        self.settings.topic_defaults = defaults;
        self
    }

    /// Whether producing to or consuming from an unknown topic creates it
    /// (`auto.create.topics.enable`). Default true.
    pub fn auto_create_topics(mut self, on: bool) -> Self {
        self.settings.auto_create_topics = on;
        self
    }

    /// How much memory the records of topics in memory may take, over all topics, with what
    /// consumers still hold. Default 256 MiB. Each partition may go over it by one record batch:
    /// the last is never dropped.
    pub fn memory_limit(mut self, bytes: usize) -> Self {
        self.settings.memory_limit_bytes = bytes;
        self
    }

    /// What happens when that memory is used up. Default [`MemoryPolicy::DropOldest`].
    pub fn memory_policy(mut self, policy: MemoryPolicy) -> Self {
        self.settings.memory_policy = policy;
        self
    }

    /// How many files may be open at once, at least 2. Default 256.
    pub fn max_open_files(mut self, files: usize) -> Self {
        self.settings.max_open_files = files.max(2);
        self
    }

    /// How many threads may wait for the disk at once, at least 1. Default 8.
    pub fn io_threads(mut self, threads: usize) -> Self {
        self.settings.io_threads = threads.clamp(1, Semaphore::MAX_PERMITS);
        self
    }

    /// How many topics there may be. Default 100,000.
    pub fn max_topics(mut self, topics: usize) -> Self {
        self.settings.max_topics = topics;
        self
    }

    /// How many consumer groups there may be. Default 100,000.
    pub fn max_groups(mut self, groups: usize) -> Self {
        self.settings.group_limits.max_groups = groups;
        self
    }

    /// How much memory consumer groups may take together: names, members with what they say of
    /// themselves, assignments, committed offsets. What would be more is refused. Default 256 MiB.
    pub fn group_memory_limit(mut self, bytes: usize) -> Self {
        self.settings.group_limits.max_bytes = bytes;
        self
    }

    /// How many members a consumer group may have (`group.max.size`), at least 1. Default 10,000.
    pub fn group_max_size(mut self, members: usize) -> Self {
        self.settings.group_limits.max_members = members.max(1);
        self
    }

    /// How long a group's offsets are kept that nobody needs (`offsets.retention.minutes`): since
    /// they were committed, and the group had its last member. Default 7 days.
    pub fn offsets_retention(mut self, retention: Duration) -> Self {
        self.settings.offsets_retention = retention;
        self
    }

    /// How long an empty group waits for more members before it shares out its partitions
    /// (`group.initial.rebalance.delay.ms`). Default 0: Kafka's 3 seconds are for many machines
    /// that start one after the other.
    pub fn group_initial_rebalance_delay(mut self, delay: Duration) -> Self {
        self.settings.group_limits.initial_rebalance_delay = delay;
        self
    }

    /// The shortest session timeout that a member on the network may ask for
    /// (`group.min.session.timeout.ms`). Default 6 seconds.
    pub fn group_min_session_timeout(mut self, timeout: Duration) -> Self {
        self.settings.group_limits.min_session_timeout = timeout;
        self
    }

    /// The clock: [`Clock::manual`] for tests. Default the system's.
    pub fn clock(mut self, clock: impl Into<Clock>) -> Self {
        self.clock = Some(clock.into());
        self
    }

    /// The runtime that the broker's tasks run on, for a broker that outlives the one it is opened
    /// from. Default the current one. It needs time enabled, unless the clock is manual.
    pub fn runtime(mut self, runtime: Handle) -> Self {
        self.runtime = Some(runtime);
        self
    }

    /// A broker in memory: nothing is written, and nothing is left when it is gone.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`] for topic defaults that are not allowed, and
    /// [`Error::InvalidState`] outside of a tokio runtime.
    pub async fn in_memory(self) -> Result<Broker> {
        let core = self.core(None)?;
        Ok(actor::start(core, None, None))
    }

    /// A broker on a data directory, which is created if it is not there.
    ///
    /// Waits for a broker of this process that is closing the same directory. What a crash left
    /// is mended, and [`Broker::recovery_report`] says how; an error is never a crash's fault, and
    /// leaves the directory as it was.
    ///
    /// Cancel safe: dropped before it returns, the directory is closed again.
    ///
    /// # Errors
    /// [`Error::Locked`] if another broker has the directory, [`Error::UnsupportedFormat`] if a
    /// later version wrote it, [`Error::Io`] if the disk fails or the path is no directory.
    pub async fn open(self, path: impl AsRef<Path>) -> Result<Broker> {
        let path = path.as_ref().to_owned();
        let runtime = self.handle()?;
        let dir = path.clone();
        with_disk(&runtime, true, move || prepare_dir(&dir)).await?;
        let clock = self.clock.clone().unwrap_or_default();
        let lock = Arc::new(DirLock::acquire(&path, &clock).await?);
        let files = FileStorage::new(&path, self.settings.max_open_files).leased(&lock);
        self.open_storage(Arc::new(files), path.display().to_string(), Some(lock)).await
    }

    /// A broker that reads a data directory and changes nothing in it: one that another process is
    /// at work in, one on read-only media, or one that Apache Kafka wrote.
    ///
    /// It serves what was there at this moment, as an open would find it: what an open would mend
    /// is mended in memory, up to [`memory_limit`](Self::memory_limit), and
    /// [`Broker::recovery_report`] says what that was; so this is also what a repair would do, as a
    /// dry run. Whatever would change something is refused with [`Error::OpenForReading`]:
    /// producing, committing, members of groups; consumers with [`assign`], offsets of groups,
    /// descriptions are not. No record expires meanwhile, and no lock is taken. If the other
    /// process removes or compacts a segment that has yet to be read, reading it fails: seek past
    /// it, or open again.
    ///
    /// From Kafka's directories it reads all records (those of aborted transactions, too) but the
    /// compressed ones whose codec is not built in, and its groups' offsets; topics have default
    /// settings.
    ///
    /// # Errors
    /// [`Error::UnsupportedFormat`] if a later version wrote it, [`Error::Io`] if there is no such
    /// directory, the disk fails, or memory does not suffice.
    ///
    /// [`assign`]: crate::ConsumerBuilder::assign
    pub async fn open_read_only(mut self, path: impl AsRef<Path>) -> Result<Broker> {
        self.settings.read_only = true;
        self.settings.auto_create_topics = false;
        let path = path.as_ref().to_owned();
        let (files, limit) = (self.settings.max_open_files, self.settings.memory_limit_bytes);
        let name = path.display().to_string();
        let look = move || {
            let files = FileStorage::for_reading(&path, files);
            Overlay::new(&files, limit, is_looked_into)
                .map_err(|error| Error::io(format!("reading {}", path.display()), error))
        };
        let view = with_disk(&self.handle()?, true, look).await?;
        self.open_storage(Arc::new(view), name, None).await
    }

    /// A broker on storage of the caller's: for crash tests.
    #[doc(hidden)]
    pub async fn open_on(self, storage: Arc<dyn Storage>) -> Result<Broker> {
        self.open_storage(storage, "storage".to_owned(), None).await
    }

    /// Makes the ids of topics and members of a seed, which must be another each time that a
    /// directory is opened: for crash tests that have to repeat a run.
    #[doc(hidden)]
    pub fn id_seed(mut self, seed: u64) -> Self {
        self.settings.id_seed = Some(seed);
        self
    }

    async fn open_storage(
        self,
        storage: Arc<dyn Storage>,
        path: String,
        lock: Option<Arc<DirLock>>,
    ) -> Result<Broker> {
        let mut core = self.core(Some(storage.clone()))?;
        #[cfg(feature = "tcp")]
        {
            // As Kafka tells it. What has no absolute path is no directory either.
            let absolute = std::path::absolute(&path).unwrap_or_else(|_| path.clone().into());
            core.data_dir = Some(absolute.display().to_string());
        }
        let started = core.context.clock.instant();
        let blocks = storage.may_block();
        let mut unfinished = Unfinished(lock.as_ref().map(|lock| lock.holding()));
        // The lock goes along: if this future is dropped, the thread goes on, and keeps it so long.
        let open = move || {
            let lock = lock;
            let opened = open_all(&core, storage, &path)?;
            core.memory_epoch = opened.memory_epoch;
            Ok((core, opened, lock))
        };
        let (core, mut opened, lock) = with_disk(&self.handle()?, blocks, open).await?;
        unfinished.0 = None;
        opened.report.took = core.context.clock.instant().saturating_sub(started);
        Ok(actor::start(core, Some(opened), lock))
    }

    fn core(&self, storage: Option<Arc<dyn Storage>>) -> Result<Core> {
        let defaults = &self.settings.topic_defaults;
        defaults.checked_partitions()?;
        defaults.log_config(super::Durability::Memory)?;
        let simulated = storage.as_ref().is_some_and(|storage| !storage.may_block());
        let context = PartitionContext {
            simulated,
            runtime: self.handle()?,
            clock: self.clock.clone().unwrap_or_default(),
            io: Arc::new(Semaphore::new(self.settings.io_threads)),
            memory: MemoryBell::default(),
        };
        Ok(Core::new(context, self.settings.clone(), storage))
    }

    fn handle(&self) -> Result<Handle> {
        match &self.runtime {
            Some(runtime) => Ok(runtime.clone()),
            None => Handle::try_current().map_err(|_| {
                let text = "a broker needs a tokio runtime: open it in one, or give it one with \
                            `Broker::builder().runtime(handle)`";
                Error::InvalidState(text.to_owned())
            }),
        }
    }
}

/// An open that is under way. Given up, it lets others wait for its end instead of refusing them.
struct Unfinished(Option<Arc<Holding>>);

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(holding) = &self.0 {
            holding.will_be_released();
        }
    }
}
