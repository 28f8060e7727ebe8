//! Holds what Kafka said of each file against what is in it, and against what a consumer reads.
//!
//! Every line that Kafka prints is compared, on both streams, so nothing need be searched for
//! words like "corrupt". What it complains of by design is expected word for word: the offsets
//! that a compaction left out.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use ottla::inspect::{self, Finding, Severity};
use ottla::{Broker, Clock, TopicPartition};
use tempfile::TempDir;

use crate::consumed::{Consumed, read_all};
use crate::said::{Said, same};
use crate::seen::Segment;
use crate::{copy_dir, entries, offsets};

/// What was compared, in one data directory or in all.
#[derive(Debug, Default)]
struct Tally {
    logs: usize,
    indexes: usize,
    time_indexes: usize,
    index_entries: usize,
    snapshots: usize,
    producers: usize,
    /// Partitions that Kafka's own log has opened, each twice.
    loaded: usize,
    batches: usize,
    records: usize,
    /// Records that a consumer has read too.
    consumed: usize,
    /// Commits that Kafka's tool has decoded.
    committed: usize,
}

impl Tally {
    const COLUMNS: [&str; 11] = [
        ".log",
        ".index",
        ".timeindex",
        "index entries",
        ".snapshot",
        "producers",
        "loaded",
        "batches",
        "records",
        "consumed",
        "commits",
    ];

    fn numbers(&self) -> [usize; 11] {
        let Tally { logs, indexes, time_indexes, index_entries, snapshots, producers, .. } = *self;
        let Tally { loaded, batches, records, consumed, committed, .. } = *self;
        [
            logs,
            indexes,
            time_indexes,
            index_entries,
            snapshots,
            producers,
            loaded,
            batches,
            records,
            consumed,
            committed,
        ]
    }
}

/// Checks all data directories in `dirs`, prints a table, and says whether all is well.
pub async fn all(dirs: &Path, said: &Path) -> bool {
    println!("| directory | {} |", Tally::COLUMNS.join(" | "));
    println!("|---|{}", "--:|".repeat(Tally::COLUMNS.len()));
    let mut totals = [0; Tally::COLUMNS.len()];
    let mut complaints = Vec::new();
    for dir in children(dirs) {
        let mut check = Check {
            is_mended: !name(&dir).starts_with("killed"),
            dir,
            dirs,
            said,
            tally: Tally::default(),
            complaints: Vec::new(),
        };
        check.run().await;
        let numbers = check.tally.numbers();
        print_row(&name(&check.dir), &numbers);
        totals.iter_mut().zip(numbers).for_each(|(total, number)| *total += number);
        complaints.append(&mut check.complaints);
    }
    print_row("all", &totals);
    for complaint in &complaints {
        eprintln!("{complaint}");
    }
    // What was never there to be looked at has not been checked.
    complaints.is_empty() && totals.iter().all(|total| *total > 0)
}

/// Prints a row of a table.
pub fn print_row(name: &str, numbers: &[usize]) {
    let numbers: Vec<String> = numbers.iter().map(usize::to_string).collect();
    println!("| {name} | {} |", numbers.join(" | "));
}

/// What a folder holds, sorted.
pub fn children(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).expect("it is there");
    let mut children: Vec<_> = entries.map(|entry| entry.expect("is readable").path()).collect();
    children.sort();
    children
}

/// The last part of a path.
pub fn name(path: &Path) -> String {
    path.file_name().expect("not a root").to_string_lossy().into_owned()
}

/// The partition whose folder this is.
pub fn partition(dir: &Path) -> Option<TopicPartition> {
    let name = name(dir);
    let (topic, number) = name.rsplit_once('-').filter(|_| dir.is_dir())?;
    TopicPartition::new(topic, number.parse().ok()?).ok()
}

/// One data directory.
struct Check<'a> {
    dir: PathBuf,
    /// What all of them are in.
    dirs: &'a Path,
    said: &'a Path,
    /// Whether it was opened after the last crash.
    is_mended: bool,
    tally: Tally,
    complaints: Vec<String>,
}

