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
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::error::{Error, Result};
use crate::log::{
    CutTail, Log, LostRange, Opening, Recovered, is_misread, partition_topic_id,
    set_partition_topic_id,
};
use crate::storage::{DirEntry, EntryKind, Storage, is_full, replace};
use crate::topic::{TopicId, TopicName, TopicPartition};

use super::catalog::{Catalog, Change, TopicEntry};
use super::catalog_log::{CatalogLog, is_mostly_history, shorten, write};
use super::core::Core;
use super::folders::{
    CATALOG_TOPIC, CLEAN_MARK, FORMAT_VERSION, KafkaOffsets, META_FILE, Origin, exists, has_log,
    is_doomed, parse_folder, remove_folder, rename_for_deletion,
};
use super::report::RecoveryReport;
use super::settings::Durability;

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
pub(super) fn open_all(core: &Core, storage: Arc<dyn Storage>, path: &str) -> Result<Opened> {
    let logs = storage.clone();
    let storage = &*storage;
    let origin = check_format(core, storage, path)?;
    let failed = |error| Error::io(format!("opening the data directory {path}"), error);
    let is_new = origin == Origin::Unmarked && !has_partitions(storage).map_err(failed)?;
    let clean = exists(storage, CLEAN_MARK).map_err(failed)?;
    let mut report =
        RecoveryReport { clean_shutdown: clean || is_new, ..RecoveryReport::default() };
    let CatalogLog { log: catalog_log, mut catalog, recovered, unreadable } =
        CatalogLog::open(logs, clean).map_err(failed)?;
    report.unreadable_catalog_records = unreadable;
    report.scanned_bytes = recovered.scanned_bytes;
    if !recovered.is_clean() {
        report.partitions.insert(CatalogLog::partition(), recovered);
    }
    if clean {
        // Before the first write. Whoever opens next after a failure in between looks closer.
        storage.remove_file(Path::new(CLEAN_MARK)).map_err(failed)?;
        storage.sync_dir(Path::new("")).map_err(failed)?;
    }
    let changes =
        settle_folders(core, storage, origin, &mut catalog, &mut report).map_err(failed)?;
    let mut openings = openings(core, &catalog, clean)?;
    if origin == Origin::Kafka {
        as_kafka_left_them(&mut openings, &KafkaOffsets::load(storage).map_err(failed)?);
    }
    let partitions = open_logs(openings, core.settings.io_threads, &mut report)?;
    let mut opened = Opened { catalog, catalog_log, partitions, report, memory_epoch: 0 };
    opened.memory_epoch = opened.begin_run(changes).map_err(failed)?;
    Ok(opened)
}

fn has_partitions(storage: &dyn Storage) -> io::Result<bool> {
    let entries = storage.list(Path::new(""))?;
    Ok(entries.iter().any(|entry| parse_folder(&entry.name).is_some()))
}

/// Whose directory it is. One without `meta.properties` gets it.
fn check_format(core: &Core, storage: &dyn Storage, path: &str) -> Result<Origin> {
    let origin = Origin::of(storage, path)?;
    match origin {
        Origin::Unmarked => {
            let id = core.new_id();
            let text = format!(
                "version=1\ncluster.id={id}\nnode.id=1\nottla.format.version={FORMAT_VERSION}\n"
            );
            replace(storage, Path::new(META_FILE), text.as_bytes())
                .map_err(|error| Error::io(format!("writing {path}/{META_FILE}"), error))?;
        }
        Origin::Kafka if !core.settings.read_only => {
            return Err(Error::InvalidState(format!(
                "{path} is Apache Kafka's: what it holds can be read (Broker::open_read_only), \
                 but not changed"
            )));
        }
        Origin::Ottla | Origin::Kafka => {}
    }
    Ok(origin)
}

/// Compares the folders with the catalog: finishes deletions, moves strays aside, takes in what
/// the catalog lost. Returns what the catalog has to learn.
fn settle_folders(
    core: &Core,
    storage: &dyn Storage,
    origin: Origin,
    catalog: &mut Catalog,
    report: &mut RecoveryReport,
) -> io::Result<Vec<Change>> {
    // A catalog that has lost its end may speak of deletions that came to theirs long ago.
    let is_in_doubt =
        report.unreadable_catalog_records > 0 || report.partitions.values().any(has_lost);
    let mut lost: BTreeMap<TopicName, (Option<TopicId>, i32)> = BTreeMap::new();
    let mut doomed = Vec::new();
    for entry in storage.list(Path::new(""))? {
        if remove_leftover(storage, &entry, &mut doomed)? {
            continue;
        }
        let name = entry.name.as_str();
        let Some(at) = origin.partition(name).filter(|_| entry.kind == EntryKind::Dir) else {
            if !is_ours(name) {
                report.foreign.push(entry.name);
            }
            continue;
        };
        if at.topic == CATALOG_TOPIC {
            continue;
        }
        let id = partition_topic_id(storage, Path::new(name))?;
        match (catalog.topics.get(&at.topic), id) {
            (_, Some(id)) if was_deleted(catalog, id) => {
                doomed.push(rename_for_deletion(storage, &at, id)?);
            }
            (Some(known), Some(id)) if is_misread(id, known.id) => {
                set_partition_topic_id(storage, Path::new(name), known.id)?;
            }
            (Some(known), Some(id)) if known.id != id => {
                report.stray.push(move_aside(storage, name, id)?);
            }
            (Some(known), _) if at.partition < known.partitions => {}
            (Some(_), _) => report.foreign.push(entry.name),
            (None, None)
                if is_deleted(catalog, &at) && !(is_in_doubt && has_log(storage, name)?) =>
            {
                remove_folder(storage, Path::new(name))?;
            }
            (None, None) if !has_log(storage, name)? => report.foreign.push(entry.name),
            (None, id) => {
                let found = lost.entry(at.topic).or_insert((id, 0));
                match id.filter(|id| found.0.is_some_and(|it| it != *id)) {
                    // The catalog will know one topic of this name.
                    Some(other) => report.stray.push(move_aside(storage, name, other)?),
                    None => *found = (found.0.or(id), found.1.max(at.partition + 1)),
                }
            }
        }
    }
    remove_all(storage, &doomed)?;
    let done = catalog.deleted.keys().map(|id| Change::Deleted(*id, None));
    let mut changes: Vec<Change> = done.collect();
    for (name, (id, partitions)) in lost {
        let id = id.unwrap_or_else(|| core.new_id());
        changes.push(Change::Topic(name.clone(), Some(entry_of_lost(core, id, partitions))));
        if origin != Origin::Kafka {
            report.topics_without_catalog.push(name);
        }
    }
    changes.iter().cloned().for_each(|change| catalog.apply(change));
    Ok(changes)
}

