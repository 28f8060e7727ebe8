//! DescribeGroups, ListGroups, DeleteGroups: what administrators ask of groups.

use ottla::wire::delete_groups::DeleteGroupsRequest;
use ottla::wire::describe_groups::DescribeGroupsRequest;
use ottla::wire::list_groups::{ListGroupsRequest, ListedGroup};
use ottla::wire::{ApiKey, ErrorCode};

use super::super::client::RawClient;
use super::super::member::described;
use super::targets;

#[tokio::test]
async fn groups_are_described() {
    for target in targets("described").await {
        let mut member = target.member().await;
        member.request.group_instance_id = Some("one".to_owned());
        let mut client = target.group_client().await;
        let dead = described(&mut client, &target.topic).await;
        assert_eq!((dead.error_code, &*dead.group_state), (ErrorCode::NONE, "Dead"));
        assert_eq!((&*dead.protocol_type, &*dead.protocol_data), ("", ""));

        member.join().await;
        let joining = described(&mut client, &target.topic).await;
        assert_eq!(joining.group_state, "CompletingRebalance");
        assert_eq!((&*joining.protocol_type, &*joining.protocol_data), ("consumer", ""));
        assert_eq!((joining.members.len(), &joining.members[0].member_metadata[..]), (1, &b""[..]));

        let id = member.id().to_owned();
        member.sync(&[(&id, "all")]).await;
        for version in ApiKey::DescribeGroups.versions() {
            let request = DescribeGroupsRequest {
                groups: vec![target.topic.clone(), String::new()],
                include_authorized_operations: true,
            };
            let groups = client.ask(&request, version).await.groups;
            let [group, nameless] = &groups[..] else { panic!("{groups:?}") };
            assert_eq!((group.error_code, &*group.group_id), (ErrorCode::NONE, &*target.topic));
            assert_eq!((&*group.group_state, &*group.protocol_type), ("Stable", "consumer"));
            assert_eq!(group.protocol_data, "range");
            let [only] = &group.members[..] else { panic!("{group:?}") };
            assert_eq!((&*only.member_id, &*only.client_id), (&*id, "raw"));
            assert_eq!(only.client_host, "/127.0.0.1");
            let instance = only.group_instance_id.as_deref();
            assert_eq!(instance, (version >= 4).then_some("one"));
            assert_eq!(
                (&only.member_metadata[..], &only.member_assignment[..]),
                (&b"r"[..], &b"all"[..])
            );
            let operations = if version >= 3 { 3400 } else { i32::MIN };
            assert_eq!(group.authorized_operations, operations, "version {version}");
            assert_eq!((nameless.error_code, &*nameless.group_state), (ErrorCode::NONE, "Dead"));
        }
    }
}

/// Those of them that begin so.
async fn listed(
    client: &mut RawClient,
    request: &ListGroupsRequest,
    prefix: &str,
    version: i16,
) -> Vec<ListedGroup> {
    let answer = client.ask(request, version).await;
    assert_eq!(answer.error_code, ErrorCode::NONE);
    let mut groups = answer.groups;
    groups.retain(|group| group.group_id.starts_with(prefix));
    groups.sort_by(|a, b| a.group_id.cmp(&b.group_id));
    groups
}

#[tokio::test]
async fn groups_are_listed_by_state_and_type() {
    for target in targets("listed").await {
        let (mut one, mut two) = (target.member().await, target.member().await);
        two.request.group_id = format!("{}-2", target.topic);
        two.request.protocol_type = "connect".to_owned();
        one.settle().await;
        two.settle().await;
        assert_eq!(one.leave().await, ErrorCode::NONE);
        let mut client = target.group_client().await;
        for version in ApiKey::ListGroups.versions() {
            let all = ListGroupsRequest::default();
            let groups = listed(&mut client, &all, &target.topic, version).await;
            let [first, second] = &groups[..] else { panic!("{groups:?}") };
            assert_eq!((&*first.protocol_type, &*second.protocol_type), ("consumer", "connect"));
            if version >= 4 {
                assert_eq!((&*first.group_state, &*second.group_state), ("Empty", "Stable"));
            }
            let kind = if version >= 5 { "classic" } else { "" };
            assert_eq!((&*first.group_type, &*second.group_type), (kind, kind));
        }
        for (states, types, count) in [
            (&["Stable"][..], &[][..], 1),
            (&["stable", "EMPTY"], &["Classic"], 2),
            (&["Dead"], &[], 0),
            (&[], &["consumer"], 0),
        ] {
            let own = |all: &[&str]| all.iter().map(|it| (*it).to_owned()).collect();
            let request =
                ListGroupsRequest { states_filter: own(states), types_filter: own(types) };
            let groups = listed(&mut client, &request, &target.topic, 5).await;
            assert_eq!(groups.len(), count, "{states:?} {types:?}");
        }
    }
}

#[tokio::test]
async fn groups_without_members_are_deleted() {
    for target in targets("deleted").await {
        let mut member = target.member().await;
        member.settle().await;
        let mut client = target.group_client().await;
        let none = format!("{}-none", target.topic);
        let request = DeleteGroupsRequest { groups_names: vec![target.topic.clone(), none] };
        let missing = ErrorCode::GROUP_ID_NOT_FOUND;
        for version in ApiKey::DeleteGroups.versions() {
            let mut results = client.ask(&request, version).await.results;
            // Kafka first tells of those that it can't delete.
            results.sort_by(|a, b| a.group_id.cmp(&b.group_id));
            let codes: Vec<ErrorCode> = results.iter().map(|it| it.error_code).collect();
            assert_eq!(codes, [ErrorCode::NON_EMPTY_GROUP, missing]);
        }
        assert_eq!(member.leave().await, ErrorCode::NONE);
        let mut results = client.ask_newest(&request).await.results;
        results.sort_by(|a, b| a.group_id.cmp(&b.group_id));
        assert_eq!((results[0].error_code, results[1].error_code), (ErrorCode::NONE, missing));
        assert_eq!(described(&mut client, &target.topic).await.group_state, "Dead");
    }
}
