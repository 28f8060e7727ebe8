//! Buffers for disk I/O that are filled again and again, so that no read pays for zeroing and page
//! faults of fresh memory.
//!
//! A pool keeps a bounded number of buffers of a few sizes. Requests of at most 4 KiB and of more
//! than 1 MiB are not pooled: the former are cheap, the latter rare and too large to keep.

use std::sync::{Arc, Mutex};

use bytes::Bytes;

use super::lock;

/// Each size is four times the one before, so a pooled buffer is less than four times too long.
const SIZES: [usize; 4] = [16 << 10, 64 << 10, 256 << 10, 1 << 20];

/// The largest request that is served from the pool.
pub(super) const MAX_POOLED: usize = SIZES[SIZES.len() - 1];

/// The largest request for which a buffer of its own is made.
const MAX_SMALL: usize = 4 << 10;

/// Bytes that idle buffers of one size take at most.
const MAX_IDLE_BYTES: usize = 8 << 20;

/// A pool of buffers.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    /// Idle buffers of each of [`SIZES`].
    idle: [Mutex<Vec<Vec<u8>>>; SIZES.len()],
}

impl Buffers {
    /// A buffer of `len` bytes, whatever they are.
    pub(super) fn take(self: &Arc<Self>, len: usize) -> Buffer {
        let pooled = MAX_SMALL < len && len <= MAX_POOLED;
        let class = pooled.then(|| SIZES.partition_point(|size| *size < len));
        let Some(class) = class else {
            return Buffer { bytes: vec![0; len], len, home: None };
        };
        let idle = lock(&self.idle[class]).pop();
        let bytes = idle.unwrap_or_else(|| vec![0; SIZES[class]]);
        Buffer { bytes, len, home: Some((self.clone(), class)) }
    }
}

/// A buffer that goes back to its pool when it, or the last slice of it, is dropped.
#[derive(Debug)]
pub(super) struct Buffer {
    /// Always as long as its size class, so that it is never zeroed again.
    bytes: Vec<u8>,
    /// How much of it its user sees.
    len: usize,
    /// Where it goes back to, and as which size.
    home: Option<(Arc<Buffers>, usize)>,
}

impl Buffer {
    /// All its bytes.
    pub(super) fn as_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.len]
    }

    /// Its first `len` bytes. Few bytes of a long buffer are copied out, to pin no more than
    /// about four times what is held.
    pub(super) fn freeze(mut self, len: usize) -> Bytes {
        self.len = len.min(self.len);
        if self.len < self.bytes.len() / 4 {
            return Bytes::copy_from_slice(self.as_ref());
        }
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let Some((home, class)) = self.home.take() else {
            return;
        };
        let mut idle = lock(&home.idle[class]);
        if idle.len() < MAX_IDLE_BYTES / SIZES[class] {
            idle.push(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_come_back_when_the_last_slice_is_dropped() {
        let buffers = Arc::new(Buffers::default());
        let mut buffer = buffers.take(60_000);
        buffer.as_mut()[0] = 7;
        let address = buffer.as_mut().as_ptr();
        let bytes = buffer.freeze(50_000);
        assert_eq!((bytes.len(), bytes[0]), (50_000, 7));
        let slice = bytes.slice(10..20);
        drop(bytes);
        assert_ne!(buffers.take(60_000).as_mut().as_ptr(), address);
        drop(slice);
        assert_eq!(buffers.take(60_000).as_mut().as_ptr(), address);
    }

    #[test]
    fn idle_buffers_are_bounded_and_short_reads_pin_nothing() {
        let buffers = Arc::new(Buffers::default());
        let many: Vec<_> = (0..20).map(|_| buffers.take(MAX_POOLED)).collect();
        drop(many);
        assert_eq!(buffers.idle[3].lock().unwrap().len(), 8);
        let short = buffers.take(MAX_POOLED).freeze(100);
        assert_eq!(short.len(), 100);
        assert_eq!(buffers.idle[3].lock().unwrap().len(), 8);
        drop(buffers.take(MAX_POOLED + 1));
        assert_eq!(buffers.idle[3].lock().unwrap().len(), 8);
    }
}
