//! JoinGroup, SyncGroup, Heartbeat, LeaveGroup: the life of a consumer group.

use ottla::wire::heartbeat::HeartbeatRequest;
use ottla::wire::leave_group::{LeaveGroupRequest, MemberIdentity};
use ottla::wire::{ApiKey, ErrorCode};

use super::super::member::{Member, described, newest, protocol};
use super::targets;

/// From 4 on a new member gets an id first, and joins with that.
#[tokio::test]
async fn a_member_joins_in_every_version() {
    for target in targets("join").await {
        for version in ApiKey::JoinGroup.versions() {
            let mut member = target.member().await;
            member.request.group_id = format!("{}-{version}", target.topic);
            let joined = member.join_in(version).await;
            assert_eq!((joined.generation_id, &*joined.leader), (1, member.id()));
            assert_eq!(joined.protocol_name.as_deref(), Some("range"));
            let kind = joined.protocol_type.as_deref();
            assert_eq!(kind, (version >= 7).then_some("consumer"), "version {version}");
            assert!(member.id().starts_with("raw-"), "{:?}", member.id());
            let [own] = &joined.members[..] else { panic!("{joined:?}") };
            assert_eq!((&*own.member_id, &own.metadata[..]), (member.id(), &b"r"[..]));
            assert!(!joined.skip_assignment);

            let id = member.id().to_owned();
            for version in ApiKey::SyncGroup.versions() {
                // Once it is stable, what is brought is not taken.
                let request = member.sync_request(&[(&id, &format!("of {version}"))]);
                let synced = member.client.ask(&request, version).await;
                assert_eq!(synced.error_code, ErrorCode::NONE);
                assert_eq!(synced.assignment, b"of 0"[..]);
                assert_eq!(synced.protocol_name.as_deref(), (version >= 5).then_some("range"));
            }
            for version in ApiKey::Heartbeat.versions() {
                let request = HeartbeatRequest {
                    group_id: member.request.group_id.clone(),
                    generation_id: 1,
                    member_id: id.clone(),
                    group_instance_id: None,
                };
                let heard = member.client.ask(&request, version).await;
                assert_eq!(heard.error_code, ErrorCode::NONE);
            }
            let leave = LeaveGroupRequest {
                group_id: member.request.group_id.clone(),
                member_id: id.clone(),
                members: vec![MemberIdentity { member_id: id, ..MemberIdentity::default() }],
            };
            let left = member.client.ask(&leave, version.min(5)).await;
            assert_eq!(left.error_code, ErrorCode::NONE);
            assert_eq!(left.members.len(), usize::from(version >= 3));
            let group = described(&mut member.client, &leave.group_id).await;
            assert_eq!((&*group.group_state, group.members.len()), ("Empty", 0));
        }
    }
}

/// Two members, of whom `leader` was first, in one generation: both have joined, none has synced.
async fn pair(leader: &mut Member, follower: &mut Member) {
    leader.settle().await;
    both_join(leader, follower).await;
    assert!(leader.is_leader() && !follower.is_leader());
}

/// `second` asks to join, `first` hears of it and does so again.
async fn both_join(first: &mut Member, second: &mut Member) {
    let version = newest(ApiKey::JoinGroup);
    let waiting = second.begin(version).await;
    while first.heartbeat().await != ErrorCode::REBALANCE_IN_PROGRESS {}
    first.join().await;
    second.end(waiting, version).await;
    assert_eq!(first.joined.generation_id, second.joined.generation_id);
}

