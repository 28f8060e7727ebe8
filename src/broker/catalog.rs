//! What topics there are: a state that is the sum of the catalog log's records.
//!
//! Pure: it turns records into state and state into records, and touches no file. Each record
//! says the whole of one thing under a key; a null value takes the thing away. So replaying a
//! log, or a copy of the state followed by the log's end, gives the same state.

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes, BytesMut};

use crate::batch::{Batch, BatchBuilder};
use crate::codec::{CodecError, Reader, put_unsigned_varint};
use crate::error::Error;
use crate::topic::{TopicId, TopicName, TopicPartition};

use super::config::Setting;
use super::settings::{Durability, TopicConfig};

/// Version of the records' values.
const VERSION: i16 = 0;

/// What is kept of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TopicEntry {
    pub(crate) id: TopicId,
    pub(crate) partitions: i32,
    pub(crate) durability: Durability,
    pub(crate) config: TopicConfig,
}

/// All that a broker remembers besides its partitions' logs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Catalog {
    pub(crate) topics: BTreeMap<TopicName, TopicEntry>,
    /// Topics deleted whose folders may still be there: name and number of partitions.
    pub(crate) deleted: BTreeMap<TopicId, (TopicName, i32)>,
    /// Log start offsets that lie inside of a segment.
    pub(crate) log_starts: BTreeMap<TopicPartition, i64>,
    /// How often the directory was opened, once there are topics in memory: their leader epoch.
    pub(crate) runs: Option<i64>,
    /// The first producer id that was not given out yet; `None` if none was.
    pub(crate) next_producer_id: Option<i64>,
    /// What clients on the network know the broker by, once there are any.
    pub(crate) cluster_id: Option<TopicId>,
}

/// One change, as one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    Topic(TopicName, Option<TopicEntry>),
    Deleted(TopicId, Option<(TopicName, i32)>),
    LogStart(TopicPartition, Option<i64>),
    Runs(i64),
    NextProducerId(i64),
    ClusterId(TopicId),
}

impl Catalog {
    pub(super) fn apply(&mut self, change: Change) {
        match change {
            Change::Topic(name, entry) => {
                let id = entry.as_ref().map(|entry| entry.id);
                // Also where the record of its deletion is lost.
                if self.topics.get(&name).map(|known| known.id) != id {
                    self.log_starts.retain(|at, _| at.topic != name);
                }
                match entry {
                    Some(entry) => drop(self.topics.insert(name, entry)),
                    None => drop(self.topics.remove(&name)),
                }
            }
            Change::Deleted(id, Some(what)) => drop(self.deleted.insert(id, what)),
            Change::Deleted(id, None) => drop(self.deleted.remove(&id)),
            Change::LogStart(at, Some(offset)) => drop(self.log_starts.insert(at, offset)),
            Change::LogStart(at, None) => drop(self.log_starts.remove(&at)),
            Change::Runs(runs) => self.runs = Some(runs),
            // What was given out stays so, in whatever order this is read.
            Change::NextProducerId(id) => {
                self.next_producer_id = self.next_producer_id.max(Some(id));
            }
            Change::ClusterId(id) => self.cluster_id = Some(id),
        }
    }

    /// How many changes the whole state is.
    pub(super) fn len(&self) -> usize {
        let single =
            [self.runs.is_some(), self.next_producer_id.is_some(), self.cluster_id.is_some()];
        let single = single.into_iter().filter(|is_there| *is_there).count();
        self.topics.len() + self.deleted.len() + self.log_starts.len() + single
    }

    /// The whole state as changes.
    pub(super) fn snapshot(&self) -> Vec<Change> {
        let topics =
            self.topics.iter().map(|(name, it)| Change::Topic(name.clone(), Some(it.clone())));
        let deleted = self.deleted.iter().map(|(id, it)| Change::Deleted(*id, Some(it.clone())));
        let starts = self.log_starts.iter().map(|(at, it)| Change::LogStart(at.clone(), Some(*it)));
        let runs = self.runs.map(Change::Runs);
        let producers = self.next_producer_id.map(Change::NextProducerId);
        let cluster = self.cluster_id.map(Change::ClusterId);
        let single = runs.into_iter().chain(producers).chain(cluster);
        topics.chain(deleted).chain(starts).chain(single).collect()
    }
}