impl Check<'_> {
    async fn run(&mut self) {
        let verified = verify(&self.dir);
        self.take(&self.dir.clone(), "our own verification", verified);
        // Opening it changes files.
        let copy = TempDir::new().unwrap();
        copy_dir(&self.dir, copy.path()).unwrap();
        let broker = Broker::builder().clock(Clock::manual());
        let broker = broker.auto_create_topics(false).open(copy.path()).await.unwrap();
        let consumed = read_all(&broker).await;
        for path in children(&self.dir) {
            let Some(at) = partition(&path) else { continue };
            let segments = self.segments(&path);
            self.compare_records(&path, &segments, consumed.get(&at));
            self.check_load(&path, &segments, consumed.get(&at));
            if at.topic == "__consumer_offsets" {
                let outcome = offsets::check(&broker, &path, self.dirs, self.said).await;
                let commits = self.take(&path, "offsets", outcome);
                self.tally.committed += commits.unwrap_or(0);
            }
        }
    }

    /// The value; an error is written down.
    fn take<T>(&mut self, path: &Path, what: &str, outcome: Result<T, String>) -> Option<T> {
        let path = path.strip_prefix(self.dirs).expect("it is one of them").display();
        let note = |error| self.complaints.push(format!("{path}: {what}: {error}"));
        outcome.map_err(note).ok()
    }

    fn hear(&self, path: &Path, how: &str) -> Result<Said, String> {
        Said::read(self.said, path.strip_prefix(self.dirs).expect("it is one of them"), how)
    }

    /// Reads a partition's segments, and checks what Kafka said of each file.
    fn segments(&mut self, partition: &Path) -> Vec<Segment> {
        let mut segments = Vec::new();
        // What a compaction is replacing: the `.log` goes before its indexes.
        let is_going = |path: &Path| {
            let is_index = path.extension().is_some_and(|it| it == "index" || it == "timeindex");
            is_index && !path.with_extension("log").exists()
        };
        let is_being_swapped = !self.is_mended && has_files(partition, "swap");
        for path in children(partition) {
            if is_being_swapped && is_going(&path) {
                continue;
            }
            let bytes = fs::read(&path).unwrap();
            let stem = path.file_stem().unwrap_or_default().to_string_lossy();
            let Ok(base) = stem.parse::<i64>() else { continue };
            match path.extension().and_then(|it| it.to_str()) {
                Some("log") => {
                    let segment = Segment::read(base, bytes);
                    self.check_log(&path, &segment);
                    segments.push(segment);
                }
                Some("index") => {
                    self.tally.indexes += 1;
                    self.check_index(&path, &entries::index(base, &bytes), ["offset", "position"]);
                }
                Some("timeindex") => {
                    self.tally.time_indexes += 1;
                    let entries = entries::time_index(base, &bytes);
                    self.check_index(&path, &entries, ["timestamp", "offset"]);
                }
                Some("snapshot") => self.check_snapshot(&path, &bytes),
                _ => {}
            }
        }
        segments
    }

    fn check_log(&mut self, path: &Path, segment: &Segment) {
        let is_text = !name(path.parent().expect("a partition")).starts_with("__");
        let outcome = self.hear(path, "data").and_then(|said| {
            let mut expected = vec![
                format!("Dumping {}", path.display()),
                format!("Log starting offset: {}", segment.base_offset),
            ];
            expected.extend(segment.dump(is_text));
            let lines = if is_text { said.lines } else { without_contents(&said.lines) };
            same(&lines, &expected)?;
            let mut gaps = segment.gaps();
            if !gaps.is_empty() {
                gaps.insert(0, format!("Non-consecutive offsets in {}", path.display()));
            }
            same(&said.complaints, &gaps)
        });
        self.take(path, "data", outcome);
        let whole = match segment.tail {
            0 => Ok(()),
            // Only a process that was killed leaves the beginning of a batch.
            tail if self.is_mended => Err(format!("{tail} bytes that are no batch")),
            _ => Ok(()),
        };
        self.take(path, "tail", whole);
        self.tally.logs += 1;
        self.tally.batches += segment.batches.len();
        self.tally.records += segment.views().count();
    }

    fn check_index(&mut self, path: &Path, entries: &[(i64, i64)], names: [&str; 2]) {
        let dumping = format!("Dumping {}", path.display());
        let is_empty = (entries.is_empty() && names[0] == "offset")
            .then(|| format!("{} is empty.", path.display()));
        let sane = is_empty.clone().unwrap_or(format!("{} passed sanity check.", path.display()));
        let listed = entries
            .iter()
            .map(|(first, second)| format!("{}: {first} {}: {second}", names[0], names[1]));
        let ways: [(&str, Vec<String>); 3] = [
            ("sane", vec![sane]),
            ("verified", is_empty.clone().into_iter().collect()),
            ("entries", is_empty.clone().into_iter().chain(listed).collect()),
        ];
        for (how, lines) in ways {
            let expected: Vec<String> = std::iter::once(dumping.clone()).chain(lines).collect();
            let outcome = self.hear(path, how).and_then(|said| {
                same(&said.lines, &expected)?;
                same(&said.complaints, &[])
            });
            self.take(path, how, outcome);
        }
        self.tally.index_entries += entries.len();
    }

    fn check_snapshot(&mut self, path: &Path, bytes: &[u8]) {
        self.tally.snapshots += 1;
        let Some(producers) = entries::producers(bytes) else {
            return self.check_damaged_snapshot(path);
        };
        self.tally.producers += producers.len();
        let mut expected = vec![format!("Dumping {}", path.display())];
        expected.extend(producers);
        let outcome = self.hear(path, "producers").and_then(|said| {
            same(&said.lines, &expected)?;
            same(&said.complaints, &[])
        });
        self.take(path, "producers", outcome);
    }

    /// It is the one file that is not synced: it carries a CRC, by which Kafka, too, knows.
    fn check_damaged_snapshot(&mut self, path: &Path) {
        let outcome = self.hear(path, "producers").and_then(|said| {
            if !may_have_half_snapshots(&self.dir) {
                return Err("is damaged, without a crash".to_owned());
            }
            match said.complaints[..] {
                [] => Err("is damaged, and Kafka does not notice".to_owned()),
                _ => Ok(()),
            }
        });
        self.take(path, "producers", outcome);
    }

    /// Kafka's records are ours, byte by byte; and those from the log start offset on are what a
    /// consumer gets.
    fn compare_records(&mut self, path: &Path, segments: &[Segment], consumed: Option<&Consumed>) {
        let mut read = Vec::new();
        for segment in segments {
            let log = path.join(format!("{:020}.log", segment.base_offset));
            let outcome = self.hear(&log, "records").and_then(|said| {
                same(&said.lines, &segment.records())?;
                same(&said.complaints, &[])?;
                Ok(said.lines)
            });
            read.extend(self.take(&log, "records", outcome).unwrap_or_default());
        }
        // Where a compaction was being put in place, the next open reads other files.
        let Some(consumed) = consumed.filter(|_| !has_files(path, "swap")) else { return };
        read.retain(|line| offset_of(line) >= consumed.start);
        let outcome = same(&read, &consumed.lines);
        self.take(path, "consumer", outcome);
        self.tally.consumed += consumed.lines.len();
    }

    /// Kafka's own log opens the folder, trusting what it finds or reading everything, and comes
    /// to the same end. Of what was not mended, only after reading everything, and how it got
    /// there is its own affair; where a compaction was going on not even that, since the name
    /// `cleaner-offset-checkpoint.cleaned` is one that it takes for a segment's.
    fn check_load(&mut self, path: &Path, segments: &[Segment], consumed: Option<&Consumed>) {
        let is_being_compacted = has_files(path, "cleaned") || has_files(path, "swap");
        if segments.is_empty() || (is_being_compacted && !self.is_mended) {
            return;
        }
        let ways = if self.is_mended { &["trusted", "recovered"][..] } else { &["recovered"] };
        for how in ways {
            let outcome = loaded(path, segments, consumed).and_then(|expected| {
                let said = self.hear(path, how)?;
                same(&said.lines, &expected)?;
                let complaints: Vec<_> =
                    said.complaints.into_iter().filter(|it| !misses_index(it, path)).collect();
                if self.is_mended { same(&complaints, &[]) } else { Ok(()) }
            });
            self.take(path, how, outcome);
        }
        self.tally.loaded += 1;
    }
}

