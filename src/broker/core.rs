//! What a broker's handles, its actor and its background work share.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};
use std::time::Duration;

use fnv::FnvHasher;
use tokio::runtime::Handle;
use tokio::sync::{OnceCell, watch};

use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::group::Coordinator;
use crate::log::{LogConfig, LogReader, LogStats, MemoryPressure, Opening};
use crate::partition::panics::{Ended, caught, told_by};
use crate::partition::{Buffered, Partition, PartitionContext};
use crate::storage::{MemoryStorage, Storage};
use crate::topic::{TopicId, TopicName, TopicPartition};

use super::catalog::TopicEntry;
#[cfg(feature = "tcp")]
use super::faults::Faults;
use super::report::RecoveryReport;
use super::settings::{Durability, Settings};

/// A topic with its partitions.
#[derive(Debug, Clone)]
pub(crate) struct Topic {
    pub(crate) name: TopicName,
    pub(super) entry: TopicEntry,
    pub(crate) log_config: LogConfig,
    pub(crate) partitions: Vec<Partition>,
    /// Whether somebody was warned of records that come too old to stay.
    pub(super) warned: Arc<AtomicBool>,
}

impl Topic {
    pub(crate) fn id(&self) -> TopicId {
        self.entry.id
    }

    /// The partition of that number, or an error that says which there are.
    pub(crate) fn partition(&self, partition: i32) -> Result<&Partition> {
        let found = usize::try_from(partition).ok().and_then(|i| self.partitions.get(i));
        found.ok_or_else(|| Error::UnknownPartition {
            topic: self.name.as_str().to_owned(),
            partition,
            partitions: self.partitions.len() as i32,
        })
    }
}

/// All topics, twice.
#[derive(Debug, Default)]
struct Topics {
    by_name: BTreeMap<TopicName, Arc<Topic>>,
    by_id: BTreeMap<TopicId, Arc<Topic>>,
}

/// The shared state of one broker.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) context: Arc<PartitionContext>,
    pub(super) settings: Settings,
    /// Where topics with a promise beyond memory are; `None` in an in-memory broker.
    pub(super) storage: Option<Arc<dyn Storage>>,
    /// The path of that.
    #[cfg(feature = "tcp")]
    pub(super) data_dir: Option<String>,
    pub(super) memory: Arc<MemoryStorage>,
    pub(super) pressure: Arc<MemoryPressure>,
    /// The leader epoch of this run for topics in memory.
    pub(super) memory_epoch: i32,
    topics: RwLock<Topics>,
    version: watch::Sender<u64>,
    closed: OnceLock<Ended>,
    producers: Mutex<Vec<Weak<dyn Buffered>>>,
    /// By the clock's `instant`, when it was opened.
    pub(super) opened: Duration,
    /// What topics have done that were deleted.
    past: Mutex<LogStats>,
    /// The consumer groups, once they are asked for.
    pub(super) coordinator: OnceCell<Coordinator>,
    /// Whether the broker's actor is gone.
    pub(super) ended: watch::Sender<bool>,
    pub(super) report: OnceLock<RecoveryReport>,
    /// The log of the catalog, for a broker on disk.
    pub(super) catalog: OnceLock<LogReader>,
    /// How many ids were made of the settings' seed.
    ids: AtomicU64,
    /// Names that somebody has for as long as it works.
    claims: Mutex<BTreeMap<String, Arc<Claimed>>>,
    #[cfg(feature = "tcp")]
    pub(crate) faults: Faults,
}

/// A name that nobody else gets until this is dropped.
#[derive(Debug)]
pub(crate) struct Claim {
    core: Arc<Core>,
    name: String,
    claimed: Arc<Claimed>,
}

#[derive(Debug, Default)]
struct Claimed {
    ends: AtomicBool,
    is_over: watch::Sender<bool>,
}

/// Why a name can't be had.
#[derive(Debug)]
pub(crate) enum Taken {
    /// Somebody has it.
    InUse,
    /// Somebody is about to give it back. Changes when that is done.
    Ending(watch::Receiver<bool>),
}

