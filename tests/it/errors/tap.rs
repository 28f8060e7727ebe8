//! The storage between broker and simulated disk: fails or panics where it is told to.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use ottla::storage::{DirEntry, SimDisk, Storage, StorageFile};

/// A kind of call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    Open,
    /// Opening what is not there yet.
    Create,
    Len,
    Read,
    Append,
    Truncate,
    Sync,
    List,
    CreateDir,
    Remove,
    Rename,
    SyncDir,
}

/// What a call does instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Harm {
    Eio,
    Enospc,
    Panic,
}

/// Calls of this kind, on paths that contain the text.
#[derive(Debug, Clone, Copy)]
struct Rule {
    call: Call,
    path: &'static str,
    harm: Harm,
    once: bool,
}

/// A disk with rules. Clones share them.
#[derive(Debug, Clone)]
pub(super) struct Tap {
    pub(super) disk: SimDisk,
    rules: Arc<Mutex<Vec<Rule>>>,
    calls: Arc<Mutex<Vec<Call>>>,
    /// The number of the call that panics; 0 for none.
    panics_at: Arc<AtomicU64>,
    /// Whether the broker is to take it for a device, and run it on other threads.
    blocks: bool,
}

impl Tap {
    pub(super) fn new(seed: u64) -> Tap {
        Tap::on(&SimDisk::new(seed))
    }

    pub(super) fn on(disk: &SimDisk) -> Tap {
        Tap {
            disk: disk.clone(),
            rules: Arc::default(),
            calls: Arc::default(),
            panics_at: Arc::default(),
            blocks: false,
        }
    }

    pub(super) fn blocking(self) -> Tap {
        Tap { blocks: true, ..self }
    }

    /// Every such call, until [`Tap::heal`].
    pub(super) fn always(&self, call: Call, path: &'static str, harm: Harm) {
        self.rules.lock().unwrap().push(Rule { call, path, harm, once: false });
    }

    /// The next such call.
    pub(super) fn next(&self, call: Call, path: &'static str, harm: Harm) {
        self.rules.lock().unwrap().push(Rule { call, path, harm, once: true });
    }

    /// The call of this number, counted from 1.
    pub(super) fn panic_at(&self, number: u64) {
        self.panics_at.store(number, Ordering::Relaxed);
    }

    pub(super) fn heal(&self) {
        self.rules.lock().unwrap().clear();
    }

    /// Whether all that was to happen once has happened.
    pub(super) fn is_spent(&self) -> bool {
        self.rules.lock().unwrap().iter().all(|rule| !rule.once)
    }

    /// All calls so far.
    pub(super) fn trace(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }

    fn on_call(&self, call: Call, path: &Path) -> io::Result<()> {
        let number = {
            let mut calls = self.calls.lock().unwrap();
            calls.push(call);
            calls.len() as u64
        };
        let text = path.to_string_lossy();
        let harm = {
            let mut rules = self.rules.lock().unwrap();
            let hit = |rule: &Rule| rule.call == call && text.contains(rule.path);
            let found = rules.iter().position(hit);
            found.map(|i| if rules[i].once { rules.remove(i).harm } else { rules[i].harm })
        };
        let panics = self.panics_at.load(Ordering::Relaxed) == number;
        let fail = |kind, what| Err(io::Error::new(kind, format!("{what}: {call:?} {text}")));
        match harm.or(panics.then_some(Harm::Panic)) {
            None => Ok(()),
            Some(Harm::Eio) => fail(io::ErrorKind::Other, "broken disk"),
            Some(Harm::Enospc) => fail(io::ErrorKind::StorageFull, "full disk"),
            Some(Harm::Panic) => panic!("thrown by {call:?} of {text}"),
        }
    }
}

impl Storage for Tap {
    fn may_block(&self) -> bool {
        self.blocks
    }

    fn open(&self, path: &Path, create: bool) -> io::Result<Arc<dyn StorageFile>> {
        let is_new = create && self.disk.read_file(path).is_none();
        self.on_call(if is_new { Call::Create } else { Call::Open }, path)?;
        let file = self.disk.open(path, create)?;
        Ok(Arc::new(TapFile { file, path: path.to_owned(), tap: self.clone() }))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        self.on_call(Call::List, dir)?;
        self.disk.list(dir)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.on_call(Call::CreateDir, dir)?;
        self.disk.create_dir(dir)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.on_call(Call::Remove, path)?;
        self.disk.remove_file(path)
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        self.on_call(Call::Remove, dir)?;
        self.disk.remove_dir(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.on_call(Call::Rename, to)?;
        self.disk.rename(from, to)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.on_call(Call::SyncDir, dir)?;
        self.disk.sync_dir(dir)
    }
}

#[derive(Debug)]
struct TapFile {
    file: Arc<dyn StorageFile>,
    path: PathBuf,
    tap: Tap,
}

impl StorageFile for TapFile {
    fn len(&self) -> io::Result<u64> {
        self.tap.on_call(Call::Len, &self.path)?;
        self.file.len()
    }

    fn read_at(&self, position: u64, len: usize) -> io::Result<Bytes> {
        self.tap.on_call(Call::Read, &self.path)?;
        self.file.read_at(position, len)
    }

    fn append(&self, position: u64, parts: &[&[u8]]) -> io::Result<()> {
        self.tap.on_call(Call::Append, &self.path)?;
        self.file.append(position, parts)
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.tap.on_call(Call::Truncate, &self.path)?;
        self.file.truncate(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.tap.on_call(Call::Sync, &self.path)?;
        self.file.sync()
    }
}
