//! Reading a topic from its beginning, the page cache warm, against `read(2)` in 1 MiB calls.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use ottla::Broker;

use super::{TOPIC, append, folder, unsynced};
use crate::measure::{Aim, Metric, Row, Sample, Setup, Timer};
use crate::show::Show;
use crate::{Bench, on_worker, payload};

const OURS: &str = "ottla, poll";
const READ: &str = "read(2), 1 MiB a call";
const CALL: usize = 1 << 20;
/// Of the log: what is around the payloads was read, too.
const BYTES: Metric = Metric::Figure("bytes read", Show::BytesPerSecond);

pub(crate) fn read<const N: usize>(bench: &mut Bench<'_>) {
    let (runtime, dir) = (&bench.runtime, folder());
    let count = bench.scale.pick(256 << 20, 1 << 20) / N as u64;
    let path = dir.path().to_owned();
    let broker = on_worker(runtime, async move {
        let broker = unsynced(path, 1).await;
        append::<N>(&broker, 0..count).await;
        broker
    });
    let log = dir.path().join(format!("{TOPIC}-0/{:020}.log", 0));
    let durability = "on disk, in the page cache (Process)";
    let batch = "batches as they came, polls of 10,000";
    let setup = Setup { durability, record: N, batch, producers: 0, consumers: 1 };
    let sum = payload::expected_sum(N, count);
    Row::new(bench.name, setup)
        .contender(OURS, || {
            let sample = on_worker(runtime, consumed(broker.clone(), count));
            assert_eq!(sample.sum, sum, "every payload byte was read");
            sample
        })
        .contender(READ, || read_calls(&log, count))
        .figure(BYTES)
        .compare(BYTES, OURS, READ, Aim::AtLeast(0.8))
        .compare(Metric::Cpu, OURS, READ, Aim::None)
        .run(bench.scale.rounds(), bench.report);
    runtime.block_on(broker.shutdown()).expect("the disk works");
}

async fn consumed(broker: Broker, count: u64) -> Sample {
    let mut consumer = broker.consumer().subscribe([TOPIC]).await.expect("it is there");
    let (mut received, mut sum) = (0, 0_u64);
    let timer = Timer::start();
    while received < count {
        let records = consumer.poll(10_000).await.expect("the log is sound");
        received += records.len() as u64;
        let payloads = records.iter().map(|it| payload::sum(it.value.unwrap_or_default()));
        sum = payloads.fold(sum, u64::wrapping_add);
    }
    let sample = timer.stop(received, sum);
    let topic = broker.describe_topic(TOPIC).expect("it is there");
    let bytes = topic.partitions[0].size_bytes as f64;
    let rate = bytes / sample.seconds;
    sample.with("bytes read", rate)
}

/// Each byte of the file is summed up as well.
fn read_calls(path: &Path, count: u64) -> Sample {
    let mut file = File::open(path).expect("the log is there");
    let (mut buffer, mut bytes, mut sum) = (vec![0; CALL], 0, 0_u64);
    let timer = Timer::start();
    loop {
        let read = file.read(&mut buffer).expect("the disk works");
        if read == 0 {
            break;
        }
        bytes += read;
        sum = sum.wrapping_add(payload::sum(&buffer[..read]));
    }
    let sample = timer.stop(count, sum);
    let rate = bytes as f64 / sample.seconds;
    sample.with("bytes read", rate)
}
