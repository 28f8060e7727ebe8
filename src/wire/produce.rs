//! Produce (key 0): record batches to append. Versions 3 to 11.
//!
//! 5 tells where the log starts; 7 allows zstd; 8 tells what is wrong with which record (KIP-467);
//! 9 is flexible; 10 tells of a new leader (KIP-951); 11 knows transactions' later errors.

use super::message::{message, throttled};
use super::{ApiKey, ErrorCode, Records, Request};

impl Request for ProduceRequest {
    const KEY: ApiKey = ApiKey::Produce;
    type Response = ProduceResponse;
    throttled!(6..);
}

message! {
    /// Batches for partitions, one each.
    pub struct ProduceRequest {
        /// Null without transactions.
        pub transactional_id: Option<String>;
        /// 0: no answer; 1: the leader has it; -1: all that are in sync have it.
        pub acks: i16;
        /// How long to wait for that.
        pub timeout_ms: i32;
        /// The topics.
        pub topic_data: Vec<TopicProduceData>;
    }

    /// A topic.
    pub struct TopicProduceData {
        /// Its name.
        pub name: String;
        /// Its partitions.
        pub partition_data: Vec<PartitionProduceData>;
    }

    /// A partition.
    pub struct PartitionProduceData {
        /// Which one.
        pub index: i32;
        /// The batch.
        pub records: Records;
    }

    /// What became of them.
    pub struct ProduceResponse {
        /// The topics.
        pub responses: Vec<TopicProduceResponse>;
        /// Milliseconds for which the client is to be silent.
        pub throttle_time_ms: i32;
        tagged {
            /// Where new leaders listen.
            0: pub node_endpoints: Vec<NodeEndpoint> = Vec::new(), 10..;
        }
    }

    /// A topic.
    pub struct TopicProduceResponse {
        /// Its name.
        pub name: String;
        /// Its partitions.
        pub partition_responses: Vec<PartitionProduceResponse>;
    }

    /// A partition.
    pub struct PartitionProduceResponse {
        /// Which one.
        pub index: i32;
        /// Why nothing was appended.
        pub error_code: ErrorCode;
        /// The offset of the first record.
        pub base_offset: i64;
        /// The broker's time, if the records have that now; else -1.
        pub log_append_time_ms: i64 = -1, 0..;
        /// Where the log starts.
        pub log_start_offset: i64 = -1, 5..;
        /// What is wrong with which record.
        pub record_errors: Vec<BatchIndexAndErrorMessage> = Vec::new(), 8..;
        /// What is wrong with all of it.
        pub error_message: Option<String> = None, 8..;
        tagged {
            /// Who leads the partition.
            0: pub current_leader: LeaderIdAndEpoch = LeaderIdAndEpoch::default(), 10..;
        }
    }

    /// What is wrong with a record.
    pub struct BatchIndexAndErrorMessage {
        /// Which record of the batch.
        pub batch_index: i32;
        /// In words.
        pub batch_index_error_message: Option<String>;
    }

    /// A leader.
    pub struct LeaderIdAndEpoch {
        /// Its broker's id; -1 if that is not known.
        pub leader_id: i32 = -1, 0..;
        /// Since which epoch.
        pub leader_epoch: i32 = -1, 0..;
    }

    /// Where a broker listens.
    pub struct NodeEndpoint {
        /// Its id.
        pub node_id: i32;
        /// The host.
        pub host: String;
        /// The port.
        pub port: i32;
        /// Where it stands.
        pub rack: Option<String>;
    }
}
