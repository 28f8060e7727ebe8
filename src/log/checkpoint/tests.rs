//! Kafka's own files, damaged files, and the way to a storage and back.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::log::epochs::LeaderEpochs;
use crate::storage::{DirEntry, StorageFile};

// Both written by Apache Kafka 4.1.0's own classes.
const KAFKA_METADATA: &[u8] = b"version: 0\ntopic_id: AQIDBAUGBwgJCgsMDQ4PEA";
const KAFKA_RECOVERY_POINT: &[u8] = b"0\n1\norders 3 21\n";

#[test]
fn files_are_what_kafka_writes() {
    let id = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16];
    let metadata = PartitionMetadata { topic_id: TopicId(id) };
    assert_eq!(PartitionMetadata::decode(KAFKA_METADATA).unwrap(), metadata);
    assert_eq!(metadata.encode(), KAFKA_METADATA);

    let partition = TopicPartition::new("orders", 3).unwrap();
    let point = RecoveryPoint { partition, offset: 21 };
    assert_eq!(RecoveryPoint::decode(KAFKA_RECOVERY_POINT).unwrap(), point);
    // Twice, for want of a checksum.
    assert_eq!(point.encode(), b"0\n2\norders 3 21\norders 3 21\n");
    assert_eq!(RecoveryPoint::decode(&point.encode()).unwrap(), point);
}

#[test]
fn what_is_wrong_is_said_with_its_line() {
    for (content, line) in [
        (&b""[..], 1),
        (b"version 0\ntopic_id: AQIDBAUGBwgJCgsMDQ4PEA", 1),
        (b"version: x\ntopic_id: AQIDBAUGBwgJCgsMDQ4PEA", 1),
        (b"version: 0\n", 2),
        (b"version: 0\ntopic_id: AQIDBAUGBwgJCgsMDQ4PE", 2),
        (b"version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAA", 2),
        (b"version: 0\ntopic_id: AQIDBAUGBwgJCgsMDQ4PEA\nmore", 3),
    ] {
        assert_malformed(PartitionMetadata::decode(content), line, content);
    }
    for (content, line) in [
        (&b""[..], 2),
        (b"x\n", 1),
        (b"0\n", 2),
        (b"0\n-1\n", 2),
        (b"0\n0\n", 2),
        (b"0\n2\norders 3 21\n", 4),
        (b"0\n99999999999\norders 3 21\n", 2),
        (b"0\n1\norders 3 21", 3),
        (b"0\n1\norders 3\n", 3),
        (b"0\n1\norders 3 21 4\n", 3),
        (b"0\n1\norders -3 21\n", 3),
        (b"0\n1\norders 3 -21\n", 3),
        (b"0\n1\nor/ders 3 21\n", 3),
        (b"0\n1\norders 3 21\norders 4 21\n", 4),
        (b"0\n2\norders 3 21\norders 4 21\n", 2),
        (b"0\n2\norders 3 21\norders 3 25\n", 2),
        (b"0\n3\norders 3 21\norders 3 21\norders 3 21\n", 2),
        (b"0\n1\norders 3 \xff\n", 3),
    ] {
        assert_malformed(RecoveryPoint::decode(content), line, content);
    }
    let error = RecoveryPoint::decode(b"7\n1\norders 3 21\n").unwrap_err().to_string();
    assert_eq!(error, "recovery-point-offset-checkpoint has unknown version 7, expected 0");
}

fn assert_malformed<T>(found: Result<T, CheckpointError>, expected: usize, content: &[u8]) {
    let text = String::from_utf8_lossy(content);
    match found {
        Err(CheckpointError::Malformed { line, .. }) => assert_eq!(line, expected, "{text:?}"),
        Err(other) => panic!("{text:?}: {other}"),
        Ok(_) => panic!("{text:?} was accepted"),
    }
}

proptest! {
    #[test]
    fn no_bytes_make_a_decoder_panic(
        which in 0..2usize, at in 0..64usize, byte: u8, tail in ".{0,20}",
    ) {
        let mut content = [KAFKA_METADATA, KAFKA_RECOVERY_POINT][which].to_vec();
        let at = at % content.len();
        content[at] = byte;
        content.extend_from_slice(tail.as_bytes());
        // Whatever is accepted is also written so that it is read back.
        if let Ok(metadata) = PartitionMetadata::decode(&content) {
            prop_assert_eq!(PartitionMetadata::decode(&metadata.encode()).unwrap(), metadata);
        }
        if let Ok(point) = RecoveryPoint::decode(&content) {
            prop_assert_eq!(RecoveryPoint::decode(&point.encode()).unwrap(), point);
        }
        if let Ok(epochs) = LeaderEpochs::decode(&content) {
            prop_assert_eq!(LeaderEpochs::decode(&epochs.encode()).unwrap(), epochs);
        }
    }
}

