//! What every storage does alike, as one suite that each of them runs on a fresh instance.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use super::*;

/// Runs all of it in folders of its own.
pub(super) fn run(storage: &dyn Storage) {
    let cases: [(&str, Case); 9] = [
        ("append", append_and_read),
        ("truncate", truncate),
        ("open", open_and_create),
        ("list", list),
        ("remove", remove),
        ("rename", rename),
        ("replace", replace_file),
        ("folders", rename_folder),
        ("paths", paths),
    ];
    for (name, case) in cases {
        storage.create_dir(Path::new(name)).unwrap();
        case(&Fixture { storage, dir: name });
    }
}

type Case = fn(&Fixture<'_>);

struct Fixture<'a> {
    storage: &'a dyn Storage,
    dir: &'a str,
}

impl Fixture<'_> {
    fn path(&self, name: &str) -> std::path::PathBuf {
        Path::new(self.dir).join(name)
    }

    fn file(&self, name: &str, content: &[u8]) -> Arc<dyn StorageFile> {
        let file = self.storage.open(&self.path(name), true).unwrap();
        file.append(file.len().unwrap(), &[content]).unwrap();
        file
    }

    fn content(&self, name: &str) -> Vec<u8> {
        read_whole(self.storage, &self.path(name), 1 << 20).unwrap().to_vec()
    }

    fn names(&self, name: &str) -> Vec<String> {
        let entries = self.storage.list(&self.path(name)).unwrap();
        entries.into_iter().map(|entry| entry.name).collect()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.storage.rename(&self.path(from), &self.path(to))
    }
}

#[track_caller]
fn fails<T>(result: io::Result<T>, kind: ErrorKind) {
    match result {
        Ok(_) => panic!("{kind} expected"),
        Err(error) => assert_eq!(error.kind(), kind, "{error}"),
    }
}

#[track_caller]
fn is_dead(file: &dyn StorageFile) {
    fails(file.len(), ErrorKind::NotFound);
    fails(file.read_at(0, 1), ErrorKind::NotFound);
    fails(file.append(0, &[b"x"]), ErrorKind::NotFound);
    fails(file.truncate(0), ErrorKind::NotFound);
    fails(file.sync(), ErrorKind::NotFound);
}

fn append_and_read(t: &Fixture<'_>) {
    let file = t.file("a", b"");
    assert!(file.is_empty().unwrap());
    assert!(file.room_for(10));
    assert_eq!(file.read_at(0, 10).unwrap().len(), 0);
    file.append(0, &[b"abc", b"", b"defg"]).unwrap();
    file.append(7, &[]).unwrap();
    file.append(7, &[&[b'h'; 10_000]]).unwrap();
    file.sync().unwrap();
    t.storage.sync_dir(Path::new(t.dir)).unwrap();
    assert_eq!(file.len().unwrap(), 10_007);
    assert_eq!(&read_exact_at(&*file, 2, 7).unwrap()[..], b"cdefghh");
    assert_eq!(&file.read_at(10_005, usize::MAX).unwrap()[..], b"hh");
    assert_eq!(file.read_at(10_007, 1).unwrap().len(), 0);
    assert_eq!(file.read_at(u64::MAX, 1).unwrap().len(), 0);
    fails(read_exact_at(&*file, 10_000, 8), ErrorKind::UnexpectedEof);
    let second = t.storage.open(&t.path("a"), false).unwrap();
    second.append(10_007, &[b"!"]).unwrap();
    assert_eq!(file.len().unwrap(), 10_008, "two handles, one file");
}

fn truncate(t: &Fixture<'_>) {
    let file = t.file("a", b"abc");
    file.append(3, &[b"def"]).unwrap();
    fails(file.truncate(7), ErrorKind::InvalidInput);
    file.truncate(6).unwrap();
    let held = file.read_at(3, 3).unwrap();
    file.truncate(4).unwrap();
    assert_eq!(file.len().unwrap(), 4);
    file.append(4, &[b"xyz"]).unwrap();
    assert_eq!(t.content("a"), b"abcdxyz");
    assert_eq!(&held[..], b"def", "bytes once read do not change");
    file.truncate(0).unwrap();
    file.append(0, &[b"new"]).unwrap();
    assert_eq!(t.content("a"), b"new");
}

fn open_and_create(t: &Fixture<'_>) {
    fails(t.storage.open(&t.path("absent"), false), ErrorKind::NotFound);
    fails(t.storage.open(&t.path("absent/a"), true), ErrorKind::NotFound);
    assert!(t.names("").is_empty(), "a failed open makes nothing");
    t.file("a", b"abc");
    t.file("a", b"def");
    assert_eq!(t.content("a"), b"abcdef", "creating what is there keeps it");
    fails(t.storage.open(Path::new(t.dir), true), ErrorKind::IsADirectory);
    fails(t.storage.open(&t.path("a/b"), true), ErrorKind::NotADirectory);
    fails(t.storage.create_dir(&t.path("a")), ErrorKind::AlreadyExists);
    fails(t.storage.create_dir(&t.path("absent/b")), ErrorKind::NotFound);
}

