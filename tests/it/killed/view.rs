//! All that can be seen of a broker that was opened, told line by line.
//!
//! | line | |
//! |---|---|
//! | `opened CLEAN FAULTS` | whether it was closed, and what else the recovery report says |
//! | `topic NAME ID` | |
//! | `partition TOPIC N START END EPOCH BYTES` | |
//! | `found TOPIC N OFFSET EPOCH RECORD` | a record, whose content is as it was sent |
//! | `wrong TEXT` | one whose content is not |
//! | `offset GROUP TOPIC N OFFSET` | what a group has committed |
//! | `viewed` | the end |

use ottla::{Broker, Error, GroupError, RecoveryReport, TopicPartition};

use super::script::Script;

/// The groups that commit.
pub(super) const GROUPS: [&str; 3] = ["members", "altered", "passing"];

pub(super) async fn view(broker: &Broker, script: Script, say: &mut impl FnMut(String)) {
    let report = broker.recovery_report().expect("it is on a disk");
    say(format!("opened {} {}", report.clean_shutdown, faults(report)));
    for name in broker.topics().expect("it is open") {
        let told = broker.describe_topic(name.as_str()).expect("it is there");
        say(format!("topic {name} {}", told.id));
        let mut ends = Vec::new();
        for it in &told.partitions {
            let (start, end) = (it.log_start_offset, it.log_end_offset);
            let (n, epoch, bytes) = (it.partition, it.leader_epoch, it.size_bytes);
            say(format!("partition {name} {n} {start} {end} {epoch} {bytes}"));
            ends.push((TopicPartition { topic: name.clone(), partition: n }, end));
        }
        read(broker, script, &ends, say).await;
    }
    for group in GROUPS {
        let told = match broker.admin().group_offsets(group).await {
            Err(Error::Group { source: GroupError::GroupIdNotFound, .. }) => continue,
            told => told.expect("the groups' topic is sound"),
        };
        for (at, committed) in told {
            let TopicPartition { topic, partition } = at;
            say(format!("offset {group} {topic} {partition} {}", committed.offset));
        }
    }
    say("viewed".to_owned());
}

/// What only a failing disk may leave: nothing, after a kill.
fn faults(report: &RecoveryReport) -> String {
    let mut partitions = report.partitions.values();
    let sound = partitions.all(|it| it.lost.is_empty() && it.foreign.is_empty() && !it.rewritten)
        && report.topics_without_catalog.is_empty()
        && report.unreadable_catalog_records == 0
        && report.stray.is_empty()
        && report.foreign.is_empty();
    if sound { String::new() } else { format!("{report:?}") }
}

async fn read(
    broker: &Broker,
    script: Script,
    ends: &[(TopicPartition, i64)],
    say: &mut impl FnMut(String),
) {
    let all = ends.iter().map(|(at, _)| at.clone());
    let mut consumer = broker.consumer().assign(all).await.expect("they are there");
    loop {
        match consumer.try_recv() {
            Ok(Some(record)) => {
                let (topic, n, offset) = (&record.topic, record.partition, record.offset);
                let epoch = record.leader_epoch;
                match script.recognize(&record) {
                    Ok(id) => say(format!("found {topic} {n} {offset} {epoch} {id}")),
                    Err(why) => say(format!("wrong {topic}-{n}@{offset}: {why}")),
                }
            }
            Ok(None) => {
                // Offsets whose records were compacted away are passed without one.
                let positions = consumer.positions();
                if ends.iter().all(|(at, end)| positions[at].offset >= *end) {
                    return;
                }
                tokio::task::yield_now().await;
            }
            Err(error) => return say(format!("wrong {ends:?}: {error}")),
        }
    }
}
