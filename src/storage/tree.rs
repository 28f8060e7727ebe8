//! Folders and files by path, as storages in memory keep them. It knows nothing of content.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::ops::Bound;
use std::path::{Path, PathBuf};

use crate::storage::{DirEntry, EntryKind, check_path, failure};

/// A tree whose files are `T`s. Paths sort by component, so a folder's content follows it.
#[derive(Debug)]
pub(super) struct Tree<T> {
    nodes: BTreeMap<PathBuf, Node<T>>,
}

#[derive(Debug)]
enum Node<T> {
    Dir,
    File(T),
}

impl<T> Tree<T> {
    pub(super) fn new() -> Self {
        Tree { nodes: BTreeMap::from([(PathBuf::new(), Node::Dir)]) }
    }

    /// The file at `path`; made by `create`, if given and there is none.
    pub(super) fn open(
        &mut self,
        path: &Path,
        create: Option<impl FnOnce() -> T>,
    ) -> io::Result<&T> {
        check_path("open", path)?;
        if !self.nodes.contains_key(path) {
            let Some(create) = create else {
                return Err(absent("open", path));
            };
            self.check_parent("open", path)?;
            self.nodes.insert(path.to_owned(), Node::File(create()));
        }
        match self.nodes.get(path) {
            Some(Node::File(file)) => Ok(file),
            _ => Err(failure(ErrorKind::IsADirectory, "open", path, "a folder")),
        }
    }

    /// The names in `dir`, in order.
    fn list(&self, dir: &Path) -> io::Result<impl Iterator<Item = (&str, &Node<T>)>> {
        check_path("list", dir)?;
        self.check_dir("list", dir)?;
        Ok(self.below(dir).filter_map(move |(path, node)| {
            let rest = path.strip_prefix(dir).ok()?;
            let single = rest.components().count() == 1;
            single.then(|| rest.to_str().map(|name| (name, node))).flatten()
        }))
    }

    /// The names in `dir` as a storage lists them; `len` is a file's length.
    pub(super) fn entries(
        &self,
        dir: &Path,
        len: impl Fn(&T) -> Option<u64>,
    ) -> io::Result<Vec<DirEntry>> {
        let entry = |(name, node): (&str, &Node<T>)| {
            let (kind, len) = match node {
                Node::Dir => (EntryKind::Dir, 0),
                Node::File(file) => (EntryKind::File, len(file).unwrap_or(0)),
            };
            DirEntry { name: name.to_owned(), kind, len }
        };
        Ok(self.list(dir)?.map(entry).collect())
    }

    pub(super) fn create_dir(&mut self, dir: &Path) -> io::Result<()> {
        check_path("create", dir)?;
        match self.nodes.get(dir) {
            Some(Node::Dir) => return Ok(()),
            Some(_) => return Err(failure(ErrorKind::AlreadyExists, "create", dir, "a file")),
            None => self.check_parent("create", dir)?,
        }
        self.nodes.insert(dir.to_owned(), Node::Dir);
        Ok(())
    }

    /// Removes the file at `path` and returns it.
    pub(super) fn remove_file(&mut self, path: &Path) -> io::Result<T> {
        check_path("remove", path)?;
        match self.nodes.remove(path) {
            Some(Node::File(file)) => Ok(file),
            None => Err(absent("remove", path)),
            Some(Node::Dir) => {
                self.nodes.insert(path.to_owned(), Node::Dir);
                Err(failure(ErrorKind::IsADirectory, "remove", path, "a folder"))
            }
        }
    }

    pub(super) fn remove_dir(&mut self, dir: &Path) -> io::Result<()> {
        check_path("remove", dir)?;
        self.check_dir("remove", dir)?;
        if dir == Path::new("") {
            return Err(failure(ErrorKind::InvalidInput, "remove", dir, "the root"));
        }
        if self.below(dir).next().is_some() {
            return Err(failure(ErrorKind::DirectoryNotEmpty, "remove", dir, "not empty"));
        }
        self.nodes.remove(dir);
        Ok(())
    }

    /// Moves `from` and all below it. Each moved file is passed through `renamed`, which makes the
    /// file that now stands there; a replaced one is returned.
    pub(super) fn rename(
        &mut self,
        from: &Path,
        to: &Path,
        renamed: impl Fn(T) -> T,
    ) -> io::Result<Option<T>> {
        self.check_rename(from, to)?;
        if from == to {
            return Ok(None);
        }
        let mut paths: Vec<PathBuf> = self.below(from).map(|(path, _)| path.clone()).collect();
        paths.push(from.to_owned());
        let mut replaced = None;
        for path in paths {
            let rest = path.strip_prefix(from).expect("`below` yields paths under `from`");
            let target = if rest == Path::new("") { to.to_owned() } else { to.join(rest) };
            let node = match self.nodes.remove(&path) {
                Some(Node::File(file)) => Node::File(renamed(file)),
                _ => Node::Dir,
            };
            if let Some(Node::File(file)) = self.nodes.insert(target, node) {
                replaced = Some(file);
            }
        }
        Ok(replaced)
    }

    /// Whether `dir` is a folder.
    pub(super) fn check_dir(&self, op: &str, dir: &Path) -> io::Result<()> {
        match self.nodes.get(dir) {
            Some(Node::Dir) => Ok(()),
            Some(_) => Err(failure(ErrorKind::NotADirectory, op, dir, "not a folder")),
            None => Err(absent(op, dir)),
        }
    }

    fn check_rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        check_path("rename", from)?;
        check_path("rename", to)?;
        let refuse = |kind, why| Err(failure(kind, "rename", to, why));
        let Some(node) = self.nodes.get(from) else {
            return Err(absent("rename", from));
        };
        self.check_parent("rename", to)?;
        if from != to && to.starts_with(from) {
            return refuse(ErrorKind::InvalidInput, "inside the folder to rename");
        }
        match (node, self.nodes.get(to)) {
            (Node::Dir, Some(Node::File(_))) => refuse(ErrorKind::NotADirectory, "a file"),
            (Node::File(_), Some(Node::Dir)) => refuse(ErrorKind::IsADirectory, "a folder"),
            (Node::Dir, Some(Node::Dir)) if self.below(to).next().is_some() => {
                refuse(ErrorKind::DirectoryNotEmpty, "not empty")
            }
            _ => Ok(()),
        }
    }

    fn check_parent(&self, op: &str, path: &Path) -> io::Result<()> {
        match path.parent() {
            Some(parent) => self.check_dir(op, parent),
            None => Err(failure(ErrorKind::InvalidInput, op, path, "the root")),
        }
    }

    /// Everything below `dir`, itself not counted, in order.
    fn below(&self, dir: &Path) -> impl Iterator<Item = (&PathBuf, &Node<T>)> {
        let after = self.nodes.range::<Path, _>((Bound::Excluded(dir), Bound::Unbounded));
        after.take_while(move |(path, _)| path.starts_with(dir))
    }
}

fn absent(op: &str, path: &Path) -> io::Error {
    failure(ErrorKind::NotFound, op, path, "not found")
}
