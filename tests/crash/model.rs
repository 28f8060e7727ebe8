//! What a topic must hold, as far as that can be known from outside.

use std::collections::BTreeMap;

use ottla::{CleanupPolicy, Durability, TopicConfig, TopicId};

/// A record's number: in the order in which they were sent.
pub(super) type Id = u64;

/// How far records can overtake each other between sending and appending.
const OVERTAKING: Id = 200;

/// A record that was sent.
#[derive(Debug, Clone)]
pub(super) struct Sent {
    pub(super) producer: usize,
    pub(super) key: Option<String>,
    pub(super) value: Option<String>,
    pub(super) timestamp: i64,
    /// The partition, where it was chosen; any other is found out.
    pub(super) partition: Option<i32>,
    /// Where it was found, or said to be.
    pub(super) offset: Option<i64>,
    /// It was not there after a crash, and can't come any more.
    pub(super) dead: bool,
}

impl Sent {
    /// No batch takes more for it.
    fn bytes(&self) -> u64 {
        let len = |text: &Option<String>| text.as_ref().map_or(0, String::len) as u64;
        61 + 40 + len(&self.key) + len(&self.value)
    }
}

/// A record in the log, as it is since the broker was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) id: Id,
    pub(super) epoch: Option<i32>,
}

/// One partition.
#[derive(Debug, Default)]
pub(super) struct Partition {
    pub(super) known: BTreeMap<i64, Known>,
    /// The log's end when it was opened: up to there all is durable.
    pub(super) opened_end: i64,
    /// Records were deleted up to here, and that was answered.
    pub(super) deleted_to: i64,
    /// Or was asked for.
    pub(super) asked_to: i64,
    /// The latest epoch that was seen.
    pub(super) epoch: i32,
}

/// One life of a topic.
#[derive(Debug)]
pub(super) struct Topic {
    pub(super) name: String,
    /// No two have the same.
    pub(super) life: u64,
    pub(super) id: Option<TopicId>,
    pub(super) durability: Durability,
    pub(super) config: TopicConfig,
    pub(super) partitions: Vec<Partition>,
    pub(super) sent: BTreeMap<Id, Sent>,
    /// What its settings have allowed at any time.
    pub(super) allows: Allows,
}

/// What may be removed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Allows {
    pub(super) compacts: bool,
    /// The shortest `retention.ms`.
    retention: i64,
    /// The least that `retention.bytes` or `ottla.partition.max.bytes` let a log keep.
    bytes: u64,
    /// The shortest `delete.retention.ms`.
    tombstones: i64,
}

impl Allows {
    const NOTHING: Allows =
        Allows { compacts: false, retention: i64::MAX, bytes: u64::MAX, tombstones: i64::MAX };

    pub(super) fn add(&mut self, config: &TopicConfig) {
        let number = |name| config.get(name).and_then(|it| it.parse::<i64>().ok());
        let policy = config.get("cleanup.policy").unwrap_or("delete");
        self.compacts |= policy.contains("compact");
        if policy.contains("delete") {
            let retention = number("retention.ms").unwrap_or(7 * 24 * 3_600_000);
            self.retention = self.retention.min(if retention < 0 { i64::MAX } else { retention });
            if let Some(bytes) = number("retention.bytes").filter(|it| *it >= 0) {
                self.bytes = self.bytes.min(bytes as u64);
            }
        }
        if let Some(bytes) = number("ottla.partition.max.bytes").filter(|it| *it >= 0) {
            // One segment and one append less.
            self.bytes = self.bytes.min(bytes as u64 / 2);
        }
        self.tombstones =
            self.tombstones.min(number("delete.retention.ms").unwrap_or(24 * 3_600_000));
    }
}

impl Topic {
    pub(super) fn new(name: &str, life: u64, durability: Durability, config: TopicConfig) -> Self {
        let mut allows = Allows::NOTHING;
        allows.add(&config);
        let (partitions, sent) = (Vec::new(), BTreeMap::new());
        let name = name.to_owned();
        Topic { name, life, id: None, durability, config, partitions, sent, allows }
    }

