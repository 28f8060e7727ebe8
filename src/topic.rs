//! Names of places: topics, partitions of topics, and the id that tells a topic from its namesake.
//!
//! Parsed, not validated: a [`TopicName`] that exists is legal, so nothing below checks again.

use std::fmt;
use std::sync::Arc;

/// The longest legal topic name, in bytes (Kafka: `Topic.MAX_NAME_LENGTH`).
pub const MAX_TOPIC_NAME_LENGTH: usize = 249;

/// A legal topic name: 1 to 249 of the characters `a-z A-Z 0-9 . _ -`, and neither `.` nor `..`.
///
/// Cheap to clone. The rule is Kafka's (`org.apache.kafka.common.internals.Topic`).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicName(Arc<str>);

impl TopicName {
    /// Parses a name, or says what is wrong with it.
    pub fn parse(name: &str) -> Result<Self, InvalidTopic> {
        let refuse = |reason| Err(InvalidTopic { name: shorten(name), reason });
        match name {
            "" => return refuse("it is empty"),
            "." | ".." => return refuse("it names a folder"),
            _ => {}
        }
        if name.len() > MAX_TOPIC_NAME_LENGTH {
            return refuse("it is longer than 249 bytes");
        }
        if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)) {
            return refuse("only a-z, A-Z, 0-9, '.', '_' and '-' are allowed");
        }
        Ok(TopicName(name.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name under which metrics would show it: Kafka refuses two topics that differ only in
    /// `.` against `_`.
    pub(crate) fn collision_key(&self) -> String {
        self.0.replace('.', "_")
    }
}

/// Error messages quote names; a hostile one must not fill a log.
fn shorten(name: &str) -> String {
    match name.char_indices().nth(60) {
        Some((cut, _)) => format!("{}…", &name[..cut]),
        None => name.to_owned(),
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl std::borrow::Borrow<str> for TopicName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl PartialEq<str> for TopicName {
    fn eq(&self, other: &str) -> bool {
        &*self.0 == other
    }
}

impl PartialEq<&str> for TopicName {
    fn eq(&self, other: &&str) -> bool {
        &*self.0 == *other
    }
}

impl std::str::FromStr for TopicName {
    type Err = InvalidTopic;

    fn from_str(name: &str) -> Result<Self, InvalidTopic> {
        TopicName::parse(name)
    }
}

/// Why a text is no topic name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("illegal topic name {name:?}: {reason}")]
pub struct InvalidTopic {
    /// The text, cut to 60 characters.
    pub name: String,
    /// The rule it breaks.
    pub reason: &'static str,
}

/// One partition of one topic; partitions count from 0.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    /// The topic.
    pub topic: TopicName,
    /// The partition's number.
    pub partition: i32,
}

impl TopicPartition {
    /// Names a partition; fails if `topic` is no legal name.
    pub fn new(topic: &str, partition: i32) -> Result<Self, InvalidTopic> {
        Ok(TopicPartition { topic: TopicName::parse(topic)?, partition })
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

impl fmt::Debug for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Sixteen bytes that stay with a topic for life: a topic deleted and created again has another.
///
/// Shown as Kafka shows it: URL-safe base64 without padding, 22 characters.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicId(pub [u8; 16]);

const BASE64_URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

impl TopicId {
    /// Reads the 22 characters that `Display` writes.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != 22 {
            return None;
        }
        let mut bits: u128 = 0;
        for (i, c) in text.bytes().enumerate() {
            let six = BASE64_URL.iter().position(|b| *b == c)? as u128;
            // 22 characters hold 132 bits; the last four must be zero and fall off.
            bits = if i == 21 && six & 0b1111 != 0 {
                return None;
            } else if i == 21 {
                bits << 2 | six >> 4
            } else {
                bits << 6 | six
            };
        }
        Some(TopicId(bits.to_be_bytes()))
    }
}

impl fmt::Display for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = u128::from_be_bytes(self.0);
        for i in 0..21 {
            let six = (bits >> (122 - 6 * i)) & 63;
            write!(f, "{}", BASE64_URL[six as usize] as char)?;
        }
        write!(f, "{}", BASE64_URL[((bits & 3) << 4) as usize] as char)
    }
}

impl fmt::Debug for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn legal_names_parse_and_illegal_ones_say_why() {
        for name in ["a", "orders", "A.b_c-9", &"x".repeat(249), "__consumer_offsets", "..."] {
            assert_eq!(TopicName::parse(name).unwrap().as_str(), name);
        }
        for (name, why) in [
            ("", "empty"),
            (".", "folder"),
            ("..", "folder"),
            ("a/b", "only a-z"),
            ("ä", "only a-z"),
            ("a b", "only a-z"),
            ("a\0", "only a-z"),
        ] {
            let error = TopicName::parse(name).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
        let error = TopicName::parse(&"x".repeat(250)).unwrap_err();
        assert!(error.reason.contains("249") && error.name.chars().count() == 61);
    }

    #[test]
    fn topic_ids_read_as_kafka_writes_them() {
        // Uuid.METADATA_TOPIC_ID and a random id, as printed by Kafka's own Uuid class.
        let one = TopicId(1u128.to_be_bytes());
        assert_eq!(one.to_string(), "AAAAAAAAAAAAAAAAAAAAAQ");
        for id in [one, TopicId([0xff; 16]), TopicId(0x0123_4567_89ab_cdef_u128.to_be_bytes())] {
            assert_eq!(TopicId::parse(&id.to_string()), Some(id));
        }
        assert_eq!(TopicId::parse("AAAAAAAAAAAAAAAAAAAAAR"), None, "stray bits");
        assert_eq!(TopicId::parse("short"), None);
    }
}
