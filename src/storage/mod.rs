//! The byte-level seam: everything above it is the same in memory, on disk and in crash tests.
//!
//! A `Storage` is a tree of folders and files named by relative paths. It knows nothing of
//! batches, offsets or topics. All calls are synchronous; `may_block` tells the actor above
//! whether it must run them on a blocking thread.
//!
//! Invariants every implementation keeps:
//! * A [`StorageFile`] is a name, not a descriptor: holding one pins nothing. It is good as long
//!   as its name is: once the file or a folder above it is removed, renamed or replaced, every call
//!   on it is `NotFound`, for good. It never comes to mean a later file of that name.
//! * Paths are relative and plain: an absolute one, or one with `..` in it, is `InvalidInput`. The
//!   empty path is the folder that holds everything.
//! * `append` writes at the position the caller states, never at a cursor. After a failed
//!   `append` the bytes past that position are unknown; the caller truncates or gives up.
//! * Nothing is durable before `sync`; a name (created, renamed, removed) is durable only after
//!   `sync_dir` of its folder.

mod buffers;
#[cfg(test)]
mod conformance;
mod descriptors;
pub mod file;
pub mod memory;
pub mod overlay;
pub mod sim;
mod tree;

use std::fmt::{Debug, Display};
use std::io;
use std::path::{Component, Path};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

pub use file::{DEFAULT_MAX_OPEN_FILES, FileStorage, SharedFile};
pub use memory::{MemoryPolicy, MemoryStorage};
pub use overlay::Overlay;
pub use sim::SimDisk;

/// A tree of files: where a broker keeps its bytes.
pub trait Storage: Debug + Send + Sync + 'static {
    /// Whether calls can wait for a device. If not, actors run them inline.
    fn may_block(&self) -> bool;

    /// Whether it is only this process's memory: nothing to make durable, nothing to distrust.
    fn is_volatile(&self) -> bool {
        false
    }

    /// Opens an existing file, or creates it when `create` says so (its folder must exist).
    /// Opening an absent file without `create` is `NotFound`.
    fn open(&self, path: &Path, create: bool) -> io::Result<Arc<dyn StorageFile>>;

    /// What a folder holds, sorted by name. An absent folder is `NotFound`.
    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>>;

    /// Creates a folder; its parent must exist. Creating one that exists is fine.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;

    /// Removes a file; an absent one is `NotFound`.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Removes an empty folder.
    fn remove_dir(&self, dir: &Path) -> io::Result<()>;

    /// Renames a file or folder. A file replaces a file of the new name atomically; nothing
    /// replaces a folder that holds something.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Makes the names in a folder durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
}

/// One file of a [`Storage`].
pub trait StorageFile: Debug + Send + Sync {
    /// Its length in bytes.
    fn len(&self) -> io::Result<u64>;

    /// Whether it holds no byte.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Reads up to `len` bytes at `position`. Fewer may come back (a piece of memory ends there);
    /// none at all only at the end of the file.
    fn read_at(&self, position: u64, len: usize) -> io::Result<Bytes>;

    /// Reads exactly `len` bytes at `position` if that is possible at once, without waiting for a
    /// disk or for anybody. `None` says nothing about what [`StorageFile::read_at`] finds.
    fn read_cached(&self, position: u64, len: usize) -> Option<Bytes> {
        let _ = (position, len); // not every storage can tell
        None
    }

    /// The open file itself, to be sent from without being read, if it is one of the system's and
    /// at hand. Whoever has it can read what was there, also after it was removed or replaced.
    fn shared(&self) -> Option<SharedFile> {
        None
    }

    /// Writes `parts` one after the other at `position`, which is the file's end.
    fn append(&self, position: u64, parts: &[&[u8]]) -> io::Result<()>;

    /// Whether an append of `len` bytes stays within the storage's memory budget. Asked *before*
    /// appending, by whoever acts on the budget's policy: `append` itself refuses nothing for it.
    fn room_for(&self, len: usize) -> bool {
        let _ = len; // files and simulated disks have no budget of memory
        true
    }

    /// It is going to be about `len` bytes long, so no more memory need be set aside for it.
    fn expect(&self, len: u64) {
        let _ = len; // nothing is set aside in files and on simulated disks
    }

    /// Cuts the file to `len` bytes. A `len` beyond its end is `InvalidInput`.
    fn truncate(&self, len: u64) -> io::Result<()>;

    /// Makes content and length durable.
    fn sync(&self) -> io::Result<()>;
}

/// One name in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirEntry {
    /// The name, without the folder. Names that are not UTF-8 are left out of listings.
    pub name: String,
    /// What it names.
    pub kind: EntryKind,
    /// Its length in bytes; 0 for a folder.
    pub len: u64,
}

/// What a [`DirEntry`] names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A folder.
    Dir,
    /// Anything else: a link, a socket, a device.
    Other,
}

/// Reads exactly `len` bytes, gathering short reads. An early end is `UnexpectedEof`.
pub fn read_exact_at(file: &dyn StorageFile, position: u64, len: usize) -> io::Result<Bytes> {
    let first = file.read_at(position, len)?;
    if first.len() == len {
        return Ok(first);
    }
    let mut whole = bytes::BytesMut::with_capacity(first.len().max(4096).min(len));
    whole.extend_from_slice(&first);
    while whole.len() < len {
        let next = file.read_at(position + whole.len() as u64, len - whole.len())?;
        if next.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        whole.extend_from_slice(&next);
    }
    Ok(whole.freeze())
}

/// Reads a whole small file (checkpoints, snapshots), refusing one longer than `limit`.
pub fn read_whole(storage: &dyn Storage, path: &Path, limit: usize) -> io::Result<Bytes> {
    let file = storage.open(path, false)?;
    let len = file.len()?;
    if len > limit as u64 {
        let text = format!("{} is {len} bytes long, over its limit of {limit}", path.display());
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    read_exact_at(&*file, 0, len as usize)
}

/// Replaces a small file so that a crash leaves the old or the new content, never a mixture:
/// temporary file, sync, rename, sync of the folder. After an error the old content is there, or
/// (if it was the last sync that failed) the new.
pub fn replace(storage: &dyn Storage, path: &Path, content: &[u8]) -> io::Result<()> {
    let temporary = path.with_added_extension("tmp");
    match storage.remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    if let Err(error) = put_in_place(storage, &temporary, path, content) {
        // A part of it would only take space, which may be what there is none of.
        let _ = storage.remove_file(&temporary);
        return Err(error);
    }
    storage.sync_dir(path.parent().unwrap_or(Path::new("")))
}

fn put_in_place(
    storage: &dyn Storage,
    temporary: &Path,
    path: &Path,
    content: &[u8],
) -> io::Result<()> {
    let file = storage.open(temporary, true)?;
    file.append(0, &[content])?;
    file.sync()?;
    storage.rename(temporary, path)
}

/// Whether an error says that there is no space left.
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Refuses paths that could lead out of the storage.
fn check_path(op: &str, path: &Path) -> io::Result<()> {
    if path.components().all(|part| matches!(part, Component::Normal(_))) {
        return Ok(());
    }
    Err(failure(io::ErrorKind::InvalidInput, op, path, "not a plain relative path"))
}

/// An error that says what was tried on which path, and why it did not work.
fn failure(kind: io::ErrorKind, op: &str, path: &Path, why: impl Display) -> io::Error {
    io::Error::new(kind, format!("{op} {}: {why}", path.display()))
}

/// Locks, also after a panic elsewhere: what these locks guard is whole between statements.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
