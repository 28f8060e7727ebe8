//! Files whose syncs are counted.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use ottla::storage::{DirEntry, FileStorage, Storage, StorageFile};

/// A [`FileStorage`] that counts how often a segment is synced.
#[derive(Debug)]
pub(crate) struct CountingStorage {
    files: FileStorage,
    syncs: Arc<AtomicU64>,
}

impl CountingStorage {
    pub(crate) fn new(root: &Path, syncs: Arc<AtomicU64>) -> Self {
        CountingStorage { files: FileStorage::new(root, 256), syncs }
    }
}

impl Storage for CountingStorage {
    fn may_block(&self) -> bool {
        self.files.may_block()
    }

    fn open(&self, path: &Path, create: bool) -> io::Result<Arc<dyn StorageFile>> {
        let file = self.files.open(path, create)?;
        if path.extension().is_none_or(|it| it != "log") {
            return Ok(file);
        }
        Ok(Arc::new(CountingFile { file, syncs: self.syncs.clone() }))
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
struct CountingFile {
    file: Arc<dyn StorageFile>,
    syncs: Arc<AtomicU64>,
}

impl StorageFile for CountingFile {
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
        self.syncs.fetch_add(1, Ordering::Relaxed);
        self.file.sync()
    }
}
