//! Files in memory: nothing survives the storage, and reads copy nothing.
//!
//! A file is a list of immutable pieces, one for each append, carved from recycled blocks
//! (`blocks.rs`). A read returns a slice of one piece, so it may be shorter than asked for, and its
//! holder keeps that piece's block, and only that, alive. Blocks start at 4 KiB and grow to 1 MiB,
//! so thousands of nearly idle files stay small.
//!
//! Memory is counted, not limited: appends always succeed. The log above asks
//! [`StorageFile::room_for`] before it appends, and acts by its [`MemoryPolicy`].
//!
//! Invariants:
//! * Pieces are contiguous and sorted; none is empty.
//! * Blocks are sorted by the position at which they begin; only the last one has its rest used.
//! * Readers hold the lock of the piece list while they look up one piece, never while bytes are
//!   copied. Lock order: tree, writer, pieces.

mod blocks;

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bytes::Bytes;

use self::blocks::{Block, Blocks, block_size};
use super::tree::Tree;
use super::{DirEntry, Storage, StorageFile, failure, lock};

/// What happens to an append that the memory budget has no room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum MemoryPolicy {
    /// The oldest segment is dropped, though not every consumer may have read it: one that falls
    /// behind gets `OffsetOutOfRange`.
    #[default]
    DropOldest,
    /// The append fails; what is there stays.
    Reject,
    /// The append waits until every live consumer has passed the oldest segment: one that is paused
    /// or idle stops the producers. Without any consumer the oldest segment is dropped.
    Block,
}

/// A storage in memory. Clones share it; its memory is freed with the last of its clones, files
/// and read bytes.
#[derive(Debug, Clone)]
pub struct MemoryStorage {
    tree: Arc<Mutex<Tree<Arc<Content>>>>,
    blocks: Arc<Blocks>,
}

impl MemoryStorage {
    /// An empty storage with a budget of `limit_bytes`, which it counts but does not enforce.
    pub fn new(limit_bytes: usize) -> Self {
        let blocks = Arc::new(Blocks::new(limit_bytes));
        MemoryStorage { tree: Arc::new(Mutex::new(Tree::new())), blocks }
    }

    /// Bytes in use: the blocks of all files and of all bytes that readers still hold, and the
    /// lists of pieces. Blocks that wait for reuse are not in use; with them it is at most
    /// [`limit`](Self::limit), or what is in use if that is more.
    pub fn used(&self) -> usize {
        self.blocks.used()
    }

    /// The budget in bytes.
    pub fn limit(&self) -> usize {
        self.blocks.limit()
    }
}

impl Storage for MemoryStorage {
    fn may_block(&self) -> bool {
        false
    }

    fn is_volatile(&self) -> bool {
        true
    }

    fn open(&self, path: &Path, create: bool) -> io::Result<Arc<dyn StorageFile>> {
        let mut tree = lock(&self.tree);
        let make = || Arc::new(Content::new(self.blocks.clone()));
        let content = tree.open(path, create.then_some(make))?.clone();
        Ok(Arc::new(MemoryFile { path: path.to_owned(), content }))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        lock(&self.tree).entries(dir, |content| content.len())
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        lock(&self.tree).create_dir(dir)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let content = lock(&self.tree).remove_file(path)?;
        content.remove();
        Ok(())
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        lock(&self.tree).remove_dir(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let replaced = lock(&self.tree).rename(from, to, |content| content.move_out())?;
        if let Some(content) = replaced {
            content.remove();
        }
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        lock(&self.tree).check_dir("sync", dir)
    }
}

/// A name of a [`Content`].
#[derive(Debug)]
struct MemoryFile {
    /// For errors only.
    path: PathBuf,
    content: Arc<Content>,
}

impl MemoryFile {
    fn absent(&self, op: &str) -> io::Error {
        failure(ErrorKind::NotFound, op, &self.path, "removed or renamed")
    }

    fn invalid(&self, op: &str, why: String) -> io::Error {
        failure(ErrorKind::InvalidInput, op, &self.path, why)
    }
}

impl StorageFile for MemoryFile {
    fn len(&self) -> io::Result<u64> {
        self.content.len().ok_or_else(|| self.absent("measure"))
    }

    fn read_at(&self, position: u64, len: usize) -> io::Result<Bytes> {
        let pieces = self.content.pieces();
        let pieces = pieces.as_ref().ok_or_else(|| self.absent("read"))?;
        let index = pieces.partition_point(|piece| piece.end() <= position);
        let Some(piece) = pieces.get(index) else {
            return Ok(Bytes::new());
        };
        let start = (position - piece.start) as usize;
        let end = start.saturating_add(len).min(piece.bytes.len());
        Ok(piece.bytes.slice(start..end))
    }

    fn append(&self, position: u64, parts: &[&[u8]]) -> io::Result<()> {
        let mut writer = lock(&self.content.writer);
        let end = self.content.len().ok_or_else(|| self.absent("append"))?;
        if position != end {
            return Err(self.invalid("append", format!("at {position}, not at its end {end}")));
        }
        let len = parts.iter().map(|part| part.len()).sum();
        if len > 0 {
            let bytes = self.content.carve(&mut writer, end, len, parts);
            self.content.push(Piece { start: end, bytes });
        }
        Ok(())
    }

