//! Records to a batch and back, its CRC, and the gate for batches from a socket.

use std::borrow::Cow;
use std::hint::black_box;

use bytes::{Bytes, BytesMut};
use criterion::{BatchSize, Criterion, Throughput};
use ottla::batch::{Batch, BatchBuilder, check_crc, validate};
use ottla::log::LogConfig;
use ottla::record::Payload;

use crate::{BATCH_BYTES, NOW};

type Headers<'a> = &'a [(Cow<'a, str>, Option<Payload<'a>>)];

/// What a batch is made of.
pub(crate) struct Shape {
    pub(crate) name: &'static str,
    value: usize,
    is_full: bool,
}

pub(crate) const SHAPES: [Shape; 4] = [
    Shape { name: "100 B", value: 100, is_full: false },
    Shape { name: "100 B, key, header", value: 100, is_full: true },
    Shape { name: "1 KiB", value: 1024, is_full: false },
    Shape { name: "1 KiB, key, header", value: 1024, is_full: true },
];

impl Shape {
    /// A full batch in this buffer.
    fn encode(&self, buffer: BytesMut) -> BatchBuilder {
        let value = [0xa5; 1024];
        let header = [(Cow::Borrowed("kind"), Some("measured".into()))];
        let (key, headers): (Option<&[u8]>, Headers<'_>) =
            if self.is_full { (Some(b"customer-0000042"), &header) } else { (None, &[]) };
        let mut builder = BatchBuilder::new(buffer);
        while builder.len() < BATCH_BYTES {
            builder.push(NOW.as_millis(), key, Some(black_box(&value[..self.value])), headers);
        }
        builder
    }

    /// A full batch, and how many records it has.
    pub(crate) fn batch(&self) -> (BytesMut, u64) {
        let builder = self.encode(BytesMut::new());
        let count = builder.count();
        (builder.finish(), u64::from(count.unsigned_abs()))
    }
}

pub(crate) fn run(criterion: &mut Criterion) {
    for shape in &SHAPES {
        of_shape(criterion, shape);
    }
}

fn of_shape(criterion: &mut Criterion, shape: &Shape) {
    let (batch, count) = shape.batch();
    let bytes = batch.clone().freeze();
    let mut group = criterion.benchmark_group(format!("batch, {}", shape.name));
    group.throughput(Throughput::Elements(count));
    group.bench_function("encode", |bencher| {
        // As a producer does: the buffer of the batch before.
        let mut spare = BytesMut::new();
        bencher.iter(|| spare = shape.encode(std::mem::take(&mut spare)).finish());
    });
    group.bench_function("decode", |bencher| bencher.iter(|| values(black_box(&bytes))));
    group.bench_function("validate", |bencher| {
        let rules = LogConfig::default().rules(NOW, BATCH_BYTES);
        let run = |batch| validate(batch, &rules).expect("it is valid");
        bencher.iter_batched(|| batch.clone(), run, BatchSize::SmallInput);
    });
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function("crc", |bencher| bencher.iter(|| check_crc(black_box(&bytes))));
    group.finish();
}

/// How long all values are together.
fn values(bytes: &Bytes) -> usize {
    let batch = Batch::parse(bytes.clone()).expect("it is whole");
    let records = batch.records().map(|record| record.expect("it is sound"));
    records.map(|record| record.value.map_or(0, <[u8]>::len) + record.header_count()).sum()
}
