//! A topic as it is now: Metadata, ListOffsets, DescribeConfigs, and DescribeLogDirs where brokers
//! tell.

use std::collections::BTreeMap;

use super::configs::{self, Told};
use super::seen::{self, Seen};
use crate::broker::{
    Durability, FLUSH_MESSAGES, PartitionDescription, TopicConfig, TopicDescription,
};
use crate::error::Result;
use crate::topic::{TopicName, TopicPartition};
use crate::transport::tcp::cluster::Cluster;
use crate::transport::tcp::errors::of_code;
use crate::transport::tcp::settings::Address;
use crate::wire::ErrorCode;
use crate::wire::describe_log_dirs::{DescribableLogDirTopic, DescribeLogDirsRequest};
use crate::wire::list_offsets::{
    EARLIEST, LATEST, ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};

/// Where this library's brokers say that topics are which are in no directory.
const MEMORY: &str = "memory:";

pub(super) async fn topic(cluster: &Cluster, name: &TopicName) -> Result<TopicDescription> {
    let what = format!("describing topic {name:?}");
    let (seen, mut partitions) = cluster.until_done(&what, || offsets(cluster, name)).await?;
    let told = configs::all(cluster, name).await?;
    let is_in_memory = add_sizes(cluster, name, &seen, &mut partitions).await;
    let is_power =
        told.iter().any(|it| it.name == FLUSH_MESSAGES && it.value.as_deref() == Some("1"));
    let durability = match (is_power, is_in_memory) {
        (true, _) => Durability::Power,
        (false, true) => Durability::Memory,
        (false, false) => Durability::Process,
    };
    let config = config(&told).partitions(seen.partitions()).durability(durability);
    let partitions = partitions.into_values().collect();
    Ok(TopicDescription { name: name.clone(), id: seen.id, durability, config, partitions })
}

/// What was set for the topic, of what this library has, too.
fn config(told: &Told) -> TopicConfig {
    let set = told.iter().filter(|it| configs::is_set(it));
    set.fold(TopicConfig::new(), |config, it| match &it.value {
        Some(value) => config.clone().set(&it.name, value).unwrap_or(config),
        None => config,
    })
}

type Partitions = BTreeMap<i32, PartitionDescription>;

/// Who leads what: a broker, and its partitions with their leaders' epochs.
type Led<'a> = BTreeMap<&'a Address, Vec<(i32, i32)>>;

fn led<'a>(name: &TopicName, seen: &'a Seen) -> Result<Led<'a>> {
    let mut led = Led::new();
    for &partition in seen.leaders.keys() {
        let at = TopicPartition { topic: name.clone(), partition };
        let (address, epoch) = seen.leader(&at)?;
        led.entry(address).or_default().push((partition, epoch));
    }
    Ok(led)
}

async fn offsets(cluster: &Cluster, name: &TopicName) -> Result<(Seen, Partitions)> {
    let seen = seen::existing(cluster, name).await?;
    let mut partitions = Partitions::new();
    for (address, asked) in led(name, &seen)? {
        // The end last: the beginning is never behind it.
        let earliest = list(cluster, address, name, &asked, EARLIEST).await?;
        let latest = list(cluster, address, name, &asked, LATEST).await?;
        for (partition, (end, epoch)) in latest {
            let start = earliest.get(&partition).map_or(0, |(start, _)| *start);
            let described = PartitionDescription {
                partition,
                log_start_offset: start,
                high_watermark: end,
                log_end_offset: end,
                // Some brokers tell the leader's, before there is a record.
                leader_epoch: if end > 0 { epoch } else { -1 },
                size_bytes: 0,
                segments: 0,
            };
            partitions.insert(partition, described);
        }
    }
    Ok((seen, partitions))
}

/// Offsets and their epochs, of all partitions asked for.
async fn list(
    cluster: &Cluster,
    address: &Address,
    name: &TopicName,
    asked: &[(i32, i32)],
    timestamp: i64,
) -> Result<BTreeMap<i32, (i64, i32)>> {
    let partitions = asked.iter().map(|&(partition_index, current_leader_epoch)| {
        ListOffsetsPartition { partition_index, current_leader_epoch, timestamp }
    });
    let topic = ListOffsetsTopic { name: name.to_string(), partitions: partitions.collect() };
    let request = ListOffsetsRequest { topics: vec![topic], ..ListOffsetsRequest::default() };
    let response = cluster.pool.get(address).await?.ask(&request).await?;
    let told = response.topics.into_iter().flat_map(|topic| topic.partitions);
    let mut told: BTreeMap<i32, _> = told.map(|it| (it.partition_index, it)).collect();
    let mut found = BTreeMap::new();
    for (partition, _) in asked {
        let what = || format!("looking up an offset of {name}-{partition}");
        let Some(it) = told.remove(partition) else {
            return Err(super::topics::silent(&what()));
        };
        if it.error_code != ErrorCode::NONE {
            return Err(of_code(it.error_code, what(), None));
        }
        found.insert(*partition, (it.offset, it.leader_epoch));
    }
    Ok(found)
}

/// What partitions take on their leaders' disks; whether that is memory. Where a broker does not
/// tell, which may need a permission of its own, it stays 0.
async fn add_sizes(
    cluster: &Cluster,
    name: &TopicName,
    seen: &Seen,
    partitions: &mut Partitions,
) -> bool {
    let mut is_in_memory = false;
    for (address, led) in led(name, seen).unwrap_or_default() {
        let asked = DescribableLogDirTopic {
            topic: name.to_string(),
            partitions: led.iter().map(|(partition, _)| *partition).collect(),
        };
        let request = DescribeLogDirsRequest { topics: Some(vec![asked]) };
        let answer = async { cluster.pool.get(address).await?.ask(&request).await };
        let dirs = match answer.await {
            Ok(response) => response.results,
            Err(error) => {
                tracing::debug!(topic = %name, %error, "sizes are not told");
                continue;
            }
        };
        for dir in dirs {
            let topics = dir.topics.iter().filter(|topic| *name == topic.name.as_str());
            // What is about to move somewhere is counted where it is.
            let told = topics.flat_map(|topic| &topic.partitions).filter(|it| !it.is_future_key);
            for it in told {
                is_in_memory |= dir.log_dir == MEMORY;
                if let Some(described) = partitions.get_mut(&it.partition_index) {
                    described.size_bytes = u64::try_from(it.partition_size).unwrap_or(0);
                }
            }
        }
    }
    is_in_memory
}
