//! Where batches stand, for whoever sends them from their file without reading them.
//!
//! Only their headers are read. So that nothing is handed out unchecked all the same, they have to
//! be bytes that this process has written, or has read before and found sound, and they have to be
//! in the page cache: what has come back from a disk since is read, and checked, as usual. (Headers
//! stand for their batches here; a client checks CRCs, too.) Of what this process has written
//! within the last minute, which is what most consumers want, only the last few headers are read:
//! where they are, the index says.

use std::ops::Range;

use crate::batch::{BatchHeader, HEADER_LEN};
use crate::log::scan::follows;
use crate::log::segment::Segment;
use crate::record::Timestamp;
use crate::storage::SharedFile;

use super::{LogReader, Place, ReadCursor};

/// Less is read: it costs less than what sending from a file takes besides.
const MIN_LEN: u64 = 64 << 10;

/// Smaller batches, on average, are read: they have so many headers.
const MIN_BATCH: u64 = 4 << 10;

/// After so many batches it is known how small they are.
const SAMPLE: u64 = 8;

/// Whole batches in a file. They stay readable there, whatever becomes of the log.
#[derive(Debug, Clone)]
pub struct FileRange {
    /// The file.
    pub file: SharedFile,
    /// Where they begin.
    pub position: u64,
    /// How many bytes they are.
    pub len: usize,
}

impl LogReader {
    /// What [`LogReader::read`] would return, as a range of a file, if it can be had at once, can
    /// be sent as it is, and is worth it. `None` says nothing, and leaves the cursor as it was.
    pub fn locate(
        &self,
        cursor: &mut ReadCursor,
        max_bytes: usize,
        now: Timestamp,
    ) -> Option<FileRange> {
        let sight = self.sight();
        self.check_position(cursor).ok()?;
        if self.0.counters.has_failed() {
            // What is read again may not be what was written.
            return None;
        }
        let mut attempt = cursor.clone();
        let Place { segment, position, offset } = self.place_of(&mut attempt)?;
        let end = segment.checked_from(position).min(segment.size());
        let end = end.min(position.saturating_add(max_bytes as u64));
        if offset != cursor.offset || end.saturating_sub(position) < MIN_LEN {
            return None;
        }
        let file = segment.file.shared()?;
        let last_offset = self.0.end_of(&segment);
        let (mut at, mut expected, mut count) = (position, offset, 0);
        if position >= segment.young_from(now)
            && let Some(indexed) = indexed(&segment, &file, position..end)
            && (offset + 1..sight.limit).contains(&indexed.1)
        {
            (at, expected) = indexed;
        }
        let mut last = None;
        let mut bytes = [0; HEADER_LEN];
        while at + HEADER_LEN as u64 <= end {
            if !file.read_cached(&mut bytes, at) {
                return None;
            }
            let header = BatchHeader::parse(&bytes).ok()?;
            let is_next = follows(segment.sparse, expected, &header)
                && header.next_offset() <= last_offset
                && self.0.belongs(&header);
            if !is_next {
                return None;
            }
            if header.base_offset >= sight.limit || at + header.size() as u64 > end {
                break;
            }
            at += header.size() as u64;
            expected = header.next_offset();
            last = Some(header);
            count += 1;
            if count == SAMPLE && at - position < SAMPLE * MIN_BATCH {
                return None;
            }
        }
        let is_long = at - position >= MIN_LEN;
        attempt.pass(&last?, Place { segment: segment.clone(), position: at, offset: expected });
        if !is_long || !segment.is_live() || !self.still_holds(&sight) {
            return None;
        }
        let len = (at - position) as usize;
        self.0.counters.read(len);
        *cursor = attempt;
        Some(FileRange { file, position, len })
    }
}

/// A batch in `range`, the last that the index, in memory, knows to end there: its position, and
/// its base offset.
fn indexed(segment: &Segment, file: &SharedFile, range: Range<u64>) -> Option<(u64, i64)> {
    let entry = {
        let indexes = segment.read_indexes();
        let entries = indexes.offsets.held();
        let begun = entries.partition_point(|entry| entry.position <= range.end);
        // The last may end behind the range. The one before it ends where that begins, or earlier.
        *entries.get(begun.checked_sub(2)?).filter(|entry| entry.position > range.start)?
    };
    let mut bytes = [0; HEADER_LEN];
    let is_read = file.read_cached(&mut bytes, entry.position);
    let header = BatchHeader::parse(&bytes).ok().filter(|_| is_read)?;
    (header.last_offset() == entry.last_offset).then_some((entry.position, header.base_offset))
}
