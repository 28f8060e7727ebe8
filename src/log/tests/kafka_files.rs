//! The files are Apache Kafka's: names, index entries, snapshots. And they are read and written
//! with as few calls as can be.
//!
//! With `OTTLA_KAFKA_FILES=<folder>` the files stay there, for Kafka's own tools to look at.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{Bytes, BytesMut};

use crate::batch::{BatchBuilder, BatchHeader};
use crate::log::tests::parts::{Rec, batch, opening, small};
use crate::log::{Append, Log, LogConfig, ReadCursor};
use crate::record::Timestamp;
use crate::storage::{DirEntry, FileStorage, SimDisk, Storage, StorageFile};

fn be32(bytes: &[u8]) -> i64 {
    i64::from(u32::from_be_bytes(bytes.try_into().unwrap()))
}

fn be64(bytes: &[u8]) -> i64 {
    i64::from_be_bytes(bytes.try_into().unwrap())
}

/// A few segments of batches, some of an idempotent producer; every sixth timestamp goes back.
fn fill(log: &mut Log, batches: std::ops::Range<i64>) {
    for i in batches {
        let mut builder = BatchBuilder::new(BytesMut::new());
        if i % 3 == 0 {
            builder.set_producer(9, 0, (i / 3) as i32 * 3);
        }
        for j in 0..3 {
            let timestamp = 1_000_000 + i * 100 - if i % 6 == 5 { 450 } else { 0 } + j;
            builder.push(timestamp, Some(b"key"), Some(&[i as u8; 50]), &[]);
        }
        log.append_now(builder.finish()).unwrap();
    }
}

#[test]
fn index_entries_are_kafkas() {
    let keep = std::env::var_os("OTTLA_KAFKA_FILES");
    let scratch = tempfile::tempdir().unwrap();
    let root = keep.map_or(scratch.path().to_owned(), Into::into);
    let config = LogConfig { index_interval_bytes: 500, ..small() };
    let storage = Arc::new(FileStorage::new(&root, 10));
    let open = || Log::open(opening(storage.clone(), config.clone())).unwrap().0;
    let mut log = open();
    fill(&mut log, 0..40);
    drop(log);
    let mut log = open();
    fill(&mut log, 40..80);
    log.close().unwrap();
    let segments = log.shared.segments().clone();
    assert!(segments.len() > 4);
    let read = |base: i64, ending: &str| {
        std::fs::read(root.join("t-0").join(format!("{base:020}.{ending}"))).unwrap()
    };
    for segment in &segments {
        let base = segment.base_offset;
        let (index, times) = (read(base, "index"), read(base, "timeindex"));
        assert_eq!((index.len() % 8, times.len() % 12), (0, 0));
        check_indexes(base, &read(base, "log"), &index, &times);
    }
    let snapshot = root.join("t-0").join(format!("{:020}.snapshot", log.log_end_offset()));
    assert!(snapshot.exists());
}

/// As `LogSegment.append` makes them: an entry where more than the interval was written since the
/// last one; the offset is the batch's last, the time is the greatest so far.
pub(super) fn check_indexes(base: i64, log: &[u8], index: &[u8], times: &[u8]) {
    let (mut position, mut since) = (0, 0);
    let (mut wanted, mut wanted_times) = (Vec::new(), Vec::new());
    let mut max = (i64::MIN, 0);
    while position < log.len() {
        let header = BatchHeader::parse(&log[position..]).unwrap();
        if header.max_timestamp > max.0 {
            max = (header.max_timestamp, header.last_offset() - base);
        }
        if since > 500 {
            wanted.push((header.last_offset() - base, position as i64));
            wanted_times.push(max);
            since = 0;
        }
        since += header.size();
        position += header.size();
    }
    wanted_times.push(max);
    wanted_times.dedup();
    let found: Vec<_> = index.chunks(8).map(|e| (be32(&e[..4]), be32(&e[4..]))).collect();
    assert_eq!(found, wanted);
    let found: Vec<_> = times.chunks(12).map(|e| (be64(&e[..8]), be32(&e[8..]))).collect();
    assert_eq!(found, wanted_times);
}

/// Counts what is asked of a disk.
#[derive(Debug)]
struct Counting {
    disk: SimDisk,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    reads: AtomicUsize,
    appends: AtomicUsize,
}

#[derive(Debug)]
struct CountingFile(Arc<dyn StorageFile>, Arc<Counts>);

impl StorageFile for CountingFile {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read_at(&self, position: u64, len: usize) -> io::Result<Bytes> {
        self.1.reads.fetch_add(1, Ordering::Relaxed);
        self.0.read_at(position, len)
    }

    fn append(&self, position: u64, parts: &[&[u8]]) -> io::Result<()> {
        self.1.appends.fetch_add(1, Ordering::Relaxed);
        self.0.append(position, parts)
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.0.truncate(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync()
    }
}

impl Storage for Counting {
    fn may_block(&self) -> bool {
        false
    }

    fn open(&self, path: &Path, create: bool) -> io::Result<Arc<dyn StorageFile>> {
        let file = self.disk.open(path, create)?;
        Ok(Arc::new(CountingFile(file, self.counts.clone())))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        self.disk.list(dir)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.disk.create_dir(dir)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_file(path)
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        self.disk.remove_dir(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.disk.sync_dir(dir)
    }
}

#[test]
fn a_read_is_one_read_and_a_group_is_one_write() {
    let counts = Arc::new(Counts::default());
    let storage = Arc::new(Counting { disk: SimDisk::new(1), counts: counts.clone() });
    let config = LogConfig { segment_bytes: 1 << 20, ..small() };
    let mut log = Log::open(opening(storage, config)).unwrap().0;
    log.append_now(batch(&[Rec { id: 0, len: 10, timestamp: 1 }])).unwrap();
    let append = |id| Append::new(batch(&[Rec { id, len: id as usize % 90, timestamp: 1 }]));
    let before = counts.appends.load(Ordering::Relaxed);
    let mut group: Vec<Append> = (1..1000).map(append).collect();
    log.append(&mut group, Timestamp::NONE);
    assert_eq!(counts.appends.load(Ordering::Relaxed), before + 1);
    log.sync().unwrap();
    log.publish();
    let reader = log.reader();
    let mut cursor = ReadCursor::new(0, -1);
    let (before, mut calls) = (counts.reads.load(Ordering::Relaxed), 0);
    while !reader.read(&mut cursor, 5_000).unwrap().is_empty() {
        calls += 1;
    }
    assert!(calls > 20);
    assert_eq!(counts.reads.load(Ordering::Relaxed) - before, calls);
    // From anywhere: the batch that the index names is looked at first.
    let before = counts.reads.load(Ordering::Relaxed);
    reader.read(&mut ReadCursor::new(500, -1), 5_000).unwrap();
    assert!(counts.reads.load(Ordering::Relaxed) - before <= 3);
}
