//! In memory: a stream of records to one consumer and to four, against channels; and everything
//! kept, against copying.

use std::hint::black_box;

use ottla::{Broker, Consumer, MemoryPolicy, Producer, Record};

use crate::channels::{self, CAPACITY, the_same};
use crate::measure::{Aim, Metric, Row, Sample, Setup, Timer};
use crate::show::Show;
use crate::{Bench, on_worker, payload};

const TOPIC: &str = "bench";
/// What the broker may keep: little enough that memory is freed and used again all the time.
const BOUNDED: usize = 64 << 20;
const CHUNK: usize = 1 << 20;

const POLL: &str = "ottla, poll";
const RECV: &str = "ottla, recv";
const MANY: &str = "tokio mpsc, recv_many";
const ONE: &str = "tokio mpsc, recv";
const CLONED: &str = "async-broadcast";
const LOSSY: &str = "tokio broadcast";
const LOST: Metric = Metric::Figure("lost", Show::Percent);

/// How the consumer receives.
#[derive(Clone, Copy)]
enum Receive {
    Poll,
    Recv,
}

fn setup(record: usize, consumers: usize) -> Setup {
    let batch = "batches as they come, channels of 1,024";
    Setup { durability: "in memory", record, batch, producers: 1, consumers }
}

pub(crate) fn one_to_one<const N: usize>(bench: &mut Bench<'_>) {
    let count = bench.scale.pick(400 << 20, 2 << 20) / N as u64;
    let runtime = &bench.runtime;
    Row::new(bench.name, setup(N, 1))
        .contender(POLL, || on_worker(runtime, through_log::<N>(count, BOUNDED, 1, Receive::Poll)))
        .contender(RECV, || on_worker(runtime, through_log::<N>(count, BOUNDED, 1, Receive::Recv)))
        .contender(MANY, || on_worker(runtime, channels::mpsc_recv_many(N, count)))
        .contender(ONE, || on_worker(runtime, channels::mpsc_recv(N, count)))
        .contender("flume", || on_worker(runtime, channels::flume(N, count)))
        .contender("kanal", || on_worker(runtime, channels::kanal(N, count)))
        .contender(CLONED, || on_worker(runtime, channels::async_broadcast(N, count, 1)))
        .contender(LOSSY, || on_worker(runtime, channels::broadcast(N, count, 1)))
        .figure(LOST)
        .lossless(payload::expected_sum(N, count))
        .compare(Metric::Rate, POLL, MANY, Aim::AtLeast(2.0))
        .compare(Metric::Rate, RECV, ONE, Aim::None)
        .compare(Metric::Rate, RECV, MANY, Aim::None)
        .compare(Metric::Cpu, POLL, MANY, Aim::None)
        .compare(Metric::Rate, POLL, "flume", Aim::None)
        .compare(Metric::Rate, POLL, "kanal", Aim::None)
        .compare(Metric::Rate, POLL, CLONED, Aim::None)
        .compare(Metric::Rate, POLL, LOSSY, Aim::None)
        .run(bench.scale.rounds(), bench.report);
}

pub(crate) fn one_to_four<const N: usize>(bench: &mut Bench<'_>) {
    let count = bench.scale.pick(200 << 20, 2 << 20) / N as u64;
    const FOUR: &str = "ottla, 4 consumers";
    const ALONE: &str = "ottla, 1 consumer";
    let runtime = &bench.runtime;
    Row::new(bench.name, setup(N, 4))
        .contender(FOUR, || on_worker(runtime, through_log::<N>(count, BOUNDED, 4, Receive::Poll)))
        .contender(ALONE, || on_worker(runtime, through_log::<N>(count, BOUNDED, 1, Receive::Poll)))
        .contender(CLONED, || on_worker(runtime, channels::async_broadcast(N, count, 4)))
        .contender(LOSSY, || on_worker(runtime, channels::broadcast(N, count, 4)))
        .figure(LOST)
        .lossless(payload::expected_sum(N, count))
        .compare(Metric::Cpu, FOUR, ALONE, Aim::AtMost(1.2))
        .compare(Metric::Rate, FOUR, CLONED, Aim::AtLeast(2.0))
        .compare(Metric::Rate, FOUR, LOSSY, Aim::None)
        .run(bench.scale.rounds(), bench.report);
}

