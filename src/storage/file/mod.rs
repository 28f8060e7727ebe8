//! Files on a disk, below one root folder.
//!
//! Descriptors come from a bounded cache (`storage/descriptors.rs`); listing and syncing
//! a folder use one more for the length of the call. Reads go into pooled buffers, and the parts of
//! an append are gathered so that a group of batches is one system call.
//!
//! It never maps a file, relies on a cursor, follows a link that it lists, or creates a file but in
//! `open` with `create`; and it changes nothing once its folder has been let go of. Errors keep the
//! kind that the system gave and name operation and path.

mod positioned;

use std::any::Any;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use bytes::Bytes;

use super::buffers::{Buffers, MAX_POOLED};
use super::descriptors::{Descriptors, Name, Pin};
use super::{DirEntry, EntryKind, Storage, StorageFile, check_path, failure};

/// How many descriptors a [`FileStorage`] keeps open unless told otherwise.
pub const DEFAULT_MAX_OPEN_FILES: usize = 256;

/// Reads up to this long are not worth a look at the file's length first.
const UNCHECKED_READ: usize = 64 << 10;

/// Parts of this length are written where they lie: a call costs less than to copy them.
const GATHERED: usize = 32 << 10;

/// One read returns at most this much, whatever the file holds.
const MAX_READ: usize = 64 << 20;

/// A storage in a folder of the file system. Clones share its descriptors and buffers.
#[derive(Debug, Clone)]
pub struct FileStorage {
    root: Arc<Path>,
    descriptors: Arc<Descriptors>,
    buffers: Arc<Buffers>,
    lease: Lease,
    /// Whether files are opened for writing, too.
    writes: bool,
}

/// What must be there for as long as something is changed: the folder's lock. A thread that is in
/// the middle of a write when its broker ends keeps the next one waiting, and then writes no more.
#[derive(Debug, Clone, Default)]
struct Lease(Option<Weak<dyn Any + Send + Sync>>);

impl Lease {
    /// Keeps it until the answer is dropped. Fails if it is gone.
    fn hold(&self) -> io::Result<Option<Arc<dyn Any + Send + Sync>>> {
        let Some(lease) = &self.0 else { return Ok(None) };
        match lease.upgrade() {
            Some(held) => Ok(Some(held)),
            None => Err(io::Error::other("the folder has been let go of")),
        }
    }
}

impl FileStorage {
    /// A storage below `root`, with at most `max_open_files` (at least 1) descriptors open. Touches
    /// nothing: `create_dir("")` makes the root, if its parent exists.
    ///
    /// Two storages on one folder do not know of each other's renames; open each folder once.
    pub fn new(root: impl Into<PathBuf>, max_open_files: usize) -> Self {
        FileStorage {
            root: root.into().into(),
            descriptors: Arc::new(Descriptors::new(max_open_files)),
            buffers: Arc::default(),
            lease: Lease::default(),
            writes: true,
        }
    }

    /// As [`FileStorage::new`], for whoever changes nothing: files need not be writable, and are
    /// not created.
    pub fn for_reading(root: impl Into<PathBuf>, max_open_files: usize) -> Self {
        FileStorage { writes: false, ..FileStorage::new(root, max_open_files) }
    }

    /// Changes nothing any more once `lease` is gone, and keeps it alive while it does.
    pub(crate) fn leased<T: Any + Send + Sync>(mut self, lease: &Arc<T>) -> Self {
        self.lease = Lease(Some(Arc::<T>::downgrade(lease)));
        self
    }

    /// Runs a change of folders or names.
    fn change(
        &self,
        op: &'static str,
        full: &Path,
        action: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<()> {
        let lease = self.lease.hold();
        lease.and_then(|_held| action()).map_err(|error| explain(op, full, error))
    }

    /// The folder that all paths are relative to.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where `path` is in the file system. The root itself gets no trailing separator.
    fn full(&self, op: &str, path: &Path) -> io::Result<PathBuf> {
        check_path(op, path)?;
        Ok(if path == Path::new("") { self.root.to_path_buf() } else { self.root.join(path) })
    }
}

impl Storage for FileStorage {
    fn may_block(&self) -> bool {
        true
    }

