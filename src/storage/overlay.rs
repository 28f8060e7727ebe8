//! A storage over another one, which it never changes: what is written stays in memory.
//!
//! So a data directory can be opened, and recovered, without a byte of it being touched, also one
//! that another process is writing to. What is below is seen as it was when the overlay was made:
//! the names, and each file up to the length that it had. Content that is overwritten or cut below
//! is not kept; the batches above have their CRCs. Small files, which are replaced by others of
//! another length, are read at once: those of a folder before it is looked how long its files are,
//! so that what they say of the others is there.
//!
//! It looks two folders deep, as deep as data directories are, and only where it is told to: all
//! else is there by name, and seems empty.
//! What it holds in memory is limited: an append over the limit fails with `OutOfMemory`.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bytes::{Bytes, BytesMut};

use super::tree::Tree;
use super::{DirEntry, EntryKind, Storage, StorageFile, failure, lock};

/// Files up to this many bytes are read at once.
const SMALL: usize = 4 << 10;

/// What changes of another storage would be.
#[derive(Debug, Clone)]
pub struct Overlay {
    tree: Arc<Mutex<Tree<Arc<Content>>>>,
    room: Arc<Room>,
}

impl Overlay {
    /// Looks at what is there below, and into the files and folders whose names `looks_into` takes.
    /// Up to `limit_bytes` can be written.
    pub fn new(
        below: &dyn Storage,
        limit_bytes: usize,
        looks_into: impl Fn(&str) -> bool,
    ) -> io::Result<Self> {
        let room = Arc::new(Room { limit: limit_bytes, used: AtomicUsize::new(0) });
        let mut tree = Tree::new();
        for entry in below.list(Path::new(""))? {
            let path = PathBuf::from(&entry.name);
            let known = looks_into(&entry.name);
            match entry.kind {
                EntryKind::Dir => {
                    tree.create_dir(&path)?;
                    if known {
                        take_in_folder(below, &path, &mut tree, &room)?;
                    }
                }
                _ if known => take_in(below, path, &entry, &mut tree, &room)?,
                _ => {
                    let content = || Arc::new(Content::new(State::default(), room.clone()));
                    tree.open(&path, Some(content))?;
                }
            }
        }
        Ok(Overlay { tree: Arc::new(Mutex::new(tree)), room })
    }
}

fn take_in_folder(
    below: &dyn Storage,
    dir: &Path,
    tree: &mut Tree<Arc<Content>>,
    room: &Arc<Room>,
) -> io::Result<()> {
    let list = || match below.list(dir) {
        // It went since its name was read.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        entries => entries,
    };
    let mut small = BTreeMap::new();
    for entry in list()? {
        if let Some(content) = read_small(below, &dir.join(&entry.name), &entry) {
            small.insert(entry.name, content);
        }
    }
    for entry in list()? {
        let path = dir.join(&entry.name);
        match (entry.kind, small.remove(&entry.name)) {
            (EntryKind::Dir, _) => tree.create_dir(&path)?,
            (_, Some(content)) => put(path, content, tree, room)?,
            _ => take_in(below, path, &entry, tree, room)?,
        }
    }
    Ok(())
}

/// What is neither file nor folder is left out: nothing here reads it.
fn take_in(
    below: &dyn Storage,
    path: PathBuf,
    entry: &DirEntry,
    tree: &mut Tree<Arc<Content>>,
    room: &Arc<Room>,
) -> io::Result<()> {
    if entry.kind != EntryKind::File {
        return Ok(());
    }
    if let Some(content) = read_small(below, &path, entry) {
        return put(path, content, tree, room);
    }
    let file = match below.open(&path, false) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        file => file?,
    };
    let below = Some(Below { file, len: entry.len });
    let state = State { below, pieces: Vec::new() };
    tree.open(&path, Some(|| Arc::new(Content::new(state, room.clone()))))?;
    Ok(())
}

/// All of a file, as it is at one moment, if it is small. Whoever needs it will meet the error if
/// it can't be read.
fn read_small(below: &dyn Storage, path: &Path, entry: &DirEntry) -> Option<Bytes> {
    if entry.kind != EntryKind::File || entry.len > SMALL as u64 {
        return None;
    }
    let file = below.open(path, false).ok()?;
    let mut content = Vec::new();
    while content.len() <= SMALL {
        let bytes = file.read_at(content.len() as u64, SMALL + 1).ok()?;
        content.extend_from_slice(&bytes);
        // As long as it was: one read, of one file.
        if bytes.is_empty() || content.len() as u64 == entry.len {
            return Some(content.into());
        }
    }
    None
}