    pub(super) fn grow(&mut self, partitions: usize) {
        self.partitions.resize_with(partitions, || Partition { epoch: -1, ..Partition::default() });
    }

    /// Whether records need keys now, or did when they were sent.
    pub(super) fn needs_keys(&self) -> bool {
        self.allows.compacts
    }

    pub(super) fn deletes(&self) -> bool {
        self.config.get("cleanup.policy") != Some(CleanupPolicy::Compact.to_string().as_str())
    }

    /// A record is at an offset: by an answer (no epoch), or because it was read.
    pub(super) fn learn(&mut self, partition: i32, offset: i64, id: Id, epoch: Option<i32>) {
        self.place(partition, offset, id);
        let name = &self.name;
        let known = &mut self.partitions[partition as usize].known;
        let known = known.entry(offset).or_insert(Known { id, epoch });
        let same_epoch = known.epoch.is_none() || epoch.is_none() || known.epoch == epoch;
        assert!(
            known.id == id && same_epoch,
            "{name}-{partition}@{offset}: {id} in {epoch:?}, but known is {known:?}"
        );
        known.epoch = known.epoch.or(epoch);
    }

    /// A record has this offset, and no other.
    pub(super) fn place(&mut self, partition: i32, offset: i64, id: Id) {
        let name = &self.name;
        let sent = self.sent.get_mut(&id);
        let sent = sent.unwrap_or_else(|| panic!("{name}-{partition}@{offset}: {id} is foreign"));
        let placed = sent.offset.is_none_or(|at| at == offset);
        let chosen = sent.partition.is_none_or(|it| it == partition);
        assert!(placed && chosen, "{name}-{partition}@{offset}: {id} is {sent:?}");
        sent.offset = Some(offset);
        sent.partition = Some(partition);
    }

    /// Whether what was at an offset may be gone. `stays` says whether what was sent later is
    /// there: by its offset, if that is known.
    pub(super) fn may_be_gone(
        &self,
        partition: i32,
        offset: i64,
        now: i64,
        stays: impl Fn(Option<i64>) -> bool,
    ) -> bool {
        let part = &self.partitions[partition as usize];
        let known = &part.known[&offset];
        let sent = &self.sent[&known.id];
        if offset < part.asked_to || self.is_expired(partition, known.id, now) {
            return true;
        }
        if !self.allows.compacts {
            return false;
        }
        let Some(key) = &sent.key else { return true };
        let same_key = |it: &Sent| it.key.as_ref() == Some(key);
        let later = self.sent.iter().filter(|(_, it)| {
            let here = it.partition.is_none_or(|it| it == partition) && !it.dead;
            here && same_key(it) && it.offset.is_none_or(|at| at >= offset)
        });
        let mut later = later;
        later.any(|(id, it)| {
            let replaces = it.offset != Some(offset) && stays(it.offset);
            replaces || self.is_past(it, now) || self.is_expired(partition, *id, now)
        })
    }

    /// A tombstone that has lost its purpose.
    fn is_past(&self, sent: &Sent, now: i64) -> bool {
        sent.value.is_none() && sent.timestamp.saturating_add(self.allows.tombstones) <= now
    }

    /// Whether retention may have removed a record.
    fn is_expired(&self, partition: i32, id: Id, now: i64) -> bool {
        if self.sent[&id].timestamp < now.saturating_sub(self.allows.retention) {
            return true;
        }
        if self.allows.bytes == u64::MAX {
            return false;
        }
        let later = self.sent.range(id.saturating_sub(OVERTAKING)..);
        let here = later.filter(|(_, it)| it.partition.is_none_or(|it| it == partition));
        here.map(|(_, it)| it.bytes()).sum::<u64>() >= self.allows.bytes
    }
}