/// Encodes changes as one record batch.
pub(super) fn encode(changes: &[Change], timestamp: i64) -> BytesMut {
    let mut batch = BatchBuilder::new(BytesMut::new());
    for change in changes {
        let (key, value) = change.to_record();
        batch.push(timestamp, Some(&key), value.as_deref(), &[]);
    }
    batch.finish()
}

/// The changes in a batch. Records that can't be read are left out and counted; those of topics
/// with settings that mean nothing are counted too, and only the settings left out.
pub(super) fn decode(batch: &Batch) -> (Vec<Change>, usize) {
    let (mut changes, mut unreadable) = (Vec::new(), 0);
    for record in batch.records() {
        let change = record.ok().and_then(|record| {
            let key = Bytes::copy_from_slice(record.key?);
            Change::from_record(&key, record.value).ok()?
        });
        match change {
            Some(Change::Topic(name, Some(mut entry))) => {
                unreadable += usize::from(entry.leave_out_unsound_settings(&name));
                changes.push(Change::Topic(name, Some(entry)));
            }
            Some(change) => changes.push(change),
            None => unreadable += 1,
        }
    }
    (changes, unreadable)
}

const TOPIC: u8 = 1;
const DELETED: u8 = 2;
const LOG_START: u8 = 3;
const RUNS: u8 = 4;
const NEXT_PRODUCER_ID: u8 = 5;
const CLUSTER_ID: u8 = 6;

impl Change {
    /// Whether it only says that a deletion has come to its end.
    pub(super) fn is_of_deletion(&self) -> bool {
        matches!(self, Change::Deleted(_, None))
    }

    fn to_record(&self) -> (BytesMut, Option<BytesMut>) {
        let mut key = BytesMut::new();
        let mut value = BytesMut::new();
        value.put_i16(VERSION);
        let lives = match self {
            Change::Topic(name, entry) => {
                key.put_u8(TOPIC);
                put_text(&mut key, name.as_str());
                entry.as_ref().map(|entry| entry.encode(&mut value)).is_some()
            }
            Change::Deleted(id, what) => {
                key.put_u8(DELETED);
                key.put_slice(&id.0);
                what.as_ref()
                    .map(|(name, partitions)| {
                        put_text(&mut value, name.as_str());
                        value.put_i32(*partitions);
                    })
                    .is_some()
            }
            Change::LogStart(at, offset) => {
                key.put_u8(LOG_START);
                put_text(&mut key, at.topic.as_str());
                key.put_i32(at.partition);
                offset.map(|offset| value.put_i64(offset)).is_some()
            }
            Change::Runs(runs) => {
                key.put_u8(RUNS);
                value.put_i64(*runs);
                true
            }
            Change::NextProducerId(id) => {
                key.put_u8(NEXT_PRODUCER_ID);
                value.put_i64(*id);
                true
            }
            Change::ClusterId(id) => {
                key.put_u8(CLUSTER_ID);
                value.put_slice(&id.0);
                true
            }
        };
        (key, lives.then_some(value))
    }

