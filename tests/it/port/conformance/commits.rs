//! OffsetCommit, OffsetFetch, OffsetDelete: how far groups have come.

use std::collections::BTreeMap;

use ottla::wire::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use ottla::wire::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use ottla::wire::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use ottla::wire::{ApiKey, ErrorCode};

use super::super::client::RawClient;
use super::super::create;
use super::super::member::{Member, protocol};
use super::{Target, targets};

/// A client of groups, and a topic of three partitions.
async fn with_topic(target: &Target) -> RawClient {
    create(target.address, &target.topic, 3, &[]).await;
    drop(target.with_partitions(&target.topic).await);
    target.group_client().await
}

fn offset(partition_index: i32, committed_offset: i64) -> OffsetCommitRequestPartition {
    OffsetCommitRequestPartition {
        partition_index,
        committed_offset,
        ..OffsetCommitRequestPartition::default()
    }
}

/// By somebody who is no member.
fn commit(
    group: &str,
    topic: &str,
    partitions: Vec<OffsetCommitRequestPartition>,
) -> OffsetCommitRequest {
    OffsetCommitRequest {
        group_id: group.to_owned(),
        generation_id_or_member_epoch: -1,
        topics: vec![OffsetCommitRequestTopic { name: topic.to_owned(), partitions }],
        ..OffsetCommitRequest::default()
    }
}

/// The codes, in the order of what was asked.
async fn committed(
    client: &mut RawClient,
    request: &OffsetCommitRequest,
    version: i16,
) -> Vec<ErrorCode> {
    let answer = client.ask(request, version).await;
    assert_eq!(answer.topics.len(), request.topics.len());
    // Kafka first tells of those that it has never heard of.
    let code = |name: &str, partition| {
        let topic = answer.topics.iter().find(|topic| topic.name == name).unwrap();
        let told = topic.partitions.iter().find(|it| it.partition_index == partition);
        told.unwrap().error_code
    };
    let asked = request
        .topics
        .iter()
        .flat_map(|topic| topic.partitions.iter().map(|it| code(&topic.name, it.partition_index)));
    asked.collect()
}

type Found = BTreeMap<(String, i32), (i64, i32, String)>;

/// What a group has committed: of these partitions, or of all; by versions of either kind.
async fn fetched(
    client: &mut RawClient,
    group: &str,
    partitions: Option<&[(&str, i32)]>,
    version: i16,
) -> Found {
    let topics = partitions.map(|all| {
        let one = |(name, partition): &(&str, i32)| OffsetFetchRequestTopics {
            name: (*name).to_owned(),
            partition_indexes: vec![*partition],
        };
        all.iter().map(one).collect::<Vec<_>>()
    });
    let alone = topics.clone().map(|topics| {
        let same = |it: OffsetFetchRequestTopics| OffsetFetchRequestTopic {
            name: it.name,
            partition_indexes: it.partition_indexes,
        };
        topics.into_iter().map(same).collect()
    });
    let of_group = OffsetFetchRequestGroup {
        group_id: group.to_owned(),
        topics,
        ..OffsetFetchRequestGroup::default()
    };
    let request = OffsetFetchRequest {
        group_id: group.to_owned(),
        topics: alone,
        groups: vec![of_group],
        require_stable: true,
    };
    let answer = client.ask(&request, version).await;
    assert_eq!(answer.error_code, ErrorCode::NONE);
    let mut found = Found::new();
    let mut add = |name: &str, index, offset, epoch, metadata: Option<String>, error| {
        assert_eq!(error, ErrorCode::NONE);
        found.insert((name.to_owned(), index), (offset, epoch, metadata.unwrap()));
    };
    for topic in answer.topics {
        for it in topic.partitions {
            let (offset, epoch) = (it.committed_offset, it.committed_leader_epoch);
            add(&topic.name, it.partition_index, offset, epoch, it.metadata, it.error_code);
        }
    }
    for group in answer.groups {
        assert_eq!(group.error_code, ErrorCode::NONE);
        for topic in group.topics {
            for it in topic.partitions {
                let (offset, epoch) = (it.committed_offset, it.committed_leader_epoch);
                add(&topic.name, it.partition_index, offset, epoch, it.metadata, it.error_code);
            }
        }
    }
    found
}

fn found(all: &[(&str, i32, i64, i32, &str)]) -> Found {
    let one = |(topic, partition, offset, epoch, metadata): &(&str, i32, i64, i32, &str)| {
        (((*topic).to_owned(), *partition), (*offset, *epoch, (*metadata).to_owned()))
    };
    all.iter().map(one).collect()
}