    fn open(&self, path: &Path, create: bool) -> io::Result<Arc<dyn StorageFile>> {
        let full = self.full("open", path)?;
        let name = self.descriptors.name(path);
        let writes = self.writes;
        let open = || name.pin(&|| open_file(&full, create, writes)).map(drop);
        match create {
            true => self.change("open", &full, open)?,
            false => open().map_err(|error| explain("open", &full, error))?,
        }
        let (buffers, lease) = (self.buffers.clone(), self.lease.clone());
        Ok(Arc::new(DiskFile { full, name, buffers, lease, writes }))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let full = self.full("list", dir)?;
        list_dir(&full).map_err(|error| explain("list", &full, error))
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        let full = self.full("create", dir)?;
        self.change("create", &full, || match fs::create_dir(&full) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists && full.is_dir() => Ok(()),
            result => result,
        })
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let full = self.full("remove", path)?;
        let remove = || self.descriptors.exclusively(&[path], || fs::remove_file(&full));
        self.change("remove", &full, remove)
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        let full = self.full("remove", dir)?;
        if dir == Path::new("") {
            return Err(failure(ErrorKind::InvalidInput, "remove", &full, "the root"));
        }
        let remove = || self.descriptors.exclusively(&[dir], || fs::remove_dir(&full));
        self.change("remove", &full, remove)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (full_from, full_to) = (self.full("rename", from)?, self.full("rename", to)?);
        if from == to {
            let found = fs::symlink_metadata(&full_from).map(drop);
            return found.map_err(|error| explain("rename", &full_from, error));
        }
        self.change("rename", &full_from, || {
            let action = || fs::rename(&full_from, &full_to);
            self.descriptors.exclusively(&[from, to], action).map_err(|error| {
                io::Error::new(error.kind(), format!("to {}: {error}", full_to.display()))
            })
        })
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let full = self.full("sync", dir)?;
        self.change("sync", &full, || positioned::sync_dir(&full))
    }
}

/// A file that is open for as long as this is held.
#[derive(Debug, Clone)]
pub struct SharedFile(Arc<File>);

impl SharedFile {
    /// Fills the buffer, if the page cache has all that belongs there; whether it did.
    pub fn read_cached(&self, buffer: &mut [u8], position: u64) -> bool {
        positioned::read_cached(&self.0, buffer, position)
    }
}

impl AsRef<File> for SharedFile {
    fn as_ref(&self) -> &File {
        &self.0
    }
}

/// A file by its name.
#[derive(Debug)]
struct DiskFile {
    full: PathBuf,
    name: Name,
    buffers: Arc<Buffers>,
    lease: Lease,
    writes: bool,
}