    fn room_for(&self, len: usize) -> bool {
        let writer = lock(&self.content.writer);
        let block = if len > writer.room() { writer.next_block(len) } else { 0 };
        let more = block + self.content.list_growth();
        more == 0 || self.content.blocks.fits(more)
    }

    fn expect(&self, len: u64) {
        lock(&self.content.writer).expected = Some(len);
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        let mut writer = lock(&self.content.writer);
        let end = self.content.len().ok_or_else(|| self.absent("truncate"))?;
        if len > end {
            return Err(self.invalid("truncate", format!("to {len}, beyond its end {end}")));
        }
        self.content.cut(len);
        let kept = writer.blocks.partition_point(|(start, _)| *start < len);
        let dropped = writer.blocks.drain(kept..).map(|(_, block)| block);
        self.content.blocks.retire(dropped);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.len().map(drop)
    }
}

/// What a file holds.
#[derive(Debug)]
struct Content {
    /// Held by whoever changes the file.
    writer: Mutex<Writer>,
    /// `None` once the file is removed or renamed.
    pieces: RwLock<Option<Vec<Piece>>>,
    blocks: Arc<Blocks>,
}

#[derive(Debug, Default)]
struct Writer {
    /// The file's blocks, each with the position of its first byte.
    blocks: Vec<(u64, Block)>,
    /// How long the file is going to be.
    expected: Option<u64>,
}

/// The bytes of one append.
#[derive(Debug)]
struct Piece {
    start: u64,
    bytes: Bytes,
}

impl Piece {
    fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}

impl Writer {
    /// The room in the last block.
    fn room(&self) -> usize {
        self.blocks.last().map_or(0, |(_, block)| block.room())
    }

    /// The size of the next block, with room for `len`: no larger than the rest of the file.
    fn next_block(&self, len: usize) -> usize {
        let capacities = self.blocks.iter().map(|(_, block)| block.capacity());
        let size = block_size(self.blocks.last().map_or(0, |(_, block)| block.capacity()), len);
        let Some(expected) = self.expected else { return size };
        let rest = (expected as usize).saturating_sub(capacities.sum());
        size.min(rest.max(len))
    }
}

impl Content {
    fn new(blocks: Arc<Blocks>) -> Self {
        let pieces = RwLock::new(Some(Vec::new()));
        Content { writer: Mutex::default(), pieces, blocks }
    }

    /// Its length, unless it is gone.
    fn len(&self) -> Option<u64> {
        self.pieces().as_ref().map(|pieces| pieces.last().map_or(0, Piece::end))
    }

    fn pieces(&self) -> RwLockReadGuard<'_, Option<Vec<Piece>>> {
        self.pieces.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn pieces_mut(&self) -> RwLockWriteGuard<'_, Option<Vec<Piece>>> {
        self.pieces.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Copies `parts`, `len` bytes that go to `position`, into a block.
    fn carve(&self, writer: &mut Writer, position: u64, len: usize, parts: &[&[u8]]) -> Bytes {
        if len > writer.room() {
            let block = self.blocks.allocate(writer.next_block(len));
            writer.blocks.push((position, block));
        }
        let (_, block) = writer.blocks.last_mut().expect("a non-empty append has a block");
        block.carve(parts)
    }

    /// How much the list of pieces will grow by the next one.
    fn list_growth(&self) -> usize {
        let pieces = self.pieces();
        let full = pieces.as_ref().filter(|pieces| pieces.len() == pieces.capacity());
        full.map_or(0, |pieces| list_size(pieces).max(4 * size_of::<Piece>()))
    }

    fn push(&self, piece: Piece) {
        if let Some(pieces) = self.pieces_mut().as_mut() {
            let before = list_size(pieces);
            pieces.push(piece);
            self.blocks.count(list_size(pieces) - before);
        }
    }

    /// Drops what is beyond `len`, a length that the file has or had.
    fn cut(&self, len: u64) {
        if let Some(pieces) = self.pieces_mut().as_mut() {
            pieces.truncate(pieces.partition_point(|piece| piece.start < len));
            if let Some(last) = pieces.last_mut().filter(|last| last.end() > len) {
                last.bytes.truncate((len - last.start) as usize);
            }
        }
    }

    /// Gives the file's memory back, but for what readers hold. Its handles are dead from now on.
    fn remove(&self) {
        let mut writer = lock(&self.writer);
        if let Some(pieces) = self.pieces_mut().take() {
            self.blocks.discount(list_size(&pieces));
        }
        let blocks = std::mem::take(&mut writer.blocks);
        self.blocks.retire(blocks.into_iter().map(|(_, block)| block));
    }

    /// The same content under a new name. Handles of the old one are dead from now on.
    fn move_out(&self) -> Arc<Content> {
        let mut writer = lock(&self.writer);
        let pieces = self.pieces_mut().take();
        let writer = Mutex::new(std::mem::take(&mut *writer));
        Arc::new(Content { writer, pieces: RwLock::new(pieces), blocks: self.blocks.clone() })
    }
}

/// Without this, a storage whose files are dropped with handles alive would count them for ever.
impl Drop for Content {
    fn drop(&mut self) {
        self.remove();
    }
}

fn list_size(pieces: &Vec<Piece>) -> usize {
    pieces.capacity() * size_of::<Piece>()
}

#[cfg(test)]
mod tests;
