//! Metadata (key 3): which topics there are, and who leads their partitions. Versions 0 to 12.
//!
//! 0 asks for all topics by naming none, later ones by null; from 4 on it is asked whether unknown
//! topics are to be created, before they always are; 9 is flexible; 10 has topic ids.

use super::message::{message, throttled};
use super::{ApiKey, ErrorCode, Request};
use crate::topic::TopicId;

impl Request for MetadataRequest {
    const KEY: ApiKey = ApiKey::Metadata;
    type Response = MetadataResponse;
    throttled!(6..);
}

/// No authorized operations are told.
pub const NO_OPERATIONS: i32 = i32::MIN;

message! {
    /// What is asked for.
    pub struct MetadataRequest {
        /// These topics; null: all.
        pub topics: Option<Vec<MetadataRequestTopic>>;
        /// Whether unknown ones may be created.
        pub allow_auto_topic_creation: bool = true, 4..;
        /// Whether to tell what the client may do with the cluster.
        pub include_cluster_authorized_operations: bool = false, 8..=10;
        /// Whether to tell what it may do with the topics.
        pub include_topic_authorized_operations: bool = false, 8..;
    }

    /// A topic that is asked for.
    pub struct MetadataRequestTopic {
        /// Its id, or zeros.
        pub topic_id: TopicId = TopicId([0; 16]), 10..;
        /// Its name; null if the id is meant.
        pub name: Option<String>;
    }

    /// What there is.
    pub struct MetadataResponse {
        /// Milliseconds for which the client is to be silent.
        pub throttle_time_ms: i32 = 0, 3..;
        /// The brokers.
        pub brokers: Vec<MetadataResponseBroker>;
        /// The cluster's id.
        pub cluster_id: Option<String> = None, 2..;
        /// The broker that administers.
        pub controller_id: i32 = -1, 1..;
        /// The topics.
        pub topics: Vec<MetadataResponseTopic>;
        /// What the client may do with the cluster.
        pub cluster_authorized_operations: i32 = NO_OPERATIONS, 8..=10;
    }

    /// A broker.
    pub struct MetadataResponseBroker {
        /// Its id.
        pub node_id: i32;
        /// Where clients reach it.
        pub host: String;
        /// On which port.
        pub port: i32;
        /// Where it stands.
        pub rack: Option<String> = None, 1..;
    }

    /// A topic.
    pub struct MetadataResponseTopic {
        /// Why nothing is told.
        pub error_code: ErrorCode;
        /// Its name; null only for an id that is not known (12).
        pub name: Option<String>;
        /// Its id.
        pub topic_id: TopicId = TopicId([0; 16]), 10..;
        /// Whether it is the broker's own.
        pub is_internal: bool = false, 1..;
        /// Its partitions.
        pub partitions: Vec<MetadataResponsePartition>;
        /// What the client may do with it.
        pub topic_authorized_operations: i32 = NO_OPERATIONS, 8..;
    }

    /// A partition.
    pub struct MetadataResponsePartition {
        /// Why it can't be used.
        pub error_code: ErrorCode;
        /// Which one.
        pub partition_index: i32;
        /// The broker that leads it.
        pub leader_id: i32;
        /// Since which epoch; -1 if that is not known.
        pub leader_epoch: i32 = -1, 7..;
        /// All that have it.
        pub replica_nodes: Vec<i32>;
        /// Those of them that have all of it.
        pub isr_nodes: Vec<i32>;
        /// Those that are away.
        pub offline_replicas: Vec<i32> = Vec::new(), 5..;
    }
}
