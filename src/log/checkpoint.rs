//! The small text files beside a partition's segments, in Apache Kafka's own formats.
//!
//! * `partition.metadata` holds the topic id (Kafka: `PartitionMetadataFile`).
//! * `recovery-point-offset-checkpoint` holds an offset (Kafka: `OffsetCheckpointFile`). Kafka
//!   keeps one for a whole data directory; here each partition folder has its own, with one line.
//! * `cleaner-offset-checkpoint` holds the offset up to which the log is compacted. Kafka's, again,
//!   is one for a whole data directory.
//!
//! The last two share their outer shape, *version, count, one line an item*, with
//! `leader-epoch-checkpoint` (see [`super::epochs`]).
//!
//! A damaged file is a typed error for the caller to act on, never a panic and never an empty
//! answer. Files are replaced whole: after a crash the old or the new content is there.

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::storage::{self, Storage};
use crate::topic::{TopicId, TopicName, TopicPartition};

/// The name of the file that says which topic a partition's folder belongs to.
pub const PARTITION_METADATA_FILE: &str = "partition.metadata";

/// The name of the file that holds a [`RecoveryPoint`].
pub(super) const RECOVERY_POINT_FILE: &str = "recovery-point-offset-checkpoint";

/// The name of the file that holds a [`CleanerOffset`].
pub(super) const CLEANER_OFFSET_FILE: &str = "cleaner-offset-checkpoint";

/// The longest checkpoint file that is read, in bytes.
pub(super) const MAX_CHECKPOINT_BYTES: usize = 1 << 20;

/// All these formats are at version 0, in Kafka 4 as in Kafka 0.11.
const VERSION: i32 = 0;

/// What a partition's folder says about its topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PartitionMetadata {
    /// Tells the topic from an earlier or later one of the same name.
    pub(super) topic_id: TopicId,
}

impl PartitionMetadata {
    /// The file's content.
    pub(super) fn encode(&self) -> Vec<u8> {
        // Kafka writes no newline at the end.
        format!("version: {VERSION}\ntopic_id: {}", self.topic_id).into_bytes()
    }

    /// Reads what [`encode`](Self::encode) or Kafka wrote.
    pub(super) fn decode(content: &[u8]) -> Result<Self, CheckpointError> {
        let file = PARTITION_METADATA_FILE;
        let mut lines = Lines::new(file, content)?;
        let version = lines.field("version")?.parse().map_err(|_| malformed(file, 1))?;
        if version != VERSION {
            return Err(CheckpointError::UnknownVersion { file, version });
        }
        let topic_id = TopicId::parse(lines.field("topic_id")?).ok_or(malformed(file, 2))?;
        lines.end()?;
        // Kafka's Uuid.ZERO_UUID stands for "no id": a topic never has it.
        if topic_id == TopicId([0; 16]) {
            return Err(malformed(file, 2));
        }
        Ok(PartitionMetadata { topic_id })
    }

    /// Reads the file in `dir`; `None` if there is none.
    pub(super) fn load(storage: &dyn Storage, dir: &Path) -> Result<Option<Self>, CheckpointError> {
        load(storage, dir, PARTITION_METADATA_FILE, Self::decode)
    }

    /// Replaces the file in `dir`, durably.
    pub(super) fn store(&self, storage: &dyn Storage, dir: &Path) -> io::Result<()> {
        storage::replace(storage, &dir.join(PARTITION_METADATA_FILE), &self.encode())
    }
}

/// The offset below which everything in a partition's log is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RecoveryPoint {
    /// Whose log; the caller compares it with the folder the file was found in.
    pub(super) partition: TopicPartition,
    /// The first offset that may not be durable.
    pub(super) offset: i64,
}

impl RecoveryPoint {
    /// The file's content. The line stands there twice: the format has no checksum, and what a
    /// point that is too high claims to be durable would be neither looked at nor synced.
    pub(super) fn encode(&self) -> Vec<u8> {
        let TopicPartition { topic, partition } = &self.partition;
        let offset = self.offset;
        let line = || format!("{topic} {partition} {offset}");
        encode_lines([line(), line()])
    }

    /// Reads what [`encode`](Self::encode) wrote, or Kafka for a directory of one partition.
    pub(super) fn decode(content: &[u8]) -> Result<Self, CheckpointError> {
        let mut items =
            decode_lines(RECOVERY_POINT_FILE, content, |[topic, partition, offset]| {
                let partition = partition.parse().ok().filter(|partition| *partition >= 0)?;
                let topic = TopicName::parse(topic).ok()?;
                let offset = offset.parse().ok().filter(|offset| *offset >= 0)?;
                Some(RecoveryPoint { partition: TopicPartition { topic, partition }, offset })
            })?;
        match (items.pop(), &items[..]) {
            (Some(only), []) => Ok(only),
            (Some(second), [first]) if second == *first => Ok(second),
            _ => Err(malformed(RECOVERY_POINT_FILE, 2)),
        }
    }

