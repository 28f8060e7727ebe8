//! What the common suite does not ask of this storage.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::*;
use crate::storage::conformance;

fn storage(max_open_files: usize) -> (tempfile::TempDir, FileStorage) {
    let dir = tempfile::tempdir().unwrap();
    let storage = FileStorage::new(dir.path(), max_open_files);
    (dir, storage)
}

fn open(storage: &FileStorage, name: &str) -> Arc<dyn StorageFile> {
    storage.open(Path::new(name), true).unwrap()
}

#[test]
fn conforms_with_any_budget() {
    for budget in [1, 2, DEFAULT_MAX_OPEN_FILES] {
        let (_dir, storage) = storage(budget);
        conformance::run(&storage);
    }
}

#[test]
fn the_root_can_be_created() {
    let dir = tempfile::tempdir().unwrap();
    let storage = FileStorage::new(dir.path().join("data"), 4);
    let root = Path::new("");
    assert_eq!(storage.list(root).unwrap_err().kind(), ErrorKind::NotFound);
    storage.create_dir(root).unwrap();
    storage.create_dir(root).unwrap();
    assert_eq!(storage.list(root).unwrap(), []);
}

#[test]
fn errors_name_operation_and_path_and_keep_their_kind() {
    let (dir, storage) = storage(4);
    let error = storage.open(Path::new("absent"), false).unwrap_err();
    let path = dir.path().join("absent");
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().starts_with(&format!("open {}: ", path.display())), "{error}");
}

#[test]
fn many_parts_of_all_sizes_arrive_in_order() {
    let (_dir, storage) = storage(4);
    let sizes = [1, 0, 70_000, MAX_POOLED, 5, MAX_POOLED + 1, 600_000, 600_000, 3];
    let parts: Vec<Vec<u8>> = sizes.iter().zip(1u8..).map(|(size, n)| vec![n; *size]).collect();
    let slices: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
    let file = open(&storage, "a");
    file.append(0, &[b"start"]).unwrap();
    file.append(5, &slices).unwrap();
    let whole = [b"start".as_slice(), &parts.concat()].concat();
    assert!(fs::read(storage.root().join("a")).unwrap() == whole);
}

#[test]
fn an_absurd_length_reads_what_there_is() {
    let (_dir, storage) = storage(4);
    let file = open(&storage, "a");
    file.append(0, &[&[7; 100]]).unwrap();
    assert_eq!(file.read_at(40, usize::MAX).unwrap().len(), 60);
    assert_eq!(file.read_at(100, usize::MAX).unwrap().len(), 0);
    assert_eq!(file.read_at(u64::MAX, 10).unwrap().len(), 0);
}

#[test]
fn a_file_removed_behind_our_back_is_not_made_again() {
    let (dir, storage) = storage(1);
    let file = open(&storage, "a");
    open(&storage, "b"); // evicts the descriptor of `a`
    fs::remove_file(dir.path().join("a")).unwrap();
    assert_eq!(file.append(0, &[b"x"]).unwrap_err().kind(), ErrorKind::NotFound);
    assert!(!dir.path().join("a").exists());
}

#[cfg(unix)]
#[test]
fn links_are_other_and_names_that_are_not_utf8_are_skipped() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    let (dir, storage) = storage(4);
    open(&storage, "file").append(0, &[b"abc"]).unwrap();
    std::os::unix::fs::symlink(dir.path().join("file"), dir.path().join("link")).unwrap();
    fs::write(dir.path().join(OsStr::from_bytes(b"\xff")), "").unwrap();
    let entries = storage.list(Path::new("")).unwrap();
    let found: Vec<_> = entries.iter().map(|it| (it.name.as_str(), it.kind, it.len)).collect();
    assert_eq!(found, [("file", EntryKind::File, 3), ("link", EntryKind::Other, 0)]);
}

