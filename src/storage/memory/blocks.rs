//! The memory that files are made of: blocks, counted against a budget and recycled.
//!
//! A [`Block`] is one allocation out of which pieces are carved, front to back. It counts as used
//! from its allocation until *nobody* holds a piece of it any more: a removed file's blocks wait
//! among the retired ones for their last reader. Full-size blocks are then kept for reuse, because
//! the page faults of fresh memory cost more than the copy into it.
//!
//! It never refuses: who cares about the limit asks [`Blocks::fits`] first.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{Bytes, BytesMut};

use crate::storage::lock;

/// The size of a new file's first block; each next one is four times its predecessor.
pub(super) const MIN_BLOCK: usize = 4 << 10;

/// The size at which blocks stop growing, and the only one that is recycled.
pub(super) const MAX_BLOCK: usize = 1 << 20;

/// Idle blocks kept for reuse at most.
const MAX_IDLE: usize = 64;

/// Retired blocks that one allocation looks at, so that its cost has a bound.
const LOOK: usize = 16;

/// One allocation. Pieces are carved off its front; what is left is kept even when empty, as the
/// handle by which the allocation is reclaimed.
#[derive(Debug)]
pub(super) struct Block {
    rest: BytesMut,
    capacity: usize,
}

impl Block {
    /// Bytes that can still be carved.
    pub(super) fn room(&self) -> usize {
        self.rest.capacity()
    }

    /// The whole allocation's size.
    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Copies `parts` into one piece. Their sum is at most [`Block::room`], or memory is copied.
    pub(super) fn carve(&mut self, parts: &[&[u8]]) -> Bytes {
        for part in parts {
            self.rest.extend_from_slice(part);
        }
        self.rest.split().freeze()
    }

    /// Takes the whole allocation back, if no piece of it is left.
    fn reclaim(&mut self) -> bool {
        self.rest.try_reclaim(self.capacity)
    }
}

/// All blocks of a storage, and what they add up to.
#[derive(Debug)]
pub(super) struct Blocks {
    limit: usize,
    /// Bytes of all blocks that are in files or retired, plus [`Blocks::count`]ed ones.
    used: AtomicUsize,
    spare: Mutex<Spare>,
}

#[derive(Debug, Default)]
struct Spare {
    /// Whole blocks of [`MAX_BLOCK`] bytes. Not counted as used.
    idle: Vec<Block>,
    /// Blocks that no file has, but perhaps a reader.
    retired: VecDeque<Block>,
}

impl Blocks {
    pub(super) fn new(limit: usize) -> Self {
        Blocks { limit, used: AtomicUsize::new(0), spare: Mutex::default() }
    }

    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// What is used, after looking at all retired blocks.
    pub(super) fn used(&self) -> usize {
        let mut spare = lock(&self.spare);
        let all = spare.retired.len();
        self.sweep(&mut spare, all);
        drop(spare);
        self.used.load(Ordering::Relaxed)
    }

    /// Whether `len` more bytes stay within the limit. Looks at retired blocks only if it must.
    pub(super) fn fits(&self, len: usize) -> bool {
        let within = |used: usize| used.saturating_add(len) <= self.limit;
        within(self.used.load(Ordering::Relaxed)) || within(self.used())
    }

    /// A block of `size` bytes: what [`block_size`] says, or less.
    pub(super) fn allocate(&self, size: usize) -> Block {
        self.count(size);
        let mut spare = lock(&self.spare);
        if size == MAX_BLOCK {
            if spare.idle.is_empty() {
                self.sweep(&mut spare, LOOK);
            }
            if let Some(block) = spare.idle.pop() {
                return block;
            }
        }
        self.trim(&mut spare);
        drop(spare);
        Block { rest: BytesMut::with_capacity(size), capacity: size }
    }

    /// How many blocks wait for reuse.
    #[cfg(test)]
    pub(super) fn idle(&self) -> usize {
        lock(&self.spare).idle.len()
    }

    /// Takes back blocks whose file is gone.
    pub(super) fn retire(&self, blocks: impl IntoIterator<Item = Block>) {
        let mut spare = lock(&self.spare);
        for mut block in blocks {
            match block.reclaim() {
                true => self.recycle(&mut spare, block),
                false => spare.retired.push_back(block),
            }
        }
    }

    /// Counts bytes that are no block's: a file's list of pieces.
    pub(super) fn count(&self, len: usize) {
        self.used.fetch_add(len, Ordering::Relaxed);
    }

    /// Undoes [`Blocks::count`].
    pub(super) fn discount(&self, len: usize) {
        self.used.fetch_sub(len, Ordering::Relaxed);
    }

    /// Reclaims what it can of the `look` blocks that have waited longest since the last look.
    fn sweep(&self, spare: &mut Spare, look: usize) {
        for _ in 0..look {
            let Some(mut block) = spare.retired.pop_front() else {
                return;
            };
            match block.reclaim() {
                true => self.recycle(spare, block),
                false => spare.retired.push_back(block),
            }
        }
    }

    /// Keeps a reclaimed block for later, or frees it.
    fn recycle(&self, spare: &mut Spare, block: Block) {
        self.discount(block.capacity);
        if block.capacity == MAX_BLOCK && spare.idle.len() < MAX_IDLE {
            spare.idle.push(block);
            self.trim(spare);
        }
    }

    /// Frees idle blocks that would, with what is used, be more than the limit.
    fn trim(&self, spare: &mut Spare) {
        let room = self.limit.saturating_sub(self.used.load(Ordering::Relaxed)) / MAX_BLOCK;
        spare.idle.truncate(room);
    }
}

/// The size of the block after one of `previous` bytes (0: none), with room for `len`.
pub(super) fn block_size(previous: usize, len: usize) -> usize {
    if len > MAX_BLOCK {
        return len;
    }
    let mut size = previous.saturating_mul(4).clamp(MIN_BLOCK, MAX_BLOCK);
    while size < len {
        size *= 4;
    }
    size
}
