//! Showing what a file of a log holds, in the order of its bytes.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::batch::{Batch, BatchError, DEFAULT_MAX_DECOMPRESSED_BYTES, RecordPosition, RecordView};
use crate::error::{Error, Result};
use crate::log::{FileItem, FileItems};
use crate::record::{Timestamp, TimestampType};
use crate::storage::{EntryKind, FileStorage, Storage};

use super::meaning::meaning;

/// Shows what a file holds: a `.log`, an `.index`, a `.timeindex` or a `.snapshot`, also one that
/// was set aside (`.log.cut-…`) or is not in place yet (`….swap`). Given a partition's folder, all
/// of its `.log`s, in the order of their offsets.
///
/// The offsets that ottla's and Kafka's groups have committed, and ottla's catalog, are put into
/// words: [`DumpedRecord::meaning`].
///
/// Damaged bytes are shown as such, and passed.
///
/// # Errors
/// [`Error::Io`] if it can't be read; [`Error::InvalidState`] for a file of another kind. The
/// iterator ends after the first error.
pub fn dump(path: impl AsRef<Path>) -> Result<Dump> {
    let path = path.as_ref();
    let failed = |error| Error::io(format!("reading {}", path.display()), error);
    // The absolute path has the folder's name, which is the topic's.
    let full = path.canonicalize().map_err(failed)?;
    let is_folder = full.is_dir();
    let dir = if is_folder { Some(full.as_path()) } else { full.parent() };
    let dir = dir.ok_or_else(|| failed(io::ErrorKind::NotADirectory.into()))?;
    let storage = FileStorage::for_reading(dir, 2);
    let files = match full.file_name() {
        Some(name) if !is_folder => VecDeque::from([PathBuf::from(name)]),
        _ => logs(&storage).map_err(failed)?,
    };
    let folder = dir.file_name().map(|name| name.to_string_lossy().into_owned());
    let topic = folder.as_deref().and_then(|name| name.rsplit_once('-')).map(|(topic, _)| topic);
    let topic = topic.unwrap_or_default().to_owned();
    let mut dump = Dump { storage, dir: dir.to_owned(), topic, files, current: None };
    // So that a file of another kind is told of here.
    dump.open_next()?;
    Ok(dump)
}

fn logs(storage: &dyn Storage) -> io::Result<VecDeque<PathBuf>> {
    let entries = storage.list(Path::new(""))?;
    let logs = entries.into_iter().filter(|it| it.kind == EntryKind::File);
    Ok(logs.map(|it| it.name).filter(|it| it.ends_with(".log")).map(PathBuf::from).collect())
}

/// What [`dump`] found, in order.
#[derive(Debug)]
pub struct Dump {
    storage: FileStorage,
    dir: PathBuf,
    topic: String,
    /// Those that are still to be opened.
    files: VecDeque<PathBuf>,
    current: Option<OpenFile>,
}

#[derive(Debug)]
struct OpenFile {
    path: PathBuf,
    items: FileItems,
    /// Whether its name has been given.
    is_told: bool,
}

/// Something in a file. Times are in milliseconds since 1970, positions and lengths in bytes.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Dumped {
    /// The items that follow are of this file.
    File(PathBuf),
    /// A record batch.
    Batch(DumpedBatch),
    /// Bytes that are no record batch.
    #[non_exhaustive]
    Bad {
        /// Where they begin.
        position: u64,
        /// How many they are.
        len: u64,
        /// What is wrong with the first of them.
        why: String,
    },
    /// An entry of an `.index`: the batch with this last offset begins at this position.
    #[non_exhaustive]
    Offset {
        /// The last offset of a batch.
        last_offset: i64,
        /// Where that batch begins.
        position: u64,
    },
    /// An entry of a `.timeindex`: up to this offset, no timestamp is greater.
    #[non_exhaustive]
    Time {
        /// The greatest timestamp so far.
        timestamp: Timestamp,
        /// The last offset of the batch that has it.
        offset: i64,
    },
    /// An idempotent producer in a `.snapshot`.
    #[non_exhaustive]
    Producer {
        /// Its id.
        producer_id: i64,
        /// Its epoch.
        epoch: i16,
        /// The last sequence number and offset that it wrote, if that is remembered.
        last: Option<(i32, i64)>,
        /// When it last wrote.
        timestamp: Timestamp,
    },
}

/// A record batch in a `.log`.
#[derive(Debug, Clone)]
pub struct DumpedBatch {
    position: u64,
    is_sound: bool,
    batch: Batch,
    topic: String,
}

impl DumpedBatch {
    /// Where it begins.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Its length.
    pub fn size(&self) -> usize {
        self.batch.header().size()
    }

    /// Whether its CRC is right.
    pub fn is_sound(&self) -> bool {
        self.is_sound
    }

    /// The CRC that it states.
    pub fn crc(&self) -> u32 {
        self.batch.header().crc
    }

    /// The offset of its first record.
    pub fn base_offset(&self) -> i64 {
        self.batch.header().base_offset
    }

    /// The offset of its last record, also if compaction took that.
    pub fn last_offset(&self) -> i64 {
        self.batch.header().last_offset()
    }

    /// How many records it says that it has.
    pub fn record_count(&self) -> i32 {
        self.batch.header().record_count
    }

    /// The leader epoch that wrote it.
    pub fn leader_epoch(&self) -> i32 {
        self.batch.header().partition_leader_epoch
    }