#[tokio::test]
async fn members_share_a_generation() {
    for target in targets("share").await {
        let (mut leader, mut follower) = (target.member().await, target.member().await);
        pair(&mut leader, &mut follower).await;
        assert_eq!(leader.joined.generation_id, 2);
        assert_eq!((leader.joined.members.len(), follower.joined.members.len()), (2, 0));
        assert_eq!(follower.joined.leader, leader.id());

        // Not all have asked yet, and nobody is waited for in a heartbeat.
        assert_eq!(leader.heartbeat().await, ErrorCode::NONE);
        let (request, version) = (follower.sync_request(&[]), newest(ApiKey::SyncGroup));
        let waiting = follower.client.send(&request, version).await;
        let (one, two) = (leader.id().to_owned(), follower.id().to_owned());
        let synced = leader.sync(&[(&one, "first"), (&two, "second")]).await;
        assert_eq!((synced.error_code, &synced.assignment[..]), (ErrorCode::NONE, &b"first"[..]));
        let synced =
            follower.client.receive::<ottla::wire::sync_group::SyncGroupRequest>(waiting, version);
        assert_eq!(synced.await.assignment, b"second"[..]);
        assert_eq!(follower.sync(&[]).await.assignment, b"second"[..], "also when asked again");
        assert_eq!(described(&mut leader.client, &target.topic).await.group_state, "Stable");

        // When one leaves, the other has to join again.
        assert_eq!(leader.leave().await, ErrorCode::NONE);
        assert_eq!(leader.leave().await, ErrorCode::UNKNOWN_MEMBER_ID);
        assert_eq!(follower.heartbeat().await, ErrorCode::REBALANCE_IN_PROGRESS);
        assert_eq!(follower.sync(&[]).await.error_code, ErrorCode::REBALANCE_IN_PROGRESS);
        let joined = follower.join().await;
        assert_eq!((joined.generation_id, &*joined.leader), (3, follower.id()));
        // Who is not mentioned is assigned nothing.
        assert_eq!(follower.sync(&[]).await.assignment, b""[..]);
    }
}

/// The protocol is one that all have; of several, the one for which most vote.
#[tokio::test]
async fn the_protocol_is_one_that_all_have() {
    for target in targets("protocol").await {
        let (mut leader, mut follower) = (target.member().await, target.member().await);
        leader.settle().await;
        follower.request.protocols = vec![protocol("sticky", "own"), protocol("other", "o")];
        both_join(&mut leader, &mut follower).await;
        assert_eq!(follower.joined.protocol_name.as_deref(), Some("sticky"));
        let mut metadata: Vec<&[u8]> =
            leader.joined.members.iter().map(|it| &it.metadata[..]).collect();
        metadata.sort();
        assert_eq!(metadata, [&b"own"[..], &b"s"[..]]);

        let mut third = target.member().await;
        third.request.protocols = vec![protocol("range", "r")];
        let inconsistent = ErrorCode::INCONSISTENT_GROUP_PROTOCOL;
        assert_eq!(third.refused(9).await, inconsistent, "not all have it");
        third.request.protocols = Vec::new();
        assert_eq!(third.refused(9).await, inconsistent);
        third.request.protocols = vec![protocol("sticky", "")];
        third.request.protocol_type = "connect".to_owned();
        assert_eq!(third.refused(9).await, inconsistent, "they are of another kind");
        third.request.protocol_type = String::new();
        third.request.group_id = format!("{}-other", target.topic);
        assert_eq!(third.refused(9).await, inconsistent, "also in a group of its own");
    }
}

