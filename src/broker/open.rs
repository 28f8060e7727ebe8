//! Opening a data directory: who it belongs to, what is in it, what had to be mended.
//!
//! ```text
//! <data>/.lock                        held by the process that has the directory open
//! <data>/meta.properties              cluster id, and the version of this format
//! <data>/.kafka_cleanshutdown         there only if the last broker closed everything
//! <data>/__ottla_catalog-0/           the catalog: a log like any other
//! <data>/<topic>-<partition>/         a partition's log
//! <data>/….<id>-delete/               a deleted partition, on its way out
//! <data>/….<id>-stray/                a folder in the way of another topic's; left for the user
//! ```
//!
//! The catalog decides what there is. A folder that it does not know is a topic whose creation
//! was lost with the catalog: it is taken in with default settings, and reported.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::error::{Error, Result};
use crate::log::{
    CutTail, Log, LogConfig, LogReader, LostRange, Opening, ReadCursor, Recovered,
    partition_topic_id,
};
use crate::storage::{EntryKind, Storage, read_whole, replace};
use crate::topic::{TopicId, TopicName, TopicPartition};

use super::catalog::{Catalog, Change, TopicEntry, decode, encode};
use super::core::Core;
use super::report::RecoveryReport;
use super::settings::{Durability, TopicConfig};

pub(super) const CLEAN_MARK: &str = ".kafka_cleanshutdown";
const META_FILE: &str = "meta.properties";
/// The version of the data directory's format that this code writes.
const FORMAT_VERSION: u32 = 1;
/// Records of the catalog that are kept though later ones have replaced them.
const CATALOG_HISTORY: i64 = 1000;
pub(super) const CATALOG_TOPIC: &str = "__ottla_catalog";

/// What was read from a data directory.
pub(super) struct Opened {
    pub(super) catalog: Catalog,
    pub(super) catalog_log: Log,
    pub(super) partitions: BTreeMap<TopicPartition, Log>,
    pub(super) report: RecoveryReport,
    pub(super) memory_epoch: i32,
}

/// Makes sure that a directory can be used: exists, is one, can be written.
pub(super) fn prepare_dir(path: &Path) -> Result<()> {
    let context = || format!("opening the data directory {}", path.display());
    match path.metadata() {
        Ok(found) if !found.is_dir() => {
            let error = io::Error::new(io::ErrorKind::NotADirectory, "it is not a directory");
            Err(Error::io(context(), error))
        }
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            std::fs::create_dir_all(path).map_err(|error| Error::io(context(), error))
        }
        Err(error) => Err(Error::io(context(), error)),
    }
}

/// Opens everything below `storage`. Blocks.
pub(super) fn open_all(core: &Core, storage: &dyn Storage, path: &str) -> Result<Opened> {
    let is_new = check_format(core, storage, path)?;
    let failed = |error| Error::io(format!("opening the data directory {path}"), error);
    let clean = exists(storage, CLEAN_MARK).map_err(failed)?;
    let mut report =
        RecoveryReport { clean_shutdown: clean || is_new, ..RecoveryReport::default() };
    let (catalog_log, mut catalog) = open_catalog(core, clean, &mut report).map_err(failed)?;
    if clean {
        // Before the first write. Whoever opens next after a failure in between looks closer.
        storage.remove_file(Path::new(CLEAN_MARK)).map_err(failed)?;
        storage.sync_dir(Path::new("")).map_err(failed)?;
    }
    let changes = settle_folders(core, storage, &mut catalog, &mut report).map_err(failed)?;
    let openings = openings(core, &catalog, clean)?;
    let partitions = open_logs(openings, core.settings.io_threads, &mut report)?;
    let mut opened = Opened { catalog, catalog_log, partitions, report, memory_epoch: 0 };
    opened.memory_epoch = opened.begin_run(changes).map_err(failed)?;
    Ok(opened)
}

