//! Verifying a data directory: its own files here, its logs by `crate::log`.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::broker::Durability;
use crate::broker::catalog::{Catalog, TopicEntry};
use crate::broker::catalog_log::CatalogLog;
use crate::broker::folders::{
    CATALOG_TOPIC, CLEAN_MARK, KafkaOffsets, META_FILE, Origin, exists, is_doomed, is_looked_into,
};
use crate::error::{Error, Result};
use crate::log::{Finding, Findings, LogFolder, LogVerification, Severity, verify_log};
use crate::storage::{EntryKind, FileStorage, Overlay, Storage};
use crate::topic::{TopicId, TopicPartition};

/// Files that are open at once.
const OPEN_FILES: usize = 64;

/// What settling an unfinished compaction and opening the catalog may take of memory.
const CHANGES: usize = 256 << 20;

/// What Kafka keeps in a data directory besides its logs.
const KAFKA_FILES: &[&str] = &[
    "bootstrap.checkpoint",
    "cleaner-offset-checkpoint",
    "log-start-offset-checkpoint",
    "recovery-point-offset-checkpoint",
    "replication-offset-checkpoint",
];

/// What a data directory holds, and what is wrong with it.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Verification {
    /// Whether whoever wrote to it last closed it; not so while a broker is at work in it.
    pub clean_shutdown: bool,
    /// Whether Apache Kafka wrote it.
    pub is_kafkas: bool,
    /// Its partitions, the catalog and the groups' offsets among them.
    pub partitions: BTreeMap<TopicPartition, LogVerification>,
    /// What was found outside of the partitions' folders.
    pub findings: Findings,
}

impl Verification {
    /// How bad the worst is that was found.
    pub fn worst(&self) -> Option<Severity> {
        let logs = self.partitions.values().filter_map(|log| log.findings.worst());
        logs.max().max(self.findings.worst())
    }

    /// Whether nothing is wrong but what the next open settles by itself.
    pub fn is_sound(&self) -> bool {
        self.worst() <= Some(Severity::Unfinished)
    }

    /// All that was found, the directory's own first.
    pub fn findings(&self) -> impl Iterator<Item = &Finding> {
        let logs = self.partitions.values().flat_map(|log| log.findings.iter());
        self.findings.iter().chain(logs)
    }
}

/// Reads all of a data directory: every batch with its CRC, every record, every index entry, and
/// the small files. Takes as long as the disk needs to read it.
///
/// Of a directory that another process writes to, it sees what was there at this moment.
///
/// # Errors
/// [`Error::Io`] if there is no such directory, or it can't be listed;
/// [`Error::UnsupportedFormat`] if a later version of ottla wrote it. All else is a [`Finding`].
pub fn verify(dir: impl AsRef<Path>) -> Result<Verification> {
    verify_with(dir, |_| {})
}

/// How far a verification is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Bytes of segments that have been looked at.
    pub bytes: u64,
    /// Bytes of all segments that were there at the beginning.
    pub total: u64,
}

/// As [`verify`]; `progress` is called for each batch.
///
/// # Errors
/// As [`verify`].
pub fn verify_with(
    dir: impl AsRef<Path>,
    mut progress: impl FnMut(Progress),
) -> Result<Verification> {
    let dir = dir.as_ref();
    let name = dir.display().to_string();
    let failed = |error| Error::io(format!("reading {name}"), error);
    let files = FileStorage::for_reading(dir, OPEN_FILES);
    let view: Arc<dyn Storage> =
        Arc::new(Overlay::new(&files, CHANGES, is_looked_into).map_err(failed)?);
    let origin = Origin::of(&*view, &name)?;
    let clean = exists(&*view, CLEAN_MARK).map_err(failed)?;
    let mut directory = Directory {
        view: view.clone(),
        origin,
        catalog: Catalog::default(),
        kafka: KafkaOffsets::default(),
        found: Verification {
            clean_shutdown: clean,
            is_kafkas: origin == Origin::Kafka,
            ..Verification::default()
        },
        passed: Progress { bytes: 0, total: 0 },
        progress: &mut progress,
    };
    directory.run().map_err(failed)?;
    Ok(directory.found)
}

struct Directory<'a> {
    view: Arc<dyn Storage>,
    origin: Origin,
    /// Empty in a directory of Kafka's.
    catalog: Catalog,
    /// Empty in one of ours.
    kafka: KafkaOffsets,
    found: Verification,
    passed: Progress,
    progress: &'a mut dyn FnMut(Progress),
}

