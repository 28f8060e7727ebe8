//! Every message in every version, held against `kafka-protocol`, which is generated from Kafka's
//! own schemas; and what strangers may send.

/// Calls `each::<Request>()` for every request there is.
macro_rules! for_each_request {
    ($each:ident($($arg:expr),*)) => {
        $each::<alter_configs::AlterConfigsRequest>($($arg),*);
        $each::<alter_partition_reassignments::AlterPartitionReassignmentsRequest>($($arg),*);
        $each::<api_versions::ApiVersionsRequest>($($arg),*);
        $each::<create_acls::CreateAclsRequest>($($arg),*);
        $each::<create_partitions::CreatePartitionsRequest>($($arg),*);
        $each::<create_topics::CreateTopicsRequest>($($arg),*);
        $each::<delete_acls::DeleteAclsRequest>($($arg),*);
        $each::<delete_groups::DeleteGroupsRequest>($($arg),*);
        $each::<delete_records::DeleteRecordsRequest>($($arg),*);
        $each::<delete_topics::DeleteTopicsRequest>($($arg),*);
        $each::<describe_acls::DescribeAclsRequest>($($arg),*);
        $each::<describe_cluster::DescribeClusterRequest>($($arg),*);
        $each::<describe_configs::DescribeConfigsRequest>($($arg),*);
        $each::<describe_groups::DescribeGroupsRequest>($($arg),*);
        $each::<describe_log_dirs::DescribeLogDirsRequest>($($arg),*);
        $each::<fetch::FetchRequest>($($arg),*);
        $each::<find_coordinator::FindCoordinatorRequest>($($arg),*);
        $each::<heartbeat::HeartbeatRequest>($($arg),*);
        $each::<incremental_alter_configs::IncrementalAlterConfigsRequest>($($arg),*);
        $each::<init_producer_id::InitProducerIdRequest>($($arg),*);
        $each::<join_group::JoinGroupRequest>($($arg),*);
        $each::<leave_group::LeaveGroupRequest>($($arg),*);
        $each::<list_groups::ListGroupsRequest>($($arg),*);
        $each::<list_offsets::ListOffsetsRequest>($($arg),*);
        $each::<list_partition_reassignments::ListPartitionReassignmentsRequest>($($arg),*);
        $each::<metadata::MetadataRequest>($($arg),*);
        $each::<offset_commit::OffsetCommitRequest>($($arg),*);
        $each::<offset_delete::OffsetDeleteRequest>($($arg),*);
        $each::<offset_fetch::OffsetFetchRequest>($($arg),*);
        $each::<offset_for_leader_epoch::OffsetForLeaderEpochRequest>($($arg),*);
        $each::<produce::ProduceRequest>($($arg),*);
        $each::<sasl_authenticate::SaslAuthenticateRequest>($($arg),*);
        $each::<sasl_handshake::SaslHandshakeRequest>($($arg),*);
        $each::<sync_group::SyncGroupRequest>($($arg),*);
    };
}

mod oracle;
mod text;

use bytes::{Buf, Bytes};
use proptest::prelude::*;

use super::fetch::{FetchRequest, FetchResponse, FetchableTopicResponse, PartitionData};
use super::*;
use crate::codec::CodecError;
use crate::topic::TopicId;

/// Random numbers, of a seed.
pub(crate) struct Luck(u64);

