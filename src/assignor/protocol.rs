//! What members and leader tell each other: Kafka's embedded protocol "consumer", versions 0 to 3.
//!
//! Formats: `ConsumerProtocolSubscription.json`, `ConsumerProtocolAssignment.json`. A version, then
//! the fields; newer versions only add fields at the end. So a version above 3 is read as 3, and
//! what follows the last field that is known is ignored. Written is what Java's
//! `ConsumerProtocol` writes: version 3, whatever the brokers are.
//!
//! A name that no topic can have is read over.

use bytes::{BufMut, Bytes, BytesMut};

use crate::codec::{CodecError, Reader, put_string};
use crate::topic::{TopicName, TopicPartition};

use super::NO_GENERATION;

const LATEST_VERSION: i16 = 3;
const VERSION_OF_OWNED_PARTITIONS: i16 = 1;
const VERSION_OF_GENERATION: i16 = 2;
const VERSION_OF_RACK: i16 = 3;

/// What a member wants and has: its metadata in a JoinGroup request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// What it wants to read.
    pub topics: Vec<TopicName>,
    /// What its assignor has to tell the leader's.
    pub user_data: Option<Bytes>,
    /// What it reads now and means to keep. Empty under the eager protocol. (From version 1 on.)
    pub owned_partitions: Vec<TopicPartition>,
    /// The generation in which it got them; [`NO_GENERATION`] if none. (From version 2 on.)
    pub generation: i32,
    /// Where it stands. (From version 3 on.)
    pub rack: Option<String>,
}

/// What a member gets: its assignment in a SyncGroup response.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Assignment {
    /// What it is to read.
    pub partitions: Vec<TopicPartition>,
    /// What the leader's assignor has to tell the member's. Those here have nothing.
    pub user_data: Option<Bytes>,
}

/// Why a subscription or an assignment could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// The version is negative.
    #[error("no such version of the consumer protocol: {0}")]
    UnsupportedVersion(i16),
    /// The bytes are not what the version says.
    #[error("malformed consumer protocol: {0}")]
    Malformed(#[from] CodecError),
}

impl Subscription {
    /// To these topics, owning nothing.
    pub fn to(topics: impl IntoIterator<Item = TopicName>) -> Self {
        Subscription {
            topics: topics.into_iter().collect(),
            user_data: None,
            owned_partitions: Vec::new(),
            generation: NO_GENERATION,
            rack: None,
        }
    }

    /// As version 3. Topics and owned partitions are sorted.
    pub fn encode(&self) -> Bytes {
        self.encode_version(LATEST_VERSION)
    }

    /// As another version, from 0 to 3; a later one gives 3.
    pub(super) fn encode_version(&self, version: i16) -> Bytes {
        let version = version.min(LATEST_VERSION);
        let mut buf = BytesMut::new();
        buf.put_i16(version);
        let mut topics: Vec<&TopicName> = self.topics.iter().collect();
        topics.sort_unstable();
        put_len(&mut buf, topics.len());
        for topic in topics {
            put_string(&mut buf, topic.as_str());
        }
        put_nullable_bytes(&mut buf, self.user_data.as_deref());
        if version >= VERSION_OF_OWNED_PARTITIONS {
            let mut owned = self.owned_partitions.clone();
            owned.sort_unstable();
            put_topics(&mut buf, &runs_of_topics(&owned));
        }
        if version >= VERSION_OF_GENERATION {
            // Java has no other negative generation.
            buf.put_i32(self.generation.max(NO_GENERATION));
        }
        if version >= VERSION_OF_RACK {
            match &self.rack {
                Some(rack) => put_string(&mut buf, rack),
                None => buf.put_i16(-1),
            }
        }
        buf.freeze()
    }

    /// Reads any version. An empty rack is none, and any negative generation [`NO_GENERATION`].
    pub fn decode(bytes: &Bytes) -> Result<Self, ProtocolError> {
        let mut reader = Reader::new(bytes);
        let version = read_version(&mut reader)?;
        let mut subscription = Subscription::to([]);
        for _ in 0..read_len(&mut reader)? {
            subscription.topics.extend(read_topic(&mut reader)?);
        }
        subscription.user_data = read_nullable_bytes(&mut reader, bytes)?;
        if version >= VERSION_OF_OWNED_PARTITIONS {
            subscription.owned_partitions = read_partitions(&mut reader)?;
        }
        if version >= VERSION_OF_GENERATION {
            subscription.generation = reader.i32()?.max(NO_GENERATION);
        }
        if version >= VERSION_OF_RACK {
            subscription.rack = read_rack(&mut reader)?;
        }
        Ok(subscription)
    }
}

