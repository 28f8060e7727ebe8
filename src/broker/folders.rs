//! The names in a data directory, and whose it is.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::log::{PARTITION_METADATA_FILE, checkpointed_offsets};
use crate::storage::{DirEntry, EntryKind, Storage, is_full, read_whole};
use crate::topic::{TopicId, TopicPartition};

/// There only if the last broker closed everything. Kafka's name for it.
pub(crate) const CLEAN_MARK: &str = ".kafka_cleanshutdown";
/// Whose directory it is, and in which format.
pub(crate) const META_FILE: &str = "meta.properties";
/// The catalog's topic: a log like any other.
pub(crate) const CATALOG_TOPIC: &str = "__ottla_catalog";
/// The version of the data directory's format that this code writes.
pub(super) const FORMAT_VERSION: u32 = 1;

/// The longest `meta.properties` that is read.
const MAX_META_BYTES: usize = 64 * 1024;

/// Apache Kafka's own log of its cluster's metadata: no topic that can be consumed.
const KAFKA_METADATA: &str = "__cluster_metadata";

/// Who wrote a data directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Nobody: it has no `meta.properties`.
    Unmarked,
    /// This code, or an earlier version of it.
    Ottla,
    /// Apache Kafka, as far as one can see: its files are read in the same way, but compaction has
    /// left holes, and there is no catalog.
    Kafka,
}

impl Origin {
    /// Reads `meta.properties`; `path` is the directory's name for errors.
    pub(crate) fn of(storage: &dyn Storage, path: &str) -> Result<Origin> {
        let text = match read_whole(storage, Path::new(META_FILE), MAX_META_BYTES) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Origin::Unmarked),
            Err(error) => return Err(Error::io(format!("reading {path}/{META_FILE}"), error)),
        };
        let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
        match value("ottla.format.version=").map(str::trim) {
            Some(version) if version.parse::<u32>().is_ok_and(|it| it <= FORMAT_VERSION) => {
                Ok(Origin::Ottla)
            }
            None if value("cluster.id=").is_some() && !has_catalog(storage)? => Ok(Origin::Kafka),
            found => Err(Error::UnsupportedFormat {
                path: path.to_owned(),
                found: found.unwrap_or("unknown").chars().take(20).collect(),
                supported: FORMAT_VERSION,
            }),
        }
    }

    /// Whether this is the folder of a topic's partition.
    pub(crate) fn partition(self, name: &str) -> Option<TopicPartition> {
        let at = parse_folder(name)?;
        (self != Origin::Kafka || at.topic != KAFKA_METADATA).then_some(at)
    }
}

/// Whether it is ottla's after all.
fn has_catalog(storage: &dyn Storage) -> Result<bool> {
    let entries = storage.list(Path::new(""));
    let entries = entries.map_err(|error| Error::io("listing the data directory", error))?;
    Ok(entries.iter().any(|it| parse_folder(&it.name).is_some_and(|at| at.topic == CATALOG_TOPIC)))
}

/// What Kafka keeps in files of the data directory that ottla has in each partition's folder, or
/// in the catalog.
#[derive(Debug, Default)]
pub(crate) struct KafkaOffsets {
    pub(crate) recovery_points: BTreeMap<TopicPartition, i64>,
    pub(crate) log_starts: BTreeMap<TopicPartition, i64>,
}

impl KafkaOffsets {
    /// Files that are not there, or are damaged, tell nothing.
    pub(crate) fn load(storage: &dyn Storage) -> io::Result<Self> {
        Ok(KafkaOffsets {
            recovery_points: checkpointed_offsets(storage, "recovery-point-offset-checkpoint")?,
            log_starts: checkpointed_offsets(storage, "log-start-offset-checkpoint")?,
        })
    }
}

/// `<topic>-<partition>`, as Kafka names its folders.
pub(super) fn parse_folder(name: &str) -> Option<TopicPartition> {
    let (topic, partition) = name.rsplit_once('-')?;
    let canonical = partition.parse::<i32>().ok().filter(|n| n.to_string() == partition)?;
    TopicPartition::new(topic, canonical)
        .ok()
        .filter(|at| (0..super::settings::MAX_PARTITIONS).contains(&at.partition))
}

/// `<topic>-<partition>.<id>-delete`. The id has 22 characters of URL-safe base64, `-` included.
pub(crate) fn is_doomed(name: &str) -> bool {
    let Some(name) = name.strip_suffix("-delete") else { return false };
    let Some((folder, id)) = name.rsplit_once('.') else { return false };
    id.len() == 22 && parse_folder(folder).is_some()
}

/// Whether an open reads what has this name in a data directory, or below it.
pub(crate) fn is_looked_into(name: &str) -> bool {
    let is_folder = parse_folder(name).is_some() || is_doomed(name);
    is_folder || [META_FILE, CLEAN_MARK].contains(&name) || name.ends_with("-checkpoint")
}

pub(crate) fn exists(storage: &dyn Storage, name: &str) -> io::Result<bool> {
    match storage.open(Path::new(name), false) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

pub(super) fn has_log(storage: &dyn Storage, dir: &str) -> io::Result<bool> {
    Ok(storage.list(Path::new(dir))?.iter().any(|entry| entry.name.ends_with(".log")))
}

/// Gives a folder the name under which it may be removed at leisure, also after a crash.
pub(super) fn rename_for_deletion(
    storage: &dyn Storage,
    at: &TopicPartition,
    id: TopicId,
) -> io::Result<PathBuf> {
    let doomed = PathBuf::from(format!("{at}.{id}-delete"));
    // What an earlier attempt left, which may have come no further than to its name.
    match storage.list(&doomed) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
        Ok(_) => {
            storage.sync_dir(Path::new(""))?;
            remove_folder(storage, &doomed)?;
        }
    }
    match storage.rename(Path::new(&at.to_string()), &doomed) {
        // Nothing was ever appended.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(doomed),
        // No room for another name: it goes under the one that it has. Whoever opens the directory
        // before it has gone finds it among the deleted.
        Err(error) if is_full(&error) => Ok(at.to_string().into()),
        other => other.map(|()| doomed),
    }
}

/// Removes a folder and the files in it. One that is not there is fine. What says whose it is goes
/// last, and after the rest durably: a folder that has records and no owner is no deleted one's. If
/// it was renamed for deletion, that is durable already.
pub(super) fn remove_folder(storage: &dyn Storage, dir: &Path) -> io::Result<()> {
    let entries = match storage.list(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    let is_owner = |entry: &&DirEntry| entry.name == PARTITION_METADATA_FILE;
    for entry in entries.iter().filter(|entry| !is_owner(entry)) {
        match entry.kind {
            EntryKind::Dir => remove_folder(storage, &dir.join(&entry.name))?,
            _ => storage.remove_file(&dir.join(&entry.name))?,
        }
    }
    if let Some(owner) = entries.iter().find(is_owner) {
        // Its own name tells of a folder that was renamed.
        if !dir.to_str().is_some_and(is_doomed) {
            storage.sync_dir(dir)?;
        }
        storage.remove_file(&dir.join(&owner.name))?;
    }
    storage.remove_dir(dir)
}