/// A file whose content is in memory.
fn put(
    path: PathBuf,
    content: Bytes,
    tree: &mut Tree<Arc<Content>>,
    room: &Arc<Room>,
) -> io::Result<()> {
    room.take(content.len())?;
    let pieces = if content.is_empty() { Vec::new() } else { vec![(0, content)] };
    let state = State { below: None, pieces };
    tree.open(&path, Some(|| Arc::new(Content::new(state, room.clone()))))?;
    Ok(())
}

impl Storage for Overlay {
    fn may_block(&self) -> bool {
        true
    }

    fn open(&self, path: &Path, create: bool) -> io::Result<Arc<dyn StorageFile>> {
        let make = || Arc::new(Content::new(State::default(), self.room.clone()));
        let content = lock(&self.tree).open(path, create.then_some(make))?.clone();
        Ok(Arc::new(OverlayFile { path: path.to_owned(), content }))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        lock(&self.tree).entries(dir, |content| content.len())
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        lock(&self.tree).create_dir(dir)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        lock(&self.tree).remove_file(path)?.take();
        Ok(())
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        lock(&self.tree).remove_dir(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let replaced = lock(&self.tree).rename(from, to, |content| content.move_out())?;
        if let Some(content) = replaced {
            content.take();
        }
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        lock(&self.tree).check_dir("sync", dir)
    }
}

/// How much may be written, and how much has been.
#[derive(Debug)]
struct Room {
    limit: usize,
    used: AtomicUsize,
}

impl Room {
    fn take(&self, len: usize) -> io::Result<()> {
        let fits = |used: usize| used.checked_add(len).filter(|used| *used <= self.limit);
        match self.used.fetch_update(Ordering::AcqRel, Ordering::Acquire, fits) {
            Ok(_) => Ok(()),
            Err(used) => Err(io::Error::new(
                ErrorKind::OutOfMemory,
                format!(
                    "a view that changes nothing keeps its changes in memory: {used} and {len} \
                     bytes are over its limit of {} (memory_limit)",
                    self.limit
                ),
            )),
        }
    }

    fn give_back(&self, len: usize) {
        self.used.fetch_sub(len, Ordering::AcqRel);
    }
}

/// A name of a [`Content`].
#[derive(Debug)]
struct OverlayFile {
    /// For errors only.
    path: PathBuf,
    content: Arc<Content>,
}

impl OverlayFile {
    fn absent(&self, op: &str) -> io::Error {
        failure(ErrorKind::NotFound, op, &self.path, "removed or renamed")
    }

    fn invalid(&self, op: &str, why: String) -> io::Error {
        failure(ErrorKind::InvalidInput, op, &self.path, why)
    }
}

impl StorageFile for OverlayFile {
    fn len(&self) -> io::Result<u64> {
        self.content.len().ok_or_else(|| self.absent("measure"))
    }

    fn read_at(&self, position: u64, len: usize) -> io::Result<Bytes> {
        let (file, len) = {
            let state = self.content.state();
            let state = state.as_ref().ok_or_else(|| self.absent("read"))?;
            match &state.below {
                Some(below) if position < below.len => {
                    let left = usize::try_from(below.len - position).unwrap_or(usize::MAX);
                    (below.file.clone(), len.min(left))
                }
                _ => return Ok(state.read(position, len)),
            }
        };
        let bytes = file.read_at(position, len)?;
        if bytes.is_empty() && len > 0 {
            let why = "it is shorter than it was when it was opened";
            return Err(failure(ErrorKind::UnexpectedEof, "read", &self.path, why));
        }
        Ok(bytes)
    }

