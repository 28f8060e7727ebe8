//! What stands in a log's files, one after the other, without opening the log.

use std::collections::VecDeque;
use std::io;
use std::path::Path;

use crate::batch::{Batch, BatchHeader, HEADER_LEN, check_crc};
use crate::storage::{Storage, read_exact_at, read_whole};

use super::index::{Entry, OffsetEntry, TimeEntry};
use super::producer_snapshot::{MAX_SNAPSHOT_BYTES, snapshot_offset};
use super::producers::ProducerState;
use super::scan::{Step, Walk};
use super::segment::{Indexes, Segment, base_offset_in};
use super::verify::Entries;

/// How much is read at a time.
const CHUNK: usize = 1 << 20;

/// How many index entries are read at a time.
const ENTRIES: usize = 1000;

/// Something in a log's file.
#[derive(Debug)]
pub enum FileItem {
    /// A record batch.
    Batch {
        /// Where it begins.
        position: u64,
        /// The batch.
        batch: Batch,
        /// Whether its CRC is right.
        is_sound: bool,
    },
    /// Bytes that are no batch.
    Bad {
        /// Where they begin.
        position: u64,
        /// How many they are.
        len: u64,
        /// What is wrong with the first of them.
        why: String,
    },
    /// An entry of an `.index`.
    Offset {
        /// The last offset of a batch.
        last_offset: i64,
        /// Where that batch begins.
        position: u64,
    },
    /// An entry of a `.timeindex`.
    Time {
        /// The greatest timestamp so far, in milliseconds.
        timestamp: i64,
        /// The last offset of the batch that has it.
        offset: i64,
    },
    /// An idempotent producer of a `.snapshot`.
    Producer {
        /// Its id.
        producer_id: i64,
        /// Its epoch.
        epoch: i16,
        /// The last sequence number and offset that it wrote, if that is remembered.
        last: Option<(i32, i64)>,
        /// When, in milliseconds.
        timestamp: i64,
    },
}

/// The items of one file, in order.
#[derive(Debug)]
pub struct FileItems {
    rest: Rest,
    ready: VecDeque<FileItem>,
}

enum Rest {
    Log { segment: Box<Segment>, position: u64, expected: i64 },
    Index(Entries<OffsetEntry>),
    TimeIndex(Entries<TimeEntry>),
    Nothing,
}

impl std::fmt::Debug for Rest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Rest::Log { .. } => "Log",
            Rest::Index(_) => "Index",
            Rest::TimeIndex(_) => "TimeIndex",
            Rest::Nothing => "Nothing",
        })
    }
}

impl FileItems {
    /// Opens a file by its name's ending. `None` if it is none that can be read here.
    pub fn open(storage: &dyn Storage, path: &Path) -> io::Result<Option<FileItems>> {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let mut ready = VecDeque::new();
        let rest = if let Some(base) = base_of(name, "log") {
            let file = storage.open(path, false)?;
            let len = file.len()?;
            let mut segment = Segment::new(base, file, len, Indexes::empty(base));
            segment.sparse = true;
            Rest::Log { segment: Box::new(segment), position: 0, expected: base }
        } else if let Some(base) = base_of(name, "index") {
            Rest::Index(Entries::open(storage, path, base)?)
        } else if let Some(base) = base_of(name, "timeindex") {
            Rest::TimeIndex(Entries::open(storage, path, base)?)
        } else if snapshot_offset(name).is_some() {
            ready = producers(storage, path)?;
            Rest::Nothing
        } else {
            return Ok(None);
        };
        Ok(Some(FileItems { rest, ready }))
    }

    /// The next one; `None` at the end.
    pub fn next_item(&mut self) -> io::Result<Option<FileItem>> {
        if self.ready.is_empty() {
            match &mut self.rest {
                Rest::Log { segment, position, expected } => {
                    (*position, *expected) =
                        read_batches(segment, (*position, *expected), &mut self.ready)?;
                }
                Rest::Index(entries) => read_entries(entries, &mut self.ready, |entry| {
                    let OffsetEntry { last_offset, position } = entry;
                    FileItem::Offset { last_offset, position }
                })?,
                Rest::TimeIndex(entries) => read_entries(entries, &mut self.ready, |entry| {
                    let TimeEntry { timestamp, offset } = entry;
                    FileItem::Time { timestamp, offset }
                })?,
                Rest::Nothing => {}
            }
        }
        Ok(self.ready.pop_front())
    }
}

/// A segment's file, or what was set aside of one, or is not in place.
fn base_of(name: &str, ending: &str) -> Option<i64> {
    let stem = name.strip_suffix(".cleaned").or(name.strip_suffix(".swap")).unwrap_or(name);
    let stem = stem.split_once(".cut-").map_or(stem, |(stem, _)| stem);
    base_offset_in(stem, ending)
}

/// Reads some batches; returns where to go on.
fn read_batches(
    segment: &Segment,
    (start, expected): (u64, i64),
    ready: &mut VecDeque<FileItem>,
) -> io::Result<(u64, i64)> {
    let mut walk = Walk::new(segment, start, expected, CHUNK).verifying(false);
    while walk.position() - start < CHUNK as u64 {
        let position = walk.position();
        match walk.next(|_| true)? {
            Step::Batch(batch) => {
                let is_sound = check_crc(batch.bytes()).is_ok();
                ready.push_back(FileItem::Batch { position, batch, is_sound });
            }
            Step::Bad => {
                let why = why(segment, position)?;
                walk.pass_bad(i64::MAX, |_| true)?;
                let len = walk.position() - position;
                ready.push_back(FileItem::Bad { position, len, why });
            }
            Step::End => break,
        }
    }
    Ok((walk.position(), walk.expected()))
}

fn why(segment: &Segment, position: u64) -> io::Result<String> {
    let left = segment.size() - position;
    let len = usize::try_from(left).unwrap_or(HEADER_LEN).min(HEADER_LEN);
    let header = BatchHeader::parse(&read_exact_at(&*segment.file, position, len)?);
    Ok(match header {
        Ok(header) => format!("only {left} bytes of a batch of {}", header.size()),
        Err(error) => error.to_string(),
    })
}

fn read_entries<E: Entry>(
    entries: &mut Entries<E>,
    ready: &mut VecDeque<FileItem>,
    item: impl Fn(E) -> FileItem,
) -> io::Result<()> {
    for _ in 0..ENTRIES {
        let Some((_, entry)) = entries.next()? else { break };
        ready.push_back(item(entry));
    }
    Ok(())
}

fn producers(storage: &dyn Storage, path: &Path) -> io::Result<VecDeque<FileItem>> {
    let bytes = read_whole(storage, path, MAX_SNAPSHOT_BYTES)?;
    let state = ProducerState::decode(&bytes, usize::MAX)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
    let item = |(id, producer): (&i64, &super::producers::Producer)| FileItem::Producer {
        producer_id: *id,
        epoch: producer.epoch,
        last: producer.batches().last().map(|batch| (batch.last_sequence, batch.last_offset)),
        timestamp: producer.last_timestamp,
    };
    Ok(state.producers.iter().map(item).collect())
}
