//! What opening a data directory found and mended.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::log::Recovered;
use crate::topic::{TopicName, TopicPartition};

/// What opening a data directory found and mended. Nothing mended after a clean shutdown.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct RecoveryReport {
    /// Whether the last broker here was shut down; true for a new directory.
    pub clean_shutdown: bool,
    /// The partitions that had to be mended, and how.
    pub partitions: BTreeMap<TopicPartition, Recovered>,
    /// Topics that the catalog had lost; they have default settings now.
    pub topics_without_catalog: Vec<TopicName>,
    /// Records of the catalog that could not be read.
    pub unreadable_catalog_records: usize,
    /// Folders that were in the way of a topic's, and their new names.
    pub stray: Vec<String>,
    /// Files and folders in the data directory that are not ottla's. They are left alone.
    pub foreign: Vec<String>,
    /// Bytes of logs that were read and checked: little more than what followed the recovery
    /// points. Those stay behind what is appended by 10 s or 64 MiB, whichever is more, or 1 GiB
    /// if that is less; they move to the end where there are pauses, and at a shutdown.
    pub scanned_bytes: u64,
    /// How long it took.
    pub took: Duration,
}
