//! Files of a data directory, and harm done to them.

use std::fs;
use std::path::{Path, PathBuf};

/// Copies a folder as it is now: what a `kill -9` would have left at this moment, provided that
/// nothing is being written.
pub(crate) fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy_dir(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).unwrap()),
        }
    }
}

/// The only file with this extension in a folder.
pub(crate) fn file_in(dir: &Path, extension: &str) -> PathBuf {
    let all = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<_> =
        all.filter(|it| it.extension().is_some_and(|e| e == extension)).collect();
    assert_eq!(found.len(), 1, "one .{extension} in {}: {found:?}", dir.display());
    found.remove(0)
}

/// Flips one bit of the byte at `position`.
pub(crate) fn flip_bit(path: &Path, position: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[position] ^= 0x10;
    fs::write(path, bytes).unwrap();
}

/// Cuts the last `bytes` bytes off.
pub(crate) fn truncate_file(path: &Path, bytes: u64) {
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_len(file.metadata().unwrap().len() - bytes).unwrap();
}
