//! The memory of frames that have been done with, for frames to come: a page of fresh memory costs
//! more than to read a frame into it.
//!
//! Only what batches were appended from comes here: those frames are large, and their batch is the
//! only owner of the frame's memory.

use bytes::BytesMut;

use crate::batch::Spares;

/// Shorter ones are cheap, and longer ones rare.
const KEPT: std::ops::RangeInclusive<usize> = 64 << 10..=2 << 20;
/// Bytes that are kept at most, for all connections.
const MAX_BYTES: usize = 8 << 20;

#[derive(Debug)]
pub(super) struct Frames(Spares);

impl Frames {
    pub(super) fn new() -> Self {
        Frames(Spares::new(MAX_BYTES))
    }

    /// Memory for a frame of `len` bytes, if there is some.
    pub(super) fn take(&self, len: usize) -> Option<BytesMut> {
        if KEPT.contains(&len) { self.0.take(len) } else { None }
    }

    /// Keeps a buffer that nobody needs any more, if it is worth it.
    pub(super) fn give(&self, mut buffer: BytesMut) {
        buffer.clear();
        // If something lies in front of where it begins, that is its own, too.
        let more = buffer.capacity() + 1;
        let _ = buffer.try_reclaim(more);
        if KEPT.contains(&buffer.capacity()) {
            self.0.give(buffer);
        }
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
        let frames = Frames::new();
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
        let frames = Frames::new();
        [0, 100, (2 << 20) + 1].into_iter().for_each(|len| frames.give(frame(len)));
        assert!(frames.0.take(0).is_none());
    }
}
