//! One segment: its batches, their records, and its indexes beside them.

use std::io;
use std::ops::Range;

use crate::batch::{
    Batch, BatchError, BatchHeader, DEFAULT_MAX_DECOMPRESSED_BYTES, HEADER_LEN, check_crc,
};
use crate::log::index::{OffsetEntry, TimeEntry};
use crate::log::scan::{Step, Walk, follows};
use crate::log::segment::{Indexes, Segment, file_name};
use crate::storage::read_exact_at;

use super::indexes::{Beside, Faults};
use super::{Examination, Severity};

/// How much is read at a time.
const CHUNK: usize = 1 << 20;

/// A segment's indexes, where they are there.
struct Pair {
    offsets: Option<Beside<OffsetEntry>>,
    times: Option<Beside<TimeEntry>>,
}

impl Examination<'_> {
    /// `next` is where the next segment begins.
    pub(super) fn segment(&mut self, base: i64, next: Option<i64>) {
        let name = file_name(base, "log");
        if self.cut {
            let text = "it follows the end of the log";
            return self.find(Severity::Unfinished, &name, None, text);
        }
        self.judge_start(base, &name);
        if let Err(error) = self.walk(base, next) {
            let gone = error.kind() == io::ErrorKind::NotFound;
            let severity = if gone { Severity::Note } else { Severity::Lost };
            let why = if gone { "it went while it was read" } else { "it can't be read" };
            self.find(severity, &name, None, format!("{why}: {error}"));
        }
        self.end = self.end.max(Some(base));
    }

    /// Whether a segment begins where the one before it ended.
    fn judge_start(&mut self, base: i64, name: &str) {
        let Some(end) = self.end else { return };
        let from = end.max(self.folder.log_start_offset);
        if base > from && !self.folder.sparse {
            let text = format!("offsets {from} to {} are missing before it", base - 1);
            self.find(Severity::Lost, name, None, text);
        } else if base < end {
            let text = format!("it begins with offset {base}, but the one before it ends at {end}");
            self.find(Severity::Lost, name, None, text);
        }
    }

    fn walk(&mut self, base: i64, next: Option<i64>) -> io::Result<()> {
        let (storage, dir) = (self.folder.storage, self.folder.dir);
        let file = storage.open(&dir.join(file_name(base, "log")), false)?;
        let len = file.len()?;
        let mut segment = Segment::new(base, file, len, Indexes::empty(base));
        segment.sparse = self.folder.sparse;
        let mut indexes = self.indexes(&segment)?;
        let epochs = self.epochs.clone();
        let mut latest = 0;
        let end = next.unwrap_or(i64::MAX);
        let mut walk = Walk::whole(&segment, CHUNK).up_to(end);
        loop {
            let (at, expected) = (walk.position(), walk.expected());
            let belongs = |header: &BatchHeader| match &epochs {
                Some(epochs) => {
                    let (first, last) = (header.base_offset, header.last_offset());
                    epochs.wrote(header.partition_leader_epoch, first, last)
                }
                None => header.partition_leader_epoch >= latest,
            };
            match walk.next(belongs)? {
                Step::End => break,
                Step::Batch(batch) => {
                    latest = batch.header().partition_leader_epoch;
                    indexes.batch(at, batch.header())?;
                    self.batch(&batch, at, base);
                }
                Step::Bad => {
                    let why = why(&segment, at, expected..end, belongs)?;
                    let point = self.report.recovery_point;
                    let boundary = next.unwrap_or(point).min(point);
                    if expected >= boundary {
                        let follows = walk.pass_bad(end, belongs)?;
                        self.ends_early(&segment, at, why, follows);
                        break;
                    }
                    let to = walk.pass_bad(boundary, belongs)?.unwrap_or(boundary);
                    let text = format!("offsets {expected} to {} can't be read: {why}", to - 1);
                    let was_deleted = to <= self.folder.log_start_offset;
                    let severity = if was_deleted { Severity::Note } else { Severity::Lost };
                    self.find(severity, &file_name(base, "log"), Some(at), text);
                    self.end = self.end.max(Some(to));
                }
            }
            (self.passed)(walk.position() - at);
        }
        (self.passed)(len - walk.position().min(len));
        self.judge_indexes(&segment, indexes)
    }

    /// Bytes behind the recovery point that are no batch: the log ends before them. A crash leaves
    /// them at the end; where a sound batch `follows`, it was something else, or power failed.
    fn ends_early(&mut self, segment: &Segment, at: u64, why: String, follows: Option<i64>) {
        let left = segment.size() - at;
        let (severity, sound) = match follows {
            Some(offset) => {
                (Severity::Lost, format!("sound ones follow from offset {offset} on; "))
            }
            None => (Severity::Unfinished, String::new()),
        };
        let text = format!("{why}; {sound}{left} bytes: {}", self.cutting());
        let name = file_name(segment.base_offset, "log");
        self.find(severity, &name, Some(at), text);
        self.end = self.end.max(Some(segment.base_offset));
        self.cut = true;
    }

    fn batch(&mut self, batch: &Batch, at: u64, base: i64) {
        let header = batch.header();
        self.report.batches += 1;
        self.report.bytes += header.size() as u64;
        self.report.records += header.record_count as u64;
        self.end = Some(header.next_offset());
        let expanded = match batch.expanded(DEFAULT_MAX_DECOMPRESSED_BYTES) {
            Ok(expanded) => expanded,
            Err(
                BatchError::UnsupportedCompression(_) | BatchError::DecompressedTooLarge { .. },
            ) => {
                self.compressed += 1;
                return;
            }
            Err(error) => return self.find_no_records(base, header, at, error.to_string()),
        };
        let mut last = None;
        for record in expanded.records() {
            let fault = match record {
                Ok(record) if last.is_none_or(|last| record.offset > last) => {
                    last = Some(record.offset);
                    continue;
                }
                Ok(record) => format!("the offsets do not rise at {}", record.offset),
                Err(error) => error.to_string(),
            };
            return self.find_no_records(base, header, at, fault);
        }
    }

    fn find_no_records(&mut self, base: i64, header: &BatchHeader, at: u64, fault: String) {
        let text = format!(
            "the batch at offset {} has the right CRC, but its records are none: {fault}",
            header.base_offset
        );
        self.find(Severity::Lost, &file_name(base, "log"), Some(at), text);
    }

    fn indexes(&mut self, segment: &Segment) -> io::Result<Pair> {
        let (storage, base) = (self.folder.storage, segment.base_offset);
        let (point, sparse) = (self.report.recovery_point, self.folder.sparse);
        let (index, timeindex) = segment.index_paths(self.folder.dir);
        let offsets = self.survey.indexes.contains_key(&base);
        let offsets = offsets.then(|| Beside::open(storage, &index, base, point, sparse));
        let times = self.survey.timeindexes.contains_key(&base);
        let times = times.then(|| Beside::open(storage, &timeindex, base, point, sparse));
        Ok(Pair { offsets: offsets.transpose()?, times: times.transpose()? })
    }

    fn judge_indexes(&mut self, segment: &Segment, mut indexes: Pair) -> io::Result<()> {
        indexes.end()?;
        let base = segment.base_offset;
        if let Some(offsets) = indexes.offsets {
            self.judge_index(&file_name(base, "index"), offsets.faults);
        }
        if let Some(times) = indexes.times {
            self.judge_index(&file_name(base, "timeindex"), times.faults);
        }
        Ok(())
    }

    fn judge_index(&mut self, name: &str, faults: Faults) {
        let Some((at, first)) = faults.first else { return };
        let (severity, then) = match faults.trusted {
            true => (Severity::Derived, "without the file, the next open makes it anew"),
            false => {
                (Severity::Unfinished, "the next open makes it anew from the recovery point on")
            }
        };
        let text = format!("{} entries are wrong, the first: {first}; {then}", faults.count);
        self.find(severity, name, Some(at), text);
    }
}