fn exists(storage: &dyn Storage, name: &str) -> io::Result<bool> {
    match storage.open(Path::new(name), false) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Reads `meta.properties`, or writes it into a directory that has none. Says whether the
/// directory is new.
fn check_format(core: &Core, storage: &dyn Storage, path: &str) -> Result<bool> {
    let failed = |error| Error::io(format!("reading {path}/{META_FILE}"), error);
    let file = Path::new(META_FILE);
    let text = match read_whole(storage, file, 64 * 1024) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let id = core.new_id();
            let text = format!(
                "version=1\ncluster.id={id}\nnode.id=1\nottla.format.version={FORMAT_VERSION}\n"
            );
            replace(storage, file, text.as_bytes()).map_err(failed)?;
            let entries = storage.list(Path::new("")).map_err(failed)?;
            return Ok(!entries.iter().any(|entry| parse_folder(&entry.name).is_some()));
        }
        Err(error) => return Err(failed(error)),
    };
    let found = text.lines().find_map(|line| line.strip_prefix("ottla.format.version="));
    match found.map(|version| (version, version.trim().parse::<u32>())) {
        Some((_, Ok(version))) if version <= FORMAT_VERSION => Ok(false),
        other => Err(Error::UnsupportedFormat {
            path: path.to_owned(),
            found: other.map_or("unknown", |(version, _)| version).chars().take(20).collect(),
            supported: FORMAT_VERSION,
        }),
    }
}

/// The catalog's log, and the sum of its records.
fn open_catalog(
    core: &Core,
    clean: bool,
    report: &mut RecoveryReport,
) -> io::Result<(Log, Catalog)> {
    let at = TopicPartition::new(CATALOG_TOPIC, 0).expect("a legal name");
    let config = LogConfig {
        sync_before_visible: true,
        retention: None,
        segment_bytes: 1 << 20,
        ..LogConfig::default()
    };
    let entry = TopicEntry {
        id: TopicId(1u128.to_be_bytes()),
        partitions: 1,
        durability: Durability::Power,
        config: TopicConfig::new(),
    };
    let (log, recovered) =
        Log::open(Opening { clean, ..core.opening(at.clone(), &entry, config) })?;
    if !recovered.is_clean() {
        report.partitions.insert(at, recovered);
    }
    let mut catalog = Catalog::default();
    let reader = log.reader();
    let mut cursor = ReadCursor::new(reader.log_start_offset(), -1);
    loop {
        match reader.read(&mut cursor, 1 << 20) {
            Ok(batches) if batches.is_empty() => return Ok((log, catalog)),
            Ok(batches) => {
                for batch in &batches {
                    let (changes, unreadable) = decode(batch);
                    changes.into_iter().for_each(|change| catalog.apply(change));
                    report.unreadable_catalog_records += unreadable;
                }
            }
            Err(crate::log::ReadError::Corrupt { from, to }) => {
                report.unreadable_catalog_records += (to - from) as usize;
            }
            Err(error) => return Err(io::Error::other(error)),
        }
    }
}

/// Compares the folders with the catalog: finishes deletions, moves strays aside, takes in what
/// the catalog lost. Returns what the catalog has to learn.
fn settle_folders(
    core: &Core,
    storage: &dyn Storage,
    catalog: &mut Catalog,
    report: &mut RecoveryReport,
) -> io::Result<Vec<Change>> {
    let mut lost: BTreeMap<TopicName, (Option<TopicId>, i32)> = BTreeMap::new();
    for entry in storage.list(Path::new(""))? {
        let name = entry.name.as_str();
        if is_doomed(name) && entry.kind == EntryKind::Dir {
            remove_folder(storage, Path::new(name))?;
            continue;
        }
        let ours = [META_FILE, CLEAN_MARK, ".lock"].contains(&name);
        let Some(at) = parse_folder(name).filter(|_| entry.kind == EntryKind::Dir) else {
            if !ours && !name.ends_with("-stray") {
                report.foreign.push(entry.name);
            }
            continue;
        };
        if at.topic == CATALOG_TOPIC {
            continue;
        }
        let id = partition_topic_id(storage, Path::new(name))?;
        match (catalog.topics.get(&at.topic), id) {
            (_, Some(id)) if catalog.deleted.contains_key(&id) => {
                let doomed = rename_for_deletion(storage, &at, id)?;
                remove_folder(storage, &doomed)?;
            }
            (Some(known), Some(id)) if known.id != id => {
                report.stray.push(move_aside(storage, name, id)?);
            }
            (Some(known), _) if at.partition < known.partitions => {}
            (Some(_), _) => report.foreign.push(entry.name),
            (None, None) if is_deleted(catalog, &at) => remove_folder(storage, Path::new(name))?,
            (None, None) if !has_log(storage, name)? => report.foreign.push(entry.name),
            (None, id) => {
                let found = lost.entry(at.topic).or_insert((id, 0));
                match id.filter(|id| found.0.is_some_and(|known| known != *id)) {
                    // The catalog will know one topic of this name.
                    Some(other) => report.stray.push(move_aside(storage, name, other)?),
                    None => *found = (found.0.or(id), found.1.max(at.partition + 1)),
                }
            }
        }
    }
    storage.sync_dir(Path::new(""))?;
    let done = catalog.deleted.keys().map(|id| Change::Deleted(*id, None));
    let mut changes: Vec<Change> = done.collect();
    for (name, (id, partitions)) in lost {
        let durability = core.settings.topic_defaults.durability.unwrap_or(Durability::Power);
        let config = core.settings.topic_defaults.clone();
        let config = config.partitions(partitions).durability(durability);
        let id = id.unwrap_or_else(|| core.new_id());
        let entry = TopicEntry { id, partitions, durability, config };
        changes.push(Change::Topic(name.clone(), Some(entry)));
        report.topics_without_catalog.push(name);
    }
    changes.iter().cloned().for_each(|change| catalog.apply(change));
    Ok(changes)
}

