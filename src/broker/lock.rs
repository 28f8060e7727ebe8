//! One broker a data directory: between processes by a file lock, within this one by a list.

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::watch;

use crate::clock::Clock;
use crate::error::{Error, Result};

/// How long to wait for a broker that is closing: its runtime may not be driven any more.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// Kafka's name for it.
const LOCK_FILE: &str = ".lock";

/// The directories that brokers of this process have.
static HELD: Mutex<BTreeMap<PathBuf, Arc<Holding>>> = Mutex::new(BTreeMap::new());

/// One held directory.
#[derive(Debug)]
pub(super) struct Holding {
    closing: AtomicBool,
    released: watch::Sender<bool>,
}

impl Holding {
    /// From now on whoever opens the directory waits for it, rather than being refused.
    pub(super) fn will_be_released(&self) {
        self.closing.store(true, Ordering::Release);
    }
}

/// A held data directory; let go when dropped.
#[derive(Debug)]
pub(super) struct DirLock {
    path: PathBuf,
    holding: Arc<Holding>,
    file: Option<File>,
}

impl DirLock {
    /// Takes the directory, which must exist. Waits for a broker of this process that is closing
    /// it; any other holder is an error that names it.
    pub(super) async fn acquire(dir: &Path, clock: &Clock) -> Result<DirLock> {
        let path = dir.canonicalize().map_err(|error| Error::io(context(dir), error))?;
        loop {
            let closing = match enlist(&path)? {
                Ok(holding) => {
                    let mut lock = DirLock { path, holding, file: None };
                    lock.file = Some(lock_file(dir)?);
                    return Ok(lock);
                }
                Err(closing) => closing,
            };
            let mut released = closing.released.subscribe();
            tokio::select! {
                // Cannot fail: the holding is alive. A false wake only looks again.
                _ = released.wait_for(|released| *released) => {}
                () = clock.sleep(MAX_WAIT) => {
                    return Err(locked(dir, "a broker of this process that is still closing"));
                }
            }
        }
    }

    pub(super) fn holding(&self) -> Arc<Holding> {
        self.holding.clone()
    }
}

impl Drop for DirLock {
    fn drop(&mut self) {
        // Before the next in line is let in. Closing the file alone leaves it locked for as long as
        // a child process that is just being started has a copy of the descriptor.
        if let Some(file) = self.file.take()
            && let Err(error) = file.unlock()
        {
            tracing::warn!(dir = %self.path.display(), %error, "the data directory's lock");
        }
        held().remove(&self.path);
        self.holding.released.send_replace(true);
    }
}

/// Puts the directory on the list, or answers with the holding whose end is to be awaited.
fn enlist(path: &Path) -> Result<std::result::Result<Arc<Holding>, Arc<Holding>>> {
    let mut held = held();
    match held.get(path) {
        Some(other) if other.closing.load(Ordering::Acquire) => Ok(Err(other.clone())),
        Some(_) => Err(locked(path, "another broker of this process")),
        None => {
            let released = watch::Sender::new(false);
            let holding = Arc::new(Holding { closing: AtomicBool::new(false), released });
            held.insert(path.to_owned(), holding.clone());
            Ok(Ok(holding))
        }
    }
}

fn held() -> MutexGuard<'static, BTreeMap<PathBuf, Arc<Holding>>> {
    HELD.lock().expect("no one panics with the list in hand")
}

fn lock_file(dir: &Path) -> Result<File> {
    let path = dir.join(LOCK_FILE);
    let failed = |error| Error::io(context(dir), error);
    let mut options = File::options();
    let mut file = options.read(true).write(true).create(true).open(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            // Who it is only makes the message better.
            let _ = file.take(100).read_to_string(&mut holder);
            let unknown = holder.trim().is_empty();
            return Err(locked(dir, if unknown { "another process" } else { holder.trim() }));
        }
        Err(TryLockError::Error(error)) => return Err(failed(error)),
    }
    let holder = format!("process {}\n", std::process::id());
    file.rewind().map_err(failed)?;
    file.set_len(0).map_err(failed)?;
    file.write_all(holder.as_bytes()).map_err(failed)?;
    Ok(file)
}

fn locked(path: &Path, holder: &str) -> Error {
    Error::Locked { path: path.display().to_string(), holder: holder.to_owned() }
}

fn context(dir: &Path) -> String {
    format!("locking the data directory {}", dir.display())
}
