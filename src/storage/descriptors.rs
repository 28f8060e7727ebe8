//! Which files are open: a bounded cache of descriptors, and the names that they belong to.
//!
//! A [`Name`] is one live file as its handles see it. A descriptor is pinned only while a system
//! call uses it (but see [`Pin::shared`]), and a thread pins at most one, so waiting for one to
//! become free always ends, even with a budget of one. The least recently used one that nobody pins
//! is closed for the next.
//!
//! [`Descriptors::exclusively`] holds the paths that are about to be renamed or removed: their
//! descriptors are closed first (Windows insists), nobody opens them meanwhile, and if it works the
//! names are dead. A dead name stays dead, whatever file comes to its path later.
//!
//! It never creates a file but on the first open of a name, and reads and writes nothing.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::ops::{Bound, Deref};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::{failure, lock};

/// The cache.
#[derive(Debug)]
pub(super) struct Descriptors {
    /// Descriptors open at once at most.
    limit: usize,
    state: Mutex<State>,
    /// Signalled when something that somebody waits for may have come.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// The live names, by path: what is below a path follows it without a gap.
    names: BTreeMap<Arc<Path>, Known>,
    /// Open descriptors, and those being opened, by the id of their name.
    slots: BTreeMap<u64, Slot>,
    /// Ids of open descriptors that nobody pins, by the time of their last use.
    idle: BTreeMap<u64, u64>,
    /// Paths being renamed or removed. What is below them is held too.
    held: Vec<PathBuf>,
    /// The next id, or time of use. Never used twice.
    next: u64,
    /// Threads that wait for `changed`: without any, no system call is spent on waking them.
    waiting: usize,
}

#[derive(Debug)]
struct Known {
    id: u64,
    /// How many [`Name`]s there are of it.
    handles: usize,
    /// What they look at, without a search by path. Changed under the lock.
    live: Arc<AtomicBool>,
}

#[derive(Debug)]
struct Slot {
    /// `None` while it is being opened.
    file: Option<Arc<File>>,
    pins: usize,
    /// When it was last used: its key in `idle`.
    used: u64,
}

/// A file's name, as long as it is that file's. What a handle holds instead of a descriptor.
#[derive(Debug)]
pub(super) struct Name {
    path: Arc<Path>,
    id: u64,
    live: Arc<AtomicBool>,
    cache: Arc<Descriptors>,
}

/// How a descriptor is made when there is none in the cache.
pub(super) type Opener<'a> = &'a dyn Fn() -> io::Result<File>;

/// A descriptor in use.
#[derive(Debug)]
pub(super) struct Pin<'a> {
    name: &'a Name,
    file: Option<Arc<File>>,
}

impl Descriptors {
    /// A cache of at most `limit` descriptors, and at least one.
    pub(super) fn new(limit: usize) -> Self {
        Descriptors { limit: limit.max(1), state: Mutex::default(), changed: Condvar::new() }
    }

    /// The name of the file at `path`, of which the caller finds out by a pin whether it exists.
    pub(super) fn name(self: &Arc<Self>, path: &Path) -> Name {
        let mut state = lock(&self.state);
        while state.holds(path) {
            state = self.wait(state);
        }
        let id = state.tick();
        let new = || Known { id, handles: 0, live: Arc::new(AtomicBool::new(true)) };
        let entry = state.names.entry(path.into());
        let path = entry.key().clone();
        let known = entry.or_insert_with(new);
        known.handles += 1;
        Name { path, id: known.id, live: known.live.clone(), cache: self.clone() }
    }

    /// Runs `action`, which renames or removes `paths`, while nothing at or below them is open or
    /// being opened. If it succeeds, all names there are dead.
    pub(super) fn exclusively(
        &self,
        paths: &[&Path],
        action: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<()> {
        let closed = self.hold(paths);
        drop(closed);
        let result = action();
        let mut state = lock(&self.state);
        state.held.retain(|held| !paths.contains(&held.as_path()));
        if result.is_ok() {
            paths.iter().for_each(|path| state.kill(path));
        }
        self.wake(&state);
        result
    }

    /// Waits until nobody else holds or uses `paths`, and returns the descriptors to close.
    fn hold(&self, paths: &[&Path]) -> Vec<Slot> {
        let mut state = lock(&self.state);
        while paths.iter().any(|path| state.overlaps(path)) {
            state = self.wait(state);
        }
        state.held.extend(paths.iter().map(|path| path.to_path_buf()));
        let ids = loop {
            let known = paths.iter().flat_map(|path| state.below(path));
            let ids: Vec<u64> = known.map(|(_, known)| known.id).collect();
            let used = |id| state.slots.get(id).is_some_and(Slot::in_use);
            if !ids.iter().any(used) {
                break ids;
            }
            state = self.wait(state);
        };
        ids.into_iter().filter_map(|id| state.close(id)).collect()
    }

    fn wait<'a>(&self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        state.waiting += 1;
        let mut state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        state.waiting -= 1;
        state
    }

