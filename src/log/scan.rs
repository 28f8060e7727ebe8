//! Walking the batches of a segment file, and finding the way on behind bytes that are none.
//!
//! Nothing here trusts a file: a batch counts if it is whole, its CRC is right, it begins at the
//! offset where the one before it ended (or, in a sparse segment, behind it), and its leader epoch
//! is the one of that offset. Behind
//! bad bytes a batch counts again only if something besides itself says where it belongs, for
//! a record may hold the image of a batch, and the CRC does not cover offsets.

use std::io;

use bytes::Bytes;

use crate::batch::{Batch, BatchHeader, HEADER_LEN, check_crc};
use crate::storage::{StorageFile, read_exact_at};

use super::segment::Segment;

/// How much a search for the next good batch reads at a time.
const RESYNC_WINDOW: usize = 256 * 1024;

/// Walks the batches of a file one after the other, reading a chunk at a time.
pub(super) struct Scanner<'a> {
    file: &'a dyn StorageFile,
    position: u64,
    end: u64,
    chunk_len: usize,
    /// Whether to wait for a disk; otherwise what is not at hand is `WouldBlock`.
    waits: bool,
    /// Bytes read already, starting at `position`.
    chunk: Bytes,
}

/// What a walk met.
pub(super) enum Step {
    /// A whole batch.
    Batch(Batch),
    /// Bytes that are no batch, or only the beginning of one. The walk has not passed them.
    Bad,
    /// Nothing more.
    End,
}

impl<'a> Scanner<'a> {
    fn new(file: &'a dyn StorageFile, position: u64, end: u64, chunk: usize) -> Self {
        let chunk_len = chunk.max(HEADER_LEN);
        Scanner { file, position, end, chunk_len, waits: true, chunk: Bytes::new() }
    }

    /// The next batch if its header makes sense. Its CRC is not checked.
    fn next(&mut self) -> io::Result<Step> {
        if self.position >= self.end {
            return Ok(Step::End);
        }
        if !self.fill(HEADER_LEN)? {
            return Ok(Step::Bad);
        }
        let Ok(header) = BatchHeader::parse(&self.chunk) else { return Ok(Step::Bad) };
        if !self.fill(header.size())? {
            return Ok(Step::Bad);
        }
        let Ok(batch) = Batch::parse(self.chunk.clone()) else { return Ok(Step::Bad) };
        Ok(Step::Batch(batch))
    }

    fn pass(&mut self, len: usize) {
        bytes::Buf::advance(&mut self.chunk, len);
        self.position += len as u64;
    }

    fn skip_to(&mut self, position: u64) {
        self.chunk = Bytes::new();
        self.position = position;
    }

    /// Sees to it that the chunk holds `len` bytes, if the file has them.
    fn fill(&mut self, len: usize) -> io::Result<bool> {
        if self.chunk.len() >= len {
            return Ok(true);
        }
        let left = self.end - self.position;
        if left < len as u64 {
            return Ok(false);
        }
        let wanted = self.chunk_len.max(len).min(usize::try_from(left).unwrap_or(usize::MAX));
        if !self.waits {
            let chunk = self.file.read_cached(self.position, wanted);
            self.chunk = chunk.ok_or(io::ErrorKind::WouldBlock)?;
            return Ok(true);
        }
        self.chunk = self.file.read_at(self.position, wanted)?;
        if self.chunk.len() < len {
            self.chunk = read_exact_at(self.file, self.position, len)?;
        }
        Ok(true)
    }
}

/// Walks a segment's batches in order, checking each.
pub(super) struct Walk<'a> {
    segment: &'a Segment,
    scanner: Scanner<'a>,
    /// The offset at which the next batch must begin.
    expected: i64,
    /// The offset that ends the segment.
    end: i64,
    /// Whether bytes are checked at all: not those that never left this process's memory.
    verify: bool,
}

impl<'a> Walk<'a> {
    /// From the batch at `position`, which begins with offset `expected`.
    pub(super) fn new(segment: &'a Segment, position: u64, expected: i64, chunk: usize) -> Self {
        let scanner = Scanner::new(&*segment.file, position, segment.size(), chunk);
        Walk { segment, scanner, expected, end: i64::MAX, verify: true }
    }

    /// From the segment's first batch.
    pub(super) fn whole(segment: &'a Segment, chunk: usize) -> Self {
        Walk::new(segment, 0, segment.base_offset, chunk)
    }

    /// From a batch shortly before `offset`, or the one that holds it.
    pub(super) fn to(segment: &'a Segment, offset: i64, chunk: usize) -> io::Result<Self> {
        let (position, expected) = segment.seek(offset)?;
        Ok(Walk::new(segment, position, expected, chunk))
    }

    /// Takes every batch for good, if so told.
    pub(super) fn verifying(mut self, verify: bool) -> Self {
        self.verify = verify;
        self
    }

    /// Reads what is at hand without waiting for a disk, if so told. What is not is `WouldBlock`.
    pub(super) fn waiting(mut self, waits: bool) -> Self {
        self.scanner.waits = waits;
        self
    }

    /// Takes no batch for good that goes beyond `end`, where the next segment begins: the offsets
    /// from there on are that one's.
    pub(super) fn up_to(mut self, end: i64) -> Self {
        self.end = end;
        self
    }

    /// Where the next batch begins.
    pub(super) fn position(&self) -> u64 {
        self.scanner.position
    }

    /// The offset with which the next batch begins.
    pub(super) fn expected(&self) -> i64 {
        self.expected
    }

    /// Where the header ends of the batch that [`next`](Self::next) has found bad; where it begins,
    /// if not even that is one.
    pub(super) fn behind_header(&self) -> u64 {
        let header = BatchHeader::parse(&self.scanner.chunk);
        self.position() + header.map_or(0, |_| HEADER_LEN as u64)
    }