    /// The greatest of its timestamps, and who set them.
    pub fn max_timestamp(&self) -> (Timestamp, TimestampType) {
        let header = self.batch.header();
        (Timestamp::from_millis(header.max_timestamp), header.timestamp_type())
    }

    /// The idempotent producer that sent it: id, epoch, and the sequence number of its first
    /// record.
    pub fn producer(&self) -> Option<(i64, i16, i32)> {
        let header = self.batch.header();
        let producer = (header.producer_id, header.producer_epoch, header.base_sequence);
        header.has_producer_id().then_some(producer)
    }

    /// How it is compressed: `none`, `gzip`, `snappy`, `lz4` or `zstd`.
    pub fn compression(&self) -> String {
        self.batch.header().compression().to_string()
    }

    /// Whether it is part of a transaction.
    pub fn is_transactional(&self) -> bool {
        self.batch.header().is_transactional()
    }

    /// Whether it is a broker's mark, not a user's records.
    pub fn is_control(&self) -> bool {
        self.batch.header().is_control()
    }

    /// Its records. Ends after the first that can't be read: one of a batch that is not sound, or
    /// compressed with a codec that is not built in, or to more than 64 MiB.
    pub fn records(&self) -> impl Iterator<Item = Result<DumpedRecord, BatchError>> {
        let expanded = self.batch.expanded(DEFAULT_MAX_DECOMPRESSED_BYTES);
        let (batch, error) = match expanded {
            Ok(batch) => (Some(batch), None),
            Err(error) => (None, Some(Err(error))),
        };
        let mut position = RecordPosition::default();
        let records = std::iter::from_fn(move || {
            let record = position.next(batch.as_ref()?)?;
            Some(record.map(|record| self.dumped(&record)))
        });
        error.into_iter().chain(records)
    }

    fn dumped(&self, record: &RecordView<'_>) -> DumpedRecord {
        let share = |bytes: &[u8]| Bytes::copy_from_slice(bytes);
        let owned = |value: Option<&[u8]>| value.map(Bytes::copy_from_slice);
        let headers = record.headers().map(|it| (it.key.into_owned(), it.value.map(share)));
        DumpedRecord {
            offset: record.offset,
            timestamp: record.timestamp,
            key: owned(record.key),
            value: owned(record.value),
            headers: headers.collect(),
            meaning: record.key.and_then(|key| meaning(&self.topic, key, record.value)),
        }
    }
}

/// A record in a `.log`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DumpedRecord {
    /// Its offset.
    pub offset: i64,
    /// Its timestamp.
    pub timestamp: Timestamp,
    /// Its key; `None` is a null key.
    pub key: Option<Bytes>,
    /// Its value; `None` is a null value.
    pub value: Option<Bytes>,
    /// Its headers, in order.
    pub headers: Vec<(String, Option<Bytes>)>,
    /// What it says, if it is the broker's own: of a group's offsets, or of the catalog.
    pub meaning: Option<String>,
}

impl Dump {
    /// Whether there is one more.
    fn open_next(&mut self) -> Result<bool> {
        let Some(file) = self.files.pop_front() else { return Ok(false) };
        let path = self.dir.join(&file);
        let failed = |error| Error::io(format!("reading {}", path.display()), error);
        let Some(items) = FileItems::open(&self.storage, &file).map_err(failed)? else {
            return Err(Error::InvalidState(format!(
                "{} is no .log, .index, .timeindex or .snapshot by its name",
                path.display()
            )));
        };
        self.current = Some(OpenFile { path, items, is_told: false });
        Ok(true)
    }
}

impl Iterator for Dump {
    type Item = Result<Dumped>;

    fn next(&mut self) -> Option<Result<Dumped>> {
        match self.step() {
            Ok(item) => item.map(Ok),
            Err(error) => {
                self.current = None;
                self.files.clear();
                Some(Err(error))
            }
        }
    }
}

impl std::iter::FusedIterator for Dump {}

impl Dump {
    fn step(&mut self) -> Result<Option<Dumped>> {
        loop {
            let Some(file) = &mut self.current else {
                if !self.open_next()? {
                    return Ok(None);
                }
                continue;
            };
            if !std::mem::replace(&mut file.is_told, true) {
                return Ok(Some(Dumped::File(file.path.clone())));
            }
            let failed = |error| Error::io(format!("reading {}", file.path.display()), error);
            match file.items.next_item().map_err(failed)? {
                Some(item) => return Ok(Some(self.dumped(item))),
                None => self.current = None,
            }
        }
    }

    fn dumped(&self, item: FileItem) -> Dumped {
        match item {
            FileItem::Batch { position, batch, is_sound } => {
                let topic = self.topic.clone();
                Dumped::Batch(DumpedBatch { position, is_sound, batch, topic })
            }
            FileItem::Bad { position, len, why } => Dumped::Bad { position, len, why },
            FileItem::Offset { last_offset, position } => Dumped::Offset { last_offset, position },
            FileItem::Time { timestamp, offset } => {
                Dumped::Time { timestamp: Timestamp::from_millis(timestamp), offset }
            }
            FileItem::Producer { producer_id, epoch, last, timestamp } => {
                let timestamp = Timestamp::from_millis(timestamp);
                Dumped::Producer { producer_id, epoch, last, timestamp }
            }
        }
    }
}