    fn wake(&self, state: &State) {
        if state.waiting > 0 {
            self.changed.notify_all();
        }
    }
}

impl Name {
    /// To be asked under the lock.
    fn is_live(&self) -> bool {
        self.live.load(Ordering::Relaxed)
    }

    /// A descriptor of the file, from the cache or made by `open`. `NotFound` if the name is dead.
    pub(super) fn pin(&self, open: Opener<'_>) -> io::Result<Pin<'_>> {
        let mut state = lock(&self.cache.state);
        let evicted = loop {
            if !self.is_live() {
                let why = "removed or renamed";
                return Err(failure(ErrorKind::NotFound, "open", &self.path, why));
            }
            if !state.holds(&self.path) {
                if let Some(file) = state.pin_open(self.id) {
                    return Ok(Pin { name: self, file: Some(file) });
                }
                let room = state.slots.len() < self.cache.limit || !state.idle.is_empty();
                if room && !state.slots.contains_key(&self.id) {
                    break state.start_opening(self.id, self.cache.limit);
                }
            }
            state = self.cache.wait(state);
        };
        drop(state);
        drop(evicted); // closed before the next is opened, and outside the lock
        self.finish_opening(open)
    }

    /// A descriptor of the file, if one is in the cache and nobody is in the way.
    pub(super) fn pin_cached(&self) -> Option<Pin<'_>> {
        let mut state = lock(&self.cache.state);
        if !self.is_live() || state.holds(&self.path) {
            return None;
        }
        let file = state.pin_open(self.id)?;
        Some(Pin { name: self, file: Some(file) })
    }

    fn finish_opening(&self, open: Opener<'_>) -> io::Result<Pin<'_>> {
        let opened = open().map(Arc::new);
        let mut state = lock(&self.cache.state);
        match &opened {
            Ok(file) => {
                let slot = state.slots.get_mut(&self.id);
                slot.expect("only its opener touches it").file = Some(file.clone());
            }
            Err(_) => drop(state.slots.remove(&self.id)),
        }
        self.cache.wake(&state);
        Ok(Pin { name: self, file: Some(opened?) })
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        let mut state = lock(&self.cache.state);
        if !self.is_live() {
            return;
        }
        let known = state.names.get_mut(&self.path).expect("a live name is known");
        known.handles -= 1;
        if known.handles == 0 {
            state.names.remove(&self.path);
            let closed = state.close(self.id);
            self.cache.wake(&state);
            drop(state);
            drop(closed); // outside the lock
        }
    }
}

impl Pin<'_> {
    /// The descriptor beyond the pin's life: open, and not counted, for as long as it is held.
    pub(super) fn shared(&self) -> Arc<File> {
        self.file.clone().expect("taken by `drop` only")
    }
}

impl Deref for Pin<'_> {
    type Target = File;

    fn deref(&self) -> &File {
        self.file.as_ref().expect("taken by `drop` only")
    }
}

impl Drop for Pin<'_> {
    fn drop(&mut self) {
        let mut state = lock(&self.name.cache.state);
        // Under the lock, so that a descriptor that looks closed is closed.
        drop(self.file.take());
        state.unpin(self.name.id);
        self.name.cache.wake(&state);
    }
}

impl Slot {
    fn in_use(&self) -> bool {
        self.pins > 0
    }
}

