//! What was read of a source, as batches for its target. Pure.
//!
//! A batch that is long enough goes as it is. Short ones are put together: a request costs both
//! ends much more than a record does.

use std::collections::VecDeque;

use bytes::BytesMut;

use crate::batch::{
    Batch, BatchBuilder, BatchError, BatchHeader, Compression, RecordView, copy_record, pack, patch,
};
use crate::record::TimestampType;

/// The bytes of a length, a varint, at most.
const MAX_LENGTH: usize = 5;

/// Batches that were read, and not sent yet.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    batches: VecDeque<Batch>,
    end: i64,
}

/// What is sent next.
#[derive(Debug)]
pub(super) struct Next {
    /// A batch that is nobody's yet, with offsets from 0 on.
    pub(super) batch: BytesMut,
    pub(super) records: i32,
    /// The source's offset of its first record.
    pub(super) first: i64,
    /// The source's offset behind its last record.
    pub(super) end: i64,
    /// The leader epoch that wrote the last of its records.
    pub(super) source_epoch: i32,
}

/// How batches are to be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Form {
    /// Bytes, before they are compressed. A record alone may be longer.
    pub(super) limit: usize,
    /// `None`: as they were.
    pub(super) codec: Option<Compression>,
    /// Whether offsets of one batch follow one another.
    pub(super) without_holes: bool,
}

impl Outgoing {
    pub(super) fn push(&mut self, batches: Vec<Batch>) {
        self.end = batches.last().map_or(self.end, |last| last.header().next_offset());
        self.batches.extend(batches);
    }

    /// The source's offset behind all that was pushed. The last records may have been left out by
    /// compaction.
    pub(super) fn end(&self) -> i64 {
        self.end
    }

    /// The next batch, of records from `from` on; `None` if there are none. What it has of what was
    /// pushed stays until it is asked for what comes later.
    pub(super) fn next(&mut self, from: i64, form: Form) -> Result<Option<Next>, BatchError> {
        while let Some(batch) = self.batches.front() {
            let header = batch.header();
            if header.next_offset() > from && header.record_count > 0 {
                break;
            }
            self.batches.pop_front();
        }
        let Some(batch) = self.batches.front() else { return Ok(None) };
        if self.goes_whole(batch, from, form) {
            return Ok(Some(whole(batch)));
        }
        self.gather(from, form)
    }

    fn goes_whole(&self, batch: &Batch, from: i64, form: Form) -> bool {
        let (header, size) = (batch.header(), batch.bytes().len());
        let is_long = size > form.limit / 2 || self.batches.len() == 1;
        size <= form.limit && is_long && is_plain(header, from) && {
            form.codec.is_none_or(|codec| codec == header.compression())
        }
    }

    /// Puts records together until there are no more, or the batch is long enough.
    fn gather(&self, from: i64, form: Form) -> Result<Option<Next>, BatchError> {
        let mut builder = BatchBuilder::new(BytesMut::with_capacity(form.limit.min(1 << 16)));
        let mut codec = form.codec;
        let (mut first, mut end, mut source_epoch) = (from, from, -1);
        'all: for batch in &self.batches {
            let header = *batch.header();
            codec.get_or_insert(header.compression());
            let plain = batch.expanded(usize::MAX)?;
            for view in plain.records() {
                let view = view?;
                if view.offset < from {
                    continue;
                }
                let is_first = builder.is_empty();
                let has_hole = form.without_holes && view.offset != end;
                if !is_first && (has_hole || builder.len() + size(&view) > form.limit) {
                    break 'all;
                }
                if is_first {
                    first = view.offset;
                }
                copy_record(&mut builder, &view);
                end = view.offset + 1;
                source_epoch = source_epoch.max(header.partition_leader_epoch);
            }
        }
        if builder.is_empty() {
            return Ok(None);
        }
        let records = builder.count();
        let batch = pack(builder.finish(), codec.unwrap_or(Compression::None))?;
        Ok(Some(Next { batch, records, first, end, source_epoch }))
    }
}

/// Whether another broker takes the batch for a producer's.
fn is_plain(header: &BatchHeader, from: i64) -> bool {
    header.base_offset == from
        && header.record_count == header.last_offset_delta + 1
        && header.timestamp_type() == TimestampType::CreateTime
        && header.delete_horizon().is_none()
        && !header.is_control()
        && !header.is_transactional()
}

fn whole(batch: &Batch) -> Next {
    let header = batch.header();
    let mut bytes = BytesMut::from(&batch.bytes()[..]);
    patch(&mut bytes, 0, -1);
    Next {
        batch: bytes,
        records: header.record_count,
        first: header.base_offset,
        end: header.next_offset(),
        source_epoch: header.partition_leader_epoch,
    }
}

/// What a record takes at most: that of an empty one, and its parts, each behind a length.
fn size(view: &RecordView<'_>) -> usize {
    let part = |bytes: Option<&[u8]>| MAX_LENGTH + bytes.map_or(0, <[u8]>::len);
    let headers = view.headers().map(|it| part(Some(it.key.as_bytes())) + part(it.value));
    BatchBuilder::record_size_upper_bound(None, None, &[])
        + part(view.key)
        + part(view.value)
        + headers.sum::<usize>()
}

#[cfg(test)]
mod tests;