    /// Bytes that the next batch takes, as far as known without reading: a header at least.
    pub(super) fn next_size(&self) -> usize {
        BatchHeader::parse(&self.scanner.chunk).map_or(HEADER_LEN, |header| header.size())
    }

    /// The next batch. `belongs` says whether its epoch is that of its offset.
    pub(super) fn next(&mut self, belongs: impl Fn(&BatchHeader) -> bool) -> io::Result<Step> {
        let step = self.scanner.next()?;
        let Step::Batch(batch) = &step else { return Ok(step) };
        let header = *batch.header();
        let good = !self.verify
            || follows(self.segment.sparse, self.expected, &header)
                && header.next_offset() <= self.end
                && belongs(&header)
                && is_whole(batch.bytes());
        if !good {
            return Ok(Step::Bad);
        }
        self.scanner.pass(header.size());
        self.expected = header.next_offset();
        Ok(step)
    }

    /// Passes bad bytes: goes on at the next good batch and returns its offset. `None`, at the
    /// segment's end, if there is none. `boundary` is an offset at which a batch begins or the
    /// segment ends; no batch from beyond it is looked for.
    pub(super) fn pass_bad(
        &mut self,
        boundary: i64,
        belongs: impl Fn(&BatchHeader) -> bool,
    ) -> io::Result<Option<i64>> {
        let (from, end) = (self.scanner.position, self.scanner.end);
        let (expected, sparse) = (self.expected, self.segment.sparse);
        let search = Search { file: &*self.segment.file, end, expected, boundary, sparse };
        match search.next_good(from, belongs)? {
            Some((position, header)) => {
                self.scanner.skip_to(position);
                self.expected = header.base_offset;
                Ok(Some(header.base_offset))
            }
            None => {
                self.scanner.skip_to(end);
                Ok(None)
            }
        }
    }
}

/// Whether a batch can begin where `offset` is expected.
pub(super) fn follows(sparse: bool, offset: i64, header: &BatchHeader) -> bool {
    header.base_offset == offset || sparse && header.base_offset > offset
}

fn is_whole(bytes: &[u8]) -> bool {
    #[cfg(test)]
    if super::tests::sabotage::SKIP_CRC.get() {
        return true;
    }
    check_crc(bytes).is_ok()
}

/// A search for the first good batch behind bad bytes.
struct Search<'a> {
    file: &'a dyn StorageFile,
    end: u64,
    /// The offset at which the bad bytes begin.
    expected: i64,
    boundary: i64,
    sparse: bool,
}

impl Search<'_> {
    /// The batch that the bad one's own length points to, or else the next that a search byte by
    /// byte finds.
    fn next_good(
        &self,
        from: u64,
        belongs: impl Fn(&BatchHeader) -> bool,
    ) -> io::Result<Option<(u64, BatchHeader)>> {
        let bad = self.header_at(from)?;
        if let Some(bad) = bad
            && let Some(header) = self.good_at(from + bad.size() as u64, Some(bad), &belongs)?
        {
            return Ok(Some((from + bad.size() as u64, header)));
        }
        let mut position = from + 1;
        while position.saturating_add(HEADER_LEN as u64) <= self.end {
            let left = usize::try_from(self.end - position).unwrap_or(usize::MAX);
            let window = read_exact_at(self.file, position, left.min(RESYNC_WINDOW))?;
            let last = window.len() - HEADER_LEN;
            for i in (0..=last).filter(|i| window[i + 16] == 2) {
                let at = position + i as u64;
                if BatchHeader::parse(&window[i..]).is_ok_and(|header| self.admits(&header, at))
                    && let Some(header) = self.good_at(at, bad, &belongs)?
                {
                    return Ok(Some((at, header)));
                }
            }
            position += last as u64 + 1;
        }
        Ok(None)
    }

    fn admits(&self, header: &BatchHeader, at: u64) -> bool {
        (self.expected..=self.boundary).contains(&header.base_offset)
            && header.size() as u64 <= self.end - at
    }

    fn header_at(&self, position: u64) -> io::Result<Option<BatchHeader>> {
        if position.saturating_add(HEADER_LEN as u64) > self.end {
            return Ok(None);
        }
        Ok(BatchHeader::parse(&read_exact_at(self.file, position, HEADER_LEN)?).ok())
    }

    fn good_at(
        &self,
        at: u64,
        bad: Option<BatchHeader>,
        belongs: impl Fn(&BatchHeader) -> bool,
    ) -> io::Result<Option<BatchHeader>> {
        let Some(header) = self.header_at(at)? else { return Ok(None) };
        if !self.admits(&header, at) || !belongs(&header) || !self.is_confirmed(at, &header, bad)? {
            return Ok(None);
        }
        let whole = read_exact_at(self.file, at, header.size())?;
        Ok(is_whole(&whole).then_some(header))
    }

    /// Whether what stands before or after the batch agrees with its offset.
    fn is_confirmed(
        &self,
        at: u64,
        header: &BatchHeader,
        bad: Option<BatchHeader>,
    ) -> io::Result<bool> {
        let follows_bad = |bad: BatchHeader| {
            follows(self.sparse, self.expected, &bad)
                && follows(self.sparse, bad.next_offset(), header)
        };
        if [header.base_offset, header.next_offset()].contains(&self.boundary)
            || bad.is_some_and(follows_bad)
        {
            return Ok(true);
        }
        let next = self.header_at(at + header.size() as u64)?;
        Ok(next.is_some_and(|next| follows(self.sparse, header.next_offset(), &next)))
    }
}