    fn append(&self, position: u64, parts: &[&[u8]]) -> io::Result<()> {
        let mut state = self.content.state_mut();
        let state = state.as_mut().ok_or_else(|| self.absent("append"))?;
        if position != state.end() {
            let why = format!("at {position}, not at its end {}", state.end());
            return Err(self.invalid("append", why));
        }
        let len = parts.iter().map(|part| part.len()).sum();
        if len > 0 {
            self.content.room.take(len)?;
            let mut bytes = BytesMut::with_capacity(len);
            parts.iter().for_each(|part| bytes.extend_from_slice(part));
            state.pieces.push((position, bytes.freeze()));
        }
        Ok(())
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        let mut state = self.content.state_mut();
        let state = state.as_mut().ok_or_else(|| self.absent("truncate"))?;
        if len > state.end() {
            let why = format!("to {len}, beyond its end {}", state.end());
            return Err(self.invalid("truncate", why));
        }
        let before = state.held();
        state.cut(len);
        self.content.room.give_back(before - state.held());
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.len().map(drop)
    }
}

/// What a file holds; `None` once it is removed or renamed.
#[derive(Debug)]
struct Content {
    state: RwLock<Option<State>>,
    room: Arc<Room>,
}

/// The beginning of a file below, and what was written behind it.
#[derive(Debug, Default)]
struct State {
    below: Option<Below>,
    /// Contiguous, each with its position; none is empty.
    pieces: Vec<(u64, Bytes)>,
}

#[derive(Debug)]
struct Below {
    file: Arc<dyn StorageFile>,
    len: u64,
}

impl State {
    fn end(&self) -> u64 {
        let written = self.pieces.last().map(|(start, bytes)| start + bytes.len() as u64);
        written.unwrap_or(self.below.as_ref().map_or(0, |below| below.len))
    }

    /// Bytes in memory.
    fn held(&self) -> usize {
        self.pieces.iter().map(|(_, bytes)| bytes.len()).sum()
    }

    /// What was written at `position`, from one piece.
    fn read(&self, position: u64, len: usize) -> Bytes {
        let ends_before = |(start, bytes): &(u64, Bytes)| start + bytes.len() as u64 <= position;
        let index = self.pieces.partition_point(ends_before);
        let Some((start, bytes)) = self.pieces.get(index) else { return Bytes::new() };
        let from = (position - start) as usize;
        bytes.slice(from..from.saturating_add(len).min(bytes.len()))
    }

    fn cut(&mut self, len: u64) {
        self.pieces.retain_mut(|(start, bytes)| {
            bytes.truncate(usize::try_from(len.saturating_sub(*start)).unwrap_or(usize::MAX));
            !bytes.is_empty()
        });
        match &mut self.below {
            Some(_) if len == 0 => self.below = None,
            Some(below) => below.len = below.len.min(len),
            None => {}
        }
    }
}

impl Content {
    fn new(state: State, room: Arc<Room>) -> Self {
        Content { state: RwLock::new(Some(state)), room }
    }

    fn state(&self) -> RwLockReadGuard<'_, Option<State>> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn state_mut(&self) -> RwLockWriteGuard<'_, Option<State>> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn len(&self) -> Option<u64> {
        self.state().as_ref().map(State::end)
    }

    /// Ends the file's life, and gives its memory back.
    fn take(&self) {
        if let Some(state) = self.state_mut().take() {
            self.room.give_back(state.held());
        }
    }

