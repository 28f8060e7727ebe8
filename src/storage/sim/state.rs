//! The disk behind its lock: names, pages, dice and the plan of faults, put together.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use super::faults::{Failure, Fault, Faults, Lie, Op};
use super::names::{Inode, Names};
use super::pages::Pages;
use super::random::Random;
use crate::storage::{DirEntry, EntryKind};

#[derive(Debug)]
pub(super) struct State {
    pub(super) names: Names,
    pub(super) faults: Faults,
    /// Bytes that all files together may have.
    pub(super) capacity: Option<u64>,
    pub(super) lies: BTreeSet<Lie>,
    /// The number of the process, one more after each crash.
    pub(super) process: u64,
    files: BTreeMap<Inode, Pages>,
    random: Random,
}

impl State {
    pub(super) fn new(seed: u64) -> Self {
        State {
            names: Names::new(),
            faults: Faults::default(),
            capacity: None,
            lies: BTreeSet::new(),
            process: 0,
            files: BTreeMap::new(),
            random: Random::new(seed),
        }
    }

    pub(super) fn on_call(&mut self, op: Op) -> Result<(), Failure> {
        self.faults.on_call(op, &mut self.random)
    }

    pub(super) fn clear_faults(&mut self) {
        let Faults { calls, last, .. } = self.faults;
        self.faults = Faults { calls, last, ..Faults::default() };
        self.capacity = None;
        self.lies.clear();
    }

    /// A file that has a name.
    pub(super) fn file(&mut self, inode: Inode) -> &mut Pages {
        self.files.get_mut(&inode).expect("what has a name and is no folder is a file")
    }

    pub(super) fn open(&mut self, path: &Path, create: bool) -> io::Result<Inode> {
        match self.names.find_file("open", path) {
            Err(error) if create && error.kind() == io::ErrorKind::NotFound => {
                self.check_room("open", path)?;
                let inode = self.names.create_file(path)?;
                self.files.insert(inode, Pages::default());
                Ok(inode)
            }
            result => result,
        }
    }

    pub(super) fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let dir = self.names.find_dir("list", dir)?;
        let entry = |(name, inode): (&String, Inode)| {
            let file = self.files.get(&inode);
            DirEntry {
                name: name.clone(),
                kind: if file.is_some() { EntryKind::File } else { EntryKind::Dir },
                len: file.map_or(0, |file| file.cached().len() as u64),
            }
        };
        Ok(self.names.list(dir).map(entry).collect())
    }

    pub(super) fn create_dir(&mut self, dir: &Path) -> io::Result<()> {
        if self.names.find(dir).is_none() {
            self.check_room("create", dir)?;
        }
        self.names.create_dir(dir)
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        if self.names.find(from).is_some() && self.names.find(to).is_none() {
            self.check_room("rename", to)?;
        }
        self.names.rename(from, to)?;
        if from != to {
            for (path, inode) in self.names.walk() {
                let file = self.files.get_mut(&inode).filter(|_| path.starts_with(to));
                file.into_iter().for_each(Pages::note_move);
            }
        }
        Ok(())
    }

    /// Appends what the verdict and the capacity let through.
    pub(super) fn append(
        &mut self,
        inode: Inode,
        bytes: &[u8],
        verdict: Result<(), Failure>,
    ) -> Result<(), Failure> {
        let wanted = match verdict {
            Ok(()) => bytes.len(),
            Err(failure) if failure.writes_part() => self.random.below(bytes.len() as u64) as usize,
            Err(_) => 0,
        };
        let room = usize::try_from(self.room()).unwrap_or(usize::MAX);
        self.file(inode).append(&bytes[..wanted.min(room)]);
        verdict?;
        match wanted <= room {
            true => Ok(()),
            false => Err(Failure::Fault(Fault::Enospc)),
        }
    }

    pub(super) fn sync(
        &mut self,
        inode: Inode,
        verdict: Result<(), Failure>,
    ) -> Result<(), Failure> {
        if verdict == Err(Failure::Fault(Fault::SyncFailsOnce)) {
            self.file(inode).lose_dirty();
        }
        verdict?;
        if !self.lies.contains(&Lie::SyncDoesNothing) {
            self.file(inode).sync();
        }
        Ok(())
    }

    pub(super) fn sync_dir(&mut self, dir: &Path) -> io::Result<()> {
        let dir = self.names.find_dir("sync", dir)?;
        if !self.lies.contains(&Lie::SyncDirDoesNothing) {
            self.names.sync(dir);
            self.collect();
        }
        Ok(())
    }

    pub(super) fn crash_process(&mut self) {
        self.process += 1;
        self.faults.last = None;
    }

    pub(super) fn crash_power(&mut self) {
        self.crash_process();
        self.names.crash(&mut self.random);
        self.collect();
        for file in self.files.values_mut() {
            file.crash(&mut self.random);
        }
    }

    pub(super) fn evict_clean_pages(&mut self) {
        self.files.values_mut().for_each(Pages::evict);
    }

    pub(super) fn content(&self, path: &Path) -> Option<Vec<u8>> {
        let file = self.files.get(&self.names.find(path)?)?;
        Some(file.cached().to_vec())
    }

    pub(super) fn flip_bit(&mut self, path: &Path, bit: u64) -> bool {
        let inode = self.names.find(path);
        inode.and_then(|inode| self.files.get_mut(&inode)).is_some_and(|file| file.flip_bit(bit))
    }

    pub(super) fn flip_random_bit(&mut self, path: &Path) -> Option<u64> {
        let bits = self.content(path)?.len() as u64 * 8;
        let bit = self.random.below(bits);
        self.flip_bit(path, bit).then_some(bit)
    }

    /// A new name needs a byte of room, which it does not take.
    fn check_room(&self, op: &str, path: &Path) -> io::Result<()> {
        match self.room() {
            0 => Err(Failure::Fault(Fault::Enospc).error(op, path)),
            _ => Ok(()),
        }
    }

    /// Bytes that can still be written. What is removed is free at once.
    fn room(&self) -> u64 {
        let Some(capacity) = self.capacity else {
            return u64::MAX;
        };
        let named = self.names.walk().into_values();
        let files = named.filter_map(|inode| self.files.get(&inode));
        capacity.saturating_sub(files.map(|file| file.cached().len() as u64).sum())
    }

    /// Forgets files that have no name and cannot come to have one.
    fn collect(&mut self) {
        let found = self.names.collect();
        self.files.retain(|inode, _| found.contains(inode));
    }
}
