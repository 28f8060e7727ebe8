//! A disk in memory that fails on demand and crashes as badly as a disk may: the ground of the
//! crash tests. Everything it does follows from its seed and the calls made.
//!
//! # The fault model
//!
//! The disk has two layers: the page cache, which every call works on, and what is durable.
//!
//! **What becomes durable.** `sync` of a file: its length, and the 4 KiB pages written since its
//! last sync. Its name is *not* part of that. `sync_dir` of a folder: the names in it (created,
//! renamed, removed), with those earlier changes of other folders that they build on; not the
//! content of the files, nor the folder's own name in its parent.
//!
//! **[`SimDisk::crash_process`]** (`kill -9`): the cache stays. Handles of before fail for good.
//!
//! **[`SimDisk::crash_power`]**: handles fail for good, and what is durable, plus some of what is
//! not, is all there is.
//! * Each page written since its file's last sync is new, or old (zeroes, if it was never durable),
//!   or torn: each of its 512-byte sectors is old or new. Later pages may survive earlier ones.
//! * A file's length is anything between the durable one and the one in the cache, whatever became
//!   of its pages: a file may have grown by zeroes.
//! * A truncation that was not synced happened or did not. If not, the old tail is back, also when
//!   other bytes were appended since, some of which may stand in it.
//! * Each change of a name that was not durable is kept or lost, each on its own. A rename is one
//!   change: the file has its old name or its new one, never both; a replaced file is back if the
//!   rename is lost. A file whose creation is lost is gone, synced or not, and so is all below a
//!   folder whose creation is lost. A removed file may be back.
//! * What was durable, and not changed since, is never harmed; neither is any byte that was durable
//!   by an append behind it in the same page.
//!
//! **Faults on demand**: by kind of call ([`SimDisk::fail_next`]), by number of call
//! ([`SimDisk::fail_at`]) or at random ([`SimDisk::set_fault_rate`]); a full disk
//! ([`SimDisk::set_capacity`]), which an append fills to the last byte before it fails, and which
//! takes no new name while it is full; flipped bits; a death of the process at any call
//! ([`SimDisk::crash_after`]), which may leave a part of an append; a sync that fails once and then
//! pretends ([`Fault::SyncFailsOnce`]), whose pages show their true content after a loss of power
//! or [`SimDisk::evict_clean_pages`].
//!
//! **Not modelled**: a durable page that goes bad by itself (flip its bits), a name damaged in
//! place, a torn sector, errors that appear at `close`.
//!
//! Stricter than a file system: an append that is not at the end of the file, say again after a
//! failed one without a truncation, is `InvalidInput`.

mod faults;
mod names;
mod pages;
mod random;
mod state;

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;

pub use self::faults::{Fault, Lie, Op};
use self::names::Inode;
use self::state::State;
use super::{DirEntry, Storage, StorageFile, failure, lock};

/// The simulated disk. Clones are the same disk: a test keeps one while a log uses another.
#[derive(Debug, Clone)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
    /// The process that this clone lives and dies with; `None` outlives all crashes.
    process: Option<u64>,
}

impl SimDisk {
    /// An empty disk. All its randomness comes from `seed`.
    pub fn new(seed: u64) -> Self {
        SimDisk { state: Arc::new(Mutex::new(State::new(seed))), process: None }
    }

    /// The same disk for the present process only: after a crash every call on it fails, so that
    /// what a test failed to stop cannot touch what it tests next.
    pub fn process(&self) -> SimDisk {
        let process = Some(self.state().process);
        SimDisk { state: self.state.clone(), process }
    }

    /// Kills the process: the cache stays, handles fail from now on. Ends a
    /// [`crash_after`](Self::crash_after).
    pub fn crash_process(&self) {
        self.state().crash_process();
    }

    /// Cuts the power: what was not synced is kept, lost or mangled, handles fail from now on. Ends
    /// a [`crash_after`](Self::crash_after).
    pub fn crash_power(&self) {
        self.state().crash_power();
    }

    /// Lets `calls` more calls through and fails all others, until a crash is called for. The first
    /// of those, if an append, may write a part.
    pub fn crash_after(&self, calls: u64) {
        let mut state = self.state();
        state.faults.last = Some(state.faults.calls.saturating_add(calls));
    }

    /// How many calls there were, failed ones included: every method of [`Storage`] and
    /// [`StorageFile`] but the provided ones and `may_block`.
    pub fn calls(&self) -> u64 {
        self.state().faults.calls
    }

    /// Makes the next call of a kind fail. Several of the same kind queue up.
    pub fn fail_next(&self, op: Op, fault: Fault) {
        self.state().faults.next.push((op, fault));
    }

    /// Makes the call with this number fail, whatever it is. The first call ever is number 1, so
    /// the next one is `calls() + 1`.
    pub fn fail_at(&self, call: u64, fault: Fault) {
        self.state().faults.at.insert(call, fault);
    }

    /// Makes each call fail with this probability, by a fault that suits it. 0 ends that.
    pub fn set_fault_rate(&self, probability: f64) {
        // A float converts to an integer by saturation; NaN becomes 0.
        self.state().faults.rate = (probability * u64::MAX as f64) as u64;
    }

    /// Forgets all faults and lies asked for, the capacity and the rate, but not a crash.
    pub fn clear_faults(&self) {
        self.state().clear_faults();
    }

