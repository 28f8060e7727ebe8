//! ListGroups, DescribeGroups, DeleteGroups, LeaveGroup: consumer groups.

use std::collections::BTreeSet;

use tokio::time::Duration;

use super::doubt::Doubt;
use super::topics::silent;
use crate::assignor::Assignment;
use crate::error::{Error, GroupError, Result};
use crate::group::{GroupDescription, GroupState, MemberDescription};
use crate::transport::tcp::cluster::Cluster;
use crate::transport::tcp::connection::Connection;
use crate::transport::tcp::errors::of_code;
use crate::transport::tcp::group::find_coordinator;
use crate::wire::delete_groups::DeleteGroupsRequest;
use crate::wire::describe_groups::{DescribeGroupsRequest, DescribedGroup, DescribedGroupMember};
use crate::wire::leave_group::{LeaveGroupRequest, MemberIdentity};
use crate::wire::list_groups::{ListGroupsRequest, ListGroupsResponse};
use crate::wire::{ApiKey, ErrorCode};

/// From this version on a member can be put out by its instance id.
const BY_INSTANCE: i16 = 3;
/// The state of a group that is not there.
const DEAD: &str = "Dead";

/// No group is without a name, and not all brokers say so.
pub(super) fn check_named(group: &str) -> Result<()> {
    if group.is_empty() { Err(refused(group, GroupError::GroupIdNotFound)) } else { Ok(()) }
}

pub(super) fn refused(group: &str, source: GroupError) -> Error {
    Error::Group { group: group.to_owned(), source }
}

/// What a code means of a group.
pub(super) fn error_of(group: &str, code: ErrorCode, what: &str) -> Error {
    match code {
        ErrorCode::GROUP_ID_NOT_FOUND => refused(group, GroupError::GroupIdNotFound),
        ErrorCode::INVALID_GROUP_ID => refused(group, GroupError::InvalidGroupId),
        code => of_code(code, what, None),
    }
}

pub(super) async fn coordinator(cluster: &Cluster, group: &str) -> Result<Connection> {
    let address = find_coordinator(cluster, group).await?;
    cluster.pool.get(&address).await
}

/// All groups: each broker tells those that it coordinates.
pub(super) async fn list(cluster: &Cluster) -> Result<Vec<String>> {
    let mut names = BTreeSet::new();
    for (node, address) in cluster.brokers() {
        let request = ListGroupsRequest::default();
        let response = cluster.pool.get(&address).await?.ask(&request).await?;
        let what = format!("listing the groups of broker {node}");
        names.extend(listed(response, &what)?);
    }
    Ok(names.into_iter().collect())
}

fn listed(response: ListGroupsResponse, what: &str) -> Result<Vec<String>> {
    match response.error_code {
        ErrorCode::NONE => {
            let there = response.groups.into_iter().filter(|group| group.group_state != DEAD);
            Ok(there.map(|group| group.group_id).collect())
        }
        code => Err(of_code(code, what, None)),
    }
}

/// Whether there is such a group, of whatever kind: some are not described to everybody.
pub(super) async fn is_there(cluster: &Cluster, group: &str) -> Result<bool> {
    let connection = coordinator(cluster, group).await?;
    if described_by(&connection, group).await?.is_some() {
        return Ok(true);
    }
    let response = connection.ask(&ListGroupsRequest::default()).await?;
    let names = listed(response, &format!("looking for group {group:?}"))?;
    Ok(names.iter().any(|name| name == group))
}

pub(super) async fn describe(cluster: &Cluster, group: &str) -> Result<GroupDescription> {
    check_named(group)?;
    let what = format!("describing group {group:?}");
    let described = cluster.until_done(&what, || describe_once(cluster, group)).await?;
    described.ok_or_else(|| refused(group, GroupError::GroupIdNotFound))
}

async fn describe_once(cluster: &Cluster, group: &str) -> Result<Option<GroupDescription>> {
    described_by(&coordinator(cluster, group).await?, group).await
}

/// `None` if there is no such group.
async fn described_by(connection: &Connection, group: &str) -> Result<Option<GroupDescription>> {
    let what = format!("describing group {group:?}");
    let groups = vec![group.to_owned()];
    let request = DescribeGroupsRequest { groups, ..DescribeGroupsRequest::default() };
    let response = connection.ask(&request).await?;
    let told = response.groups.into_iter().next().ok_or_else(|| silent(&what))?;
    match told.error_code {
        ErrorCode::NONE if told.group_state == DEAD => Ok(None),
        ErrorCode::NONE => described(group, told, &what).map(Some),
        ErrorCode::GROUP_ID_NOT_FOUND => Ok(None),
        code => Err(error_of(group, code, &what)),
    }
}