impl State {
    fn tick(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// The names at `path` and below it.
    fn below(&self, path: &Path) -> impl Iterator<Item = (&Arc<Path>, &Known)> {
        let from = self.names.range::<Path, _>((Bound::Included(path), Bound::Unbounded));
        from.take_while(move |(name, _)| name.starts_with(path))
    }

    /// The names at `path` and below it are dead.
    fn kill(&mut self, path: &Path) {
        let below: Vec<_> = self.below(path).map(|(name, _)| name.clone()).collect();
        for name in below {
            if let Some(known) = self.names.remove(&name) {
                known.live.store(false, Ordering::Relaxed);
            }
        }
    }

    /// Whether `path` is being renamed or removed.
    fn holds(&self, path: &Path) -> bool {
        self.held.iter().any(|held| path.starts_with(held))
    }

    /// Whether renaming `path` would meet another rename.
    fn overlaps(&self, path: &Path) -> bool {
        self.holds(path) || self.held.iter().any(|held| held.starts_with(path))
    }

    fn pin_open(&mut self, id: u64) -> Option<Arc<File>> {
        let slot = self.slots.get_mut(&id)?;
        let file = slot.file.clone()?;
        if !slot.in_use() {
            self.idle.remove(&slot.used);
        }
        slot.pins += 1;
        Some(file)
    }

    fn unpin(&mut self, id: u64) {
        let now = self.tick();
        let slot = self.slots.get_mut(&id).expect("a pinned descriptor is never closed");
        slot.pins -= 1;
        if !slot.in_use() {
            slot.used = now;
            self.idle.insert(now, id);
        }
    }

    /// Makes room for one more descriptor and takes it. The caller has seen that there is some.
    fn start_opening(&mut self, id: u64, limit: usize) -> Option<Slot> {
        let evicted = if self.slots.len() >= limit {
            self.idle.first_key_value().map(|(_, id)| *id).and_then(|oldest| self.close(oldest))
        } else {
            None
        };
        debug_assert!(self.slots.len() < limit);
        self.slots.insert(id, Slot { file: None, pins: 1, used: 0 });
        evicted
    }

    /// Takes out a descriptor that nobody pins.
    fn close(&mut self, id: u64) -> Option<Slot> {
        let slot = self.slots.remove(&id)?;
        self.idle.remove(&slot.used);
        Some(slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened() -> io::Result<File> {
        tempfile::tempfile()
    }

    fn is_open(name: &Name) -> bool {
        name.cache.state.lock().unwrap().slots.contains_key(&name.id)
    }

    #[test]
    fn the_least_recently_used_one_is_closed() {
        let cache = Arc::new(Descriptors::new(2));
        let [a, b, c] = ["a", "b", "c"].map(|path| cache.name(Path::new(path)));
        for name in [&a, &b, &a, &c] {
            name.pin(&opened).unwrap();
        }
        assert_eq!([&a, &b, &c].map(is_open), [true, false, true]);
    }

    #[test]
    fn a_pinned_one_is_never_closed() {
        let cache = Arc::new(Descriptors::new(2));
        let [a, b, c] = ["a", "b", "c"].map(|path| cache.name(Path::new(path)));
        let pin = a.pin(&opened).unwrap();
        b.pin(&opened).unwrap();
        c.pin(&opened).unwrap();
        assert_eq!([&a, &b, &c].map(is_open), [true, false, true]);
        drop(pin);
    }

    #[test]
    fn a_failed_open_gives_its_place_back() {
        let cache = Arc::new(Descriptors::new(1));
        let [a, b] = ["a", "b"].map(|path| cache.name(Path::new(path)));
        a.pin(&|| Err(ErrorKind::PermissionDenied.into())).unwrap_err();
        b.pin(&opened).unwrap();
        a.pin(&opened).unwrap();
    }

    #[test]
    fn holding_a_folder_closes_what_is_below_and_kills_it_only_on_success() {
        let cache = Arc::new(Descriptors::new(8));
        let [inside, beside] = ["t/a", "t-1"].map(|path| cache.name(Path::new(path)));
        inside.pin(&opened).unwrap();
        beside.pin(&opened).unwrap();
        let failed = cache.exclusively(&[Path::new("t")], || {
            assert_eq!([&inside, &beside].map(is_open), [false, true]);
            Err(ErrorKind::PermissionDenied.into())
        });
        failed.unwrap_err();
        inside.pin(&opened).unwrap();
        cache.exclusively(&[Path::new("t")], || Ok(())).unwrap();
        let again = cache.name(Path::new("t/a"));
        again.pin(&opened).unwrap();
        assert_eq!(inside.pin(&opened).unwrap_err().kind(), ErrorKind::NotFound);
        drop(inside);
        assert!(is_open(&again), "a dead name's end does not touch its successor");
    }

    /// Whatever sorts between a path and what is below it, were they texts.
    #[test]
    fn a_removal_kills_what_is_below_and_nothing_else() {
        let cache = Arc::new(Descriptors::new(1));
        let paths = ["s", "t", "t!", "t-1", "t/a", "t/b/c", "t/b!", "tt", "u/t"];
        let names = paths.map(|path| cache.name(Path::new(path)));
        cache.exclusively(&[Path::new("t/b"), Path::new("t")], || Ok(())).unwrap();
        let dead = names.iter().filter(|name| name.pin(&opened).is_err());
        let dead: Vec<_> = dead.map(|name| name.path.to_str().unwrap()).collect();
        assert_eq!(dead, ["t", "t/a", "t/b/c", "t/b!"]);
    }

    #[test]
    fn what_is_being_renamed_is_not_opened() {
        let cache = Arc::new(Descriptors::new(8));
        let name = cache.name(Path::new("t/a"));
        std::thread::scope(|scope| {
            let renamed = cache.exclusively(&[Path::new("t")], || {
                let user = scope.spawn(|| name.pin(&opened).map(drop));
                while lock(&cache.state).waiting == 0 {
                    assert!(!user.is_finished(), "it waits until the rename is over");
                    std::thread::yield_now();
                }
                Err(ErrorKind::PermissionDenied.into())
            });
            renamed.unwrap_err();
        });
        assert!(is_open(&name));
    }

    #[test]
    fn names_and_descriptors_end_with_their_last_handle() {
        let cache = Arc::new(Descriptors::new(8));
        let first = cache.name(Path::new("a"));
        let second = cache.name(Path::new("a"));
        first.pin(&opened).unwrap();
        drop(first);
        assert!(is_open(&second));
        drop(second);
        let state = cache.state.lock().unwrap();
        assert!(state.names.is_empty() && state.slots.is_empty() && state.idle.is_empty());
    }
}