    /// Limits the bytes in all files; `None` for no limit. What there is already stays, if it is
    /// more.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.state().capacity = bytes;
    }

    /// Breaks a promise from now on.
    pub fn set_lie(&self, lie: Lie) {
        self.state().lies.insert(lie);
    }

    /// Flips one bit of a file, in the cache and on the disk. `false` if there is no such bit.
    pub fn flip_bit(&self, path: impl AsRef<Path>, bit: u64) -> bool {
        self.state().flip_bit(path.as_ref(), bit)
    }

    /// Flips a bit of a file and says which; `None` if there is no such file or it is empty.
    pub fn flip_random_bit(&self, path: impl AsRef<Path>) -> Option<u64> {
        self.state().flip_random_bit(path.as_ref())
    }

    /// Reads all pages that the cache takes for clean from the disk again.
    pub fn evict_clean_pages(&self) {
        self.state().evict_clean_pages();
    }

    /// What the cache holds of a file. Not counted as a call.
    pub fn read_file(&self, path: impl AsRef<Path>) -> Option<Vec<u8>> {
        self.state().content(path.as_ref())
    }

    /// The paths of all files and folders in the cache, in order. Not counted as a call.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.state().names.walk().into_keys().collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Counts a call and runs it, unless it is to fail.
    fn call<T>(
        &self,
        op: Op,
        name: &str,
        path: &Path,
        run: impl FnOnce(&mut State) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut state = self.state();
        check_process(&state, self.process, name, path)?;
        state.on_call(op).map_err(|failure| failure.error(name, path))?;
        run(&mut state)
    }
}

impl Storage for SimDisk {
    fn may_block(&self) -> bool {
        false
    }

    fn open(&self, path: &Path, create: bool) -> io::Result<Arc<dyn StorageFile>> {
        self.call(Op::Open, "open", path, |state| {
            let inode = state.open(path, create)?;
            let file: Arc<dyn StorageFile> = Arc::new(SimFile {
                disk: self.state.clone(),
                process: state.process,
                path: path.to_owned(),
                inode,
                moves: state.file(inode).moves(),
            });
            Ok(file)
        })
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        self.call(Op::List, "list", dir, |state| state.list(dir))
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.call(Op::CreateDir, "create", dir, |state| state.create_dir(dir))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.call(Op::Remove, "remove", path, |state| state.names.remove_file(path))
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        self.call(Op::Remove, "remove", dir, |state| state.names.remove_dir(dir))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call(Op::Rename, "rename", from, |state| state.rename(from, to))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.call(Op::SyncDir, "sync", dir, |state| state.sync_dir(dir))
    }
}

/// A name of a file, for one process.
#[derive(Debug)]
struct SimFile {
    disk: Arc<Mutex<State>>,
    process: u64,
    path: PathBuf,
    inode: Inode,
    /// How often the file had been renamed when this was its name.
    moves: u64,
}

impl SimFile {
    /// The disk, as long as this handle is good.
    fn state(&self, name: &str) -> io::Result<MutexGuard<'_, State>> {
        let state = lock(&self.disk);
        check_process(&state, Some(self.process), name, &self.path)?;
        Ok(state)
    }

    /// Counts a call and runs it, unless it is to fail.
    fn call<T>(
        &self,
        op: Op,
        name: &str,
        run: impl FnOnce(&mut State) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut state = self.state(name)?;
        state.on_call(op).map_err(|failure| failure.error(name, &self.path))?;
        self.check_live(&mut state, name)?;
        run(&mut state)
    }

    fn check_live(&self, state: &mut State, name: &str) -> io::Result<()> {
        let found = state.names.find(&self.path) == Some(self.inode);
        if found && state.file(self.inode).moves() == self.moves {
            return Ok(());
        }
        Err(failure(ErrorKind::NotFound, name, &self.path, "removed or renamed"))
    }

    fn invalid(&self, name: &str, why: String) -> io::Error {
        failure(ErrorKind::InvalidInput, name, &self.path, why)
    }
}

impl StorageFile for SimFile {
    fn len(&self) -> io::Result<u64> {
        self.call(Op::Len, "measure", |state| Ok(state.file(self.inode).cached().len() as u64))
    }

    fn read_at(&self, position: u64, len: usize) -> io::Result<Bytes> {
        self.call(Op::Read, "read", |state| {
            let cached = state.file(self.inode).cached();
            let start = usize::try_from(position).unwrap_or(usize::MAX).min(cached.len());
            let end = start.saturating_add(len).min(cached.len());
            Ok(Bytes::copy_from_slice(&cached[start..end]))
        })
    }

    fn append(&self, position: u64, parts: &[&[u8]]) -> io::Result<()> {
        let mut state = self.state("append")?;
        let verdict = state.on_call(Op::Append);
        self.check_live(&mut state, "append")?;
        let end = state.file(self.inode).cached().len() as u64;
        if position != end {
            verdict.map_err(|failure| failure.error("append", &self.path))?;
            return Err(self.invalid("append", format!("at {position}, not at its end {end}")));
        }
        let written = state.append(self.inode, &parts.concat(), verdict);
        written.map_err(|failure| failure.error("append", &self.path))
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.call(Op::Truncate, "truncate", |state| {
            let file = state.file(self.inode);
            let end = file.cached().len();
            match usize::try_from(len) {
                Ok(len) if len <= end => file.truncate(len),
                _ => {
                    let why = format!("to {len}, beyond its end {end}");
                    return Err(self.invalid("truncate", why));
                }
            }
            Ok(())
        })
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.state("sync")?;
        let verdict = state.on_call(Op::Sync);
        self.check_live(&mut state, "sync")?;
        let synced = state.sync(self.inode, verdict);
        synced.map_err(|failure| failure.error("sync", &self.path))
    }
}

/// Refuses what a process does after its death.
fn check_process(state: &State, process: Option<u64>, name: &str, path: &Path) -> io::Result<()> {
    match process {
        Some(process) if process != state.process => {
            Err(failure(ErrorKind::Other, name, path, "handle of a crashed process"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