#[tokio::test]
async fn what_is_committed_is_fetched_in_every_version() {
    for target in targets("commit").await {
        let mut client = with_topic(&target).await;
        let topic = &*target.topic;
        for version in ApiKey::OffsetCommit.versions() {
            let group = format!("{topic}-{version}");
            let mut told = offset(2, 70 + i64::from(version));
            told.committed_leader_epoch = 3;
            told.committed_metadata = Some("where I was".to_owned());
            let request = commit(&group, topic, vec![offset(0, 5), told]);
            let codes = committed(&mut client, &request, version).await;
            assert_eq!(codes, [ErrorCode::NONE; 2], "version {version}");
            for fetch in ApiKey::OffsetFetch.versions() {
                let epoch = if version >= 6 && fetch >= 5 { 3 } else { -1 };
                let last = (topic, 2, 70 + i64::from(version), epoch, "where I was");
                let named = [(topic, 0), (topic, 1), (topic, 2), ("no such topic", 7)];
                let all = fetched(&mut client, &group, Some(&named), fetch).await;
                let none = [(topic, 1, -1, -1, ""), ("no such topic", 7, -1, -1, "")];
                let expected = [&[(topic, 0, 5, -1, ""), last], &none[..]].concat();
                assert_eq!(all, found(&expected), "versions {version} and {fetch}");
                if fetch >= 2 {
                    let all = fetched(&mut client, &group, None, fetch).await;
                    assert_eq!(all, found(&[(topic, 0, 5, -1, ""), last]));
                }
                let none = fetched(&mut client, &group, Some(&[]), fetch).await;
                assert_eq!(none, Found::new());
                // Nobody has heard of it.
                let other = format!("{group}-none");
                let all = fetched(&mut client, &other, Some(&[(topic, 0)]), fetch).await;
                assert_eq!(all, found(&[(topic, 0, -1, -1, "")]));
            }
        }
        // A later one counts, also one that goes back.
        for at in [9, 0, 3] {
            let request = commit(topic, topic, vec![offset(1, at)]);
            assert_eq!(committed(&mut client, &request, 9).await, [ErrorCode::NONE]);
            let all = fetched(&mut client, topic, None, 9).await;
            assert_eq!(all, found(&[(topic, 1, at, -1, "")]));
        }
    }
}

/// One that can't be committed does not keep others from it.
#[tokio::test]
async fn commits_are_refused_one_by_one() {
    for target in targets("each").await {
        let mut client = with_topic(&target).await;
        let topic = &*target.topic;
        let metadata = |partition, len: usize| OffsetCommitRequestPartition {
            committed_metadata: Some("m".repeat(len)),
            ..offset(partition, 1)
        };
        let mut request = commit(
            topic,
            topic,
            vec![metadata(0, 4096), metadata(1, 4097), offset(2, 2), offset(3, 3), offset(-1, 3)],
        );
        let other = commit(topic, &format!("{topic}-none"), vec![offset(0, 1)]);
        request.topics.extend(other.topics.clone());
        let unknown = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
        let (fine, large) = (ErrorCode::NONE, ErrorCode::OFFSET_METADATA_TOO_LARGE);
        for version in [2, 9] {
            let codes = committed(&mut client, &request, version).await;
            assert_eq!(codes, [fine, large, fine, unknown, unknown, unknown]);
        }
        let all = fetched(&mut client, topic, None, 9).await;
        let long = "m".repeat(4096);
        assert_eq!(all, found(&[(topic, 0, 1, -1, &long), (topic, 2, 2, -1, "")]));
        // Of the topics that are not there, no group is asked.
        let mut strange = OffsetCommitRequest { member_id: "stranger".to_owned(), ..other };
        strange.generation_id_or_member_epoch = 7;
        assert_eq!(committed(&mut client, &strange, 9).await, [unknown]);
    }
}

#[tokio::test]
async fn only_members_of_this_generation_commit() {
    for target in targets("members").await {
        let mut client = with_topic(&target).await;
        let topic = &*target.topic;
        let mut member = target.member().await;
        member.request.group_instance_id = Some("one".to_owned());
        member.settle().await;
        let id = member.id().to_owned();
        let by = |id: &str, generation, instance: Option<&str>| OffsetCommitRequest {
            member_id: id.to_owned(),
            generation_id_or_member_epoch: generation,
            group_instance_id: instance.map(str::to_owned),
            ..commit(topic, topic, vec![offset(0, 1), offset(1, 2)])
        };
        for (request, code) in [
            (by("", -1, None), ErrorCode::UNKNOWN_MEMBER_ID),
            (by("stranger", 1, None), ErrorCode::UNKNOWN_MEMBER_ID),
            (by(&id, 0, None), ErrorCode::ILLEGAL_GENERATION),
            (by(&id, 2, None), ErrorCode::ILLEGAL_GENERATION),
            (by("stranger", 1, Some("one")), ErrorCode::FENCED_INSTANCE_ID),
            (by(&id, 1, Some("two")), ErrorCode::UNKNOWN_MEMBER_ID),
            (by(&id, 1, Some("one")), ErrorCode::NONE),
            (by(&id, 1, None), ErrorCode::NONE),
        ] {
            assert_eq!(committed(&mut client, &request, 9).await, [code; 2], "{request:?}");
        }
        // Of a group that is not there nobody is a member.
        let mut request = by(&id, 1, None);
        request.group_id = format!("{topic}-none");
        for version in ApiKey::OffsetCommit.versions() {
            let codes = committed(&mut client, &request, version).await;
            let code = match version {
                ..9 => ErrorCode::ILLEGAL_GENERATION,
                _ => ErrorCode::GROUP_ID_NOT_FOUND,
            };
            assert_eq!(codes, [code; 2], "version {version}");
        }
    }
}