#[tokio::test]
async fn what_members_do_wrong_has_its_code() {
    for target in targets("wrong").await {
        let mut member = target.member().await;
        member.settle().await;
        let good = member.request.clone();
        for version in [0, 3, 4, 9] {
            member.request.group_id = String::new();
            assert_eq!(member.refused(version).await, ErrorCode::INVALID_GROUP_ID);
            member.request = good.clone();
            member.request.member_id = "stranger".to_owned();
            assert_eq!(member.refused(version).await, ErrorCode::UNKNOWN_MEMBER_ID);
            member.request.group_id = format!("{}-none", target.topic);
            assert_eq!(member.refused(version).await, ErrorCode::UNKNOWN_MEMBER_ID);
            member.request = good.clone();
            for session in [-1, 0, 99, 1_800_001] {
                member.request.session_timeout_ms = session;
                let code = ErrorCode::INVALID_SESSION_TIMEOUT;
                assert_eq!(member.refused(version).await, code, "{session}");
            }
            member.request = good.clone();
        }
        // SyncGroup, Heartbeat and LeaveGroup.
        for (group, id, generation, code) in [
            ("", member.id(), 1, ErrorCode::INVALID_GROUP_ID),
            ("none", member.id(), 1, ErrorCode::UNKNOWN_MEMBER_ID),
            ("own", "stranger", 1, ErrorCode::UNKNOWN_MEMBER_ID),
            ("own", "", 1, ErrorCode::UNKNOWN_MEMBER_ID),
            ("own", member.id(), 0, ErrorCode::ILLEGAL_GENERATION),
            ("own", member.id(), 2, ErrorCode::ILLEGAL_GENERATION),
            ("own", member.id(), -1, ErrorCode::ILLEGAL_GENERATION),
        ] {
            let group = match group {
                "own" => good.group_id.clone(),
                "none" => format!("{}-none", good.group_id),
                other => other.to_owned(),
            };
            let mut other = Member::new(target.group_client().await, &group);
            other.joined = member.joined.clone();
            other.joined.generation_id = generation;
            other.request.member_id = id.to_owned();
            assert_eq!(other.sync(&[]).await.error_code, code, "{group:?} {id} {generation}");
            assert_eq!(other.heartbeat().await, code, "{group:?} {id} {generation}");
        }
        let mut request = member.sync_request(&[]);
        for (kind, name, code) in [
            (Some("connect"), Some("range"), ErrorCode::INCONSISTENT_GROUP_PROTOCOL),
            (Some("consumer"), Some("sticky"), ErrorCode::INCONSISTENT_GROUP_PROTOCOL),
            (None, Some("range"), ErrorCode::INCONSISTENT_GROUP_PROTOCOL),
            (Some("consumer"), None, ErrorCode::INCONSISTENT_GROUP_PROTOCOL),
            (Some("consumer"), Some("range"), ErrorCode::NONE),
        ] {
            request.protocol_type = kind.map(str::to_owned);
            request.protocol_name = name.map(str::to_owned);
            assert_eq!(member.client.ask(&request, 5).await.error_code, code, "{kind:?} {name:?}");
            assert_eq!(member.client.ask(&request, 4).await.error_code, ErrorCode::NONE);
        }
    }
}

/// Nothing happens to a group in which nothing has changed.
#[tokio::test]
async fn who_joins_again_may_stay_in_its_generation() {
    for target in targets("again").await {
        let (mut leader, mut follower) = (target.member().await, target.member().await);
        pair(&mut leader, &mut follower).await;
        // Before the leader has assigned: the same again.
        let joined = follower.join().await;
        assert_eq!((joined.generation_id, joined.members.len()), (2, 0));
        assert_eq!(leader.join().await.members.len(), 2);
        assert_eq!(leader.sync(&[]).await.error_code, ErrorCode::NONE);
        assert_eq!(follower.sync(&[]).await.error_code, ErrorCode::NONE);
        assert_eq!(follower.join().await.generation_id, 2, "it comes with nothing new");

        let version = newest(ApiKey::JoinGroup);
        follower.request.protocols = vec![protocol("range", "q")];
        let waiting = follower.begin(version).await;
        while leader.heartbeat().await != ErrorCode::REBALANCE_IN_PROGRESS {}
        assert_eq!(leader.join().await.generation_id, 3);
        follower.end(waiting, version).await;
        assert_eq!(leader.sync(&[]).await.error_code, ErrorCode::NONE);
        assert_eq!(follower.sync(&[]).await.error_code, ErrorCode::NONE);

        // The leader has a reason, even if it looks the same.
        let waiting = leader.begin(version).await;
        while follower.heartbeat().await != ErrorCode::REBALANCE_IN_PROGRESS {}
        assert_eq!(follower.join().await.generation_id, 4);
        leader.end(waiting, version).await;
    }
}

