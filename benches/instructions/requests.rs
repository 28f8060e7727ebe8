//! A Produce request as the server takes it: the frame, the request in it, its batch validated.

use bytes::{Buf, Bytes, BytesMut};
use ottla::Timestamp;
use ottla::batch::{BatchBuilder, Rules, validate};
use ottla::log::LogConfig;
use ottla::wire::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ottla::wire::{Records, RequestHeader, decode_request, encode_request};

use super::paths::{Tally, in_a_round};
use super::payload;

/// As full as a producer of this process makes a batch.
const BATCH_BYTES: usize = 64 << 10;
const VERSION: i16 = 11;
const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

/// A batch of such payloads in each of the requests that make up the rounds.
pub(crate) fn taken<const N: usize>(rounds: u64) -> Tally {
    let (batch, records) = batch::<N>();
    let frame = frame(batch);
    let rules = LogConfig::default().rules(NOW, BATCH_BYTES);
    let requests = rounds * in_a_round(N).div_ceil(records);
    let all: u64 = (0..requests).map(|_| take(&frame, &rules)).sum();
    assert_eq!(all, requests * records, "all are valid");
    Tally { records: all, batches: requests }
}

/// How many records its batch has. The frame is copied as it would be from a socket.
fn take(frame: &[u8], rules: &Rules) -> u64 {
    let frame = Bytes::copy_from_slice(frame);
    let (header, body) = RequestHeader::read(&frame).expect("it is Kafka's");
    let request = decode_request::<ProduceRequest>(&body, header.version).expect("it is Kafka's");
    drop((frame, body));
    let partitions = request.topic_data.into_iter().flat_map(|topic| topic.partition_data);
    let validated = partitions.map(|partition| {
        let records = partition.records.into_bytes();
        let records = records.try_into_mut().expect("nothing else holds the frame");
        validate(records, rules).expect("it is valid").header.record_count
    });
    validated.map(|count| u64::from(count.unsigned_abs())).sum()
}

fn batch<const N: usize>() -> (Bytes, u64) {
    let mut builder = BatchBuilder::new(BytesMut::new());
    let mut records = 0;
    while builder.len() < BATCH_BYTES {
        let payload = payload::array::<N>(records);
        builder.push(NOW.as_millis(), None, Some(&payload), &[]);
        records += 1;
    }
    (builder.finish().freeze(), records)
}

/// Without its length.
fn frame(batch: Bytes) -> Vec<u8> {
    let partition = PartitionProduceData { index: 0, records: Records::new(vec![batch]) };
    let topic = TopicProduceData { name: "hot".to_owned(), partition_data: vec![partition] };
    let request = ProduceRequest {
        acks: -1,
        timeout_ms: 1_000,
        topic_data: vec![topic],
        ..Default::default()
    };
    let client = Some("counted".to_owned());
    let mut frame = encode_request(&request, VERSION, 1, &client).expect("it is not long");
    let whole = frame.copy_to_bytes(frame.remaining());
    whole[4..].to_vec()
}
