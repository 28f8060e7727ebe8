//! What a fetch session wants, and what has come for it: shared by a consumer, which takes, and the
//! task that fetches for it. Pure, but for the wakers.
//!
//! What is fetched runs ahead of what is consumed, up to a limit for each partition. A partition
//! that was moved or given up has another key, and nothing that was asked for under the old one
//! comes out any more.

use std::collections::{BTreeMap, VecDeque};
use std::task::{Context, Poll, Waker};

use crate::batch::Batch;
use crate::error::{Error, Result};
use crate::topic::{TopicId, TopicPartition};
use crate::transport::{FetchPosition, Fetched};

/// So many times what is fetched of a partition at once may wait for its consumer.
const AHEAD: usize = 4;

/// Wanted partitions, and what was read of them.
#[derive(Debug)]
pub(super) struct Shelf {
    slots: BTreeMap<TopicPartition, Slot>,
    ready: VecDeque<Ready>,
    waker: Option<Waker>,
    next_key: u64,
    /// How much of a partition is fetched at once (`max.partition.fetch.bytes`).
    pub(super) max_bytes: usize,
    /// Whether the consumer is gone.
    pub(super) is_closed: bool,
}

/// A wanted partition.
#[derive(Debug, Clone)]
struct Slot {
    key: u64,
    topic_id: TopicId,
    /// Where fetching goes on.
    position: FetchPosition,
    /// The epoch of the leader that has confirmed it, where one was asked; -1: none.
    confirmed_by: i32,
    /// Bytes that wait for the consumer.
    buffered: usize,
    state: State,
    /// The offset at which damage was found that may have come about on the way.
    suspect: Option<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    Asked,
    /// Until it is moved.
    Failed,
}

#[derive(Debug)]
struct Ready {
    at: TopicPartition,
    key: u64,
    bytes: usize,
    result: Result<Vec<Batch>>,
}

/// A partition to fetch now.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) at: TopicPartition,
    pub(super) key: u64,
    pub(super) topic_id: TopicId,
    pub(super) position: FetchPosition,
    pub(super) confirmed_by: i32,
}

impl Shelf {
    pub(super) fn new() -> Self {
        Shelf {
            slots: BTreeMap::new(),
            ready: VecDeque::new(),
            waker: None,
            next_key: 0,
            max_bytes: 1 << 20,
            is_closed: false,
        }
    }

    pub(super) fn want(&mut self, at: &TopicPartition, topic_id: TopicId, from: FetchPosition) {
        self.forget(at);
        self.next_key += 1;
        let slot = Slot {
            key: self.next_key,
            topic_id,
            position: from,
            confirmed_by: -1,
            buffered: 0,
            state: State::Idle,
            suspect: None,
        };
        self.slots.insert(at.clone(), slot);
    }

    pub(super) fn forget(&mut self, at: &TopicPartition) {
        if self.slots.remove(at).is_some() {
            self.ready.retain(|ready| ready.at != *at);
        }
    }

    /// Partitions that have room, and nobody fetches; they count as asked for.
    pub(super) fn take_wanted(&mut self) -> Vec<Wanted> {
        let most = self.max_bytes.saturating_mul(AHEAD);
        let idle = self.slots.iter_mut();
        let idle = idle.filter(|(_, slot)| slot.state == State::Idle && slot.buffered < most);
        let wanted = idle.map(|(at, slot)| {
            slot.state = State::Asked;
            let (key, topic_id, position) = (slot.key, slot.topic_id, slot.position);
            Wanted { at: at.clone(), key, topic_id, position, confirmed_by: slot.confirmed_by }
        });
        wanted.collect()
    }

    /// It has not come to fetching it.
    pub(super) fn put_back(&mut self, wanted: &Wanted) {
        if let Some(slot) = self.slot(wanted) {
            slot.state = State::Idle;
        }
    }

    /// The leader of this epoch has confirmed the position: the record before it is of `epoch`.
    pub(super) fn confirm(&mut self, wanted: &Wanted, leader_epoch: i32, epoch: i32) {
        if let Some(slot) = self.slot(wanted) {
            (slot.confirmed_by, slot.position.leader_epoch) = (leader_epoch, epoch);
        }
    }

    /// Batches have come: fetching goes on behind them.
    pub(super) fn put(&mut self, wanted: &Wanted, batches: Vec<Batch>, next: FetchPosition) {
        let bytes = batches.iter().map(|batch| batch.bytes().len()).sum();
        let Some(slot) = self.slot(wanted) else { return };
        (slot.state, slot.position) = (State::Idle, next);
        slot.buffered += bytes;
        if !batches.is_empty() {
            let (at, key) = (wanted.at.clone(), wanted.key);
            self.ready.push_back(Ready { at, key, bytes, result: Ok(batches) });
            self.wake();
        }
    }

    /// The partition stands still until it is moved.
    pub(super) fn fail(&mut self, wanted: &Wanted, error: Error) {
        let Some(slot) = self.slot(wanted) else { return };
        slot.state = State::Failed;
        let (at, key) = (wanted.at.clone(), wanted.key);
        self.ready.push_back(Ready { at, key, bytes: 0, result: Err(error) });
        self.wake();
    }

    /// Whether damage at an offset was found there before: then it is not by the way.
    pub(super) fn was_suspect(&mut self, wanted: &Wanted, offset: i64) -> bool {
        let Some(slot) = self.slot(wanted) else { return false };
        slot.suspect.replace(offset) == Some(offset)
    }

    /// The next that has come. Whether there is room for more now is told, too.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> (Poll<Fetched>, bool) {
        let most = self.max_bytes.saturating_mul(AHEAD);
        while let Some(Ready { at, key, bytes, result }) = self.ready.pop_front() {
            let Some(slot) = self.slots.get_mut(&at).filter(|slot| slot.key == key) else {
                continue;
            };
            let was_full = slot.buffered >= most;
            slot.buffered -= bytes;
            let has_room = was_full && slot.buffered < most;
            return (Poll::Ready(Fetched { at, result }), has_room);
        }
        match &mut self.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            None => self.waker = Some(cx.waker().clone()),
        }
        (Poll::Pending, false)
    }

    fn slot(&mut self, wanted: &Wanted) -> Option<&mut Slot> {
        self.slots.get_mut(&wanted.at).filter(|slot| slot.key == wanted.key)
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}