    /// Reads the file in `dir`; `None` if there is none.
    pub(super) fn load(storage: &dyn Storage, dir: &Path) -> Result<Option<Self>, CheckpointError> {
        load(storage, dir, RECOVERY_POINT_FILE, Self::decode)
    }

    /// Replaces the file in `dir`, durably.
    pub(super) fn store(&self, storage: &dyn Storage, dir: &Path) -> io::Result<()> {
        storage::replace(storage, &dir.join(RECOVERY_POINT_FILE), &self.encode())
    }
}

/// The offset up to which a partition's log is compacted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CleanerOffset {
    /// Whose log; the caller compares it with the folder the file was found in.
    pub(super) partition: TopicPartition,
    /// The first dirty offset.
    pub(super) offset: i64,
}

impl CleanerOffset {
    /// The file's content. The line stands there twice: the format has no checksum, and an offset
    /// that is too high would be worse than none.
    pub(super) fn encode(&self) -> Vec<u8> {
        let TopicPartition { topic, partition } = &self.partition;
        let offset = self.offset;
        let line = || format!("{topic} {partition} {offset}");
        encode_lines([line(), line()])
    }

    /// Reads what [`encode`](Self::encode) wrote.
    pub(super) fn decode(content: &[u8]) -> Result<Self, CheckpointError> {
        let lines = decode_lines(CLEANER_OFFSET_FILE, content, |[topic, partition, offset]| {
            let partition = partition.parse().ok().filter(|partition| *partition >= 0)?;
            let topic = TopicName::parse(topic).ok()?;
            let offset = offset.parse().ok().filter(|offset| *offset >= 0)?;
            Some(CleanerOffset { partition: TopicPartition { topic, partition }, offset })
        })?;
        match <[CleanerOffset; 2]>::try_from(lines) {
            Ok([first, second]) if first == second => Ok(first),
            _ => Err(malformed(CLEANER_OFFSET_FILE, 2)),
        }
    }

    /// Reads the file in `dir`; `None` if there is none.
    pub(super) fn load(storage: &dyn Storage, dir: &Path) -> Result<Option<Self>, CheckpointError> {
        load(storage, dir, CLEANER_OFFSET_FILE, Self::decode)
    }

    /// Replaces the file in `dir`, durably.
    pub(super) fn store(&self, storage: &dyn Storage, dir: &Path) -> io::Result<()> {
        storage::replace(storage, &Self::path(dir), &self.encode())
    }

    /// Writes a file that is to be renamed to its place. Its content is durable, its name is not.
    pub(super) fn write(&self, storage: &dyn Storage, path: &Path) -> io::Result<()> {
        let file = storage.open(path, true)?;
        file.truncate(0)?;
        file.append(0, &[&self.encode()])?;
        file.sync()
    }

    /// The file's place in `dir`.
    pub(super) fn path(dir: &Path) -> PathBuf {
        dir.join(CLEANER_OFFSET_FILE)
    }
}

/// The offsets in one of Kafka's files for a whole data directory, by partition. A file that is not
/// there, or is damaged, has none.
pub fn checkpointed_offsets(
    storage: &dyn Storage,
    file: &'static str,
) -> io::Result<BTreeMap<TopicPartition, i64>> {
    let decode = |content: &[u8]| {
        decode_lines(file, content, |[topic, partition, offset]| {
            let partition = partition.parse().ok().filter(|partition| *partition >= 0)?;
            let at = TopicPartition { topic: TopicName::parse(topic).ok()?, partition };
            Some((at, offset.parse().ok().filter(|offset| *offset >= 0)?))
        })
    };
    let loaded = readable(load(storage, Path::new(""), file, decode))?;
    Ok(loaded.into_iter().flatten().collect())
}

/// Why a checkpoint file could not be read.
///
/// All but `Io` mean that the file is damaged, and stays so until it is written again.
#[derive(Debug, thiserror::Error)]
pub(super) enum CheckpointError {
    /// A line is not what its format wants there, or is missing.
    #[error("{file} is malformed at line {line}")]
    Malformed {
        /// The file's name, without its folder.
        file: &'static str,
        /// The line, counted from 1.
        line: usize,
    },
    /// The file is from another time.
    #[error("{file} has unknown version {version}, expected 0")]
    UnknownVersion {
        /// The file's name, without its folder.
        file: &'static str,
        /// The version it states.
        version: i32,
    },
    /// The file is longer than anything that is written here.
    #[error("{file} is longer than {MAX_CHECKPOINT_BYTES} bytes")]
    TooLong {
        /// The file's name, without its folder.
        file: &'static str,
    },
    /// Reading failed; the content may be well.
    #[error("reading {file} failed: {source}")]
    Io {
        /// The file's name, without its folder.
        file: &'static str,
        /// What the storage said.
        source: io::Error,
    },
}