impl Directory<'_> {
    fn run(&mut self) -> io::Result<()> {
        let entries = self.view.list(Path::new(""))?;
        for entry in entries.iter().filter(|it| self.origin.partition(&it.name).is_some()) {
            self.passed.total += self.segments_len(&entry.name);
        }
        if self.origin == Origin::Kafka {
            self.kafka = KafkaOffsets::load(&*self.view)?;
        } else {
            self.read_catalog()?;
        }
        for entry in entries {
            match self.origin.partition(&entry.name) {
                Some(at) if entry.kind == EntryKind::Dir => self.folder(at),
                _ => self.other(&entry.name, entry.kind),
            }
        }
        Ok(())
    }

    /// What can't be listed is found later.
    fn segments_len(&self, folder: &str) -> u64 {
        let files = self.view.list(Path::new(folder)).unwrap_or_default();
        files.iter().filter(|it| it.name.ends_with(".log")).map(|it| it.len).sum()
    }

    fn find(&mut self, severity: Severity, file: &str, text: impl Into<String>) {
        self.found.findings.add(severity, file, None, text);
    }

    /// First: it says what the other folders are.
    fn read_catalog(&mut self) -> io::Result<()> {
        let at = CatalogLog::partition();
        let dir = at.to_string();
        match self.view.list(Path::new(&dir)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            listed => drop(listed?),
        }
        let log = self.log(&at, Some(CatalogLog::topic_id()), 0);
        self.found.partitions.insert(at, log);
        // As an open would, in memory.
        let read = CatalogLog::open(self.view.clone(), self.found.clean_shutdown)?;
        if read.unreadable > 0 {
            let text = format!(
                "{} records can't be read: topics may lack their settings",
                read.unreadable
            );
            self.find(Severity::Lost, &dir, text);
        }
        self.catalog = read.catalog;
        Ok(())
    }

    fn log(&mut self, at: &TopicPartition, id: Option<TopicId>, start: i64) -> LogVerification {
        let dir = at.to_string();
        let folder = LogFolder {
            storage: &*self.view,
            dir: Path::new(&dir),
            partition: at,
            sparse: self.origin == Origin::Kafka,
            recovery_point: self.kafka.recovery_points.get(at).copied(),
            log_start_offset: start,
            topic_id: id,
        };
        let (passed, progress) = (&mut self.passed, &mut *self.progress);
        verify_log(&folder, &mut |bytes| {
            passed.bytes += bytes;
            // Of a directory at work there can be more meanwhile.
            passed.total = passed.total.max(passed.bytes);
            progress(*passed);
        })
    }

    fn folder(&mut self, at: TopicPartition) {
        if at.topic == CATALOG_TOPIC {
            return;
        }
        let known = self.catalog.topics.get(&at.topic).cloned();
        let starts = match self.origin {
            Origin::Kafka => &self.kafka.log_starts,
            _ => &self.catalog.log_starts,
        };
        let start = starts.get(&at).copied().unwrap_or(0);
        let log = self.log(&at, known.as_ref().map(|topic| topic.id), start);
        if self.origin != Origin::Kafka {
            self.judge_topic(&at, known.as_ref());
        }
        self.found.partitions.insert(at, log);
    }

    /// Whether the catalog knows of the folder.
    fn judge_topic(&mut self, at: &TopicPartition, known: Option<&TopicEntry>) {
        let dir = at.to_string();
        let deleted = &mut self.catalog.deleted.values();
        let was_deleted = deleted.any(|(name, count)| *name == at.topic && at.partition < *count);
        match known {
            None if was_deleted => {
                let text = "of a deleted topic; the next open removes it";
                self.find(Severity::Unfinished, &dir, text);
            }
            None => {
                let text = "the catalog has no such topic: the next open takes it in, with default \
                            settings";
                self.find(Severity::Lost, &dir, text);
            }
            Some(topic) if at.partition >= topic.partitions => {
                let text = format!(
                    "the topic has only {} partitions; the folder is left alone",
                    topic.partitions
                );
                self.find(Severity::Note, &dir, text);
            }
            Some(topic) if topic.durability == Durability::Memory => {
                self.find(Severity::Note, &dir, "the topic is in memory; the folder is left alone");
            }
            Some(_) => {}
        }
    }

    /// What is no partition's folder.
    fn other(&mut self, name: &str, kind: EntryKind) {
        let ours = [META_FILE, CLEAN_MARK, ".lock"].contains(&name);
        let kafkas = self.origin == Origin::Kafka
            && (KAFKA_FILES.contains(&name) || name.starts_with("__cluster_metadata"));
        if ours || kafkas {
            return;
        }
        if is_doomed(name) && kind == EntryKind::Dir {
            let text = "of a deleted topic; the next open removes it";
            self.find(Severity::Unfinished, name, text);
        } else if name.strip_suffix(".tmp") == Some(META_FILE) {
            self.find(Severity::Unfinished, name, "half written; the next open removes it");
        } else if name.ends_with("-stray") {
            self.find(
                Severity::Note,
                name,
                "it was in the way of a topic's folder, and is yours now",
            );
        } else {
            self.find(Severity::Note, name, "nobody's here; it is left alone");
        }
    }
}
