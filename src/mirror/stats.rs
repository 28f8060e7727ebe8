//! How far a mirror has come, for whoever watches.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use tokio::sync::watch;

use super::Guarantee;
use crate::error::{Error, Result};
use crate::log::LogReader;
use crate::record::Timestamp;
use crate::topic::{TopicId, TopicPartition};

/// How far a mirror has come: see [`Mirror::stats`](super::Mirror::stats).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct MirrorStats {
    /// Each partition of its topics, sorted.
    pub partitions: Vec<MirroredPartition>,
}

/// How far a partition is mirrored.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct MirroredPartition {
    /// Which.
    pub at: TopicPartition,
    /// The offset here of the record that comes next.
    pub next_offset: i64,
    /// How many offsets are not mirrored yet.
    pub lag: u64,
    /// How many bytes of this broker the partition takes, mirrored or not.
    pub size_bytes: u64,
    /// Records that the target has acknowledged since the mirror began.
    pub records: u64,
    /// In so many bytes.
    pub bytes: u64,
    /// Records that were gone before they were mirrored, since it began: dropped by
    /// [`Backlog::DropOldest`](super::Backlog::DropOldest), deleted by somebody, or damaged.
    pub lost: u64,
    /// What the target may have twice.
    pub guarantee: Guarantee,
    /// What keeps it from going on, if anything does.
    pub error: Option<Error>,
    /// Since when, by the broker's clock.
    pub failing_since: Option<Timestamp>,
}

impl MirrorStats {
    /// How many offsets are not mirrored yet.
    pub fn lag(&self) -> u64 {
        self.partitions.iter().map(|it| it.lag).sum()
    }

    /// Records that the target has acknowledged since the mirror began.
    pub fn records(&self) -> u64 {
        self.partitions.iter().map(|it| it.records).sum()
    }

    /// Records that were gone before they were mirrored, since it began.
    pub fn lost(&self) -> u64 {
        self.partitions.iter().map(|it| it.lost).sum()
    }

    /// What keeps some partition from going on, if anything does.
    pub fn error(&self) -> Option<&Error> {
        self.partitions.iter().find_map(|it| it.error.as_ref())
    }
}

/// A partition, in this life of its topic.
pub(super) type Key = (TopicPartition, TopicId);

/// What all tasks of a mirror tell.
#[derive(Debug, Default)]
pub(super) struct Progress {
    told: Mutex<Told>,
    changes: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Told {
    partitions: BTreeMap<TopicPartition, Entry>,
    /// What came of the first note at the end that failed.
    unnoted: Option<Error>,
    has_ended: bool,
}

#[derive(Debug)]
pub(super) struct Entry {
    id: TopicId,
    reader: LogReader,
    pub(super) next: i64,
    pub(super) records: u64,
    pub(super) bytes: u64,
    pub(super) lost: u64,
    pub(super) guarantee: Guarantee,
    failing: Option<(Error, Timestamp)>,
}

impl Progress {
    /// A partition is to be mirrored, from `next` on.
    pub(super) fn begin(&self, key: &Key, reader: LogReader, next: i64) {
        let (at, id) = key.clone();
        let (guarantee, failing) = (Guarantee::ExactlyOnce, None);
        let (records, bytes, lost) = (0, 0, 0);
        let entry = Entry { id, reader, next, records, bytes, lost, guarantee, failing };
        self.told().partitions.insert(at, entry);
    }

    /// It is gone.
    pub(super) fn end(&self, key: &Key) {
        let mut told = self.told();
        if told.partitions.get(&key.0).is_some_and(|entry| entry.id == key.1) {
            told.partitions.remove(&key.0);
        }
        drop(told);
        self.changed();
    }

    /// Takes note of something.
    pub(super) fn update(&self, key: &Key, change: impl FnOnce(&mut Entry)) {
        let mut told = self.told();
        if let Some(entry) = told.partitions.get_mut(&key.0).filter(|entry| entry.id == key.1) {
            change(entry);
        }
        drop(told);
        self.changed();
    }

    /// What keeps a partition from going on, as of `now`.
    pub(super) fn fails(&self, key: &Key, error: Error, now: Timestamp) {
        self.update(key, |entry| {
            let since = entry.failing.as_ref().map_or(now, |(_, since)| *since);
            if entry.failing.is_none() {
                tracing::warn!(partition = %key.0, %error, "the mirror waits");
            }
            entry.failing = Some((error, since));
        });
    }

    /// All tasks are gone.
    pub(super) fn ended(&self) {
        self.told().has_ended = true;
        self.changed();
    }

    /// The last note could not be written.
    pub(super) fn unnoted(&self, error: Error) {
        self.told().unnoted.get_or_insert(error);
    }

    /// Whether all was noted at the end.
    pub(super) fn noted(&self) -> Result<()> {
        self.told().unnoted.clone().map_or(Ok(()), Err)
    }

    /// Waits until these partitions are mirrored up to an offset each, or are gone.
    pub(super) async fn caught_up(
        &self,
        ends: &[(Key, i64)],
        is_gone: impl Fn(&Key) -> bool,
    ) -> Result<()> {
        let mut changes = self.changes.subscribe();
        loop {
            changes.mark_unchanged();
            let waits = {
                let told = self.told();
                if told.has_ended {
                    return Err(Error::closed("the mirror has ended"));
                }
                let is_there = |(key, end): &&(Key, i64)| {
                    let entry = told.partitions.get(&key.0).filter(|entry| entry.id == key.1);
                    entry.map_or_else(|| is_gone(key), |entry| entry.next >= *end)
                };
                !ends.iter().all(|it| is_there(&it))
            };
            if !waits {
                return Ok(());
            }
            // Fails only without the sender, which is here.
            let _ = changes.changed().await;
        }
    }

    pub(super) fn stats(&self) -> MirrorStats {
        let told = self.told();
        let each = told.partitions.iter().map(|(at, it)| MirroredPartition {
            at: at.clone(),
            next_offset: it.next,
            lag: u64::try_from(it.reader.high_watermark() - it.next).unwrap_or(0),
            size_bytes: it.reader.size(),
            records: it.records,
            bytes: it.bytes,
            lost: it.lost,
            guarantee: it.guarantee,
            error: it.failing.as_ref().map(|(error, _)| error.clone()),
            failing_since: it.failing.as_ref().map(|(_, since)| *since),
        });
        MirrorStats { partitions: each.collect() }
    }

    fn changed(&self) {
        self.changes.send_modify(|changes| *changes += 1);
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().expect("no one panics with what is told in hand")
    }
}

impl Entry {
    /// It goes on.
    pub(super) fn goes_on(&mut self) {
        self.failing = None;
    }
}
