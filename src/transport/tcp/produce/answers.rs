//! What answers to Produce mean for the batches that were sent.

use std::cmp::Reverse;

use tokio::time::Instant;

use super::queue::Fate;
use super::{Actor, Parts};
use crate::error::{Error, Result};
use crate::record::Timestamp;
use crate::topic::TopicPartition;
use crate::transport::BatchMetadata;
use crate::transport::backoff::Backoff;
use crate::transport::tcp::cluster::Cluster;
use crate::transport::tcp::errors::{Verdict, of_code, verdict};
use crate::wire::ErrorCode;
use crate::wire::produce::{PartitionProduceResponse, ProduceResponse};

impl Actor {
    /// Takes in an answer, or that there is none.
    pub(super) fn answered(&mut self, node: i32, parts: Parts, answer: Result<ProduceResponse>) {
        match answer {
            Ok(response) => {
                let told = by_partition(response);
                for (index, key) in parts {
                    let at = &self.queues[index].at;
                    let of_it = told.iter().find(|(topic, said)| {
                        said.index == at.partition && topic == at.topic.as_str()
                    });
                    let fate = match of_it {
                        Some((_, said)) => fate(&self.cluster, at, said),
                        None => Fate::Unknown,
                    };
                    self.settle(index, key, fate);
                }
            }
            Err(error) => {
                tracing::debug!(node, %error, "produced without an answer");
                self.cluster.nudge();
                for (index, key) in parts {
                    let fate = match error.is_retriable() {
                        true => Fate::Unknown,
                        false => Fate::Failed(error.clone()),
                    };
                    self.settle(index, key, fate);
                }
            }
        }
    }

    fn settle(&mut self, index: usize, key: u64, fate: Fate) {
        let queue = &mut self.queues[index];
        let has_failed = queue.answered(key, fate);
        let pause = has_failed.then(|| {
            let mut backoff = Backoff::new(self.cluster.settings.retry_backoff);
            backoff.after(queue.failures)
        });
        // First: whoever is told may submit the next batch, and it goes with others.
        self.tell(index);
        match pause {
            Some(pause) => self.delayed.push(Reverse((Instant::now() + pause, index))),
            None => self.make_ready(index),
        }
    }
}

/// What an answer says of a batch. Who leads is learnt from it, too.
pub(super) fn fate(
    cluster: &Cluster,
    at: &TopicPartition,
    said: &PartitionProduceResponse,
) -> Fate {
    let error = said.error_code;
    let hint = said.current_leader.clone();
    let message = said.error_message.as_deref();
    match error {
        ErrorCode::NONE | ErrorCode::DUPLICATE_SEQUENCE_NUMBER => {
            let time = Some(said.log_append_time_ms).filter(|time| *time >= 0);
            return Fate::Appended(BatchMetadata {
                base_offset: said.base_offset,
                log_append_time: time.map(Timestamp::from_millis),
            });
        }
        ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER => return Fate::OutOfSequence,
        ErrorCode::UNKNOWN_PRODUCER_ID | ErrorCode::INVALID_PRODUCER_EPOCH => {
            return Fate::Forgotten;
        }
        _ => tracing::debug!(%at, %error, message, "a batch was refused"),
    }
    if let ErrorCode::MESSAGE_TOO_LARGE | ErrorCode::RECORD_LIST_TOO_LARGE = error {
        return Fate::TooLarge(refusal(at, said));
    }
    match verdict(error) {
        Verdict::Elsewhere => {
            cluster.hint(at, hint.leader_id, hint.leader_epoch);
            cluster.nudge();
            Fate::Again
        }
        Verdict::Retry => Fate::Again,
        Verdict::Final => Fate::Failed(refusal(at, said)),
    }
}

pub(super) fn refusal(at: &TopicPartition, said: &PartitionProduceResponse) -> Error {
    // Which record it was says more than that there was one.
    let first = said.record_errors.first();
    let message = first.and_then(|it| it.batch_index_error_message.as_deref());
    let message = message.or(said.error_message.as_deref()).or(match said.error_code {
        ErrorCode::MESSAGE_TOO_LARGE => Some(
            "the record alone is over the topic's max.message.bytes, or message.max.bytes of the \
             broker",
        ),
        ErrorCode::RECORD_LIST_TOO_LARGE => Some("the record alone is over segment.bytes"),
        _ => None,
    });
    of_code(said.error_code, format!("producing to {at}"), message)
}

pub(super) fn by_partition(response: ProduceResponse) -> Vec<(String, PartitionProduceResponse)> {
    let mut all = Vec::new();
    for topic in response.responses {
        for partition in topic.partition_responses {
            all.push((topic.name.clone(), partition));
        }
    }
    all
}
