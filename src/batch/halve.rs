//! Parting a batch in two: one that is too large for a broker is sent in parts.

use bytes::BytesMut;

use super::{Batch, BatchBuilder, BatchError, HEADER_LEN, copy_record, pack};

/// The batch as two, about equally long before they are compressed, as it was; `None` if it has not
/// got two records.
///
/// Records keep their order and their times. Offsets begin at 0 in each, and neither is an
/// idempotent producer's yet.
pub fn halve(batch: &Batch) -> Result<Option<[BytesMut; 2]>, BatchError> {
    let codec = batch.header().compression();
    let batch = batch.expanded(usize::MAX)?;
    let records = batch.header().record_count;
    if records < 2 {
        return Ok(None);
    }
    let half = HEADER_LEN + (batch.bytes().len() - HEADER_LEN) / 2;
    let mut halves = [half, half].map(|len| BatchBuilder::new(BytesMut::with_capacity(len)));
    for (index, view) in (1..).zip(batch.records()) {
        let [first, second] = &mut halves;
        // Both get a record, however long it is.
        let is_over = !first.is_empty() && (first.len() >= half || index == records);
        copy_record(if is_over { second } else { first }, &view?);
    }
    let [first, second] = halves.map(|half| pack(half.finish(), codec));
    Ok(Some([first?, second?]))
}
