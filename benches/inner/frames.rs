//! Frames of the protocol: a Produce request on its way in, a Fetch answer on its way out.

use std::hint::black_box;

use bytes::{Buf, Bytes};
use criterion::{Criterion, Throughput};
use ottla::TopicId;
use ottla::wire::fetch::{FetchRequest, FetchResponse, FetchableTopicResponse, PartitionData};
use ottla::wire::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ottla::wire::{Records, RequestHeader, decode_request, encode_request, encode_response};

use crate::batches::SHAPES;

const PRODUCE_VERSION: i16 = 11;
const FETCH_VERSION: i16 = 17;
const PARTITIONS: [i32; 2] = [1, 12];

pub(crate) fn run(criterion: &mut Criterion) {
    let batch = SHAPES[0].batch().0.freeze();
    let mut group = criterion.benchmark_group("frame");
    // Batches are not copied: what counts is what stands around them.
    group.throughput(Throughput::Elements(1));
    for partitions in PARTITIONS {
        let request = request(&batch, partitions);
        let name = format!("decode a Produce request, partitions: {partitions}");
        group.bench_function(name, |bencher| bencher.iter(|| decode(black_box(&request))));
        let answer = answer(&batch, partitions);
        let name = format!("encode a Fetch answer, partitions: {partitions}");
        group.bench_function(name, |bencher| {
            bencher.iter(|| encode_response::<FetchRequest>(black_box(&answer), FETCH_VERSION, 1));
        });
    }
    group.finish();
}

fn decode(frame: &Bytes) -> ProduceRequest {
    let (header, body) = RequestHeader::read(frame).expect("it is Kafka's");
    decode_request(&body, header.version).expect("it is Kafka's")
}

/// Without its length.
fn request(batch: &Bytes, partitions: i32) -> Bytes {
    let data = |index| PartitionProduceData { index, records: Records::new(vec![batch.clone()]) };
    let partition_data = (0..partitions).map(data).collect();
    let topic = TopicProduceData { name: "measured".to_owned(), partition_data };
    let request = ProduceRequest { acks: -1, topic_data: vec![topic], ..Default::default() };
    let client = Some("measured".to_owned());
    let mut frame = encode_request(&request, PRODUCE_VERSION, 1, &client).expect("it is not long");
    frame.copy_to_bytes(frame.remaining()).slice(4..)
}

fn answer(batch: &Bytes, partitions: i32) -> FetchResponse {
    let data = |partition_index| PartitionData {
        partition_index,
        records: Records::new(vec![batch.clone()]),
        ..Default::default()
    };
    let topic = FetchableTopicResponse {
        topic_id: TopicId([7; 16]),
        partitions: (0..partitions).map(data).collect(),
        ..Default::default()
    };
    FetchResponse { responses: vec![topic], ..Default::default() }
}
