//! What lives do, and when they are to end: all of it follows from the seed.
//!
//! Nothing here keeps a state. Child and parent ask the same questions and get the same answers,
//! so the parent knows what a record holds, and where it belongs, by its number alone.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use ottla::{CleanupPolicy, ConsumerRecord, Durability, Record, TopicConfig};

/// Producers that work all the time; those of topics that come and go have numbers from here on.
pub(super) const PRODUCERS: u64 = 4;

/// How many records the producer of a topic that comes and goes sends.
pub(super) const FIRST_RECORDS: u64 = 5;

/// What `tiny` keeps.
pub(super) const TINY_BYTES: u64 = 4000;

/// The topics that are there from the first life on.
pub(super) const TOPICS: [&str; 6] =
    ["power", "process", "table.power", "table.process", "tiny", "idle"];

/// Those that come and go.
pub(super) const PASSING: [&str; 3] = ["c.0", "c.1", "c.2"];

pub(super) fn config(topic: &str) -> TopicConfig {
    let config = TopicConfig::new().retention(None);
    let table = |config: TopicConfig| {
        let config = config.cleanup_policy(CleanupPolicy::Compact).segment_bytes(3000);
        config.delete_retention(Duration::ZERO)
    };
    let process = Durability::Process;
    match topic {
        "power" => config.partitions(2).durability(Durability::Power).segment_bytes(20_000),
        "process" => config.partitions(2).durability(process).segment_bytes(20_000),
        "table.power" => table(config).durability(Durability::Power),
        "table.process" => table(config).durability(process).partitions(2),
        "tiny" => config.durability(process).segment_bytes(1024).retention_bytes(Some(TINY_BYTES)),
        "idle" => config.partitions(4).durability(Durability::Power),
        _ => config.durability(process),
    }
}

pub(super) fn is_compacted(topic: &str) -> bool {
    topic.starts_with("table")
}

/// How many records of a producer are under way at once.
pub(super) fn window(producer: u64) -> u64 {
    match producer {
        0 | 1 => 1,
        2 | 3 => 16,
        _ => FIRST_RECORDS,
    }
}

/// Whose record it is, and the how manieth of its producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Id {
    pub(super) life: u64,
    pub(super) producer: u64,
    pub(super) n: u64,
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.life, self.producer, self.n)
    }
}

impl FromStr for Id {
    type Err = String;

    fn from_str(text: &str) -> Result<Id, String> {
        let mut numbers = text.split('.').map(|it| it.parse().ok());
        let mut next = || numbers.next().flatten().ok_or_else(|| format!("no number: {text:?}"));
        Ok(Id { life: next()?, producer: next()?, n: next()? })
    }
}

/// What a record is to be.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) topic: &'static str,
    pub(super) partition: i32,
    pub(super) key: Option<String>,
    pub(super) value: Option<String>,
}

/// How a life ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Killed while it opens: after this part of the time that opening took before.
    Opening { percent: u32 },
    /// Killed after so many acknowledgements.
    Working { acks: u64 },
    /// Shut down after so many, and killed after this part of the time that closing took before.
    Closing { acks: u64, percent: u32 },
    /// Shut down, to its end.
    Closed { acks: u64 },
}

/// Everything that a seed decides.
#[derive(Debug, Clone, Copy)]
pub(super) struct Script {
    pub(super) seed: u64,
}

impl Script {
    /// A number below `bound`, always the same for the same words.
    fn number(&self, words: [u64; 4], bound: u64) -> u64 {
        let mut mixed = self.seed;
        for word in words {
            // splitmix64
            mixed = (mixed ^ word).wrapping_add(0x9e37_79b9_7f4a_7c15);
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^= mixed >> 31;
        }
        mixed % bound
    }

    pub(super) fn sent(&self, id: Id) -> Sent {
        let Id { life, producer, n } = id;
        let die = |about, bound| self.number([life, producer, n, about], bound);
        let topic = match producer {
            PRODUCERS.. => self.passing(life, producer - PRODUCERS),
            0 if n == 0 => "idle",
            0 | 2 => ["power", "table.power"][die(0, 2) as usize],
            _ => ["process", "table.process", "tiny"][die(0, 3) as usize],
        };
        let partition = match topic {
            "idle" => life % 4,
            "power" | "process" | "table.process" => die(1, 2),
            _ => 0,
        };
        let has_key = is_compacted(topic) || die(2, 2) == 0;
        let key = has_key.then(|| format!("key {}", die(3, 12)));
        let has_value = !is_compacted(topic) || die(4, 5) > 0;
        let value = has_value.then(|| format!("{id} {}", "v".repeat(die(5, 300) as usize)));
        Sent { topic, partition: partition as i32, key, value }
    }

    pub(super) fn record(&self, id: Id) -> Record<'static> {
        let sent = self.sent(id);
        let record = Record::to(sent.topic).partition(sent.partition).header("id", id.to_string());
        let record = match sent.key {
            Some(key) => record.key(key),
            None => record,
        };
        match sent.value {
            Some(value) => record.value(value),
            None => record,
        }
    }

    /// The number of a record, which is as it was sent, and where.
    pub(super) fn recognize(&self, record: &ConsumerRecord) -> Result<Id, String> {
        let id = record.headers.last("id").and_then(|id| std::str::from_utf8(id).ok());
        let id: Id = id.ok_or("a record without a number")?.parse()?;
        let sent = self.sent(id);
        let is = |found: &Option<bytes::Bytes>, text: &Option<String>| {
            found.as_deref() == text.as_ref().map(String::as_bytes)
        };
        let good = record.topic.as_str() == sent.topic
            && record.partition == sent.partition
            && is(&record.key, &sent.key)
            && is(&record.value, &sent.value);
        if good { Ok(id) } else { Err(format!("{id} is {record:?}, and was sent as {sent:?}")) }
    }

    /// The topic that a life creates or deletes in this step.
    pub(super) fn passing(&self, life: u64, step: u64) -> &'static str {
        PASSING[self.number([life, step, 0, 10], PASSING.len() as u64) as usize]
    }

    /// Whether a life goes by a clock that it moves itself, so that retention looks often.
    pub(super) fn moves_clock(&self, life: u64) -> bool {
        self.number([life, 0, 0, 11], 3) > 0
    }

    /// Whether the parent opens what a life left, before the next one does.
    pub(super) fn is_visited(&self, life: u64) -> bool {
        self.number([life, 0, 0, 12], 2) == 0
    }

    pub(super) fn end(&self, life: u64) -> End {
        let die = |about, bound| self.number([life, 0, 0, about], bound);
        let percent = die(13, 110) as u32;
        let acks = 1 + die(14, 300);
        match (life % 10, die(15, 10)) {
            // Twice in a row.
            (4 | 5, _) | (_, 0) => End::Opening { percent },
            (7, _) | (_, 1) => End::Closing { acks, percent },
            (_, 2) => End::Closed { acks },
            _ => End::Working { acks },
        }
    }
}