impl Claim {
    /// It will be given back soon.
    pub(crate) fn ends(&self) {
        self.claimed.ends.store(true, Ordering::Release);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.core.claims.lock().expect("no one panics with the claims").remove(&self.name);
        self.claimed.is_over.send_replace(true);
    }
}

impl Core {
    pub(super) fn new(
        context: PartitionContext,
        settings: Settings,
        storage: Option<Arc<dyn Storage>>,
    ) -> Self {
        let (limit, policy) = (settings.memory_limit_bytes, settings.memory_policy);
        let opened = context.clock.instant();
        Core {
            context: Arc::new(context),
            storage,
            #[cfg(feature = "tcp")]
            data_dir: None,
            memory: Arc::new(MemoryStorage::new(limit)),
            pressure: MemoryPressure::new(policy, limit),
            memory_epoch: 0,
            settings,
            topics: RwLock::default(),
            version: watch::Sender::new(0),
            closed: OnceLock::new(),
            producers: Mutex::default(),
            opened,
            past: Mutex::default(),
            coordinator: OnceCell::new(),
            ended: watch::Sender::new(false),
            report: OnceLock::new(),
            catalog: OnceLock::new(),
            ids: AtomicU64::new(0),
            claims: Mutex::default(),
            #[cfg(feature = "tcp")]
            faults: Faults::default(),
        }
    }

    /// The name, if nobody has it.
    pub(crate) fn claim(self: &Arc<Self>, name: &str) -> Result<Claim, Taken> {
        let mut claims = self.claims.lock().expect("no one panics with the claims");
        if let Some(other) = claims.get(name) {
            return Err(match other.ends.load(Ordering::Acquire) {
                true => Taken::Ending(other.is_over.subscribe()),
                false => Taken::InUse,
            });
        }
        let claimed = Arc::<Claimed>::default();
        claims.insert(name.to_owned(), claimed.clone());
        Ok(Claim { core: self.clone(), name: name.to_owned(), claimed })
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.context.clock
    }

    /// The path of the data directory; `None` in an in-memory broker.
    #[cfg(feature = "tcp")]
    pub(crate) fn data_dir(&self) -> Option<&str> {
        self.data_dir.as_deref()
    }

    pub(crate) fn topic(&self, name: &str) -> Option<Arc<Topic>> {
        self.topics().by_name.get(name).cloned()
    }

    /// The topic of that id.
    #[cfg(feature = "tcp")]
    pub(crate) fn topic_by_id(&self, id: TopicId) -> Option<Arc<Topic>> {
        self.topics().by_id.get(&id).cloned()
    }

    pub(crate) fn all_topics(&self) -> Vec<Arc<Topic>> {
        self.topics().by_name.values().cloned().collect()
    }

    /// All topics, and what those have done that were deleted: each is in one of the two.
    pub(super) fn topics_and_past(&self) -> (Vec<Arc<Topic>>, LogStats) {
        let topics = self.topics();
        let past = *self.past.lock().expect("no one panics with the figures in hand");
        (topics.by_name.values().cloned().collect(), past)
    }

    pub(super) fn insert(&self, topic: Topic) {
        let topic = Arc::new(topic);
        let mut topics = self.topics_mut();
        topics.by_id.insert(topic.id(), topic.clone());
        topics.by_name.insert(topic.name.clone(), topic);
        drop(topics);
        self.version.send_modify(|version| *version += 1);
    }

    pub(super) fn remove(&self, name: &TopicName) -> Option<Arc<Topic>> {
        let mut topics = self.topics_mut();
        let removed = topics.by_name.remove(name);
        removed.iter().for_each(|topic| drop(topics.by_id.remove(&topic.id())));
        let partitions = removed.iter().flat_map(|topic| &topic.partitions);
        let mut past = self.past.lock().expect("no one panics with the figures in hand");
        partitions.for_each(|partition| past.add(&partition.reader().stats()));
        drop((past, topics));
        self.version.send_modify(|version| *version += 1);
        removed
    }