impl Assignment {
    /// As version 3. Topics stand in the order of their first partition.
    pub fn encode(&self) -> Bytes {
        let mut buf = BytesMut::new();
        buf.put_i16(LATEST_VERSION);
        put_topics(&mut buf, &runs_of_topics(&self.partitions));
        put_nullable_bytes(&mut buf, self.user_data.as_deref());
        buf.freeze()
    }

    /// Reads any version. No bytes at all, which is what a coordinator answers to a member that the
    /// leader forgot, are an error.
    pub fn decode(bytes: &Bytes) -> Result<Self, ProtocolError> {
        let mut reader = Reader::new(bytes);
        read_version(&mut reader)?;
        let partitions = read_partitions(&mut reader)?;
        let user_data = read_nullable_bytes(&mut reader, bytes)?;
        Ok(Assignment { partitions, user_data })
    }
}

/// A topic, and some of its partitions.
pub(super) type TopicRun<'a> = (&'a TopicName, Vec<i32>);

/// The partitions by topic, topics in the order of their first partition.
pub(super) fn runs_of_topics(partitions: &[TopicPartition]) -> Vec<TopicRun<'_>> {
    let mut runs: Vec<TopicRun<'_>> = Vec::new();
    let mut places = std::collections::BTreeMap::new();
    for TopicPartition { topic, partition } in partitions {
        let place = *places.entry(topic).or_insert(runs.len());
        if place == runs.len() {
            runs.push((topic, Vec::new()));
        }
        runs[place].1.push(*partition);
    }
    runs
}

pub(super) fn put_topics(buf: &mut BytesMut, runs: &[TopicRun<'_>]) {
    put_len(buf, runs.len());
    for (topic, partitions) in runs {
        put_string(buf, topic.as_str());
        put_len(buf, partitions.len());
        for partition in partitions {
            buf.put_i32(*partition);
        }
    }
}

pub(super) fn read_partitions(reader: &mut Reader<'_>) -> Result<Vec<TopicPartition>, CodecError> {
    let mut read = Vec::new();
    for _ in 0..read_len(reader)? {
        let topic = read_topic(reader)?;
        for _ in 0..read_len(reader)? {
            let partition = reader.i32()?;
            read.extend(topic.clone().map(|topic| TopicPartition { topic, partition }));
        }
    }
    Ok(read)
}

fn put_len(buf: &mut BytesMut, len: usize) {
    buf.put_i32(i32::try_from(len).expect("what is kept in memory one by one is less than 2^31"));
}

fn put_nullable_bytes(buf: &mut BytesMut, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => {
            put_len(buf, bytes.len());
            buf.put_slice(bytes);
        }
        None => buf.put_i32(-1),
    }
}

fn read_version(reader: &mut Reader<'_>) -> Result<i16, ProtocolError> {
    match reader.i16()? {
        version if version < 0 => Err(ProtocolError::UnsupportedVersion(version)),
        version => Ok(version),
    }
}

/// The length of an array. It sizes nothing: every element takes bytes, so a length that lies ends
/// at the last of them.
fn read_len(reader: &mut Reader<'_>) -> Result<usize, CodecError> {
    let len = reader.i32()?;
    usize::try_from(len).map_err(|_| CodecError::NegativeLength(len.into()))
}

/// `None` if it is a name that no topic can have.
fn read_topic(reader: &mut Reader<'_>) -> Result<Option<TopicName>, CodecError> {
    let len = reader.i16()?;
    let len = usize::try_from(len).map_err(|_| CodecError::NegativeLength(len.into()))?;
    let name = std::str::from_utf8(reader.bytes(len)?);
    Ok(name.ok().and_then(|name| TopicName::parse(name).ok()))
}

/// An empty rack is none.
fn read_rack(reader: &mut Reader<'_>) -> Result<Option<String>, CodecError> {
    match usize::try_from(reader.i16()?) {
        Ok(len) if len > 0 => Ok(Some(String::from_utf8_lossy(reader.bytes(len)?).into_owned())),
        _ => Ok(None),
    }
}

