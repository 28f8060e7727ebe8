//! Which requests there are, and in which versions.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::Wire;

/// A request, and what answers it.
pub trait Request: Wire {
    /// Which one it is.
    const KEY: ApiKey;
    /// Its answer.
    type Response: Wire;

    /// For how long a broker that gives this answer wants to be left alone.
    fn throttle(_answer: &Self::Response, _version: i16) -> Duration {
        Duration::ZERO
    }
}

/// One line an API: its key, the versions that its file describes, the first flexible one, and the
/// lowest version that is advertised, if it is another.
macro_rules! apis {
    ($($name:ident = $key:literal, $min:literal..=$max:literal, $flexible:literal
        $(, advertised from $from:literal)?;)*) => {
        /// A request's kind: Kafka's API key.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[allow(missing_docs)] // Kafka's names
        pub enum ApiKey {
            $($name = $key,)*
        }

        impl ApiKey {
            /// All, by their keys.
            pub const ALL: &[ApiKey] = &[$(ApiKey::$name,)*];

            /// The versions that can be read and written.
            pub fn versions(self) -> RangeInclusive<i16> {
                match self {
                    $(ApiKey::$name => $min..=$max,)*
                }
            }

            /// The versions that a server says it has.
            pub fn advertised(self) -> RangeInclusive<i16> {
                #[allow(unused_mut, unused_assignments)] // most advertise what they have
                match self {
                    $(ApiKey::$name => {
                        let mut min = $min;
                        $(min = $from;)?
                        min..=$max
                    })*
                }
            }

            fn first_flexible(self) -> i16 {
                match self {
                    $(ApiKey::$name => $flexible,)*
                }
            }

            /// Kafka's name.
            pub fn name(self) -> &'static str {
                match self {
                    $(ApiKey::$name => stringify!($name),)*
                }
            }
        }
    };
}

apis! {
    // Librdkafka compresses with gzip, snappy and LZ4 only for a broker that says it takes
    // version 0 (KAFKA-18659); Kafka 4 says so, too, and closes the connection of whoever uses it.
    Produce = 0, 3..=11, 9, advertised from 0;
    Fetch = 1, 4..=17, 12;
    ListOffsets = 2, 1..=10, 6;
    Metadata = 3, 0..=12, 9;
    OffsetCommit = 8, 2..=9, 8;
    OffsetFetch = 9, 1..=9, 6;
    FindCoordinator = 10, 0..=5, 3;
    JoinGroup = 11, 0..=9, 6;
    Heartbeat = 12, 0..=4, 4;
    LeaveGroup = 13, 0..=5, 4;
    SyncGroup = 14, 0..=5, 4;
    DescribeGroups = 15, 0..=5, 5;
    ListGroups = 16, 0..=5, 3;
    // Never flexible.
    SaslHandshake = 17, 0..=1, 2;
    ApiVersions = 18, 0..=4, 3;
    CreateTopics = 19, 2..=7, 5;
    DeleteTopics = 20, 1..=6, 4;
    DeleteRecords = 21, 0..=2, 2;
    InitProducerId = 22, 0..=5, 2;
    OffsetForLeaderEpoch = 23, 2..=4, 4;
    DescribeAcls = 29, 1..=3, 2;
    CreateAcls = 30, 1..=3, 2;
    DeleteAcls = 31, 1..=3, 2;
    DescribeConfigs = 32, 1..=4, 4;
    AlterConfigs = 33, 0..=2, 2;
    DescribeLogDirs = 35, 1..=4, 2;
    SaslAuthenticate = 36, 0..=2, 2;
    CreatePartitions = 37, 0..=3, 2;
    DeleteGroups = 42, 0..=2, 2;
    IncrementalAlterConfigs = 44, 0..=1, 1;
    AlterPartitionReassignments = 45, 0..=1, 0;
    ListPartitionReassignments = 46, 0..=0, 0;
    // Never flexible.
    OffsetDelete = 47, 0..=0, 1;
    DescribeCluster = 60, 0..=1, 0;
}

impl ApiKey {
    /// By its number; `None` if it is not known here.
    pub fn from_number(key: i16) -> Option<ApiKey> {
        ApiKey::ALL.iter().copied().find(|api| *api as i16 == key)
    }

    /// Whether a version is flexible: compact lengths, tagged fields (KIP-482).
    pub fn is_flexible(self, version: i16) -> bool {
        version >= self.first_flexible()
    }
}