fn list(t: &Fixture<'_>) {
    t.file("b", b"12345");
    t.storage.create_dir(&t.path("dir")).unwrap();
    t.storage.create_dir(&t.path("dir")).unwrap();
    t.file("dir/inner", b"1");
    t.file("a-1", b"");
    t.file("a", b"");
    let entries = t.storage.list(Path::new(t.dir)).unwrap();
    let found: Vec<_> = entries.iter().map(|it| (it.name.as_str(), it.kind, it.len)).collect();
    let (file, dir) = (EntryKind::File, EntryKind::Dir);
    assert_eq!(found, [("a", file, 0), ("a-1", file, 0), ("b", file, 5), ("dir", dir, 0)]);
    fails(t.storage.list(&t.path("absent")), ErrorKind::NotFound);
    fails(t.storage.list(&t.path("b")), ErrorKind::NotADirectory);
    assert!(t.storage.list(Path::new("")).unwrap().iter().any(|entry| entry.name == t.dir));
}

fn remove(t: &Fixture<'_>) {
    let file = t.file("dir-a", b"abc");
    t.storage.create_dir(&t.path("dir")).unwrap();
    t.file("dir/inner", b"");
    let held = file.read_at(0, 3).unwrap();
    t.storage.remove_file(&t.path("dir-a")).unwrap();
    is_dead(&*file);
    t.file("dir-a", b"another");
    is_dead(&*file);
    drop(file);
    assert_eq!(t.content("dir-a"), b"another");
    assert_eq!(&held[..], b"abc");
    fails(t.storage.remove_file(&t.path("absent")), ErrorKind::NotFound);
    fails(t.storage.remove_dir(&t.path("absent")), ErrorKind::NotFound);
    fails(t.storage.remove_dir(&t.path("dir")), ErrorKind::DirectoryNotEmpty);
    fails(t.storage.remove_dir(&t.path("dir-a")), ErrorKind::NotADirectory);
    assert!(t.storage.remove_file(&t.path("dir")).is_err());
    t.storage.remove_file(&t.path("dir/inner")).unwrap();
    t.storage.remove_dir(&t.path("dir")).unwrap();
    assert_eq!(t.names(""), ["dir-a"]);
    fails(t.storage.sync_dir(&t.path("dir")), ErrorKind::NotFound);
}

fn rename(t: &Fixture<'_>) {
    let file = t.file("a", b"abc");
    t.rename("a", "a").unwrap();
    assert_eq!(file.len().unwrap(), 3);
    t.rename("a", "b").unwrap();
    is_dead(&*file);
    assert_eq!(t.content("b"), b"abc");
    assert_eq!(t.names(""), ["b"]);
    t.rename("b", "a").unwrap();
    is_dead(&*file);
    t.rename("a", "b").unwrap();
    fails(t.rename("a", "c"), ErrorKind::NotFound);
    fails(t.rename("a", "a"), ErrorKind::NotFound);
    fails(t.rename("b", "absent/b"), ErrorKind::NotFound);
    let survivor = t.storage.open(&t.path("b"), false).unwrap();
    fails(t.rename("b", "absent/b"), ErrorKind::NotFound);
    assert_eq!(survivor.len().unwrap(), 3, "a failed rename kills no handle");
}

fn replace_file(t: &Fixture<'_>) {
    let new = t.file("new", b"new");
    let old = t.file("old", b"old content");
    t.rename("new", "old").unwrap();
    is_dead(&*new);
    is_dead(&*old);
    assert_eq!(t.content("old"), b"new");
    t.file("old.tmp", b"left by a crash, longer than what follows");
    replace(t.storage, &t.path("old"), b"newer").unwrap();
    assert_eq!(t.content("old"), b"newer");
    assert_eq!(t.names(""), ["old"]);
}

fn rename_folder(t: &Fixture<'_>) {
    for dir in ["t", "t/sub", "full"] {
        t.storage.create_dir(&t.path(dir)).unwrap();
    }
    let (a, beside) = (t.file("t/a", b"a"), t.file("t-1", b"beside"));
    let b = t.file("t/sub/b", b"b");
    t.file("full/x", b"");
    fails(t.rename("t", "full"), ErrorKind::DirectoryNotEmpty);
    assert!(t.rename("t", "t/sub/t").is_err());
    assert!(t.rename("t", "t-1").is_err());
    assert!(t.rename("t-1", "t").is_err());
    assert_eq!(a.len().unwrap(), 1);
    t.rename("t", "u").unwrap();
    is_dead(&*a);
    is_dead(&*b);
    assert_eq!(beside.len().unwrap(), 6);
    assert_eq!(t.names(""), ["full", "t-1", "u"]);
    assert_eq!((t.content("u/a"), t.content("u/sub/b")), (b"a".to_vec(), b"b".to_vec()));
}

fn paths(t: &Fixture<'_>) {
    for path in ["../a", "/a", "a/../../b"] {
        let path = Path::new(path);
        fails(t.storage.open(path, true), ErrorKind::InvalidInput);
        fails(t.storage.list(path), ErrorKind::InvalidInput);
        fails(t.storage.create_dir(path), ErrorKind::InvalidInput);
        fails(t.storage.remove_file(path), ErrorKind::InvalidInput);
        fails(t.storage.remove_dir(path), ErrorKind::InvalidInput);
        fails(t.storage.rename(path, Path::new("x")), ErrorKind::InvalidInput);
        fails(t.storage.rename(Path::new(t.dir), path), ErrorKind::InvalidInput);
    }
    fails(t.storage.remove_dir(Path::new("")), ErrorKind::InvalidInput);
}
