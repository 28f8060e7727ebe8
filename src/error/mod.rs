//! The public [`Error`]: what every call can answer, under Kafka's names, gathered from below.
//!
//! One failure may answer many waiters, so errors are `Clone` and share their sources.

mod group;

use std::io;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use crate::batch::BatchError;
use crate::log::{AppendError, CompactionError, ProducerError, ReadError};
use crate::storage::is_full;
use crate::topic::{InvalidTopic, TopicPartition};

pub use group::GroupError;

/// The result of most calls.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong. [`Error::is_retriable`] says whether trying again can help.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The text is no topic name.
    #[error(transparent)]
    InvalidTopic(#[from] InvalidTopic),
    /// There is no such topic, and it was not to be created.
    #[error(
        "unknown topic {topic:?}: there is none of that name, and none is created here (producing \
         and consuming may, by auto_create_topics)"
    )]
    UnknownTopic {
        /// The name.
        topic: String,
    },
    /// The topic has no such partition.
    #[error("topic {topic:?} has no partition {partition}: it has 0 to {}", partitions - 1)]
    UnknownPartition {
        /// The topic.
        topic: String,
        /// The number asked for.
        partition: i32,
        /// How many partitions there are.
        partitions: i32,
    },
    /// The topic exists already, or one whose name differs only in `.` against `_`.
    #[error("topic {topic:?} exists already{}", collision(.existing))]
    TopicAlreadyExists {
        /// The name asked for.
        topic: String,
        /// The topic in its way, if the names differ.
        existing: Option<String>,
    },
    /// A topic can't have so many partitions, or so few: it can get more, but not fewer.
    #[error("{partitions} partitions: it can have {least} to {limit}")]
    InvalidPartitions {
        /// The number asked for.
        partitions: i32,
        /// The smallest number.
        least: i32,
        /// The largest number.
        limit: i32,
    },
    /// A setting has a name or a value that is not allowed.
    #[error("invalid setting {name}: {reason}")]
    InvalidConfig {
        /// The setting's name, Kafka's where Kafka has it.
        name: String,
        /// What is allowed.
        reason: String,
    },
    /// The record, as a batch of its own, is over the limit. Nothing was queued.
    #[error("record of {size} bytes is over {setting}={limit}")]
    MessageTooLarge {
        /// The size of a batch with just this record.
        size: usize,
        /// The limit.
        limit: usize,
        /// The setting that sets the limit.
        setting: &'static str,
    },
    /// The record's timestamp is negative.
    #[error("invalid timestamp {timestamp}: it is before 1970-01-01T00:00:00Z")]
    InvalidTimestamp {
        /// The timestamp, in milliseconds.
        timestamp: i64,
    },
    /// The record, with what is buffered, does not fit into the producer's buffer now.
    #[error("the producer's buffer is full: {buffered} of {limit} bytes (buffer.memory)")]
    BufferFull {
        /// Bytes waiting for an acknowledgement.
        buffered: usize,
        /// The limit.
        limit: usize,
    },
    /// The position lies outside of the partition's log.
    #[error(
        "offset {offset} of {at} is out of range: the log goes from {log_start_offset} to \
         {log_end_offset}, where the next record will be"
    )]
    OffsetOutOfRange {
        /// The partition.
        at: TopicPartition,
        /// The position.
        offset: i64,
        /// The first offset there is.
        log_start_offset: i64,
        /// The offset that the next record gets.
        log_end_offset: i64,
    },
    /// These offsets can't be read; the log goes on at `to`, and so does the consumer.
    #[error("offsets {from} to {} of {at} are corrupt; reading goes on at {to}", to - 1)]
    Corrupt {
        /// The partition.
        at: TopicPartition,
        /// The first offset that can't be read.
        from: i64,
        /// The first one after them that can.
        to: i64,
    },
    /// The records before this position are gone, and others may have taken their offsets from
    /// `to` on. The consumer goes on at `to`.
    #[error("{at} was truncated to offset {to}; reading goes on there")]
    Truncated {
        /// The partition.
        at: TopicPartition,
        /// Where the log that the consumer had read ended.
        to: i64,
    },
    /// A record has no key, which on a compacted topic it needs.
    #[error("a record without a key for {at}, which is compacted: record {index} of its batch")]
    MissingKey {
        /// The partition.
        at: TopicPartition,
        /// Which record of its batch, counted from 0.
        index: i32,
    },
    /// The bytes are no record batch.
    #[error("invalid record batch for {at}: {source}")]
    InvalidRecord {
        /// The partition.
        at: TopicPartition,
        /// What is wrong with them.
        source: BatchError,
    },
    /// The producer's id, epoch or sequence forbids the append.
    #[error("{at}: {source}")]
    Producer {
        /// The partition.
        at: TopicPartition,
        /// What is wrong.
        source: ProducerError,
    },
    /// A consumer group refused the call.
    #[error("group {group:?}: {source}")]
    Group {
        /// The group.
        group: String,
        /// Why.
        source: GroupError,
    },
    /// The memory budget is used up, and the broker's policy is to say so.
    #[error(
        "the memory budget of {limit} bytes is used up, so {at} takes no records (memory_limit, \
         memory_policy)"
    )]
    MemoryFull {
        /// The partition.
        at: TopicPartition,
        /// The budget.
        limit: usize,
    },
    /// The partition has come to its cap with records that a mirror has not forwarded yet, and the
    /// mirror's [`Backlog`](crate::mirror::Backlog) is `Reject`.
    #[error(
        "{at} takes no records: the {limit} bytes that it may take (ottla.partition.max.bytes) are \
         full of records that are not mirrored yet; raise the cap, wait until the mirror has \
         caught up, or let it drop the oldest (Backlog::DropOldest)"
    )]
    BacklogFull {
        /// The partition.
        at: TopicPartition,
        /// The cap.
        limit: u64,
    },
    /// The disk is full. What was asked for was not done; once there is space it can be, without
    /// opening anything again. Reading goes on, and so do retention and deletion, which need none.
    #[error(
        "no space left on the device for {what}; it can be tried again once there is space: delete \
         records or topics, or other files"
    )]
    StorageFull {
        /// What could not grow.
        what: String,
    },
    /// An earlier failure of the storage made the partition read-only; consuming goes on.
    /// Opening the broker again recovers it.
    #[error("{at} is read-only since a failure: {source}")]
    ReadOnly {
        /// The partition.
        at: TopicPartition,
        /// The failure.
        source: Arc<io::Error>,
    },
    /// The broker was opened for reading only.
    #[error(
        "the data directory is open for reading only: `Broker::open` opens it for changes, too"
    )]
    OpenForReading,
    /// The storage failed. It may pass: a read can be repeated, from the same position.
    #[error("{context}: {source}")]
    Io {
        /// What was being done, to what.
        context: String,
        /// The failure.
        source: Arc<io::Error>,
    },
    /// Another broker has the data directory.
    #[error("{path} is in use by {holder}")]
    Locked {
        /// The directory.
        path: String,
        /// Who has it.
        holder: String,
    },
    /// The data directory was written in a format that this version does not know.
    #[error("{path} has format version {found}; this version of ottla reads up to {supported}")]
    UnsupportedFormat {
        /// The directory.
        path: String,
        /// The version it has.
        found: String,
        /// The latest version known here.
        supported: u32,
    },
    /// None of the brokers that were named could be reached.
    #[error("no broker can be reached: {}", each(.attempts))]
    Unreachable {
        /// The addresses that were tried, and what came of each.
        attempts: Vec<(String, String)>,
    },
    /// A connection to a broker was lost, or is none. Whatever was asked for may have happened.
    #[error("{broker}: {reason}")]
    Disconnected {
        /// The broker's address.
        broker: String,
        /// What has happened.
        reason: Arc<str>,
    },
    /// A broker and this client do not believe each other: a wrong password, a certificate by
    /// nobody who is trusted, or one of them expects TLS and the other does not.
    #[error("{broker}: authentication failed: {reason}")]
    Authentication {
        /// The broker's address.
        broker: String,
        /// What is wrong.
        reason: String,
    },
    /// A broker has no version of a request that is known here, too.
    #[error("{broker} does not have {api}{}: it is too old, or too new", versions(.theirs, .ours))]
    UnsupportedVersion {
        /// The broker's address.
        broker: String,
        /// The request.
        api: &'static str,
        /// The versions that the broker has, if any.
        theirs: Option<RangeInclusive<i16>>,
        /// The versions that are known here.
        ours: RangeInclusive<i16>,
    },
    /// A broker refuses for want of permission.
    #[error("{what}: not authorized ({name}): the broker's access lists forbid it")]
    Unauthorized {
        /// What was asked for.
        what: String,
        /// Kafka's name for it.
        name: &'static str,
    },
    /// A broker refuses with an error of Kafka's that has no other counterpart here.
    #[error("{what}: the broker answers {name} ({code}){}", colon(.message))]
    Refused {
        /// What was asked for.
        what: String,
        /// Kafka's name for the error.
        name: &'static str,
        /// Kafka's number for it.
        code: i16,
        /// What the broker says of it.
        message: String,
        /// Whether it may pass.
        is_retriable: bool,
    },
    /// It did not happen in time.
    #[error("{what} did not happen within {after:?}")]
    Timeout {
        /// What was waited for.
        what: String,
        /// For how long.
        after: Duration,
    },
    /// The call does not fit the handle's state.
    #[error("{0}")]
    InvalidState(String),
    /// The broker, or this part of it, is gone.
    #[error("closed: {reason}")]
    Closed {
        /// Why.
        reason: Arc<str>,
    },
}

