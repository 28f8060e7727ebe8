//! `kafka-protocol` reads what is written here, and finds every value under its name; what it
//! writes is the same bytes.

use std::fmt::Debug;

use bytes::BytesMut;
use kafka_protocol::messages as theirs;
use kafka_protocol::protocol::{Decodable, Encodable};
use proptest::prelude::*;

use super::text::Shown;
use super::*;

/// Pairs a request with theirs.
trait HasOracle: Request + Sample + Debug {
    type Ours: Wire + Sample + Debug;
    type Question: Encodable + Decodable + Debug;
    type Answer: Encodable + Decodable + Debug;

    fn answer(luck: &mut Luck) -> Self::Response;
}

macro_rules! oracles {
    ($($module:ident::$ours:ident = $request:ident, $response:ident;)*) => {
        $(impl HasOracle for $module::$ours {
            type Ours = <Self as Request>::Response;
            type Question = theirs::$request;
            type Answer = theirs::$response;

            fn answer(luck: &mut Luck) -> Self::Response {
                Sample::sample(luck)
            }
        })*
    };
}

oracles! {
    alter_configs::AlterConfigsRequest = AlterConfigsRequest, AlterConfigsResponse;
    alter_partition_reassignments::AlterPartitionReassignmentsRequest =
        AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse;
    api_versions::ApiVersionsRequest = ApiVersionsRequest, ApiVersionsResponse;
    create_acls::CreateAclsRequest = CreateAclsRequest, CreateAclsResponse;
    create_partitions::CreatePartitionsRequest = CreatePartitionsRequest, CreatePartitionsResponse;
    create_topics::CreateTopicsRequest = CreateTopicsRequest, CreateTopicsResponse;
    delete_acls::DeleteAclsRequest = DeleteAclsRequest, DeleteAclsResponse;
    delete_groups::DeleteGroupsRequest = DeleteGroupsRequest, DeleteGroupsResponse;
    delete_records::DeleteRecordsRequest = DeleteRecordsRequest, DeleteRecordsResponse;
    delete_topics::DeleteTopicsRequest = DeleteTopicsRequest, DeleteTopicsResponse;
    describe_acls::DescribeAclsRequest = DescribeAclsRequest, DescribeAclsResponse;
    describe_cluster::DescribeClusterRequest = DescribeClusterRequest, DescribeClusterResponse;
    describe_configs::DescribeConfigsRequest = DescribeConfigsRequest, DescribeConfigsResponse;
    describe_groups::DescribeGroupsRequest = DescribeGroupsRequest, DescribeGroupsResponse;
    describe_log_dirs::DescribeLogDirsRequest = DescribeLogDirsRequest, DescribeLogDirsResponse;
    fetch::FetchRequest = FetchRequest, FetchResponse;
    find_coordinator::FindCoordinatorRequest = FindCoordinatorRequest, FindCoordinatorResponse;
    heartbeat::HeartbeatRequest = HeartbeatRequest, HeartbeatResponse;
    incremental_alter_configs::IncrementalAlterConfigsRequest =
        IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse;
    init_producer_id::InitProducerIdRequest = InitProducerIdRequest, InitProducerIdResponse;
    join_group::JoinGroupRequest = JoinGroupRequest, JoinGroupResponse;
    leave_group::LeaveGroupRequest = LeaveGroupRequest, LeaveGroupResponse;
    list_groups::ListGroupsRequest = ListGroupsRequest, ListGroupsResponse;
    list_offsets::ListOffsetsRequest = ListOffsetsRequest, ListOffsetsResponse;
    list_partition_reassignments::ListPartitionReassignmentsRequest =
        ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse;
    metadata::MetadataRequest = MetadataRequest, MetadataResponse;
    offset_commit::OffsetCommitRequest = OffsetCommitRequest, OffsetCommitResponse;
    offset_delete::OffsetDeleteRequest = OffsetDeleteRequest, OffsetDeleteResponse;
    offset_fetch::OffsetFetchRequest = OffsetFetchRequest, OffsetFetchResponse;
    offset_for_leader_epoch::OffsetForLeaderEpochRequest =
        OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse;
    produce::ProduceRequest = ProduceRequest, ProduceResponse;
    sasl_authenticate::SaslAuthenticateRequest = SaslAuthenticateRequest, SaslAuthenticateResponse;
    sasl_handshake::SaslHandshakeRequest = SaslHandshakeRequest, SaslHandshakeResponse;
    sync_group::SyncGroupRequest = SyncGroupRequest, SyncGroupResponse;
}

/// Ours to theirs, and theirs back.
fn agrees<T, O>(version: i16, is_flexible: bool, luck: &mut Luck)
where
    T: Wire + Sample + Debug,
    O: Encodable + Decodable + Debug,
{
    let bytes = write(&T::sample(luck), version, is_flexible);
    // Without what this version does not have.
    let ours: T = read(&bytes, version, is_flexible).unwrap();
    let mut left = bytes.clone();
    let oracle = O::decode(&mut left, version).unwrap();
    assert!(left.is_empty(), "they read less: version {version} of {ours:?}");
    Shown::of(&ours).is_within(&Shown::of(&oracle), &format!("version {version}"));
    let mut again = BytesMut::new();
    oracle.encode(&mut again, version).unwrap();
    assert_eq!(again, bytes, "version {version} of {ours:?}");
}

fn agree<R: HasOracle>(luck: &mut Luck) {
    for version in R::KEY.versions() {
        let is_flexible = R::KEY.is_flexible(version);
        agrees::<R, R::Question>(version, is_flexible, luck);
        agrees::<R::Ours, R::Answer>(version, is_flexible, luck);
    }
}

/// Request and response with their headers.
fn headers_agree<R: HasOracle>(luck: &mut Luck) {
    use theirs::{ApiKey as TheirKey, RequestHeader as TheirRequestHeader, ResponseHeader};
    let their_key = TheirKey::try_from(R::KEY as i16).unwrap();
    for version in R::KEY.versions() {
        let client_id = Option::<String>::sample(luck);
        let mut frame =
            whole(encode_request(&R::sample(luck), version, 77, &client_id).unwrap()).slice(4..);
        let (header, body) = RequestHeader::read(&frame).unwrap();
        let decoded =
            TheirRequestHeader::decode(&mut frame, their_key.request_header_version(version));
        let decoded = decoded.unwrap();
        assert_eq!(decoded.request_api_key, header.api_key);
        assert_eq!(decoded.request_api_version, header.version);
        assert_eq!(decoded.correlation_id, header.correlation_id);
        assert_eq!(decoded.client_id.as_deref(), header.client_id.as_deref());
        assert_eq!(header.client_id, client_id);
        assert_eq!(frame, body, "version {version} of {}", R::KEY.name());
        decode_request::<R>(&body, version).unwrap();

        let response = R::answer(luck);
        let frame = whole(encode_response::<R>(&response, version, 78).unwrap()).slice(4..);
        assert_eq!(decode_response::<R>(&frame, version).unwrap().0, 78);
        let mut left = frame;
        let decoded = ResponseHeader::decode(&mut left, their_key.response_header_version(version));
        assert_eq!(decoded.unwrap().correlation_id, 78);
        R::Answer::decode(&mut left, version).unwrap();
        assert!(left.is_empty());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn every_message_in_every_version(seed: u64) {
        for_each_request!(agree(&mut Luck(seed)));
    }

    #[test]
    fn every_header_in_every_version(seed: u64) {
        for_each_request!(headers_agree(&mut Luck(seed)));
    }
}