    /// `Ok(None)` is a record that a later version of this format may have written.
    pub(crate) fn from_record(
        key: &[u8],
        value: Option<&[u8]>,
    ) -> Result<Option<Change>, CodecError> {
        let mut key = Reader::new(key);
        let mut value = value.map(Reader::new);
        if let Some(value) = &mut value
            && value.i16()? != VERSION
        {
            return Ok(None);
        }
        Ok(match key.i8()? as u8 {
            TOPIC => {
                let Some(name) = topic_name(&mut key)? else { return Ok(None) };
                match &mut value {
                    None => Some(Change::Topic(name, None)),
                    Some(value) => {
                        TopicEntry::decode(value)?.map(|entry| Change::Topic(name, Some(entry)))
                    }
                }
            }
            DELETED => {
                let id = topic_id(&mut key)?;
                match &mut value {
                    None => Some(Change::Deleted(id, None)),
                    Some(value) => {
                        let Some(name) = topic_name(value)? else { return Ok(None) };
                        Some(Change::Deleted(id, Some((name, value.i32()?))))
                    }
                }
            }
            LOG_START => {
                let Some(topic) = topic_name(&mut key)? else { return Ok(None) };
                let at = TopicPartition { topic, partition: key.i32()? };
                let offset = value.as_mut().map(|value| value.i64()).transpose()?;
                Some(Change::LogStart(at, offset))
            }
            RUNS => value.as_mut().map(|value| value.i64()).transpose()?.map(Change::Runs),
            NEXT_PRODUCER_ID => {
                let id = value.as_mut().map(|value| value.i64()).transpose()?;
                id.map(Change::NextProducerId)
            }
            CLUSTER_ID => value.as_mut().map(topic_id).transpose()?.map(Change::ClusterId),
            _ => None,
        })
    }
}

