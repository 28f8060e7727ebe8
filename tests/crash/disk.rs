//! The disk between broker and simulation: writes down every call with its answer, as a number that
//! two runs can be compared by, and breaks promises that the simulated disk itself keeps.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use ottla::storage::{DirEntry, SimDisk, Storage, StorageFile};

use super::faults::Failure;

/// A promise that is broken, to find out whether the checks notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lie {
    pub(super) what: What,
    /// Of which files or folders: those whose paths contain this.
    pub(super) of: &'static str,
    /// And do not contain this.
    pub(super) but: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// Syncing a file does nothing.
    Sync,
    /// Syncing a folder does nothing.
    SyncDir,
    /// Truncating a file does nothing.
    Truncate,
    /// Bits turn between two lives, and CRCs with them: so it is for who does not check CRCs.
    Checksum,
    /// What is appended is at times not what was handed over, and only a CRC could tell.
    Append,
}

impl Lie {
    pub(super) fn is_told(&self, what: What, path: &Path) -> bool {
        let path = path.to_string_lossy();
        self.what == what && path.contains(self.of) && !path.contains(self.but)
    }
}

/// A number for all calls so far: 64-bit FNV-1a over what was called, and what came back. And
/// which of them failed, but for those that died.
#[derive(Debug, Clone)]
pub(super) struct Trace {
    number: Arc<Mutex<u64>>,
    failures: Arc<Mutex<Vec<Failure>>>,
}

impl Trace {
    pub(super) fn new() -> Self {
        Trace { number: Arc::new(Mutex::new(0xcbf2_9ce4_8422_2325)), failures: Arc::default() }
    }

    pub(super) fn number(&self) -> u64 {
        *self.number.lock().expect("no one panics with the number in hand")
    }

    pub(super) fn failures(&self) -> MutexGuard<'_, Vec<Failure>> {
        self.failures.lock().expect("no one panics with the list in hand")
    }

    pub(super) fn add(&self, bytes: &[u8]) {
        let mut number = self.number.lock().expect("no one panics with the number in hand");
        for byte in bytes {
            *number = (*number ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn call<T>(&self, name: &'static str, path: &Path, result: io::Result<T>) -> io::Result<T> {
        self.add(name.as_bytes());
        self.add(path.as_os_str().as_encoded_bytes());
        match &result {
            Ok(_) => self.add(&[1]),
            Err(error) => {
                let text = error.to_string();
                self.add(text.as_bytes());
                if text.contains("simulated") && !text.contains("simulated crash") {
                    let full = error.kind() == io::ErrorKind::StorageFull;
                    super::note(format!("failed: {text}"));
                    self.failures().push(Failure { call: name, path: path.to_owned(), full });
                }
            }
        }
        result
    }
}

/// The disk as one process sees it.
#[derive(Debug, Clone)]
pub(super) struct Tap {
    disk: SimDisk,
    trace: Trace,
    lie: Option<Lie>,
}

impl Tap {
    pub(super) fn new(disk: &SimDisk, trace: &Trace, lie: Option<Lie>) -> Self {
        Tap { disk: disk.process(), trace: trace.clone(), lie }
    }
}

impl Storage for Tap {
    fn may_block(&self) -> bool {
        false
    }

    fn open(&self, path: &Path, create: bool) -> io::Result<Arc<dyn StorageFile>> {
        let opened = self.trace.call("open", path, self.disk.open(path, create))?;
        let path = path.to_owned();
        Ok(Arc::new(TapFile { file: opened, path, trace: self.trace.clone(), lie: self.lie }))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let entries = self.trace.call("list", dir, self.disk.list(dir))?;
        for entry in &entries {
            self.trace.add(entry.name.as_bytes());
            self.trace.add(&entry.len.to_le_bytes());
        }
        Ok(entries)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.trace.call("create_dir", dir, self.disk.create_dir(dir))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.trace.call("remove_file", path, self.disk.remove_file(path))
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        self.trace.call("remove_dir", dir, self.disk.remove_dir(dir))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.trace.add(to.as_os_str().as_encoded_bytes());
        self.trace.call("rename", from, self.disk.rename(from, to))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        if self.lie.is_some_and(|lie| lie.is_told(What::SyncDir, dir)) {
            // A call all the same.
            return self.disk.list(dir).map(drop);
        }
        self.trace.call("sync_dir", dir, self.disk.sync_dir(dir))
    }
}

#[derive(Debug)]
struct TapFile {
    file: Arc<dyn StorageFile>,
    path: std::path::PathBuf,
    trace: Trace,
    lie: Option<Lie>,
}

impl TapFile {
    fn is_lie(&self, what: What) -> bool {
        self.lie.is_some_and(|lie| lie.is_told(what, &self.path))
    }
}

impl StorageFile for TapFile {
    fn len(&self) -> io::Result<u64> {
        let len = self.trace.call("len", &self.path, self.file.len())?;
        self.trace.add(&len.to_le_bytes());
        Ok(len)
    }

    fn read_at(&self, position: u64, len: usize) -> io::Result<Bytes> {
        let bytes = self.trace.call("read", &self.path, self.file.read_at(position, len))?;
        self.trace.add(&bytes);
        Ok(bytes)
    }

    fn append(&self, position: u64, parts: &[&[u8]]) -> io::Result<()> {
        self.trace.add(&position.to_le_bytes());
        parts.iter().for_each(|part| self.trace.add(part));
        if self.is_lie(What::Append) && self.trace.number().is_multiple_of(50) {
            let mut bytes = parts.concat();
            bytes.last_mut().into_iter().for_each(|byte| *byte ^= 1);
            return self.trace.call("append", &self.path, self.file.append(position, &[&bytes]));
        }
        self.trace.call("append", &self.path, self.file.append(position, parts))
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.trace.add(&len.to_le_bytes());
        if self.is_lie(What::Truncate) {
            return self.file.len().map(drop);
        }
        self.trace.call("truncate", &self.path, self.file.truncate(len))
    }

    fn sync(&self) -> io::Result<()> {
        if self.is_lie(What::Sync) {
            return self.file.len().map(drop);
        }
        self.trace.call("sync", &self.path, self.file.sync())
    }
}
