//! One bit of a file turns while nobody looks: what may be lost by that, and what must not.
//!
//! Never is a record served that was not sent, and opening does not fail. A batch that can't be
//! read is lost, and no other, if it was known to be durable (before the recovery point), but for
//! one between two of that kind, as nothing tells where it belongs; behind that it looks like what
//! a crash leaves, and the log is cut there. Either is told. Of all other files of a partition no
//! record is lost. What is in the catalog and of groups may be as it was
//! earlier.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::disk::{Lie, What};
use super::faults::Kind;
use super::groups::OFFSETS;
use super::world::{Crash, World};

/// Where a batch has its CRC, and its records.
const CRC: usize = 17;
const HEADER: usize = 61;

const CATALOG: &str = "__ottla_catalog";

const RECOVERY_POINT: &str = "recovery-point-offset-checkpoint";

/// What was damaged in a partition's folder at any time.
#[derive(Debug, Default)]
pub(super) struct History {
    /// The first offset of each batch.
    hit: BTreeSet<i64>,
    /// What says up to where the log is known to be durable.
    point: bool,
}

/// What was damaged since the broker was open last.
#[derive(Debug, Clone)]
pub(super) enum Damage {
    /// Of a partition's files, by which these offsets may be lost.
    Partition {
        topic: String,
        partition: i32,
        from: i64,
        to: i64,
    },
    Catalog,
    Offsets,
    /// What concerns nobody.
    Other,
}

impl Damage {
    /// Whether it is in this partition's folder.
    pub(super) fn is_in(&self, name: &str, number: i32) -> bool {
        matches!(
            self,
            Damage::Partition { topic, partition, .. } if topic == name && *partition == number
        )
    }

    /// Whether a record may be lost by it: the one at this offset, or any.
    pub(super) fn explains(&self, name: &str, number: i32, offset: Option<i64>) -> bool {
        match self {
            Damage::Partition { topic, partition, from, to } => {
                let here = topic == name && *partition == number;
                here && offset.map_or(from < to, |offset| (*from..*to).contains(&offset))
            }
            _ => false,
        }
    }
}

impl World {
    /// Turns a bit of some file, between two lives.
    pub(super) fn perhaps_damage(&mut self) {
        if let Some(lie) = self.lie {
            return self.damage_unseen(lie);
        }
        if self.kind != Kind::Damage || !self.dice.one_in(3) {
            return;
        }
        // What says which version of the format this is must be believed, or nothing can be.
        let is_meant = |path: &PathBuf| path.iter().count() > 1;
        let is_full = |path: &PathBuf| {
            is_meant(path) && self.disk.read_file(path).is_some_and(|it| !it.is_empty())
        };
        let files: Vec<PathBuf> = self.disk.paths().into_iter().filter(is_full).collect();
        let is_log = |path: &&PathBuf| path.extension().is_some_and(|it| it == "log");
        let logs: Vec<PathBuf> = files.iter().filter(is_log).cloned().collect();
        let from = if self.dice.one_in(2) { logs } else { files };
        if from.is_empty() {
            return;
        }
        let path = from[self.dice.index(from.len())].clone();
        let before = self.disk.read_file(&path).expect("it was not empty");
        let bit = self.disk.flip_random_bit(&path).expect("it was not empty");
        let damage = self.damage_of(&path, &before, (bit / 8) as usize);
        let text = std::str::from_utf8(&before).ok().filter(|it| it.len() < 200);
        let was = text.map_or(String::new(), |text| format!(", was {text:?}"));
        self.note(|| format!("bit {bit} of {} turns: {damage:?}{was}", path.display()));
        self.tally.flipped.add(1);
        self.damage.push(damage);
        self.is_damaged = true;
    }

