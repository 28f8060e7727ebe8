//! Waiting for many partitions in one place: a queue of those that have become readable.

use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

/// Keys of partitions that have something to read, in the order in which that became so.
#[derive(Debug)]
pub(crate) struct ReadyQueue {
    /// Tells queues apart.
    id: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    ready: VecDeque<u64>,
    waker: Option<Waker>,
}

impl ReadyQueue {
    pub(crate) fn new() -> Arc<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        Arc::new(ReadyQueue { id, state: Mutex::default() })
    }

    /// Adds a key at the end, and wakes who waits.
    pub(crate) fn push(&self, key: u64) {
        let waker = {
            let mut state = self.state();
            state.ready.push_back(key);
            state.waker.take()
        };
        if let Some(waker) = waker {
            wake(waker);
        }
    }

    /// The next key; remembers the waker if there is none.
    pub(crate) fn poll_pop(&self, cx: &mut Context<'_>) -> Poll<u64> {
        let mut state = self.state();
        if let Some(key) = state.ready.pop_front() {
            return Poll::Ready(key);
        }
        match &mut state.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// The next key, if there is one.
    pub(crate) fn pop(&self) -> Option<u64> {
        self.state().ready.pop_front()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no one panics with the queue in hand")
    }
}

/// Who waits for one partition's high watermark to pass an offset. At most one entry a queue.
#[derive(Debug, Default)]
pub(super) struct Waiters(Mutex<BTreeMap<u64, Waiter>>);

#[derive(Debug)]
struct Waiter {
    queue: Arc<ReadyQueue>,
    key: u64,
    offset: i64,
}

impl Waiters {
    /// Adds a waiter, unless it need not wait. `is_ready` is asked with the list locked: a rise
    /// that it does not see yet will find the waiter there.
    pub(super) fn add(
        &self,
        queue: &Arc<ReadyQueue>,
        key: u64,
        offset: i64,
        is_ready: impl FnOnce() -> bool,
    ) {
        let mut waiters = self.lock();
        if is_ready() {
            waiters.remove(&queue.id);
            drop(waiters);
            queue.push(key);
        } else {
            waiters.insert(queue.id, Waiter { queue: queue.clone(), key, offset });
        }
    }

    /// Forgets a queue's waiter.
    pub(super) fn remove(&self, queue: &ReadyQueue, key: u64) {
        let mut waiters = self.lock();
        if waiters.get(&queue.id).is_some_and(|waiter| waiter.key == key) {
            waiters.remove(&queue.id);
        }
    }

    /// The high watermark is now `high_watermark`.
    pub(super) fn wake_beyond(&self, high_watermark: i64) {
        let mut waiters = self.lock();
        if waiters.is_empty() {
            return;
        }
        let woken = waiters.extract_if(.., |_, waiter| waiter.offset < high_watermark);
        let woken: Vec<Waiter> = woken.map(|(_, waiter)| waiter).collect();
        // A waker is a stranger's code: it is not called under the lock.
        drop(waiters);
        woken.into_iter().for_each(|waiter| waiter.queue.push(waiter.key));
    }

    pub(super) fn wake_all(&self) {
        let waiters = std::mem::take(&mut *self.lock());
        waiters.into_values().for_each(|waiter| waiter.queue.push(waiter.key));
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Waiter>> {
        self.0.lock().expect("no one panics with the waiters in hand")
    }
}

/// Wakes a task. A waker is a stranger's code: should it panic, that task is not woken, and who
/// wakes it goes on.
pub(crate) fn wake(waker: Waker) {
    if catch_unwind(AssertUnwindSafe(|| waker.wake())).is_err() {
        tracing::error!("a task's waker has panicked");
    }
}
