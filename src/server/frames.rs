//! The memory of frames that have been done with, for frames to come: a page of fresh memory costs
//! more than to read a frame into it.
//!
//! Only what batches were appended from comes here: those frames are large, and their batch is the
//! only owner of the frame's memory.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::BytesMut;

/// Shorter ones are cheap, and longer ones rare.
const KEPT: std::ops::RangeInclusive<usize> = 64 << 10..=2 << 20;
/// Bytes that are kept at most, for all connections.
const MAX_BYTES: usize = 8 << 20;

#[derive(Debug, Default)]
pub(super) struct Frames(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    /// The last one in is the first one out: it is most likely still in the cache.
    spare: Vec<BytesMut>,
    bytes: usize,
}

impl Frames {
    /// Memory for a frame of `len` bytes, if there is some.
    pub(super) fn take(&self, len: usize) -> Option<BytesMut> {
        if !KEPT.contains(&len) {
            return None;
        }
        let mut kept = self.lock();
        let at = kept.spare.iter().rposition(|spare| spare.capacity() >= len)?;
        let spare = kept.spare.remove(at);
        kept.bytes -= spare.capacity();
        Some(spare)
    }

    /// Keeps a buffer that nobody needs any more, if it is worth it.
    pub(super) fn give(&self, mut buffer: BytesMut) {
        buffer.clear();
        // If something lies in front of where it begins, that is its own, too.
        let more = buffer.capacity() + 1;
        let _ = buffer.try_reclaim(more);
        let capacity = buffer.capacity();
        let mut kept = self.lock();
        if KEPT.contains(&capacity) && kept.bytes + capacity <= MAX_BYTES {
            kept.bytes += capacity;
            kept.spare.push(buffer);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(len: usize) -> BytesMut {
        BytesMut::from(&vec![1; len][..])
    }

    /// As a batch comes back: the frame's beginning is gone, and nobody else has it.
    #[test]
    fn a_frame_is_read_into_the_memory_of_one_before_it() {
        let frames = Frames::default();
        let mut buffer = frame(100_000);
        let address = buffer.as_ptr();
        let batch = buffer.split_off(60).freeze();
        drop(buffer);
        frames.give(batch.try_into_mut().expect("it is the only owner"));
        assert!(frames.take(200_000).is_none());
        let again = frames.take(100_000).expect("all of it is there");
        assert_eq!((again.len(), again.as_ptr()), (0, address));
        assert!(frames.take(100_000).is_none());
    }

    #[test]
    fn what_is_not_worth_it_is_not_kept() {
        let frames = Frames::default();
        [0, 100, (2 << 20) + 1].into_iter().for_each(|len| frames.give(frame(len)));
        assert!(frames.lock().spare.is_empty());
    }

    #[test]
    fn no_more_is_kept_than_its_bound() {
        let frames = Frames::default();
        (0..20).for_each(|_| frames.give(frame(1 << 20)));
        assert_eq!(frames.lock().spare.len(), MAX_BYTES >> 20);
        assert!(frames.take(1 << 20).is_some());
        frames.give(frame(1 << 20));
        assert_eq!(frames.lock().bytes, MAX_BYTES);
    }
}