impl Error {
    /// Whether the same call can succeed later without anyone changing anything in the code.
    ///
    /// A consumer tells what it met and goes on at the next call: so these are retriable, too.
    pub fn is_retriable(&self) -> bool {
        use Error::*;
        let passes = matches!(
            self,
            BufferFull { .. }
                | MemoryFull { .. }
                | BacklogFull { .. }
                | StorageFull { .. }
                | Locked { .. }
        );
        let may_pass = matches!(self, Io { source, .. } if !is_lasting(source));
        let goes_on = matches!(self, OffsetOutOfRange { .. } | Corrupt { .. } | Truncated { .. });
        let network = matches!(
            self,
            Unreachable { .. } | Disconnected { .. } | Refused { is_retriable: true, .. }
        );
        passes || may_pass || goes_on || network || matches!(self, Timeout { .. })
    }

    pub(crate) fn closed(reason: impl Into<Arc<str>>) -> Self {
        Error::Closed { reason: reason.into() }
    }

    pub(crate) fn io(context: impl Into<String>, source: io::Error) -> Self {
        match is_full(&source) {
            true => Error::StorageFull { what: context.into() },
            false => Error::Io { context: context.into(), source: Arc::new(source) },
        }
    }

    pub(crate) fn compaction(at: &TopicPartition, error: CompactionError) -> Self {
        match error {
            CompactionError::Failed(source) if is_full(&source) => {
                Error::StorageFull { what: format!("compacting {at}") }
            }
            CompactionError::Failed(source) => {
                Error::Io { context: format!("compacting {at}"), source }
            }
            CompactionError::ReadOnly(source) => Error::ReadOnly { at: at.clone(), source },
        }
    }

