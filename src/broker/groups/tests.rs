//! The groups of a whole broker, in memory and on disk, through restarts.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::*;
use crate::broker::{Broker, Durability, TopicConfig};
use crate::clock::Clock;
use crate::error::GroupError;
use crate::group::{Command, Commit, CommittedOffset, JoinGroup, Joined, MemberRef, SyncGroup};
use crate::record::Record;
use crate::storage::sim::SimDisk;
use crate::topic::TopicPartition;

fn at(partition: i32) -> TopicPartition {
    TopicPartition::new("t", partition).unwrap()
}

fn committed(offset: i64) -> CommittedOffset {
    let metadata = String::new();
    CommittedOffset { offset, leader_epoch: 0, metadata, timestamp: 1, topic_id: None }
}

/// What somebody commits who is no member.
fn simple(offsets: &[(i32, i64)]) -> Commit {
    let offsets = offsets.iter().map(|(partition, offset)| (at(*partition), committed(*offset)));
    Commit { member: MemberRef::default(), generation: -1, offsets: offsets.collect() }
}

async fn commit(broker: &Broker, group: &str, commit: Commit) -> Result<()> {
    let coordinator = broker.0.coordinator().await?;
    coordinator.ask(group, |answer| Command::Commit { commit, answer }).await
}

async fn offsets(broker: &Broker, group: &str) -> Vec<(i32, i64)> {
    let partitions = Vec::new();
    let coordinator = broker.0.coordinator().await.unwrap();
    let all = coordinator.ask(group, |answer| Command::Fetch { partitions, answer }).await;
    all.unwrap().iter().map(|(at, committed)| (at.partition, committed.offset)).collect()
}

/// A member of this process, and the guard that its consumer holds.
async fn join(
    broker: &Broker,
    group: &str,
    id: &str,
    first: bool,
) -> (Result<Joined>, oneshot::Receiver<Infallible>) {
    let (alive, guard) = oneshot::channel();
    let request = JoinGroup {
        member_id: if first { String::new() } else { id.to_owned() },
        new_member_id: id.to_owned(),
        instance_id: None,
        client_id: "test".to_owned(),
        client_host: "here".to_owned(),
        session_timeout: None,
        rebalance_timeout: Duration::from_secs(60),
        protocol_type: "consumer".to_owned(),
        protocols: vec![("range".to_owned(), Bytes::new())],
        accepts_member_id: false,
        accepts_skip: true,
    };
    let coordinator = broker.0.coordinator().await.unwrap();
    let alive = first.then_some(alive);
    let joined = coordinator.ask(group, |answer| Command::Join { request, alive, answer }).await;
    (joined, guard)
}

async fn sync(broker: &Broker, group: &str, joined: &Joined) -> Result<Bytes> {
    let give = |it: &crate::group::JoinedMember| (it.member_id.clone(), Bytes::from_static(b"x"));
    let request = SyncGroup {
        member: MemberRef { member_id: joined.member_id.clone(), instance_id: None },
        generation: joined.generation,
        protocol_type: None,
        protocol: None,
        assignments: joined.members.iter().map(give).collect(),
    };
    let coordinator = broker.0.coordinator().await?;
    let synced = coordinator.ask(group, |answer| Command::Sync { request, answer }).await;
    synced.map(|synced| synced.assignment)
}

#[tokio::test]
async fn offsets_live_as_long_as_a_broker_in_memory() {
    let broker = Broker::in_memory().await.unwrap();
    commit(&broker, "g", simple(&[(0, 5), (1, 7)])).await.unwrap();
    commit(&broker, "g", simple(&[(0, 6)])).await.unwrap();
    assert_eq!(offsets(&broker, "g").await, [(0, 6), (1, 7)]);
    assert_eq!(offsets(&broker, "other").await, []);
    assert!(broker.topics().unwrap().is_empty(), "nothing is stored");
    broker.shutdown().await.unwrap();
    let late = commit(&broker, "g", simple(&[(0, 7)])).await.unwrap_err();
    assert!(matches!(late, Error::Closed { .. }), "{late}");
}

