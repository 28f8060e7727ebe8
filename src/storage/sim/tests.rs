//! What the common suite does not ask of this storage.

use std::collections::BTreeSet;

use super::*;
use crate::storage::{conformance, replace};

fn path(path: &str) -> &Path {
    Path::new(path)
}

fn open(disk: &SimDisk, name: &str) -> Arc<dyn StorageFile> {
    disk.open(path(name), true).unwrap()
}

/// A file that survives everything, and its handle.
fn durable(disk: &SimDisk, name: &str, content: &[u8]) -> Arc<dyn StorageFile> {
    let file = open(disk, name);
    file.append(0, &[content]).unwrap();
    file.sync().unwrap();
    disk.sync_dir(path(name).parent().unwrap()).unwrap();
    file
}

/// All files with their content.
fn dump(disk: &SimDisk) -> Vec<(String, Option<Vec<u8>>)> {
    let entry = |path: PathBuf| (path.to_str().unwrap().to_owned(), disk.read_file(&path));
    disk.paths().into_iter().map(entry).collect()
}

/// What losses of power leave after `run`, over many seeds.
fn power_losses(run: impl Fn(&SimDisk)) -> BTreeSet<Vec<(String, Option<Vec<u8>>)>> {
    let outcome = |seed| {
        let disk = SimDisk::new(seed);
        run(&disk);
        disk.crash_power();
        dump(&disk)
    };
    (0..300).map(outcome).collect()
}

fn files(files: &[(&str, &[u8])]) -> Vec<(String, Option<Vec<u8>>)> {
    files.iter().map(|(name, content)| (name.to_string(), Some(content.to_vec()))).collect()
}

#[track_caller]
fn fails<T>(result: io::Result<T>, text: &str) {
    match result {
        Ok(_) => panic!("{text} expected"),
        Err(error) => assert!(error.to_string().contains(text), "{error}"),
    }
}

#[test]
fn conforms() {
    conformance::run(&SimDisk::new(1));
}

#[test]
fn the_seed_decides_everything() {
    let run = |seed| {
        let disk = SimDisk::new(seed);
        disk.set_fault_rate(0.2);
        let mut failed = Vec::new();
        for n in 0..100u8 {
            let name = format!("{}", n % 7);
            let appended = disk.open(path(&name), true).and_then(|file| {
                file.append(file.len()?, &[&[n; 3_000]])?;
                if n % 3 == 0 { file.sync() } else { disk.sync_dir(path("")) }
            });
            failed.push(appended.map_err(|error| error.to_string()).err());
        }
        disk.clear_faults();
        disk.crash_power();
        (failed, dump(&disk), disk.calls())
    };
    assert!(run(7) == run(7));
    assert!(run(7) != run(8));
}

#[test]
fn a_process_that_dies_loses_its_handles_only() {
    let disk = SimDisk::new(1);
    let process = disk.process();
    let file = open(&process, "a");
    file.append(0, &[b"abc"]).unwrap();
    disk.crash_process();
    fails(file.len(), "crashed process");
    fails(file.sync(), "crashed process");
    fails(process.open(path("a"), false), "crashed process");
    assert_eq!(disk.read_file("a").unwrap(), b"abc");
    assert_eq!(open(&disk.process(), "a").len().unwrap(), 3);
}

#[test]
fn synced_content_under_a_synced_name_survives() {
    let outcomes = power_losses(|disk| {
        durable(disk, "a", b"abc");
    });
    assert_eq!(outcomes, BTreeSet::from([files(&[("a", b"abc")])]));
}

#[test]
fn unsynced_content_is_kept_or_lost() {
    let outcomes = power_losses(|disk| {
        durable(disk, "a", b"abc").append(3, &[b"def"]).unwrap();
    });
    for content in [b"abc".as_slice(), b"abcdef", b"abc\0\0\0"] {
        assert!(outcomes.contains(&files(&[("a", content)])), "{content:?}");
    }
    assert!(outcomes.iter().all(|files| files[0].1.as_ref().unwrap().starts_with(b"abc")));
}

