//! Whether what a consumer has read is still in the log (KIP-320): the leader says where the epoch
//! of the last record ended.
//!
//! From version 12 on Fetch tells it unasked. A new leader that does not have that version is asked
//! before anything is fetched of it.

use super::shelf::Wanted;
use crate::topic::TopicPartition;
use crate::transport::FetchPosition;
use crate::transport::tcp::cluster::Cluster;
use crate::transport::tcp::connection::Connection;
use crate::wire::ApiKey;
use crate::wire::offset_for_leader_epoch::{
    OffsetForLeaderEpochRequest, OffsetForLeaderPartition, OffsetForLeaderTopic,
};

/// From this version on Fetch tells of epochs that diverge.
const TOLD_BY_FETCH: i16 = 12;
/// Before this version OffsetForLeaderEpoch is for brokers, not for readers.
const FOR_READERS: i16 = 3;
/// A consumer.
const NO_REPLICA: i32 = -1;

/// A position that is to be confirmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Doubt {
    pub(super) at: TopicPartition,
    /// The leader that is asked.
    pub(super) leader_epoch: i32,
    /// The epoch whose end is asked for.
    position_epoch: i32,
}

/// The version in which the broker can be asked, if it has to be.
pub(super) fn version_to_ask(connection: &Connection, fetch_version: i16) -> Option<i16> {
    let version = connection.version(ApiKey::OffsetForLeaderEpoch, i16::MAX).ok()?;
    (fetch_version < TOLD_BY_FETCH && version >= FOR_READERS).then_some(version)
}

/// The positions that this leader has not confirmed, as far as their epochs are known.
pub(super) fn doubts(cluster: &Cluster, node: i32, wanted: &[Wanted]) -> Vec<Doubt> {
    let doubt = |wanted: &Wanted| {
        let leader = cluster.leader(&wanted.at).filter(|leader| leader.node == Some(node))?;
        let is_new = leader.epoch >= 0 && leader.epoch != wanted.confirmed_by;
        let position_epoch = wanted.position.leader_epoch;
        (is_new && position_epoch >= 0).then(|| Doubt {
            at: wanted.at.clone(),
            leader_epoch: leader.epoch,
            position_epoch,
        })
    };
    wanted.iter().filter_map(doubt).collect()
}

pub(super) fn question(doubts: &[Doubt]) -> OffsetForLeaderEpochRequest {
    let mut topics = Vec::<OffsetForLeaderTopic>::new();
    for Doubt { at, leader_epoch, position_epoch } in doubts {
        let partition = OffsetForLeaderPartition {
            partition: at.partition,
            current_leader_epoch: *leader_epoch,
            leader_epoch: *position_epoch,
        };
        // Those of a topic stand together.
        match topics.last_mut().filter(|topic| topic.topic == at.topic.as_str()) {
            Some(topic) => topic.partitions.push(partition),
            None => topics.push(OffsetForLeaderTopic {
                topic: at.topic.to_string(),
                partitions: vec![partition],
            }),
        }
    }
    OffsetForLeaderEpochRequest { replica_id: NO_REPLICA, topics }
}

/// What a position is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Worth {
    /// Reading goes on there, after a record of this epoch.
    Holds { epoch: i32 },
    /// What was read from here on is gone, and others may be in its place.
    CutOff { to: i64 },
    /// The leader has no such epoch.
    Unknown,
}

/// What a leader says of a position's epoch: the latest that it has up to that, and its end.
///
/// An older epoch that reaches up to the position does not speak against it: a leader whose epoch
/// has ended without a record is unknown to the next one, and positions at the log's end may have
/// its epoch from ListOffsets. Java's consumer goes on there, too.
pub(super) fn worth(position: FetchPosition, epoch: i32, end_offset: i64) -> Worth {
    match end_offset {
        _ if epoch < 0 || end_offset < 0 => Worth::Unknown,
        end if end < position.offset => Worth::CutOff { to: end },
        _ => Worth::Holds { epoch },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_holds_as_long_as_its_epoch_reaches_it() {
        let position = FetchPosition { offset: 10, leader_epoch: 5 };
        assert_eq!(worth(position, 5, 10), Worth::Holds { epoch: 5 });
        assert_eq!(worth(position, 5, 9), Worth::CutOff { to: 9 });
        assert_eq!(worth(position, 3, 4), Worth::CutOff { to: 4 });
        assert_eq!(worth(position, 3, 10), Worth::Holds { epoch: 3 });
        assert_eq!(worth(position, -1, -1), Worth::Unknown);
    }

    #[test]
    fn partitions_of_a_topic_are_asked_for_together() {
        let doubt = |topic: &str, partition| Doubt {
            at: TopicPartition::new(topic, partition).unwrap(),
            leader_epoch: 7,
            position_epoch: 6,
        };
        let asked = question(&[doubt("a", 0), doubt("a", 2), doubt("b", 0)]);
        let topics = asked.topics.iter().map(|it| (it.topic.as_str(), it.partitions.len()));
        assert_eq!(topics.collect::<Vec<_>>(), [("a", 2), ("b", 1)]);
        let second = &asked.topics[0].partitions[1];
        assert_eq!(
            (asked.replica_id, second.partition, second.current_leader_epoch, second.leader_epoch),
            (-1, 2, 7, 6)
        );
    }
}