    /// Turns a bit in the first batch of some file, and sets its CRC right.
    fn damage_unseen(&mut self, lie: Lie) {
        let is_meant = |path: &PathBuf| lie.is_told(What::Checksum, path);
        let files: Vec<PathBuf> = self.disk.paths().into_iter().filter(is_meant).collect();
        let content = |path: &PathBuf| self.disk.read_file(path).filter(|it| it.len() > HEADER);
        for (path, bytes) in files.iter().filter_map(|path| Some((path, content(path)?))) {
            let len = i32::from_be_bytes(bytes[8..12].try_into().expect("four bytes"));
            let size = 12 + usize::try_from(len).unwrap_or(0);
            if size <= HEADER || size > bytes.len() {
                continue;
            }
            let mut batch = bytes[..size].to_vec();
            let byte = HEADER + self.dice.index(size - HEADER);
            batch[byte] ^= 1;
            let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, &batch[CRC + 4..]);
            batch[CRC..CRC + 4].copy_from_slice(&(crc as u32).to_be_bytes());
            let differs = |bit: &usize| (batch[bit / 8] ^ bytes[bit / 8]) >> (bit % 8) & 1 == 1;
            for bit in (0..size * 8).filter(differs) {
                self.disk.flip_bit(path, bit as u64);
            }
        }
    }

    fn damage_of(&mut self, path: &Path, before: &[u8], byte: usize) -> Damage {
        let folder = path.iter().next().expect("it has a name").to_string_lossy().into_owned();
        if folder.starts_with(CATALOG) {
            return Damage::Catalog;
        }
        if folder.starts_with(OFFSETS) {
            return Damage::Offsets;
        }
        let parts = folder.rsplit_once('-');
        let Some((topic, Ok(partition))) = parts.map(|(name, n)| (name, n.parse::<i32>())) else {
            return Damage::Other;
        };
        let file = path.file_name().expect("it is a file").to_string_lossy().into_owned();
        let topic = topic.to_owned();
        let point = self.recovery_point(&folder);
        let history = self.history.entry(folder).or_default();
        let (from, to) = match file.split_once(".log") {
            Some((base, rest)) if !rest.starts_with(".cut-") => {
                let batches = batches_in(before, base.parse().unwrap_or(0));
                let (from, to) = history.is_hit(&batches, byte);
                (from, if to <= point && !history.point { to } else { i64::MAX })
            }
            _ if file == RECOVERY_POINT || file.ends_with(".snapshot") => {
                // What was damaged before it may from now on look like what a crash leaves.
                history.point = true;
                history.hit.first().map_or((0, 0), |from| (*from, i64::MAX))
            }
            _ => (0, 0),
        };
        Damage::Partition { topic, partition, from, to }
    }

    /// What was known to be durable when a bit turned may not be any more: the power took with it
    /// what said so.
    pub(super) fn power_went(&mut self) {
        let mut damage = std::mem::take(&mut self.damage);
        for it in &mut damage {
            if let Damage::Partition { topic, partition, from, to } = it
                && from < to
                && *to > self.recovery_point(&format!("{topic}-{partition}"))
            {
                *to = i64::MAX;
            }
        }
        self.damage = damage;
    }

    /// Up to where the log is known to be durable.
    fn recovery_point(&self, folder: &str) -> i64 {
        let folder = Path::new(folder);
        let text = self.disk.read_file(folder.join(RECOVERY_POINT));
        let text = String::from_utf8(text.unwrap_or_default()).unwrap_or_default();
        let point = text.split_whitespace().last().and_then(|it| it.parse().ok()).unwrap_or(0);
        let snapshot = folder.join(format!("{point:020}.snapshot"));
        if self.disk.read_file(snapshot).is_some() { point } else { 0 }
    }

    /// Whether the catalog can't be expected to be as it was.
    pub(super) fn is_catalog_damaged(&self) -> bool {
        self.damage.iter().any(|it| matches!(it, Damage::Catalog))
    }

    pub(super) fn are_offsets_damaged(&self) -> bool {
        self.damage.iter().any(|it| matches!(it, Damage::Offsets))
    }

    /// What is left without a catalog: all topics that have records, and their records.
    pub(super) async fn check_without_catalog(&mut self, worst: Crash) {
        let report = self.broker().recovery_report().expect("it is on a disk").clone();
        let broker = self.broker().clone();
        let there = broker.topics().expect("it is open");
        let there: BTreeSet<String> = there.iter().map(ToString::to_string).collect();
        self.note(|| format!("without the catalog there are {there:?}"));
        let names: Vec<String> = self.slots.keys().cloned().collect();
        for name in names {
            let slot = &self.slots[&name];
            let Some(topic) = &slot.topic else { continue };
            let told = broker.describe_topic(&name).ok();
            if slot.pending.is_some() || told.as_ref().is_some_and(|it| Some(it.id) != topic.id) {
                continue;
            }
            let Some(told) = told else {
                let known = topic.partitions.iter().any(|it| !it.known.is_empty());
                let has_files = known && topic.durability != ottla::Durability::Memory;
                assert!(!has_files || self.lost_all(&name), "{name} is gone: {report:?}");
                continue;
            };
            let shrunk = told.partitions.len() < topic.partitions.len();
            if !shrunk && topic.durability != ottla::Durability::Memory {
                // Where records were deleted up to is in the catalog.
                let topic = self.slot(&name).topic.as_mut().expect("it was looked for");
                topic.partitions.iter_mut().for_each(|it| it.deleted_to = 0);
                self.check_topic(&name, worst).await;
            }
        }
    }

    /// Whether the power went, and with it all that a topic had without a promise.
    fn lost_all(&self, name: &str) -> bool {
        let topic = self.slots[name].topic.as_ref().expect("it was looked for");
        topic.durability != ottla::Durability::Power
    }
}

