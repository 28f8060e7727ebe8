//! A log in memory: appending a batch to it, and reading all of it.

use std::path::PathBuf;
use std::sync::Arc;

use criterion::{Criterion, Throughput};
use ottla::log::{Append, Log, LogConfig, LogReader, Opening, ReadCursor};
use ottla::storage::MemoryStorage;
use ottla::{Timestamp, TopicId, TopicName, TopicPartition};

use crate::batches::SHAPES;

/// What the log keeps: so little that old segments are dropped while batches are appended.
const KEPT: u64 = 8 << 20;
/// As consumers read by default.
const READ: usize = 1 << 20;

pub(crate) fn run(criterion: &mut Criterion) {
    for shape in &SHAPES {
        let (batch, _) = shape.batch();
        let mut log = in_memory();
        let mut group = criterion.benchmark_group(format!("log in memory, {}", shape.name));
        let len = batch.len() as u64;
        group.throughput(Throughput::Bytes(len));
        let mut one = [Append::new(batch)];
        group.bench_function("append", |bencher| bencher.iter(|| append(&mut log, &mut one)));
        let reader = log.reader();
        // Batches, as no byte of them is copied.
        group.throughput(Throughput::Elements(reader.size() / len));
        group.bench_function("read", |bencher| bencher.iter(|| read(&reader)));
        group.finish();
    }
}

fn append(log: &mut Log, one: &mut [Append; 1]) {
    one[0].result = None;
    log.append(one, Timestamp::NONE);
    assert!(matches!(one[0].result, Some(Ok(_))), "there is room");
    log.publish();
}

/// How many bytes there are.
fn read(reader: &LogReader) -> usize {
    let mut cursor = ReadCursor::new(reader.log_start_offset(), -1);
    let mut bytes = 0;
    loop {
        let batches = reader.read(&mut cursor, READ).expect("nothing is dropped meanwhile");
        if batches.is_empty() {
            return bytes;
        }
        bytes += batches.iter().map(|batch| batch.bytes().len()).sum::<usize>();
    }
}

fn in_memory() -> Log {
    let opening = Opening {
        storage: Arc::new(MemoryStorage::new(2 * KEPT as usize)),
        dir: PathBuf::from("measured-0"),
        partition: TopicPartition {
            topic: TopicName::parse("measured").expect("it is a name"),
            partition: 0,
        },
        topic_id: TopicId([7; 16]),
        config: LogConfig { max_bytes: Some(KEPT), ..LogConfig::default() },
        clean: true,
        min_epoch: 0,
        log_start_offset: 0,
        sparse: false,
        recovery_point: None,
        pressure: None,
    };
    Log::open(opening).expect("memory opens").0
}
