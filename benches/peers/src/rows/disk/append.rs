//! Appending without syncs, which is the system's affair: against `write(2)`, and against other
//! logs for Rust.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

use super::{GIB, append, folder, peers, unsynced};
use crate::measure::{Aim, Metric, Row, Sample, Setup, Timer};
use crate::show::Show;
use crate::{Bench, on_worker, payload};

const OURS: &str = "ottla";
const WRITE: &str = "write(2), 64 KiB a call";
const CALL: usize = 64 << 10;
/// Of payload, the kernel's part included.
const CPU: Metric = Metric::Figure("CPU per GiB", Show::SecondsPerGib);

fn setup(record: usize, batch: &'static str) -> Setup {
    let durability = "on disk, in the page cache (Process)";
    Setup { durability, record, batch, producers: 1, consumers: 0 }
}

fn with_cpu(sample: Sample, record: usize) -> Sample {
    let gibibytes = (sample.records * record as u64) as f64 / GIB;
    let cpu = sample.cpu_seconds / gibibytes;
    sample.with("CPU per GiB", cpu)
}

/// What it costs beyond the system calls. Far below what the kernel lets be dirty.
pub(crate) fn write_calls<const N: usize>(bench: &mut Bench<'_>) {
    let (runtime, count) = (&bench.runtime, bench.scale.pick(512 << 20, 1 << 20) / N as u64);
    Row::new(bench.name, setup(N, "batches as they come, calls of 64 KiB"))
        .contender(OURS, || {
            let dir = folder();
            on_worker(runtime, appended::<N>(dir.path().to_owned(), count))
        })
        .contender(WRITE, || {
            let dir = folder();
            written::<N>(dir.path().join("file"), count)
        })
        .figure(CPU)
        .compare(CPU, OURS, WRITE, Aim::AtMost(1.3))
        .compare(Metric::Rate, OURS, WRITE, Aim::AtLeast(0.9))
        .run(bench.scale.rounds(), bench.report);
}

/// Other logs, by their own words for "appended, not synced".
pub(crate) fn others<const N: usize>(bench: &mut Bench<'_>) {
    let (runtime, count) = (&bench.runtime, bench.scale.pick(64 << 20, 1 << 20) / N as u64);
    let few = count / 16;
    let in_folder = |run: fn(PathBuf, u64) -> Sample, count| {
        let dir = folder();
        run(dir.path().to_owned(), count)
    };
    Row::new(bench.name, setup(N, "batches as they come, or of 1,000"))
        .contender(OURS, || {
            let dir = folder();
            on_worker(runtime, appended::<N>(dir.path().to_owned(), count))
        })
        .contender(peers::KAFKO_BATCH, || {
            let dir = folder();
            on_worker(runtime, peers::kafko_batches::<N>(dir.path().to_owned(), count))
        })
        .contender(peers::KAFKO_SEND, || {
            let dir = folder();
            on_worker(runtime, peers::kafko_sends::<N>(dir.path().to_owned(), few))
        })
        .contender(peers::COMMITLOG_BATCH, || in_folder(peers::commitlog_batches::<N>, count))
        .contender(peers::COMMITLOG, || in_folder(peers::commitlog::<N>, few))
        .contender(peers::WALRUS_BATCH, || peers::walrus_batches::<N>(count))
        .contender(peers::WALRUS, || peers::walrus::<N>(few))
        .contender(peers::FJALL_BATCH, || in_folder(peers::fjall_batches::<N>, count))
        .compare(Metric::Rate, OURS, peers::KAFKO_BATCH, Aim::None)
        .compare(Metric::Rate, OURS, peers::KAFKO_SEND, Aim::None)
        .compare(Metric::Rate, OURS, peers::COMMITLOG_BATCH, Aim::None)
        .compare(Metric::Rate, OURS, peers::COMMITLOG, Aim::None)
        .compare(Metric::Rate, OURS, peers::WALRUS_BATCH, Aim::None)
        .compare(Metric::Rate, OURS, peers::WALRUS, Aim::None)
        .compare(Metric::Rate, OURS, peers::FJALL_BATCH, Aim::None)
        .run(bench.scale.rounds(), bench.report);
}

async fn appended<const N: usize>(dir: PathBuf, count: u64) -> Sample {
    let broker = unsynced(dir, 1).await;
    let timer = Timer::start();
    append::<N>(&broker, 0..count).await;
    let sample = timer.stop(count, 0);
    broker.shutdown().await.expect("the disk works");
    with_cpu(sample, N)
}

/// Payloads are built in place: there is nothing to copy.
fn written<const N: usize>(path: PathBuf, count: u64) -> Sample {
    let timer = Timer::start();
    let mut file = File::create(path).expect("a file can be made");
    let mut call = vec![0; CALL / N * N];
    let (mut number, each) = (0, (CALL / N) as u64);
    while number < count {
        let now = each.min(count - number);
        let bytes = &mut call[..now as usize * N];
        for (index, payload) in bytes.chunks_exact_mut(N).enumerate() {
            payload::fill(payload, number + index as u64);
        }
        file.write_all(bytes).expect("the disk works");
        number += now;
    }
    with_cpu(timer.stop(count, 0), N)
}