impl TopicEntry {
    fn encode(&self, out: &mut BytesMut) {
        out.put_slice(&self.id.0);
        out.put_i32(self.partitions);
        out.put_u8(self.durability.to_byte());
        put_unsigned_varint(out, self.config.settings.len() as u32);
        for (name, value) in &self.config.settings {
            put_text(out, name);
            put_text(out, value);
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Option<TopicEntry>, CodecError> {
        let id = topic_id(reader)?;
        let partitions = reader.i32()?;
        let Some(durability) = Durability::from_byte(reader.i8()? as u8) else { return Ok(None) };
        let mut config = TopicConfig::new().partitions(partitions).durability(durability);
        for _ in 0..reader.unsigned_varint()? {
            let (name, value) = (text(reader)?, text(reader)?);
            // A setting of a later version has no meaning here, and does no harm.
            if let Some(name) = Setting::interned(&name) {
                config.settings.insert(name, value);
            }
        }
        let is_sound = config.checked_partitions().is_ok();
        Ok(is_sound.then_some(TopicEntry { id, partitions, durability, config }))
    }

    /// Damage that its CRC does not show must not keep a topic from being opened: defaults hold in
    /// place of settings that are not allowed. Answers whether there were any.
    fn leave_out_unsound_settings(&mut self, topic: &TopicName) -> bool {
        let mut found = false;
        while let Err(error) = self.config.log_config(self.durability) {
            tracing::warn!(%topic, %error, "a setting in the catalog is left out");
            match error {
                Error::InvalidConfig { name, .. } => {
                    self.config.settings.retain(|it, _| *it != name);
                }
                _ => self.config.settings.clear(),
            }
            found = true;
        }
        found
    }
}

fn put_text(out: &mut BytesMut, text: &str) {
    put_unsigned_varint(out, text.len() as u32);
    out.put_slice(text.as_bytes());
}

fn text(reader: &mut Reader<'_>) -> Result<String, CodecError> {
    let len = reader.unsigned_varint()? as usize;
    Ok(String::from_utf8_lossy(reader.bytes(len)?).into_owned())
}

fn topic_name(reader: &mut Reader<'_>) -> Result<Option<TopicName>, CodecError> {
    Ok(TopicName::parse(&text(reader)?).ok())
}

fn topic_id(reader: &mut Reader<'_>) -> Result<TopicId, CodecError> {
    let bytes = reader.bytes(16)?;
    Ok(TopicId(bytes.try_into().expect("sixteen were read")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> TopicEntry {
        let config = TopicConfig::new().partitions(3).durability(Durability::Process);
        let config = config.retention(None).segment_bytes(4096);
        TopicEntry { id: TopicId([7; 16]), partitions: 3, durability: Durability::Process, config }
    }

    fn changes() -> Vec<Change> {
        let name = TopicName::parse("orders").unwrap();
        let at = TopicPartition { topic: name.clone(), partition: 2 };
        vec![
            Change::Topic(name.clone(), Some(entry())),
            Change::LogStart(at.clone(), Some(41)),
            Change::Runs(7),
            Change::NextProducerId(3000),
            Change::ClusterId(TopicId([5; 16])),
            Change::Deleted(TopicId([9; 16]), Some((name.clone(), 4))),
            Change::LogStart(at, None),
            Change::Deleted(TopicId([9; 16]), None),
            Change::Topic(name, None),
        ]
    }

    #[test]
    fn changes_survive_their_encoding() {
        let batch = Batch::parse(encode(&changes(), 0).freeze()).unwrap();
        assert_eq!(decode(&batch), (changes(), 0));
    }

    #[test]
    fn a_snapshot_replays_to_the_same_state() {
        let mut catalog = Catalog::default();
        changes().into_iter().take(6).for_each(|change| catalog.apply(change));
        let mut copy = Catalog::default();
        catalog.snapshot().into_iter().for_each(|change| copy.apply(change));
        assert_eq!(copy, catalog);
        changes().into_iter().skip(6).for_each(|change| catalog.apply(change));
        let kept = Catalog {
            runs: Some(7),
            next_producer_id: Some(3000),
            cluster_id: Some(TopicId([5; 16])),
            ..Catalog::default()
        };
        assert_eq!(catalog, kept);
        catalog.apply(Change::NextProducerId(1000));
        assert_eq!(catalog, kept, "an id is not given out twice");
    }

    #[test]
    fn a_topic_has_no_log_start_of_its_predecessor() {
        let name = TopicName::parse("orders").unwrap();
        let at = TopicPartition { topic: name.clone(), partition: 0 };
        let mut catalog = Catalog::default();
        let topic = |id| {
            let entry = TopicEntry { id: TopicId([id; 16]), ..entry() };
            Change::Topic(name.clone(), Some(entry))
        };
        catalog.apply(topic(1));
        catalog.apply(Change::LogStart(at.clone(), Some(41)));
        catalog.apply(topic(1));
        assert_eq!(catalog.log_starts.get(&at), Some(&41), "it was altered");
        // That it was deleted in between can't be read any more.
        catalog.apply(topic(2));
        assert!(catalog.log_starts.is_empty());
    }

    #[test]
    fn settings_that_are_not_allowed_are_left_out_and_counted() {
        let name = TopicName::parse("orders").unwrap();
        let mut damaged = entry();
        let settings = &mut damaged.config.settings;
        settings.insert("segment.bytes", "10\0\0".to_owned());
        settings.insert("cleanup.policy", "keep".to_owned());
        // Each is allowed, but not both.
        settings.insert("max.message.bytes", "2000".to_owned());
        settings.insert("ottla.partition.max.bytes", "1999".to_owned());
        let change = Change::Topic(name.clone(), Some(damaged));
        let batch = Batch::parse(encode(&[change], 0).freeze()).unwrap();
        let (changes, unreadable) = decode(&batch);
        let [Change::Topic(_, Some(found))] = &changes[..] else { panic!("{changes:?}") };
        let left: Vec<_> = found.config.settings.iter().collect();
        let kept = [("max.message.bytes", "2000"), ("retention.ms", "-1")];
        assert!(left.iter().map(|(name, value)| (**name, value.as_str())).eq(kept), "{left:?}");
        assert_eq!((found.partitions, unreadable), (3, 1));
        assert!(found.config.log_config(found.durability).is_ok());
    }

    #[test]
    fn what_cannot_be_read_is_counted_and_left_out() {
        let mut batch = BatchBuilder::new(BytesMut::new());
        batch.push(0, Some(b"\x01\x06orders"), Some(b"\x00\x00short"), &[]);
        batch.push(0, Some(b"\x63"), None, &[]);
        batch.push(0, None, None, &[]);
        let batch = Batch::parse(batch.finish().freeze()).unwrap();
        assert_eq!(decode(&batch), (vec![], 3));
    }
}