/// Renames a folder that is in the way of another topic's; returns its new name.
fn move_aside(storage: &dyn Storage, name: &str, id: TopicId) -> io::Result<String> {
    let stray = format!("{name}.{id}-stray");
    storage.rename(Path::new(name), Path::new(&stray))?;
    Ok(stray)
}

/// Whether a folder that has lost its topic's id can only be a deleted topic's.
fn is_deleted(catalog: &Catalog, at: &TopicPartition) -> bool {
    let deleted = &mut catalog.deleted.values();
    deleted.any(|(topic, partitions)| *topic == at.topic && at.partition < *partitions)
}

/// `<topic>-<partition>.<id>-delete`. The id has 22 characters of URL-safe base64, `-` included.
fn is_doomed(name: &str) -> bool {
    let Some(name) = name.strip_suffix("-delete") else { return false };
    let Some((folder, id)) = name.rsplit_once('.') else { return false };
    id.len() == 22 && parse_folder(folder).is_some()
}

/// `<topic>-<partition>`, as Kafka names its folders.
fn parse_folder(name: &str) -> Option<TopicPartition> {
    let (topic, partition) = name.rsplit_once('-')?;
    let canonical = partition.parse::<i32>().ok().filter(|n| n.to_string() == partition)?;
    TopicPartition::new(topic, canonical)
        .ok()
        .filter(|at| (0..super::settings::MAX_PARTITIONS).contains(&at.partition))
}

fn has_log(storage: &dyn Storage, dir: &str) -> io::Result<bool> {
    Ok(storage.list(Path::new(dir))?.iter().any(|entry| entry.name.ends_with(".log")))
}

/// Gives a folder the name under which it may be removed at leisure, also after a crash.
pub(super) fn rename_for_deletion(
    storage: &dyn Storage,
    at: &TopicPartition,
    id: TopicId,
) -> io::Result<PathBuf> {
    let doomed = PathBuf::from(format!("{at}.{id}-delete"));
    // What an earlier attempt left.
    remove_folder(storage, &doomed)?;
    match storage.rename(Path::new(&at.to_string()), &doomed) {
        // Nothing was ever appended.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(doomed),
        other => other.map(|()| doomed),
    }
}

