//! What all partitions of one producer share: the transport, the buffer's budget, the counters.
//!
//! Batches on their way hold it, so it outlives the producer's handles until the last of them has
//! been answered. It knows partitions by weak references only. Its locks are leaves: no other lock
//! is taken under them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use async_trait::async_trait;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::accumulator::Partition;
use super::builder::Settings;
use super::linger::Linger;
use crate::batch::Spares;
use crate::transport::{Buffered, Transport};

/// So many bytes that wait are too many to go on: about what a processor's cache holds.
const BACKLOG: usize = 1 << 20;

/// So much room is taken at once, of a buffer that has [`AMPLE`] times as much.
const AHEAD: usize = 4 << 10;
const AMPLE: usize = 256;

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) transport: Arc<dyn Transport>,
    pub(super) settings: Settings,
    pub(super) memory: Memory,
    /// Of batches that were acknowledged.
    pub(super) spares: Spares,
    pub(super) counters: Counters,
    pub(super) linger: Linger,
    /// Whether a batch became full since a caller last made way.
    filled: AtomicBool,
    /// All partitions that may have records buffered, by their numbers: always in one order.
    busy: Mutex<BTreeMap<u64, Weak<Partition>>>,
    /// How many partitions have a number.
    numbered: AtomicU64,
}

impl Shared {
    pub(super) fn new(transport: Arc<dyn Transport>, settings: Settings) -> Arc<Self> {
        Arc::new(Shared {
            memory: Memory::new(settings.buffer_memory),
            spares: Spares::new(settings.buffer_memory / 4),
            counters: Counters::default(),
            linger: Linger::default(),
            filled: AtomicBool::new(false),
            busy: Mutex::default(),
            numbered: AtomicU64::new(0),
            transport,
            settings,
        })
    }

    /// Whether a batch that is opened now may wait for more records. Not while someone waits for
    /// the room that it takes.
    pub(super) fn lingers(&self) -> bool {
        !self.settings.linger.is_zero() && self.memory.waiting.load(Ordering::SeqCst) == 0
    }

    /// A batch is full.
    pub(super) fn note_filled(&self) {
        self.filled.store(true, Ordering::Relaxed);
    }

    /// Whether a task that buffers records should let others run first; once for each full batch.
    ///
    /// It never waits before the buffer is full, and its runtime may want to run the partition's
    /// actor on the same thread next. Were it not to make way, batches would pass through the
    /// buffer by the megabyte, late, and out of the cache.
    #[inline]
    pub(super) fn makes_way(&self) -> bool {
        self.filled.load(Ordering::Relaxed)
            && self.filled.swap(false, Ordering::Relaxed)
            && self.memory.buffered() >= BACKLOG
    }

    /// The next partition's number.
    pub(super) fn number(&self) -> u64 {
        self.numbered.fetch_add(1, Ordering::Relaxed)
    }

    /// A partition gets records. It says so once, until it takes that back by [`Shared::rests`].
    pub(super) fn works(&self, partition: &Arc<Partition>) {
        self.lock_busy().insert(partition.number(), Arc::downgrade(partition));
    }

    /// A partition has nothing buffered any more, or ends.
    pub(super) fn rests(&self, partition: &Partition) {
        self.lock_busy().remove(&partition.number());
    }

    /// All partitions that may have records buffered.
    pub(super) fn busy(&self) -> Vec<Arc<Partition>> {
        self.lock_busy().values().filter_map(Weak::upgrade).collect()
    }

    fn lock_busy(&self) -> MutexGuard<'_, BTreeMap<u64, Weak<Partition>>> {
        self.busy.lock().expect("no one panics with the partitions")
    }

    /// Ends all lingering.
    pub(super) fn send_lingering(&self) {
        if !self.settings.linger.is_zero() {
            self.submit_all();
        }
    }

    /// Waits for room in the buffer, first come, first served. Cancel safe: room that was set
    /// aside for a caller who gave up goes to the next one.
    pub(super) async fn wait_for_room(&self, bytes: usize) -> Room<'_> {
        let _waiting = Waiting::new(&self.memory.waiting);
        // From here on nothing lingers; what lingers already might be the room that we wait for.
        self.send_lingering();
        let room = self.memory.room.acquire_many(permits(bytes)).await;
        Room(room.expect("the semaphore is never closed"))
    }
}

/// Room that somebody has waited for; given back when it is dropped.
pub(super) struct Room<'a>(SemaphorePermit<'a>);

impl Room<'_> {
    /// How much it is, to be given back by [`Memory::release`].
    pub(super) fn keep(self) -> usize {
        let bytes = self.0.num_permits();
        self.0.forget();
        bytes
    }
}

#[async_trait]
impl Buffered for Shared {
    fn submit_all(&self) {
        self.busy().iter().for_each(|partition| drop(partition.send_now()));
    }

    async fn flush(&self) {
        // Before it waits: a partition that is held here would end late.
        let last: Vec<_> = self.busy().iter().filter_map(|it| it.send_now()).collect();
        for ack in last {
            ack.resolved().await;
        }
    }
}

/// The budget of `buffer.memory`: one permit a byte.
#[derive(Debug)]
pub(super) struct Memory {
    limit: usize,
    room: Semaphore,
    /// How many callers wait for room.
    waiting: AtomicUsize,
}

impl Memory {
    fn new(limit: usize) -> Self {
        Memory { limit, room: Semaphore::new(limit), waiting: AtomicUsize::new(0) }
    }

    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// Bytes that wait for an acknowledgement, or are set aside for who waits for room.
    pub(super) fn buffered(&self) -> usize {
        self.limit - self.room.available_permits().min(self.limit)
    }

    /// Takes room for `bytes`, unless the buffer is full or others have been waiting. More than
    /// that, if there is plenty and others `follow`, so that they need not ask. Returns how much.
    pub(super) fn take_room(&self, bytes: usize, follow: bool) -> Option<usize> {
        let ample = bytes.max(self.limit.min(AHEAD * AMPLE) / AMPLE);
        let wanted = if follow { ample } else { bytes };
        [wanted, bytes].into_iter().find(|bytes| {
            match self.room.try_acquire_many(permits(*bytes)) {
                Ok(room) => {
                    room.forget();
                    true
                }
                Err(_) => false,
            }
        })
    }

    #[inline]
    pub(super) fn release(&self, bytes: usize) {
        if bytes > 0 {
            self.room.add_permits(bytes);
        }
    }
}

#[inline]
fn permits(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("a record is limited to 1 GiB")
}

/// Counts a caller who waits for room.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Waiting(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The counters behind [`ProducerStats`](super::ProducerStats).
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) records_sent: AtomicU64,
    pub(super) records_failed: AtomicU64,
    pub(super) batches: AtomicU64,
    pub(super) bytes: AtomicU64,
}

impl Counters {
    pub(super) fn count_sent(&self, records: i32, bytes: usize) {
        self.records_sent.fetch_add(u64::from(records.unsigned_abs()), Ordering::Relaxed);
        self.batches.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn count_failed(&self, records: i32) {
        self.records_failed.fetch_add(u64::from(records.unsigned_abs()), Ordering::Relaxed);
    }
}