    pub(crate) fn append(at: &TopicPartition, error: AppendError) -> Self {
        let at = at.clone();
        match error {
            AppendError::TooLarge { size, limit } => {
                Error::MessageTooLarge { size, limit, setting: "max.message.bytes" }
            }
            AppendError::LargerThanSegment { size, limit } => {
                let limit = usize::try_from(limit).unwrap_or(usize::MAX);
                Error::MessageTooLarge { size, limit, setting: "segment.bytes" }
            }
            AppendError::Invalid(source) => Error::InvalidRecord { at, source },
            AppendError::MissingKey { index } => Error::MissingKey { at, index },
            AppendError::Producer(source) => Error::Producer { at, source },
            AppendError::MemoryFull { limit, .. } => Error::MemoryFull { at, limit },
            AppendError::Held { limit, .. } => Error::BacklogFull { at, limit },
            AppendError::StorageFull { what } => Error::StorageFull { what },
            AppendError::ReadOnly(source) => Error::ReadOnly { at, source },
            AppendError::OffsetsExhausted => {
                Error::InvalidState(format!("{at} has no offsets left"))
            }
        }
    }

    pub(crate) fn read(at: &TopicPartition, error: ReadError) -> Self {
        let at = at.clone();
        match error {
            ReadError::OffsetOutOfRange { offset, log_start_offset, log_end_offset } => {
                Error::OffsetOutOfRange { at, offset, log_start_offset, log_end_offset }
            }
            ReadError::Corrupt { from, to } => Error::Corrupt { at, from, to },
            ReadError::Truncated { to } => Error::Truncated { at, to },
            ReadError::Io(source) => Error::Io { context: format!("reading {at}"), source },
        }
    }
}

/// Whether a failure is of a kind that does not pass by itself.
fn is_lasting(error: &io::Error) -> bool {
    use io::ErrorKind::*;
    matches!(
        error.kind(),
        NotFound
            | UnexpectedEof
            | NotADirectory
            | PermissionDenied
            | ReadOnlyFilesystem
            | InvalidInput
            | Unsupported
    )
}

fn collision(existing: &Option<String>) -> String {
    match existing {
        Some(name) => format!(": {name:?} differs only in '.' against '_'"),
        None => String::new(),
    }
}

fn each(attempts: &[(String, String)]) -> String {
    let each = attempts.iter().map(|(address, reason)| format!("{address}: {reason}"));
    each.collect::<Vec<_>>().join("; ")
}

fn versions(theirs: &Option<RangeInclusive<i16>>, ours: &RangeInclusive<i16>) -> String {
    let shown = |range: &RangeInclusive<i16>| format!("{} to {}", range.start(), range.end());
    match theirs {
        Some(theirs) => format!(" {}, but {}", shown(ours), shown(theirs)),
        None => format!(" (here: {})", shown(ours)),
    }
}

fn colon(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(": {message}") }
}

/// What is shown of a line that says where brokers are: nothing that may be a password, and no more
/// than 100 characters.
pub(crate) fn shown(text: &str) -> String {
    let text = match text.rsplit_once('@') {
        Some((_, place)) => format!("…@{place}"),
        None => text.to_owned(),
    };
    text.chars().take(100).collect()
}
