//! A rebalance of a hundred members over a thousand partitions, all in this process.
//!
//! Timed is what the group goes through when one more member joins, or leaves again: from the
//! moment at which that member is made, or dropped, until
//! * every member is in the group's current generation, and owns 9 or 10 partitions,
//! * together they own each of the partitions,
//! * and the group says that it is `Stable`.
//!
//! Members do nothing but wait for records, of which there are none. Under `cooperative-sticky` a
//! join takes two generations: partitions are given up in the first one, and taken in the second.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use ottla::{Broker, Consumer, GroupState, Strategy, TopicConfig};
use tokio::runtime::Runtime;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::report::{Aim, Report, millis};
use crate::{Scale, on_worker};

const TOPIC: &str = "bench";
const GROUP: &str = "group";
/// Far beyond the aim: a group that gets nowhere is to end the run.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn run(runtime: &Runtime, scale: Scale, report: &mut Report) {
    let (members, partitions) = scale.pick((100, 1_000), (5, 50));
    let aim = Aim::AtMost(250.0);
    for (name, strategy) in
        [("cooperative-sticky", Strategy::CooperativeSticky), ("range", Strategy::Range)]
    {
        let times = on_worker(runtime, measure(strategy, members, partitions, scale.rounds()));
        report.figure(&format!("{members} members, {name}: +1"), times.joins, millis, aim);
        report.figure("  … one leaves", times.leaves, millis, aim);
        report.figure("  … the worst of both", vec![times.worst], millis, Aim::None);
        report.figure("  … all join an empty group at once", vec![times.first], millis, Aim::None);
    }
}

/// In milliseconds.
struct Times {
    joins: Vec<f64>,
    leaves: Vec<f64>,
    worst: f64,
    first: f64,
}

async fn measure(strategy: Strategy, members: usize, partitions: i32, rounds: usize) -> Times {
    let broker = Broker::in_memory().await.expect("a broker in memory opens");
    let config = TopicConfig::new().partitions(partitions);
    broker.create_topic(TOPIC, config).await.expect("it is not there yet");
    let mut group = Group::new(broker.clone(), strategy, partitions as usize);
    let started = Instant::now();
    for _ in 0..members {
        group.join().await;
    }
    let first = group.settled(started).await;
    let (mut joins, mut leaves) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let started = Instant::now();
        group.join().await;
        joins.push(group.settled(started).await);
        let started = Instant::now();
        group.leave();
        leaves.push(group.settled(started).await);
    }
    group.end().await;
    broker.shutdown().await.expect("nothing is left to do");
    let worst = joins.iter().chain(&leaves).copied().fold(0.0, f64::max);
    Times { joins, leaves, worst, first }
}

/// The members, each in a task that polls it.
struct Group {
    broker: Broker,
    strategy: Strategy,
    partitions: usize,
    members: Vec<(Arc<Seen>, JoinHandle<()>)>,
    /// Told whenever a member has moved.
    moved: Arc<Notify>,
    /// Of the last rebalance that ended.
    generation: i32,
}

/// What a member was in, and how many partitions it owned, when it had last been polled.
#[derive(Default)]
struct Seen {
    generation: AtomicI32,
    owned: AtomicUsize,
}

impl Group {
    fn new(broker: Broker, strategy: Strategy, partitions: usize) -> Self {
        let moved = Arc::default();
        Group { broker, strategy, partitions, members: Vec::new(), moved, generation: 0 }
    }

    async fn join(&mut self) {
        let builder = self.broker.consumer().group(GROUP).strategies([self.strategy]);
        let mut consumer = builder.subscribe([TOPIC]).await.expect("the topic is there");
        let (seen, moved) = (Arc::new(Seen::default()), self.moved.clone());
        let member = seen.clone();
        let polling =
            tokio::spawn(poll_fn(move |cx| poll_member(&mut consumer, &member, &moved, cx)));
        self.members.push((seen, polling));
    }

    /// Without a word: its consumer is dropped.
    fn leave(&mut self) {
        let (_, polling) = self.members.pop().expect("one has joined before");
        polling.abort();
    }

    /// Milliseconds from `started` until the rebalance that began then is over.
    async fn settled(&mut self, started: Instant) -> f64 {
        let settled = tokio::time::timeout(PATIENCE, async {
            loop {
                self.moved.notified().await;
                if let Some(generation) = self.agreed()
                    && self.is_stable_in(generation).await
                {
                    return generation;
                }
            }
        });
        self.generation = settled.await.expect("the group settles");
        let took = started.elapsed().as_secs_f64() * 1e3;
        // It has: nothing moves any more.
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(self.is_stable_in(self.generation).await, "the rebalance was over");
        took
    }

    /// Waits until all are gone: none is to be polled when the broker is.
    async fn end(self) {
        for (_, polling) in self.members {
            polling.abort();
            polling.await.expect_err("it was aborted");
        }
    }

    /// The new generation that all members are in, with all partitions shared out evenly.
    fn agreed(&self) -> Option<i32> {
        let generation = self.members[0].0.generation.load(Ordering::Acquire);
        let even = self.partitions / self.members.len();
        let mut sum = 0;
        for (seen, _) in &self.members {
            let owned = seen.owned.load(Ordering::Acquire);
            sum += owned;
            let is_in = seen.generation.load(Ordering::Acquire) == generation;
            if !is_in || !(even..=even + 1).contains(&owned) {
                return None;
            }
        }
        (sum == self.partitions && generation > self.generation).then_some(generation)
    }

    async fn is_stable_in(&self, generation: i32) -> bool {
        let group = self.broker.admin().describe_group(GROUP).await.expect("it has members");
        group.state == GroupState::Stable && group.generation == generation
    }
}

/// Polls a member, and notes where that has brought it.
fn poll_member(
    consumer: &mut Consumer,
    seen: &Seen,
    moved: &Notify,
    cx: &mut Context<'_>,
) -> Poll<()> {
    // What it waits for is kept in the consumer, not in this future.
    let polled = pin!(consumer.recv()).poll(cx);
    assert!(polled.is_pending(), "there are no records, and no errors: {polled:?}");
    let metadata = consumer.group_metadata().expect("it is in a group");
    seen.generation.store(metadata.generation, Ordering::Release);
    seen.owned.store(consumer.assignment().len(), Ordering::Release);
    moved.notify_one();
    Poll::Pending
}