#[tokio::test]
async fn offsets_outlive_the_broker_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..4 {
        let broker = Broker::open(dir.path()).await.unwrap();
        assert_eq!(offsets(&broker, "g").await.len(), if round == 0 { 0 } else { 2 });
        commit(&broker, "g", simple(&[(0, round), (1, 2 * round)])).await.unwrap();
        commit(&broker, "gone", simple(&[(0, 1)])).await.unwrap();
        let coordinator = broker.0.coordinator().await.unwrap();
        coordinator.ask("gone", |answer| Command::Delete { answer }).await.unwrap();
        if round % 2 == 0 {
            broker.shutdown().await.unwrap();
        }
        drop(broker);
        let broker = Broker::open(dir.path()).await.unwrap();
        assert_eq!(offsets(&broker, "g").await, [(0, round), (1, 2 * round)]);
        let coordinator = broker.0.coordinator().await.unwrap();
        assert_eq!(coordinator.ids().iter().map(AsRef::as_ref).collect::<Vec<_>>(), ["g"]);
        broker.shutdown().await.unwrap();
    }
}

#[tokio::test]
async fn members_share_and_a_dropped_consumer_has_left() {
    let broker = Broker::in_memory().await.unwrap();
    let (a, a_guard) = join(&broker, "g", "a", true).await;
    let a = a.unwrap();
    assert_eq!(sync(&broker, "g", &a).await.unwrap(), "x");
    let (b, (again, _)) = tokio::join!(join(&broker, "g", "b", true), async {
        // Once the second has come, the first is told to join again.
        let coordinator = broker.0.coordinator().await.unwrap();
        let mut changed = coordinator.group("g").unwrap().changed;
        loop {
            let member = MemberRef { member_id: "a".to_owned(), instance_id: None };
            let beat =
                |answer| Command::Heartbeat { member: member.clone(), generation: 1, answer };
            match coordinator.ask("g", beat).await {
                Ok(()) => changed.changed().await.unwrap(),
                Err(error) => {
                    let Error::Group { source, .. } = error else { panic!("{error}") };
                    assert_eq!(source, GroupError::RebalanceInProgress);
                    break join(&broker, "g", "a", false).await;
                }
            }
        }
    });
    let (b, b_guard) = b;
    let (again, b) = (again.unwrap(), b.unwrap());
    assert_eq!((again.generation, b.generation, again.members.len()), (2, 2, 2));
    let synced = tokio::join!(sync(&broker, "g", &again), sync(&broker, "g", &b));
    assert_eq!((synced.0.unwrap(), synced.1.unwrap()), ("x".into(), "x".into()));
    let mut of_b = simple(&[(0, 9)]);
    of_b.member.member_id = "b".to_owned();
    of_b.generation = 2;
    commit(&broker, "g", of_b.clone()).await.unwrap();
    drop(b_guard);
    // The group is empty once both are gone; who commits as a member that left is told.
    drop(a_guard);
    loop {
        match commit(&broker, "g", simple(&[(1, 1)])).await {
            Ok(()) => break,
            Err(error) => assert!(error.to_string().contains("no member"), "{error}"),
        }
        tokio::task::yield_now().await;
    }
    let late = commit(&broker, "g", of_b).await.unwrap_err();
    assert!(late.to_string().starts_with("group \"g\": the group has no member \"b\""), "{late}");
    assert_eq!(offsets(&broker, "g").await, [(0, 9), (1, 1)]);
}

#[tokio::test]
async fn a_group_without_members_or_work_needs_no_task() {
    let clock = Clock::manual();
    let broker = Broker::builder().clock(clock.clone()).in_memory().await.unwrap();
    let before = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    for n in 0..100 {
        commit(&broker, &format!("g{n}"), simple(&[(0, n)])).await.unwrap();
    }
    let alive = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    assert!(alive() >= before + 100);
    while alive() > before {
        clock.advance(Duration::from_secs(6));
        tokio::task::yield_now().await;
    }
    assert_eq!(offsets(&broker, "g42").await, [(0, 42)]);
    assert_eq!(broker.0.coordinator().await.unwrap().ids().len(), 100);
    broker.shutdown().await.unwrap();
}

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Lets groups forget, now, what nobody has needed for a week.
async fn expire(broker: &Broker) {
    let before = broker.0.core.clock().wall().saturating_sub(7 * DAY).as_millis();
    broker.0.coordinator().await.unwrap().expire(before);
}

