//! The records of `__consumer_offsets`, in Apache Kafka's schemas: `OffsetCommitKey` and `-Value`,
//! `GroupMetadataKey` and `-Value`. A null value takes back what was written under its key.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};

use crate::codec::{
    CodecError, Reader, put_compact_string, put_nullable_string, put_sized_bytes, put_string,
    put_unsigned_varint,
};
use crate::topic::{TopicId, TopicName, TopicPartition};

use super::offsets::CommittedOffset;
use super::state::Member;

/// Versions of keys, which say what the record is.
const OFFSET_KEY: i16 = 1;
const GROUP_KEY: i16 = 2;

/// What a record says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum GroupRecord {
    /// An offset of a group, or that it is gone.
    Offset { group: String, at: TopicPartition, value: Option<CommittedOffset> },
    /// A group, or that it is gone.
    Group { group: String, value: Option<GroupMetadata> },
}

/// A group as it is stored: in a generation, between rebalances.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct GroupMetadata {
    pub(crate) protocol_type: String,
    pub(crate) generation: i32,
    pub(crate) protocol: Option<String>,
    pub(crate) leader: Option<String>,
    /// Since when the group has been in its state, in milliseconds; -1 if that was not stored.
    pub(crate) since: i64,
    pub(crate) members: Vec<StoredMember>,
}

/// A member as it is stored.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct StoredMember {
    pub(crate) member_id: String,
    pub(crate) instance_id: Option<String>,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    pub(crate) rebalance_timeout: Duration,
    /// `None` for a member in the process that stored it, and that is gone with it. Stored as -1.
    pub(crate) session_timeout: Option<Duration>,
    /// Its metadata for the group's protocol.
    pub(crate) subscription: Bytes,
    pub(crate) assignment: Bytes,
}

impl StoredMember {
    pub(crate) fn new(member_id: &str, member: &Member, protocol: Option<&str>) -> Self {
        let subscription = protocol.and_then(|protocol| member.metadata(protocol)).cloned();
        StoredMember {
            member_id: member_id.to_owned(),
            instance_id: member.instance_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            rebalance_timeout: member.rebalance_timeout,
            session_timeout: member.session_timeout,
            subscription: subscription.unwrap_or_default(),
            assignment: member.assignment.clone(),
        }
    }
}

impl GroupRecord {
    /// The record's key.
    pub(crate) fn key(&self) -> BytesMut {
        let mut key = BytesMut::new();
        match self {
            GroupRecord::Offset { group, at, .. } => {
                key.put_i16(OFFSET_KEY);
                put_string(&mut key, group);
                put_string(&mut key, at.topic.as_str());
                key.put_i32(at.partition);
            }
            GroupRecord::Group { group, .. } => {
                key.put_i16(GROUP_KEY);
                put_string(&mut key, group);
            }
        }
        key
    }

    /// The record's value; `None` is a tombstone.
    pub(crate) fn value(&self) -> Option<BytesMut> {
        let mut buf = BytesMut::new();
        match self {
            GroupRecord::Offset { value, .. } => put_offset(&mut buf, value.as_ref()?),
            GroupRecord::Group { value, .. } => put_group(&mut buf, value.as_ref()?),
        }
        Some(buf)
    }

    /// Reads a record. `None` for one of another kind, which later versions may write.
    pub(crate) fn decode(
        key: &[u8],
        value: Option<&[u8]>,
    ) -> Result<Option<GroupRecord>, CodecError> {
        let mut key = Reader::new(key);
        match key.i16()? {
            0 | OFFSET_KEY => {
                let group = key.string()?.to_owned();
                let (topic, partition) = (key.string()?, key.i32()?);
                let Ok(topic) = TopicName::parse(topic) else { return Ok(None) };
                let at = TopicPartition { topic, partition };
                let value = value.map(offset).transpose()?;
                Ok(Some(GroupRecord::Offset { group, at, value }))
            }
            GROUP_KEY => {
                let group = key.string()?.to_owned();
                let Some(value) = value else {
                    return Ok(Some(GroupRecord::Group { group, value: None }));
                };
                let value = group_metadata(value)?;
                Ok(value.map(|value| GroupRecord::Group { group, value: Some(value) }))
            }
            _ => Ok(None),
        }
    }
}

