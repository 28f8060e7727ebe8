//! Reading a log without opening it, and saying what is wrong with it: every batch, record and
//! index entry, and the small files beside them.
//!
//! It judges as an open would: what stands before the recovery point was promised, and what can't
//! be read there is lost; behind it the log ends at the first batch that is not whole and sound.
//! An unfinished compaction is settled first, which changes files: hand over an overlay.

mod findings;
mod indexes;
mod segment;
mod small;

use std::io;
use std::path::Path;

use crate::storage::{EntryKind, Storage};
use crate::topic::{TopicId, TopicPartition};

use super::compaction::{self, is_staged};
use super::epochs::LeaderEpochs;
use super::recovery::Survey;
use super::segment::file_name;

pub use findings::{Finding, Findings, Severity};
pub(super) use indexes::Entries;

/// A log to look at.
#[derive(Debug)]
pub struct LogFolder<'a> {
    /// Where it is. Nothing of it is changed but by settling an unfinished compaction.
    pub storage: &'a dyn Storage,
    /// Its folder.
    pub dir: &'a Path,
    /// Its name.
    pub partition: &'a TopicPartition,
    /// Whether it is Apache Kafka's.
    pub sparse: bool,
    /// The recovery point, if the folder itself does not tell.
    pub recovery_point: Option<i64>,
    /// The log start offset that was last decided.
    pub log_start_offset: i64,
    /// Its topic's id, where it is known.
    pub topic_id: Option<TopicId>,
}

/// What a log holds, and what is wrong with it.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct LogVerification {
    /// How many segments there are.
    pub segments: usize,
    /// Bytes in sound batches.
    pub bytes: u64,
    /// Sound batches.
    pub batches: u64,
    /// Records in them, also those that are compressed.
    pub records: u64,
    /// The first offset that is served.
    pub log_start_offset: i64,
    /// The offset behind the last sound batch.
    pub log_end_offset: i64,
    /// The offset before which all was made durable, as far as that is written down.
    pub recovery_point: i64,
    /// What is not as it should be.
    pub findings: Findings,
}

/// Reads all of a log. `passed` is told of bytes of segments, as they have been looked at.
pub fn verify_log(folder: &LogFolder<'_>, passed: &mut dyn FnMut(u64)) -> LogVerification {
    let mut examination = Examination {
        folder,
        passed,
        report: LogVerification::default(),
        survey: Survey::default(),
        epochs: None,
        end: None,
        cut: false,
        compressed: 0,
    };
    if let Err(error) = examination.run() {
        examination.find(Severity::Lost, "", None, format!("it can't be read: {error}"));
    }
    examination.report
}

/// The state of looking at one log.
struct Examination<'a> {
    folder: &'a LogFolder<'a>,
    passed: &'a mut dyn FnMut(u64),
    report: LogVerification,
    survey: Survey,
    /// `None` if they are not there, or damaged.
    epochs: Option<LeaderEpochs>,
    /// Where the batches so far end.
    end: Option<i64>,
    /// Whether they ended too early, behind the recovery point: what follows will be set aside.
    cut: bool,
    /// Batches whose records were not looked at.
    compressed: u64,
}

impl Examination<'_> {
    fn run(&mut self) -> io::Result<()> {
        let (storage, dir) = (self.folder.storage, self.folder.dir);
        for entry in storage.list(dir)?.iter().filter(|entry| is_staged(&entry.name)) {
            let text = "of a compaction that did not come to its end; the next open settles it";
            self.find(Severity::Unfinished, &entry.name, None, text);
        }
        compaction::settle(storage, dir, self.folder.sparse)?;
        self.survey = Survey::sorted(storage.list(dir)?);
        self.small_files()?;
        self.report.segments = self.survey.logs.len();
        let bases: Vec<i64> = self.survey.logs.keys().copied().collect();
        for (i, base) in bases.iter().enumerate() {
            self.segment(*base, bases.get(i + 1).copied());
        }
        self.judge_ends(bases.first().copied());
        self.strays();
        Ok(())
    }

    fn judge_ends(&mut self, first: Option<i64>) {
        let point = self.report.recovery_point;
        let start = self.folder.log_start_offset;
        let end = self.end.unwrap_or(start);
        if end < point && end >= start {
            let text = format!("offsets {end} to {} are missing at the end", point - 1);
            self.find(Severity::Lost, "", None, text);
        }
        self.report.log_end_offset = end.max(point);
        self.report.log_start_offset = start.max(first.unwrap_or(end));
        if self.compressed > 0 {
            let text = format!(
                "{} batches are compressed, with a codec that is not built in or to much more than \
                 they take: their CRCs were checked, their records not looked at",
                self.compressed
            );
            self.find(Severity::Note, "", None, text);
        }
    }

    /// What is there besides the log.
    fn strays(&mut self) {
        let survey = std::mem::take(&mut self.survey);
        for name in &survey.temporary {
            let text = "a file that was being written; the next open removes it";
            self.find(Severity::Unfinished, name, None, text);
        }
        for name in &survey.foreign {
            self.find(Severity::Note, name, None, "not the log's; it is left alone");
        }
        for (indexes, ending) in [(&survey.indexes, "index"), (&survey.timeindexes, "timeindex")] {
            for base in indexes.keys().filter(|base| !survey.logs.contains_key(base)) {
                let text = "there is no such segment; the next open removes it";
                self.find(Severity::Unfinished, &file_name(*base, ending), None, text);
            }
        }
    }

    /// `file` is in the log's folder; an empty name is the folder itself.
    fn find(
        &mut self,
        severity: Severity,
        file: &str,
        position: Option<u64>,
        text: impl Into<String>,
    ) {
        let dir = self.folder.dir.display();
        let file = if file.is_empty() { dir.to_string() } else { format!("{dir}/{file}") };
        self.report.findings.add(severity, file, position, text);
    }

    /// What an open does with a log that ends too early.
    fn cutting(&self) -> &'static str {
        match self.folder.sparse {
            true => "Kafka cuts the log here when it next starts",
            false => "the next open cuts the log here, and sets aside what follows",
        }
    }
}

impl Survey {
    /// What a folder holds, by kind.
    fn sorted(entries: Vec<crate::storage::DirEntry>) -> Survey {
        let mut survey = Survey { exists: true, ..Survey::default() };
        let files = entries
            .into_iter()
            .filter(|entry| entry.kind != EntryKind::File || !is_kafkas(&entry.name));
        files.for_each(|entry| survey.sort(entry));
        survey
    }
}

/// Kafka's index of aborted transactions, which is not read here.
fn is_kafkas(name: &str) -> bool {
    name.ends_with(".txnindex")
}