/// A small file that is damaged counts as absent: it can be derived.
pub(super) fn readable<T>(loaded: Result<Option<T>, CheckpointError>) -> io::Result<Option<T>> {
    match loaded {
        Ok(value) => Ok(value),
        Err(CheckpointError::Io { source, .. }) => Err(source),
        Err(error) => {
            tracing::warn!(%error, "a damaged checkpoint is left aside");
            Ok(None)
        }
    }
}

/// Reads and decodes `dir/file`; `None` if there is no such file.
pub(super) fn load<T>(
    storage: &dyn Storage,
    dir: &Path,
    file: &'static str,
    decode: impl FnOnce(&[u8]) -> Result<T, CheckpointError>,
) -> Result<Option<T>, CheckpointError> {
    match storage::read_whole(storage, &dir.join(file), MAX_CHECKPOINT_BYTES) {
        Ok(content) => decode(&content).map(Some),
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound => Ok(None),
            // The one thing `read_whole` says in this way.
            io::ErrorKind::InvalidData => Err(CheckpointError::TooLong { file }),
            _ => Err(CheckpointError::Io { file, source: error }),
        },
    }
}

/// Writes a version line, a count line, and a line for each item.
pub(super) fn encode_lines<I>(items: I) -> Vec<u8>
where
    I: IntoIterator<Item: fmt::Display, IntoIter: ExactSizeIterator>,
{
    let items = items.into_iter();
    let mut text = format!("{VERSION}\n{}\n", items.len());
    for item in items {
        writeln!(text, "{item}").expect("a String takes whatever is written to it");
    }
    text.into_bytes()
}

/// Reads what [`encode_lines`] wrote; `parse` makes an item of a line's `N` words.
///
/// An empty file holds no items: Kafka creates its files empty and fills them later.
pub(super) fn decode_lines<T, const N: usize>(
    file: &'static str,
    content: &[u8],
    mut parse: impl FnMut([&str; N]) -> Option<T>,
) -> Result<Vec<T>, CheckpointError> {
    let mut items = Vec::new();
    if content.is_empty() {
        return Ok(items);
    }
    let mut lines = Lines::new(file, content)?;
    let version = lines.number()?;
    if version != VERSION {
        return Err(CheckpointError::UnknownVersion { file, version });
    }
    let count: u32 = lines.number()?;
    // The count is checked, never trusted: memory follows the lines that are there.
    for _ in 0..count {
        let line = lines.next()?;
        let item = words(line).and_then(&mut parse).ok_or(malformed(file, lines.number_of_last))?;
        items.push(item);
    }
    // Without its end, a number may be only the first digits of one.
    if !content.ends_with(b"\n") {
        return Err(lines.malformed());
    }
    lines.end()?;
    Ok(items)
}

/// The words of a line, if there are `N`.
fn words<const N: usize>(line: &str) -> Option<[&str; N]> {
    let mut found = line.split_ascii_whitespace();
    let mut words = [""; N];
    for word in &mut words {
        *word = found.next()?;
    }
    found.next().is_none().then_some(words)
}

fn malformed(file: &'static str, line: usize) -> CheckpointError {
    CheckpointError::Malformed { file, line }
}

/// A file's lines, and where in it an error is.
struct Lines<'a> {
    file: &'static str,
    rest: std::str::Lines<'a>,
    /// Counted from 1; 0 before the first.
    number_of_last: usize,
}

impl<'a> Lines<'a> {
    fn new(file: &'static str, content: &'a [u8]) -> Result<Self, CheckpointError> {
        let text = str::from_utf8(content).map_err(|error| {
            let good = &content[..error.valid_up_to()];
            malformed(file, 1 + good.iter().filter(|byte| **byte == b'\n').count())
        })?;
        Ok(Lines { file, rest: text.lines(), number_of_last: 0 })
    }

    fn next(&mut self) -> Result<&'a str, CheckpointError> {
        self.number_of_last += 1;
        self.rest.next().ok_or(self.malformed())
    }

    /// A line that is a number.
    fn number<T: FromStr>(&mut self) -> Result<T, CheckpointError> {
        self.next()?.trim().parse().map_err(|_| self.malformed())
    }

    /// The value of a line `name: value`.
    fn field(&mut self, name: &str) -> Result<&'a str, CheckpointError> {
        let value = self.next()?.strip_prefix(name).and_then(|rest| rest.strip_prefix(':'));
        Ok(value.ok_or(self.malformed())?.trim())
    }

    /// Nothing may follow.
    fn end(&mut self) -> Result<(), CheckpointError> {
        match self.next() {
            Ok(_) => Err(self.malformed()),
            Err(_) => Ok(()),
        }
    }

    fn malformed(&self) -> CheckpointError {
        malformed(self.file, self.number_of_last)
    }
}

#[cfg(test)]
mod tests;