impl DiskFile {
    /// Runs one operation on a pinned descriptor.
    fn with<T>(
        &self,
        op: &'static str,
        run: impl FnOnce(&Pin<'_>) -> io::Result<T>,
    ) -> io::Result<T> {
        let pin = self.name.pin(&|| open_file(&self.full, false, self.writes));
        pin.and_then(|pin| run(&pin)).map_err(|error| explain(op, &self.full, error))
    }

    /// [`DiskFile::with`] for what changes the file.
    fn change(
        &self,
        op: &'static str,
        run: impl FnOnce(&Pin<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        let _held = self.lease.hold().map_err(|error| explain(op, &self.full, error))?;
        self.with(op, run)
    }

    /// Writes `parts` one after the other: long ones each by itself, others in as few calls as the
    /// buffer allows.
    fn gather(&self, file: &File, mut position: u64, parts: &[&[u8]]) -> io::Result<()> {
        let short = parts.iter().filter(|part| part.len() < GATHERED);
        let total: usize = short.map(|part| part.len()).sum();
        let mut buffer = self.buffers.take(total.min(MAX_POOLED));
        let mut filled = 0;
        for part in parts {
            let is_long = part.len() >= GATHERED;
            if filled > 0 && (is_long || filled + part.len() > buffer.as_ref().len()) {
                positioned::write_all(file, &buffer.as_ref()[..filled], position)?;
                position += filled as u64;
                filled = 0;
            }
            if is_long {
                positioned::write_all(file, part, position)?;
                position += part.len() as u64;
            } else {
                buffer.as_mut()[filled..][..part.len()].copy_from_slice(part);
                filled += part.len();
            }
        }
        match filled {
            0 => Ok(()),
            _ => positioned::write_all(file, &buffer.as_ref()[..filled], position),
        }
    }
}

impl StorageFile for DiskFile {
    fn len(&self) -> io::Result<u64> {
        self.with("measure", |file| Ok(file.metadata()?.len()))
    }

    fn read_at(&self, position: u64, len: usize) -> io::Result<Bytes> {
        self.with("read", |file| {
            let mut len = len.min(MAX_READ);
            if len > UNCHECKED_READ {
                let rest = file.metadata()?.len().saturating_sub(position);
                len = len.min(usize::try_from(rest).unwrap_or(len));
            }
            if len == 0 || i64::try_from(position).is_err() {
                return Ok(Bytes::new());
            }
            let mut buffer = self.buffers.take(len);
            let read = positioned::read(file, buffer.as_mut(), position)?;
            Ok(buffer.freeze(read))
        })
    }

    fn read_cached(&self, position: u64, len: usize) -> Option<Bytes> {
        let pin = self.name.pin_cached().filter(|_| (1..=MAX_POOLED).contains(&len))?;
        let mut buffer = self.buffers.take(len);
        let is_whole = positioned::read_cached(&pin, buffer.as_mut(), position);
        is_whole.then(|| buffer.freeze(len))
    }

    fn shared(&self) -> Option<SharedFile> {
        self.name.pin_cached().map(|pin| SharedFile(pin.shared()))
    }

    fn append(&self, position: u64, parts: &[&[u8]]) -> io::Result<()> {
        self.change("append", |file| match parts {
            [] => Ok(()),
            [part] => positioned::write_all(file, part, position),
            parts => self.gather(file, position, parts),
        })
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.change("truncate", |file| {
            let end = file.metadata()?.len();
            if len > end {
                let why = format!("to {len}, beyond its end {end}");
                return Err(io::Error::new(ErrorKind::InvalidInput, why));
            }
            file.set_len(len)
        })
    }

    /// `fdatasync` where there is one: it covers the length, and no more than that of the metadata.
    fn sync(&self) -> io::Result<()> {
        self.change("sync", |file| file.sync_data())
    }
}

fn open_file(full: &Path, create: bool, writes: bool) -> io::Result<File> {
    // Not truncated: whoever opens a file that exists wants what is in it.
    let create = create && writes;
    OpenOptions::new().read(true).write(writes).create(create).truncate(false).open(full)
}

fn list_dir(full: &Path) -> io::Result<Vec<DirEntry>> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(full)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        match entry.metadata() {
            Ok(metadata) => entries.push(describe(name, &metadata)),
            // Removed since the folder was read.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}

fn describe(name: String, metadata: &fs::Metadata) -> DirEntry {
    let kind = match metadata.file_type() {
        kind if kind.is_file() => EntryKind::File,
        kind if kind.is_dir() => EntryKind::Dir,
        _ => EntryKind::Other,
    };
    let len = if kind == EntryKind::File { metadata.len() } else { 0 };
    DirEntry { name, kind, len }
}

fn explain(op: &'static str, full: &Path, error: io::Error) -> io::Error {
    failure(error.kind(), op, full, error)
}

#[cfg(test)]
mod tests;
