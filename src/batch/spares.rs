//! The memory of batches that have been done with, for batches to come: a page of fresh memory
//! costs more than to write to it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::BytesMut;

/// Buffers that nobody needs any more, up to a limit.
#[derive(Debug)]
pub struct Spares {
    /// The most bytes that they may hold together.
    limit: usize,
    stack: Mutex<Stack>,
}

#[derive(Debug, Default)]
struct Stack {
    buffers: Vec<BytesMut>,
    bytes: usize,
}

impl Spares {
    /// None yet, and never more than `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Spares { limit, stack: Mutex::default() }
    }

    /// The one that came last, which is most likely still in the cache, of those with a capacity
    /// of `len`.
    pub fn take(&self, len: usize) -> Option<BytesMut> {
        let mut stack = self.lock();
        let at = stack.buffers.iter().rposition(|buffer| buffer.capacity() >= len)?;
        let buffer = stack.buffers.remove(at);
        stack.bytes -= buffer.capacity();
        Some(buffer)
    }

    /// Keeps a buffer, and its bytes as they are, if that stays within the limit.
    pub fn give(&self, buffer: BytesMut) {
        let capacity = buffer.capacity();
        let mut stack = self.lock();
        if capacity > 0 && stack.bytes + capacity <= self.limit {
            stack.bytes += capacity;
            stack.buffers.push(buffer);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Stack> {
        self.stack.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_one_that_is_large_enough_is_taken() {
        let spares = Spares::new(1_000);
        [100, 300, 200].into_iter().for_each(|len| spares.give(BytesMut::with_capacity(len)));
        let capacity = |len| spares.take(len).map(|buffer| buffer.capacity());
        assert_eq!(capacity(250), Some(300));
        assert_eq!(capacity(250), None);
        assert_eq!([capacity(0), capacity(0), capacity(0)], [Some(200), Some(100), None]);
    }

    #[test]
    fn no_more_is_kept_than_the_limit() {
        let spares = Spares::new(1_000);
        (0..5).for_each(|_| spares.give(BytesMut::with_capacity(300)));
        spares.give(BytesMut::new());
        let taken = std::iter::from_fn(|| spares.take(0));
        assert_eq!(taken.count(), 3);
        spares.give(BytesMut::with_capacity(1_000));
        assert!(spares.take(1_000).is_some(), "there is room again for all of it");
    }
}