pub(crate) fn kept<const N: usize>(bench: &mut Bench<'_>) {
    let count = bench.scale.pick(512 << 20, 2 << 20) / N as u64;
    const COPY: &str = "copying into kept 1 MiB chunks";
    let runtime = &bench.runtime;
    let enough = (N as u64 + 100) * count + (64 << 20);
    Row::new(bench.name, setup(N, 1))
        .contender(POLL, || {
            let through = through_log::<N>(count, enough as usize, 1, Receive::Poll);
            on_worker(runtime, through)
        })
        .contender(COPY, || on_worker(runtime, copied::<N>(count)))
        .lossless(payload::expected_sum(N, count))
        .compare(Metric::Rate, POLL, COPY, Aim::AtLeast(0.6))
        .compare(Metric::Cpu, POLL, COPY, Aim::None)
        .run(bench.scale.rounds(), bench.report);
}

/// Nobody reads meanwhile: what it has to do is to copy. It is read when time has stopped.
async fn copied<const N: usize>(count: u64) -> Sample {
    let timer = Timer::start();
    let mut chunks: Vec<Vec<u8>> = Vec::new();
    for number in 0..count {
        let payload = black_box(payload::array::<N>(number));
        match chunks.last_mut() {
            Some(chunk) if chunk.len() + N <= CHUNK => chunk.extend_from_slice(&payload),
            _ => {
                let mut chunk = Vec::with_capacity(CHUNK);
                chunk.extend_from_slice(&payload);
                chunks.push(chunk);
            }
        }
    }
    let mut sample = timer.stop(count, 0);
    let payloads = chunks.iter().flat_map(|chunk| chunk.chunks(N));
    sample.sum = payloads.fold(0, |sum, it| sum.wrapping_add(payload::sum(it)));
    sample
}

/// From one producer to some consumers, each of which receives everything.
async fn through_log<const N: usize>(
    count: u64,
    memory: usize,
    consumers: usize,
    receive: Receive,
) -> Sample {
    let builder = Broker::builder().memory_limit(memory).memory_policy(MemoryPolicy::Block);
    let broker = builder.in_memory().await.expect("a broker in memory opens");
    let mut handles = Vec::new();
    for _ in 0..consumers {
        handles.push(broker.consumer().subscribe([TOPIC]).await.expect("the topic is created"));
    }
    let producer = broker.producer().build();
    let timer = Timer::start();
    let sending = tokio::spawn(produce::<N>(producer, count));
    let receiving = handles.into_iter().map(|consumer| match receive {
        Receive::Poll => tokio::spawn(poll_all(consumer, count)),
        Receive::Recv => tokio::spawn(recv_all(consumer, count)),
    });
    let sum = the_same(receiving.collect()).await;
    let sample = timer.stop(count * consumers as u64, sum);
    sending.await.expect("nothing fails");
    broker.shutdown().await.expect("nothing is left to do");
    sample
}

async fn produce<const N: usize>(producer: Producer, count: u64) {
    for number in 0..count {
        let payload = payload::array::<N>(number);
        producer.enqueue(Record::to(TOPIC).value(&payload)).await.expect("it is buffered");
    }
    producer.flush().await;
}

async fn poll_all(mut consumer: Consumer, count: u64) -> u64 {
    let (mut received, mut sum) = (0, 0_u64);
    while received < count {
        let records = consumer.poll(CAPACITY).await.expect("nothing is lost");
        received += records.len() as u64;
        let payloads = records.iter().map(|it| payload::sum(it.value.unwrap_or_default()));
        sum = payloads.fold(sum, u64::wrapping_add);
    }
    sum
}

async fn recv_all(mut consumer: Consumer, count: u64) -> u64 {
    let mut sum = 0_u64;
    for _ in 0..count {
        let record = consumer.recv().await.expect("nothing is lost");
        sum = sum.wrapping_add(payload::sum(record.value.as_deref().unwrap_or_default()));
    }
    sum
}