/// Any negative length is null. What is read shares `all`, which `reader` reads.
fn read_nullable_bytes(reader: &mut Reader<'_>, all: &Bytes) -> Result<Option<Bytes>, CodecError> {
    let Ok(len) = usize::try_from(reader.i32()?) else { return Ok(None) };
    Ok(Some(all.slice_ref(reader.bytes(len)?)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn partition(topic: &str, partition: i32) -> TopicPartition {
        TopicPartition::new(topic, partition).expect("is legal")
    }

    fn full() -> Subscription {
        Subscription {
            topics: vec!["a".parse().expect("is legal"), "b".parse().expect("is legal")],
            user_data: Some(Bytes::from_static(b"data")),
            owned_partitions: vec![partition("a", 0), partition("a", 2), partition("b", 1)],
            generation: 7,
            rack: Some("r".to_owned()),
        }
    }

    #[test]
    fn a_version_has_what_it_has() {
        let mut expected = full();
        for version in (0..=3).rev() {
            if version < 3 {
                expected.rack = None;
            }
            if version < 2 {
                expected.generation = NO_GENERATION;
            }
            if version < 1 {
                expected.owned_partitions.clear();
            }
            let bytes = full().encode_version(version);
            assert_eq!(bytes[..2], version.to_be_bytes());
            assert_eq!(Subscription::decode(&bytes).as_ref(), Ok(&expected));
        }
    }

    #[test]
    fn a_newer_version_is_read_as_the_latest_and_the_rest_ignored() {
        let mut bytes = BytesMut::from(&full().encode()[..]);
        bytes[1] = 9;
        bytes.put_slice(b"what version 9 has more");
        assert_eq!(Subscription::decode(&bytes.freeze()), Ok(full()));

        let assignment = Assignment { partitions: vec![partition("a", 1)], user_data: None };
        let mut bytes = BytesMut::from(&assignment.encode()[..]);
        bytes[1] = 4;
        bytes.put_u8(1);
        assert_eq!(Assignment::decode(&bytes.freeze()), Ok(assignment));
    }

    #[test]
    fn bytes_that_end_early_and_negative_versions_are_errors() {
        let bytes = full().encode();
        for end in 0..bytes.len() {
            assert!(Subscription::decode(&bytes.slice(..end)).is_err(), "{end}");
        }
        let assignment = Assignment { partitions: full().owned_partitions, user_data: None };
        let bytes = assignment.encode();
        for end in 0..bytes.len() {
            assert!(Assignment::decode(&bytes.slice(..end)).is_err(), "{end}");
        }
        let negative = Bytes::from_static(&[0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0]);
        let unsupported = ProtocolError::UnsupportedVersion(-1);
        assert_eq!(Subscription::decode(&negative), Err(unsupported));
        assert_eq!(Assignment::decode(&negative), Err(unsupported));
    }

    #[test]
    fn lengths_that_lie_are_errors() {
        let claims = |len: i32| {
            let mut bytes = BytesMut::new();
            bytes.put_i16(0);
            bytes.put_i32(len);
            bytes.freeze()
        };
        for len in [1, i32::MAX, -1, i32::MIN] {
            assert!(Subscription::decode(&claims(len)).is_err(), "{len}");
            assert!(Assignment::decode(&claims(len)).is_err(), "{len}");
        }
    }

    #[test]
    fn names_that_no_topic_can_have_are_read_over() {
        let mut buf = BytesMut::new();
        buf.put_slice(&[0, 1, 0, 0, 0, 3]);
        for name in [&b"a"[..], b"no topic", b"\xff"] {
            buf.put_u16(name.len() as u16);
            buf.put_slice(name);
        }
        buf.put_i32(-1);
        // Version 1: one owned partition, of the second topic.
        buf.put_slice(b"\0\0\0\x01\0\x08no topic\0\0\0\x01\0\0\0\0");
        let read = Subscription::decode(&buf.freeze()).expect("is well formed");
        assert_eq!(read, Subscription::to(["a".parse().expect("is legal")]));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(
            mut bytes in proptest::collection::vec(any::<u8>(), 0..60),
            version in 0u8..4,
            small in any::<bool>(),
        ) {
            if let [high, low, rest @ ..] = &mut bytes[..] {
                (*high, *low) = (0, version);
                // Small numbers get further.
                rest.iter_mut().filter(|_| small).for_each(|byte| *byte &= 1);
            }
            let bytes = Bytes::from(bytes);
            if let Ok(mut subscription) = Subscription::decode(&bytes) {
                subscription.topics.sort();
                subscription.owned_partitions.sort();
                prop_assert_eq!(Subscription::decode(&subscription.encode()), Ok(subscription));
            }
            if let Ok(assignment) = Assignment::decode(&bytes) {
                prop_assert!(assignment.partitions.len() * 4 <= bytes.len());
            }
            crate::assignor::user_data::read_sticky(&bytes);
            crate::assignor::user_data::read_cooperative_sticky(&bytes);
        }
    }
}