/// Our own verification finds nothing wrong, but for snapshots that a crash has left half-written.
fn verify(dir: &Path) -> Result<(), String> {
    let found = inspect::verify(dir).map_err(|error| error.to_string())?;
    let is_left = |finding: &&Finding| may_have_half_snapshots(dir) && is_snapshot(finding);
    let wrong = found.findings().filter(|finding| finding.severity > Severity::Unfinished);
    let wrong: Vec<String> = wrong.filter(|it| !is_left(it)).map(ToString::to_string).collect();
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("; ")) }
}

fn is_snapshot(finding: &Finding) -> bool {
    finding.severity == Severity::Derived && finding.file.ends_with(".snapshot")
}

/// Whether a crash is behind this directory.
fn may_have_half_snapshots(dir: &Path) -> bool {
    ["killed", "reopened", "power-lost"].iter().any(|it| name(dir).starts_with(it))
}

/// Whether Kafka misses the index of a segment without a record: where a process died before the
/// first one, the next makes none, and Kafka's log does then.
fn misses_index(complaint: &str, partition: &Path) -> bool {
    let misses = "Could not find offset index file corresponding to log file ";
    let missed = complaint.split_once(misses).and_then(|(_, rest)| rest.split_once(','));
    let log = missed.and_then(|(log, _)| Path::new(log).file_name());
    log.and_then(|log| fs::metadata(partition.join(log)).ok()).is_some_and(|it| it.len() == 0)
}