/// Removes a folder and the files in it. One that is not there is fine.
pub(super) fn remove_folder(storage: &dyn Storage, dir: &Path) -> io::Result<()> {
    let entries = match storage.list(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for entry in entries {
        match entry.kind {
            EntryKind::Dir => remove_folder(storage, &dir.join(&entry.name))?,
            _ => storage.remove_file(&dir.join(&entry.name))?,
        }
    }
    storage.remove_dir(dir)
}

fn openings(core: &Core, catalog: &Catalog, clean: bool) -> Result<Vec<Opening>> {
    let mut openings = Vec::new();
    for (name, entry) in &catalog.topics {
        if entry.durability == Durability::Memory {
            continue;
        }
        let config = entry.config.log_config(entry.durability)?;
        for partition in 0..entry.partitions {
            let at = TopicPartition { topic: name.clone(), partition };
            let log_start_offset = catalog.log_starts.get(&at).copied().unwrap_or(0);
            let opening = core.opening(at, entry, config.clone());
            openings.push(Opening { clean, log_start_offset, ..opening });
        }
    }
    Ok(openings)
}

/// Opens logs on a few threads: after a crash each waits for syncs of its own.
fn open_logs(
    openings: Vec<Opening>,
    threads: usize,
    report: &mut RecoveryReport,
) -> Result<BTreeMap<TopicPartition, Log>> {
    // Storage that does not block may depend on the order of calls: one thread.
    let blocks = openings.first().is_some_and(|opening| opening.storage.may_block());
    let threads = if blocks { threads.min(openings.len()) } else { 1 };
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::with_capacity(openings.len()));
    let work = || {
        while let Some(opening) = openings.get(next.fetch_add(1, Ordering::Relaxed)) {
            let result = Log::open(opening.clone());
            let failed = result.is_err();
            let mut done = done.lock().expect("no one panics with the list in hand");
            done.push((opening.partition.clone(), result));
            if failed {
                return;
            }
        }
    };
    std::thread::scope(|scope| {
        (1..threads).for_each(|_| drop(scope.spawn(work)));
        work();
    });
    let mut logs = BTreeMap::new();
    for (at, result) in done.into_inner().expect("no one panics with the list in hand") {
        let (log, recovered) =
            result.map_err(|error| Error::io(format!("opening partition {at}"), error))?;
        if !recovered.is_clean() || !recovered.foreign.is_empty() {
            tell(&at, &recovered);
            report.partitions.insert(at.clone(), recovered);
        }
        logs.insert(at, log);
    }
    if logs.len() < openings.len() {
        return Err(Error::InvalidState("a thread that opened logs has panicked".into()));
    }
    Ok(logs)
}

fn tell(at: &TopicPartition, recovered: &Recovered) {
    for cut in &recovered.cut {
        let CutTail { offset, bytes, file } = cut;
        tracing::warn!(partition = %at, offset, bytes, file, "the log's end was cut off");
    }
    for lost in &recovered.lost {
        let LostRange { from, to } = lost;
        tracing::error!(partition = %at, from, to, "offsets can't be read any more");
    }
    if recovered.rewritten {
        tracing::warn!(partition = %at, "files were written anew after a failed sync");
    }
}

impl Opened {
    /// Writes to the catalog what opening has changed, and that a new run has begun. Returns the
    /// leader epoch of topics in memory.
    fn begin_run(&mut self, mut changes: Vec<Change>) -> io::Result<i32> {
        let has_memory =
            self.catalog.topics.values().any(|entry| entry.durability == Durability::Memory);
        let run = self.catalog.runs.map_or(0, |run| run.saturating_add(1));
        if has_memory || self.catalog.runs.is_some() {
            changes.push(Change::Runs(run));
            self.catalog.apply(Change::Runs(run));
        }
        write(&mut self.catalog_log, &changes)?;
        if is_mostly_history(&self.catalog_log.reader(), self.catalog.len()) {
            shorten_catalog(&mut self.catalog_log, &self.catalog.snapshot())?;
        }
        Ok(i32::try_from(run).unwrap_or(i32::MAX))
    }
}

/// Whether most of a catalog's log has been replaced by later records.
pub(super) fn is_mostly_history(log: &LogReader, state: usize) -> bool {
    let records = log.log_end_offset() - log.log_start_offset();
    records > CATALOG_HISTORY && records > 4 * state as i64
}

/// Replaces a catalog's log by a copy of the state.
pub(super) fn shorten_catalog(log: &mut Log, snapshot: &[Change]) -> io::Result<()> {
    log.roll_now().map_err(io::Error::other)?;
    let start = log.log_end_offset();
    write(log, snapshot)?;
    log.advance_log_start(start).map_err(io::Error::other)
}

fn write(log: &mut Log, changes: &[Change]) -> io::Result<()> {
    for part in changes.chunks(500) {
        log.append_now(encode(part, 0)).map_err(io::Error::other)?;
    }
    Ok(())
}