    /// The same content under a new name. Handles of the old one are dead from now on.
    fn move_out(&self) -> Arc<Content> {
        Arc::new(Content { state: RwLock::new(self.state_mut().take()), room: self.room.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{MemoryStorage, conformance, read_whole, replace};

    const LIMIT: usize = 1 << 20;

    fn write(storage: &dyn Storage, path: &str, content: &[u8]) {
        let path = Path::new(path);
        storage.create_dir(path.parent().unwrap()).unwrap();
        let file = storage.open(path, true).unwrap();
        file.append(file.len().unwrap(), &[content]).unwrap();
    }

    fn content(storage: &dyn Storage, path: &str) -> Vec<u8> {
        read_whole(storage, Path::new(path), LIMIT).unwrap().to_vec()
    }

    #[test]
    fn conforms() {
        let below = MemoryStorage::new(LIMIT);
        conformance::run(&Overlay::new(&below, LIMIT, |_| true).unwrap());
        assert_eq!(below.used(), 0, "nothing reaches what is below");
    }

    #[test]
    fn what_is_below_is_seen_as_it_was_and_never_changed() {
        let below = MemoryStorage::new(LIMIT);
        for path in ["t-0/a", "t-0/b", "t-0/c", "t-1/a"] {
            write(&below, path, b"0123456789");
        }
        let view = Overlay::new(&below, LIMIT, |_| true).unwrap();
        write(&below, "t-0/a", b"later");
        write(&below, "t-0/later", b"");
        assert_eq!(content(&view, "t-0/a"), b"0123456789");
        assert_eq!(view.list(Path::new("t-0")).unwrap().len(), 3);
        let b = view.open(Path::new("t-0/b"), false).unwrap();
        b.append(10, &[b"ab", b"cd"]).unwrap();
        assert_eq!(content(&view, "t-0/b"), b"0123456789abcd");
        b.truncate(12).unwrap();
        b.truncate(4).unwrap();
        b.append(4, &[b"new"]).unwrap();
        assert_eq!(content(&view, "t-0/b"), b"0123new");
        view.remove_file(Path::new("t-0/c")).unwrap();
        view.rename(Path::new("t-1"), Path::new("gone")).unwrap();
        assert_eq!(content(&view, "gone/a"), b"0123456789");
        assert_eq!(content(&below, "t-0/b"), b"0123456789");
        assert_eq!(content(&below, "t-1/a"), b"0123456789");
        assert!(below.open(Path::new("t-0/c"), false).is_ok());
    }

    #[test]
    fn nobody_looks_into_what_is_not_wanted() {
        let below = MemoryStorage::new(LIMIT);
        write(&below, "t-0/a", b"0123456789");
        write(&below, "lost+found/a", b"0123456789");
        below.open(Path::new("file"), true).unwrap().append(0, &[b"0123456789"]).unwrap();
        let view = Overlay::new(&below, LIMIT, |name| name == "t-0").unwrap();
        assert_eq!(content(&view, "t-0/a"), b"0123456789");
        let names: Vec<_> =
            view.list(Path::new("")).unwrap().into_iter().map(|it| it.name).collect();
        assert_eq!(names, ["file", "lost+found", "t-0"]);
        assert!(view.list(Path::new("lost+found")).unwrap().is_empty());
    }

    #[test]
    fn memory_is_limited_and_given_back() {
        let below = MemoryStorage::new(LIMIT);
        let view = Overlay::new(&below, 10, |_| true).unwrap();
        let file = view.open(Path::new("a"), true).unwrap();
        file.append(0, &[b"12345678"]).unwrap();
        let full = file.append(8, &[b"abc"]).unwrap_err();
        assert_eq!(full.kind(), ErrorKind::OutOfMemory);
        assert!(full.to_string().contains("limit of 10 (memory_limit)"), "{full}");
        file.truncate(7).unwrap();
        file.append(7, &[b"abc"]).unwrap();
        view.rename(Path::new("a"), Path::new("b")).unwrap();
        view.remove_file(Path::new("b")).unwrap();
        view.open(Path::new("c"), true).unwrap().append(0, &[&[7; 10]]).unwrap();
    }

    #[test]
    fn a_small_file_is_seen_whole_whatever_happens_to_it_later() {
        let below = MemoryStorage::new(LIMIT);
        for path in ["a", "t-0/a", "t-0/b", "t-0/c", "t-0/empty"] {
            write(&below, path, &vec![b'a'; if path == "t-0/empty" { 0 } else { SMALL }]);
        }
        write(&below, "t-0/large", &[b'a'; SMALL + 1]);
        let view = Overlay::new(&below, LIMIT, |_| true).unwrap();
        for path in ["a", "t-0/a"] {
            replace(&below, Path::new(path), &[b'b'; 2 * SMALL]).unwrap();
        }
        below.open(Path::new("t-0/b"), false).unwrap().truncate(4).unwrap();
        below.remove_file(Path::new("t-0/c")).unwrap();
        for path in ["a", "t-0/a", "t-0/b", "t-0/c"] {
            assert_eq!(content(&view, path), [b'a'; SMALL], "{path}");
        }
        assert_eq!(content(&view, "t-0/empty"), b"");
        assert_eq!(content(&view, "t-0/large"), [b'a'; SMALL + 1]);
        // They take of the memory that there is, and give it back.
        assert_eq!(view.room.used.load(Ordering::Acquire), 4 * SMALL);
        view.open(Path::new("t-0/a"), false).unwrap().truncate(1).unwrap();
        view.remove_file(Path::new("t-0/b")).unwrap();
        assert_eq!(view.room.used.load(Ordering::Acquire), 2 * SMALL + 1);
    }

    #[test]
    fn a_file_that_became_shorter_is_told_of() {
        let below = MemoryStorage::new(LIMIT);
        write(&below, "t-0/a", &[7; 2 * SMALL]);
        let view = Overlay::new(&below, LIMIT, |_| true).unwrap();
        below.open(Path::new("t-0/a"), false).unwrap().truncate(4).unwrap();
        let file = view.open(Path::new("t-0/a"), false).unwrap();
        assert_eq!(&file.read_at(0, 10).unwrap()[..], &[7; 4]);
        assert_eq!(file.read_at(4, 6).unwrap_err().kind(), ErrorKind::UnexpectedEof);
    }
}