/// Version 3, or 4 with the topic's id as a tagged field (tag 0), as Kafka 4.1 writes it.
fn put_offset(buf: &mut BytesMut, committed: &CommittedOffset) {
    let CommittedOffset { offset, leader_epoch, metadata, timestamp, topic_id } = committed;
    buf.put_i16(if topic_id.is_some() { 4 } else { 3 });
    buf.put_i64(*offset);
    buf.put_i32(*leader_epoch);
    match topic_id {
        None => put_string(buf, metadata),
        Some(_) => put_compact_string(buf, metadata),
    }
    buf.put_i64(*timestamp);
    if let Some(TopicId(id)) = topic_id {
        [1, 0, id.len() as u32].iter().for_each(|varint| put_unsigned_varint(buf, *varint));
        buf.put_slice(id);
    }
}

fn offset(value: &[u8]) -> Result<CommittedOffset, CodecError> {
    let mut reader = Reader::new(value);
    let version = reader.i16()?;
    let offset = reader.i64()?;
    let leader_epoch = if version >= 3 { reader.i32()? } else { -1 };
    let metadata = if version >= 4 { reader.compact_string()? } else { reader.string()? };
    let (metadata, timestamp) = (metadata.to_owned(), reader.i64()?);
    let mut topic_id = None;
    if version >= 4 {
        reader.tagged_fields(|tag, bytes| {
            if tag == 0 {
                topic_id = bytes.try_into().ok().map(TopicId);
            }
        })?;
    }
    Ok(CommittedOffset { offset, leader_epoch, metadata, timestamp, topic_id })
}

/// Version 3.
fn put_group(buf: &mut BytesMut, group: &GroupMetadata) {
    buf.put_i16(3);
    put_string(buf, &group.protocol_type);
    buf.put_i32(group.generation);
    put_nullable_string(buf, group.protocol.as_deref());
    put_nullable_string(buf, group.leader.as_deref());
    buf.put_i64(group.since);
    buf.put_i32(i32::try_from(group.members.len()).expect("a group's size is limited"));
    for member in &group.members {
        put_string(buf, &member.member_id);
        put_nullable_string(buf, member.instance_id.as_deref());
        put_string(buf, &member.client_id);
        put_string(buf, &member.client_host);
        buf.put_i32(millis(member.rebalance_timeout));
        buf.put_i32(member.session_timeout.map_or(-1, millis));
        put_sized_bytes(buf, &member.subscription);
        put_sized_bytes(buf, &member.assignment);
    }
}

fn millis(time: Duration) -> i32 {
    i32::try_from(time.as_millis()).unwrap_or(i32::MAX)
}

/// `None` for a version that this code does not know.
fn group_metadata(value: &[u8]) -> Result<Option<GroupMetadata>, CodecError> {
    let mut reader = Reader::new(value);
    let version = reader.i16()?;
    if version > 3 {
        return Ok(None);
    }
    let mut group = GroupMetadata {
        protocol_type: reader.string()?.to_owned(),
        generation: reader.i32()?,
        protocol: reader.nullable_string()?.map(str::to_owned),
        leader: reader.nullable_string()?.map(str::to_owned),
        since: if version >= 2 { reader.i64()? } else { -1 },
        members: Vec::new(),
    };
    for _ in 0..reader.i32()? {
        group.members.push(stored_member(&mut reader, version)?);
    }
    Ok(Some(group))
}

fn stored_member(reader: &mut Reader<'_>, version: i16) -> Result<StoredMember, CodecError> {
    let member_id = reader.string()?.to_owned();
    let instance_id = if version >= 3 { reader.nullable_string()? } else { None };
    let instance_id = instance_id.map(str::to_owned);
    let (client_id, client_host) = (reader.string()?.to_owned(), reader.string()?.to_owned());
    let rebalance = if version >= 1 { Some(reader.i32()?) } else { None };
    let session = reader.i32()?;
    let duration = |millis: i32| Duration::from_millis(millis.max(0) as u64);
    Ok(StoredMember {
        member_id,
        instance_id,
        client_id,
        client_host,
        rebalance_timeout: duration(rebalance.unwrap_or(session)),
        session_timeout: (session > 0).then(|| duration(session)),
        subscription: Bytes::copy_from_slice(reader.sized_bytes()?),
        assignment: Bytes::copy_from_slice(reader.sized_bytes()?),
    })
}
