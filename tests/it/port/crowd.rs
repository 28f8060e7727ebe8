//! Groups with many members, or with much to say; with members that vanish, and with others of
//! this process.

use std::time::Duration;

use ottla::wire::join_group::JoinGroupRequest;
use ottla::wire::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use ottla::wire::sync_group::SyncGroupRequest;
use ottla::wire::{ApiKey, ErrorCode};
use ottla::{Broker, BrokerBuilder, Listener};

use super::client::RawClient;
use super::member::{Member, described, newest, protocol};
use super::{create, listening};
use crate::support::{at, within};

async fn started(builder: BrokerBuilder) -> (Broker, Listener) {
    let broker = builder.in_memory().await.unwrap();
    let listener = broker.listen("127.0.0.1:0").await.unwrap();
    (broker, listener)
}

async fn member_of(listener: &Listener, group: &str) -> Member {
    Member::new(RawClient::connect(listener.local_addr()).await, group)
}

fn commit(group: &str, metadata: &str) -> OffsetCommitRequest {
    let partition = OffsetCommitRequestPartition {
        committed_offset: 1,
        committed_metadata: Some(metadata.to_owned()),
        ..OffsetCommitRequestPartition::default()
    };
    OffsetCommitRequest {
        group_id: group.to_owned(),
        generation_id_or_member_epoch: -1,
        topics: vec![OffsetCommitRequestTopic {
            name: "t".to_owned(),
            partitions: vec![partition],
        }],
        ..OffsetCommitRequest::default()
    }
}

/// As many files as the system lets a process have.
fn raise_open_files() {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{Resource, getrlimit, setrlimit};
        let mut limit = getrlimit(Resource::Nofile);
        limit.current = limit.maximum;
        setrlimit(Resource::Nofile, limit).unwrap();
    }
}

#[tokio::test]
async fn thousands_of_members_share_a_generation() {
    const MEMBERS: usize = 2000;
    raise_open_files();
    let (_broker, listener) = listening().await;
    let version = newest(ApiKey::JoinGroup);
    let mut members = Vec::new();
    for _ in 0..MEMBERS {
        members.push(member_of(&listener, "g").await);
    }
    members[0].settle().await;
    let mut waiting = Vec::new();
    for member in &mut members[1..] {
        waiting.push(member.begin(version).await);
    }
    // All have come: the first is the last to join again.
    let mut client = RawClient::connect(listener.local_addr()).await;
    while described(&mut client, "g").await.members.len() < MEMBERS {}
    assert_eq!(members[0].heartbeat().await, ErrorCode::REBALANCE_IN_PROGRESS);
    assert_eq!(members[0].join().await.members.len(), MEMBERS);
    for (member, id) in members[1..].iter_mut().zip(waiting) {
        assert_eq!(member.end(id, version).await.generation_id, 2);
    }
    let version = newest(ApiKey::SyncGroup);
    let mut waiting = Vec::new();
    for member in &mut members[1..] {
        let request = member.sync_request(&[]);
        waiting.push(member.client.send(&request, version).await);
    }
    let ids: Vec<String> = members.iter().map(|member| member.id().to_owned()).collect();
    let assignments: Vec<(&str, &str)> = ids.iter().map(|id| (&**id, &**id)).collect();
    assert_eq!(members[0].sync(&assignments).await.assignment, ids[0]);
    for ((member, id), own) in members[1..].iter_mut().zip(waiting).zip(&ids[1..]) {
        let synced = member.client.receive::<SyncGroupRequest>(id, version).await;
        assert_eq!(synced.assignment, own);
    }
}

#[tokio::test]
async fn a_full_group_takes_no_more() {
    let (_broker, listener) = started(Broker::builder().group_max_size(2)).await;
    // Ids that nobody comes back with are no more than members.
    for turn in 0..4 {
        let mut member = member_of(&listener, "ids").await;
        let code = member.refused(newest(ApiKey::JoinGroup)).await;
        let full = if turn < 2 { ErrorCode::MEMBER_ID_REQUIRED } else { FULL };
        assert_eq!(code, full, "{turn}");
    }
    let (mut one, mut two) = (member_of(&listener, "g").await, member_of(&listener, "g").await);
    one.settle().await;
    let version = newest(ApiKey::JoinGroup);
    let waiting = two.begin(version).await;
    while one.heartbeat().await != ErrorCode::REBALANCE_IN_PROGRESS {}
    one.join().await;
    two.end(waiting, version).await;
    let mut three = member_of(&listener, "g").await;
    // In version 3 it would be let in at once.
    assert_eq!(three.refused(3).await, FULL);
    assert_eq!(one.heartbeat().await, ErrorCode::NONE, "nobody has noticed");
}