#[tokio::test]
async fn a_group_whose_process_ended_is_empty_since_then_and_not_since_it_was_stable() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Clock::manual();
    let open = || Broker::builder().clock(clock.clone()).open(dir.path());
    let broker = open().await.unwrap();
    let (a, _guard) = join(&broker, "g", "a", true).await;
    let a = a.unwrap();
    sync(&broker, "g", &a).await.unwrap();
    let mut of_a = simple(&[(0, 9)]);
    of_a.member.member_id = a.member_id.clone();
    of_a.generation = a.generation;
    commit(&broker, "g", of_a).await.unwrap();
    // Without a rebalance for longer than offsets are kept. Then the process ends.
    clock.advance(30 * DAY);
    broker.shutdown().await.unwrap();
    for days in [0, 4] {
        let broker = open().await.unwrap();
        clock.advance(days * DAY);
        expire(&broker).await;
        assert_eq!(offsets(&broker, "g").await, [(0, 9)], "after {days} days");
        broker.shutdown().await.unwrap();
    }
    let broker = open().await.unwrap();
    clock.advance(4 * DAY);
    expire(&broker).await;
    assert_eq!(offsets(&broker, "g").await, [], "a week without members");
    broker.shutdown().await.unwrap();
}

#[tokio::test]
async fn what_is_committed_after_the_members_have_left_has_its_own_week() {
    let clock = Clock::manual();
    let broker = Broker::builder().clock(clock.clone()).in_memory().await.unwrap();
    let (a, guard) = join(&broker, "g", "a", true).await;
    sync(&broker, "g", &a.unwrap()).await.unwrap();
    drop(guard);
    let mut changed = broker.0.coordinator().await.unwrap().group("g").unwrap().changed;
    while broker.0.describe_group("g").await.unwrap().state != crate::group::GroupState::Empty {
        changed.changed().await.unwrap();
    }
    let stamped = |offset| {
        let mut commit = simple(&[(0, offset)]);
        commit.offsets[0].1.timestamp = clock.wall().as_millis();
        commit
    };
    commit(&broker, "g", stamped(1)).await.unwrap();
    clock.advance(6 * DAY);
    commit(&broker, "g", stamped(2)).await.unwrap();
    clock.advance(2 * DAY);
    expire(&broker).await;
    assert_eq!(offsets(&broker, "g").await, [(0, 2)]);
    clock.advance(6 * DAY);
    expire(&broker).await;
    assert_eq!(offsets(&broker, "g").await, []);
}

#[tokio::test]
async fn whoever_consumes_a_former_topic_commits_nothing_for_the_new_one() {
    let broker = Broker::in_memory().await.unwrap();
    broker.create_topic("t", TopicConfig::new()).await.unwrap();
    let builder = broker.consumer().group("g");
    let mut late = builder.assign([at(0)]).await.unwrap();
    broker.delete_topic("t").await.unwrap();
    broker.create_topic("t", TopicConfig::new()).await.unwrap();
    broker.admin().alter_group_offsets("g", [(at(0), 5)]).await.unwrap();
    late.commit().await.unwrap();
    assert_eq!(offsets(&broker, "g").await, [(0, 5)]);
}

#[tokio::test]
async fn defaults_of_topics_do_not_make_groups_forgetful() {
    let dir = tempfile::tempdir().unwrap();
    let defaults = TopicConfig::new().durability(Durability::Memory).max_message_bytes(100);
    let open = || Broker::builder().topic_defaults(defaults.clone()).open(dir.path());
    let broker = open().await.unwrap();
    let many: Vec<_> = (0..100).map(|partition| (partition, 7)).collect();
    commit(&broker, "g", simple(&many)).await.unwrap();
    broker.shutdown().await.unwrap();
    let broker = open().await.unwrap();
    assert_eq!(offsets(&broker, "g").await, many);
    broker.shutdown().await.unwrap();
}