/// Whether a partition's folder, or the catalog's, has lost something.
fn has_lost(found: &Recovered) -> bool {
    !found.cut.is_empty() || !found.lost.is_empty()
}

/// Whether something that is no partition's is this library's.
fn is_ours(name: &str) -> bool {
    [META_FILE, CLEAN_MARK, ".lock"].contains(&name) || name.ends_with("-stray")
}

/// Removes folders that have been renamed for it. Their new names first: under the old ones they
/// must not be back without what tells whose they are.
fn remove_all(storage: &dyn Storage, doomed: &[PathBuf]) -> io::Result<()> {
    storage.sync_dir(Path::new(""))?;
    if !doomed.is_empty() {
        doomed.iter().try_for_each(|folder| remove_folder(storage, folder))?;
        storage.sync_dir(Path::new(""))?;
    }
    Ok(())
}

/// Removes what was being removed, or replaced, when the last life ended: files at once, folders
/// later.
fn remove_leftover(
    storage: &dyn Storage,
    entry: &DirEntry,
    doomed: &mut Vec<PathBuf>,
) -> io::Result<bool> {
    let path = Path::new(&entry.name);
    if is_doomed(&entry.name) && entry.kind == EntryKind::Dir {
        doomed.push(path.to_owned());
        return Ok(true);
    }
    // Half written, or a loss of power has brought it back.
    let is_meta = entry.name.strip_suffix(".tmp") == Some(META_FILE);
    if is_meta {
        storage.remove_file(path)?;
    }
    Ok(is_meta)
}

/// What a topic is of which there are only folders: as the broker's defaults say.
fn entry_of_lost(core: &Core, id: TopicId, partitions: i32) -> TopicEntry {
    let defaults = &core.settings.topic_defaults;
    let durability = defaults.durability.unwrap_or(Durability::Power);
    let config = defaults.clone().partitions(partitions).durability(durability);
    TopicEntry { id, partitions, durability, config }
}

/// Renames a folder that is in the way of another topic's; returns its new name.
fn move_aside(storage: &dyn Storage, name: &str, id: TopicId) -> io::Result<String> {
    let entries = storage.list(Path::new(""))?;
    let is_taken = |stray: &String| entries.iter().any(|entry| entry.name == *stray);
    // There may be one already, of another crash.
    let numbered = (2..).map(|n| format!("{name}.{id}.{n}-stray"));
    let mut names = std::iter::once(format!("{name}.{id}-stray")).chain(numbered);
    let stray = names.find(|stray| !is_taken(stray)).expect("there is no end of them");
    storage.rename(Path::new(name), Path::new(&stray))?;
    Ok(stray)
}

/// Whether a folder is a deleted topic's, by its id.
fn was_deleted(catalog: &Catalog, id: TopicId) -> bool {
    let ids = &mut catalog.deleted.keys();
    ids.any(|deleted| *deleted == id || is_misread(id, *deleted))
}

/// Whether a folder that has lost its topic's id can only be a deleted topic's.
fn is_deleted(catalog: &Catalog, at: &TopicPartition) -> bool {
    let deleted = &mut catalog.deleted.values();
    deleted.any(|(topic, partitions)| *topic == at.topic && at.partition < *partitions)
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

fn as_kafka_left_them(openings: &mut [Opening], offsets: &KafkaOffsets) {
    for opening in openings {
        opening.sparse = true;
        opening.recovery_point = offsets.recovery_points.get(&opening.partition).copied();
        let start = offsets.log_starts.get(&opening.partition).copied();
        opening.log_start_offset = start.unwrap_or(0);
    }
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
        report.scanned_bytes += recovered.scanned_bytes;
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
        match write(&mut self.catalog_log, &changes) {
            // That deletions are done can be said another time.
            Err(error) if is_full(&error) && changes.iter().all(Change::is_of_deletion) => {}
            written => written?,
        }
        if is_mostly_history(&self.catalog_log.reader(), self.catalog.len()) {
            match shorten(&mut self.catalog_log, &self.catalog.snapshot()) {
                Err(error) if is_full(&error) => tracing::debug!(%error, "the catalog stays long"),
                shortened => shortened?,
            }
        }
        Ok(i32::try_from(run).unwrap_or(i32::MAX))
    }
}
