//! What the common suite does not ask of this storage.

use super::*;
use crate::storage::conformance;

const MIB: usize = 1 << 20;

fn file(storage: &MemoryStorage, name: &str) -> Arc<dyn StorageFile> {
    storage.open(Path::new(name), true).unwrap()
}

#[test]
fn conforms() {
    conformance::run(&MemoryStorage::new(MIB));
}

#[test]
fn append_elsewhere_is_refused() {
    let file = file(&MemoryStorage::new(MIB), "a");
    file.append(0, &[b"abc"]).unwrap();
    for position in [0, 2, 4] {
        let error = file.append(position, &[b"x"]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
    assert_eq!(file.len().unwrap(), 3);
}

#[test]
fn blocks_grow_from_small_to_one_mebibyte_or_what_one_append_takes() {
    assert_eq!(block_size(0, 1), 4 << 10);
    assert_eq!(block_size(4 << 10, 1), 16 << 10);
    assert_eq!(block_size(0, 5 << 10), 16 << 10);
    assert_eq!(block_size(MIB, 1), MIB);
    assert_eq!(block_size(0, MIB + 1), MIB + 1);
    let storage = MemoryStorage::new(64 * MIB);
    for n in 0..1_000 {
        file(&storage, &n.to_string()).append(0, &[&[7; 100]]).unwrap();
    }
    assert!(storage.used() < 1_000 * (5 << 10), "{}", storage.used());
}

#[test]
fn removed_files_are_recycled() {
    let storage = MemoryStorage::new(16 * MIB);
    let mut addresses = std::collections::BTreeSet::new();
    for _ in 0..50 {
        let log = file(&storage, "log");
        for n in 0..4 {
            log.append(n * MIB as u64, &[&vec![n as u8; MIB]]).unwrap();
            addresses.insert(log.read_at(n * MIB as u64, 1).unwrap().as_ptr() as usize);
        }
        assert!((4 * MIB..4 * MIB + 4096).contains(&storage.used()), "{}", storage.used());
        assert_eq!(storage.blocks.idle(), 0);
        storage.remove_file(Path::new("log")).unwrap();
        assert_eq!((storage.used(), storage.blocks.idle()), (0, 4));
    }
    assert_eq!(addresses.len(), 4, "allocations are reused");
}

#[test]
fn blocks_that_wait_for_reuse_leave_room_for_those_in_use() {
    let storage = MemoryStorage::new(4 * MIB);
    for n in 0..4 {
        file(&storage, "log").append(n * MIB as u64, &[&vec![0; MIB]]).unwrap();
    }
    storage.remove_file(Path::new("log")).unwrap();
    assert_eq!(storage.blocks.idle(), 4);
    file(&storage, "small").append(0, &[b"abc"]).unwrap();
    assert_eq!(storage.blocks.idle(), 3);
    file(&storage, "large").append(0, &[&vec![0; 2 * MIB]]).unwrap();
    assert_eq!(storage.blocks.idle(), 1);
}

#[test]
fn what_a_reader_holds_counts_until_it_is_dropped() {
    let storage = MemoryStorage::new(4 * MIB);
    let log = file(&storage, "log");
    log.append(0, &[&[1; MIB]]).unwrap();
    log.append(MIB as u64, &[&[2; MIB]]).unwrap();
    let held = log.read_at(10, 100).unwrap();
    storage.remove_file(Path::new("log")).unwrap();
    assert_eq!(storage.used(), MIB);
    assert_eq!(&held[..], [1; 100]);
    drop(held);
    assert_eq!(storage.used(), 0);
}

#[test]
fn room_is_asked_for_blocks_not_bytes() {
    let storage = MemoryStorage::new(2 * MIB + 8192);
    let log = file(&storage, "log");
    log.append(0, &[&vec![0; MIB]]).unwrap();
    assert!(log.room_for(MIB));
    log.append(MIB as u64, &[&[0; 100]]).unwrap();
    assert!(log.room_for(MIB - 100), "the rest of the last block is already paid for");
    assert!(!log.room_for(MIB));
    let other = file(&storage, "other");
    assert!(other.room_for(1), "a small file still fits");
    let held = log.read_at(0, 1).unwrap();
    log.truncate(0).unwrap();
    assert!(!other.room_for(2 * MIB));
    drop(held);
    assert!(other.room_for(2 * MIB), "retired blocks are looked at before saying no");
}

#[test]
fn truncation_gives_whole_blocks_back() {
    let storage = MemoryStorage::new(16 * MIB);
    let log = file(&storage, "log");
    for n in 0..4 {
        log.append(n * MIB as u64, &[&[n as u8; MIB]]).unwrap();
    }
    log.truncate(MIB as u64 + 5).unwrap();
    assert!((2 * MIB..2 * MIB + 4096).contains(&storage.used()), "{}", storage.used());
    log.append(MIB as u64 + 5, &[b"after"]).unwrap();
    assert_eq!(&log.read_at(MIB as u64 + 5, 9).unwrap()[..], b"after");
    assert_eq!(&log.read_at(MIB as u64, 9).unwrap()[..], [1; 5]);
}

#[test]
fn a_dead_handle_holds_no_memory() {
    let storage = MemoryStorage::new(MIB);
    let log = file(&storage, "log");
    log.append(0, &[&[1; 100]]).unwrap();
    storage.remove_file(Path::new("log")).unwrap();
    assert_eq!(storage.used(), 0);
    assert_eq!(log.len().unwrap_err().kind(), ErrorKind::NotFound);
}