#[tokio::test]
async fn members_are_told_why_their_assignment_is_not_stored() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::open(dir.path()).await.unwrap();
    let (a, _guard) = join(&broker, "g", "a", true).await;
    let store = broker.0.core.topic(OFFSETS_TOPIC).unwrap().partition(0).unwrap().clone();
    store.close("the store is gone".into()).await.unwrap();
    // Told to join again, it would only come back, and so on.
    let refused = sync(&broker, "g", &a.unwrap()).await.unwrap_err();
    assert!(refused.to_string().contains("the store is gone"), "{refused}");
}

#[tokio::test]
async fn a_group_that_was_deleted_is_not_there() {
    let broker = Broker::in_memory().await.unwrap();
    commit(&broker, "g", simple(&[(0, 1)])).await.unwrap();
    broker.0.delete_group("g").await.unwrap();
    for gone in [broker.0.describe_group("g").await.map(|_| ()), broker.0.delete_group("g").await] {
        let Err(Error::Group { source, .. }) = gone else { panic!("{gone:?}") };
        assert_eq!(source, GroupError::GroupIdNotFound);
    }
}

#[tokio::test]
async fn a_group_that_nothing_is_left_of_is_not_stored_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Clock::manual();
    let broker = Broker::builder().clock(clock.clone()).open(dir.path()).await.unwrap();
    let (a, guard) = join(&broker, "g", "a", true).await;
    sync(&broker, "g", &a.unwrap()).await.unwrap();
    drop(guard);
    while !broker.0.groups().await.unwrap().is_empty() {
        clock.advance(Duration::from_secs(6));
        tokio::task::yield_now().await;
    }
    let store = broker.0.core.topic(OFFSETS_TOPIC).unwrap().partition(0).unwrap().clone();
    let batches = store.reader().read(&mut ReadCursor::new(0, -1), READ_BYTES).unwrap();
    let last = batches.last().unwrap();
    let values: Vec<bool> = last.records().map(|it| it.unwrap().value.is_some()).collect();
    assert_eq!(values, [false], "the last that is stored takes back the group");
    broker.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_disk_that_fails_is_told_each_time_it_is_tried() {
    let disk = SimDisk::new(7);
    let open = || async { Broker::builder().open_on(Arc::new(disk.process())).await.unwrap() };
    let broker = open().await;
    broker.create_topic("t", TopicConfig::new()).await.unwrap();
    commit(&broker, "g", simple(&[(0, 0)])).await.unwrap();
    broker.shutdown().await.unwrap();
    let broker = open().await;
    let mut consumer = broker.consumer().group("g").subscribe(["t"]).await.unwrap();
    disk.set_fault_rate(1.0);
    for _ in 0..2 {
        let error = consumer.recv().await.unwrap_err();
        assert!(matches!(error, Error::Io { .. }), "{error}");
    }
    disk.clear_faults();
    broker.producer().build().send(Record::to("t").value("x")).await.unwrap();
    let mut late = 0;
    while let Err(error) = consumer.recv().await {
        assert!(matches!(error, Error::Io { .. }), "{error}");
        late += 1;
    }
    assert!(late <= 2, "{late} failures were piled up");
}

#[tokio::test]
async fn an_id_that_was_given_is_not_forgotten_with_the_task() {
    let clock = Clock::manual();
    let broker = Broker::builder().clock(clock.clone()).in_memory().await.unwrap();
    let coordinator = broker.0.coordinator().await.unwrap();
    let from_afar = |member_id: &str| JoinGroup {
        member_id: member_id.to_owned(),
        new_member_id: "a".to_owned(),
        instance_id: None,
        client_id: "test".to_owned(),
        client_host: "there".to_owned(),
        session_timeout: Some(Duration::from_secs(10)),
        rebalance_timeout: Duration::from_secs(60),
        protocol_type: "consumer".to_owned(),
        protocols: vec![("range".to_owned(), Bytes::new())],
        accepts_member_id: true,
        accepts_skip: true,
    };
    let ask =
        |request| coordinator.ask("g", |answer| Command::Join { request, alive: None, answer });
    let Err(Error::Group { source, .. }) = ask(from_afar("")).await else { panic!("let in") };
    assert_eq!(source, GroupError::MemberIdRequired { member_id: "a".to_owned() });
    clock.advance(Duration::from_secs(6));
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert_eq!(ask(from_afar("a")).await.unwrap().generation, 1);
}