const FULL: ErrorCode = ErrorCode::GROUP_MAX_SIZE_REACHED;

/// What members say of themselves, and what is assigned and committed, has a limit; there is room
/// again once some of it is gone.
#[tokio::test]
async fn groups_take_only_so_much_memory() {
    let refused = ErrorCode::POLICY_VIOLATION;
    let (_broker, listener) = started(Broker::builder().group_memory_limit(1 << 20)).await;
    create(listener.local_addr(), "t", 1, &[]).await;
    let mut client = RawClient::connect(listener.local_addr()).await;
    let large = "x".repeat(400 << 10);
    let mut members = Vec::new();
    for group in ["a", "b"] {
        let mut member = member_of(&listener, group).await;
        member.request.protocols = vec![protocol("range", &large)];
        member.settle().await;
        members.push(member);
    }
    let mut other = member_of(&listener, "c").await;
    other.request.protocols = vec![protocol("range", &large)];
    assert_eq!(other.refused(3).await, refused);
    other.request.protocols = vec![protocol("range", "small")];
    other.join().await;
    let id = other.id().to_owned();
    assert_eq!(other.sync(&[(&id, &large)]).await.error_code, refused);
    assert_eq!(other.sync(&[(&id, "small")]).await.error_code, ErrorCode::NONE);

    let mut codes = Vec::new();
    for number in 0..100 {
        let request = commit(&format!("committing-{number}"), &"m".repeat(4096));
        let answer = client.ask_newest(&request).await;
        codes.push(answer.topics[0].partitions[0].error_code);
    }
    assert_eq!((codes[0], codes[99]), (ErrorCode::NONE, refused));
    let long = "n".repeat(30_000);
    let mut named = member_of(&listener, &long).await;
    let mut code = named.refused(newest(ApiKey::JoinGroup)).await;
    for number in 0..40 {
        named.request.group_id = format!("{long}{number}");
        code = named.refused(newest(ApiKey::JoinGroup)).await;
    }
    assert_eq!(code, refused, "names take room");

    // Who is there, and what was committed, goes on as it was.
    assert_eq!(members[1].join().await.generation_id, 2);
    let id = members[1].id().to_owned();
    assert_eq!(members[1].sync(&[(&id, "new")]).await.error_code, ErrorCode::NONE);
    let again = commit("committing-0", &"n".repeat(4096));
    let answer = client.ask_newest(&again).await;
    assert_eq!(answer.topics[0].partitions[0].error_code, ErrorCode::NONE);

    assert_eq!(members[0].leave().await, ErrorCode::NONE);
    other.request.protocols = vec![protocol("range", &large[..300 << 10])];
    assert_eq!(other.join().await.generation_id, 2);
}

/// The answer to a join may be long in coming. Nothing else waits for it.
#[tokio::test]
async fn who_waits_to_join_keeps_nobody_from_closing() {
    let version = newest(ApiKey::JoinGroup);
    for by_broker in [false, true] {
        let (broker, listener) = listening().await;
        let (mut one, mut two) = (member_of(&listener, "g").await, member_of(&listener, "g").await);
        one.settle().await;
        let waiting = two.begin(version).await;
        while one.heartbeat().await != ErrorCode::REBALANCE_IN_PROGRESS {}
        match by_broker {
            true => within(broker.shutdown()).await.unwrap(),
            false => within(listener.close()).await,
        }
        let answer = two.client.receive::<JoinGroupRequest>(waiting, version).await;
        assert_eq!(answer.error_code, ErrorCode::NOT_COORDINATOR, "{by_broker}");
    }
}