impl History {
    /// The batch that has this byte is hit: which offsets may be lost by it.
    fn is_hit(&mut self, batches: &[Placed], byte: usize) -> (i64, i64) {
        let i = batches.partition_point(|it| it.end <= byte);
        let was_hit = |i: usize| batches.get(i).is_some_and(|it| self.hit.contains(&it.from));
        let is_alone_before = i >= 2 && was_hit(i - 2);
        let from = batches[if is_alone_before { i - 1 } else { i }].from;
        let to = batches[if was_hit(i + 2) { i + 1 } else { i }].to;
        self.hit.insert(batches[i].from);
        (from, to)
    }
}

/// A batch in a file.
struct Placed {
    from: i64,
    to: i64,
    /// The first byte behind it.
    end: usize,
}

/// The batches of a file, the last of which is all that can't be told apart. A bit that turned
/// earlier may have moved a batch's end away: where the next begins says it better.
fn batches_in(bytes: &[u8], base: i64) -> Vec<Placed> {
    let (mut batches, mut at) = (Vec::<Placed>::new(), 0);
    let number = |at: usize, len: usize| -> Option<i64> {
        let bytes = bytes.get(at..at + len)?;
        Some(match len {
            8 => i64::from_be_bytes(bytes.try_into().ok()?),
            _ => i64::from(i32::from_be_bytes(bytes.try_into().ok()?)),
        })
    };
    loop {
        let (last, end) = batches.last().map_or((base, base), |it| (it.from, it.to));
        let header = (number(at, 8), number(at + 8, 4), number(at + 23, 4));
        let (from, len, delta) = match header {
            (Some(from), Some(len), Some(delta)) => (from, len, delta),
            _ => (-1, 0, 0),
        };
        let size = 12 + usize::try_from(len).unwrap_or(0);
        let is_next = from == end || (last < from && from < end);
        if size < HEADER || !is_next || at + size > bytes.len() {
            batches.push(Placed { from: end, to: i64::MAX, end: usize::MAX });
            return batches;
        }
        at += size;
        batches.push(Placed { from, to: from + delta + 1, end: at });
    }
}
