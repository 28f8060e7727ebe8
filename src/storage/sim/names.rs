//! The folders of the simulated disk: names in the cache, names on the disk, and the changes that
//! lie between. It knows files only by their number.
//!
//! There are no hard links: whatever a crash keeps or loses, a file or folder has one name or none.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::random::{Random, Survival};
use crate::storage::{check_path, failure};

/// The number of a file or folder, never used twice.
pub(super) type Inode = u64;

const ROOT: Inode = 0;

/// All folders.
#[derive(Debug)]
pub(super) struct Names {
    dirs: BTreeMap<Inode, Dir>,
    /// What was done to the cache and is not on the disk, oldest first.
    pending: Vec<Change>,
    next: Inode,
}

#[derive(Debug, Default)]
struct Dir {
    cached: BTreeMap<String, Inode>,
    durable: BTreeMap<String, Inode>,
}

/// A name in a folder.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    dir: Inode,
    name: String,
}

/// A file or folder got a name, lost it, or exchanged it for another, all in one step.
#[derive(Debug, Clone)]
struct Change {
    inode: Inode,
    from: Option<Place>,
    to: Option<Place>,
}

impl Names {
    pub(super) fn new() -> Self {
        let dirs = BTreeMap::from([(ROOT, Dir::default())]);
        Names { dirs, pending: Vec::new(), next: ROOT + 1 }
    }

    /// What stands at `path`, in the cache.
    pub(super) fn find(&self, path: &Path) -> Option<Inode> {
        path.components().try_fold(ROOT, |inode, part| {
            let dir = self.dirs.get(&inode)?;
            dir.cached.get(part.as_os_str().to_str()?).copied()
        })
    }

    pub(super) fn is_dir(&self, inode: Inode) -> bool {
        self.dirs.contains_key(&inode)
    }

    /// What stands at `path`, if it is a folder.
    pub(super) fn find_dir(&self, op: &str, path: &Path) -> io::Result<Inode> {
        check_path(op, path)?;
        match self.find(path) {
            Some(inode) if self.is_dir(inode) => Ok(inode),
            Some(_) => Err(failure(ErrorKind::NotADirectory, op, path, "a file")),
            None => Err(failure(ErrorKind::NotFound, op, path, "not found")),
        }
    }

    /// What stands at `path`, if it is a file.
    pub(super) fn find_file(&self, op: &str, path: &Path) -> io::Result<Inode> {
        check_path(op, path)?;
        match self.find(path) {
            Some(inode) if self.is_dir(inode) => {
                Err(failure(ErrorKind::IsADirectory, op, path, "a folder"))
            }
            Some(inode) => Ok(inode),
            None => Err(failure(ErrorKind::NotFound, op, path, "not found")),
        }
    }

    /// Names and numbers in `dir`, sorted by name.
    pub(super) fn list(&self, dir: Inode) -> impl Iterator<Item = (&String, Inode)> {
        let cached = self.dirs.get(&dir).map(|dir| dir.cached.iter());
        cached.into_iter().flatten().map(|(name, inode)| (name, *inode))
    }

    /// Names a new file, which the caller then makes.
    pub(super) fn create_file(&mut self, path: &Path) -> io::Result<Inode> {
        let to = self.place("open", path)?;
        let inode = self.number();
        self.change(Change { inode, from: None, to: Some(to) });
        Ok(inode)
    }

    pub(super) fn create_dir(&mut self, path: &Path) -> io::Result<()> {
        check_path("create", path)?;
        match self.find(path) {
            Some(inode) if self.is_dir(inode) => return Ok(()),
            Some(_) => return Err(failure(ErrorKind::AlreadyExists, "create", path, "a file")),
            None => {}
        }
        let to = self.place("create", path)?;
        let inode = self.number();
        self.dirs.insert(inode, Dir::default());
        self.change(Change { inode, from: None, to: Some(to) });
        Ok(())
    }

    pub(super) fn remove_file(&mut self, path: &Path) -> io::Result<()> {
        let inode = self.find_file("remove", path)?;
        self.remove(inode, path)
    }

    pub(super) fn remove_dir(&mut self, path: &Path) -> io::Result<()> {
        let inode = self.find_dir("remove", path)?;
        if inode == ROOT {
            return Err(failure(ErrorKind::InvalidInput, "remove", path, "the root"));
        }
        if self.list(inode).next().is_some() {
            return Err(failure(ErrorKind::DirectoryNotEmpty, "remove", path, "not empty"));
        }
        self.remove(inode, path)
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        check_path("rename", from)?;
        check_path("rename", to)?;
        let absent = || failure(ErrorKind::NotFound, "rename", from, "not found");
        let inode = self.find(from).ok_or_else(absent)?;
        if from == to {
            return Ok(());
        }
        self.check_target(inode, from, to)?;
        let places = (self.place("rename", from)?, self.place("rename", to)?);
        self.change(Change { inode, from: Some(places.0), to: Some(places.1) });
        Ok(())
    }