#[test]
fn a_synced_file_under_an_unsynced_name_may_be_lost() {
    let outcomes = power_losses(|disk| {
        let file = open(disk, "a");
        file.append(0, &[b"abc"]).unwrap();
        file.sync().unwrap();
    });
    assert_eq!(outcomes, BTreeSet::from([files(&[]), files(&[("a", b"abc")])]));
}

#[test]
fn a_folder_is_durable_by_its_parent_only() {
    let outcomes = power_losses(|disk| {
        disk.create_dir(path("t")).unwrap();
        durable(disk, "t/a", b"abc");
    });
    let kept = vec![("t".to_owned(), None), ("t/a".to_owned(), Some(b"abc".to_vec()))];
    assert_eq!(outcomes, BTreeSet::from([vec![], kept]));
}

#[test]
fn an_unsynced_removal_may_be_undone() {
    let outcomes = power_losses(|disk| {
        durable(disk, "a", b"abc");
        disk.remove_file(path("a")).unwrap();
    });
    assert_eq!(outcomes, BTreeSet::from([files(&[]), files(&[("a", b"abc")])]));
}

#[test]
fn a_rename_is_all_or_nothing() {
    let outcomes = power_losses(|disk| {
        durable(disk, "a", b"new");
        durable(disk, "b", b"old");
        disk.rename(path("a"), path("b")).unwrap();
        disk.rename(path("b"), path("c")).unwrap();
    });
    let (new, old): (&[u8], &[u8]) = (b"new", b"old");
    let expected = [
        files(&[("a", new), ("b", old)]), // both lost
        files(&[("b", new)]),             // the second lost
        files(&[("b", old), ("c", new)]), // the first lost
        files(&[("c", new)]),
    ];
    assert_eq!(outcomes, BTreeSet::from(expected));
}

#[test]
fn a_replaced_file_is_old_or_new_at_every_step() {
    let steps = {
        let disk = SimDisk::new(0);
        replace(&disk, path("a"), b"new").unwrap();
        disk.calls()
    };
    let mut seen = BTreeSet::new();
    for (seed, step) in (0..50).flat_map(|seed| (0..=steps).map(move |step| (seed, step))) {
        let disk = SimDisk::new(seed);
        durable(&disk, "a", b"old");
        disk.crash_after(step);
        assert_eq!(replace(&disk, path("a"), b"new").is_ok(), step == steps);
        disk.crash_power();
        let content = disk.read_file("a").unwrap();
        assert!(content == b"old" || (content == b"new" && step + 1 >= steps), "{content:?}");
        assert!(step < steps || content == b"new");
        seen.insert(content);
    }
    assert_eq!(seen.len(), 2);
}

#[test]
fn syncing_either_folder_of_a_move_makes_all_of_it_durable() {
    for synced in ["x", "y"] {
        let outcomes = power_losses(|disk| {
            for dir in ["x", "y"] {
                disk.create_dir(path(dir)).unwrap();
            }
            disk.sync_dir(path("")).unwrap();
            let file = open(disk, "x/a");
            file.append(0, &[b"abc"]).unwrap();
            file.sync().unwrap();
            open(disk, "y/a");
            disk.rename(path("x/a"), path("y/a")).unwrap();
            disk.sync_dir(path(synced)).unwrap();
        });
        let moved = [("x", None), ("y", None), ("y/a", Some(b"abc".to_vec()))];
        let moved = moved.map(|(name, content)| (name.to_owned(), content));
        assert_eq!(outcomes, BTreeSet::from([moved.to_vec()]));
    }
}

#[test]
fn a_failed_sync_makes_the_next_one_lie() {
    let disk = SimDisk::new(1);
    let file = durable(&disk, "a", b"abc");
    file.append(3, &[b"def"]).unwrap();
    disk.fail_next(Op::Sync, Fault::SyncFailsOnce);
    fails(file.sync(), "EIO");
    file.sync().unwrap();
    assert_eq!(disk.read_file("a").unwrap(), b"abcdef");
    disk.crash_power();
    assert_eq!(disk.read_file("a").unwrap(), b"abc\0\0\0");
}

