//! Numbers, and keys to partitions.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use ottla::Partitioner;
use ottla::codec::{Reader, put_varint, put_varlong};

const COUNT: usize = 1000;
const PARTITIONS: i32 = 12;

pub(crate) fn run(criterion: &mut Criterion) {
    varints(criterion, "short", |n| n % 50);
    varints(criterion, "long", |n| n * 1_000_003);
    keys(criterion);
}

fn varints(criterion: &mut Criterion, name: &str, number: fn(i64) -> i64) {
    let numbers: Vec<i64> = (0..COUNT as i64).map(number).collect();
    let mut group = criterion.benchmark_group(format!("varint, {name}"));
    group.throughput(Throughput::Elements(2 * COUNT as u64));
    group.bench_function("encode", |bencher| {
        let mut room = [0; 15 * COUNT];
        bencher.iter(|| encode(&numbers, &mut room));
    });
    let mut room = [0; 15 * COUNT];
    let len = encode(&numbers, &mut room);
    group.bench_function("decode", |bencher| bencher.iter(|| decode(black_box(&room[..len]))));
    group.finish();
}

/// Each in 32 bits and in 64; returns how many bytes that takes.
fn encode(numbers: &[i64], room: &mut [u8]) -> usize {
    let all = room.len();
    let mut to = room;
    for number in black_box(numbers) {
        put_varint(&mut to, *number as i32);
        put_varlong(&mut to, *number);
    }
    all - to.len()
}

fn decode(bytes: &[u8]) -> i64 {
    let mut reader = Reader::new(bytes);
    let mut sum = 0_i64;
    while reader.remaining() > 0 {
        sum = sum.wrapping_add(reader.varint().expect("it was written").into());
        sum = sum.wrapping_add(reader.varlong().expect("it was written"));
    }
    sum
}

fn keys(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("partition of a key");
    for len in [8, 36] {
        let key = vec![b'k'; len];
        group.throughput(Throughput::Bytes(len as u64));
        for (name, partitioner) in
            [("fnv1a", Partitioner::Fnv1a), ("murmur2", Partitioner::Murmur2)]
        {
            group.bench_function(format!("{name}, {len} B"), |bencher| {
                bencher.iter(|| partitioner.partition_for_key("t", black_box(&key), PARTITIONS));
            });
        }
    }
    group.finish();
}