#[test]
fn stored_files_load_and_an_absent_one_is_none() {
    let (tree, dir) = (Tree::default(), Path::new("orders-3"));
    assert_eq!(PartitionMetadata::load(&tree, dir).unwrap(), None);
    assert_eq!(RecoveryPoint::load(&tree, dir).unwrap(), None);
    assert_eq!(LeaderEpochs::load(&tree, dir).unwrap(), None);

    let metadata = PartitionMetadata { topic_id: TopicId([7; 16]) };
    let partition = TopicPartition::new("orders", 3).unwrap();
    let point = RecoveryPoint { partition, offset: i64::MAX };
    let mut epochs = LeaderEpochs::new();
    epochs.assign(4, 0);
    for _ in 0..2 {
        metadata.store(&tree, dir).unwrap();
        point.store(&tree, dir).unwrap();
        epochs.store(&tree, dir).unwrap();
    }
    let names: Vec<_> = tree.files().keys().map(|it| it.display().to_string()).collect();
    let expected = [
        "orders-3/leader-epoch-checkpoint",
        "orders-3/partition.metadata",
        "orders-3/recovery-point-offset-checkpoint",
    ];
    assert_eq!(names, expected, "no temporary file is left");
    assert_eq!(PartitionMetadata::load(&tree, dir).unwrap(), Some(metadata));
    assert_eq!(RecoveryPoint::load(&tree, dir).unwrap(), Some(point));
    assert_eq!(LeaderEpochs::load(&tree, dir).unwrap(), Some(epochs));
}

#[test]
fn a_long_file_is_refused_and_a_failed_read_is_not_damage() {
    let (tree, dir) = (Tree::default(), Path::new("orders-3"));
    let path = dir.join(RECOVERY_POINT_FILE);
    tree.files().insert(path.clone(), vec![b' '; MAX_CHECKPOINT_BYTES + 1]);
    let error = RecoveryPoint::load(&tree, dir).unwrap_err();
    assert!(matches!(error, CheckpointError::TooLong { .. }), "{error}");

    tree.files().insert(path, UNREADABLE.to_vec());
    let error = RecoveryPoint::load(&tree, dir).unwrap_err();
    assert!(matches!(error, CheckpointError::Io { .. }), "{error}");
}

/// The content of a file that cannot be read.
const UNREADABLE: &[u8] = b"unreadable";

/// As much of a storage as small files need.
#[derive(Debug, Default, Clone)]
struct Tree(Arc<Mutex<BTreeMap<PathBuf, Vec<u8>>>>);

impl Tree {
    fn files(&self) -> MutexGuard<'_, BTreeMap<PathBuf, Vec<u8>>> {
        self.0.lock().unwrap()
    }
}

impl Storage for Tree {
    fn may_block(&self) -> bool {
        false
    }
    fn open(&self, path: &Path, create: bool) -> io::Result<Arc<dyn StorageFile>> {
        if create {
            self.files().entry(path.to_owned()).or_default();
        } else if !self.files().contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(Arc::new(File { tree: self.clone(), path: path.to_owned() }))
    }
    fn list(&self, _: &Path) -> io::Result<Vec<DirEntry>> {
        unreachable!("no test asks for it")
    }
    fn create_dir(&self, _: &Path) -> io::Result<()> {
        unreachable!("no test asks for it")
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.files().remove(path).map(drop).ok_or(io::ErrorKind::NotFound.into())
    }
    fn remove_dir(&self, _: &Path) -> io::Result<()> {
        unreachable!("no test asks for it")
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let content = self.files().remove(from).unwrap();
        self.files().insert(to.to_owned(), content);
        Ok(())
    }
    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Debug)]
struct File {
    tree: Tree,
    path: PathBuf,
}

impl StorageFile for File {
    fn len(&self) -> io::Result<u64> {
        Ok(self.tree.files()[&self.path].len() as u64)
    }
    fn read_at(&self, position: u64, len: usize) -> io::Result<Bytes> {
        let content = self.tree.files()[&self.path].clone();
        if content == UNREADABLE {
            return Err(io::Error::other("the disk is on fire"));
        }
        let start = position as usize;
        Ok(Bytes::from(content).slice(start..start + len))
    }
    fn append(&self, position: u64, parts: &[&[u8]]) -> io::Result<()> {
        let mut files = self.tree.files();
        let content = files.get_mut(&self.path).unwrap();
        assert_eq!(position, content.len() as u64);
        content.extend(parts.concat());
        Ok(())
    }
    fn truncate(&self, _: u64) -> io::Result<()> {
        unreachable!("no test asks for it")
    }
    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}
