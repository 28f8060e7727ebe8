//! What a fetch session wants, and what has come for it: shared by a consumer, which takes, and the
//! task that fetches for it. Pure, but for the wakers.
//!
//! What is fetched runs ahead of what is consumed, up to a limit for each partition. A partition
//! that was moved or given up has another key, and nothing that was asked for under the old one
//! comes out any more.
//!
//! Whether batches are whole is seen when they are taken: meanwhile the next are on their way.

use std::collections::{BTreeMap, VecDeque};
use std::task::{Context, Poll, Waker};

use crate::batch::{Batch, check_crc};
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
    /// What came damaged, and from which broker.
    damaged: Vec<(TopicPartition, i32)>,
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
    result: Result<Read>,
}

/// Batches that nobody has looked at.
#[derive(Debug)]
struct Read {
    batches: Vec<Batch>,
    /// What they were asked for.
    from: FetchPosition,
    /// Who has sent them.
    node: i32,
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
            damaged: Vec::new(),
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
    pub(super) fn put(
        &mut self,
        wanted: &Wanted,
        node: i32,
        batches: Vec<Batch>,
        next: FetchPosition,
    ) {
        let bytes = batches.iter().map(|batch| batch.bytes().len()).sum();
        let Some(slot) = self.slot(wanted) else { return };
        (slot.state, slot.position) = (State::Idle, next);
        slot.buffered += bytes;
        if !batches.is_empty() {
            let (at, key) = (wanted.at.clone(), wanted.key);
            let read = Read { batches, from: wanted.position, node };
            self.ready.push_back(Ready { at, key, bytes, result: Ok(read) });
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

    /// What came damaged since this was last asked.
    pub(super) fn take_damaged(&mut self) -> Vec<(TopicPartition, i32)> {
        std::mem::take(&mut self.damaged)
    }

    /// The next that has come. Whether there is news for who fetches is told, too: there is room,
    /// or something has to be fetched again.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> (Poll<Fetched>, bool) {
        let mut is_news = false;
        loop {
            let (ready, has_room) = self.poll_ready(cx);
            is_news |= has_room;
            let Poll::Ready(Ready { at, result, .. }) = ready else {
                return (Poll::Pending, is_news);
            };
            let Read { mut batches, from, node } = match result {
                Ok(read) => read,
                Err(error) => return (Poll::Ready(Fetched::unchecked(at, Err(error))), is_news),
            };
            let broken = batches.iter().position(|batch| check_crc(batch.bytes()).is_err());
            let result = match broken {
                None => Ok(batches),
                Some(index) => {
                    is_news = true;
                    let trouble = self.is_broken(&at, &batches, index, from, node);
                    batches.truncate(index);
                    match trouble {
                        Some(error) => Err(error),
                        None if index == 0 => continue,
                        None => Ok(batches),
                    }
                }
            };
            return (Poll::Ready(Fetched::unchecked(at, result)), is_news);
        }
    }

    /// The batch at `index` is damaged. It is fetched once more: what came about on the way does
    /// not come again. The second time it is an error.
    fn is_broken(
        &mut self,
        at: &TopicPartition,
        batches: &[Batch],
        index: usize,
        from: FetchPosition,
        node: i32,
    ) -> Option<Error> {
        let whole = batches[..index].last().map(|batch| batch.header());
        let from = whole.map_or(from, |header| FetchPosition {
            offset: header.next_offset(),
            leader_epoch: header.partition_leader_epoch,
        });
        let slot = self.slots.get_mut(at)?;
        // What was asked for since is behind what is missing.
        self.next_key += 1;
        (slot.key, slot.buffered, slot.position) = (self.next_key, 0, from);
        self.ready.retain(|ready| ready.at != *at);
        let was_suspect = slot.suspect.replace(from.offset) == Some(from.offset);
        if was_suspect && index == 0 {
            slot.state = State::Failed;
            let to = batches[index].header().next_offset();
            return Some(Error::Corrupt { at: at.clone(), from: from.offset, to });
        }
        tracing::warn!(%at, offset = from.offset, "a batch is damaged, and fetched once more");
        slot.state = State::Idle;
        self.damaged.push((at.clone(), node));
        None
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> (Poll<Ready>, bool) {
        let most = self.max_bytes.saturating_mul(AHEAD);
        while let Some(ready) = self.ready.pop_front() {
            let slot = self.slots.get_mut(&ready.at);
            let Some(slot) = slot.filter(|slot| slot.key == ready.key) else { continue };
            let was_full = slot.buffered >= most;
            slot.buffered -= ready.bytes;
            let has_room = was_full && slot.buffered < most;
            return (Poll::Ready(ready), has_room);
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

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;
    use crate::batch::{BatchBuilder, patch};

    fn at() -> TopicPartition {
        TopicPartition::new("t", 0).unwrap()
    }

    /// A batch of one record, of leader epoch 3.
    fn batch(offset: i64, is_whole: bool) -> Batch {
        let mut builder = BatchBuilder::new(BytesMut::new());
        builder.push(0, None, Some(b"value"), &[]);
        let mut bytes = builder.finish();
        patch(&mut bytes, offset, 3);
        let last = bytes.len() - 1;
        bytes[last] ^= u8::from(!is_whole);
        Batch::parse(bytes.freeze()).unwrap()
    }

    fn place(offset: i64) -> FetchPosition {
        FetchPosition { offset, leader_epoch: 3 }
    }

    /// Broker 8 sends these batches of what is wanted now, from `offset` on.
    fn come(shelf: &mut Shelf, offset: i64, whole: &[bool]) -> Wanted {
        let wanted = shelf.take_wanted().pop().expect("there is room");
        assert_eq!(wanted.position, place(offset));
        let batches = (offset..).zip(whole).map(|(offset, is_whole)| batch(offset, *is_whole));
        shelf.put(&wanted, 8, batches.collect(), place(offset + whole.len() as i64));
        wanted
    }

    /// The offsets of what is taken, or the error; `None` if there is nothing. And the news.
    fn taken(shelf: &mut Shelf) -> (Option<Result<Vec<i64>>>, bool) {
        let (polled, is_news) = shelf.poll(&mut Context::from_waker(Waker::noop()));
        let Poll::Ready(Fetched { result, .. }) = polled else { return (None, is_news) };
        let offset = |batch: &Batch| batch.header().base_offset;
        (Some(result.map(|batches| batches.iter().map(offset).collect())), is_news)
    }

    #[test]
    fn what_is_damaged_is_fetched_again_and_the_second_time_an_error() {
        let mut shelf = Shelf::new();
        shelf.want(&at(), TopicId([1; 16]), place(10));
        come(&mut shelf, 10, &[true, false, true]);
        // Meanwhile the next come, and are asked for.
        come(&mut shelf, 13, &[true]);
        let late = shelf.take_wanted().pop().unwrap();

        let (got, is_news) = taken(&mut shelf);
        assert_eq!((got.unwrap().unwrap(), is_news), (vec![10], true));
        assert_eq!(shelf.take_damaged(), [(at(), 8)]);
        assert!(taken(&mut shelf).0.is_none(), "what is behind it waits for it");
        shelf.put(&late, 8, vec![batch(14, true)], place(15));
        assert!(taken(&mut shelf).0.is_none(), "and what was asked for before");

        // It came about on the way.
        come(&mut shelf, 11, &[true, true]);
        assert_eq!(taken(&mut shelf).0.unwrap().unwrap(), [11, 12]);
        // This did not.
        come(&mut shelf, 13, &[false, true]);
        assert!(matches!(taken(&mut shelf), (None, true)));
        come(&mut shelf, 13, &[false, true]);
        let error = taken(&mut shelf).0.unwrap().unwrap_err();
        assert!(matches!(error, Error::Corrupt { from: 13, to: 14, .. }), "{error}");
        assert!(shelf.take_wanted().is_empty(), "it stands still until it is moved");
    }
}
