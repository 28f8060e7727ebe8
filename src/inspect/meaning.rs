//! What the broker's own records say, in words.

use std::fmt::Write;

use crate::broker::OFFSETS_TOPIC;
use crate::broker::catalog::Change;
use crate::broker::folders::CATALOG_TOPIC;
use crate::group::{CommittedOffset, GroupMetadata, GroupRecord};

/// `None` for users' records, and for what can't be read.
pub(super) fn meaning(topic: &str, key: &[u8], value: Option<&[u8]>) -> Option<String> {
    match topic {
        OFFSETS_TOPIC => GroupRecord::decode(key, value).ok()?.map(|record| of_group(&record)),
        CATALOG_TOPIC => Change::from_record(key, value).ok()?.map(|change| of_catalog(&change)),
        _ => None,
    }
}

fn of_group(record: &GroupRecord) -> String {
    match record {
        GroupRecord::Offset { group, at, value: None } => {
            format!("group {group:?}, {at}: no offset any more")
        }
        GroupRecord::Offset { group, at, value: Some(committed) } => {
            let CommittedOffset { offset, leader_epoch, metadata, timestamp, topic_id } = committed;
            let mut text = format!("group {group:?}, {at}: offset {offset}");
            let mut also = |what: &str, value: &dyn std::fmt::Display| {
                write!(text, ", {what} {value}").expect("a String takes what is written to it");
            };
            also("leader epoch", leader_epoch);
            also("committed at", timestamp);
            if let Some(id) = topic_id {
                also("topic id", id);
            }
            if !metadata.is_empty() {
                also("metadata", &format_args!("{metadata:?}"));
            }
            text
        }
        GroupRecord::Group { group, value: None } => format!("group {group:?}: gone"),
        GroupRecord::Group { group, value: Some(metadata) } => {
            let GroupMetadata { generation, protocol, members, .. } = metadata;
            let members: Vec<&str> = members.iter().map(|it| it.member_id.as_str()).collect();
            let protocol = protocol.as_deref().unwrap_or("none");
            format!(
                "group {group:?}: generation {generation}, protocol {protocol}, members {members:?}"
            )
        }
    }
}

fn of_catalog(change: &Change) -> String {
    match change {
        Change::Topic(name, None) => format!("topic {name}: gone"),
        Change::Topic(name, Some(topic)) => format!(
            "topic {name}: id {}, {} partitions, durability {:?}, settings {:?}",
            topic.id, topic.partitions, topic.durability, topic.config.settings
        ),
        Change::Deleted(id, None) => format!("deleted topic {id}: its folders are gone"),
        Change::Deleted(id, Some((name, partitions))) => {
            format!("deleted topic {id}: the {partitions} folders of {name} are to go")
        }
        Change::LogStart(at, None) => format!("{at}: no log start offset of its own"),
        Change::LogStart(at, Some(offset)) => format!("{at}: log start offset {offset}"),
        Change::Runs(runs) => format!("opened {runs} times since it had a topic in memory"),
        Change::NextProducerId(id) => format!("producer ids below {id} are given out"),
        Change::ClusterId(id) => format!("cluster id {id}"),
    }
}