/// Eight threads on six files with two descriptors, while two others rename and replace files and
/// folders: every operation gives its own file's bytes or `NotFound`, and all end.
#[test]
fn two_descriptors_serve_eight_threads_amid_renames() {
    let (dir, storage) = storage(2);
    let ended = AtomicBool::new(false);
    storage.create_dir(Path::new("t")).unwrap();
    for n in 0..6 {
        open(&storage, &format!("t/{n}")).append(0, &[&[n; 100]]).unwrap();
    }
    thread::scope(|scope| {
        let users: Vec<_> = (0..8u8)
            .map(|thread| {
                scope.spawn({
                    let storage = &storage;
                    move || (0..500).map(|round| use_one(storage, thread, round)).sum::<usize>()
                })
            })
            .collect();
        let (storage, ended) = (&storage, &ended);
        let movers = [
            scope.spawn(move || {
                while !ended.load(Ordering::Relaxed) {
                    storage.rename(Path::new("t"), Path::new("t-delete")).unwrap();
                    storage.rename(Path::new("t-delete"), Path::new("t")).unwrap();
                }
            }),
            scope.spawn(move || {
                while !ended.load(Ordering::Relaxed) {
                    replace_one(storage);
                }
            }),
        ];
        let served: usize = users.into_iter().map(|user| user.join().unwrap()).sum();
        ended.store(true, Ordering::Relaxed);
        movers.into_iter().for_each(|mover| mover.join().unwrap());
        assert!(served > 0);
    });
    assert_eq!(fs::read_dir(dir.path().join("t")).unwrap().count(), 6);
}

/// Reads and rewrites a file; returns whether it was there all the time.
fn use_one(storage: &FileStorage, thread: u8, round: usize) -> usize {
    let n = ((thread as usize + round) % 6) as u8;
    let used = || -> io::Result<()> {
        let file = storage.open(Path::new(&format!("t/{n}")), false)?;
        for position in [0, 40] {
            let bytes = file.read_at(position, 60)?;
            assert!(bytes.len() == 60 && bytes.iter().all(|byte| *byte == n), "{n}: {bytes:?}");
        }
        file.append(0, &[&[n; 50], &[n; 50]])?;
        assert_eq!(file.len()?, 100);
        Ok(())
    };
    match used() {
        Ok(()) => 1,
        Err(error) if error.kind() == ErrorKind::NotFound => 0,
        Err(error) => panic!("{error}"),
    }
}

/// Replaces a file by one of the same content, unless its folder is just renamed.
fn replace_one(storage: &FileStorage) {
    let made = storage.open(Path::new("new"), true).unwrap();
    made.append(0, &[&[3; 100]]).unwrap();
    match storage.rename(Path::new("new"), Path::new("t/3")) {
        Err(error) if error.kind() != ErrorKind::NotFound => panic!("{error}"),
        _ => {}
    }
}

#[test]
fn nothing_is_changed_without_the_lease() {
    let (_dir, storage) = storage(2);
    let lease = Arc::new("lock");
    let storage = storage.leased(&lease);
    let path = Path::new("a");
    storage.create_dir(Path::new("d")).unwrap();
    let file = storage.open(path, true).unwrap();
    file.append(0, &[b"before"]).unwrap();
    file.sync().unwrap();
    assert_eq!(Arc::strong_count(&lease), 1, "kept for longer than a call");
    drop(lease);
    let refused = [
        storage.open(Path::new("b"), true).map(drop),
        storage.create_dir(Path::new("e")),
        storage.rename(path, Path::new("b")),
        storage.remove_file(path),
        storage.remove_dir(Path::new("d")),
        storage.sync_dir(Path::new("")),
        file.append(6, &[b"after"]),
        file.append(6, &[b"af", b"ter"]),
        file.truncate(0),
        file.sync(),
    ];
    for result in refused {
        let error = result.unwrap_err().to_string();
        assert!(error.ends_with("has been let go of"), "{error}");
    }
    // What is there can be read on.
    assert_eq!(&storage.open(path, false).unwrap().read_at(0, 100).unwrap()[..], b"before");
    assert_eq!(storage.list(Path::new("")).unwrap().len(), 2);
}

#[test]
fn the_lease_is_kept_while_something_is_changed() {
    let (_dir, storage) = storage(2);
    let lease = Arc::new("lock");
    let left = Arc::downgrade(&lease);
    let storage = storage.leased(&lease);
    let mut lease = Some(lease);
    let change = storage.change("try", Path::new("x"), || {
        lease = None;
        assert!(left.upgrade().is_some());
        Ok(())
    });
    change.unwrap();
    assert!(left.upgrade().is_none());
}

#[test]
fn for_reading_nothing_is_opened_for_writing() {
    let (dir, writing) = storage(4);
    writing.open(Path::new("a"), true).unwrap().append(0, &[b"abc"]).unwrap();
    let reading = FileStorage::for_reading(dir.path(), 4);
    let file = reading.open(Path::new("a"), false).unwrap();
    assert_eq!(&file.read_at(0, 10).unwrap()[..], b"abc");
    assert!(file.append(3, &[b"d"]).is_err());
    assert!(reading.open(Path::new("b"), true).is_err());
    assert_eq!(fs::read(dir.path().join("a")).unwrap(), b"abc");
    assert!(!dir.path().join("b").exists());
}