impl Luck {
    /// SplitMix64.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

/// What can be made up. Fields that a version does not have are made up, too.
pub(crate) trait Sample {
    fn sample(luck: &mut Luck) -> Self;
}

macro_rules! sample_numbers {
    ($($type:ty),*) => {
        $(impl Sample for $type {
            /// All lengths, and often the -1 that is a default.
            fn sample(luck: &mut Luck) -> Self {
                match luck.below(4) {
                    0 => -1,
                    _ => (luck.next() >> luck.below(64)) as $type,
                }
            }
        })*
    };
}

sample_numbers!(i8, i16, i32, i64);

impl Sample for bool {
    fn sample(luck: &mut Luck) -> Self {
        luck.below(2) == 1
    }
}

impl Sample for ErrorCode {
    fn sample(luck: &mut Luck) -> Self {
        ErrorCode(Sample::sample(luck))
    }
}

impl Sample for TopicId {
    fn sample(luck: &mut Luck) -> Self {
        let half = if luck.below(3) == 0 { 0 } else { luck.next() };
        TopicId((u128::from(half) << 64 | u128::from(half)).to_be_bytes())
    }
}

impl Sample for String {
    /// Also of 127 bytes and more, whose compact length takes two.
    fn sample(luck: &mut Luck) -> Self {
        let len = if luck.below(20) == 0 { 120 + luck.below(20) } else { luck.below(9) };
        (0..len).map(|_| char::from(b'a' + luck.below(26) as u8)).collect()
    }
}

impl<T: Sample> Sample for Option<T> {
    fn sample(luck: &mut Luck) -> Self {
        (luck.below(4) > 0).then(|| T::sample(luck))
    }
}

impl<T: Sample> Sample for Vec<T> {
    fn sample(luck: &mut Luck) -> Self {
        (0..luck.below(4)).map(|_| T::sample(luck)).collect()
    }
}

impl Sample for Bytes {
    fn sample(luck: &mut Luck) -> Self {
        (0..luck.below(200)).map(|_| luck.next() as u8).collect()
    }
}

impl Sample for Records {
    /// Short ones, which are copied, and long ones, which are not.
    fn sample(luck: &mut Luck) -> Self {
        let batch = |luck: &mut Luck| {
            let len = luck.below(3) * 400;
            (0..len).map(|_| luck.next() as u8).collect::<Bytes>()
        };
        Records::new((0..luck.below(3)).map(|_| batch(luck)).collect())
    }
}

fn write<T: Wire>(message: &T, version: i16, is_flexible: bool) -> Bytes {
    let mut to = MessageWriter::new(version, is_flexible);
    message.write(&mut to);
    let bytes = |piece: Piece| match piece {
        Piece::Bytes(bytes) => bytes,
        Piece::Gap(gap) => panic!("{gap:?}"),
    };
    to.finish().into_iter().map(bytes).collect::<Vec<_>>().concat().into()
}

/// Reads all of `bytes`.
fn read<T: Wire>(bytes: &Bytes, version: i16, is_flexible: bool) -> Result<T, CodecError> {
    let mut from = MessageReader::new(bytes, version, is_flexible);
    let message = T::read(&mut from)?;
    assert_eq!(from.rest(), Bytes::new(), "it goes on");
    Ok(message)
}

fn whole(mut frame: Frame) -> Bytes {
    frame.copy_to_bytes(frame.remaining())
}

/// Every request is in the macro above.
#[test]
fn all_are_tried() {
    fn note<R: Request>(keys: &mut Vec<ApiKey>) {
        keys.push(R::KEY);
    }
    let mut keys = Vec::new();
    for_each_request!(note(&mut keys));
    keys.sort();
    assert_eq!(keys, ApiKey::ALL);
}

/// What is written is read again, and half of it is an error.
fn survives<R: Request + Sample>(luck: &mut Luck)
where
    R::Response: Sample,
{
    fn one<T: Wire + Sample>(version: i16, is_flexible: bool, luck: &mut Luck) {
        let bytes = write(&T::sample(luck), version, is_flexible);
        let message: T = read(&bytes, version, is_flexible).unwrap();
        assert_eq!(write(&message, version, is_flexible), bytes);
        for end in 0..bytes.len().min(200) {
            let cut = bytes.slice(..end);
            assert!(T::read(&mut MessageReader::new(&cut, version, is_flexible)).is_err());
        }
    }
    for version in R::KEY.versions() {
        one::<R>(version, R::KEY.is_flexible(version), luck);
        one::<R::Response>(version, R::KEY.is_flexible(version), luck);
    }
}

/// Tags that nobody knows are passed over, wherever they stand.
#[test]
fn unknown_tagged_fields_are_ignored() {
    let bytes = write(&find_coordinator::FindCoordinatorRequest::default(), 3, true);
    let mut tagged = bytes[..bytes.len() - 1].to_vec();
    tagged.extend([2, 5, 3, 1, 2, 3, 77, 0]);
    let read = read::<find_coordinator::FindCoordinatorRequest>(&tagged.into(), 3, true);
    assert_eq!(read, Ok(Default::default()));
}

#[test]
fn lengths_that_lie_make_no_room() {
    fn lies<T: Wire>(version: i16, is_flexible: bool) {
        for len in [0x7fff_ffff_u32, 0x8000_0000, 0xffff_fffe] {
            let mut bytes = Vec::new();
            match is_flexible {
                true => crate::codec::put_unsigned_varint(&mut bytes, len),
                false => bytes.extend(len.to_be_bytes()),
            }
            bytes.extend([0; 40]);
            let error = read::<Vec<T>>(&bytes.into(), version, is_flexible);
            assert!(error.is_err(), "{len}");
        }
    }
    lies::<i8>(0, false);
    lies::<String>(0, true);
    lies::<fetch::FetchTopic>(13, true);
    lies::<metadata::MetadataResponseTopic>(0, false);
}

/// A response's pieces are the batches themselves, not copies.
#[test]
fn batches_are_not_copied() {
    let batch = Bytes::from(vec![7; 1000]);
    let data = fetch::PartitionData {
        records: Records::new(vec![batch.clone(), batch.clone()]),
        ..Default::default()
    };
    let topic = fetch::FetchableTopicResponse { partitions: vec![data], ..Default::default() };
    let response = fetch::FetchResponse { responses: vec![topic], ..Default::default() };
    let mut frame = encode_response::<fetch::FetchRequest>(&response, 12, 1).unwrap();
    let mut shared = 0;
    while frame.has_remaining() {
        shared += usize::from(frame.chunk().as_ptr() == batch.as_ptr());
        frame.advance(frame.chunk().len());
    }
    assert_eq!(shared, 2);
}

#[test]
fn frames_are_limited() {
    assert_eq!(frame_len([0, 0, 1, 0], 256), Ok(256));
    let long = frame_len([0, 0, 1, 1], 256).unwrap_err().to_string();
    assert_eq!(long, "frame of 257 bytes is over 256 (of requests: socket.request.max.bytes)");
    assert_eq!(frame_len([0xff; 4], 256), Err(FrameError::Negative(-1)));
}

/// Shared pieces: no such memory is taken.
#[test]
fn an_answer_that_no_length_can_say_is_an_error() {
    let piece = Bytes::from(vec![0; 1 << 20]);
    assert!(Frame::new(vec![piece.clone(); 2047]).is_ok());
    let long = Frame::new(vec![piece; 2048]).unwrap_err();
    assert_eq!(long, FrameError::TooLong { len: 1 << 31, limit: i32::MAX as usize });
}

#[test]
fn a_frame_is_written_in_any_steps() {
    let pieces: Vec<Bytes> = vec![b"abc"[..].into(), b"d"[..].into(), b"efgh"[..].into()];
    for step in 1..13 {
        let mut frame = Frame::new(pieces.clone()).unwrap();
        let mut written = Vec::new();
        while frame.has_remaining() {
            let mut slices = [std::io::IoSlice::new(&[]); 2];
            let filled = frame.chunks_vectored(&mut slices);
            let next: Vec<u8> = slices[..filled].iter().flat_map(|it| it.to_vec()).collect();
            let taken = next.len().min(step);
            written.extend_from_slice(&next[..taken]);
            frame.advance(taken);
        }
        assert_eq!(written, b"\0\0\0\x08abcdefgh");
    }
}

/// With what belongs there put in place, an answer with gaps is the one without.
#[test]
fn an_answer_with_gaps_ends_at_each_until_it_is_filled() {
    let bytes: Vec<Bytes> = (0..3u8).map(|i| vec![i; 1000 + usize::from(i)].into()).collect();
    let answer = |left_open: bool| {
        let records = |id: usize| match left_open && id != 1 {
            true => Records::left_open(Gap { len: bytes[id].len(), id }),
            false => Records::new(vec![bytes[id].clone()]),
        };
        let partition = |id| PartitionData { records: records(id), ..PartitionData::default() };
        let partitions = (0..3).map(partition).collect();
        let topic = FetchableTopicResponse { partitions, ..FetchableTopicResponse::default() };
        let response = FetchResponse { responses: vec![topic], ..FetchResponse::default() };
        encode_response::<FetchRequest>(&response, 12, 7).unwrap()
    };
    let (mut whole, mut frame) = (answer(false), answer(true));
    assert_eq!(frame.held(), whole.remaining() - 2002);
    let mut written = Vec::new();
    while frame.has_remaining() || frame.gap().is_some() {
        // The first and the last stand in files; behind the last, a few bytes end it.
        let (in_gap, gaps_left) = (frame.gap().is_some(), written.len() < whole.remaining() - 1100);
        assert_eq!(frame.has_gap_behind(), !in_gap && gaps_left, "after {}", written.len());
        match frame.gap() {
            None => written.extend_from_slice(&frame.copy_to_bytes(frame.remaining().min(400))),
            Some(Gap { len, id }) => {
                let from = bytes[id].len() - len;
                let some = len.min(700);
                written.extend_from_slice(&bytes[id][from..from + some]);
                frame.fill(some);
            }
        }
    }
    assert_eq!(written, whole.copy_to_bytes(whole.remaining()));
}

#[test]
fn the_header_of_an_unknown_request_is_read_as_far_as_it_is_known() {
    let frame = Bytes::from_static(b"\x03\xe7\0\x05\0\0\0\x09\0\x02mebody");
    let (header, body) = RequestHeader::read(&frame).unwrap();
    let client_id = Some("me".to_owned());
    assert_eq!(header, RequestHeader { api_key: 999, version: 5, correlation_id: 9, client_id });
    assert_eq!(body, b"body"[..]);
}

#[test]
fn error_codes_have_kafkas_names() {
    assert_eq!(ErrorCode::INVALID_RECORD.to_string(), "INVALID_RECORD (87)");
    assert_eq!(ErrorCode(999).to_string(), "error 999");
    assert_eq!(ErrorCode::by_name("CORRUPT_MESSAGE"), Some(ErrorCode(2)));
    for code in (-1..=106).map(ErrorCode) {
        let theirs = kafka_protocol::ResponseError::try_from_code(code.0);
        if let (Some(name), Some(theirs)) = (code.name(), theirs) {
            // `OffsetOutOfRange`, and a few without their `Exception`.
            let plain = name.replace('_', "").to_lowercase();
            let theirs = format!("{theirs:?}").to_lowercase();
            assert_eq!(plain.trim_end_matches("exception"), theirs.trim_end_matches("exception"));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn all_messages_survive(seed: u64) {
        for_each_request!(survives(&mut Luck(seed)));
    }

    #[test]
    fn any_bytes_are_read_or_refused(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        small: bool,
    ) {
        fn try_all<R: Request>(bytes: &Bytes) {
            for version in R::KEY.versions() {
                let _ = decode_request::<R>(bytes, version);
                let _ = decode_response::<R>(bytes, version);
            }
        }
        // Small numbers get further.
        let bytes: Bytes = bytes.iter().map(|byte| if small { byte & 3 } else { *byte }).collect();
        let _ = RequestHeader::read(&bytes);
        for_each_request!(try_all(&bytes));
    }
}