impl Pair {
    fn batch(&mut self, at: u64, header: &BatchHeader) -> io::Result<()> {
        self.offsets.as_mut().map_or(Ok(()), |index| index.batch(at, header))?;
        self.times.as_mut().map_or(Ok(()), |index| index.batch(header))
    }

    fn end(&mut self) -> io::Result<()> {
        self.offsets.as_mut().map_or(Ok(()), Beside::<OffsetEntry>::end)?;
        self.times.as_mut().map_or(Ok(()), Beside::<TimeEntry>::end)
    }
}

/// Why the bytes at `at` are not the next batch.
fn why(
    segment: &Segment,
    at: u64,
    offsets: Range<i64>,
    belongs: impl Fn(&BatchHeader) -> bool,
) -> io::Result<String> {
    let expected = offsets.start;
    let left = segment.size() - at;
    if left < HEADER_LEN as u64 {
        return Ok(format!("only {left} bytes of a batch"));
    }
    let header = match BatchHeader::parse(&read_exact_at(&*segment.file, at, HEADER_LEN)?) {
        Ok(header) => header,
        Err(error) => return Ok(error.to_string()),
    };
    if header.size() as u64 > left {
        return Ok(format!("only {left} bytes of a batch of {}", header.size()));
    }
    if !follows(segment.sparse, expected, &header) {
        return Ok(format!("a batch of offset {} where {expected} follows", header.base_offset));
    }
    if header.next_offset() > offsets.end {
        let last = header.last_offset();
        return Ok(format!("a batch up to offset {last}, but {} is another file's", offsets.end));
    }
    if !belongs(&header) {
        let epoch = header.partition_leader_epoch;
        return Ok(format!("leader epoch {epoch} did not write offset {expected}"));
    }
    let whole = read_exact_at(&*segment.file, at, header.size())?;
    Ok(check_crc(&whole).map_or_else(|error| error.to_string(), |()| "it is no batch".to_owned()))
}
