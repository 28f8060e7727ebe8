//! [`ProduceError`]: why a record was not produced, and the record.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::delivery::{BatchAck, Outcome, Place};
use crate::batch::{Batch, RecordView};
use crate::error::Error;
use crate::record::{Payload, Record};

/// Why a record was not produced. It has the record, too, so that it can be produced again.
///
/// `?` turns it into an [`Error`] where that is what a function returns.
pub struct ProduceError(Box<Failure>);

struct Failure {
    error: Error,
    record: FailedRecord,
}

enum FailedRecord {
    /// Never buffered.
    Whole(Record<'static>),
    /// Somewhere in a batch that failed; read from there when it is asked for.
    Buffered { ack: Arc<BatchAck>, place: Place },
}

impl ProduceError {
    /// For a record that was not buffered.
    pub(super) fn before_buffering(error: Error, record: Record<'_>) -> Self {
        let record = FailedRecord::Whole(record.into_owned());
        ProduceError(Box::new(Failure { error, record }))
    }

    /// For a record whose batch failed.
    pub(super) fn after_buffering(error: Error, ack: &Arc<BatchAck>, place: Place) -> Self {
        let record = FailedRecord::Buffered { ack: Arc::clone(ack), place };
        ProduceError(Box::new(Failure { error, record }))
    }

    /// What went wrong. All records of a batch fail with the same error, unless it was sent in
    /// parts.
    pub fn error(&self) -> &Error {
        &self.0.error
    }

    /// What went wrong, without the record.
    pub fn into_error(self) -> Error {
        self.0.error
    }

    /// The record, as it was given to the producer; but once it was buffered it has a timestamp.
    ///
    /// `None` only if the batch was lost with its broker, as when a runtime ends.
    pub fn record(&self) -> Option<Record<'static>> {
        match &self.0.record {
            FailedRecord::Whole(record) => Some(record.clone()),
            FailedRecord::Buffered { ack, place } => decode(ack, *place),
        }
    }

    /// As [`ProduceError::record`], without a copy of a record that was never buffered.
    pub fn into_record(self) -> Option<Record<'static>> {
        match self.0.record {
            FailedRecord::Whole(record) => Some(record),
            FailedRecord::Buffered { ack, place } => decode(&ack, place),
        }
    }
}

impl From<ProduceError> for Error {
    fn from(error: ProduceError) -> Error {
        error.into_error()
    }
}

impl fmt::Display for ProduceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0.error, f)
    }
}

impl fmt::Debug for ProduceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProduceError").field("error", &self.0.error).finish_non_exhaustive()
    }
}

impl std::error::Error for ProduceError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.error.source()
    }
}

/// Reads one record of a failed batch, which is not compressed any more. It shares the batch's
/// bytes.
fn decode(ack: &BatchAck, place: Place) -> Option<Record<'static>> {
    let batch = ack.outcome().and_then(Outcome::batch)?;
    let batch = Batch::parse(batch.clone()).ok()?;
    let view = batch.records().nth(usize::try_from(place.index()).ok()?)?.ok()?;
    let mut record = to_record(&view, batch.bytes(), ack.at.topic.as_str());
    // Not the view's: a broker may have written its own time into the batch before it failed.
    record.timestamp = Some(place.timestamp);
    record.partition = place.explicit_partition().then_some(ack.at.partition);
    Some(record)
}

fn to_record(view: &RecordView<'_>, batch: &Bytes, topic: &str) -> Record<'static> {
    let share = |slice: &[u8]| Payload::from(batch.slice_ref(slice));
    let mut record = Record::to(topic.to_owned());
    record.key = view.key.map(share);
    record.value = view.value.map(share);
    let headers = view.headers();
    record.headers =
        headers.map(|h| (Cow::Owned(h.key.into_owned()), h.value.map(share))).collect();
    record
}
