//! As much as goes: one producer that does not wait for acknowledgements, one consumer of a topic
//! that is in the page cache.

use std::cell::Cell;

use ottla::Client;

use super::brokers::Process;
use super::{KAFKA, OURS, both, load, setup};
use crate::measure::{Aim, Metric, Row, Sample};
use crate::show::Show;
use crate::{Bench, Scale, on_worker, payload};

const BROKER_CPU: Metric = Metric::Figure(load::BROKER_CPU, Show::Millis);
/// Rounds of Kafka's that were discarded until it was warm.
const DISCARDED: &str = "rounds discarded before";

/// How many records are in a round.
pub(super) fn count(scale: Scale, record: usize) -> u64 {
    match record {
        ..512 => scale.pick(2_000_000, 100_000),
        _ => scale.pick(600_000, 30_000),
    }
}

/// From the first record to the last acknowledgement. What was produced is read back, and its sum
/// taken, when time has stopped; then the topic is deleted.
pub(crate) fn produce<const N: usize>(bench: &mut Bench<'_>) {
    let Some(both) = both(bench) else { return };
    let (count, runtime, topics) = (count(bench.scale, N), &bench.runtime, Cell::new(0));
    let round = |which| {
        let topic = format!("{}-{}", bench.name, topics.replace(topics.get() + 1));
        on_worker(runtime, produce_anew::<N>((which, both.clone()), topic, count))
    };
    let discarded = load::warm_up(bench.scale.quick, || round(1));
    let row = Row::new(bench.name, setup(N, "batches as they come, no linger", 1, 0))
        .contender(OURS, || round(0))
        .contender(KAFKA, || round(1).with(DISCARDED, discarded))
        .lossless(payload::expected_sum(N, count));
    compared(row).run(bench.scale.rounds(), bench.report);
}

/// A round of producing with all that is around it.
pub(super) async fn produce_anew<const N: usize>(
    at: (usize, [Process; 2]),
    topic: String,
    count: u64,
) -> Sample {
    let client = load::begin(&at.1[at.0], &topic).await;
    let mut sample = load::produce::<N>(&client, at, &topic, count).await;
    sample.sum = load::read(&client, &topic, count).await;
    client.admin().delete_topic(&topic).await.expect("the topic is there");
    sample
}

/// All of a topic that the same client has produced at both, from the first request to the last
/// record; it was synced before. Each round reads it once more.
pub(crate) fn consume<const N: usize>(bench: &mut Bench<'_>) {
    let Some(both) = both(bench) else { return };
    let (count, runtime) = (count(bench.scale, N), &bench.runtime);
    let clients = [0, 1].map(|which| {
        on_worker(runtime, produced::<N>((which, both.clone()), bench.name.to_owned(), count))
    });
    load::sync();
    let round = |which: usize| {
        let (client, at) = (clients[which].clone(), (which, both.clone()));
        let topic = bench.name;
        on_worker(runtime, async move { load::consume(&client, at, topic, count).await })
    };
    let discarded = load::warm_up(bench.scale.quick, || round(1));
    let row = Row::new(bench.name, setup(N, "polls of up to 10,000", 0, 1))
        .contender(OURS, || round(0))
        .contender(KAFKA, || round(1).with(DISCARDED, discarded))
        .lossless(payload::expected_sum(N, count));
    compared(row).run(bench.scale.rounds(), bench.report);
    for client in &clients {
        let deleted = runtime.block_on(client.admin().delete_topic(bench.name));
        deleted.expect("the topic is there");
    }
}

async fn produced<const N: usize>(at: (usize, [Process; 2]), topic: String, count: u64) -> Client {
    let client = load::begin(&at.1[at.0], &topic).await;
    load::produce::<N>(&client, at, &topic, count).await;
    client
}

fn compared(row: Row<'_>) -> Row<'_> {
    row.figure(BROKER_CPU)
        .figure(Metric::Figure(DISCARDED, Show::Count))
        .compare(Metric::Rate, OURS, KAFKA, Aim::AtLeast(1.0))
        .compare(BROKER_CPU, OURS, KAFKA, Aim::AtMost(1.0 / 3.0))
        .compare(Metric::Cpu, OURS, KAFKA, Aim::None)
}
