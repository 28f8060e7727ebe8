//! DescribeLogDirs: what partitions take, in the data directory and in memory. Versions 1 to 4.
//!
//! How large the disk is nobody has looked: -1, which is what Kafka says where it can't tell.

use std::collections::{BTreeMap, BTreeSet};

use super::answer::{Client, Handle, Outcome};
use crate::broker::Durability;
use crate::wire::ErrorCode;
use crate::wire::describe_log_dirs::{
    DescribeLogDirsPartition, DescribeLogDirsRequest, DescribeLogDirsResponse,
    DescribeLogDirsResult, DescribeLogDirsTopic,
};

/// Where topics are that are in no directory.
const MEMORY: &str = "memory:";

/// From here on an error has a place of its own.
const FIRST_WITH_ERROR: i16 = 3;

impl Handle for DescribeLogDirsRequest {
    fn refuse(
        self,
        client: &Client,
        version: i16,
        error_code: ErrorCode,
    ) -> Outcome<DescribeLogDirsResponse> {
        if version >= FIRST_WITH_ERROR {
            let told = DescribeLogDirsResponse::default();
            return Outcome::Response(DescribeLogDirsResponse { error_code, ..told });
        }
        let log_dir = client.server.core().data_dir().unwrap_or(MEMORY).to_owned();
        told(vec![DescribeLogDirsResult { error_code, log_dir, ..Default::default() }])
    }

    async fn start(self, client: Client, _version: i16) -> Outcome<DescribeLogDirsResponse> {
        let core = client.server.core();
        let wanted = self.topics.map(|topics| {
            let mut wanted: BTreeMap<String, BTreeSet<i32>> = BTreeMap::new();
            for topic in topics {
                wanted.entry(topic.topic).or_default().extend(topic.partitions);
            }
            wanted
        });
        let mut dirs: BTreeMap<&str, Vec<DescribeLogDirsTopic>> = BTreeMap::new();
        // It is told also while it is empty.
        dirs.insert(core.data_dir().unwrap_or(MEMORY), Vec::new());
        for topic in core.all_topics() {
            let named = wanted.as_ref().map(|wanted| wanted.get(topic.name.as_str()));
            // Of all topics all partitions.
            let is_wanted = |partition: i32| match named {
                Some(named) => named.is_some_and(|named| named.contains(&partition)),
                None => true,
            };
            let described = topic.describe();
            let partitions = described.partitions.iter().filter(|it| is_wanted(it.partition));
            let partitions = partitions.map(|it| DescribeLogDirsPartition {
                partition_index: it.partition,
                partition_size: it.size_bytes as i64,
                offset_lag: 0,
                is_future_key: false,
            });
            let partitions: Vec<DescribeLogDirsPartition> = partitions.collect();
            if partitions.is_empty() {
                continue;
            }
            let dir = core.data_dir().filter(|_| described.durability != Durability::Memory);
            let name = topic.name.to_string();
            let topics = dirs.entry(dir.unwrap_or(MEMORY)).or_default();
            topics.push(DescribeLogDirsTopic { name, partitions });
        }
        let results = dirs.into_iter().map(|(log_dir, topics)| DescribeLogDirsResult {
            log_dir: log_dir.to_owned(),
            topics,
            ..DescribeLogDirsResult::default()
        });
        told(results.collect())
    }
}

fn told(results: Vec<DescribeLogDirsResult>) -> Outcome<DescribeLogDirsResponse> {
    Outcome::Response(DescribeLogDirsResponse { results, ..DescribeLogDirsResponse::default() })
}
