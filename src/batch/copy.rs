//! Records from one batch into another.

use std::borrow::Cow;

use bytes::BytesMut;

use super::{BatchBuilder, BatchError, Compression, RecordView, compress};
use crate::record::Payload;

/// Puts a record into another batch, as it is but for its offset.
pub fn copy_record(to: &mut BatchBuilder, view: &RecordView<'_>) {
    let headers = view.headers();
    let headers: Vec<_> =
        headers.map(|it| (Cow::Owned(it.key.into_owned()), it.value.map(Payload::from))).collect();
    to.push(view.timestamp.as_millis(), view.key, view.value, &headers);
}

/// Compresses a batch, where that makes it shorter.
pub fn pack(plain: BytesMut, codec: Compression) -> Result<BytesMut, BatchError> {
    if codec == Compression::None {
        return Ok(plain);
    }
    let compressed = compress(&plain, codec)?;
    Ok(if compressed.len() < plain.len() { compressed } else { plain })
}
