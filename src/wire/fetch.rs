//! Fetch (key 1): record batches of partitions. Versions 4 to 17.
//!
//! 5 tells where logs start; 7 has sessions (KIP-227); 9 leader epochs (KIP-320); 10 allows zstd;
//! 11 knows racks; 12 is flexible and finds out lost records (KIP-595); 13 names topics by their
//! ids (KIP-516); 15 is about replicas; 16 tells of a new leader (KIP-951).

use super::message::{message, throttled};
use super::produce::{LeaderIdAndEpoch, NodeEndpoint};
use super::{ApiKey, ErrorCode, Records, Request};
use crate::topic::TopicId;

impl Request for FetchRequest {
    const KEY: ApiKey = ApiKey::Fetch;
    type Response = FetchResponse;
    throttled!(8..);
}

message! {
    /// What is asked for.
    pub struct FetchRequest {
        /// -1: a consumer.
        pub replica_id: i32 = -1, ..=14;
        /// How long to wait for `min_bytes`.
        pub max_wait_ms: i32;
        /// How much is worth an answer.
        pub min_bytes: i32;
        /// How much an answer may hold, in round figures: one batch always.
        pub max_bytes: i32 = i32::MAX, 0..;
        /// 0: all records; 1: those of committed transactions.
        pub isolation_level: i8;
        /// The session; 0: none, or a new one.
        pub session_id: i32 = 0, 7..;
        /// The number of the request in its session; 0 begins one, -1 has none.
        pub session_epoch: i32 = -1, 7..;
        /// What is asked for; in a session, what has changed.
        pub topics: Vec<FetchTopic>;
        /// What the session is to forget.
        pub forgotten_topics_data: Vec<ForgottenTopic> = Vec::new(), 7..;
        /// Where the client stands.
        pub rack_id: String = String::new(), 11..;
        tagged {
            /// The cluster that the client means.
            0: pub cluster_id: Option<String> = None, 12..;
            /// The replica that asks.
            1: pub replica_state: ReplicaState = ReplicaState::default(), 15..;
        }
    }

    /// A replica.
    pub struct ReplicaState {
        /// Its broker's id; -1: a consumer.
        pub replica_id: i32 = -1, 0..;
        /// Its epoch.
        pub replica_epoch: i64 = -1, 0..;
    }

    /// A topic.
    pub struct FetchTopic {
        /// Its name.
        pub topic: String = String::new(), ..=12;
        /// Its id.
        pub topic_id: TopicId = TopicId([0; 16]), 13..;
        /// Its partitions.
        pub partitions: Vec<FetchPartition>;
    }

    /// A partition.
    pub struct FetchPartition {
        /// Which one.
        pub partition: i32;
        /// The leader's epoch, as far as the client knows; -1 if it does not.
        pub current_leader_epoch: i32 = -1, 9..;
        /// From which offset on.
        pub fetch_offset: i64;
        /// The epoch of the record before that offset; -1 if it is not known.
        pub last_fetched_epoch: i32 = -1, 12..;
        /// Where a replica's log starts.
        pub log_start_offset: i64 = -1, 5..;
        /// How much to read.
        pub partition_max_bytes: i32;
        tagged {
            /// A replica's folder.
            0: pub replica_directory_id: TopicId = TopicId([0; 16]), 17..;
        }
    }

    /// Partitions of a topic that a session is to forget.
    pub struct ForgottenTopic {
        /// The topic's name.
        pub topic: String = String::new(), ..=12;
        /// Its id.
        pub topic_id: TopicId = TopicId([0; 16]), 13..;
        /// The partitions.
        pub partitions: Vec<i32>;
    }

    /// What there is.
    pub struct FetchResponse {
        /// Milliseconds for which the client is to be silent.
        pub throttle_time_ms: i32;
        /// What is wrong with the session.
        pub error_code: ErrorCode = ErrorCode::NONE, 7..;
        /// The session; 0: none.
        pub session_id: i32 = 0, 7..;
        /// The topics; in a session, those with something new.
        pub responses: Vec<FetchableTopicResponse>;
        tagged {
            /// Where new leaders listen.
            0: pub node_endpoints: Vec<NodeEndpoint> = Vec::new(), 16..;
        }
    }

    /// A topic.
    pub struct FetchableTopicResponse {
        /// Its name.
        pub topic: String = String::new(), ..=12;
        /// Its id.
        pub topic_id: TopicId = TopicId([0; 16]), 13..;
        /// Its partitions.
        pub partitions: Vec<PartitionData>;
    }

    /// A partition.
    pub struct PartitionData {
        /// Which one.
        pub partition_index: i32;
        /// Why there is nothing.
        pub error_code: ErrorCode;
        /// Up to where records are visible; -1 with an error.
        pub high_watermark: i64;
        /// Up to where transactions are decided; -1 with an error.
        pub last_stable_offset: i64 = -1, 0..;
        /// Where the log starts; -1 with an error.
        pub log_start_offset: i64 = -1, 5..;
        /// Transactions that were aborted; null unless asked for.
        pub aborted_transactions: Option<Vec<AbortedTransaction>>;
        /// A replica that is nearer; -1 if there is none.
        pub preferred_read_replica: i32 = -1, 11..;
        /// The batches.
        pub records: Records;
        tagged {
            /// Where the epoch of the client's last record ended.
            0: pub diverging_epoch: EpochEndOffset = EpochEndOffset::default(), 12..;
            /// Who leads the partition.
            1: pub current_leader: LeaderIdAndEpoch = LeaderIdAndEpoch::default(), 12..;
            /// A replica is to begin from a snapshot.
            2: pub snapshot_id: SnapshotId = SnapshotId::default(), 12..;
        }
    }

    /// A transaction that was aborted.
    pub struct AbortedTransaction {
        /// Whose it was.
        pub producer_id: i64;
        /// Where it began.
        pub first_offset: i64;
    }

    /// The end of an epoch.
    pub struct EpochEndOffset {
        /// The epoch; -1: none.
        pub epoch: i32 = -1, 0..;
        /// The first offset after it.
        pub end_offset: i64 = -1, 0..;
    }

    /// A snapshot of a metadata log.
    pub struct SnapshotId {
        /// Its end; -1: none.
        pub end_offset: i64 = -1, 0..;
        /// Its epoch.
        pub epoch: i32 = -1, 0..;
    }
}