#[tokio::test]
async fn static_members_come_back_to_what_they_had() {
    for target in targets("static").await {
        let mut member = target.member().await;
        member.request.group_instance_id = Some("one".to_owned());
        member.settle().await;
        let (former, old) = (member.id().to_owned(), member.joined.clone());
        for version in [5, 8, 9] {
            let mut back = target.member().await;
            back.request.group_instance_id = Some("one".to_owned());
            let joined = back.join_in(version).await;
            assert_eq!(joined.generation_id, 1, "version {version}");
            assert_ne!(joined.member_id, former);
            // To an older one it looks as if another led, so that it leaves all as it is.
            let is_leader = joined.leader == joined.member_id;
            assert_eq!((is_leader, joined.skip_assignment), (version == 9, version == 9));
            assert_eq!(back.sync(&[]).await.assignment, b"all"[..]);
            assert_eq!(back.heartbeat().await, ErrorCode::NONE);
        }
        let fenced = ErrorCode::FENCED_INSTANCE_ID;
        member.joined = old;
        assert_eq!(member.refused(9).await, fenced);
        assert_eq!(member.heartbeat().await, fenced);
        assert_eq!(member.sync(&[]).await.error_code, fenced);

        let identity = |id: &str, instance: Option<&str>| MemberIdentity {
            member_id: id.to_owned(),
            group_instance_id: instance.map(str::to_owned),
            reason: None,
        };
        let leave = LeaveGroupRequest {
            group_id: target.topic.clone(),
            members: vec![
                identity(&former, Some("one")),
                identity("", Some("two")),
                identity("stranger", None),
                identity("", Some("one")),
            ],
            ..LeaveGroupRequest::default()
        };
        for version in [3, 5] {
            let left = member.client.ask(&leave, version).await;
            assert_eq!(left.error_code, ErrorCode::NONE);
            let codes: Vec<ErrorCode> = left.members.iter().map(|it| it.error_code).collect();
            let unknown = ErrorCode::UNKNOWN_MEMBER_ID;
            match version {
                3 => assert_eq!(codes, [fenced, unknown, unknown, ErrorCode::NONE]),
                _ => assert_eq!(codes, [unknown; 4], "it has left"),
            }
            assert_eq!(left.members[1].group_instance_id.as_deref(), Some("two"));
        }
        assert_eq!(described(&mut member.client, &target.topic).await.group_state, "Empty");
    }
}

/// For its session's length nothing was heard of it.
#[tokio::test]
async fn silent_members_are_put_out() {
    for target in targets("silent").await {
        let mut member = target.member().await;
        member.request.session_timeout_ms = 300;
        member.settle().await;
        while described(&mut member.client, &target.topic).await.group_state != "Empty" {}
        assert_eq!(member.heartbeat().await, ErrorCode::UNKNOWN_MEMBER_ID);
    }
}

/// Who does not join again in time is out, however often it is heard of.
#[tokio::test]
async fn a_rebalance_waits_only_so_long() {
    for target in targets("late").await {
        let (mut late, mut other) = (target.member().await, target.member().await);
        late.request.rebalance_timeout_ms = 400;
        other.request.rebalance_timeout_ms = 400;
        late.settle().await;
        let version = newest(ApiKey::JoinGroup);
        let waiting = other.begin(version).await;
        let mut codes = vec![late.heartbeat().await];
        while codes.last() != Some(&ErrorCode::UNKNOWN_MEMBER_ID) {
            codes.push(late.heartbeat().await);
        }
        codes.dedup();
        assert!(codes.contains(&ErrorCode::REBALANCE_IN_PROGRESS), "{codes:?}");
        let joined = other.end(waiting, version).await;
        assert_eq!((joined.generation_id, joined.members.len()), (2, 1));
    }
}

/// Nor does a generation wait for long for who has joined and does not ask what it gets.
#[tokio::test]
async fn who_never_syncs_is_put_out() {
    for target in targets("mute").await {
        let (mut leader, mut mute) = (target.member().await, target.member().await);
        leader.request.rebalance_timeout_ms = 500;
        mute.request.rebalance_timeout_ms = 500;
        pair(&mut leader, &mut mute).await;
        let (one, two) = (leader.id().to_owned(), mute.id().to_owned());
        assert_eq!(leader.sync(&[(&one, "a"), (&two, "b")]).await.error_code, ErrorCode::NONE);
        while leader.heartbeat().await != ErrorCode::REBALANCE_IN_PROGRESS {}
        assert_eq!(mute.heartbeat().await, ErrorCode::UNKNOWN_MEMBER_ID);
        assert_eq!(leader.join().await.members.len(), 1);
    }
}