/// Its connection is no part of a member: another may go on with it, and without one it is out
/// after its session.
#[tokio::test]
async fn a_member_outlives_its_connection() {
    let (_broker, listener) = listening().await;
    let mut member = member_of(&listener, "g").await;
    member.settle().await;
    member.client = RawClient::connect(listener.local_addr()).await;
    assert_eq!(member.heartbeat().await, ErrorCode::NONE);

    let mut lost = member_of(&listener, "g").await;
    lost.request.session_timeout_ms = 200;
    let version = newest(ApiKey::JoinGroup);
    // It asks for an id, then to join, and is gone before it is answered.
    lost.begin(version).await;
    while member.heartbeat().await != ErrorCode::REBALANCE_IN_PROGRESS {}
    drop(lost);
    assert_eq!(member.join().await.members.len(), 2);
    let id = member.id().to_owned();
    assert_eq!(member.sync(&[(&id, "all")]).await.error_code, ErrorCode::NONE);
    while member.heartbeat().await != ErrorCode::REBALANCE_IN_PROGRESS {}
    assert_eq!(member.join().await.members.len(), 1);
}

/// Members of this process and of others: the same group.
#[tokio::test]
async fn members_of_this_process_and_of_others_share_a_group() {
    let (broker, listener) = listening().await;
    create(listener.local_addr(), "t", 2, &[]).await;
    let mut consumer = broker.consumer().group("g").subscribe(["t"]).await.unwrap();
    let polling = tokio::spawn(async move {
        let record = consumer.recv().await;
        (consumer, record)
    });
    let mut client = RawClient::connect(listener.local_addr()).await;
    while described(&mut client, "g").await.group_state != "Stable" {}
    let group = described(&mut client, "g").await;
    assert_eq!((&*group.protocol_data, group.members.len()), ("cooperative-sticky", 1));
    assert_eq!(group.members[0].client_host, "in process");

    let mut member = member_of(&listener, "g").await;
    // What the consumer says, for the same topic: it owns nothing yet.
    let mut cooperative = protocol("cooperative-sticky", "");
    cooperative.metadata = b"\0\x01\0\0\0\x01\0\x01t\xff\xff\xff\xff\0\0\0\0"[..].into();
    member.request.protocols = vec![cooperative];
    // It gets what the consumer gives up, in a generation after the next.
    let assignment = loop {
        assert_eq!(member.join().await.members.len(), 0, "the consumer leads");
        let synced = member.sync(&[]).await;
        if synced.error_code == ErrorCode::REBALANCE_IN_PROGRESS {
            continue;
        }
        assert_eq!(synced.error_code, ErrorCode::NONE);
        if synced.assignment.windows(3).any(|bytes| bytes == b"\0\x01t") {
            break synced.assignment;
        }
        while member.heartbeat().await != ErrorCode::REBALANCE_IN_PROGRESS {}
    };
    assert_eq!(assignment[2..13], b"\0\0\0\x01\0\x01t\0\0\0\x01"[..], "one partition of t");
    assert_eq!(member.leave().await, ErrorCode::NONE);
    while described(&mut client, "g").await.members.len() != 1 {}
    broker.shutdown().await.unwrap();
    let (_consumer, record) = within(polling).await.unwrap();
    assert!(record.is_err(), "nothing was produced");
}

/// Groups, their members and what they have committed are there again.
#[tokio::test]
async fn groups_of_the_network_outlive_the_broker() {
    let dir = tempfile::tempdir().unwrap();
    let open = async || {
        let builder = Broker::builder().group_min_session_timeout(Duration::from_millis(100));
        let broker = builder.open(dir.path()).await.unwrap();
        let listener = broker.listen("127.0.0.1:0").await.unwrap();
        (broker, listener)
    };
    let (broker, listener) = open().await;
    create(listener.local_addr(), "t", 1, &[]).await;
    let mut member = member_of(&listener, "g").await;
    member.settle().await;
    let request = OffsetCommitRequest {
        member_id: member.id().to_owned(),
        generation_id_or_member_epoch: 1,
        ..commit("g", "kept")
    };
    let answer = member.client.ask_newest(&request).await;
    assert_eq!(answer.topics[0].partitions[0].error_code, ErrorCode::NONE);
    broker.shutdown().await.unwrap();

    let (broker, listener) = open().await;
    member.client = RawClient::connect(listener.local_addr()).await;
    assert_eq!(member.heartbeat().await, ErrorCode::NONE, "it is in the same generation");
    let group = described(&mut member.client, "g").await;
    assert_eq!(
        (&*group.group_state, &group.members[0].member_assignment[..]),
        ("Stable", &b"all"[..])
    );
    let offsets = broker.admin().group_offsets("g").await.unwrap();
    let committed = &offsets[&at("t", 0)];
    assert_eq!((committed.offset, &*committed.metadata), (1, "kept"));
}
