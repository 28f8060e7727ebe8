//! Files whose syncs are counted and timed.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use bytes::Bytes;
use ottla::storage::{DirEntry, FileStorage, Storage, StorageFile};

/// How often segments were synced, and how long that took.
#[derive(Debug, Default)]
pub(super) struct Syncs {
    count: AtomicU64,
    nanos: AtomicU64,
}

impl Syncs {
    /// To be given to [`Syncs::since`].
    pub(super) fn so_far(&self) -> (u64, u64) {
        (self.count.load(Ordering::Relaxed), self.nanos.load(Ordering::Relaxed))
    }

    /// How many, and seconds: of two at once, both count.
    pub(super) fn since(&self, (count, nanos): (u64, u64)) -> (f64, f64) {
        let (count_now, nanos_now) = self.so_far();
        ((count_now - count) as f64, (nanos_now - nanos) as f64 / 1e9)
    }
}

/// A [`FileStorage`] that watches the syncs of segments.
#[derive(Debug)]
pub(super) struct WatchedStorage {
    files: FileStorage,
    syncs: Arc<Syncs>,
}

impl WatchedStorage {
    pub(super) fn new(root: &Path, syncs: Arc<Syncs>) -> Self {
        WatchedStorage { files: FileStorage::new(root, 256), syncs }
    }
}

impl Storage for WatchedStorage {
    fn may_block(&self) -> bool {
        self.files.may_block()
    }

    fn open(&self, path: &Path, create: bool) -> io::Result<Arc<dyn StorageFile>> {
        let file = self.files.open(path, create)?;
        if path.extension().is_none_or(|it| it != "log") {
            return Ok(file);
        }
        Ok(Arc::new(WatchedFile { file, syncs: self.syncs.clone() }))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        self.files.list(dir)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.files.create_dir(dir)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.files.remove_file(path)
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        self.files.remove_dir(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.files.rename(from, to)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.files.sync_dir(dir)
    }
}

#[derive(Debug)]
struct WatchedFile {
    file: Arc<dyn StorageFile>,
    syncs: Arc<Syncs>,
}

impl StorageFile for WatchedFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read_at(&self, position: u64, len: usize) -> io::Result<Bytes> {
        self.file.read_at(position, len)
    }

    fn append(&self, position: u64, parts: &[&[u8]]) -> io::Result<()> {
        self.file.append(position, parts)
    }

    fn room_for(&self, len: usize) -> bool {
        self.file.room_for(len)
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.file.truncate(len)
    }

    fn sync(&self) -> io::Result<()> {
        let started = Instant::now();
        self.file.sync()?;
        self.syncs.count.fetch_add(1, Ordering::Relaxed);
        let nanos = started.elapsed().as_nanos() as u64;
        self.syncs.nanos.fetch_add(nanos, Ordering::Relaxed);
        Ok(())
    }
}