/// Between joining and being assigned there is nothing to commit.
#[tokio::test]
async fn commits_wait_for_the_rebalance() {
    for target in targets("between").await {
        let mut client = with_topic(&target).await;
        let mut member = target.member().await;
        member.join().await;
        let request = OffsetCommitRequest {
            member_id: member.id().to_owned(),
            generation_id_or_member_epoch: 1,
            ..commit(&target.topic, &target.topic, vec![offset(0, 1)])
        };
        let codes = committed(&mut client, &request, 9).await;
        assert_eq!(codes, [ErrorCode::REBALANCE_IN_PROGRESS]);
        assert_eq!(member.sync(&[]).await.error_code, ErrorCode::NONE);
        assert_eq!(committed(&mut client, &request, 9).await, [ErrorCode::NONE]);
    }
}

/// A consumer's subscription to one topic, as its metadata says it.
fn subscription(topic: &str) -> Vec<u8> {
    let mut bytes = vec![0, 0, 0, 0, 0, 1];
    bytes.extend((topic.len() as i16).to_be_bytes());
    bytes.extend(topic.as_bytes());
    bytes.extend([0xff; 4]);
    bytes
}

#[tokio::test]
async fn offsets_are_deleted_unless_they_are_used() {
    for target in targets("forget").await {
        let mut client = with_topic(&target).await;
        let (topic, other) = (&*target.topic, format!("{}-other", target.topic));
        create(target.address, &other, 1, &[]).await;
        drop(target.with_partitions(&other).await);
        let partitions = |all: &[i32]| {
            let one = |&partition_index: &i32| OffsetDeleteRequestPartition { partition_index };
            all.iter().map(one).collect::<Vec<_>>()
        };
        let delete = |group: &str| OffsetDeleteRequest {
            group_id: group.to_owned(),
            topics: vec![
                OffsetDeleteRequestTopic {
                    name: topic.to_owned(),
                    partitions: partitions(&[0, 9]),
                },
                OffsetDeleteRequestTopic { name: other.clone(), partitions: partitions(&[0]) },
            ],
        };
        let answer = client.ask(&delete(topic), 0).await;
        assert_eq!(answer.error_code, ErrorCode::GROUP_ID_NOT_FOUND);
        let mut request = commit(topic, topic, vec![offset(0, 1), offset(1, 1)]);
        request.topics.extend(commit(topic, &other, vec![offset(0, 1)]).topics);
        assert_eq!(committed(&mut client, &request, 9).await, [ErrorCode::NONE; 3]);

        let mut member = Member::new(target.group_client().await, topic);
        let mut range = protocol("range", "");
        range.metadata = subscription(topic).into();
        member.request.protocols = vec![range];
        member.settle().await;
        let mut codes = async || {
            let answer = client.ask(&delete(topic), 0).await;
            assert_eq!(answer.error_code, ErrorCode::NONE);
            let named = answer.topics.into_iter().flat_map(|topic| {
                let name = topic.name;
                topic
                    .partitions
                    .into_iter()
                    .map(move |it| ((name.clone(), it.partition_index), it.error_code))
            });
            named.collect::<BTreeMap<_, _>>()
        };
        let unknown = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
        let expected = |first| {
            BTreeMap::from([
                ((topic.to_owned(), 0), first),
                ((topic.to_owned(), 9), unknown),
                ((other.clone(), 0), ErrorCode::NONE),
            ])
        };
        assert_eq!(codes().await, expected(ErrorCode::GROUP_SUBSCRIBED_TO_TOPIC));
        assert_eq!(member.leave().await, ErrorCode::NONE);
        assert_eq!(codes().await, expected(ErrorCode::NONE));
        let all = fetched(&mut client, topic, None, 9).await;
        assert_eq!(all, found(&[(topic, 1, 1, -1, "")]));
    }
}