#[test]
fn faults_come_as_asked() {
    let disk = SimDisk::new(1);
    let file = durable(&disk, "a", b"abc");
    disk.fail_next(Op::Read, Fault::Eio);
    disk.fail_next(Op::Append, Fault::Enospc);
    disk.fail_next(Op::Append, Fault::ShortWrite);
    assert_eq!(file.append(3, &[b"defghi"]).unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!(file.len().unwrap(), 3);
    fails(file.append(3, &[b"defghi"]), "short write");
    let len = file.len().unwrap();
    assert!((3..9).contains(&len));
    assert_eq!(disk.read_file("a").unwrap(), b"abcdefghi"[..len as usize]);
    fails(file.read_at(0, 1), "EIO");
    file.read_at(0, 1).unwrap();
    disk.fail_at(disk.calls() + 2, Fault::Eio);
    disk.list(path("")).unwrap();
    fails(disk.list(path("")), "EIO");
    disk.fail_next(Op::Any, Fault::Eio);
    fails(disk.rename(path("a"), path("b")), "EIO");
    disk.rename(path("a"), path("b")).unwrap();
    disk.set_fault_rate(1.0);
    disk.list(path("")).unwrap_err();
    disk.set_fault_rate(0.0);
    disk.list(path("")).unwrap();
}

#[test]
fn a_full_disk_has_room_again_after_a_removal() {
    let disk = SimDisk::new(1);
    disk.set_capacity(Some(10));
    durable(&disk, "a", b"abcdef");
    let file = open(&disk, "b");
    let error = file.append(0, &[b"12345"]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StorageFull);
    assert_eq!(disk.read_file("b").unwrap(), b"1234");
    assert_eq!(disk.open(path("c"), true).unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!(disk.create_dir(path("d")).unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!(disk.rename(path("a"), path("e")).unwrap_err().kind(), ErrorKind::StorageFull);
    file.truncate(2).unwrap();
    open(&disk, "c");
    disk.remove_file(path("a")).unwrap();
    file.append(2, &[b"34567890"]).unwrap();
    disk.rename(path("b"), path("c")).unwrap();
}

#[test]
fn the_process_dies_at_the_call_asked_for() {
    let disk = SimDisk::new(1);
    let file = durable(&disk, "a", b"");
    disk.crash_after(1);
    file.append(0, &[b"abc"]).unwrap();
    fails(file.append(3, &[b"def"]), "simulated crash");
    fails(disk.list(path("")), "simulated crash");
    disk.crash_process();
    disk.list(path("")).unwrap();
    let content = disk.read_file("a").unwrap();
    assert!(b"abcdef".starts_with(&content[..]) && content.len() >= 3);
}

#[test]
fn bits_flip_in_cache_and_on_disk() {
    let disk = SimDisk::new(1);
    durable(&disk, "a", &[0; 4]);
    assert!(disk.flip_bit("a", 9));
    assert!(!disk.flip_bit("a", 32));
    assert_eq!(disk.read_file("a").unwrap(), [0, 2, 0, 0]);
    disk.crash_power();
    assert_eq!(disk.read_file("a").unwrap(), [0, 2, 0, 0]);
    let bit = disk.flip_random_bit("a").unwrap();
    assert!(disk.flip_bit("a", bit));
    assert_eq!(disk.read_file("a").unwrap(), [0, 2, 0, 0]);
    assert_eq!(disk.flip_random_bit("absent"), None);
}

#[test]
fn lies_lose_what_was_promised() {
    let lost = power_losses(|disk| {
        disk.set_lie(Lie::SyncDirDoesNothing);
        durable(disk, "a", b"abc");
    });
    assert!(lost.contains(&files(&[])));
    let emptied = power_losses(|disk| {
        disk.set_lie(Lie::SyncDoesNothing);
        durable(disk, "a", b"abc");
    });
    assert!(emptied.contains(&files(&[("a", b"")])));
}