    /// Rises whenever a topic comes or goes, and when the broker closes.
    pub(crate) fn version(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// A new id. Those made of a seed come again in the next run with that seed: the order of ids
    /// is the order of members, and of folders.
    pub(crate) fn new_id(&self) -> TopicId {
        let Some(seed) = self.settings.id_seed else { return random_id() };
        let number = self.ids.fetch_add(1, Ordering::Relaxed);
        let mut hasher = FnvHasher::with_key(seed);
        hasher.write_u64(number);
        let high = hasher.finish();
        hasher.write_u64(seed);
        TopicId((u128::from(high) << 64 | u128::from(hasher.finish())).to_be_bytes())
    }

    /// Fails once the broker is closed.
    pub(crate) fn check_open(&self) -> Result<()> {
        match self.closed.get() {
            Some(ended) => Err(Error::closed(ended.reason.clone())),
            None => Ok(()),
        }
    }

    /// Fails if the broker only reads.
    pub(crate) fn check_writable(&self) -> Result<()> {
        match self.settings.read_only {
            true => Err(Error::OpenForReading),
            false => Ok(()),
        }
    }

    /// Whether it was closed by somebody, and not by a task that has ended.
    pub(super) fn was_closed(&self) -> bool {
        self.closed.get().is_some_and(|ended| ended.is_well)
    }

    /// Waits until the actor is gone.
    pub(crate) async fn ended(&self) {
        // Cannot fail: `self` holds the sender.
        let _ = self.ended.subscribe().wait_for(|ended| *ended).await;
    }

    pub(crate) fn add_producer(&self, producer: Weak<dyn Buffered>) {
        let mut producers = self.producers.lock().expect("no one panics with the producers");
        if producers.len() == producers.capacity() {
            producers.retain(|producer| producer.strong_count() > 0);
        }
        producers.push(producer);
    }

    /// What lingers in producers need not wait for more.
    pub(super) fn submit_all(&self) {
        let producers = self.producers.lock().expect("no one panics with the producers").clone();
        producers.iter().filter_map(Weak::upgrade).for_each(|producer| producer.submit_all());
    }

    pub(super) fn close(&self, ended: Ended) {
        // The first reason stays.
        let _ = self.closed.set(ended);
        self.version.send_modify(|version| *version += 1);
    }

    /// What a partition's log is opened with.
    pub(super) fn opening(
        &self,
        at: TopicPartition,
        entry: &TopicEntry,
        config: LogConfig,
    ) -> Opening {
        let on_disk = self.storage.clone().filter(|_| entry.durability != Durability::Memory);
        let in_memory = on_disk.is_none();
        Opening {
            storage: on_disk.unwrap_or_else(|| self.memory.clone()),
            dir: at.to_string().into(),
            topic_id: entry.id,
            config,
            clean: false,
            min_epoch: if in_memory { self.memory_epoch } else { 0 },
            log_start_offset: 0,
            sparse: false,
            recovery_point: None,
            pressure: in_memory.then(|| self.pressure.clone()),
            partition: at,
        }
    }

    fn topics(&self) -> RwLockReadGuard<'_, Topics> {
        self.topics.read().expect("no one panics with the topics in hand")
    }

    fn topics_mut(&self) -> RwLockWriteGuard<'_, Topics> {
        self.topics.write().expect("no one panics with the topics in hand")
    }
}

/// A number that nobody can guess: each `RandomState` hashes with keys of its own, drawn from the
/// system.
pub(crate) fn random_id() -> TopicId {
    let half = || RandomState::new().build_hasher().finish();
    TopicId((u128::from(half()) << 64 | u128::from(half())).to_be_bytes())
}

/// Runs what may wait for the disk, on another thread if it does. A panic in it is an error.
pub(super) async fn with_disk<T: Send + 'static>(
    runtime: &Handle,
    blocks: bool,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let done = match blocks {
        true => runtime.spawn_blocking(work).await.map_err(told_by),
        false => caught(work),
    };
    done.unwrap_or_else(|panic| Err(Error::closed(panic)))
}