fn described(group: &str, told: DescribedGroup, what: &str) -> Result<GroupDescription> {
    let known = [
        GroupState::Empty,
        GroupState::PreparingRebalance,
        GroupState::CompletingRebalance,
        GroupState::Stable,
    ];
    let state = known.into_iter().find(|state| state.to_string() == told.group_state);
    let state = state.ok_or_else(|| {
        let text = format!("it is in a state that is not known here: {:?}", told.group_state);
        of_code(ErrorCode::UNKNOWN_SERVER_ERROR, what, Some(&text))
    })?;
    let some = |text: String| Some(text).filter(|text| !text.is_empty());
    let members = told.members.into_iter().map(|told| member(told, state));
    let mut members: Vec<MemberDescription> = members.collect();
    members.sort_by(|a, b| a.member_id.cmp(&b.member_id));
    Ok(GroupDescription {
        group: group.to_owned(),
        state,
        // The protocol has no field for it.
        generation: -1,
        protocol_type: some(told.protocol_type),
        strategy: some(told.protocol_data),
        members,
    })
}

fn member(told: DescribedGroupMember, state: GroupState) -> MemberDescription {
    // What can't be read is no consumer's.
    let assigned = Some(&told.member_assignment).filter(|_| state == GroupState::Stable);
    let assignment = assigned.and_then(|bytes| Assignment::decode(bytes).ok());
    MemberDescription {
        member_id: told.member_id,
        instance_id: told.group_instance_id,
        client_id: told.client_id,
        client_host: told.client_host,
        assignment: assignment.map(|it| it.partitions).unwrap_or_default(),
        raw: (told.member_metadata, told.member_assignment),
    }
}

/// The error of a group that has members, with their number.
pub(super) async fn non_empty(cluster: &Cluster, group: &str) -> Error {
    let described = describe_once(cluster, group).await;
    // Somebody was there a moment ago.
    let members = described.ok().flatten().map_or(1, |described| described.members.len().max(1));
    refused(group, GroupError::NonEmptyGroup { members })
}

pub(super) async fn delete(cluster: &Cluster, group: &str) -> Result<()> {
    check_named(group)?;
    let what = format!("deleting group {group:?}");
    let doubt = Doubt::default();
    cluster.until_done(&what, || delete_once(cluster, group, &doubt, &what)).await
}

async fn delete_once(cluster: &Cluster, group: &str, doubt: &Doubt, what: &str) -> Result<()> {
    let connection = coordinator(cluster, group).await?;
    let version = connection.version(ApiKey::DeleteGroups, i16::MAX)?;
    let request = DeleteGroupsRequest { groups_names: vec![group.to_owned()] };
    let response = doubt.ask(&connection, &request, version, Duration::ZERO).await?;
    let told = response.results.into_iter().next().ok_or_else(|| silent(what))?;
    match told.error_code {
        ErrorCode::NONE => Ok(()),
        ErrorCode::GROUP_ID_NOT_FOUND if doubt.is_there() => Ok(()),
        ErrorCode::NON_EMPTY_GROUP => Err(non_empty(cluster, group).await),
        code => {
            doubt.note(code);
            Err(error_of(group, code, what))
        }
    }
}

pub(super) async fn remove_member(cluster: &Cluster, group: &str, instance_id: &str) -> Result<()> {
    check_named(group)?;
    let what = format!("removing member {instance_id:?} of group {group:?}");
    let doubt = Doubt::default();
    let attempt = || remove_once(cluster, group, instance_id, &doubt, &what);
    cluster.until_done(&what, attempt).await
}

async fn remove_once(
    cluster: &Cluster,
    group: &str,
    instance_id: &str,
    doubt: &Doubt,
    what: &str,
) -> Result<()> {
    let connection = coordinator(cluster, group).await?;
    let version = connection.version(ApiKey::LeaveGroup, i16::MAX)?;
    if version < BY_INSTANCE {
        let broker = connection.broker();
        let text = format!("{what}: {broker} is too old, and has no static members (KIP-345)");
        return Err(Error::InvalidState(text));
    }
    let member = MemberIdentity {
        member_id: String::new(),
        group_instance_id: Some(instance_id.to_owned()),
        reason: Some("removed by an administrator".to_owned()),
    };
    let request = LeaveGroupRequest {
        group_id: group.to_owned(),
        members: vec![member],
        ..LeaveGroupRequest::default()
    };
    let response = doubt.ask(&connection, &request, version, Duration::ZERO).await?;
    let of_member = response.members.first().map_or(ErrorCode::NONE, |it| it.error_code);
    let code = match response.error_code {
        ErrorCode::NONE => of_member,
        code => code,
    };
    match code {
        ErrorCode::NONE => Ok(()),
        ErrorCode::UNKNOWN_MEMBER_ID if doubt.is_there() => Ok(()),
        // Of a group that is not there nobody is a member.
        ErrorCode::UNKNOWN_MEMBER_ID => match is_there(cluster, group).await? {
            true => {
                let member_id = instance_id.to_owned();
                Err(refused(group, GroupError::UnknownMember { member_id }))
            }
            false => Err(refused(group, GroupError::GroupIdNotFound)),
        },
        code => {
            doubt.note(code);
            Err(error_of(group, code, what))
        }
    }
}
