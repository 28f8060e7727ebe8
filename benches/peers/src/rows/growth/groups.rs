//! Consumer groups in memory, each with one member.

use ottla::{Broker, Consumer, Record, TopicPartition};
use tokio::runtime::Runtime;

use super::{FLAT, TOPIC, costs, sampled, series, weight_of_one};
use crate::measure::{Aim, Sample, Timer};
use crate::report::Growth;
use crate::show::Show;
use crate::{Bench, on_worker};

/// As many commits, by the members in turn; each is awaited. All have joined, and committed once,
/// before. A group's weight is that of one with a commit and without members, in memory.
pub(crate) fn groups(bench: &mut Bench<'_>) {
    let counts: &[u64] = bench.scale.pick(&[1, 10, 100, 1_000, 10_000], &[1, 10, 100]);
    let commits = bench.scale.pick(200_000, 10_000);
    let (mut cpu, mut time) = (series("CPU", FLAT), series("time", FLAT));
    on_worker(&bench.runtime, work(1, commits));
    for count in counts {
        let round = || on_worker(&bench.runtime, work(*count, commits));
        let samples = sampled(bench.scale, round);
        let costs = costs(&samples);
        cpu.points.push((*count as f64, costs.0));
        time.points.push((*count as f64, costs.1));
    }
    let most = *counts.last().expect("there are some");
    let weight = weight_of_one("groups", most);
    let setup = format!("in memory; {commits} commits, by the members of all groups in turn");
    let (row, along, show, series) = (bench.name, "groups", Show::Count, vec![cpu, time]);
    bench.report.growth(&setup, Growth { row, along, show, series });
    let what = format!("memory of one of {most} groups without members");
    bench.report.figure(&what, Show::Bytes, &[weight], Aim::None);
}

async fn begin() -> Broker {
    let broker = Broker::in_memory().await.expect("a broker in memory opens");
    let sent = broker.producer().build().send(Record::to(TOPIC).value("one")).await;
    sent.expect("the topic is created");
    broker
}

/// A member of a new group, which has committed.
async fn member(broker: &Broker, number: u64) -> Consumer {
    let consumer = broker.consumer().group(&format!("group-{number}")).subscribe([TOPIC]).await;
    let mut consumer = consumer.expect("the topic is there");
    consumer.recv().await.expect("there is a record");
    consumer.commit().await.expect("it is a member");
    consumer
}

async fn work(groups: u64, commits: u64) -> Sample {
    let broker = begin().await;
    let at = TopicPartition::new(TOPIC, 0).expect("a good name");
    let mut members = Vec::new();
    for number in 0..groups {
        members.push(member(&broker, number).await);
    }
    let timer = Timer::start();
    for number in 0..commits {
        let member = &mut members[(number % groups) as usize];
        let committed = member.commit_offsets([(at.clone(), number as i64)]).await;
        committed.expect("it is a member");
    }
    let sample = timer.stop(commits, 0);
    drop(members);
    broker.shutdown().await.expect("nothing is left to do");
    sample
}

/// What is weighed.
pub(super) fn hold(runtime: &Runtime, count: u64, weigh: impl FnOnce()) {
    let broker = runtime.block_on(async {
        let broker = begin().await;
        for number in 0..count {
            member(&broker, number).await.close().await.expect("it may leave");
        }
        broker
    });
    weigh();
    drop(broker);
}
