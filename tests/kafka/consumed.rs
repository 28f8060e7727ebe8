//! What a consumer of ours reads of a data directory.

use std::collections::BTreeMap;

use ottla::{Broker, TopicPartition};

use crate::seen::consumed;

/// Of one partition.
pub struct Consumed {
    /// The log start offset, and the log end offset.
    pub start: i64,
    pub end: i64,
    /// A line a record, as `Records.java` prints it.
    pub lines: Vec<String>,
}

/// Of all topics of users.
pub async fn read_all(broker: &Broker) -> BTreeMap<TopicPartition, Consumed> {
    let mut all = BTreeMap::new();
    for topic in broker.topics().unwrap() {
        for partition in broker.describe_topic(topic.as_str()).unwrap().partitions {
            let at = TopicPartition { topic: topic.clone(), partition: partition.partition };
            let (start, end) = (partition.log_start_offset, partition.log_end_offset);
            let lines = read(broker, &at).await;
            all.insert(at, Consumed { start, end, lines });
        }
    }
    all
}

async fn read(broker: &Broker, at: &TopicPartition) -> Vec<String> {
    let mut consumer = broker.consumer().assign([at.clone()]).await.unwrap();
    let mut lines = Vec::new();
    // Offsets whose records were compacted away are passed without one.
    while consumer.lag().await.unwrap().values().any(|lag| *lag > 0) {
        match consumer.try_recv() {
            Ok(Some(record)) => lines.push(consumed(&record)),
            Ok(None) => tokio::task::yield_now().await,
            // A line that Kafka never says. The consumer goes on behind what it can't read.
            Err(error) => lines.push(error.to_string()),
        }
    }
    lines
}