/// What a log is that holds these segments.
fn loaded(
    path: &Path,
    segments: &[Segment],
    consumed: Option<&Consumed>,
) -> Result<Vec<String>, String> {
    let (first, last) = (&segments[0], &segments[segments.len() - 1]);
    let end = last.end_offset();
    if let Some(consumed) = consumed.filter(|consumed| consumed.end != end) {
        return Err(format!("ends at {end}, but at {} when opened", consumed.end));
    }
    let mut producers = BTreeMap::new();
    for batch in segments.iter().flat_map(|segment| &segment.batches) {
        if batch.header().has_producer_id() {
            producers.insert(batch.header().producer_id, batch.header().last_sequence());
        }
    }
    let producers: Vec<_> = producers.iter().map(|(id, last)| format!("{id}:{last}")).collect();
    Ok(vec![
        format!("start {}", first.base_offset),
        format!("end {end}"),
        format!("segments {}", segments.len()),
        format!("bytes {}", segments.iter().map(Segment::size).sum::<usize>()),
        format!("topic id {}", entries::topic_id(path).map_err(|it| it.to_string())?),
        format!("epochs {}", entries::epochs(path, end).map_err(|it| it.to_string())?),
        format!("producers {}", producers.join(" ")),
    ])
}

/// Of a file whose keys and values are not text, only what Kafka says beside them.
fn without_contents(lines: &[String]) -> Vec<String> {
    let heads = lines.iter().filter(|line| {
        let starts = ["Dumping ", "Log starting offset: ", "baseOffset: ", "| offset: ", "Found "];
        starts.iter().any(|start| line.starts_with(start))
    });
    let cut = |line: &String| match line.split_once("] key: ") {
        Some((head, _)) => format!("{head}]"),
        None => line.clone(),
    };
    heads.map(cut).collect()
}

/// The number that a line of `Records.java` begins with.
fn offset_of(line: &str) -> i64 {
    line.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or(-1)
}

fn has_files(partition: &Path, extension: &str) -> bool {
    children(partition).iter().any(|path| path.extension().is_some_and(|it| it == extension))
}
