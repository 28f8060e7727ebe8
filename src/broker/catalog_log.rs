//! The catalog's log: opened before all others, read once, shortened when most of it is history.

use std::io;
use std::sync::Arc;

use crate::log::{Log, LogConfig, LogReader, Opening, ReadCursor, ReadError, Recovered};
use crate::storage::Storage;
use crate::topic::{TopicId, TopicPartition};

use super::catalog::{Catalog, Change, decode, encode};
use super::folders::CATALOG_TOPIC;

/// Records of the catalog that are kept though later ones have replaced them.
const CATALOG_HISTORY: i64 = 1000;

/// The log, and the sum of its records.
pub(crate) struct CatalogLog {
    pub(super) log: Log,
    pub(crate) catalog: Catalog,
    pub(super) recovered: Recovered,
    /// Records that could not be read.
    pub(crate) unreadable: usize,
}

impl CatalogLog {
    /// Its name.
    pub(crate) fn partition() -> TopicPartition {
        TopicPartition::new(CATALOG_TOPIC, 0).expect("a legal name")
    }

    /// Its topic's id, in every data directory.
    pub(crate) fn topic_id() -> TopicId {
        TopicId(1u128.to_be_bytes())
    }

    /// Opens it, and reads all of it.
    pub(crate) fn open(storage: Arc<dyn Storage>, clean: bool) -> io::Result<CatalogLog> {
        let partition = CatalogLog::partition();
        let (log, recovered) = Log::open(Opening {
            storage,
            dir: partition.to_string().into(),
            topic_id: CatalogLog::topic_id(),
            config: LogConfig {
                sync_before_visible: true,
                retention: None,
                segment_bytes: 1 << 20,
                ..LogConfig::default()
            },
            clean,
            min_epoch: 0,
            log_start_offset: 0,
            sparse: false,
            recovery_point: None,
            pressure: None,
            partition,
        })?;
        let (catalog, unreadable) = read(&log.reader())?;
        Ok(CatalogLog { log, catalog, recovered, unreadable })
    }
}

fn read(reader: &LogReader) -> io::Result<(Catalog, usize)> {
    let (mut catalog, mut unreadable) = (Catalog::default(), 0);
    let mut cursor = ReadCursor::new(reader.log_start_offset(), -1);
    loop {
        match reader.read(&mut cursor, 1 << 20) {
            Ok(batches) if batches.is_empty() => return Ok((catalog, unreadable)),
            Ok(batches) => {
                for batch in &batches {
                    let (changes, left_out) = decode(batch);
                    changes.into_iter().for_each(|change| catalog.apply(change));
                    unreadable += left_out;
                }
            }
            Err(ReadError::Corrupt { from, to }) => unreadable += (to - from) as usize,
            Err(error) => return Err(io::Error::other(error)),
        }
    }
}

/// Whether most of a catalog's log has been replaced by later records.
pub(super) fn is_mostly_history(log: &LogReader, state: usize) -> bool {
    let records = log.log_end_offset() - log.log_start_offset();
    records > CATALOG_HISTORY && records > 4 * state as i64
}

/// Replaces a catalog's log by a copy of the state.
pub(super) fn shorten(log: &mut Log, snapshot: &[Change]) -> io::Result<()> {
    log.roll_now().map_err(io::Error::other)?;
    let start = log.log_end_offset();
    write(log, snapshot)?;
    log.advance_log_start(start).map_err(io::Error::other)
}

pub(super) fn write(log: &mut Log, changes: &[Change]) -> io::Result<()> {
    for part in changes.chunks(500) {
        log.append_now(encode(part, 0)).map_err(io::Error::other)?;
    }
    Ok(())
}