    /// Makes the names in `dir` durable, with the earlier changes that they build on.
    pub(super) fn sync(&mut self, dir: Inode) {
        let mut wanted = BTreeSet::new();
        let mut places: BTreeSet<Place> = BTreeSet::new();
        let mut inodes = BTreeSet::new();
        for (index, change) in self.pending.iter().enumerate().rev() {
            let mut touched = change.from.iter().chain(&change.to);
            let here = touched.any(|place| place.dir == dir || places.contains(place));
            if here || inodes.contains(&change.inode) {
                wanted.insert(index);
                inodes.insert(change.inode);
                places.extend(change.from.iter().chain(&change.to).cloned());
            }
        }
        for (index, change) in std::mem::take(&mut self.pending).into_iter().enumerate() {
            match wanted.contains(&index) {
                true => self.settle(change),
                false => self.pending.push(change),
            }
        }
    }

    /// Loss of power: each pending change is kept or lost, and what is on the disk is all there is.
    pub(super) fn crash(&mut self, random: &mut Random) {
        let survival = Survival::draw(random);
        for change in std::mem::take(&mut self.pending) {
            if survival.keeps(random) {
                self.settle(change);
            }
        }
        for dir in self.dirs.values_mut() {
            dir.cached = dir.durable.clone();
        }
    }

    /// Every file that has a name, in the cache or on the disk, or may come to have one by a crash.
    /// Folders that do not are forgotten.
    pub(super) fn collect(&mut self) -> BTreeSet<Inode> {
        let mut found = BTreeSet::new();
        let mut open: Vec<Inode> = self.pending.iter().map(|change| change.inode).collect();
        open.push(ROOT);
        while let Some(inode) = open.pop() {
            if found.insert(inode)
                && let Some(dir) = self.dirs.get(&inode)
            {
                open.extend(dir.cached.values().chain(dir.durable.values()));
            }
        }
        self.dirs.retain(|inode, _| found.contains(inode));
        found
    }

    /// Every path in the cache but the root's, in order, and what stands there.
    pub(super) fn walk(&self) -> BTreeMap<PathBuf, Inode> {
        let mut paths = BTreeMap::new();
        let mut open = vec![(PathBuf::new(), ROOT)];
        while let Some((path, inode)) = open.pop() {
            open.extend(self.list(inode).map(|(name, inode)| (path.join(name), inode)));
            paths.insert(path, inode);
        }
        paths.remove(Path::new(""));
        paths
    }

    fn number(&mut self) -> Inode {
        self.next += 1;
        self.next - 1
    }

    /// The folder and name that `path` stands for; the folder must exist.
    fn place(&self, op: &str, path: &Path) -> io::Result<Place> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(failure(ErrorKind::InvalidInput, op, path, "the root"));
        };
        let not_utf8 = || failure(ErrorKind::InvalidInput, op, path, "not UTF-8");
        let name = name.to_str().ok_or_else(not_utf8)?.to_owned();
        Ok(Place { dir: self.find_dir(op, parent)?, name })
    }

    fn remove(&mut self, inode: Inode, path: &Path) -> io::Result<()> {
        let from = self.place("remove", path)?;
        self.change(Change { inode, from: Some(from), to: None });
        Ok(())
    }

    fn check_target(&self, inode: Inode, from: &Path, to: &Path) -> io::Result<()> {
        let refuse = |kind, why| Err(failure(kind, "rename", to, why));
        if to.starts_with(from) {
            return refuse(ErrorKind::InvalidInput, "inside the folder to rename");
        }
        let Some(target) = self.find(to) else {
            return Ok(());
        };
        match (self.is_dir(inode), self.is_dir(target)) {
            (true, false) => refuse(ErrorKind::NotADirectory, "a file"),
            (false, true) => refuse(ErrorKind::IsADirectory, "a folder"),
            (true, true) if self.list(target).next().is_some() => {
                refuse(ErrorKind::DirectoryNotEmpty, "not empty")
            }
            _ => Ok(()),
        }
    }

    /// Changes the cache, and remembers to change the disk.
    fn change(&mut self, change: Change) {
        let of = |dirs: &mut BTreeMap<Inode, Dir>, place: &Place, inode: Option<Inode>| {
            let dir = dirs.get_mut(&place.dir).expect("`place` found the folder");
            match inode {
                Some(inode) => dir.cached.insert(place.name.clone(), inode),
                None => dir.cached.remove(&place.name),
            };
        };
        if let Some(from) = &change.from {
            of(&mut self.dirs, from, None);
        }
        if let Some(to) = &change.to {
            of(&mut self.dirs, to, Some(change.inode));
        }
        self.pending.push(change);
    }

    /// Changes the disk. Changes before this one may have been lost, so the old name is wherever
    /// the disk has it.
    fn settle(&mut self, change: Change) {
        if change.to.as_ref().is_some_and(|to| self.is_below(to.dir, change.inode)) {
            return; // an earlier rename of that folder was lost: it would now contain itself
        }
        for dir in self.dirs.values_mut() {
            dir.durable.retain(|_, inode| *inode != change.inode);
        }
        let Some(to) = change.to else { return };
        if let Some(dir) = self.dirs.get_mut(&to.dir) {
            dir.durable.insert(to.name, change.inode);
        }
    }

    /// Whether folder `inode` is `above` or, on the disk, somewhere below it.
    fn is_below(&self, inode: Inode, above: Inode) -> bool {
        let parent = |inode: &Inode| {
            let mut dirs = self.dirs.iter();
            let found = dirs.find(|(_, dir)| dir.durable.values().any(|child| child == inode));
            found.map(|(dir, _)| *dir)
        };
        std::iter::successors(Some(inode), parent).any(|it| it == above)
    }
}
